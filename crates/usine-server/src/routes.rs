//! Routes that say who may come in. A route without that cannot be added, and a handler that asks who is there
//! ([`crate::auth::Requester`]) is refused where it was not said: what is not allowed is denied.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};

use crate::auth::Identity;
use crate::state::AppState;

/// Who may come in at all. What they may do then is for the predicates to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Access {
    /// Everybody.
    Everybody,
    /// A user, with a token.
    User,
    /// A user with a token, or a worker for the work request that it runs.
    UserOrWorkRequest,
    /// A worker, with its own token.
    Worker,
    /// Everybody; the handler looks at the key itself: registration, and reports.
    Key,
    /// A WebSocket: it is opened in every case, and those who may not listen are told so in words.
    Channel,
    /// A file or page: nobody's and users', with a token or a session.
    Page,
    /// A file that a worker may need, too.
    Download,
    /// A page for a user who has logged in; others are sent to do so.
    Login,
}

impl Access {
    /// Whether it is about workers themselves, and not about what they work on.
    pub fn is_of_workers(self) -> bool {
        matches!(self, Self::Worker | Self::Key | Self::Channel)
    }

    /// Whether whoever asks comes in.
    pub fn admits(self, identity: &Identity) -> bool {
        match self {
            Self::Everybody | Self::Key | Self::Channel => true,
            Self::User => matches!(identity, Identity::User(_)),
            Self::UserOrWorkRequest => matches!(identity, Identity::User(_) | Identity::WorkRequest(_)),
            Self::Worker => matches!(identity, Identity::Worker(..)),
            Self::Page => !matches!(identity, Identity::Worker(..) | Identity::Activation | Identity::WorkRequest(_)),
            Self::Download => !matches!(identity, Identity::Worker(..) | Identity::Activation),
            Self::Login => matches!(identity, Identity::Anonymous | Identity::Session(_)),
        }
    }
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with the names of its parameters in braces.
    pub path: &'static str,
    /// Who may come in.
    pub access: Access,
}

/// A router, and the list of what is in it.
#[derive(Default)]
pub struct Routes {
    router: Router<AppState>,
    table: Vec<Route>,
}

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a GET, which answers HEAD, too.
    pub fn get<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(MethodFilter::GET, Method::GET, path, access, handler)
    }

    /// Adds a POST.
    pub fn post<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(MethodFilter::POST, Method::POST, path, access, handler)
    }

    /// Adds a PUT.
    pub fn put<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(MethodFilter::PUT, Method::PUT, path, access, handler)
    }

    /// Adds a PATCH.
    pub fn patch<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(MethodFilter::PATCH, Method::PATCH, path, access, handler)
    }

    /// Adds a DELETE.
    pub fn delete<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(MethodFilter::DELETE, Method::DELETE, path, access, handler)
    }

    /// Adds a WebSocket.
    pub fn channel<H: Handler<T, AppState>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.get(path, Access::Channel, handler)
    }

    fn add<H: Handler<T, AppState>, T: 'static>(
        mut self,
        filter: MethodFilter,
        method: Method,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        self.router = self.router.route(path, on(filter, handler).route_layer(Extension(access)));
        self.table.push(Route { method, path, access });
        self
    }

    /// Both together.
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// The list.
    pub fn table(&self) -> &[Route] {
        &self.table
    }

    /// The router.
    pub fn into_router(self) -> Router<AppState> {
        self.router
    }
}
