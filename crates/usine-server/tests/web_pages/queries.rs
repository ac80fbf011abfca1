//! Each page makes a fixed number of queries: as many with one row of each kind as with thirty, and no more than here.

use serde_json::json;
use usine_db::ArtifactManager;
use usine_db::artifact::{NewArtifact, NewFile};
use usine_model::artifact::ArtifactCategory;
use usine_model::clock::Clock;
use usine_model::output_data::OutputData;
use usine_model::work_request::Results;

use crate::app::App;
use crate::visitor::{Visitor, about};

/// The pages of a workspace, and the most queries of each, whoever asks being found out included.
const PAGES: [(&str, u64); 22] = [
    ("/", 10),
    ("/debusine/", 8),
    ("/debusine/System/", 26),
    ("/debusine/System/work-request/", 14),
    ("/debusine/System/work-request/?status=open&task=noop&arch=amd64&by=alice&worker=w-example-org", 16),
    ("/debusine/System/work-request/?result=bad", 14),
    ("/debusine/System/work-request/{pending}/", 34),
    ("/debusine/System/work-request/{ended}/", 30),
    ("/debusine/System/work-request/compare/?a={pending}&b={ended}", 16),
    ("/debusine/System/work-request/new/", 5),
    ("/debusine/System/work-request/new/?task=sbuild", 14),
    ("/debusine/System/artifact/", 8),
    ("/debusine/System/artifact/{artifact}/", 16),
    ("/debusine/System/artifact/{artifact}/file/notes.txt", 8),
    ("/debusine/System/artifact/new/", 5),
    ("/debusine/System/package/hello/", 12),
    ("/-/status/queue/", 10),
    ("/-/status/workers/", 8),
    ("/-/status/workers/w-example-org/", 14),
    ("/-/search/?q=hel", 8),
    ("/-/search/?q=nothing-is-called-so", 8),
    ("/-/login/", 3),
];

async fn fill(app: &App, count: usize) -> [i64; 3] {
    let mut ids = [0; 3];
    let (_, workspace) = app.system().await;
    for number in 0..count {
        let mut row = about(app, "alice", "hello").await;
        let bad = Results::Failure;
        row.mark_completed(&app.state.database, bad, OutputData::error("x", "It broke"), app.clock.now())
            .await
            .unwrap();
        ids[1] = row.id;
        ids[0] = about(app, "alice", &format!("hello-{number}")).await.id;
        let file = NewFile {
            path: "notes.txt".parse().unwrap(),
            sha256: [u8::try_from(number).unwrap(); 32],
            size: 3,
            content_type: None,
        };
        let new = NewArtifact {
            category: ArtifactCategory::Test,
            workspace_id: workspace.id,
            data: json!({}),
            files: vec![file],
            created_by: None,
            created_by_work_request: Some(row.id),
            expiration_delay: None,
        };
        ids[2] = ArtifactManager(&app.state.database).create(new, app.clock.now()).await.unwrap().id;
    }
    ids
}

crate::app::stories! {
    async fn no_page_asks_more_when_there_is_more(app: App) {
        app.user("alice").await;
        // One that fits, and runs nothing.
        let mut worker = app.worker("w.example.org", &["worker:build-arch:arm64"]).await;
        let mut few = Vec::new();
        for (count, compares) in [(1, false), (30, true)] {
            let [pending, ended, artifact] = fill(&app, count).await;
            let mut browser = Visitor::of(&app, "alice").await;
            for (index, (page, most)) in PAGES.iter().enumerate() {
                let address = page
                    .replace("{pending}", &pending.to_string())
                    .replace("{ended}", &ended.to_string())
                    .replace("{artifact}", &artifact.to_string());
                let queries = browser.see(&address).await.queries;
                assert!((1..=*most).contains(&queries), "{page}: {queries} queries");
                if compares {
                    assert_eq!(queries, few[index], "{page}: with more rows");
                } else {
                    few.push(queries);
                }
            }
        }
        worker.disconnect();
        app.end().await;
    }
}
