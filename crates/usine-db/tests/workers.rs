//! `Worker` and `WorkerManager` on both databases. Rows are those of the data model's table of behaviour (A8).

mod farm;
mod support;

use chrono::TimeDelta;
use farm::{Farm, at, heard, kinds, object, stories};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, NotSet, PaginatorTrait, Select, Set};
use serde_json::{Value, json};
use usine_db::entity::{artifact, token, work_request, worker};
use usine_db::token::TokenSpec;
use usine_db::{Database, Error, ServerManager, Text, Worker};
use usine_model::event::EventKind;
use usine_model::token::{TokenKey, TokenType};
use usine_model::work_request::{Results, Statuses};
use usine_model::worker::WorkerType;

async fn names(db: &Database, workers: Select<worker::Entity>) -> Vec<String> {
    workers.all(db.reader()).await.unwrap().into_iter().map(|worker| worker.name).collect()
}

/// A worker in the server, as the original makes it: without token.
async fn celery(farm: &Farm<'_>, concurrency: i32) -> Worker {
    let row = worker::ActiveModel {
        id: NotSet,
        name: Set("celery".to_owned()),
        registered_at: Set(farm.now()),
        connected_at: Set(Some(farm.now())),
        token_id: Set(None),
        activation_token_id: Set(None),
        static_metadata: Set(json!({})),
        dynamic_metadata: Set(json!({})),
        dynamic_metadata_updated_at: Set(None),
        worker_type: Set(Text(WorkerType::Celery)),
        server_id: Set(None),
        last_seen: Set(None),
        concurrency: Set(concurrency),
    };
    row.insert(farm.db.reader()).await.unwrap()
}

stories! {
    /// Row 42: deleting a worker deletes its work requests, also those that have ended, and nothing else.
    async fn row_42_deleting_a_worker(db: &Database) {
        let farm = Farm::new(db);
        let (worker, other) = (farm.worker("w.example.org").await, farm.worker("other.example.org").await);
        let (mut ended, _) = farm.running(&worker).await;
        farm.leave_artifact(&ended).await;
        farm.complete(&mut ended, Results::Failure).await;
        let heir = ended.retry(db, None, farm.now()).await.unwrap();
        let (running, key) = farm.running(&worker).await;
        let (theirs, _) = farm.running(&other).await;
        farm.workers().delete(&worker).await.unwrap();

        for gone in [&ended, &running] {
            assert_eq!(farm.work_requests().get_or_none(gone.id).await.unwrap(), None);
            assert_eq!(farm.history(gone).await, []);
            assert_eq!(farm.attempts(gone).await, []);
        }
        assert_eq!(farm.tokens().get_token_or_none(key.reveal(), at(0)).await.unwrap(), None);
        assert_eq!(farm.workers().get_worker_or_none("w-example-org").await.unwrap(), None);
        assert_eq!(farm.reload(&theirs).await, theirs);
        assert_eq!(farm.reload(&heir).await.supersedes_id, None);
        let left = artifact::Entity::find().all(db.reader()).await.unwrap();
        assert_eq!(left.iter().map(|artifact| artifact.created_by_work_request_id).collect::<Vec<_>>(), [None]);
    }

    /// Row 44: a new worker has said nothing and is not connected.
    async fn row_44_defaults(db: &Database) {
        let farm = Farm::new(db);
        let (made, _) = farm.registered("w.example.org").await;
        let worker = farm.reload_worker(&made).await;
        assert_eq!(worker, made);
        assert_eq!((&worker.static_metadata, &worker.dynamic_metadata), (&json!({}), &json!({})));
        assert_eq!((worker.dynamic_metadata_updated_at, worker.connected_at), (None, None));
        assert!(!worker.connected() && !worker.has_fresh_metadata(worker.registered_at));
        assert_eq!((*worker.worker_type, worker.concurrency), (WorkerType::External, 1));
        assert_eq!(worker.to_string(), format!("Id: {} Name: w-example-org", worker.id));
        assert!(!worker.token(db).await.unwrap().unwrap().enabled, "an administrator decides");
    }

    /// Row 45: a name exists once, byte by byte.
    async fn row_45_names_are_unique(db: &Database) {
        let farm = Farm::new(db);
        let (worker, _) = farm.registered("w.example.org").await;
        let insert = async |name: &str| {
            let mut row = worker.clone().into_active_model().reset_all();
            (row.id, row.token_id, row.worker_type) = (NotSet, Set(None), Set(Text(WorkerType::Celery)));
            row.name = Set(name.to_owned());
            row.insert(db.reader()).await.map_err(Error::from)
        };
        assert!(insert("w-example-org").await.unwrap_err().violates_unique("worker", "name"));
        insert("W-example-org").await.unwrap();
        insert("").await.unwrap_err();
    }

    /// Row 46: connecting has a time, which is that of the last connection, and the scheduler looks.
    async fn row_46_mark_connected(db: &Database) {
        let farm = Farm::new(db);
        let (mut worker, _) = farm.registered("w.example.org").await;
        for now in [at(60_000), at(70_000)] {
            let mut events = db.events();
            worker.mark_connected(db, now).await.unwrap();
            assert!(worker.connected() && worker.connected_at == Some(now));
            assert_eq!(farm.reload_worker(&worker).await, worker);
            let heard = heard(&mut events);
            assert_eq!(kinds(&heard), [EventKind::WorkerConnected]);
            assert_eq!(heard[0].worker_id, Some(worker.id));
            assert!(heard[0].kind.wakes_scheduler());
        }
    }

    /// Row 47: disconnecting takes nothing from a worker; the lease decides about that.
    async fn row_47_mark_disconnected(db: &Database) {
        let farm = Farm::new(db);
        let mut worker = farm.worker("w.example.org").await;
        let (row, _) = farm.running(&worker).await;
        let mut events = db.events();
        worker.mark_disconnected(db, farm.now()).await.unwrap();
        assert!(!worker.connected());
        assert_eq!(farm.reload_worker(&worker).await, worker);
        assert_eq!(farm.reload(&row).await, row);
        assert_eq!(kinds(&heard(&mut events)), [EventKind::WorkerDisconnected]);
    }

    /// Row 12 of the scheduler's edge cases: an old copy of the row overwrites nothing but what it changes.
    async fn a_stale_copy_overwrites_nothing(db: &Database) {
        let farm = Farm::new(db);
        let mut stale = farm.worker("w.example.org").await;
        let mut edited = stale.clone();
        edited.set_static_metadata(db, object(json!({"edited": true})), farm.now()).await.unwrap();
        stale.mark_disconnected(db, farm.now()).await.unwrap();
        let worker = farm.reload_worker(&stale).await;
        assert_eq!((worker.connected(), worker.static_metadata), (false, json!({"edited": true})));
    }

    /// Row 48: static metadata win, key by key at the top only; what is returned is a copy.
    async fn row_48_metadata(db: &Database) {
        let farm = Farm::new(db);
        let (mut worker, _) = farm.registered("w.example.org").await;
        let dynamic = json!({"nested": {"a": 1, "b": 2}, "own": [1], "both": "dynamic"});
        let fixed = json!({"nested": {"c": 3}, "both": null});
        worker.set_dynamic_metadata(db, object(dynamic), farm.now()).await.unwrap();
        worker.set_static_metadata(db, object(fixed), farm.now()).await.unwrap();
        let expected = json!({
            "nested": {"c": 3}, "own": [1], "both": null, "provided_tags": ["worker:type:external"],
        });
        let mut metadata = worker.metadata().unwrap();
        assert_eq!(Value::Object(metadata.clone()), expected);
        metadata["nested"]["c"] = json!("changed");
        for worker in [&worker, &farm.reload_worker(&worker).await] {
            assert_eq!(Value::Object(worker.metadata().unwrap()), expected);
        }
    }

    /// Row 49: what a worker says replaces what it said before, not what administrators said.
    async fn row_49_set_dynamic_metadata(db: &Database) {
        let farm = Farm::new(db);
        let (mut worker, _) = farm.registered("w.example.org").await;
        worker.set_static_metadata(db, object(json!({"by": "admin"})), farm.now()).await.unwrap();
        assert_eq!(farm.reload_worker(&worker).await.dynamic_metadata_updated_at, None);
        let mut events = db.events();
        for (said, now) in [(json!({"old": 1}), at(60_000)), (json!({"new": {"x": [2]}}), at(70_000))] {
            worker.set_dynamic_metadata(db, object(said.clone()), now).await.unwrap();
            let reloaded = farm.reload_worker(&worker).await;
            assert_eq!((&reloaded, &reloaded.dynamic_metadata), (&worker, &said));
            assert_eq!(reloaded.dynamic_metadata_updated_at, Some(now));
            assert_eq!(reloaded.static_metadata, json!({"by": "admin"}));
        }
        assert_eq!(kinds(&heard(&mut events)), [EventKind::WorkerMetadata; 2]);
        // Said an hour and five minutes ago is lately enough.
        assert!(worker.has_fresh_metadata(at(70_000) + TimeDelta::minutes(65)));
        assert!(!worker.has_fresh_metadata(at(70_001) + TimeDelta::minutes(65)));
    }

    /// Row 50: names follow the host's; a taken one gets a number.
    async fn row_50_create_with_fqdn(db: &Database) {
        let farm = Farm::new(db);
        for (fqdn, name) in [
            ("worker.example.org", "worker-example-org"),
            ("worker.example.org", "worker-example-org-2"),
            ("worker.example.org", "worker-example-org-3"),
            ("Wörker_1.Example.COM.", "worker_1-example-com"),
            ("a..b", "a-b"),
        ] {
            let now = farm.now();
            let key = TokenKey::generate(&farm.entropy);
            let spec = TokenSpec::of_type(TokenType::Worker);
            let token = farm.tokens().create_with_key(spec, key, now).await.unwrap().token;
            let made = farm.workers().create_with_fqdn(fqdn, &token, WorkerType::External, now).await.unwrap();
            assert_eq!((made.name.as_str(), made.token_id, made.registered_at), (name, Some(token.id), now));
            assert_eq!(farm.workers().get(made.id).await.unwrap(), made);
        }
        assert_eq!(kinds(&farm.all_events().await), [EventKind::WorkerRegistered; 5]);
    }

    /// Row 50, at once: each of many machines with the same name gets one of its own.
    async fn row_50_many_register_at_once(db: &Database) {
        let farm = Farm::new(db);
        let all = futures::future::join_all((0..6).map(|_| farm.registered("w.example.org"))).await;
        let mut names: Vec<_> = all.into_iter().map(|(worker, _)| worker.name).collect();
        names.sort();
        let expected = ["", "-2", "-3", "-4", "-5", "-6"].map(|suffix| format!("w-example-org{suffix}"));
        assert_eq!(names, expected);
    }

    /// Row 51: a token belongs to one worker; the refusal ends, and leaves nothing behind.
    async fn row_51_create_with_fqdn_when_the_token_is_in_use(db: &Database) {
        let farm = Farm::new(db);
        let (worker, key) = farm.registered("w.example.org").await;
        let mut token = worker.token(db).await.unwrap().unwrap();
        token.enable(db, farm.now()).await.unwrap();
        let mut events = db.events();
        for fqdn in ["w.example.org", "other.example.org"] {
            let refused = farm.workers().create_with_fqdn(fqdn, &token, WorkerType::External, farm.now()).await;
            assert!(refused.unwrap_err().violates_unique("worker", "token_id"));
            let refused = farm.workers().register(fqdn, &key, WorkerType::External, farm.now()).await;
            assert!(refused.unwrap_err().violates_unique("worker", "token_id"));
        }
        assert_eq!(worker::Entity::find().count(db.reader()).await.unwrap(), 1);
        assert_eq!(heard(&mut events), [], "what is rolled back is not published");
        assert_eq!(worker.token(db).await.unwrap(), Some(token));
    }

    /// Row 52: those that are connected, the longest connected first.
    async fn row_52_connected(db: &Database) {
        let farm = Farm::new(db);
        let (mut one, _) = farm.registered("one").await;
        let (mut two, _) = farm.registered("two").await;
        let (mut three, _) = farm.registered("three").await;
        farm.registered("four").await;
        for worker in [&mut two, &mut three, &mut one] {
            worker.mark_connected(db, farm.now()).await.unwrap();
        }
        assert_eq!(names(db, farm.workers().connected()).await, ["two", "three", "one"]);
        three.mark_disconnected(db, farm.now()).await.unwrap();
        two.mark_connected(db, farm.now()).await.unwrap();
        assert_eq!(names(db, farm.workers().connected()).await, ["one", "two"]);
    }

    /// Row 53: those that can be given work: not the disconnected, the disabled, the busy; again when they are done.
    async fn row_53_waiting_for_work_request(db: &Database) {
        let farm = Farm::new(db);
        let waiting = async || names(db, farm.workers().waiting_for_work_request()).await;
        farm.worker("disconnected").await.mark_disconnected(db, farm.now()).await.unwrap();
        let disabled = farm.worker("disabled").await;
        disabled.token(db).await.unwrap().unwrap().disable(db, farm.now()).await.unwrap();
        farm.workers()
            .create_with_activation("unregistered", WorkerType::External, &farm.entropy, farm.now())
            .await
            .unwrap()
            .0
            .mark_connected(db, farm.now())
            .await
            .unwrap();
        farm.assigned(&farm.worker("assigned").await).await;
        let (mut running, _) = farm.running(&farm.worker("running").await).await;
        let (mut completed, _) = farm.running(&farm.worker("completed").await).await;
        farm.complete(&mut completed, Results::Error).await;
        let mut aborted = farm.assigned(&farm.worker("aborted").await).await;
        aborted.mark_aborted(db, farm.now()).await.unwrap();
        farm.worker("idle").await;
        assert_eq!(waiting().await, ["completed", "aborted", "idle"]);

        farm.complete(&mut running, Results::Success).await;
        disabled.token(db).await.unwrap().unwrap().enable(db, farm.now()).await.unwrap();
        assert_eq!(waiting().await, ["disabled", "running", "completed", "aborted", "idle"]);
    }

    /// Row 53, of the worker in the server: it needs no token, and takes as many as its concurrency.
    async fn row_53_concurrency(db: &Database) {
        let farm = Farm::new(db);
        let celery = celery(&farm, 2).await;
        for full in [false, true] {
            assert_eq!(names(db, farm.workers().waiting_for_work_request()).await, ["celery"]);
            farm.assigned(&celery).await;
            assert_eq!(celery.is_at_capacity(db).await.unwrap(), full);
        }
        assert!(farm.workers().waiting_for_work_request().all(db.reader()).await.unwrap().is_empty());
        assert!(!farm.pending().await.assign_worker(db, &celery, None, farm.now()).await.unwrap());
    }

    /// Row 54: the longest connected comes first, whoever registered first.
    async fn row_54_the_longest_connected_waits_first(db: &Database) {
        let farm = Farm::new(db);
        let mut one = farm.worker("one").await;
        farm.worker("two").await;
        farm.worker("three").await;
        one.mark_connected(db, farm.now()).await.unwrap();
        assert_eq!(names(db, farm.workers().waiting_for_work_request()).await, ["two", "three", "one"]);
    }

    /// Row 55: the worker whose token has the key; enabled or expired does not matter, other tokens do not count.
    async fn row_55_get_worker_by_token_key_or_none(db: &Database) {
        let farm = Farm::new(db);
        let (worker, key) = farm.registered("w.example.org").await;
        farm.registered("other.example.org").await;
        let user = farm.user_token(&farm.user("alice").await).await.key;
        let (_, activation) = farm
            .workers()
            .create_with_activation("new.example.org", WorkerType::External, &farm.entropy, farm.now())
            .await
            .unwrap();
        let get = async |key: &str| farm.workers().get_worker_by_token_key_or_none(key).await.unwrap();
        assert_eq!(get(key.reveal()).await, Some(worker.clone()));
        for other in [user.reveal(), activation.key.reveal(), "", &key.hash().0] {
            assert_eq!(get(other).await, None, "{other}");
        }
        let mut expired = worker.token(db).await.unwrap().unwrap().into_active_model();
        expired.expire_at = Set(Some(at(-1000)));
        expired.update(db.reader()).await.unwrap();
        assert_eq!(get(key.reveal()).await, Some(worker));
    }

    /// Row 56: the worker of exactly this name, or none.
    async fn row_56_get_worker_or_none(db: &Database) {
        let farm = Farm::new(db);
        let (worker, _) = farm.registered("w.example.org").await;
        let get = async |name: &str| farm.workers().get_worker_or_none(name).await.unwrap();
        assert_eq!(get("w-example-org").await, Some(worker.clone()));
        for unknown in ["", "w.example.org", "W-example-org", "w-example-org-2", "w%"] {
            assert_eq!(get(unknown).await, None, "{unknown}");
        }
        assert_eq!(farm.workers().get(worker.id).await.unwrap(), worker);
        assert_eq!(farm.workers().get(99).await.unwrap_err().to_string(), "Worker 99 does not exist");
    }

    /// Row 57, for workers: the neighbour in the order of registration, an error at the ends.
    async fn row_57_workers_have_neighbours(db: &Database) {
        let farm = Farm::new(db);
        let (first, _) = farm.registered("first").await;
        let (second, _) = farm.registered("second").await;
        assert_eq!(first.get_next_by_registered_at(db).await.unwrap(), second);
        assert_eq!(second.get_previous_by_registered_at(db).await.unwrap(), first);
        assert!(matches!(second.get_next_by_registered_at(db).await, Err(Error::DoesNotExist { kind: "Worker", .. })));
        assert!(matches!(first.get_previous_by_registered_at(db).await, Err(Error::DoesNotExist { .. })));
        let listed = farm.workers().list().await.unwrap();
        let owned: Vec<_> = listed.iter().map(|(worker, token)| (worker.id, token.as_ref().unwrap().id)).collect();
        assert_eq!(owned, [first, second].map(|worker| (worker.id, worker.token_id.unwrap())));
    }

    async fn a_worker_registers_with_an_activation_token(db: &Database) {
        let farm = Farm::new(db);
        let (waiting, activation) = farm
            .workers()
            .create_with_activation("new.example.org", WorkerType::Signing, &farm.entropy, at(0))
            .await
            .unwrap();
        assert_eq!(activation.token.activating_worker(db).await.unwrap(), Some(waiting.clone()));
        let key = TokenKey::generate(&farm.entropy);
        let register = async |activation: &str, now| {
            farm.workers().register_with_activation(activation, &key, now).await.unwrap()
        };
        let quarter = at(0) + TimeDelta::minutes(15);
        assert_eq!(register(key.reveal(), at(0)).await, None, "not an activation token");
        assert_eq!(register(activation.key.reveal(), quarter + TimeDelta::milliseconds(1)).await, None, "too late");
        let worker = register(activation.key.reveal(), quarter).await.unwrap();
        assert_eq!((worker.id, worker.name.as_str(), *worker.worker_type), (waiting.id, "new-example-org", WorkerType::Signing));
        assert_eq!((worker.activation_token_id, worker.registered_at), (None, quarter));
        assert!(worker.token(db).await.unwrap().unwrap().enabled, "at once");
        assert_eq!(farm.workers().get_worker_by_token_key_or_none(key.reveal()).await.unwrap(), Some(worker));
        // The answer may have been lost: the same key is the same worker. Another key is nobody's.
        assert_eq!(register(activation.key.reveal(), quarter).await.map(|again| again.id), Some(waiting.id));
        let other = TokenKey::generate(&farm.entropy);
        let used_up = farm.workers().register_with_activation(activation.key.reveal(), &other, quarter).await.unwrap();
        assert_eq!(used_up, None);
        assert_eq!(token::Entity::find().count(db.reader()).await.unwrap(), 1);
    }

    /// The key of another worker opens nothing, and the failed try is not published.
    async fn a_foreign_key_is_not_taken_over(db: &Database) {
        let farm = Farm::new(db);
        let (victim, key) = farm.registered("victim.example.org").await;
        let (_, activation) = farm
            .workers()
            .create_with_activation("new.example.org", WorkerType::External, &farm.entropy, farm.now())
            .await
            .unwrap();
        let mut events = db.events();
        let refused = farm.workers().register_with_activation(activation.key.reveal(), &key, farm.now()).await;
        assert!(refused.unwrap_err().violates_unique("worker", "token_id"));
        assert!(!victim.token(db).await.unwrap().unwrap().enabled);
        assert_eq!(heard(&mut events), []);
    }

    async fn disabling_a_worker_hands_its_work_back(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        let mut events = db.events();
        worker.disable(db, farm.now()).await.unwrap();
        assert!(!worker.token(db).await.unwrap().unwrap().enabled);
        let row = farm.reload(&row).await;
        assert_eq!((*row.status, row.worker_id, row.retry_count()), (Statuses::Pending, None, 0));
        assert_eq!(farm.attempts(&row).await, [(1, Some("de-assigned".to_owned()))]);
        assert_eq!(farm.tokens().get_token_or_none(key.reveal(), farm.now()).await.unwrap(), None);
        assert_eq!(kinds(&heard(&mut events)), [EventKind::WorkerDisabled, EventKind::DeAssigned]);
    }

    async fn a_restarted_server_knows_no_connections(db: &Database) {
        let farm = Farm::new(db);
        celery(&farm, 1).await;
        farm.worker("w.example.org").await;
        ServerManager(db).register("one", farm.now()).await.unwrap();
        assert_eq!(names(db, farm.workers().connected()).await, ["celery"]);
    }

    async fn assigned_and_running_work_requests(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut ended, _) = farm.running(&worker).await;
        farm.complete(&mut ended, Results::Success).await;
        let (running, _) = farm.running(&worker).await;
        farm.pending().await;
        let ids = async |rows: Select<work_request::Entity>| farm::ids(&rows.all(db.reader()).await.unwrap());
        assert_eq!(ids(worker.assigned_work_requests()).await, [ended.id, running.id]);
        assert_eq!(ids(worker.running_work_requests()).await, [running.id]);
    }
}
