//! What all pages have around them: who looks, where they are, what they were told last, and how their forms are told from
//! forged ones.

use askama::Template;
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use cookie::time::Duration;
use serde::de::DeserializeOwned;
use usine_db::account::User;
use usine_model::permission::{Facts, PermissionContext, Predicate};

use super::assets::{Asset, CSS, IDIOMORPH, LOG, SCRIPT};
use super::{cookies, csrf};
use crate::auth::{Identity, Visitor};
use crate::paths::Base;
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult, Payload};
use crate::state::AppState;

/// Name of the cookie with a text for the next page.
const NOTICE: &str = "notice";

/// Name of the cookie with the colours that somebody has chosen.
pub(super) const THEME: &str = "theme";

/// How long the text waits for a page.
const NOTICE_LIFE: Duration = Duration::minutes(1);

/// Longest text for the next page, in bytes: cookies have at most 4096.
const MAX_NOTICE: usize = 1000;

/// No script but ours, nothing from elsewhere, in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Whoever looks at a page.
pub(super) struct Guest {
    /// The user, if they have logged in (or their program looks, with a token).
    pub user: Option<User>,
    /// What predicates ask.
    pub context: PermissionContext,
    path: String,
    secret: csrf::Secret,
    is_secure: bool,
    theme: Theme,
    notice: Option<String>,
    /// Of all that the pages show, before it was read for this one.
    version: u64,
}

/// A user who has logged in; others are sent to do so, and come back.
pub(super) struct LoggedIn {
    /// What all guests have.
    pub guest: Guest,
    /// The user.
    pub user: User,
}

/// The colours of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Theme {
    /// As the browser says.
    #[default]
    Auto,
    /// Dark text on light.
    Light,
    /// Light text on dark.
    Dark,
}

/// What the template of every page asks for.
pub(super) struct Frame {
    pub title: String,
    pub crumbs: Vec<Crumb>,
    pub username: Option<String>,
    /// `/SCOPE/WORKSPACE/`, inside a workspace.
    pub workspace: Option<String>,
    /// Where changes of what the page shows are told.
    pub live: Option<String>,
    pub secret: String,
    pub path: String,
    pub theme: Theme,
    pub notice: Option<String>,
    pub search: String,
    version: u64,
}

/// One step on the way to a page.
pub(super) struct Crumb {
    pub name: String,
    pub address: String,
}

impl Frame {
    pub fn assets(&self) -> [&'static Asset; 3] {
        [&CSS, &IDIOMORPH, &SCRIPT]
    }

    /// The script of pages with a log.
    pub fn log_script(&self) -> &'static str {
        &LOG.address
    }

    pub fn themes(&self) -> &'static [Theme] {
        &[Theme::Auto, Theme::Light, Theme::Dark]
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Adds a step on the way here.
    pub fn below(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.crumbs.push(Crumb { name: name.into(), address: address.into() });
        self
    }

    /// The page is that of a workspace.
    pub fn of(self, place: &Place) -> Self {
        let scope = &place.scope.name;
        let mut frame = self.below(scope, format!("/{scope}/"));
        frame.workspace = Some(place.address());
        frame
    }

    /// The page is about something in a workspace.
    pub fn inside(self, place: &Place) -> Self {
        self.of(place).below(&place.workspace.name, place.address())
    }

    /// The page is told of changes there.
    pub fn live(mut self, address: &str) -> Self {
        self.live = Some(format!("{address}?seen={}", self.version));
        self
    }
}

impl Guest {
    /// Whoever sends the request. Those whom the route does not admit are refused.
    pub(super) async fn of(state: &AppState, parts: &Parts) -> ApiResult<Self> {
        let Visitor { identity, context, .. } = Visitor::of(state, parts).await?;
        let user = match identity {
            Identity::Session(user) | Identity::User(user) => Some((*user).clone()),
            _ => None,
        };
        Ok(Self::with(state, parts, user, context))
    }

    /// Somebody of whom nothing is known but what the browser sends.
    pub(super) fn stranger(state: &AppState, parts: &Parts) -> Self {
        Self::with(state, parts, None, PermissionContext::default())
    }

    fn with(state: &AppState, parts: &Parts, user: Option<User>, context: PermissionContext) -> Self {
        let headers = &parts.headers;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let theme = cookies::get(headers, THEME).and_then(|theme| theme.parse().ok()).unwrap_or_default();
        let notice = cookies::get(headers, NOTICE).map(|text| {
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().chars().take(MAX_NOTICE).collect()
        });
        let secret = csrf::Secret::of(headers, &*state.entropy);
        let is_secure = Base::of(parts).is_secure();
        Self { user, context, path, secret, is_secure, theme, notice, version: state.live.version() }
    }

    /// Whether they may do this with a resource.
    pub fn may(&self, predicate: &Predicate, resource: &dyn Facts) -> bool {
        predicate.allows(&self.context, resource)
    }

    /// Refuses what they may not do; `what` ends the sentence "You may not …".
    pub fn check(&self, predicate: &Predicate, resource: &dyn Facts, what: &str) -> ApiResult<()> {
        if self.may(predicate, resource) {
            Ok(())
        } else {
            Err(ApiError::Text(StatusCode::FORBIDDEN, format!("You may not {what}.")))
        }
    }

    /// The id of the user, if there is one.
    pub fn user_id(&self) -> Option<i64> {
        self.user.as_ref().map(|user| user.id)
    }

    /// A frame with this title.
    pub fn frame(&self, title: impl Into<String>) -> Frame {
        Frame {
            title: title.into(),
            crumbs: Vec::new(),
            username: self.user.as_ref().map(|user| user.username.clone()),
            workspace: None,
            live: None,
            secret: self.secret.masked.clone(),
            path: self.path.clone(),
            theme: self.theme,
            notice: self.notice.clone(),
            search: String::new(),
            version: self.version,
        }
    }

    /// The page.
    pub fn show(&self, page: &impl Template) -> ApiResult<Response> {
        self.show_as(StatusCode::OK, page)
    }

    /// The page, with another status.
    pub fn show_as(&self, status: StatusCode, page: &impl Template) -> ApiResult<Response> {
        let html = page.render().map_err(|error| ApiError::Internal(Box::new(error)))?;
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        if let Some(secret) = &self.secret.new {
            headers.append(header::SET_COOKIE, csrf::cookie(secret, self.is_secure));
        }
        if self.notice.is_some() {
            headers.append(header::SET_COOKIE, cookies::set(NOTICE, "", Duration::ZERO, self.is_secure));
        }
        Ok(response)
    }

    /// Goes to another page of ours, which says this.
    pub fn go(&self, path: &str, notice: &str) -> Response {
        let mut end = notice.len().min(MAX_NOTICE);
        while !notice.is_char_boundary(end) {
            end -= 1;
        }
        let text =
            percent_encoding::utf8_percent_encode(&notice[..end], percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut response = super::redirect(path);
        let cookie = cookies::set(NOTICE, &text, NOTICE_LIFE, self.is_secure);
        response.headers_mut().append(header::SET_COOKIE, cookie);
        response
    }

    /// Sets a cookie for a browser that reached us so.
    pub fn cookie(&self, name: &str, value: &str, life: Duration) -> HeaderValue {
        cookies::set(name, value, life, self.is_secure)
    }
}

impl FromRequestParts<AppState> for Guest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        Self::of(state, parts).await
    }
}

impl FromRequestParts<AppState> for LoggedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let guest = Guest::of(state, parts).await.map_err(IntoResponse::into_response)?;
        match guest.user.clone() {
            Some(user) => Ok(Self { guest, user }),
            None => Err(super::to_login(&back(parts, &guest.path))),
        }
    }
}

/// Where to come back to: the page itself, or the one with the form.
fn back(parts: &Parts, path: &str) -> String {
    if parts.method == Method::GET {
        return path.to_owned();
    }
    let form = parts.headers.get(header::REFERER).and_then(|referer| referer.to_str().ok()?.parse::<url::Url>().ok());
    form.map_or_else(|| "/".to_owned(), |form| form.path().to_owned())
}

/// The fields of a form of ours, from this browser.
pub(super) struct Filled<T>(pub T);

#[derive(serde::Deserialize)]
struct OnlySecret {
    #[serde(default, rename = "csrfmiddlewaretoken")]
    secret: String,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Filled<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> ApiResult<Self> {
        let headers = request.headers().clone();
        let Payload(body) = Payload::<{ 2 << 20 }>::from_request(request, state).await?;
        let OnlySecret { secret } = parse(&headers, body.clone()).await?;
        csrf::check(&headers, &secret)?;
        Ok(Self(parse(&headers, body).await?))
    }
}

async fn parse<T: DeserializeOwned>(headers: &HeaderMap, body: bytes::Bytes) -> ApiResult<T> {
    let mut request = Request::post("/").body(body.into()).map_err(|error| ApiError::Internal(Box::new(error)))?;
    *request.headers_mut() = headers.clone();
    let form = Form::<T>::from_request(request, &()).await;
    form.map(|Form(fields)| fields).map_err(|error| ApiError::Text(error.status(), format!("{error}\n")))
}
