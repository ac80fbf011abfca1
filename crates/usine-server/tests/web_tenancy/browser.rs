//! A browser without scripts: it keeps cookies, with their paths, and sends forms as pages have them.

use reqwest::header::{ACCEPT, CACHE_CONTROL, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};
use usine_db::SessionManager;
use usine_model::clock::Clock;

use crate::app::{App, Words as _};
use crate::html;

/// A cookie.
#[derive(Clone)]
struct Crumb {
    name: String,
    value: String,
    path: String,
}

/// A browser.
pub struct Browser<'a> {
    app: &'a App,
    cookies: Vec<Crumb>,
}

/// What a browser was answered.
pub struct Page {
    pub status: u16,
    pub location: String,
    pub body: String,
    /// How many queries the answer took.
    pub queries: u32,
    /// The cookies that it set, as they were sent.
    pub set: Vec<String>,
}

impl<'a> Browser<'a> {
    /// Nobody's.
    pub fn new(app: &'a App) -> Self {
        Self { app, cookies: Vec::new() }
    }

    /// Of a user who has logged in and seen a page.
    pub async fn of(app: &'a App, name: &str) -> Self {
        let user = app.user_row(name).await;
        let sessions = SessionManager(&app.state.database);
        let key = sessions.begin(&user, &*app.entropy, app.clock.now()).await.unwrap();
        let mut browser = Self::new(app);
        browser.keep(&format!("sessionid={}; Path=/", key.reveal()));
        browser.get("/-/login/").await;
        browser
    }

    /// Keeps a cookie.
    pub fn keep(&mut self, line: &str) {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attribute =
            |name: &str| line.split(';').filter_map(|part| part.trim().split_once('=')).find(|(key, _)| *key == name);
        let path = attribute("Path").map_or("/", |(_, path)| path).to_owned();
        self.cookies.retain(|cookie| (cookie.name.as_str(), &cookie.path) != (name, &path));
        if attribute("Max-Age").is_none_or(|(_, age)| age != "0") {
            self.cookies.push(Crumb { name: name.to_owned(), value: value.to_owned(), path });
        }
    }

    async fn send(&mut self, request: RequestBuilder, path: &str) -> Page {
        let sent = self.cookies.iter().filter(|cookie| path.starts_with(&cookie.path));
        let sent: Vec<String> = sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        let response: Response =
            request.header(COOKIE, sent.join("; ")).header(ACCEPT, "text/html").send().await.unwrap();
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let set: Vec<String> =
            response.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        for line in &set {
            self.keep(line);
        }
        let location = header(LOCATION.as_str());
        let queries = header("server-timing").split('"').nth(1).and_then(|words| words.split(' ').next()?.parse().ok());
        let is_page = header("content-type").starts_with("text/html");
        if is_page {
            assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
            assert_eq!(header(CACHE_CONTROL.as_str()), "no-store", "{path}");
        }
        let body = response.text().await.unwrap();
        if is_page {
            html::check(path, &body);
        }
        Page { status, location, body, queries: queries.unwrap_or_default(), set }
    }

    /// Opens a page. What it is made of is looked at.
    pub async fn get(&mut self, path: &str) -> Page {
        self.send(self.app.get(path), path).await
    }

    /// Opens a page that is there.
    pub async fn shown(&mut self, path: &str) -> String {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        page.body
    }

    /// Sends a form with the browser's secret.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let secret = self.cookies.iter().find(|cookie| cookie.name == "csrftoken").map(|cookie| cookie.value.clone());
        // A mask of zeros.
        let secret = format!("{}{}", "0".repeat(64), secret.unwrap_or_default());
        let mut fields = fields.to_vec();
        fields.push(("csrfmiddlewaretoken", &secret));
        self.forge(path, &fields).await
    }

    /// Sends a form as it is.
    pub async fn forge(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.app.request(Method::POST, path).fields(fields), path).await
    }

    /// Sends a form that is taken: the page that one is sent to.
    pub async fn done(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{path} {fields:?}: {}", answer.body);
        self.shown(&answer.location).await
    }

    /// Sends a form that is shown again: the page with the errors.
    pub async fn wrong(&mut self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 400, "{path} {fields:?}: {}", answer.body);
        assert!(answer.body.contains("aria-invalid=\"true\"") || answer.body.contains("role=\"alert\""));
        answer.body
    }
}
