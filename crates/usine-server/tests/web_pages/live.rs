//! Pages are told of changes, each of its own, and nobody of what they may not see.

use futures::StreamExt;
use reqwest::Method;
use tokio::time::timeout;
use usine_model::clock::Clock;
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;

use crate::app::{App, SOON};
use crate::visitor::{Visitor, about};

/// The next piece of a stream that tells of a change.
async fn told(stream: &mut (impl StreamExt<Item = reqwest::Result<bytes::Bytes>> + Unpin)) -> bool {
    let wait = async {
        while let Some(piece) = stream.next().await {
            if String::from_utf8_lossy(&piece.unwrap()).contains("event: changed") {
                return true;
            }
        }
        false
    };
    timeout(SOON, wait).await.expect("a change is told")
}

/// The address of the stream that a page names.
async fn stream_of(browser: &mut Visitor<'_>, page: &str) -> String {
    let html = browser.see(page).await.html;
    html.split("data-live=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

crate::app::stories! {
    async fn a_page_is_told_when_its_work_request_ends(app: App) {
        app.user("alice").await;
        let mut row = about(&app, "alice", "hello").await;
        let mut browser = Visitor::of(&app, "alice").await;
        let page = format!("/debusine/System/work-request/{}/", row.id);
        // The event of the submission may still be on its way to the streams: until they agree with the page.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        for address in [
            stream_of(&mut browser, &page).await,
            stream_of(&mut browser, "/debusine/System/work-request/").await,
            stream_of(&mut browser, "/").await,
        ] {
            let answer = browser.request(Method::GET, &address).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{address}");
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            let mut stream = Box::pin(answer.bytes_stream());
            let adjustment = row.priority_adjustment - 1;
            row.set_priority_adjustment(&app.state.database, adjustment, None, app.clock.now()).await.unwrap();
            assert!(told(&mut stream).await, "{address}");
        }
        row.mark_completed(&app.state.database, Results::Success, OutputData::default(), app.clock.now()).await.unwrap();
        browser.see(&page).await.has("success");
        app.end().await;
    }

    async fn a_page_that_was_long_on_its_way_is_told_at_once(app: App) {
        app.user("alice").await;
        let mut browser = Visitor::of(&app, "alice").await;
        let address = stream_of(&mut browser, "/").await;
        about(&app, "alice", "hello").await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        let answer = browser.request(Method::GET, &address).send().await.unwrap();
        assert!(told(&mut Box::pin(answer.bytes_stream())).await);
        app.end().await;
    }
}
