//! What expires and what does not, batch by batch, on both databases.

mod farm;
mod support;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use farm::{Farm, at, stories};
use futures::future::join_all;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, Set, Statement,
};
use serde_json::json;
use usine_db::artifact::{NewArtifact, NewFile, Upload};
use usine_db::entity::{artifact, attempt, event, file, token, work_request, workspace};
use usine_db::expiry::{BATCH, Deleted, Due, Needed};
use usine_db::storage::Content;
use usine_db::tenancy::AuditLog;
use usine_db::token::TokenSpec;
use usine_db::work_request::NewWorkRequest;
use usine_db::{
    Artifact, ArtifactManager, Database, Engine, Error, ExpiryManager, GroupManager, StorageManager, TokenManager,
    WorkRequest, WorkRequestManager, WorkerManager, WorkspaceManager,
};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::permission::WorkspaceRole;
use usine_model::work_request::Results;

const DAY: i64 = 24 * 3600;

/// So many days after the beginning.
fn day(days: i64) -> DateTime<Utc> {
    at(0) + TimeDelta::days(days)
}

async fn default_delay(db: &Database, seconds: i64) {
    let row = workspace::ActiveModel { id: Set(1), default_expiration_delay: Set(seconds), ..Default::default() };
    row.update(db.reader()).await.unwrap();
}

/// A work request that ended, made on day 0, with a delay of its own.
async fn ended(farm: &Farm<'_>, delay: Option<i64>) -> WorkRequest {
    let mut row = farm.pending().await;
    farm.complete(&mut row, Results::Success).await;
    change(farm.db, row.id, work_request::ActiveModel { expiration_delay: Set(delay), ..Default::default() }).await;
    row
}

async fn change(db: &Database, id: i64, mut row: work_request::ActiveModel) {
    row.id = Set(id);
    row.created_at = Set(day(0));
    row.update(db.reader()).await.unwrap();
}

async fn all_due(mut due: Due<'_>) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        let ids = due.next(BATCH).await.unwrap();
        assert!(ids.len() <= BATCH);
        if ids.is_empty() {
            return all;
        }
        all.extend(ids);
    }
}

/// Deletes the work requests that have expired; their ids.
async fn expire_work_requests(db: &Database, now: DateTime<Utc>) -> BTreeSet<i64> {
    let manager = ExpiryManager(db);
    let due = all_due(manager.due_work_requests(now).await.unwrap()).await;
    let mut gone = BTreeSet::new();
    for batch in due.chunks(BATCH) {
        let before = work_request::Entity::find().count(db.reader()).await.unwrap();
        let found = manager.expired_work_requests(batch, now).await.unwrap();
        assert_eq!(work_request::Entity::find().count(db.reader()).await.unwrap(), before, "looking changes nothing");
        let deleted = manager.delete_work_requests(batch, now).await.unwrap();
        assert_eq!(deleted, found);
        gone.extend(deleted);
    }
    gone
}

fn file(path: &str, digest: u8, size: u64) -> NewFile {
    NewFile { path: path.parse().unwrap(), sha256: [digest; 32], size, content_type: None }
}

/// An artifact made on day 0 that expires after so many days; 0 is never.
async fn lasting(db: &Database, days: i64) -> i64 {
    with_files(db, days, Vec::new()).await.id
}

async fn with_files(db: &Database, days: i64, files: Vec<NewFile>) -> Artifact {
    let new = NewArtifact {
        category: ArtifactCategory::Test,
        workspace_id: 1,
        data: json!({}),
        files,
        created_by: None,
        created_by_work_request: None,
        expiration_delay: Some(days * DAY),
    };
    ArtifactManager(db).create(new, day(0)).await.unwrap()
}

async fn complete(db: &Database, id: i64) {
    let artifacts = ArtifactManager(db);
    let store = artifacts.default_store().await.unwrap();
    for (entry, _) in artifacts.files(id).await.unwrap() {
        artifacts.complete_file(entry.id, store.id).await.unwrap();
    }
}

async fn relate(db: &Database, source: i64, target: i64, relation_type: RelationType) {
    ArtifactManager(db).relate(source, target, relation_type).await.unwrap();
}

/// Reads all work requests that have not ended; they name nothing.
async fn read(db: &Database) -> Needed {
    let mut needed = Needed::default();
    read_on(db, &mut needed, &[]).await;
    needed
}

async fn read_on(db: &Database, needed: &mut Needed, names: &[i64]) {
    loop {
        let rows = ExpiryManager(db).unread_work_requests(needed).await.unwrap();
        if rows.is_empty() {
            return;
        }
        for row in rows {
            needed.note(row.id, names.iter().copied());
        }
    }
}

/// Deletes the artifacts that have expired; all that was deleted.
async fn expire_artifacts(db: &Database, needed: &Needed, now: DateTime<Utc>) -> Deleted {
    let manager = ExpiryManager(db);
    let due = all_due(manager.due_artifacts(now).await.unwrap()).await;
    let mut all = Deleted::default();
    let marked = manager.mark(&due, needed, now).await.unwrap();
    for batch in marked.batches() {
        let deleted = manager.sweep(&batch, needed, now).await.unwrap().expect("no new work request");
        assert_eq!(BTreeSet::from_iter(deleted.artifacts.clone()), BTreeSet::from_iter(batch));
        all.artifacts.extend(deleted.artifacts);
        all.files.extend(deleted.files);
        all.uploads.extend(deleted.uploads);
    }
    all.artifacts.sort_unstable();
    all
}

async fn artifacts(db: &Database) -> Vec<i64> {
    let mut ids: Vec<i64> =
        artifact::Entity::find().all(db.reader()).await.unwrap().into_iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids
}

stories! {
    async fn work_requests_expire_after_their_own_delay_or_the_workspaces(db: &Database) {
        let farm = Farm::new(db);
        let (own, default, never) =
            (ended(&farm, Some(2 * DAY)).await, ended(&farm, None).await, ended(&farm, Some(0)).await);
        assert!(expire_work_requests(db, day(1000)).await.contains(&own.id));
        let own = ended(&farm, Some(2 * DAY)).await;
        assert!(expire_work_requests(db, day(2) - TimeDelta::microseconds(1)).await.is_empty());
        assert_eq!(expire_work_requests(db, day(2)).await, [own.id].into());

        assert!(expire_work_requests(db, day(1000)).await.is_empty(), "the workspace keeps for ever");
        default_delay(db, 30 * DAY).await;
        let own = ended(&farm, Some(60 * DAY)).await;
        assert_eq!(expire_work_requests(db, day(30)).await, [default.id].into());
        assert_eq!(expire_work_requests(db, day(60)).await, [own.id].into());
        assert!(expire_work_requests(db, day(100_000)).await.is_empty());
        assert_eq!(farm.reload(&never).await.id, never.id);
    }

    async fn attempts_events_and_tokens_go_with_their_work_request_and_artifacts_stay(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        farm.leave_artifact(&row).await;
        farm.report(row.id, &key, Results::Success).await;
        change(db, row.id, work_request::ActiveModel { expiration_delay: Set(Some(DAY)), ..Default::default() }).await;
        assert_eq!(expire_work_requests(db, day(1)).await, [row.id].into());
        assert_eq!(attempt::Entity::find().count(db.reader()).await.unwrap(), 0);
        let left = event::Entity::find().filter(event::Column::WorkRequestId.is_not_null());
        assert_eq!(left.count(db.reader()).await.unwrap(), 0);
        let made = artifact::Entity::find().one(db.reader()).await.unwrap().unwrap();
        assert_eq!(made.created_by_work_request_id, None);
    }

    async fn what_has_not_ended_stays_and_what_it_replaces(db: &Database) {
        let farm = Farm::new(db);
        default_delay(db, DAY).await;
        let worker = farm.worker("w.example.org").await;
        let (running, key) = farm.running(&worker).await;
        let (pending, blocked) = (farm.pending().await, farm.blocked().await);
        assert!(expire_work_requests(db, day(1000)).await.is_empty());

        farm.report(running.id, &key, Results::TemporaryFailure).await;
        let heir = running.superseded_by(db).await.unwrap().unwrap();
        assert!(expire_work_requests(db, day(1000)).await.is_empty(), "its heir rests");
        let mut heir = farm.work_requests().get(heir).await.unwrap();
        assert!(heir.rests());
        heir.mark_aborted(db, farm.now()).await.unwrap();
        assert_eq!(expire_work_requests(db, day(1000)).await, [running.id, heir.id].into());
        assert_eq!(farm.reload(&pending).await, pending);
        assert_eq!(farm.reload(&blocked).await, blocked);
    }

    async fn a_workflow_lives_or_dies_as_a_whole(db: &Database) {
        let farm = Farm::new(db);
        let (root, child, grandchild, other) = (
            ended(&farm, Some(DAY)).await,
            ended(&farm, Some(DAY)).await,
            ended(&farm, Some(9 * DAY)).await,
            ended(&farm, Some(DAY)).await,
        );
        let belongs = |parent: i64| work_request::ActiveModel {
            parent_id: Set(Some(parent)),
            workflow_root_id: Set(Some(root.id)),
            ..Default::default()
        };
        change(db, root.id, work_request::ActiveModel { workflow_root_id: Set(Some(root.id)), ..Default::default() }).await;
        change(db, child.id, belongs(root.id)).await;
        change(db, grandchild.id, belongs(child.id)).await;
        assert_eq!(expire_work_requests(db, day(1)).await, [other.id].into());
        assert_eq!(expire_work_requests(db, day(9)).await, [root.id, child.id, grandchild.id].into());
        assert_eq!(work_request::Entity::find().count(db.reader()).await.unwrap(), 0);
    }

    async fn many_expire_in_several_batches(db: &Database) {
        let farm = Farm::new(db);
        for _ in 0..3 {
            ended(&farm, Some(5 * DAY)).await;
        }
        let pattern = ended(&farm, None).await;
        default_delay(db, DAY).await;
        // As many as three batches and a bit, some of the same moment.
        let rows = (0..3 * BATCH as i64 + 7).map(|n| work_request::ActiveModel {
            created_at: Set(day(0) + TimeDelta::seconds(n / 3)),
            id: sea_orm::NotSet,
            ..work_request::ActiveModel::from(pattern.clone()).reset_all()
        });
        for rows in Vec::from_iter(rows).chunks(100) {
            work_request::Entity::insert_many(rows.to_vec()).exec_without_returning(db.reader()).await.unwrap();
        }
        let due = all_due(ExpiryManager(db).due_work_requests(day(9)).await.unwrap()).await;
        assert_eq!(due.len(), 3 * BATCH + 7 + 4);
        assert_eq!(BTreeSet::from_iter(due.clone()).len(), due.len(), "each once");
        assert_eq!(expire_work_requests(db, day(9)).await, due.into_iter().collect());
    }

    async fn an_artifact_expires_with_its_relations_and_files(db: &Database) {
        let shared = || file("shared", 1, 10);
        let old = with_files(db, 1, vec![shared(), file("own", 2, 20), file("empty", 3, 0)]).await;
        complete(db, old.id).await;
        let young = with_files(db, 3, vec![shared()]).await;
        let started = with_files(db, 1, vec![file("coming", 4, 40)]).await;
        let entry = ArtifactManager(db).files(started.id).await.unwrap().remove(0).0;
        let upload = ArtifactManager(db).begin_upload(entry.id, "staged", day(0)).await.unwrap();
        assert!(matches!(upload, Upload::InProgress(_)));
        relate(db, old.id, young.id, RelationType::RelatesTo).await;

        let needed = read(db).await;
        let early = expire_artifacts(db, &needed, day(1) - TimeDelta::microseconds(1)).await;
        assert_eq!(early, Deleted::default());
        let only = ExpiryManager(db).files_only_of(&[old.id, started.id].into()).await.unwrap();
        assert_eq!(only.values().sum::<i64>(), 60);

        let gone = expire_artifacts(db, &needed, day(1)).await;
        assert_eq!(gone.artifacts, [old.id, started.id]);
        assert_eq!(gone.files.iter().map(|file| file.sha256[0]).collect::<BTreeSet<_>>(), [2, 3, 4].into());
        assert_eq!(gone.uploads, ["staged"]);
        assert_eq!(artifacts(db).await, [young.id]);

        let contents: Vec<Content> = gone.files.iter().filter_map(Content::of).collect();
        assert!(StorageManager(db).forget(&contents).await.unwrap().is_empty());
        let left = file::Entity::find().all(db.reader()).await.unwrap();
        assert_eq!(left.iter().map(|file| file.sha256[0]).collect::<Vec<_>>(), [1]);
        let shared: Vec<Content> = left.iter().filter_map(Content::of).collect();
        assert_eq!(StorageManager(db).forget(&shared).await.unwrap(), shared.into_iter().collect(), "it is used");
    }

    async fn relations_keep(db: &Database) {
        // A young report about an old package, which is part of an old upload with a log; and an old report.
        let (report, package, upload, log, old_report) = (
            lasting(db, 9).await, lasting(db, 1).await, lasting(db, 1).await, lasting(db, 1).await, lasting(db, 1).await,
        );
        relate(db, report, package, RelationType::RelatesTo).await;
        relate(db, old_report, package, RelationType::RelatesTo).await;
        relate(db, package, upload, RelationType::Extends).await;
        relate(db, log, upload, RelationType::Extends).await;
        let needed = read(db).await;
        assert_eq!(expire_artifacts(db, &needed, day(1)).await.artifacts, [old_report]);
        assert_eq!(expire_artifacts(db, &needed, day(9)).await.artifacts, [report, package, upload, log]);
    }

    async fn groups_larger_than_a_batch_go_as_a_whole_and_chains_in_order(db: &Database) {
        let upload = lasting(db, 1).await;
        let (mut group, mut chain) = (vec![upload], Vec::new());
        for _ in 0..BATCH + 20 {
            let part = lasting(db, 1).await;
            relate(db, part, upload, RelationType::Extends).await;
            group.push(part);
        }
        for _ in 0..BATCH + 20 {
            let next = lasting(db, 1).await;
            if let Some(last) = chain.last() {
                relate(db, next, *last, RelationType::RelatesTo).await;
            }
            chain.push(next);
        }
        let needed = read(db).await;
        let manager = ExpiryManager(db);
        let marked = manager.mark(&[chain[0], group[5]], &needed, day(1)).await.unwrap();
        let batches = marked.batches();
        assert_eq!(batches.concat().len(), group.len() + chain.len(), "whatever may keep them is looked at, too");
        assert_eq!(batches.iter().filter(|batch| batch.len() > BATCH).count(), 1);
        assert_eq!(expire_artifacts(db, &needed, day(1)).await.artifacts.len(), group.len() + chain.len());
        assert!(artifacts(db).await.is_empty());
    }

    async fn what_work_requests_need_stays(db: &Database) {
        let farm = Farm::new(db);
        let (input, made, other) = (lasting(db, 1).await, lasting(db, 1).await, lasting(db, 1).await);
        let worker = farm.worker("w.example.org").await;
        let (running, key) = farm.running(&worker).await;
        let of_running = artifact::ActiveModel {
            id: Set(made),
            created_by_work_request_id: Set(Some(running.id)),
            ..Default::default()
        };
        of_running.update(db.reader()).await.unwrap();
        let mut needed = Needed::default();
        read_on(db, &mut needed, &[input]).await;
        assert_eq!(expire_artifacts(db, &needed, day(1)).await.artifacts, [other]);
        farm.report(running.id, &key, Results::Success).await;
        assert_eq!(expire_artifacts(db, &read(db).await, day(1)).await.artifacts, [input, made]);
    }

    async fn what_becomes_needed_after_the_marking_stays(db: &Database) {
        let farm = Farm::new(db);
        let manager = ExpiryManager(db);
        let (input, target, prolonged, plain) =
            (lasting(db, 1).await, lasting(db, 1).await, lasting(db, 1).await, lasting(db, 1).await);
        let young = lasting(db, 9).await;
        let mut needed = read(db).await;
        let marked = manager.mark(&[input, target, prolonged, plain], &needed, day(1)).await.unwrap();
        let batch = marked.batches().concat();
        assert_eq!(batch.len(), 4);

        relate(db, young, target, RelationType::BuiltUsing).await;
        let longer = artifact::ActiveModel { id: Set(prolonged), expiration_delay: Set(Some(0)), ..Default::default() };
        longer.update(db.reader()).await.unwrap();
        let new = NewWorkRequest { inputs: [input].into(), ..farm.request() };
        farm.work_requests().create_blocked(&new, farm.now()).await.unwrap();

        assert_eq!(manager.sweep(&batch, &needed, day(1)).await.unwrap(), None, "there is a work request to read");
        assert_eq!(artifacts(db).await.len(), 5);
        read_on(db, &mut needed, &[input]).await;
        let deleted = manager.sweep(&batch, &needed, day(1)).await.unwrap().unwrap();
        assert_eq!(deleted.artifacts, [plain]);
        assert_eq!(artifacts(db).await, [input, target, prolonged, young]);
    }

    async fn nobody_submits_with_an_input_that_is_gone(db: &Database) {
        let farm = Farm::new(db);
        let input = lasting(db, 1).await;
        expire_artifacts(db, &read(db).await, day(1)).await;
        let new = NewWorkRequest { inputs: [input].into(), ..farm.request() };
        let refused = farm.work_requests().create_blocked(&new, farm.now()).await;
        assert!(matches!(refused, Err(Error::DoesNotExist { kind: "Artifact", .. })), "{refused:?}");
        assert_eq!(work_request::Entity::find().count(db.reader()).await.unwrap(), 0);
    }

    async fn submitting_and_expiring_at_once_never_leaves_a_work_request_without_its_input(db: &Database) {
        let farm = Farm::new(db);
        let mut inputs = Vec::new();
        for _ in 0..60 {
            inputs.push(lasting(db, 1).await);
        }
        let submit = inputs.iter().map(|input| {
            let new = NewWorkRequest { inputs: [*input].into(), task_data: json!({"input": input}), ..farm.request() };
            async move { WorkRequestManager(db).create(&new, &Default::default(), at(0)).await }
        });
        let expire = async {
            let manager = ExpiryManager(db);
            let mut needed = Needed::default();
            let names = |row: &WorkRequest| row.task_data["input"].as_i64();
            for batch in inputs.chunks(4) {
                loop {
                    for row in manager.unread_work_requests(&needed).await.unwrap() {
                        needed.note(row.id, names(&row));
                    }
                    if manager.sweep(batch, &needed, day(1)).await.unwrap().is_some() {
                        break;
                    }
                }
            }
        };
        let (submitted, ()) = futures::join!(join_all(submit), expire);
        let left = BTreeSet::from_iter(artifacts(db).await);
        for (input, outcome) in inputs.iter().zip(submitted) {
            match outcome {
                Ok(_) => assert!(left.contains(input), "{input} is needed"),
                Err(Error::DoesNotExist { .. }) => assert!(!left.contains(input)),
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn several_expire_at_once(db: &Database) {
        let farm = Farm::new(db);
        for _ in 0..30 {
            ended(&farm, Some(DAY)).await;
            let (report, package) = (lasting(db, 1).await, lasting(db, 1).await);
            relate(db, report, package, RelationType::RelatesTo).await;
        }
        let expire = || async {
            let manager = ExpiryManager(db);
            let needed = read(db).await;
            let due = all_due(manager.due_work_requests(day(1)).await.unwrap()).await;
            for batch in due.chunks(7) {
                manager.delete_work_requests(batch, day(1)).await.unwrap();
            }
            let due = all_due(manager.due_artifacts(day(1)).await.unwrap()).await;
            for group in manager.mark(&due, &needed, day(1)).await.unwrap().groups {
                manager.sweep(&group, &needed, day(1)).await.unwrap().unwrap();
            }
        };
        futures::join!(expire(), expire(), expire());
        // What one found locked by another, the next run finds.
        expire().await;
        assert!(artifacts(db).await.is_empty());
        assert_eq!(work_request::Entity::find().count(db.reader()).await.unwrap(), 0);
    }

    async fn tokens_expire_unless_a_worker_has_them(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let spec = |expire_at| TokenSpec { expire_at, ..TokenSpec::of_user(alice.id) };
        let (old, young, eternal) = (
            farm.tokens().create(spec(Some(day(1))), &farm.entropy, day(0)).await.unwrap(),
            farm.tokens().create(spec(Some(day(9))), &farm.entropy, day(0)).await.unwrap(),
            farm.tokens().create(spec(None), &farm.entropy, day(0)).await.unwrap(),
        );
        let workers = WorkerManager(db);
        let activation = workers
            .create_with_activation("w1", usine_model::worker::WorkerType::External, &farm.entropy, day(0))
            .await
            .unwrap()
            .1;
        let (worker, _) = farm.registered("w2.example.org").await;
        let of_worker =
            token::ActiveModel { id: Set(worker.token_id.unwrap()), expire_at: Set(Some(day(1))), ..Default::default() };
        of_worker.update(db.reader()).await.unwrap();

        let manager = ExpiryManager(db);
        assert_eq!(manager.expired_tokens(day(1), 0).await.unwrap(), [] as [i64; 0], "not before it is over");
        let expired = manager.expired_tokens(day(2), 0).await.unwrap();
        assert_eq!(expired, [old.token.id]);
        let everything = [old.token.id, young.token.id, eternal.token.id, activation.token.id, worker.token_id.unwrap()];
        assert_eq!(manager.delete_tokens(&everything, day(2)).await.unwrap(), 1);
        assert_eq!(manager.expired_tokens(day(2), 0).await.unwrap(), [] as [i64; 0]);
        assert!(TokenManager(db).get(old.token.id).await.is_err());
    }

    async fn ephemeral_groups_go_with_their_last_role(db: &Database) {
        let (groups, workspaces) = (GroupManager(db), WorkspaceManager(db));
        let (workspace, scope) = workspaces.get(1).await.unwrap();
        let create = async |name: &str, ephemeral| {
            groups.create(&scope, None, name, ephemeral, None, day(0)).await.unwrap()
        };
        let (lasting, with_role, without) =
            (create("lasting", false).await, create("with-role", true).await, create("without", true).await);
        let role = WorkspaceRole::Viewer;
        workspaces.grant_role(&workspace, &scope, &with_role, role, None, day(0)).await.unwrap();
        assert_eq!(groups.unused_ephemeral().await.unwrap(), std::slice::from_ref(&without));
        let all = [lasting.clone(), with_role.clone(), without.clone()];
        assert_eq!(groups.delete_unused_ephemeral(&all, day(1)).await.unwrap(), [without]);
        workspaces.revoke_role(&workspace, &scope, &with_role, role, None, day(1)).await.unwrap();
        assert_eq!(groups.delete_unused_ephemeral(&all, day(1)).await.unwrap(), [with_role]);
        assert_eq!(groups.unused_ephemeral().await.unwrap(), []);
        assert_eq!(groups.get_group_or_none(&scope, None, "lasting").await.unwrap(), Some(lasting));
        let told = AuditLog(db).newest(1).await.unwrap().remove(0);
        assert_eq!((told.actor.as_str(), &told.changes["type"]), ("_system", &json!("delete")));
    }

    async fn incomplete_artifacts_are_abandoned_after_a_day(db: &Database) {
        let farm = Farm::new(db);
        let manager = ArtifactManager(db);
        let new = || vec![file("a", 1, 10)];
        let (idle, busy, whole) =
            (with_files(db, 0, new()).await, with_files(db, 0, new()).await, with_files(db, 0, new()).await);
        complete(db, whole.id).await;
        let entry = manager.files(busy.id).await.unwrap().remove(0).0;
        manager.begin_upload(entry.id, "busy", day(3)).await.unwrap();
        let worker = farm.worker("w.example.org").await;
        let (running, key) = farm.running(&worker).await;
        let delivered = with_files(db, 0, vec![file("b", 2, 10)]).await;
        let of_running = artifact::ActiveModel {
            id: Set(delivered.id),
            created_by_work_request_id: Set(Some(running.id)),
            ..Default::default()
        };
        of_running.update(db.reader()).await.unwrap();

        assert_eq!(manager.abandoned(day(0), 0).await.unwrap(), [] as [i64; 0]);
        assert_eq!(manager.abandoned(day(3), 0).await.unwrap(), [idle.id]);
        let all = [idle.id, busy.id, whole.id, delivered.id];
        assert_eq!(manager.delete_abandoned(&all, day(3)).await.unwrap().artifacts, [idle.id]);
        farm.report(running.id, &key, Results::Error).await;
        assert_eq!(manager.abandoned(day(4), 0).await.unwrap(), [busy.id, delivered.id]);
        assert_eq!(manager.delete_abandoned(&all, day(4)).await.unwrap().uploads, ["busy"]);
        assert_eq!(artifacts(db).await, [whole.id]);
    }

    async fn the_same_content_is_made_and_forgotten_at_once(db: &Database) {
        let content = Content { sha256: [7; 32], size: 10 };
        let made = join_all((0..20).map(|_| async { with_files(db, 0, vec![file("a", 7, 10)]).await.id }));
        let forgotten = async {
            for _ in 0..20 {
                StorageManager(db).forget(&[content]).await.unwrap();
            }
        };
        let (made, ()) = futures::join!(made, forgotten);
        assert_eq!(StorageManager(db).forget(&[content]).await.unwrap(), [content].into());
        assert!(ArtifactManager(db).with_files(&made).await.unwrap().len() == 20);
    }

    async fn nothing_is_looked_for_in_whole_tables(db: &Database) {
        let farm = Farm::new(db);
        ended(&farm, Some(DAY)).await;
        lasting(db, 1).await;
        default_delay(db, DAY).await;
        for (statements, table) in [
            (ExpiryManager(db).due_work_requests(day(5)).await.unwrap().statements(), "work_request"),
            (ExpiryManager(db).due_artifacts(day(5)).await.unwrap().statements(), "artifact"),
        ] {
            assert_eq!(statements.len(), 2, "one of the delay, one of the workspace");
            for statement in statements {
                let plan = explain(db, statement).await;
                let indexes = ["_expiring", "_default_expiring", "_created"].map(|index| format!("{table}{index}"));
                assert!(indexes.iter().any(|index| plan.contains(index)), "{plan}");
            }
        }
    }
}

/// How the engine would go about it. PostgreSQL prefers to read small tables as a whole: it is told not to.
async fn explain(db: &Database, statement: Statement) -> String {
    use sea_orm::TransactionTrait;
    let transaction = db.reader().begin().await.unwrap();
    let verb = if db.backend() == Engine::Postgres {
        transaction.execute_unprepared("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").await.unwrap();
        "EXPLAIN"
    } else {
        "EXPLAIN QUERY PLAN"
    };
    let explained = Statement { sql: format!("{verb} {}", statement.sql), ..statement };
    let rows = transaction.query_all_raw(explained).await.unwrap();
    let column = if db.backend() == Engine::Postgres { 0 } else { 3 };
    let lines: Vec<String> = rows.iter().map(|row| row.try_get_by_index(column).unwrap()).collect();
    transaction.rollback().await.unwrap();
    lines.join("\n")
}
