//! Artifacts, their files, uploads and relations, on both databases.

mod support;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, EntityTrait, NotSet, Set};
use serde_json::json;
use support::both;
use usine_db::artifact::{ArtifactFilter, NewArtifact, NewFile, Upload, expire_at};
use usine_db::entity::{file, user, work_request, workspace};
use usine_db::{Artifact, ArtifactManager, Database, Error, Text};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::work_request::{Results, Statuses, TaskType};

fn now() -> DateTime<Utc> {
    "2026-03-01T10:20:30.123456Z".parse().unwrap()
}

fn file(path: &str, digest: u8, size: u64) -> NewFile {
    NewFile { path: path.parse().unwrap(), sha256: [digest; 32], size, content_type: Some("text/plain".to_owned()) }
}

fn of(workspace_id: i64, files: Vec<NewFile>) -> NewArtifact {
    NewArtifact {
        category: ArtifactCategory::Test,
        workspace_id,
        data: json!({"z": 1, "a": [null, "ü"]}),
        files,
        created_by: None,
        created_by_work_request: None,
        expiration_delay: None,
    }
}

async fn workspace(db: &Database, name: &str) -> i64 {
    let row = workspace::ActiveModel {
        id: NotSet,
        scope_id: Set(1),
        name: Set(name.to_owned()),
        public: Set(true),
        default_expiration_delay: Set(0),
        expiration_delay: Set(None),
        created_at: Set(now()),
        description: Set(String::new()),
        ..Default::default()
    };
    row.insert(db.reader()).await.unwrap().id
}

async fn system(db: &Database) -> workspace::Model {
    workspace::Entity::find().one(db.reader()).await.unwrap().unwrap()
}

async fn work_request(db: &Database) -> i64 {
    let creator = user::Entity::find().one(db.reader()).await.unwrap().unwrap();
    let row = work_request::ActiveModel {
        workspace_id: Set(system(db).await.id),
        created_at: Set(now()),
        created_by_id: Set(creator.id),
        status: Set(Text(Statuses::Pending)),
        result: Set(Text(Results::None)),
        task_type: Set(Text(TaskType::Worker)),
        task_name: Set("noop".to_owned()),
        ..Default::default()
    };
    row.insert(db.reader()).await.unwrap().id
}

/// Paths of the files that have not arrived.
async fn missing(db: &Database, artifact: &Artifact) -> Vec<String> {
    let files = ArtifactManager(db).files(artifact.id).await.unwrap();
    files.into_iter().filter(|(entry, _)| !entry.complete).map(|(entry, _)| entry.path).collect()
}

/// As the server does when the bytes are in the store.
async fn complete(db: &Database, artifact: &Artifact) {
    let artifacts = ArtifactManager(db);
    let store = artifacts.default_store().await.unwrap();
    for (entry, _) in artifacts.files(artifact.id).await.unwrap() {
        artifacts.complete_file(entry.id, store.id).await.unwrap();
    }
}

both! {
    async fn an_artifact_is_kept_as_it_was_made(db: &Database) {
        let artifacts = ArtifactManager(db);
        let made = artifacts.create(of(1, vec![file("b/x", 1, 10), file("B", 2, 20), file("a", 1, 10)]), now()).await.unwrap();
        assert_eq!(artifacts.get(made.id).await.unwrap(), made);
        assert_eq!(made.created_at, now());
        assert_eq!(made.data["a"], json!([null, "ü"]));

        let files = artifacts.files(made.id).await.unwrap();
        let paths: Vec<_> = files.iter().map(|(entry, content)| (entry.path.as_str(), content.sha256[0], content.size)).collect();
        assert_eq!(paths, [("B", 2, 20), ("a", 1, 10), ("b/x", 1, 10)], "in the order of bytes");
        assert_eq!(files[1].1.id, files[2].1.id, "the same content once");

        let (entry, content) = artifacts.file(made.id, "b/x").await.unwrap().unwrap();
        assert_eq!((entry.content_type.as_deref(), content.size), (Some("text/plain"), 10));
        for absent in ["c", "", "../a", "a\0b"] {
            assert_eq!(artifacts.file(made.id, absent).await.unwrap(), None, "{absent:?}");
        }
        assert_eq!(artifacts.get_or_none(made.id + 1).await.unwrap(), None);
        assert!(matches!(artifacts.get(made.id + 1).await, Err(Error::DoesNotExist { kind: "Artifact", .. })));
    }

    async fn wrong_artifacts_leave_nothing_behind(db: &Database) {
        let artifacts = ArtifactManager(db);
        let mut wrong = of(1, vec![file("a", 1, 10)]);
        wrong.category = ArtifactCategory::SourcePackage;
        let Err(Error::Invalid(text)) = artifacts.create(wrong, now()).await else { panic!("data is not checked") };
        assert!(text.starts_with("invalid artifact data: "), "{text}");

        for (data, expected) in [
            (json!([]), "data must be a dictionary"),
            (json!({"a": [{"b\0": 1}]}), "invalid artifact data: NUL characters cannot be stored"),
        ] {
            let wrong = NewArtifact { data, ..of(1, vec![]) };
            assert_eq!(artifacts.create(wrong, now()).await.unwrap_err().to_string(), expected);
        }

        let twice = of(1, vec![file("a", 1, 10), file("a", 2, 10)]);
        assert!(matches!(artifacts.create(twice, now()).await, Err(Error::Integrity(_))));
        assert!(matches!(artifacts.create(of(99, vec![]), now()).await, Err(Error::Integrity(_))));
        assert!(matches!(artifacts.create(of(1, vec![file("a", 1, u64::MAX)]), now()).await, Err(Error::Invalid(_))));

        assert_eq!(artifacts.list(&ArtifactFilter::default()).await.unwrap(), []);
        assert_eq!(file::Entity::find().all(db.reader()).await.unwrap(), []);
    }

    async fn content_is_reused_in_its_own_workspace_only(db: &Database) {
        let artifacts = ArtifactManager(db);
        let other = workspace(db, "other").await;
        let same = || vec![file("big", 7, 100), file("empty", 8, 0)];

        let first = artifacts.create(of(1, same()), now()).await.unwrap();
        assert_eq!(missing(db, &first).await, ["big"], "empty files are complete at once");
        let early = artifacts.create(of(1, same()), now()).await.unwrap();
        assert_eq!(missing(db, &early).await, ["big"], "nobody has it yet");

        complete(db, &first).await;
        let late = artifacts.create(of(1, vec![file("renamed", 7, 100), file("longer", 7, 101)]), now()).await.unwrap();
        assert_eq!(missing(db, &late).await, ["longer"], "a content is hash and size");
        assert_eq!(missing(db, &early).await, ["big"], "what is under way is still waited for");
        let foreign = artifacts.create(of(other, same()), now()).await.unwrap();
        assert_eq!(missing(db, &foreign).await, ["big"], "nobody reads a content by naming its hash");

        usine_db::entity::file_in_store::Entity::delete_many().exec(db.reader()).await.unwrap();
        let after_loss = artifacts.create(of(1, same()), now()).await.unwrap();
        assert_eq!(missing(db, &after_loss).await, ["big"], "no store has it any more");
    }

    async fn an_upload_begins_goes_on_and_ends(db: &Database) {
        let artifacts = ArtifactManager(db);
        let made = artifacts.create(of(1, vec![file("a", 1, 10), file("b", 2, 20)]), now()).await.unwrap();
        let files = artifacts.files(made.id).await.unwrap();
        let (a, b) = (&files[0].0, &files[1].0);
        assert_eq!(artifacts.upload_of(a.id).await.unwrap(), None);

        let Upload::InProgress(upload) = artifacts.begin_upload(a.id, "stage-a", now()).await.unwrap() else { panic!() };
        assert_eq!((upload.path.as_str(), upload.last_activity_at), ("stage-a", now()));
        let later = now() + TimeDelta::minutes(5);
        let again = artifacts.begin_upload(a.id, "another-name", later).await.unwrap();
        assert_eq!(again, Upload::InProgress(upload.clone()), "one upload per file");
        assert!(matches!(artifacts.begin_upload(b.id, "stage-a", now()).await, Err(Error::Integrity(_))));

        let Upload::InProgress(other) = artifacts.begin_upload(b.id, "stage-b", later).await.unwrap() else { panic!() };
        assert_eq!(artifacts.stale_uploads(later).await.unwrap(), std::slice::from_ref(&upload));
        assert!(artifacts.touch_upload(upload.id, later).await.unwrap());
        assert_eq!(artifacts.stale_uploads(later).await.unwrap(), []);
        assert_eq!(artifacts.stale_uploads(later + TimeDelta::seconds(1)).await.unwrap().len(), 2);

        assert!(artifacts.discard_upload(b.id).await.unwrap());
        assert!(!artifacts.discard_upload(b.id).await.unwrap());
        assert!(!artifacts.touch_upload(other.id, later).await.unwrap());

        let store = artifacts.default_store().await.unwrap();
        assert!(!artifacts.is_in_store(a.file_id).await.unwrap());
        for _ in 0..2 {
            artifacts.complete_file(a.id, store.id).await.unwrap();
            assert_eq!(missing(db, &made).await, ["b"]);
            assert!(artifacts.is_in_store(a.file_id).await.unwrap());
            assert_eq!(artifacts.upload_of(a.id).await.unwrap(), None);
        }
        assert_eq!(artifacts.begin_upload(a.id, "stage-a", later).await.unwrap(), Upload::Complete);
        assert!(matches!(artifacts.complete_file(99, store.id).await, Err(Error::DoesNotExist { .. })));
        assert!(matches!(artifacts.complete_file(b.id, 99).await, Err(Error::Integrity(_))));
        assert_eq!(missing(db, &made).await, ["b"], "a failed step leaves nothing behind");
    }

    async fn relations_need_complete_ends(db: &Database) {
        let artifacts = ArtifactManager(db);
        let report = artifacts.create(of(1, vec![file("log", 1, 10)]), now()).await.unwrap();
        let target = artifacts.create(of(1, vec![file("deb", 2, 10)]), now()).await.unwrap();
        let relate = |from: i64, to: i64| async move { artifacts.relate(from, to, RelationType::RelatesTo).await };
        let refusal = |outcome: Result<_, Error>| outcome.unwrap_err().to_string();

        let text = refusal(relate(report.id, target.id).await);
        assert_eq!(text, format!("Cannot create relation: source artifact {} is incomplete", report.id));
        complete(db, &report).await;
        let text = refusal(relate(report.id, target.id).await);
        assert_eq!(text, format!("Cannot create relation: target artifact {} is incomplete", target.id));
        complete(db, &target).await;

        let (relation, created) = relate(report.id, target.id).await.unwrap();
        assert!(created);
        assert_eq!(relate(report.id, target.id).await.unwrap(), (relation.clone(), false));
        let (further, created) = artifacts.relate(report.id, target.id, RelationType::Extends).await.unwrap();
        assert!(created, "another type is another relation");

        assert_eq!(artifacts.relations_from(report.id).await.unwrap(), [relation.clone(), further.clone()]);
        assert_eq!(artifacts.relations_to(target.id).await.unwrap(), [relation.clone(), further.clone()]);
        assert_eq!(artifacts.relations_from(target.id).await.unwrap(), []);
        assert!(matches!(relate(report.id, 99).await, Err(Error::DoesNotExist { .. })));

        assert!(artifacts.delete_relation(relation.id).await.unwrap());
        assert!(!artifacts.delete_relation(relation.id).await.unwrap());
        assert_eq!(artifacts.relation(relation.id).await.unwrap(), None);
        assert_eq!(artifacts.relation(further.id).await.unwrap(), Some(further));
    }

    async fn lists_are_filtered_and_paged(db: &Database) {
        let artifacts = ArtifactManager(db);
        let other = workspace(db, "other").await;
        let maker = work_request(db).await;
        let idle = work_request(db).await;
        let mut ids = Vec::new();
        for workspace_id in [1, other, 1, 1] {
            let mut new = of(workspace_id, vec![file("a", 1, 10)]);
            new.created_by_work_request = (workspace_id == 1).then_some(maker);
            ids.push(artifacts.create(new, now()).await.unwrap().id);
        }
        let listed = |filter: ArtifactFilter| async move {
            artifacts.list(&filter).await.unwrap().into_iter().map(|artifact| artifact.id).collect::<Vec<_>>()
        };
        let all = ArtifactFilter::default;

        assert_eq!(listed(all()).await, [ids[3], ids[2], ids[1], ids[0]], "newest first");
        assert_eq!(listed(ArtifactFilter { workspace_ids: Some(vec![other]), ..all() }).await, [ids[1]]);
        assert!(listed(ArtifactFilter { workspace_ids: Some(vec![]), ..all() }).await.is_empty());
        assert!(listed(ArtifactFilter { category: Some(ArtifactCategory::Upload), ..all() }).await.is_empty());
        let page = ArtifactFilter { category: Some(ArtifactCategory::Test), limit: Some(2), ..all() };
        assert_eq!(listed(page.clone()).await, [ids[3], ids[2]]);
        assert_eq!(listed(ArtifactFilter { before_id: Some(ids[2]), ..page }).await, [ids[1], ids[0]]);
        assert_eq!(listed(ArtifactFilter { work_request_id: Some(maker), ..all() }).await, [ids[3], ids[2], ids[0]]);

        let made = artifacts.ids_of_work_request(&[idle, maker]).await.unwrap();
        assert_eq!(made, BTreeMap::from([(maker, vec![ids[0], ids[2], ids[3]])]));
        let files = artifacts.with_files(&ids).await.unwrap();
        assert_eq!(files.len(), 4);
        assert!(files.values().all(|list| list.len() == 1));
        let found = artifacts.in_bulk(&[ids[1], 9999, ids[0]]).await.unwrap();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [ids[0], ids[1]]);
    }

    async fn contents_without_artifact_are_orphans(db: &Database) {
        let artifacts = ArtifactManager(db);
        artifacts.create(of(1, vec![file("a", 1, 10)]), now()).await.unwrap();
        let orphan = file::ActiveModel { id: NotSet, sha256: Set(vec![9; 32]), size: Set(3) };
        let orphan = orphan.insert(db.reader()).await.unwrap();
        assert_eq!(artifacts.orphan_files(0, 10).await.unwrap(), std::slice::from_ref(&orphan));
        assert_eq!(artifacts.orphan_files(0, 0).await.unwrap(), []);
        assert_eq!(artifacts.orphan_files(orphan.id, 10).await.unwrap(), []);

        let reused = artifacts.create(of(1, vec![file("a", 9, 3)]), now()).await.unwrap();
        assert_eq!(artifacts.files(reused.id).await.unwrap()[0].1, orphan);
        assert_eq!(artifacts.orphan_files(0, 10).await.unwrap(), []);
    }

    async fn many_make_the_same_files_at_once(db: &Database) {
        let makers = (0..16).map(|turn| async move {
            // Each in another order, to provoke a deadlock.
            let mut files: Vec<_> = (0..20).map(|n| file(&format!("f{n}"), n, 5)).collect();
            files.rotate_left(turn);
            ArtifactManager(db).create(of(1, files), now()).await.unwrap().id
        });
        let ids = futures::future::join_all(makers).await;
        assert_eq!(file::Entity::find().all(db.reader()).await.unwrap().len(), 20);
        let files = ArtifactManager(db).with_files(&ids).await.unwrap();
        assert!(ids.iter().all(|id| files[id].len() == 20));
    }

    async fn an_artifact_may_have_thousands_of_files(db: &Database) {
        let files: Vec<_> = (0..1234u64)
            .map(|n| {
                let mut file = file(&format!("dir/{n}"), 3, 5);
                file.sha256[..8].copy_from_slice(&n.to_be_bytes());
                file
            })
            .collect();
        let made = ArtifactManager(db).create(of(1, files.clone()), now()).await.unwrap();
        let stored = ArtifactManager(db).files(made.id).await.unwrap();
        assert_eq!(stored.len(), 1234);
        for (entry, content) in stored {
            let wanted = files.iter().find(|file| file.path.as_str() == entry.path).unwrap();
            assert_eq!(content.sha256, wanted.sha256);
        }
    }

    async fn artifacts_expire_by_their_own_delay_or_their_workspace(db: &Database) {
        let mut workspace = system(db).await;
        let artifact = |delay| {
            let mut new = of(1, vec![]);
            new.expiration_delay = delay;
            async move { ArtifactManager(db).create(new, now()).await.unwrap() }
        };
        let by_default = artifact(None).await;
        assert_eq!(expire_at(&by_default, &workspace), None, "0 is never");
        workspace.default_expiration_delay = 60;
        assert_eq!(expire_at(&by_default, &workspace), Some(now() + TimeDelta::seconds(60)));
        assert_eq!(expire_at(&artifact(Some(0)).await, &workspace), None);
        assert_eq!(expire_at(&artifact(Some(90)).await, &workspace), Some(now() + TimeDelta::seconds(90)));
        assert_eq!(expire_at(&artifact(Some(i64::MAX)).await, &workspace), None);
    }
}
