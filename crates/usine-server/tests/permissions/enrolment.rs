//! A client waits at `/api/enroll/` until its user, logged in, has decided on the page. And logging in itself.

use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use usine_db::{EnrolmentManager, UserManager};
use usine_protocol::enrolment::Enrolment;

use crate::app::{App, SOON, Words as _, eventually};

const PASSWORD: &str = "correct horse";

/// A browser: its cookies by name.
struct Browser<'a> {
    app: &'a App,
    cookies: std::collections::BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(app: &'a App) -> Self {
        Self { app, cookies: Default::default() }
    }

    async fn send(&mut self, request: RequestBuilder) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(COOKIE, cookies.join("; ")).send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        response
    }

    async fn get(&mut self, path: &str) -> Response {
        self.send(self.app.get(path)).await
    }

    /// Sends a form with the secret that the browser was given.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        // As pages show it, behind a mask; this one changes nothing.
        let secret = format!("{}{}", "0".repeat(64), self.cookies.get("csrftoken").cloned().unwrap_or_default());
        let mut fields = fields.to_vec();
        fields.push(("csrfmiddlewaretoken", &secret));
        self.send(self.app.request(Method::POST, path).fields(&fields)).await
    }

    async fn log_in(&mut self, name: &str) -> Response {
        self.get("/-/login/").await;
        self.post("/-/login/", &[("username", name), ("password", PASSWORD), ("next", "/-/login/")]).await
    }
}

/// A user with a password.
async fn person(app: &App, name: &str) {
    app.stranger_key(name).await;
    let user = app.user_row(name).await;
    UserManager(&app.state.database).set_password(&user, Some(PASSWORD), &*app.entropy).await.unwrap();
}

fn enrolment(nonce: &str) -> Enrolment {
    Enrolment {
        nonce: nonce.to_owned(),
        challenge: "apple banana cherry".to_owned(),
        scope: "debusine".to_owned(),
        hostname: "laptop <b>".to_owned(),
    }
}

/// Begins to wait: the answer, whose head is there at once.
async fn wait(app: &App, nonce: &str) -> Response {
    let answer = app.post("/api/enroll/", enrolment(nonce)).sent(200);
    tokio::time::timeout(SOON, answer).await.expect("the answer begins at once")
}

async fn decision(answer: Response) -> Value {
    let text = tokio::time::timeout(SOON, answer.text()).await.expect("a decision").unwrap();
    serde_json::from_str(text.trim()).unwrap()
}

crate::app::stories! {
    async fn a_confirmed_client_gets_a_token_that_works(app: App) {
        person(&app, "alice").await;
        app.contributes("alice").await;
        let mut browser = Browser::new(&app);
        let answer = wait(&app, "nonce-0001").await;

        let page = "/-/enroll/confirm/nonce-0001/";
        let moved = browser.get("/-/enroll/confirm/nonce-0001").await;
        assert_eq!((moved.status().as_u16(), &moved.headers()[LOCATION]), (301, &page.parse().unwrap()));
        let sent = browser.get(page).await;
        assert_eq!(sent.status(), 303, "who has not logged in is sent to do so");
        let login = sent.headers()[LOCATION].to_str().unwrap().to_owned();
        assert!(login.starts_with("/-/login/?next="), "{login}");
        assert_eq!(browser.get(&login).await.status(), 200);
        let back = browser.post("/-/login/", &[("username", "alice"), ("password", PASSWORD), ("next", page)]).await;
        assert_eq!((back.status().as_u16(), &back.headers()[LOCATION]), (303, &page.parse().unwrap()));

        let shown = browser.get(page).await;
        let policy = shown.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let html = shown.text().await.unwrap();
        assert!(html.contains("apple banana cherry") && !html.contains("<b>"), "{html}");
        assert!(!html.contains("There is no scope"), "{html}");
        assert_eq!(browser.post(page, &[("outcome", "confirm")]).await.status(), 200);

        let decision = decision(answer).await;
        assert_eq!(decision["outcome"], "confirm");
        assert_eq!(decision.as_object().unwrap().len(), 2, "clients allow no other keys");
        let key = decision["token"].as_str().unwrap();
        assert_eq!(app.get("/api/1.0/whoami/").key(key).answers(200).await["user"], "alice");
        app.post("/api/1.0/work-request/", json!({"task_name": "noop"})).key(key).answers(200).await;
        assert_eq!(browser.get(page).await.status(), 404, "it is over");
        app.end().await;
    }

    async fn a_cancelled_client_gets_none(app: App) {
        person(&app, "alice").await;
        let mut browser = Browser::new(&app);
        browser.log_in("alice").await;
        let answer = wait(&app, "nonce-0002").await;
        let page = "/-/enroll/confirm/nonce-0002/";
        browser.get(page).await;
        assert_eq!(browser.post(page, &[("outcome", "cancel")]).await.status(), 200);
        assert_eq!(decision(answer).await, json!({"outcome": "cancel", "token": null}));
        app.end().await;
    }

    /// A client that goes away leaves nothing behind that could be confirmed.
    async fn a_client_that_gives_up_is_forgotten(app: App) {
        let answer = wait(&app, "nonce-0003").await;
        let enrolments = EnrolmentManager(&app.state.database);
        assert!(enrolments.get_or_none("nonce-0003").await.unwrap().is_some());
        drop(answer);
        eventually(async || enrolments.get_or_none("nonce-0003").await.unwrap().is_none()).await;
        app.end().await;
    }

    async fn wrong_enrolments_are_refused(app: App) {
        let _waits = wait(&app, "nonce-0004").await;
        let post = |body: Value| app.post("/api/enroll/", body);
        let mut valid = json!(enrolment("nonce-0005"));
        for (key, value) in [("nonce", "short"), ("nonce", "has a blank"), ("challenge", "one two"), ("hostname", "a\nb")] {
            let mut wrong = valid.clone();
            wrong[key] = json!(value);
            assert_eq!(post(wrong).refused(400).await, "payload data is invalid", "{key} {value}");
        }
        assert_eq!(post(json!(enrolment("nonce-0004"))).refused(400).await, "duplicate or invalid request received");
        valid["more"] = json!(1);
        assert_eq!(post(valid.clone()).refused(400).await, "payload data is invalid");
        valid["more"] = json!("x".repeat(5000));
        assert_eq!(post(valid).refused(400).await, "JSON payload too big");
        let text = app.request(Method::POST, "/api/enroll/").body("{").header("content-type", "application/json");
        assert_eq!(text.refused(400).await, "payload is not valid JSON");
        let text = app.request(Method::POST, "/api/enroll/").body("{}").header("content-type", "text/plain");
        assert_eq!(text.refused(400).await, "only JSON data is accepted");
        app.end().await;
    }

    async fn forged_forms_change_nothing(app: App) {
        person(&app, "alice").await;
        let mut browser = Browser::new(&app);
        browser.log_in("alice").await;
        let _waits = wait(&app, "nonce-0006").await;
        let page = "/-/enroll/confirm/nonce-0006/";
        for secret in ["", "0000"] {
            let fields = [("outcome", "confirm"), ("csrfmiddlewaretoken", secret)];
            assert_eq!(browser.send(app.request(Method::POST, page).fields(&fields)).await.status(), 403);
        }
        let row = EnrolmentManager(&app.state.database).get_or_none("nonce-0006").await.unwrap().unwrap();
        assert_eq!(row.outcome, None);
        app.end().await;
    }

    async fn sessions_begin_and_end(app: App) {
        person(&app, "alice").await;
        let key = app.token_of(&app.user_row("alice").await, |_| {}).await;
        let mut browser = Browser::new(&app);
        browser.get("/-/login/").await;
        let wrong = browser.post("/-/login/", &[("username", "alice"), ("password", "wrong")]).await;
        assert!(wrong.text().await.unwrap().contains("correct name and password"));
        assert!(!browser.cookies.contains_key("sessionid"));
        let unknown = browser.post("/-/login/", &[("username", "nobody"), ("password", PASSWORD)]).await;
        assert!(unknown.text().await.unwrap().contains("correct name and password"));

        assert_eq!(browser.log_in("alice").await.status(), 303);
        let whoami: Value = browser.get("/api/1.0/whoami/").await.json().await.unwrap();
        assert_eq!(whoami["user"], "alice");
        let both = browser.send(app.get("/api/1.0/whoami/").key(&key)).await;
        assert_eq!(both.status(), 403);
        assert_eq!(both.text().await.unwrap(), "cannot use both Django and user token authentication");
        let list = browser.get("/api/1.0/work-request/").await;
        assert_eq!(list.status(), 403, "what needs a token does not take a session");

        let before = browser.cookies["sessionid"].clone();
        assert_eq!(browser.post("/-/logout/", &[]).await.status(), 303);
        browser.cookies.insert("sessionid".to_owned(), before);
        let whoami: Value = browser.get("/api/1.0/whoami/").await.json().await.unwrap();
        assert_eq!(whoami["user"], "<anonymous>", "the key of an ended session is worth nothing");
        app.end().await;
    }

    async fn passwords_are_not_guessed_quickly(app: App) {
        person(&app, "alice").await;
        let mut browser = Browser::new(&app);
        browser.get("/-/login/").await;
        for _ in 0..10 {
            let tried = browser.post("/-/login/", &[("username", "alice"), ("password", "wrong")]).await;
            assert_eq!(tried.status(), 200);
        }
        let refused = browser.log_in("alice").await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()[RETRY_AFTER], "900");
        app.clock.advance(chrono::TimeDelta::from_std(Duration::from_secs(900)).unwrap());
        assert_eq!(browser.log_in("alice").await.status(), 303);
        app.end().await;
    }
}
