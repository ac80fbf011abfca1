//! Enrolment against a server on which somebody takes their time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::{Value, json};
use usine_client::enrol::enrolment;
use usine_client::{Client, Error, Options, Timeouts};
use usine_model::entropy::CountingEntropy;

/// A client that waits a tenth of a second for everything but people.
async fn hasty(router: Router) -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let moment = Duration::from_millis(100);
    let timeouts = Timeouts { connect: moment * 50, read: moment };
    Client::new(Options { timeouts, ..Options::new(format!("http://{address}/api/")) }).unwrap()
}

/// Says nothing for a while, then a blank line, and in the end this.
fn slowly(end: Value) -> Response {
    let pieces = vec![String::new(), "\n".to_owned(), end.to_string()];
    let body = futures::stream::iter(pieces).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok::<_, std::convert::Infallible>(Bytes::from(piece))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response()
}

async fn outcome(end: Value) -> Result<Option<String>, Error> {
    let client = hasty(Router::new().route("/api/enroll/", post(async move || slowly(end)))).await;
    client.enrol(&enrolment("debusine", "laptop", &CountingEntropy::default())).await
}

#[tokio::test]
async fn people_may_take_longer_than_machines() {
    let token = "0123456789abcdef";
    assert_eq!(outcome(json!({"outcome": "confirm", "token": token})).await.unwrap().as_deref(), Some(token));
    assert_eq!(outcome(json!({"outcome": "cancel", "token": null})).await.unwrap(), None);
}

#[tokio::test]
async fn only_a_decision_is_taken_for_one() {
    for wrong in [
        json!({"outcome": "confirm", "token": null}),
        json!({"outcome": "confirm", "token": "short"}),
        json!({"outcome": "confirm", "token": "0123456789\nabcdef"}),
        json!({"outcome": "perhaps", "token": null}),
        json!({"outcome": "cancel", "token": null, "more": 1}),
        json!("confirm"),
    ] {
        assert!(matches!(outcome(wrong.clone()).await, Err(Error::InvalidBody { .. })), "{wrong}");
    }
}

#[tokio::test]
async fn the_request_is_what_servers_accept() {
    let take = async |Json(body): Json<Value>| {
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["nonce", "challenge", "scope", "hostname"]);
        let problem = r#"{"title": "duplicate or invalid request received"}"#;
        (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/problem+json")], problem)
    };
    let client = hasty(Router::new().route("/api/enroll/", post(take))).await;
    let refused = client.enrol(&enrolment("debusine", "laptop", &CountingEntropy::default())).await;
    assert!(matches!(refused, Err(Error::Problem { status: 400, .. })), "{refused:?}");
}
