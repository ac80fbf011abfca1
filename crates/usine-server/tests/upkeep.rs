//! Upkeep of storage: expiry, vacuum and fsck, beside a server that goes on.

mod app;
#[path = "artifacts/server.rs"]
#[allow(dead_code, reason = "the stories of artifacts use more of it")]
mod server;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use app::{App, Words, eventually, noon, stories};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, PaginatorTrait, QueryFilter, Set};
use serde_json::json;
use server::{TestServer, now, of, sha256};
use tokio_util::sync::CancellationToken;
use usine_db::artifact::{NewArtifact, NewFile};
use usine_db::entity::{artifact, file, file_in_store, file_upload, token, work_request};
use usine_db::expiry::{Deleted, Needed};
use usine_db::storage::Content;
use usine_db::{ArtifactManager, ExpiryManager, StorageManager, WorkRequestManager};
use usine_model::artifact::ArtifactCategory;
use usine_protocol::work_request::CreateWorkRequest;
use usine_server::upkeep::{Expired, Finding, Vacuumed, What, expire, fsck, vacuum};
use usine_store::FileId;

const SAME: &[u8] = b"the same content";
const OTHER: &[u8] = b"another content";
const DAY: i64 = 24 * 3600;

impl TestServer {
    /// A complete artifact that expires after so many seconds.
    async fn expiring(&self, seconds: i64, files: &[(&str, &[u8])]) -> i64 {
        let mut body = of(files);
        body["expiration_delay"] = json!(seconds);
        let made = self.post("/api/1.0/artifact/", body).key(&self.alice).answers(201).await;
        let id = made["id"].as_i64().unwrap();
        self.upload(id, files, &self.alice).await;
        id
    }

    async fn expire_at(&self, now: DateTime<Utc>, dry_run: bool) -> Expired {
        expire(&self.state.storage(), now, dry_run, &CancellationToken::new()).await.unwrap()
    }

    /// Deletes what has expired by the server's clock.
    async fn expire(&self) -> Expired {
        self.expire_at(self.state.now(), false).await
    }

    async fn vacuum(&self, dry_run: bool) -> Vacuumed {
        let stop = CancellationToken::new();
        vacuum(&self.state.storage(), &self.state.logs(), self.state.now(), dry_run, &stop).await.unwrap()
    }

    async fn fsck(&self, fix: bool) -> Vec<Finding> {
        let store = ArtifactManager(&self.state.database).default_store().await.unwrap();
        fsck(&self.state.storage(), &store, self.state.now(), fix).await.unwrap()
    }

    async fn reads(&self, id: i64, path: &str) -> Vec<u8> {
        let address = format!("/debusine/System/artifact/{id}/raw/{path}");
        self.get(&address).key(&self.alice).sent(200).await.bytes().await.unwrap().to_vec()
    }

    async fn is_gone(&self, id: i64) {
        self.get(&format!("/api/1.0/artifact/{id}/")).key(&self.alice).refused(404).await;
    }

    /// The rows of an expired artifact go, as in the middle of an expiry; its files stay.
    async fn sweep(&self, id: i64) -> Deleted {
        let now = self.state.now();
        let swept = ExpiryManager(&self.state.database).sweep(&[id], &Needed::default(), now).await.unwrap().unwrap();
        assert_eq!(swept.artifacts, [id]);
        swept
    }

    /// All files below the store's directory.
    fn in_store(&self) -> BTreeSet<PathBuf> {
        fn below(directory: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    below(&path, found);
                } else {
                    found.insert(path);
                }
            }
        }
        let mut found = BTreeSet::new();
        below(&self.directory.path().join("store"), &mut found);
        found
    }

    /// Puts a file into the store's directory behind the server's back.
    fn smuggle(&self, bytes: &[u8], age: Duration) -> PathBuf {
        let path = self.stored(bytes);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let written = SystemTime::from(self.state.now()) - age;
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        path
    }

    async fn files(&self) -> u64 {
        file::Entity::find().count(self.state.database.reader()).await.unwrap()
    }
}

fn id_of(bytes: &[u8]) -> FileId {
    FileId::from_hex(&sha256(bytes), bytes.len() as u64).unwrap()
}

fn content(bytes: &[u8]) -> Content {
    Content { sha256: id_of(bytes).sha256, size: bytes.len() as u64 }
}

stories! {
    async fn what_has_expired_goes_with_its_files(server: TestServer) {
        let old = server.expiring(DAY, &[("a", SAME), ("b", OTHER)]).await;
        let young = server.expiring(2 * DAY, &[("a", SAME)]).await;
        assert_eq!(server.expire().await, Expired::default(), "nothing yet");
        server.pass(DAY);

        let would = server.expire_at(server.state.now(), true).await;
        let bytes = OTHER.len() as u64;
        assert_eq!(would, Expired { dry_run: true, artifacts: [old].into(), files: 1, bytes, ..Expired::default() });
        assert_eq!(server.reads(old, "b").await, OTHER, "a dry run changes nothing");

        assert_eq!(server.expire().await, Expired { dry_run: false, ..would });
        server.is_gone(old).await;
        assert_eq!(server.reads(young, "a").await, SAME);
        assert_eq!(server.in_store(), [server.stored(SAME)].into());
        assert_eq!(server.expire().await, Expired::default());
        server.pass(DAY);
        assert_eq!(server.expire().await.artifacts, [young].into());
        assert!(server.in_store().is_empty());
        assert_eq!(server.files().await, 0);
        server.stop().await;
    }

    async fn the_inputs_of_work_requests_stay_until_these_end(server: TestServer) {
        let (input, unrelated) = (server.expiring(DAY, &[("a", SAME)]).await, server.expiring(DAY, &[("b", OTHER)]).await);
        let (id, _) = server.running(&[input]).await;
        server.pass(2 * DAY);
        assert_eq!(server.expire().await.artifacts, [unrelated].into());
        let mut row = WorkRequestManager(&server.state.database).get(id).await.unwrap();
        row.mark_aborted(&server.state.database, server.state.now()).await.unwrap();
        assert_eq!(server.expire().await.artifacts, [input].into());
        server.stop().await;
    }

    async fn inputs_named_in_task_data_stay_while_the_work_request_waits(server: TestServer) {
        let body = json!({"category": "debian:upload", "workspace": "System", "files": {}, "data": {
            "type": "dpkg", "changes_fields": {"Architecture": "amd64", "Files": [{"name": "a_1_amd64.deb"}], "Source": "a", "Version": "1"}},
            "work_request": null, "expiration_delay": DAY});
        let mut inputs = Vec::new();
        for _ in 0..2 {
            let new = NewArtifact {
                category: ArtifactCategory::Upload,
                workspace_id: 1,
                data: body["data"].clone(),
                files: Vec::new(),
                created_by: None,
                created_by_work_request: None,
                expiration_delay: Some(DAY),
            };
            inputs.push(ArtifactManager(&server.state.database).create(new, now()).await.unwrap().id);
        }
        let client = server.client(Some(&server.alice));
        let new = CreateWorkRequest {
            task_name: "mergeuploads".to_owned(),
            task_data: json!({"input": {"uploads": [inputs[0]]}}),
            ..Default::default()
        };
        let waiting = client.create_work_request(&new).await.unwrap();
        server.pass(2 * DAY);
        assert_eq!(server.expire().await.artifacts, [inputs[1]].into());

        // One that is gone cannot be named any more.
        let late = CreateWorkRequest { task_data: json!({"input": {"uploads": [inputs[1]]}}), ..new };
        assert!(client.create_work_request(&late).await.is_err());
        let mut row = WorkRequestManager(&server.state.database).get(waiting.id).await.unwrap();
        row.mark_aborted(&server.state.database, server.state.now()).await.unwrap();
        assert_eq!(server.expire().await.artifacts, [inputs[0]].into());
        server.stop().await;
    }

    async fn an_upload_just_before_the_removal_keeps_the_content(server: TestServer) {
        let old = server.expiring(DAY, &[("a", SAME)]).await;
        server.pass(DAY);
        let swept = server.sweep(old).await;
        // The store has the content still, and says so to the upload.
        let new = server.expiring(9 * DAY, &[("b", SAME)]).await;
        let contents: Vec<Content> = swept.files.iter().filter_map(Content::of).collect();
        assert_eq!(server.state.storage().remove(&contents).await.unwrap(), Default::default());
        assert_eq!(server.reads(new, "b").await, SAME);
        assert_eq!(server.in_store(), [server.stored(SAME)].into());
        server.stop().await;
    }

    async fn an_upload_in_the_middle_of_the_removal_keeps_the_content(server: TestServer) {
        let (store, database) = (&server.state.store, &server.state.database);
        for begun_before in [true, false] {
            let old = server.expiring(DAY, &[("a", SAME)]).await;
            server.pass(DAY);
            server.sweep(old).await;
            // An artifact that is there before the copy is aside, or not.
            let early = if begun_before { Some(server.artifact(&[("b", SAME)]).await["id"].as_i64().unwrap()) } else { None };
            let aside = store.set_aside(id_of(SAME), [1; 32]).await.unwrap().unwrap();
            let new = match early {
                Some(id) => {
                    server.upload(id, &[("b", SAME)], &server.alice).await;
                    id
                }
                None => server.expiring(9 * DAY, &[("b", SAME)]).await,
            };
            assert_eq!(StorageManager(database).forget(&[content(SAME)]).await.unwrap(), [content(SAME)].into());
            store.put_back(aside).await.unwrap();
            assert_eq!(server.reads(new, "b").await, SAME);
            assert_eq!(server.in_store(), [server.stored(SAME)].into());
        }
        server.stop().await;
    }

    async fn an_upload_at_the_end_of_the_removal_brings_its_own_copy(server: TestServer) {
        let (store, database) = (&server.state.store, &server.state.database);
        let old = server.expiring(DAY, &[("a", SAME)]).await;
        server.pass(DAY);
        server.sweep(old).await;
        let aside = store.set_aside(id_of(SAME), [1; 32]).await.unwrap().unwrap();
        assert!(StorageManager(database).forget(&[content(SAME)]).await.unwrap().is_empty());
        let new = server.expiring(9 * DAY, &[("b", SAME)]).await;
        // Another process is behind, and sets the new copy aside.
        let other = store.set_aside(id_of(SAME), [2; 32]).await.unwrap().unwrap();
        assert_eq!(server.reads(new, "b").await, SAME, "it is read while it is aside");
        store.discard(aside).await.unwrap();
        assert_eq!(StorageManager(database).forget(&[content(SAME)]).await.unwrap(), [content(SAME)].into());
        store.put_back(other).await.unwrap();
        assert_eq!(server.reads(new, "b").await, SAME);
        server.stop().await;
    }

    async fn uploads_and_removals_of_one_content_at_once_lose_nothing(server: TestServer) {
        let storage = server.state.storage();
        let upload = || async {
            let mut kept = Vec::new();
            for round in 0..8 {
                // Every other one has expired when it is made: the clock of the test stands still.
                let seconds = if round % 2 == 0 { 9 * DAY } else { -1 };
                let new = NewArtifact {
                    category: ArtifactCategory::Test,
                    workspace_id: 1,
                    data: json!({}),
                    files: vec![NewFile {
                        path: "a".parse().unwrap(),
                        sha256: content(SAME).sha256,
                        size: SAME.len() as u64,
                        content_type: None,
                    }],
                    created_by: None,
                    created_by_work_request: None,
                    expiration_delay: Some(seconds),
                };
                let id = ArtifactManager(&server.state.database).create(new, now()).await.unwrap().id;
                if seconds > 0 {
                    server.upload(id, &[("a", SAME)], &server.alice).await;
                    kept.push(id);
                    assert_eq!(server.reads(id, "a").await, SAME);
                    // It goes again, so that the next one may be the only one.
                    let short = artifact::ActiveModel { id: Set(id), expiration_delay: Set(Some(-1)), ..Default::default() };
                    if round % 4 == 0 {
                        short.update(server.state.database.reader()).await.unwrap();
                        kept.pop();
                    }
                }
            }
            kept
        };
        let done = CancellationToken::new();
        let remove = || async {
            while !done.is_cancelled() {
                storage.remove(&[content(SAME)]).await.unwrap();
                server.expire().await;
                storage.settle().await.unwrap();
            }
        };
        let uploads = async {
            let kept = futures::future::join_all((0..3).map(|_| upload())).await;
            done.cancel();
            kept.concat()
        };
        let (kept, (), ()) = futures::join!(uploads, remove(), remove());
        for id in kept {
            assert_eq!(server.reads(id, "a").await, SAME);
        }
        server.expire().await;
        assert_eq!(server.in_store(), [server.stored(SAME)].into(), "and nothing is left aside");
        server.stop().await;
    }

    async fn an_expiry_that_is_killed_is_ended_by_the_vacuum(server: TestServer) {
        let (store, database) = (&server.state.store, &server.state.database);
        // After the rows of the artifact; after setting aside; after the rows of the file.
        for window in 0..3 {
            let old = server.expiring(DAY, &[("a", SAME)]).await;
            server.pass(DAY);
            server.sweep(old).await;
            if window > 0 {
                store.set_aside(id_of(SAME), [window; 32]).await.unwrap().unwrap();
            }
            if window > 1 {
                assert!(StorageManager(database).forget(&[content(SAME)]).await.unwrap().is_empty());
            }
            assert_eq!(usine_db::invariants::check(database).await.unwrap(), []);
            let done = server.vacuum(false).await;
            assert_eq!(done.files, 1, "window {window}");
            assert!(server.in_store().is_empty());
            assert_eq!(server.files().await, 0);
        }
        // A copy that somebody needs was aside.
        let kept = server.expiring(9 * DAY, &[("a", SAME)]).await;
        store.set_aside(id_of(SAME), [9; 32]).await.unwrap().unwrap();
        assert_eq!(server.reads(kept, "a").await, SAME);
        assert_eq!(server.vacuum(false).await.files, 0);
        assert_eq!(server.in_store(), [server.stored(SAME)].into());
        server.stop().await;
    }

    async fn the_vacuum_clears_away_what_was_never_ended(server: TestServer) {
        let database = &server.state.database;
        let abandoned = server.artifact(&[("a", SAME), ("b", OTHER)]).await["id"].as_i64().unwrap();
        server.put(abandoned, "a", "bytes 0-3/16", &SAME[..4]).sent(200).await;
        let staged = server.staged().remove(0);
        assert_eq!(server.vacuum(false).await, Vacuumed::default());

        // Its staged file is gone, and nobody goes on.
        std::fs::remove_file(&staged).unwrap();
        server.pass(2 * 3600);
        assert_eq!(server.vacuum(true).await, Vacuumed { dry_run: true, uploads: 1, ..Vacuumed::default() });
        assert_eq!(file_upload::Entity::find().count(database.reader()).await.unwrap(), 1);
        assert_eq!(server.vacuum(false).await.uploads, 1);
        assert_eq!(file_upload::Entity::find().count(database.reader()).await.unwrap(), 0);

        server.pass(DAY);
        let would = server.vacuum(true).await;
        assert_eq!(would.incomplete_artifacts, [abandoned]);
        let done = server.vacuum(false).await;
        assert_eq!(done.incomplete_artifacts, [abandoned]);
        server.is_gone(abandoned).await;
        assert_eq!(server.files().await, 0);
        server.stop().await;
    }

    async fn empty_directories_go_when_they_are_old(server: TestServer) {
        let old = server.expiring(1, &[("a", SAME)]).await;
        server.pass(1);
        assert_eq!(server.expire().await.artifacts, [old].into());
        let directory = server.stored(SAME).parent().unwrap().to_owned();
        assert!(directory.is_dir());
        // The directories' times are of this machine's clock, not of the server's.
        let made: DateTime<Utc> = directory.metadata().unwrap().modified().unwrap().into();
        server.clock.advance(made + TimeDelta::days(2) - server.state.now());
        assert_eq!(server.vacuum(false).await.directories, 3);
        assert!(!directory.exists());
        let again = server.expiring(0, &[("a", SAME)]).await;
        assert_eq!(server.reads(again, "a").await, SAME);
        server.stop().await;
    }

    async fn fsck_finds_and_repairs(server: TestServer) {
        let database = &server.state.database;
        let kept = server.expiring(0, &[("a", SAME), ("b", OTHER)]).await;
        assert_eq!(server.fsck(false).await, []);

        let old = server.smuggle(b"unknown", Duration::from_secs(25 * 3600));
        let young = server.smuggle(b"young", Duration::from_secs(23 * 3600));
        let strange = young.with_file_name("README");
        std::fs::write(&strange, "x").unwrap();
        std::fs::rename(server.stored(OTHER), server.directory.path().join("lost")).unwrap();
        let unknown = |fixed| Finding { what: What::UnknownFile { file: id_of(b"unknown").to_string() }, fixed };
        let stranger = Finding { what: What::StrangeFile { path: strange.display().to_string() }, fixed: false };
        let missing = |fixed| Finding { what: What::MissingFile { file: id_of(OTHER).to_string() }, fixed };
        let sorted = |mut findings: Vec<Finding>| {
            findings.sort_by_key(|finding| finding.what.to_string());
            findings
        };
        let before = server.in_store();
        for _ in 0..2 {
            let expected = sorted(vec![unknown(false), stranger.clone(), missing(false)]);
            assert_eq!(sorted(server.fsck(false).await), expected);
        }
        assert_eq!(server.in_store(), before, "looking changes nothing");

        let expected = sorted(vec![unknown(true), stranger.clone(), missing(true)]);
        assert_eq!(sorted(server.fsck(true).await), expected);
        assert!(!old.exists() && young.exists() && strange.exists());
        std::fs::remove_file(&strange).unwrap();
        let unstored = |fixed| Finding { what: What::UnstoredFile { file: id_of(OTHER).to_string() }, fixed };
        assert_eq!(server.fsck(true).await, [unstored(false)], "what is lost stays a fault");

        // Another artifact does not count on it, and its upload brings it back for both.
        let again = server.expiring(0, &[("c", OTHER)]).await;
        assert_eq!(server.reads(again, "c").await, OTHER);
        assert_eq!(server.reads(kept, "b").await, OTHER);
        assert_eq!(server.fsck(false).await, []);

        // The store has it, but nobody knows.
        file_in_store::Entity::delete_many().exec(database.reader()).await.unwrap();
        assert_eq!(server.fsck(true).await.iter().filter(|finding| finding.fixed).count(), 2);
        assert_eq!(server.fsck(false).await, []);

        // It has lost bytes.
        let path = server.stored(SAME);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, &SAME[1..]).unwrap();
        let damaged = Finding { what: What::MissingFile { file: id_of(SAME).to_string() }, fixed: false };
        assert_eq!(server.fsck(false).await, [damaged]);
        std::fs::write(&path, SAME).unwrap();
        assert_eq!(server.fsck(false).await, []);
        server.stop().await;
    }

    async fn work_goes_on_during_a_long_expiry(app: App) {
        let database = &app.state.database;
        let row = artifact::ActiveModel {
            id: NotSet,
            category: Set(usine_db::Text(ArtifactCategory::Test)),
            workspace_id: Set(1),
            data: Set(json!({})),
            created_at: Set(noon() - TimeDelta::days(2)),
            expiration_delay: Set(Some(DAY)),
            created_by_id: Set(None),
            created_by_work_request_id: Set(None),
            original_artifact_id: Set(None),
        };
        for _ in 0..8 {
            artifact::Entity::insert_many(vec![row.clone(); 300]).exec_without_returning(database.reader()).await.unwrap();
        }
        let client = app.user("alice").await;
        let mut worker = app.worker("w.example.org", &[]).await;
        let storage = app.state.storage();
        let stop = CancellationToken::new();
        let work = async {
            for _ in 0..10 {
                let submitted = app.noop(&client).await;
                let taken = worker.take().await;
                assert_eq!(taken.id, submitted.id);
                worker.report(&taken, usine_model::work_request::Results::Success).await.unwrap();
            }
        };
        let (expired, ()) = futures::join!(expire(&storage, app.state.now(), false, &stop), work);
        assert_eq!(expired.unwrap().artifacts.len(), 2400);
        assert_eq!(artifact::Entity::find().count(database.reader()).await.unwrap(), 0);
        app.end().await;
    }

    async fn an_expiry_stops_between_two_batches(server: TestServer) {
        let old = server.expiring(DAY, &[("a", SAME)]).await;
        server.pass(DAY);
        let stop = CancellationToken::new();
        stop.cancel();
        let expired = expire(&server.state.storage(), server.state.now(), false, &stop).await.unwrap();
        assert_eq!(expired, Expired::default());
        assert_eq!(server.expire().await.artifacts, [old].into());
        server.stop().await;
    }

    async fn the_server_expires_and_vacuums_by_itself(app: App) {
        let mut app = app;
        let client = app.user("alice").await;
        let mut row = WorkRequestManager(&app.state.database).get(app.noop(&client).await.id).await.unwrap();
        row.mark_aborted(&app.state.database, app.state.now()).await.unwrap();
        let short = work_request::ActiveModel { id: Set(row.id), expiration_delay: Set(Some(60)), ..Default::default() };
        short.update(app.state.database.reader()).await.unwrap();
        let old = token::Entity::update_many()
            .col_expr(token::Column::ExpireAt, sea_orm::sea_query::Expr::value(noon()))
            .filter(token::Column::UserId.is_not_null());
        old.exec(app.state.database.reader()).await.unwrap();
        let orphan = file::ActiveModel { id: NotSet, sha256: Set(vec![9; 32]), size: Set(3) };
        orphan.insert(app.state.database.reader()).await.unwrap();
        app.pass(60);
        app.restart_with(|config| {
            config.expire_interval = 1;
            config.vacuum_interval = 1;
        })
        .await;
        let database = app.state.database.clone();
        eventually(async || {
            let (work_requests, tokens, files) = (
                work_request::Entity::find().count(database.reader()).await.unwrap(),
                token::Entity::find().count(database.reader()).await.unwrap(),
                file::Entity::find().count(database.reader()).await.unwrap(),
            );
            work_requests + tokens + files == 0
        })
        .await;
        app.end().await;
    }
}
