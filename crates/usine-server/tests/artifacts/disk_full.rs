//! A disk that is full in the middle of an upload.
//!
//! The test starts itself again under a file size limit (RLIMIT_FSIZE), which makes write(2) fail as a full disk does.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::server::{TestServer, Words};
use crate::support::TestDatabase;

/// Set in the limited process.
const INSIDE: &str = "USINE_SERVER_TEST_LIMITED";

/// In the units of `ulimit -f`, 512 or 1024 bytes by shell: enough for the database.
const LIMIT: &str = "16384";

#[tokio::test]
async fn an_upload_goes_on_when_there_is_room_again() {
    if std::env::var_os(INSIDE).is_some() {
        return upload_to_a_full_disk().await;
    }
    // The kernel sends SIGXFSZ unless it is ignored; an ignored signal stays so across exec.
    let script = format!(r#"trap '' XFSZ && ulimit -S -f {LIMIT} && exec "$0" "$@""#);
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk_full::an_upload_goes_on_when_there_is_room_again"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn upload_to_a_full_disk() {
    let limit = getrlimit(Resource::Fsize);
    let room = usize::try_from(limit.current.expect("the test runs under a limit")).unwrap();
    // On SQLite: a cluster of PostgreSQL that this process starts would be under the limit as well.
    let database = TestDatabase::sqlite().await;
    let server = TestServer::start(&database).await;
    let content: Vec<u8> = (0..room + 1_000_000).map(|n| (n % 251) as u8).collect();
    let size = content.len();
    let made = server.artifact(&[("large", &content)]).await;
    let id = made["id"].as_i64().unwrap();
    let put = |from: usize| server.put(id, "large", &format!("bytes {from}-{}/{size}", size - 1), &content[from..]);

    let title = put(0).refused(507).await;
    assert!(title.starts_with("The server's disk is full | Ask the administrator to free some space"), "{title}");
    let probe = || server.put(id, "large", &format!("bytes */{size}"), b"").sent(206);
    assert_eq!(probe().await.headers()["range"], format!("bytes=0-{room}").as_str(), "what had room is kept");
    let shown = server.get(&format!("/api/1.0/artifact/{id}/")).answers(200).await;
    assert_eq!(shown["files_to_upload"], json!(["large"]));
    assert!(!server.stored(&content).exists());

    setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    put(room).sent(201).await;
    assert!(std::fs::read(server.stored(&content)).unwrap() == content);
    server.stop().await;
    database.remove().await;
}
