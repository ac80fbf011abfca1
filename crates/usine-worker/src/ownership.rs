//! Whether a work request is still ours. An error page of something between us and the server must not cost a result.

use usine_client::{Client, Error};

/// What the server answers, as plain text with status 403, to the token of a work request that is over.
const NOT_RUNNING: &str = "work request is not running";

/// Whether it is the server that refuses: it says so in problem+json, or in its own words.
fn is_certain(error: &Error) -> bool {
    match error {
        Error::Problem { status, .. } => matches!(status, 403 | 404),
        Error::Forbidden { body, .. } => body.trim() == NOT_RUNNING,
        _ => false,
    }
}

/// Whether a call failed because the work request is no longer ours; where its answer leaves that open, the server is asked.
pub(crate) async fn is_lost_after(error: &Error, client: &Client, work_request: i64) -> bool {
    is_certain(error) || (error.is_refusal() && is_lost(client, work_request).await)
}

/// Asks the server, with the token of the work request; false if it gives no clear answer.
pub(crate) async fn is_lost(client: &Client, work_request: i64) -> bool {
    match client.whoami().await {
        Ok(whoami) => !whoami.auth || whoami.work_request.is_some_and(|id| id != work_request),
        Err(error) => is_certain(&error),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Path;
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;
    use axum::routing::get;
    use usine_client::Options;

    use super::*;

    /// One server for all cases: the first part of the path says how it answers to `whoami/`.
    async fn answer(Path(case): Path<String>) -> impl IntoResponse {
        let whoami = |auth: bool, work_request: &str| {
            let body = format!(r#"{{"user":"u","auth":{auth},"work_request":{work_request},"worker":false}}"#);
            (StatusCode::OK, "application/json", body)
        };
        let (status, content_type, body) = match case.as_str() {
            "ours" => whoami(true, "7"),
            "older" => whoami(true, "null"),
            "anonymous" => whoami(false, "null"),
            "other" => whoami(true, "8"),
            "over" => (StatusCode::FORBIDDEN, "text/plain; charset=utf-8", "work request is not running\n".to_owned()),
            "problem" => (StatusCode::FORBIDDEN, "application/problem+json", r#"{"title":"No"}"#.to_owned()),
            "proxy" => (StatusCode::FORBIDDEN, "text/plain", "Access denied".to_owned()),
            _ => (StatusCode::NOT_FOUND, "text/html", "<h1>Not found</h1>".to_owned()),
        };
        (status, [(header::CONTENT_TYPE, content_type)], body)
    }

    #[tokio::test]
    async fn only_the_server_takes_a_work_request_away() {
        let router = axum::Router::new().route("/{case}/api/1.0/whoami/", get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let expected = [
            ("ours", false),
            ("older", false),
            ("anonymous", true),
            ("other", true),
            ("over", true),
            ("problem", true),
            ("proxy", false),
            ("page", false),
        ];
        let page = Error::NotFound { url: "http://h/".to_owned(), body: String::new() };
        for (case, lost) in expected {
            let client = Client::new(Options::new(format!("http://{address}/{case}/api"))).unwrap();
            assert_eq!(is_lost(&client, 7).await, lost, "{case}");
            assert_eq!(is_lost_after(&page, &client, 7).await, lost, "{case}");
            let status = Error::UnexpectedStatus { status: 400, url: String::new(), retry_after: None };
            assert!(!is_lost_after(&status, &client, 7).await, "not a refusal");
        }
    }
}
