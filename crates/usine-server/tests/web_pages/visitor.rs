//! Somebody with a browser.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use usine_db::SessionManager;
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{WorkRequest, WorkRequestManager};
use usine_model::clock::Clock;
use usine_model::tags;

use crate::app::App;

/// A browser, whose user may have logged in.
pub struct Visitor<'a> {
    app: &'a App,
    cookies: Vec<(String, String)>,
}

/// A page that was answered.
pub struct Page {
    pub status: StatusCode,
    pub html: String,
    pub queries: u64,
    pub location: Option<String>,
}

impl<'a> Visitor<'a> {
    /// Nobody in particular.
    pub fn nobody(app: &'a App) -> Self {
        Self { app, cookies: Vec::new() }
    }

    /// A user who has logged in.
    pub async fn of(app: &'a App, name: &str) -> Self {
        let user = app.user_row(name).await;
        let sessions = SessionManager(&app.state.database);
        let key = sessions.begin(&user, &*app.entropy, app.clock.now()).await.unwrap();
        Self { app, cookies: vec![("sessionid".to_owned(), key.reveal().to_owned())] }
    }

    /// A request of this browser.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.app.request(method, path).header("accept", "text/html");
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    /// Opens a page.
    pub async fn go(&mut self, path: &str) -> Page {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        self.take(answer).await
    }

    /// Opens a page that is there.
    pub async fn see(&mut self, path: &str) -> Page {
        let page = self.go(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.html);
        page
    }

    /// Sends a form to this address, with the secret of the page that has it.
    pub async fn submit(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let secret = self.see(page).await.secret();
        let mut all = vec![("csrfmiddlewaretoken", secret.as_str())];
        all.extend(fields);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        let request = self.request(Method::POST, action).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body).send().await.unwrap();
        self.take(answer).await
    }

    /// Keeps the cookies of an answer, as browsers do.
    pub async fn take(&mut self, answer: Response) -> Page {
        for line in answer.headers().get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite="), "{line}");
            self.cookies.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        let status = answer.status();
        let text = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let timing = text("server-timing").expect("Server-Timing");
        let queries = timing.split("desc=\"").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let location = text("location");
        Page { status, html: answer.text().await.unwrap(), queries, location }
    }
}

impl Page {
    /// The secret of its forms.
    pub fn secret(&self) -> String {
        let rest = self.html.split("name=\"csrfmiddlewaretoken\" value=\"").nth(1).expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Fails unless the page has this text.
    pub fn has(&self, text: &str) -> &Self {
        assert!(self.html.contains(text), "no {text:?} in {}", self.html);
        self
    }

    /// Fails if the page has this text.
    pub fn has_not(&self, text: &str) -> &Self {
        assert!(!self.html.contains(text), "{text:?} in {}", self.html);
        self
    }
}

/// A work request about a package, which nobody runs yet.
pub async fn about(app: &App, user: &str, subject: &str) -> WorkRequest {
    let (_, workspace) = app.system().await;
    let user = app.user_row(user).await;
    let new = NewWorkRequest {
        subject: subject.to_owned(),
        summary: format!("{subject}_1.0-1"),
        ..NewWorkRequest::of_worker_task(workspace.id, user.id, "noop")
    };
    let required = [tags::build_arch("amd64")].into();
    let tags = SchedulerTags { required, provided: Default::default() };
    WorkRequestManager(&app.state.database).create(&new, &tags, app.clock.now()).await.unwrap()
}
