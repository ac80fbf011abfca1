//! Short words for plain HTTP requests and what they must be answered with.

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// The words.
pub trait Words {
    /// With this token.
    fn key(self, key: &str) -> RequestBuilder;
    /// With these fields of a form.
    fn fields(self, fields: &[(&str, &str)]) -> RequestBuilder;
    /// Sends it; the answer, which has this status.
    async fn sent(self, status: u16) -> Response;
    /// Sends it; the JSON in the answer, which has this status.
    async fn answers(self, status: u16) -> Value;
    /// Sends it; the answer has this status and a body of no bytes, which some clients insist on.
    async fn empty(self, status: u16);
    /// Sends it; the plain text in the answer, which has this status.
    async fn says(self, status: u16) -> String;
    /// Sends it; the title of the problem, which has this status, and what else it says.
    async fn refused(self, status: u16) -> String;
}

impl Words for RequestBuilder {
    fn key(self, key: &str) -> RequestBuilder {
        // Replaces an earlier one.
        let (client, request) = self.build_split();
        let mut request = request.unwrap();
        request.headers_mut().insert(HeaderName::from_static("token"), HeaderValue::from_str(key).unwrap());
        RequestBuilder::from_parts(client, request)
    }

    fn fields(self, fields: &[(&str, &str)]) -> RequestBuilder {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(form)
    }

    async fn sent(self, status: u16) -> Response {
        let response = self.send().await.unwrap();
        if response.status() != status {
            let found = response.status();
            panic!("{found} instead of {status}: {}", response.text().await.unwrap());
        }
        response
    }

    async fn answers(self, status: u16) -> Value {
        let response = self.sent(status).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        response.json().await.unwrap()
    }

    async fn empty(self, status: u16) {
        let body = self.sent(status).await.bytes().await.unwrap();
        assert!(body.is_empty(), "{body:?}");
    }

    async fn says(self, status: u16) -> String {
        let response = self.sent(status).await;
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("text/plain"), "{content_type}");
        response.text().await.unwrap()
    }

    async fn refused(self, status: u16) -> String {
        let response = self.sent(status).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: Value = response.json().await.unwrap();
        let known = ["title", "detail", "validation_errors"];
        assert!(problem.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{problem}");
        let title = problem["title"].as_str().unwrap().to_owned();
        // What is wrong in detail, as one text.
        [("detail", " | "), ("validation_errors", " | ")].iter().fold(title, |text, (key, between)| {
            problem.get(key).map_or(text.clone(), |value| {
                format!("{text}{between}{}", value.as_str().map_or(value.to_string(), str::to_owned))
            })
        })
    }
}
