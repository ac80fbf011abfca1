//! Handing work out, taking reports, losing workers, passing deadlines: on both databases.

mod farm;
mod support;

use farm::{Farm, at, heard, kinds, stories, tags};
use futures::future::join_all;
use sea_orm::EntityTrait;
use serde_json::json;
use usine_db::entity::token;
use usine_db::work_request::{HandedOut, Loss, ReportOutcome, SchedulerTags};
use usine_db::{Database, WorkRequest, Worker};
use usine_model::event::EventKind::{self, *};
use usine_model::output_data::{OutputData, RuntimeStatistics};
use usine_model::policy::{DeadlinePassed, WORK_REQUEST_TOKEN_LIFE};
use usine_model::token::{TokenKey, TokenType};
use usine_model::work_request::{Results, Statuses};

const SILENT: Loss = Loss { silent_for: 120 };

async fn lose(farm: &Farm<'_>, worker: &Worker) -> Vec<i64> {
    farm.work_requests().lose_worker(worker, SILENT, farm.now()).await.unwrap()
}

/// Tokens of work requests that exist now.
async fn work_request_tokens(db: &Database) -> Vec<token::Model> {
    let all = token::Entity::find().all(db.reader()).await.unwrap();
    all.into_iter().filter(|token| *token.token_type == TokenType::WorkRequest).collect()
}

fn ended(outcomes: &[&str]) -> Vec<(i32, Option<String>)> {
    std::iter::zip(1.., outcomes).map(|(n, outcome)| (n, Some((*outcome).to_owned()))).collect()
}

fn given_up(row: &WorkRequest) {
    let errors = row.output().unwrap().errors.unwrap();
    assert_eq!((*row.status, *row.result), (Statuses::Aborted, Results::None));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].code, "work-request-retry-limit-exceeded");
    let id = row.id;
    assert_eq!(
        errors[0].message,
        format!("No worker managed to complete work request {id}. Automatic retry limit exceeded.")
    );
}

stories! {
    async fn a_worker_fetches_what_is_assigned_to_it(db: &Database) {
        let farm = Farm::new(db);
        let (worker, other) = (farm.worker("w.example.org").await, farm.worker("other.example.org").await);
        assert!(farm.ask(&worker).await.is_none(), "nothing is assigned");
        let row = farm.assigned(&worker).await;
        assert!(farm.ask(&other).await.is_none(), "not to this one");
        let mut events = db.events();
        let now = at(500_000);
        let handed = farm.work_requests().get_next_for_worker(&worker, &farm.entropy, now).await.unwrap();
        let HandedOut { work_request, key } = handed.unwrap();
        assert_eq!(work_request, row, "as it was just before");
        let running = farm.reload(&row).await;
        assert_eq!((*running.status, running.started_at), (Statuses::Running, Some(now)));
        assert_eq!(kinds(&heard(&mut events)), [Running]);

        let token = farm.tokens().get_token_or_none(key.reveal(), now).await.unwrap().unwrap();
        assert_eq!((*token.token_type, token.work_request_id), (TokenType::WorkRequest, Some(row.id)));
        assert!(token.enabled && token.expire_at == Some(now + WORK_REQUEST_TOKEN_LIFE));
        let attempts = farm.work_requests().attempts(row.id).await.unwrap();
        assert_eq!(attempts.len(), 1);
        let live = &attempts[0];
        assert_eq!((live.number, live.worker_id, live.worker_name.as_str()), (1, Some(worker.id), "w-example-org"));
        assert_eq!((&live.token_hash, live.handed_out_at, &live.outcome), (&key.hash().0, now, &None));
    }

    /// A report is taken once; the same again gets the same answer, whatever it says, and changes nothing.
    async fn a_worker_reports(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        let output = OutputData {
            runtime_statistics: Some(RuntimeStatistics { duration: Some(61), ..RuntimeStatistics::default() }),
            ..OutputData::default()
        };
        let mut events = db.events();
        let manager = farm.work_requests();
        let taken = manager.report(row.id, &key.hash(), Results::Success, output.clone(), farm.now()).await.unwrap();
        assert_eq!(taken, ReportOutcome::Accepted);
        let completed = farm.reload(&row).await;
        assert_eq!((*completed.status, *completed.result), (Statuses::Completed, Results::Success));
        assert_eq!(completed.output().unwrap(), output);
        assert_eq!(work_request_tokens(db).await, []);
        let attempts = manager.attempts(row.id).await.unwrap();
        assert_eq!((attempts[0].outcome.as_deref(), *attempts[0].result), (Some("reported"), Results::Success));
        assert_eq!(attempts[0].ended_at, completed.completed_at);

        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Repeated);
        assert_eq!(farm.report(row.id, &key, Results::Error).await, ReportOutcome::Repeated);
        assert_eq!(farm.reload(&row).await, completed);
        assert_eq!(kinds(&heard(&mut events)), [Completed]);
    }

    async fn only_the_key_of_the_attempt_may_report(db: &Database) {
        let farm = Farm::new(db);
        let (worker, other) = (farm.worker("w.example.org").await, farm.worker("other.example.org").await);
        let (row, _) = farm.running(&worker).await;
        let (_, others) = farm.running(&other).await;
        for key in [others, TokenKey::generate(&farm.entropy), farm.registered("x").await.1] {
            assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotFound);
            assert_eq!(farm.report(99, &key, Results::Success).await, ReportOutcome::NotFound);
        }
        assert_eq!(farm.reload(&row).await, row);
    }

    async fn a_wrong_report_leaves_it_running(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        let mut events = db.events();
        let refused = farm
            .work_requests()
            .report(row.id, &key.hash(), Results::None, OutputData::default(), farm.now())
            .await
            .unwrap_err();
        assert_eq!(refused.to_string(), "result cannot be NONE");
        assert_eq!(farm.reload(&row).await, row);
        assert_eq!(heard(&mut events), []);
        assert_eq!(farm.report(row.id, &key, Results::Failure).await, ReportOutcome::Accepted);
    }

    async fn of_many_reports_one_is_taken(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        let reports = (0..8).map(|_| farm.report(row.id, &key, Results::Success));
        let answers = futures::future::join_all(reports).await;
        let accepted = answers.iter().filter(|answer| **answer == ReportOutcome::Accepted).count();
        let repeated = answers.iter().filter(|answer| **answer == ReportOutcome::Repeated).count();
        assert_eq!((accepted, repeated), (1, 7), "{answers:?}");
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, Running, Completed]);
    }

    /// A worker that asks though it has something running was restarted: it gets that again, with another key.
    async fn a_restarted_worker_gets_its_work_again(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, old) = farm.running(&worker).await;
        let handed = farm.ask(&worker).await.unwrap();
        assert_eq!((handed.work_request.id, *handed.work_request.status), (row.id, Statuses::Running));
        assert_eq!(handed.work_request.retry_count(), 1);
        assert_ne!(handed.key, old);
        let again = farm.reload(&row).await;
        assert_eq!((again.started_at, again.retry_count(), again.worker_id), (row.started_at, 1, Some(worker.id)));
        assert_eq!(farm.attempts(&row).await, [(1, Some("worker-restarted".to_owned())), (2, None)]);
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, Running, HandedOutAgain]);

        // The report of the stale attempt changes nothing.
        assert_eq!(farm.tokens().get_token_or_none(old.reveal(), at(0)).await.unwrap(), None);
        assert_eq!(farm.report(row.id, &old, Results::Error).await, ReportOutcome::NotRunning);
        assert_eq!(farm.reload(&row).await, again);
        assert_eq!(farm.report(row.id, &handed.key, Results::Success).await, ReportOutcome::Accepted);
        assert_eq!(farm.report(row.id, &old, Results::Error).await, ReportOutcome::NotRunning);
        assert_eq!(farm.report(row.id, &handed.key, Results::Success).await, ReportOutcome::Repeated);
    }

    /// A worker before 0.13 gets no key: its own token is that of its attempts, and of no other's.
    async fn an_old_worker_works_with_its_own_token(db: &Database) {
        let farm = Farm::new(db);
        let (worker, key) = farm.registered("old.example.org").await;
        let own = key.hash();
        let requests = farm.work_requests();
        let fetch = async || requests.get_next_for_old_worker(&worker, &own, farm.now()).await.unwrap();
        let running = async || requests.running_with_own_token(&own).await.unwrap().map(|row| row.id);
        assert_eq!(fetch().await, None);
        let row = farm.assigned(&worker).await;
        assert_eq!(running().await, None, "it has not been handed out");
        assert_eq!(fetch().await, Some(row.clone()), "as it was just before");
        assert_eq!((running().await, work_request_tokens(db).await.len()), (Some(row.id), 0));

        // Restarted, it gets the same again. Its report is that of the live attempt.
        assert_eq!(fetch().await.map(|again| (again.id, again.retry_count())), Some((row.id, 1)));
        assert_eq!(farm.attempts(&row).await, [(1, Some("worker-restarted".to_owned())), (2, None)]);
        let (other, _) = farm.running(&farm.worker("other.example.org").await).await;
        assert_eq!(farm.report(other.id, &key, Results::Success).await, ReportOutcome::NotFound, "it is another's");
        assert_eq!(farm.report(row.id, &key, Results::Failure).await, ReportOutcome::Accepted);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Repeated);
        assert_eq!((running().await, *farm.reload(&row).await.result), (None, Results::Failure));

        // What it has lost is not its own any more.
        let row = farm.assigned(&worker).await;
        fetch().await.unwrap();
        assert_eq!(lose(&farm, &worker).await, [row.id]);
        assert_eq!(running().await, None);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotRunning);
    }

    /// A key that was made for a worker is gone when the worker comes back as an old one.
    async fn a_worker_that_becomes_old_has_one_key_less(db: &Database) {
        let farm = Farm::new(db);
        let (worker, own) = farm.registered("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        let again = farm.work_requests().get_next_for_old_worker(&worker, &own.hash(), farm.now()).await.unwrap();
        assert_eq!(again.map(|again| again.id), Some(row.id));
        assert_eq!(farm.tokens().get_token_or_none(key.reveal(), at(0)).await.unwrap(), None);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotRunning);
        assert_eq!(farm.report(row.id, &own, Results::Success).await, ReportOutcome::Accepted);
    }

    /// Three times it is handed out again; after the fourth death it is given up, and the next one comes.
    async fn the_fourth_death_is_the_last(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, first) = farm.running(&worker).await;
        let mut keys = vec![first];
        for retry_count in 1..=3 {
            let handed = farm.ask(&worker).await.unwrap();
            assert_eq!((handed.work_request.id, handed.work_request.retry_count()), (row.id, retry_count));
            keys.push(handed.key);
        }
        let mut events = db.events();
        assert!(farm.ask(&worker).await.is_none());
        let row = farm.reload(&row).await;
        given_up(&row);
        assert_eq!(kinds(&heard(&mut events)), [Aborted]);
        let outcomes = ["worker-restarted", "worker-restarted", "worker-restarted", "aborted"];
        assert_eq!(farm.attempts(&row).await, ended(&outcomes));
        for key in &keys {
            assert_eq!(farm.report(row.id, key, Results::Success).await, ReportOutcome::NotRunning);
        }
        assert!(!worker.is_busy(db).await.unwrap());
        farm.running(&worker).await;
    }

    /// What has left artifacts behind is not handed out again, but replaced: any worker may take the new one.
    async fn a_work_request_with_artifacts_is_replaced(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let wanted = SchedulerTags { required: tags(&["worker:cap:sbuild"]), provided: tags(&[]) };
        let mut row = farm.pending_with(5, &wanted).await;
        farm.assign(&mut row, &worker).await;
        let key = farm.fetch(&worker, &row).await;
        farm.leave_artifact(&row).await;
        assert!(farm.ask(&worker).await.is_none(), "the new one is not assigned yet");
        let old = farm.reload(&row).await;
        assert_eq!((*old.status, old.retry_count()), (Statuses::Aborted, 0));
        let heir = farm.work_requests().get(old.superseded_by(db).await.unwrap().unwrap()).await.unwrap();
        assert_eq!((*heir.status, heir.worker_id, heir.supersedes_id), (Statuses::Pending, None, Some(old.id)));
        assert_eq!((heir.retry_count(), heir.priority_effective()), (1, 5));
        assert_eq!(heir.requirement_set_id, old.requirement_set_id);
        assert_eq!(farm.history(&old).await, [Created, Pending, Assigned, Running, Aborted, Retried]);
        assert_eq!(farm.report(old.id, &key, Results::Success).await, ReportOutcome::NotRunning);
        assert_eq!(work_request_tokens(db).await, []);
    }

    /// The same when an administrator disables the worker in the middle of its delivery: the next run must not find what this
    /// one has made. It is nobody's fault, and not counted.
    async fn what_a_disabled_worker_has_half_delivered_is_replaced(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        farm.leave_artifact(&row).await;
        worker.disable(db, farm.now()).await.unwrap();
        let old = farm.reload(&row).await;
        assert_eq!(*old.status, Statuses::Aborted);
        assert_eq!(farm.report(old.id, &key, Results::Success).await, ReportOutcome::NotRunning);
        let heir = farm.work_requests().get(old.superseded_by(db).await.unwrap().unwrap()).await.unwrap();
        assert_eq!((*heir.status, heir.worker_id, heir.retry_count()), (Statuses::Pending, None, 0));
    }

    /// The count goes on from one to the next: replaced three times, then given up.
    async fn replacing_has_the_same_limit(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        for retry_count in 0..=3 {
            assert_eq!(row.retry_count(), retry_count);
            farm.assign(&mut row, &worker).await;
            farm.fetch(&worker, &row).await;
            farm.leave_artifact(&row).await;
            assert_eq!(lose(&farm, &worker).await, [row.id]);
            let heir = row.superseded_by(db).await.unwrap();
            if retry_count < 3 {
                row = farm.work_requests().get(heir.unwrap()).await.unwrap();
            } else {
                assert_eq!(heir, None);
            }
        }
        given_up(&farm.reload(&row).await);
    }

    /// A worker that has fallen silent loses its work; another does it, and the late report changes nothing.
    async fn a_lost_worker_loses_its_work(db: &Database) {
        let farm = Farm::new(db);
        let (mut worker, other) = (farm.worker("w.example.org").await, farm.worker("other.example.org").await);
        let (row, late) = farm.running(&worker).await;
        worker.mark_disconnected(db, farm.now()).await.unwrap();
        let mut events = db.events();
        assert_eq!(lose(&farm, &worker).await, [row.id]);
        let mut row = farm.reload(&row).await;
        assert_eq!((*row.status, row.worker_id, row.started_at), (Statuses::Pending, None, None));
        assert_eq!(row.retry_count(), 1);
        assert_eq!(farm.attempts(&row).await, ended(&["lease-expired"]));
        let heard = heard(&mut events);
        assert_eq!(kinds(&heard), [WorkerLost, DeAssigned]);
        assert_eq!(heard[0].detail, Some(json!({"reason": "lease-expired", "silent_for": 120})));
        assert_eq!((heard[0].worker_id, heard[0].work_request_id), (Some(worker.id), Some(row.id)));
        assert!(lose(&farm, &worker).await.is_empty(), "once");

        farm.assign(&mut row, &other).await;
        let key = farm.fetch(&other, &row).await;
        assert_eq!(farm.report(row.id, &late, Results::Error).await, ReportOutcome::NotRunning);
        assert_eq!(*farm.reload(&row).await.status, Statuses::Running);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Accepted);
        assert_eq!(farm.attempts(&row).await, ended(&["lease-expired", "reported"]));
    }

    /// What it had not fetched costs no try.
    async fn what_was_not_fetched_costs_no_try(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let row = farm.assigned(&worker).await;
        assert_eq!(lose(&farm, &worker).await, [row.id]);
        let row = farm.reload(&row).await;
        assert_eq!((*row.status, row.worker_id, row.retry_count()), (Statuses::Pending, None, 0));
        assert_eq!(farm.history(&row).await, [Created, Pending, Assigned, WorkerLost, DeAssigned]);
    }

    async fn losing_workers_has_a_limit(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        for retry_count in 1..=4 {
            farm.assign(&mut row, &worker).await;
            farm.fetch(&worker, &row).await;
            assert_eq!(lose(&farm, &worker).await, [row.id]);
            row = farm.reload(&row).await;
            assert_eq!(row.retry_count(), retry_count.min(3));
        }
        given_up(&row);
        assert_eq!(farm.attempts(&row).await, ended(&["lease-expired", "lease-expired", "lease-expired", "aborted"]));
    }

    /// A worker that has connected again since it was found silent keeps its work.
    async fn a_worker_that_is_back_loses_nothing(db: &Database) {
        let farm = Farm::new(db);
        let silent = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&silent).await;
        let mut back = silent.clone();
        back.mark_connected(db, farm.now()).await.unwrap();
        let mut events = db.events();
        assert!(lose(&farm, &silent).await.is_empty());
        assert_eq!(farm.reload(&row).await, row);
        assert_eq!(heard(&mut events), []);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Accepted);
    }

    /// The report and the loss come at the same time: one of them counts, and both know which.
    async fn a_report_meets_the_end_of_the_lease(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        for _ in 0..5 {
            let (row, key) = farm.running(&worker).await;
            let report = farm.report(row.id, &key, Results::Success);
            let (answer, lost) = futures::future::join(report, lose(&farm, &worker)).await;
            let mut row = farm.reload(&row).await;
            match answer {
                ReportOutcome::Accepted => assert_eq!((*row.status, lost), (Statuses::Completed, vec![])),
                ReportOutcome::NotRunning => {
                    assert_eq!((*row.status, lost), (Statuses::Pending, vec![row.id]));
                    row.mark_aborted(db, farm.now()).await.unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A worker asks twice at once: one hand-out is live, and only its key may report.
    async fn a_worker_asks_twice_at_once(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let row = farm.assigned(&worker).await;
        let answers = futures::future::join_all((0..3).map(|_| farm.ask(&worker))).await;
        let keys: Vec<_> = answers.into_iter().flatten().map(|handed| handed.key).collect();
        assert!(!keys.is_empty());
        let attempts = farm.work_requests().attempts(row.id).await.unwrap();
        assert_eq!(attempts.iter().filter(|attempt| attempt.outcome.is_none()).count(), 1);
        let mut answers = Vec::new();
        for key in &keys {
            answers.push(farm.report(row.id, key, Results::Success).await);
        }
        assert_eq!(answers.iter().filter(|answer| **answer == ReportOutcome::Accepted).count(), 1, "{answers:?}");
    }

    async fn an_aborted_one_frees_its_worker(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (mut row, key) = farm.running(&worker).await;
        row.abort(db, Some(1), farm.now()).await.unwrap().unwrap();
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotRunning);
        assert_eq!((*farm.reload(&row).await.status, row.worker_id), (Statuses::Aborted, None));
        assert!(lose(&farm, &worker).await.is_empty());
        farm.running(&worker).await;
    }

    async fn a_disabled_worker_reports_in_vain(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        worker.disable(db, farm.now()).await.unwrap();
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotRunning);
        assert_eq!(*farm.reload(&row).await.status, Statuses::Pending);
    }

    /// What has passed a limit ends with an error; its worker's report comes too late.
    async fn a_deadline_passes(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let code = |passed: DeadlinePassed| passed.code();
        for passed in [DeadlinePassed::Total(60), DeadlinePassed::Silence(10)] {
            let (row, key) = farm.running(&worker).await;
            assert!(farm.work_requests().pass_deadline(row.id, passed, farm.now()).await.unwrap());
            let row = farm.reload(&row).await;
            assert_eq!((*row.status, *row.result), (Statuses::Completed, Results::Error));
            let errors = row.output().unwrap().errors.unwrap();
            assert_eq!((errors[0].code.as_str(), &errors[0].message), (code(passed), &passed.message()));
            assert_eq!(farm.attempts(&row).await, ended(&["aborted"]));
            assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::NotRunning);
            assert!(!farm.work_requests().pass_deadline(row.id, passed, farm.now()).await.unwrap(), "once");
            assert_eq!(farm.reload(&row).await, row);
            assert!(!worker.is_busy(db).await.unwrap());
        }
    }

    async fn what_cannot_be_assigned_fails(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let fail = async |row: &WorkRequest| {
            farm.work_requests().fail_pending(row.id, "configure-failed", "no such input", farm.now()).await.unwrap()
        };
        let row = farm.pending().await;
        assert!(fail(&row).await);
        let row = farm.reload(&row).await;
        assert_eq!((*row.status, *row.result), (Statuses::Completed, Results::Error));
        assert_eq!(row.output().unwrap(), OutputData::error("configure-failed", "no such input"));
        assert!(!fail(&row).await, "it has ended");
        let assigned = farm.assigned(&worker).await;
        assert!(!fail(&assigned).await, "it is assigned meanwhile");
        assert_eq!(farm.reload(&assigned).await, assigned);
    }

    /// One after the other, in the order of the queue at the time of asking.
    async fn the_assigned_are_fetched_in_order(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (first, mut urgent) = (farm.pending().await, farm.pending_with(9, &SchedulerTags::default()).await);
        let mut fetched = Vec::new();
        for mut row in [first, urgent.clone()] {
            farm.assign(&mut row, &worker).await;
            let key = farm.fetch(&worker, &row).await;
            // No preemption: the urgent one waits until the worker has room.
            assert!(row.id == urgent.id || !urgent.assign_worker(db, &worker, None, farm.now()).await.unwrap());
            assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Accepted);
            fetched.push(row.id);
        }
        let manager = farm.work_requests();
        let seen = manager.completed_since(at(0), &[1]).await.unwrap();
        assert_eq!(farm::ids(&seen), fetched);
    }

    async fn tokens_are_issued_for_assigned_work_only(db: &Database) {
        let farm = Farm::new(db);
        let issue = async |row: &WorkRequest| {
            let issued = farm.work_requests().create_work_request_token(row.id, &farm.entropy, farm.now()).await;
            issued.unwrap_err().to_string()
        };
        let mut row = farm.pending().await;
        assert_eq!(issue(&row).await, "Cannot issue a token for a WorkRequest that is not assigned to a worker.");
        farm.complete(&mut row, Results::Success).await;
        assert_eq!(issue(&row).await, "Cannot issue a token for a WorkRequest that has status completed");
        let blocked = farm.blocked().await;
        assert_eq!(issue(&blocked).await, "Cannot issue a token for a WorkRequest that has status blocked");
    }

    /// What fails temporarily stays as it ended; another one takes its place, rests for a minute, and is then like any other.
    async fn a_temporary_failure_is_tried_again_later(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let wanted = SchedulerTags { required: tags(&["worker:cap:sbuild"]), provided: tags(&["task:mine"]) };
        let mut row = farm.pending_with(5, &wanted).await;
        farm.assign(&mut row, &worker).await;
        let key = farm.fetch(&worker, &row).await;
        farm.leave_artifact(&row).await;
        let manager = farm.work_requests();
        let now = at(100_000);
        let hash = key.hash();
        let report = || manager.report(row.id, &hash, Results::TemporaryFailure, OutputData::default(), now);
        let mut events = db.events();
        assert_eq!(report().await.unwrap(), ReportOutcome::Accepted);
        assert_eq!(kinds(&heard(&mut events)), [Completed, Created, Blocked, Retried]);
        assert_eq!(report().await.unwrap(), ReportOutcome::Repeated);
        assert_eq!(heard(&mut events), []);
        assert!(!worker.is_busy(db).await.unwrap());

        let old = farm.reload(&row).await;
        assert_eq!((*old.status, *old.result, old.retry_count()), (Statuses::Completed, Results::TemporaryFailure, 0));
        let heir = manager.get(old.superseded_by(db).await.unwrap().unwrap()).await.unwrap();
        assert_eq!((*heir.status, heir.supersedes_id, heir.retry_count()), (Statuses::Blocked, Some(old.id), 1));
        assert_eq!(heir.delayed_until, Some(at(160_000)));
        let last = manager.history(old.id).await.unwrap().pop().unwrap();
        let until = at(160_000).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        assert_eq!(last.detail, Some(json!({
            "superseded_by": heir.id, "reason": "temporary-failure", "retry_count": 1, "delayed_until": until,
        })));

        assert_eq!(manager.rested(at(159_000)).all(db.reader()).await.unwrap(), []);
        assert!(!manager.end_rest(heir.id, at(159_000)).await.unwrap(), "too early");
        let rested = manager.rested(at(160_000)).all(db.reader()).await.unwrap();
        assert_eq!(rested, std::slice::from_ref(&heir));
        assert!(manager.end_rest(heir.id, at(160_000)).await.unwrap());
        assert!(!manager.end_rest(heir.id, at(160_000)).await.unwrap(), "once");
        let ready = farm.reload(&heir).await;
        assert_eq!((*ready.status, ready.delayed_until, ready.priority_effective()), (Statuses::Pending, None, 5));
        assert_eq!((ready.requirement_set_id, &ready.scheduler_tags_provided),
            (old.requirement_set_id, &old.scheduler_tags_provided));
        assert_eq!(farm.history(&heir).await, [Created, Blocked, Pending]);
        assert_eq!(manager.rested(at(900_000)).all(db.reader()).await.unwrap(), []);
    }

    /// Three times, with growing rests; losses of workers count, too. The last one stays failed.
    async fn temporary_failures_have_a_limit(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut row = farm.pending().await;
        let mut rests = Vec::new();
        loop {
            farm.assign(&mut row, &worker).await;
            let mut key = farm.fetch(&worker, &row).await;
            if row.retry_count() == 1 {
                key = farm.fetch(&worker, &row).await;
            }
            let now = farm.now();
            let (manager, output) = (farm.work_requests(), OutputData::default());
            let report = manager.report(row.id, &key.hash(), Results::TemporaryFailure, output, now).await;
            assert_eq!(report.unwrap(), ReportOutcome::Accepted);
            let Some(heir) = row.superseded_by(db).await.unwrap() else { break };
            row = farm.work_requests().get(heir).await.unwrap();
            let until = row.delayed_until.unwrap();
            rests.push((until - now).num_minutes());
            assert!(farm.work_requests().end_rest(heir, until).await.unwrap());
            row = farm.reload(&row).await;
        }
        assert_eq!(rests, [1, 15], "the loss in between took the place of the second");
        assert_eq!((row.retry_count(), *farm.reload(&row).await.result), (3, Results::TemporaryFailure));
        let by_hand = farm.reload(&row).await.retry(db, None, farm.now()).await.unwrap();
        assert_eq!((*by_hand.status, by_hand.retry_count()), (Statuses::Pending, 0), "a person begins anew");
    }

    /// Many servers end a rest at once: it becomes pending once. One that is aborted meanwhile stays aborted.
    async fn a_rest_ends_once(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let mut heirs = Vec::new();
        for _ in 0..2 {
            let (row, key) = farm.running(&worker).await;
            farm.report(row.id, &key, Results::TemporaryFailure).await;
            heirs.push(farm.work_requests().get(row.superseded_by(db).await.unwrap().unwrap()).await.unwrap());
        }
        let [heir, unwanted] = &mut heirs[..] else { panic!() };
        let later = heir.delayed_until.unwrap();
        let manager = farm.work_requests();
        let ends = futures::future::join_all((0..8).map(|_| manager.end_rest(heir.id, later))).await;
        assert_eq!(ends.into_iter().filter(|end| *end.as_ref().unwrap()).count(), 1);
        assert_eq!(farm.history(heir).await, [Created, Blocked, Pending]);

        unwanted.abort(db, None, farm.now()).await.unwrap().unwrap();
        assert_eq!(unwanted.delayed_until, None);
        assert!(!manager.end_rest(unwanted.id, at(900_000)).await.unwrap());
        assert_eq!(*farm.reload(unwanted).await.status, Statuses::Aborted);
    }

    /// A person need not wait: a retry of the one that failed, or of the one that rests for it, ends the rest.
    async fn a_person_ends_a_rest(db: &Database) {
        let farm = Farm::new(db);
        let alice = farm.user("alice").await;
        let worker = farm.worker("w.example.org").await;
        let manager = farm.work_requests();
        for of_heir in [false, true] {
            let (row, key) = farm.running(&worker).await;
            farm.report(row.id, &key, Results::TemporaryFailure).await;
            let old = farm.reload(&row).await;
            let heir = manager.get(old.superseded_by(db).await.unwrap().unwrap()).await.unwrap();
            let asked = if of_heir { &heir } else { &old };
            asked.check_retry(db).await.unwrap();
            let mut events = db.events();
            let ready = asked.retry(db, Some(alice.id), farm.now()).await.unwrap();
            assert_eq!((ready.id, *ready.status, ready.delayed_until), (heir.id, Statuses::Pending, None));
            assert_eq!(ready.retry_count(), 0, "a person begins anew");
            assert_eq!(kinds(&heard(&mut events)), [Pending, Retried]);
            assert_eq!(farm.history(&heir).await, [Created, Blocked, Pending]);
            let last = manager.history(old.id).await.unwrap().pop().unwrap();
            assert_eq!((*last.kind, last.user_id, last.detail),
                (Retried, Some(alice.id), Some(json!({"superseded_by": heir.id}))));

            assert!(!manager.end_rest(heir.id, at(9_000_000)).await.unwrap(), "it has ended");
            for (row, says) in [
                (&old, "Cannot retry old superseded tasks"),
                (&ready, "Only unsuccessful tasks can be retried"),
                (&heir, "Only unsuccessful tasks can be retried"),
            ] {
                let refused = row.retry(db, None, farm.now()).await.unwrap_err();
                assert_eq!(refused.to_string(), says, "{row}");
            }
            assert_eq!(old.check_retry(db).await.unwrap_err().to_string(), "Cannot retry old superseded tasks");
            let mut ready = ready;
            farm.assign(&mut ready, &worker).await;
            let key = farm.fetch(&worker, &ready).await;
            assert_eq!(farm.report(ready.id, &key, Results::Success).await, ReportOutcome::Accepted);
        }
    }

    /// Of many retries, of either, and the upkeep of many servers, one ends the rest.
    async fn many_retries_end_a_rest_once(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        farm.report(row.id, &key, Results::TemporaryFailure).await;
        let manager = farm.work_requests();
        let old = farm.reload(&row).await;
        let heir = manager.get(old.superseded_by(db).await.unwrap().unwrap()).await.unwrap();
        let (old, heir) = (&old, &heir);
        let now = at(900_000);
        let ends = join_all((0..9).map(async |n| match n % 3 {
            0 => old.retry(db, None, now).await.is_ok(),
            1 => heir.retry(db, None, now).await.is_ok(),
            _ => manager.end_rest(heir.id, now).await.unwrap(),
        }));
        assert_eq!(ends.await.into_iter().filter(|ended| *ended).count(), 1);
        assert_eq!(farm.history(heir).await, [Created, Blocked, Pending]);
        assert_eq!(*farm.reload(heir).await.status, Statuses::Pending);
        assert_eq!(heir.superseded_by(db).await.unwrap(), None, "none is doubled");
    }

    /// Nothing that is rolled back is published: the events of the steps before the failing one neither.
    async fn a_step_that_fails_tells_nobody(db: &Database) {
        let farm = Farm::new(db);
        let worker = farm.worker("w.example.org").await;
        let (row, key) = farm.running(&worker).await;
        farm.leave_artifact(&row).await;
        // The row's tags cannot be read, which shows when it is replaced, after it was aborted.
        let sql = format!("UPDATE work_request SET scheduler_tags_required = '7' WHERE id = {}", row.id);
        sea_orm::ConnectionTrait::execute_unprepared(db.reader(), &sql).await.unwrap();
        let before = farm.reload(&row).await;
        let written = farm.all_events().await;
        let mut events = db.events();
        let refused = farm.work_requests().lose_worker(&worker, SILENT, farm.now()).await.unwrap_err();
        assert!(refused.to_string().contains("scheduler_tags_required"), "{refused}");
        assert_eq!(heard(&mut events), []);
        assert_eq!(farm.all_events().await, written);
        assert_eq!(farm.reload(&row).await, before);
        assert_eq!(farm.report(row.id, &key, Results::Success).await, ReportOutcome::Accepted);
    }
}

/// The kinds that end a work request are two, and both wake the scheduler: a worker is free.
#[test]
fn every_end_wakes_the_scheduler() {
    for kind in [EventKind::Completed, EventKind::Aborted, EventKind::DeAssigned, EventKind::WorkerLost] {
        assert!(kind.wakes_scheduler(), "{kind}");
    }
}
