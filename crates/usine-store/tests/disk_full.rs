//! Stories of a disk that is full in the middle of a write.
//!
//! The test starts itself again under a file size limit (RLIMIT_FSIZE), which makes write(2) come up short and then fail
//! just as a full disk does, for any user and without a mount. That ENOSPC itself is recognised is tested on /dev/full.

mod common;

use std::process::Command;

use common::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use usine_store::{Put, StoreError, UploadError};

/// Set in the limited process.
const INSIDE: &str = "USINE_STORE_TEST_LIMITED";
/// In the units of `ulimit -f`, 512 or 1024 bytes by shell.
const LIMIT: &str = "300";

/// Runs the named test of this program again with the limit; true in that second run.
fn limited(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    // The kernel sends SIGXFSZ unless it is ignored; an ignored signal stays so across exec.
    let script = format!(r#"trap '' XFSZ && ulimit -S -f {LIMIT} && exec "$0" "$@""#);
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn limit() -> u64 {
    getrlimit(Resource::Fsize).current.expect("the test runs under a limit")
}

/// Somebody frees space.
fn make_room() {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn an_upload_survives_a_full_disk() {
    if limited("an_upload_survives_a_full_disk") {
        run(upload_to_a_full_disk());
    }
}

async fn upload_to_a_full_disk() {
    let machine = Machine::new().await;
    let (content, name) = (content(2 * limit() as usize + 77), name("full"));
    let (id, first) = (id_of(&content), limit() as usize - 1000);
    machine.send(&name, 0, id.size, &content[..first]).await.unwrap();

    let error = machine.send(&name, first as u64, id.size, &content[first..]).await.unwrap_err();
    assert!(matches!(error, UploadError::NoSpace { received, .. } if received == limit()), "{error:?}");
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(limit()));
    let again = machine.send(&name, limit(), id.size, &content[limit() as usize..]).await.unwrap_err();
    assert!(matches!(again, UploadError::NoSpace { received, .. } if received == limit()), "{again:?}");
    assert_eq!(std::fs::read(machine.staged(&name)).unwrap(), content[..limit() as usize]);

    let received = limit();
    make_room();
    machine.send(&name, received, id.size, &content[received as usize..]).await.unwrap();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

#[test]
fn a_store_that_is_full_stays_clean() {
    if limited("a_store_that_is_full_stays_clean") {
        run(put_into_a_full_store());
    }
}

async fn put_into_a_full_store() {
    let machine = Machine::new().await;
    let size = limit();
    let content = content(size as usize + 1);
    let (id, name) = (id_of(&content), name("copied"));
    let file = machine.file("part", &content[..size as usize]);
    make_room();
    std::fs::write(&file, &content).unwrap();
    machine.send(&name, 0, id.size, &content).await.unwrap();
    // A second name makes the store copy instead of move.
    std::fs::hard_link(&file, machine.dir.path().join("second name")).unwrap();
    std::fs::hard_link(machine.staged(&name), machine.dir.path().join("third name")).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: Some(size), maximum }).unwrap();

    assert!(matches!(machine.store.put(id, &file).await, Err(StoreError::NoSpace { .. })));
    let finish = machine.uploads.finish(&name, id, &*machine.store).await;
    assert!(matches!(finish, Err(UploadError::Store(StoreError::NoSpace { .. }))), "{finish:?}");
    assert!(machine.files_in_store().is_empty(), "neither a half file nor a temporary one");
    assert!(file.exists());
    assert_eq!(machine.uploads.received(&name).await.unwrap(), Some(id.size), "the upload is not lost");

    make_room();
    assert_eq!(machine.uploads.finish(&name, id, &*machine.store).await.unwrap(), Put::Added);
    assert_eq!(machine.store.put(id, &file).await.unwrap(), Put::AlreadyThere);
    assert_eq!(machine.read(id, 0..id.size).await.unwrap(), content);
}

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(story);
}
