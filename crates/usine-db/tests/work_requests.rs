//! `WorkRequest` and `WorkRequestManager` on both databases. Rows are those of the data model's table of behaviour (A8).

mod farm;
mod support;

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use farm::{Farm, at, heard, ids, kinds, object, stories, tags};
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use usine_db::work_request::{NewWorkRequest, RetryError, SchedulerTags};
use usine_db::{Database, Error, EventManager, WorkRequest};
use usine_model::event::EventKind::{self, *};
use usine_model::output_data::OutputData;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::work_request::{Results, Statuses, TaskType};

/// Every result that a work request can end with.
const RESULTS: [Results; 5] =
    [Results::Success, Results::Failure, Results::TemporaryFailure, Results::Error, Results::Skipped];

/// Keeps the warnings that are logged while it is the default subscriber.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Lets the database refuse to commit whatever writes an event of this kind.
async fn forbid(db: &Database, kind: EventKind) {
    let (table, trigger) = match db.backend() {
        DbBackend::Postgres => (
            "CREATE TABLE veto (missing BIGINT REFERENCES event (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO veto VALUES (-1); RETURN NEW; END $$",
            format!(
                "CREATE TRIGGER veto AFTER INSERT ON event
                     FOR EACH ROW WHEN (NEW.kind = '{kind}') EXECUTE FUNCTION veto()"
            ),
        ),
        _ => (
            "CREATE TABLE veto (missing INTEGER REFERENCES event (id) DEFERRABLE INITIALLY DEFERRED)",
            format!(
                "CREATE TRIGGER veto AFTER INSERT ON event WHEN NEW.kind = '{kind}'
                     BEGIN INSERT INTO veto VALUES (-1); END"
            ),
        ),
    };
    db.reader().execute_unprepared(table).await.unwrap();
    db.reader().execute_unprepared(&trigger).await.unwrap();
}

/// Lets it commit again.
async fn allow(db: &Database) {
    let on_event = if db.backend() == DbBackend::Postgres { " ON event" } else { "" };
    db.reader().execute_unprepared(&format!("DROP TRIGGER veto{on_event}")).await.unwrap();
}

async fn pending(farm: &Farm<'_>) -> Vec<i64> {
    ids(&farm.work_requests().pending(false, None).unwrap().all(farm.db.reader()).await.unwrap())
}

/// What a refused step says.
fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome.unwrap_err() {
        Error::StatusChange(refused) => refused.to_string(),
        other => panic!("{other}"),
    }
}

stories! {
    /// Row 22: no worker, no times, no result, no data. What is submitted is pending; what waits is blocked.
    async fn row_22_defaults(db: &Database) {
        let farm = Farm::new(db);
        let blocked = farm.reload(&farm.blocked().await).await;
        assert_eq!((*blocked.status, *blocked.result), (Statuses::Blocked, Results::None));
        assert_eq!((&blocked.task_data, &blocked.workflow_data, &blocked.event_reactions), (&json!({}), &json!({}), &json!({})));
        assert_eq!((*blocked.task_type, blocked.worker_id, blocked.priority_effective()), (TaskType::Worker, None, 0));
        assert_eq!((blocked.pending_at, blocked.started_at, blocked.completed_at), (None, None, None));
        assert_eq!((blocked.output_data, blocked.unblock_strategy.as_str(), blocked.version), (None, "deps", 0));

        let pending = farm.reload(&farm.pending().await).await;
        assert_eq!((*pending.status, *pending.result), (Statuses::Pending, Results::None));
        assert_eq!((pending.used_task_data(), pending.worker_id), (&json!({}), None));
        assert_eq!(pending.pending_at, Some(pending.created_at));
    }

    /// Row 23: statuses and results have labels.
    async fn row_23_labels(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut row, _) = farm.running(&worker).await;
        assert_eq!((row.get_status_display(), row.get_result_display()), ("Running", ""));
        row.mark_aborted(db, farm.now()).await.unwrap();
        assert_eq!((row.get_status_display(), row.get_result_display()), ("Aborted", ""));
        assert_eq!(farm.blocked().await.get_status_display(), "Blocked");
        for (result, label) in
            std::iter::zip(RESULTS, ["Success", "Failure", "Temporary failure", "Error", "Skipped"])
        {
            let mut row = farm.pending().await;
            assert_eq!((row.get_status_display(), row.get_result_display()), ("Pending", ""));
            farm.complete(&mut row, result).await;
            let row = farm.reload(&row).await;
            assert_eq!((row.get_status_display(), row.get_result_display()), ("Completed", label));
            assert_eq!(row.to_string(), row.id.to_string());
        }
    }

    /// Row 24: the oldest first, higher priority before, the id last.
    async fn row_24_the_order_of_the_queue(db: &Database) {
        let farm = Farm::new(db);
        let (a, b) = (farm.pending().await.id, farm.pending().await.id);
        let c = farm.pending_with(10, &SchedulerTags::default()).await.id;
        assert_eq!(pending(&farm).await, [c, a, b]);

        let mut later = farm.pending().await;
        later.set_priority_adjustment(db, 20, Some(1), farm.now()).await.unwrap();
        assert_eq!(later.priority_effective(), 20);
        assert_eq!(pending(&farm).await, [later.id, c, a, b]);
        assert_eq!(farm.history(&later).await, [Created, Pending, PriorityChanged]);
        later.set_priority_adjustment(db, -1, Some(1), farm.now()).await.unwrap();
        assert_eq!(pending(&farm).await, [c, a, b, later.id]);

        let mut twins = Vec::new();
        for _ in 0..3 {
            twins.push(farm.work_requests().create(&farm.request(), &SchedulerTags::default(), at(-1)).await.unwrap().id);
        }
        assert_eq!(pending(&farm).await, [vec![c], twins, vec![a, b, later.id]].concat());
    }

    /// Row 25: those that have a worker can be left out.
    async fn row_25_pending_without_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (assigned, free) = (farm.assigned(&worker).await.id, farm.pending().await.id);
        let unassigned = farm.work_requests().pending(true, None).unwrap().all(db.reader()).await.unwrap();
        assert_eq!(ids(&unassigned), [free]);
        assert_eq!(pending(&farm).await, [assigned, free]);
    }

    /// Row 26: those of one worker.
    async fn row_26_pending_of_a_worker(db: &Database) {
        let farm = Farm::new(db);
        let (one, two) = (farm.worker("one.example.org").await, farm.worker("two.example.org").await);
        let (of_one, of_two) = (farm.assigned(&one).await.id, farm.assigned(&two).await.id);
        farm.pending().await;
        for (worker, expected) in [(one, of_one), (two, of_two)] {
            let theirs = farm.work_requests().pending(false, Some(&worker)).unwrap().all(db.reader()).await.unwrap();
            assert_eq!(ids(&theirs), [expected]);
        }
    }

    /// Row 27: both at once make no sense.
    async fn row_27_pending_without_worker_and_of_a_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let refused = farm.work_requests().pending(true, Some(&worker)).unwrap_err();
        assert_eq!(refused.to_string(), "Cannot exclude_assigned and filter by worker");
    }

    /// Row 28: each set has the work requests of its status.
    async fn row_28_sets_by_status(db: &Database) {
        let farm = Farm::new(db);
        let (one, two) = (farm.worker("one.example.org").await, farm.worker("two.example.org").await);
        farm.blocked().await;
        farm.pending().await;
        let (running, _) = farm.running(&one).await;
        let (other, _) = farm.running(&two).await;
        let (mut completed, mut failed, mut aborted) =
            (farm.pending().await, farm.pending().await, farm.pending().await);
        farm.complete(&mut completed, Results::Success).await;
        farm.complete(&mut failed, Results::Failure).await;
        aborted.mark_aborted(db, farm.now()).await.unwrap();

        let manager = farm.work_requests();
        for (set, expected) in [
            (manager.running(None), vec![running.id, other.id]),
            (manager.running(Some(&one)), vec![running.id]),
            (manager.completed(), vec![completed.id, failed.id]),
            (manager.aborted(), vec![aborted.id]),
            (manager.unsuccessful(), vec![failed.id, aborted.id]),
            (manager.live(), vec![running.id, other.id]),
        ] {
            assert_eq!(ids(&set.all(db.reader()).await.unwrap()), expected);
        }
        for row in [&running, &completed, &failed, &aborted] {
            assert_eq!(row.is_unsuccessful(), row.id == failed.id || row.id == aborted.id, "{row}");
        }
    }

    /// Row 29: a worker is busy with what is pending or running, not with what has ended.
    async fn row_29_running_or_pending_exists(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let busy = async || farm.work_requests().running_or_pending_exists(&worker).await.unwrap();
        let mut row = farm.pending().await;
        assert!(!busy().await);
        farm.assign(&mut row, &worker).await;
        assert!(busy().await);
        farm.fetch(&worker, &row).await;
        assert!(busy().await);
        farm.complete(&mut row, Results::Success).await;
        assert!(!busy().await);
        let mut row = farm.assigned(&worker).await;
        row.mark_aborted(db, farm.now()).await.unwrap();
        assert!(!busy().await);
    }

    /// Row 30: an assignment is saved, the status stays, and the worker hears of it when it is committed.
    async fn row_30_assign_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        let mut events = db.events();
        let data = json!({"subject": "hello", "n": null});
        assert!(row.assign_worker(db, &worker, Some(data.clone()), farm.now()).await.unwrap());
        assert_eq!((*row.status, row.worker_id), (Statuses::Pending, Some(worker.id)));
        assert_eq!(row.dynamic_task_data, Some(data));
        assert_eq!(farm.reload(&row).await, row);
        let heard = heard(&mut events);
        assert_eq!(kinds(&heard), [Assigned]);
        assert_eq!((heard[0].work_request_id, heard[0].worker_id), (Some(row.id), Some(worker.id)));
        assert_eq!(farm.work_requests().history(row.id).await.unwrap().last(), heard.last());
    }

    /// Row 30: when the assignment is rolled back, even at its very commit, nobody hears of it.
    async fn row_30_assign_worker_rolled_back(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        let before = row.clone();
        let mut events = db.events();
        forbid(db, Assigned).await;
        row.assign_worker(db, &worker, None, farm.now()).await.unwrap_err();
        assert_eq!(heard(&mut events), []);
        assert_eq!((&row, &farm.reload(&row).await), (&before, &before));
        assert_eq!(farm.history(&row).await, [Created, Pending]);

        allow(db).await;
        farm.assign(&mut row, &worker).await;
        assert_eq!(kinds(&heard(&mut events)), [Assigned]);
    }

    /// Row 30: what is not pending or has a worker is not assigned, and a worker takes no more than it may.
    async fn row_30_assign_worker_only_if_it_fits(db: &Database) {
        let farm = Farm::new(db);
        let (one, two) = (farm.worker("one.example.org").await, farm.worker("two.example.org").await);
        let (row, other) = (farm.assigned(&one).await, farm.pending().await);
        let mut ended = farm.pending().await;
        farm.complete(&mut ended, Results::Success).await;
        let mut events = db.events();
        for (row, worker) in [(&row, &two), (&row, &one), (&other, &one), (&ended, &two), (&farm.blocked().await, &two)] {
            let mut stale = WorkRequest { worker_id: None, ..row.clone() };
            assert!(!stale.assign_worker(db, worker, None, farm.now()).await.unwrap(), "{worker} and {row}");
            assert_eq!(farm.reload(row).await, *row);
        }
        assert_eq!(kinds(&heard(&mut events)), [Created], "of the blocked one only");
    }

    /// A scheduler that has looked at a worker's old metadata assigns nothing by them; that they were said again is no
    /// change.
    async fn a_worker_whose_metadata_changed_is_not_assigned(db: &Database) {
        let farm = Farm::new(db);
        let chosen = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        let mut current = farm.reload_worker(&chosen).await;
        current.set_static_metadata(db, object(json!({"tasks_denylist": ["noop"]})), farm.now()).await.unwrap();
        assert!(!row.assign_worker(db, &chosen, None, farm.now()).await.unwrap());
        let chosen = farm.reload_worker(&chosen).await;
        current.set_dynamic_metadata(db, object(json!({"provided_tags": ["a"]})), farm.now()).await.unwrap();
        assert!(!row.assign_worker(db, &chosen, None, farm.now()).await.unwrap());
        assert_eq!(farm.reload(&row).await, row);
        let chosen = farm.reload_worker(&chosen).await;
        current.set_dynamic_metadata(db, object(json!({"provided_tags": ["a"]})), farm.now()).await.unwrap();
        assert!(row.assign_worker(db, &chosen, None, farm.now()).await.unwrap());
    }

    /// Row 31: running needs a worker.
    async fn row_31_mark_running_without_worker(db: &Database) {
        let farm = Farm::new(db);
        let mut row = farm.pending().await;
        let refused = refusal(row.mark_running(db, farm.now()).await);
        assert_eq!(refused, "Cannot mark WorkRequest 1 as running: it does not have an assigned worker");
        let row = farm.reload(&row).await;
        assert_eq!((*row.status, row.started_at), (Statuses::Pending, None));
    }

    /// Row 32: running has a start.
    async fn row_32_mark_running(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.assigned(&worker).await;
        row.mark_running(db, at(90_000)).await.unwrap();
        assert_eq!((*row.status, row.started_at, row.worker_id), (Statuses::Running, Some(at(90_000)), Some(worker.id)));
        assert_eq!(farm.reload(&row).await, row);
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, Running]);
        row.mark_aborted(db, farm.now()).await.unwrap();
    }

    /// Row 33: to run what runs is no error and changes nothing.
    async fn row_33_mark_running_twice(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.assigned(&worker).await;
        row.mark_running(db, at(90_000)).await.unwrap();
        let before = row.clone();
        row.mark_running(db, at(95_000)).await.unwrap();
        assert_eq!((&row, &farm.reload(&row).await), (&before, &before));
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, Running]);
        row.mark_aborted(db, farm.now()).await.unwrap();
    }

    /// Row 34: what has ended does not run again.
    async fn row_34_mark_running_after_the_end(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut completed, _) = farm.running(&worker).await;
        farm.complete(&mut completed, Results::Success).await;
        let (mut aborted, _) = farm.running(&worker).await;
        aborted.mark_aborted(db, farm.now()).await.unwrap();
        for mut row in [completed, aborted] {
            let before = row.clone();
            let refused = refusal(row.mark_running(db, farm.now()).await);
            let status = *row.status;
            assert_eq!(refused, format!("Cannot mark WorkRequest {row} as running: current status is {status}"));
            assert_eq!(farm.reload(&row).await, before);
        }
    }

    /// Row 35: a worker runs one at a time.
    async fn row_35_mark_running_when_the_worker_is_at_it(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut first, _) = farm.running(&worker).await;
        // The scheduler gives nothing to a busy worker: a hand in the database did.
        let mut second = farm.pending().await;
        let sql = format!("UPDATE work_request SET worker_id = {} WHERE id = {}", worker.id, second.id);
        db.reader().execute_unprepared(&sql).await.unwrap();
        let refused = refusal(second.mark_running(db, farm.now()).await);
        assert_eq!(
            refused,
            "Cannot mark WorkRequest 2 as running: the assigned worker w-example-org is running too many WorkRequests: [1]"
        );
        assert_eq!(*farm.reload(&second).await.status, Statuses::Pending);
        farm.complete(&mut first, Results::Success).await;
        second.mark_running(db, farm.now()).await.unwrap();
        farm.complete(&mut second, Results::Success).await;
    }

    /// Row 36: completion has a time and one of the results.
    async fn row_36_mark_completed(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        for result in RESULTS {
            let (mut row, _) = farm.running(&worker).await;
            let end = farm.now();
            let output = OutputData { skip_reason: Some("because".to_owned()), ..OutputData::default() };
            row.mark_completed(db, result, output.clone(), end).await.unwrap();
            assert_eq!((*row.status, *row.result, row.completed_at), (Statuses::Completed, result, Some(end)));
            assert_eq!((row.worker_id, row.output().unwrap()), (Some(worker.id), output));
            assert_eq!(farm.reload(&row).await, row);
            let history = farm.work_requests().history(row.id).await.unwrap();
            assert_eq!(kinds(&history), [Created, Pending, Assigned, Running, Completed]);
            assert_eq!(history[4].detail, Some(json!({"result": result})));
            assert_eq!(farm.attempts(&row).await, [(1, Some("reported".to_owned()))]);
        }
    }

    /// Row 37: what was never handed out can be completed too (its data do not fit, there is nothing to do).
    async fn row_37_mark_completed_from_pending(db: &Database) {
        let farm = Farm::new(db);
        let mut row = farm.pending().await;
        farm.complete(&mut row, Results::Skipped).await;
        assert_eq!((*row.status, row.started_at, row.duration()), (Statuses::Completed, None, None));
        let mut blocked = farm.blocked().await;
        let refused = blocked.mark_completed(db, Results::Error, OutputData::default(), farm.now()).await;
        assert_eq!(refusal(refused), "Cannot mark WorkRequest 2 as completed: current status is blocked");
    }

    /// Row 38: completion needs a result.
    async fn row_38_mark_completed_without_result(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut row, _) = farm.running(&worker).await;
        let refused = row.mark_completed(db, Results::None, OutputData::default(), farm.now()).await;
        assert_eq!(refusal(refused), "result cannot be NONE");
        assert_eq!(*farm.reload(&row).await.status, Statuses::Running);
    }

    /// Row 39: the first result counts.
    async fn row_39_mark_completed_twice(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut row, _) = farm.running(&worker).await;
        farm.complete(&mut row, Results::Success).await;
        let before = row.clone();
        let refused = row.mark_completed(db, Results::Failure, OutputData::error("a", "b"), farm.now()).await;
        assert_eq!(refusal(refused), "Cannot mark WorkRequest 1 as completed: current status is completed");
        assert_eq!(farm.reload(&row).await, before);
    }

    /// Row 40: anything can be given up; that has a time and no result.
    async fn row_40_mark_aborted(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (running, _) = farm.running(&worker).await;
        for mut row in [farm.blocked().await, farm.pending().await, running] {
            let end = farm.now();
            row.mark_aborted(db, end).await.unwrap();
            assert_eq!((*row.status, *row.result, row.completed_at), (Statuses::Aborted, Results::None, Some(end)));
            assert_eq!(farm.reload(&row).await, row);
            assert_eq!(farm.history(&row).await.last(), Some(&Aborted));
        }
        assert!(!worker.is_busy(db).await.unwrap());
        // What had a result keeps it.
        let mut completed = farm.pending().await;
        farm.complete(&mut completed, Results::Failure).await;
        completed.mark_aborted(db, farm.now()).await.unwrap();
        let completed = farm.reload(&completed).await;
        assert_eq!((*completed.status, *completed.result), (Statuses::Aborted, Results::Failure));
    }

    /// Row 41: seconds from start to end, with their fraction.
    async fn row_41_duration(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.assigned(&worker).await;
        assert_eq!(row.duration(), None);
        row.mark_running(db, at(10_000)).await.unwrap();
        assert_eq!(farm.reload(&row).await.duration(), None);
        row.mark_completed(db, Results::Success, OutputData::default(), at(11_500)).await.unwrap();
        assert_eq!(farm.reload(&row).await.duration(), Some(1.5));
    }

    /// Row 43: a work request goes back into the queue; what has ended does not, and that is worth a warning.
    async fn row_43_de_assign_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let assigned = farm.assigned(&worker).await;
        for (mut row, is_running) in [(assigned.clone(), false), (assigned, true)] {
            if is_running {
                farm.assign(&mut row, &worker).await;
                farm.fetch(&worker, &row).await;
            }
            let mut events = db.events();
            assert!(row.de_assign_worker(db, farm.now()).await.unwrap());
            assert_eq!((*row.status, row.worker_id, row.started_at), (Statuses::Pending, None, None));
            assert_eq!(farm.reload(&row).await, row);
            let heard = heard(&mut events);
            assert_eq!(kinds(&heard), [DeAssigned]);
            assert_eq!(heard[0].worker_id, Some(worker.id), "the worker is told");
            assert!(heard[0].kind.wakes_scheduler());
            assert!(!worker.is_busy(db).await.unwrap());
        }
        let mut row = farm.pending().await;
        farm.complete(&mut row, Results::Success).await;
        let before = row.clone();
        let warnings = Warnings::default();
        let listening = tracing::subscriber::set_default(warnings.clone());
        assert!(!row.de_assign_worker(db, farm.now()).await.unwrap());
        drop(listening);
        assert_eq!(*warnings.0.lock().unwrap(), ["WorkRequest 2 cannot be de-assigned: current status: completed"]);
        assert_eq!((&row, &farm.reload(&row).await), (&before, &before));
    }

    /// Row 57: the neighbour in the order of creation, ties broken by id, an error at the ends.
    async fn row_57_work_requests_have_neighbours(db: &Database) {
        let farm = Farm::new(db);
        let mut made = Vec::new();
        // Whole seconds, milliseconds, microseconds: as text they have different lengths.
        let fraction = at(1000) + TimeDelta::microseconds(250_001);
        for now in [at(2000), at(1000), fraction, at(1250), at(1000)] {
            made.push(farm.work_requests().create_blocked(&farm.request(), now).await.unwrap());
        }
        let order = [1, 4, 3, 2, 0].map(|n| made[n].clone());
        for pair in order.windows(2) {
            assert_eq!(pair[0].get_next_by_created_at(db).await.unwrap(), pair[1]);
            assert_eq!(pair[1].get_previous_by_created_at(db).await.unwrap(), pair[0]);
        }
        let beyond = order[4].get_next_by_created_at(db).await.unwrap_err();
        assert!(matches!(beyond, Error::DoesNotExist { kind: "WorkRequest", .. }), "{beyond}");
        assert!(matches!(order[0].get_previous_by_created_at(db).await, Err(Error::DoesNotExist { .. })));
    }

    async fn every_end_has_an_event_that_is_heard(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut events = db.events();
        for (n, expected) in [(0, Completed), (1, Aborted), (2, Aborted)] {
            let (mut row, _) = farm.running(&worker).await;
            heard(&mut events);
            match n {
                0 => farm.complete(&mut row, Results::Error).await,
                1 => row.mark_aborted(db, farm.now()).await.unwrap(),
                _ => row.abort(db, Some(1), farm.now()).await.unwrap().unwrap(),
            }
            let heard = heard(&mut events);
            assert_eq!(kinds(&heard), [expected]);
            assert_eq!((heard[0].work_request_id, heard[0].worker_id), (Some(row.id), Some(worker.id)));
            assert_eq!(heard[0].user_id, (n == 2).then_some(1));
        }
        let last = EventManager(db).newest().await.unwrap();
        let latest = EventManager(db).foreign(last - 2, 1).await.unwrap();
        assert_eq!((latest.len(), latest[0].id), (1, last - 1));
    }

    async fn wrong_requests_are_refused(db: &Database) {
        let farm = Farm::new(db);
        let limits = |total, silence| Deadlines { total, silence };
        let bytes = |memory, disk| ResourceLimits { memory, disk };
        for (wrong, text) in [
            (NewWorkRequest { task_name: String::new(), ..farm.request() }, "task_name"),
            (NewWorkRequest { task_name: "x".repeat(101), ..farm.request() }, "task_name"),
            (NewWorkRequest { task_data: json!([1]), ..farm.request() }, "task data must be a dictionary"),
            (NewWorkRequest { deadlines: limits(Some(0), None), ..farm.request() }, "deadlines"),
            (NewWorkRequest { deadlines: limits(None, Some(u32::MAX)), ..farm.request() }, "deadlines"),
            (NewWorkRequest { limits: bytes(Some(0), None), ..farm.request() }, "limits: memory 0"),
            (NewWorkRequest { limits: bytes(None, Some(u64::MAX)), ..farm.request() }, "limits: disk"),
        ] {
            let refused = farm.work_requests().create(&wrong, &SchedulerTags::default(), farm.now()).await.unwrap_err();
            assert!(matches!(&refused, Error::Invalid(said) if said.contains(text)), "{refused}");
        }
        let nowhere = NewWorkRequest { workspace_id: 99, ..farm.request() };
        let refused = farm.work_requests().create(&nowhere, &SchedulerTags::default(), farm.now()).await.unwrap_err();
        assert!(matches!(refused, Error::Integrity(_)), "{refused}");
        assert_eq!(farm.all_events().await, []);
        let longest = NewWorkRequest {
            task_name: "x".repeat(100), deadlines: limits(Some(1), Some(i32::MAX as u32)),
            limits: bytes(Some(1), Some(i64::MAX as u64)), ..farm.request()
        };
        let row = farm.work_requests().create(&longest, &SchedulerTags::default(), farm.now()).await.unwrap();
        let row = farm.reload(&row).await;
        assert_eq!((row.deadlines(), row.limits()), (longest.deadlines, longest.limits));
    }

    async fn data_come_back_as_they_were(db: &Database) {
        let farm = Farm::new(db);
        let data = json!({"z": null, "a": [1, 2.5, "ü🦀"], "big": 9_007_199_254_740_993_i64, "deep": {"": {"x": []}}});
        let new = NewWorkRequest { task_data: data.clone(), event_reactions: json!({"on_success": []}), ..farm.request() };
        let row = farm.work_requests().create(&new, &SchedulerTags::default(), farm.now()).await.unwrap();
        let row = farm.reload(&row).await;
        assert_eq!((&row.task_data, row.used_task_data()), (&data, &data));
        assert_eq!(row.event_reactions, new.event_reactions);
    }

    async fn a_blocked_work_request_becomes_pending_once(db: &Database) {
        let farm = Farm::new(db);
        let row = farm.blocked().await;
        let wanted = SchedulerTags { required: tags(&["worker:build-arch:amd64"]), provided: tags(&["task:mine"]) };
        let ready = farm.work_requests().mark_pending(row.id, &wanted, farm.now()).await.unwrap();
        assert_eq!(*ready.status, Statuses::Pending);
        assert_eq!(ready.scheduler_tags_required, json!(["worker:build-arch:amd64"]));
        assert_eq!(ready.scheduler_tags_provided, json!(["task:mine"]));
        let again = farm.work_requests().mark_pending(row.id, &wanted, farm.now()).await;
        assert_eq!(refusal(again), "Cannot mark WorkRequest 1 as pending: current status is pending");
        assert_eq!(farm.history(&row).await, [Created, Pending]);
        let nothing = farm.work_requests().mark_pending(99, &wanted, farm.now()).await.unwrap_err();
        assert_eq!(nothing.to_string(), "WorkRequest 99 does not exist");
    }

    async fn a_person_aborts(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let worker = farm.worker("w.example.org").await;
        let (mut row, key) = farm.running(&worker).await;
        row.abort(db, Some(alice.id), farm.now()).await.unwrap().unwrap();
        assert_eq!((*row.status, row.worker_id, row.aborted_by_id), (Statuses::Aborted, None, Some(alice.id)));
        assert_eq!(farm.reload(&row).await, row);
        assert!(!worker.is_busy(db).await.unwrap(), "the worker is free");
        assert_eq!(farm.tokens().get_token_or_none(key.reveal(), farm.now()).await.unwrap(), None);
        assert_eq!(farm.attempts(&row).await, [(1, Some("aborted".to_owned()))]);

        let refused = row.abort(db, Some(alice.id), farm.now()).await.unwrap();
        assert_eq!(refused, Err("Only pending, blocked, or running tasks can be aborted"));
        row.retry(db, None, farm.now()).await.unwrap();
        assert_eq!(row.abort(db, None, farm.now()).await.unwrap(), Err("Cannot abort old superseded tasks"));
    }

    async fn a_person_retries(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let wanted = SchedulerTags { required: tags(&["worker:build-arch:amd64"]), provided: tags(&["task:mine"]) };
        let new = NewWorkRequest {
            task_data: json!({"n": 1}),
            deadlines: Deadlines { total: Some(60), silence: None },
            limits: ResourceLimits { memory: Some(1 << 40), disk: None },
            priority_base: 3,
            ..farm.request()
        };
        let mut old = farm.work_requests().create(&new, &wanted, farm.now()).await.unwrap();
        old.set_priority_adjustment(db, 4, None, farm.now()).await.unwrap();
        let refused = old.retry(db, Some(alice.id), farm.now()).await.unwrap_err();
        assert!(matches!(refused, RetryError::NotAllowed("Only unsuccessful tasks can be retried")), "{refused}");

        farm.complete(&mut old, Results::TemporaryFailure).await;
        let heir = old.retry(db, Some(alice.id), farm.now()).await.unwrap();
        assert_eq!((*heir.status, *heir.result, heir.supersedes_id), (Statuses::Pending, Results::None, Some(old.id)));
        assert_eq!((&heir.task_data, heir.deadlines(), heir.priority_effective()), (&old.task_data, new.deadlines, 7));
        assert_eq!((heir.limits(), heir.delayed_until), (new.limits, None));
        assert_eq!(heir.requirement_set_id, old.requirement_set_id);
        assert_eq!(heir.retry_count(), 0);
        assert_eq!(farm.reload(&old).await, old, "the old one stays as it is");
        assert_eq!(old.superseded_by(db).await.unwrap(), Some(heir.id));
        let history = farm.work_requests().history(old.id).await.unwrap();
        let last = history.last().unwrap();
        assert_eq!((*last.kind, last.user_id, &last.detail), (Retried, Some(alice.id), &Some(json!({"superseded_by": heir.id}))));

        let again = old.retry(db, None, farm.now()).await.unwrap_err();
        assert!(matches!(again, RetryError::NotAllowed("Cannot retry old superseded tasks")), "{again}");
        let mut heir = heir;
        farm.complete(&mut heir, Results::Success).await;
        heir.retry(db, None, farm.now()).await.unwrap_err();
    }

    async fn only_one_of_many_retries_wins(db: &Database) {
        let farm = Farm::new(db);
        let mut old = farm.pending().await;
        old.mark_aborted(db, farm.now()).await.unwrap();
        let tries = (0..8).map(|_| old.retry(db, None, farm.now()));
        let heirs: Vec<_> = futures::future::join_all(tries).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(heirs.len(), 1);
        assert_eq!(pending(&farm).await, [heirs[0].id]);
    }
}
