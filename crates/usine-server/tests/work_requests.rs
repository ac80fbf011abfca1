//! The life of work requests, seen through the API and the channels.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, eventually, stories};
use serde_json::json;
use usine_client::WorkRequestFilter;
use usine_client::channel::Received;
use usine_model::event::EventKind;
use usine_model::matching::Verdict;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::work_request::{Results, Statuses};
use usine_protocol::channel::{LogMessage, LogStream, Notice, ServerMessage, WorkerMessage};
use usine_protocol::own::CreateLimitedWorkRequest;
use usine_protocol::work_request::{CreateWorkRequest, UpdateWorkRequest};

stories! {
    /// Row 58 of the data model's table: connect, submit, fetch, report.
    async fn a_work_request_runs(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w1.example.org", &[]).await;
        let submitted = app.noop(&alice).await;
        assert_eq!((submitted.status, submitted.result), (Statuses::Pending, Results::None));

        let fetched = worker.take().await;
        assert_eq!((fetched.id, fetched.status, fetched.started_at), (submitted.id, Statuses::Pending, None));
        assert_eq!((fetched.scope.as_str(), fetched.workspace.as_str()), ("debusine", "System"));
        let running = alice.work_request(submitted.id).await.unwrap();
        assert_eq!(running.status, Statuses::Running);
        assert!(running.token.is_none(), "only the worker gets the key");

        worker.report(&fetched, Results::Success).await.unwrap();
        let done = alice.work_request(submitted.id).await.unwrap();
        assert_eq!((done.status, done.result, done.duration), (Statuses::Completed, Results::Success, Some(0.0)));
        assert_eq!(worker.fetch().await, None);

        let details = alice.work_request_details(submitted.id).await.unwrap();
        let events: Vec<_> = details.history.iter().map(|entry| entry.event).collect();
        use EventKind::*;
        assert_eq!(events, [Created, Pending, Assigned, Running, Completed]);
        assert_eq!(details.attempts.len(), 1);
        app.end().await;
    }

    /// Each worker has one at a time, and gets the next one without asking; none is done twice.
    async fn three_workers_share_nine_work_requests(app: App) {
        let alice = app.user("alice").await;
        let mut submitted = Vec::new();
        for _ in 0..9 {
            submitted.push(app.noop(&alice).await.id);
        }
        let mut workers = Vec::new();
        for name in ["a", "b", "c"] {
            workers.push(app.worker(name, &[]).await);
        }
        let mut done = Vec::new();
        for _ in 0..3 {
            let mut taken = Vec::new();
            for worker in &mut workers {
                taken.push(worker.take().await);
            }
            for (worker, work_request) in workers.iter().zip(taken) {
                worker.report(&work_request, Results::Success).await.unwrap();
                done.push(work_request.id);
            }
        }
        done.sort_unstable();
        assert_eq!(done, submitted);
        app.end().await;
    }

    /// A report is taken once; the same again is answered alike; anybody else's is refused.
    async fn reports_are_fenced(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let first = worker.take().await;
        let second = worker.fetch().await.expect("the same again, after a restart of the worker");
        assert_eq!((second.id, second.status), (id, Statuses::Running));
        assert_ne!(first.token, second.token);

        let stale = worker.report(&first, Results::Failure).await.unwrap_err();
        assert_eq!(stale.status(), Some(403), "{stale}");
        worker.report(&second, Results::Success).await.unwrap();
        worker.report(&second, Results::Success).await.unwrap();
        let late = worker.report(&first, Results::Failure).await.unwrap_err();
        assert_eq!(late.status(), Some(403));
        let stranger = alice.complete(id, &usine_protocol::work_request::Completed {
            result: Results::Failure, output_data: Default::default() }).await.unwrap_err();
        assert_eq!(stranger.status(), Some(403));
        assert_eq!(alice.work_request(id).await.unwrap().result, Results::Success);
        app.end().await;
    }

    /// A silent worker loses its work to another one, and the history tells.
    async fn a_silent_worker_loses_its_work(app: App) {
        let alice = app.user("alice").await;
        let mut lost = app.worker("lost", &[]).await;
        let id = app.noop(&alice).await.id;
        let stale = lost.take().await;
        lost.disconnect();
        let mut other = app.worker("other", &[]).await;
        eventually(async || !app.state.hub.is_connected(stale.worker.unwrap())).await;
        app.pass(100);
        let fetched = other.take().await;
        assert_eq!(fetched.id, id);
        let late = lost.report(&stale, Results::Failure).await.unwrap_err();
        assert_eq!(late.status(), Some(403));
        other.report(&fetched, Results::Success).await.unwrap();
        let details = alice.work_request_details(id).await.unwrap();
        let outcomes: Vec<_> =
            details.attempts.iter().map(|attempt| (attempt.worker.as_str(), attempt.outcome.as_deref())).collect();
        assert_eq!(outcomes, [("lost", Some("lease-expired")), ("other", Some("reported"))]);
        assert!(details.history.iter().any(|entry| entry.event == EventKind::WorkerLost));
        app.end().await;
    }

    /// A restart of the server takes nothing from a worker that comes back within a lease.
    async fn a_restart_gives_grace(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        app.pass(1000);
        app.restart().await;
        let details = alice.work_request_details(id).await.unwrap();
        assert_eq!(details.attempts.iter().filter(|attempt| attempt.ended_at.is_some()).count(), 0);
        worker.connect().await;
        assert_eq!(worker.hear().await, Notice::WorkRequestAvailable, "it is told that it has work");
        worker.report(&fetched, Results::Success).await.unwrap();
        assert_eq!(alice.work_request(id).await.unwrap().result, Results::Success);
        app.end().await;
    }

    /// Abort reaches the worker at once.
    async fn an_abort_reaches_the_worker(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        let aborted = alice.abort_work_request(id).await.unwrap();
        assert_eq!((aborted.status, aborted.worker), (Statuses::Aborted, None));
        assert_eq!(worker.hear().await, Notice::WorkRequestAborted { work_request_id: id });
        let late = worker.report(&fetched, Results::Success).await.unwrap_err();
        assert_eq!(late.status(), Some(403));
        let again = alice.abort_work_request(id).await.unwrap_err();
        assert!(again.to_string().contains("Only pending, blocked, or running tasks can be aborted"), "{again}");

        let heir = alice.retry_work_request(id).await.unwrap();
        assert_ne!(heir.id, id);
        let refused = alice.retry_work_request(id).await.unwrap_err();
        assert!(refused.to_string().contains("Cannot retry old superseded tasks"), "{refused}");
        let fetched = worker.take().await;
        assert_eq!(fetched.id, heir.id);
        worker.report(&fetched, Results::Success).await.unwrap();
        let details = alice.work_request_details(id).await.unwrap();
        assert_eq!(details.superseded_by, Some(heir.id));
        app.end().await;
    }

    /// Limits end a run with an error that names them.
    async fn deadlines_are_kept(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let new = CreateLimitedWorkRequest {
            work_request: CreateWorkRequest { task_name: "noop".into(), task_data: json!({}), ..Default::default() },
            deadlines: Deadlines { total: Some(60), silence: None },
            ..Default::default()
        };
        let id = alice.create_limited_work_request(&new).await.unwrap().id;
        let fetched = worker.take().await;
        app.pass(61);
        let ended = app.until(&alice, id, |row| row.status == Statuses::Completed).await;
        assert_eq!(ended.result, Results::Error);
        while worker.hear().await != (Notice::WorkRequestAborted { work_request_id: id }) {}
        assert_eq!(worker.report(&fetched, Results::Success).await.unwrap_err().status(), Some(403));
        let details = alice.work_request_details(id).await.unwrap();
        assert_eq!(details.output_data.errors.unwrap()[0].code, "deadline-total-exceeded");
        app.end().await;
    }

    /// Limits of resources reach the worker, and nobody else but those who ask for details.
    async fn limits_reach_the_worker(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let limits = ResourceLimits { memory: Some(2 << 30), disk: Some(5_000_000_000) };
        let new = CreateLimitedWorkRequest {
            work_request: CreateWorkRequest { task_name: "noop".into(), task_data: json!({}), ..Default::default() },
            limits,
            ..Default::default()
        };
        let created = alice.create_limited_work_request(&new).await.unwrap();
        assert_eq!(created.limits, None);
        let fetched = worker.take().await;
        assert_eq!((fetched.id, fetched.limits), (created.id, Some(limits)));
        let details = alice.work_request_details(created.id).await.unwrap();
        assert_eq!((details.limits, details.deadlines), (limits, Deadlines::default()));
        worker.report(&fetched, Results::Success).await.unwrap();
        app.noop(&alice).await;
        assert_eq!(worker.take().await.limits, None);
        app.end().await;
    }

    /// What fails temporarily is tried again after a while, also by a server that was restarted meanwhile.
    async fn a_temporary_failure_is_tried_again(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        worker.report(&fetched, Results::TemporaryFailure).await.unwrap();
        worker.report(&fetched, Results::TemporaryFailure).await.unwrap();
        let old = alice.work_request(id).await.unwrap();
        assert_eq!((old.status, old.result), (Statuses::Completed, Results::TemporaryFailure));
        let heir = alice.work_request_details(id).await.unwrap().superseded_by.unwrap();
        let resting = alice.work_request(heir).await.unwrap();
        assert_eq!((resting.status, &resting.workflow_data), (Statuses::Blocked, &json!({"retry_count": 1})));
        let details = alice.work_request_details(heir).await.unwrap();
        let until = app.state.now() + chrono::TimeDelta::minutes(1);
        assert_eq!((details.supersedes, details.delayed_until), (Some(id), Some(until)));
        let reason = details.pending_reason.unwrap();
        assert_eq!(
            reason.summary,
            format!("it waits until 2026-09-21T14:14:20Z after a temporary failure of work request {id}")
        );
        assert!(reason.workers.is_empty());

        app.pass(50);
        app.restart().await;
        worker.connect().await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(alice.work_request(heir).await.unwrap().status, Statuses::Blocked, "it is not yet time");
        app.pass(10);
        let again = worker.take().await;
        assert_eq!(again.id, heir);
        worker.report(&again, Results::Success).await.unwrap();
        let details = alice.work_request_details(heir).await.unwrap();
        let events: Vec<_> = details.history.iter().map(|entry| entry.event).collect();
        use EventKind::*;
        assert_eq!(events, [Created, Blocked, Pending, Assigned, Running, Completed]);
        let listed = alice.work_requests(&WorkRequestFilter::default(), 10).await.unwrap();
        assert_eq!(listed.len(), 2, "none is doubled");
        app.end().await;
    }

    /// Who does not want to wait for the end of a rest retries either of the two.
    async fn a_retry_ends_a_rest(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        worker.report(&fetched, Results::TemporaryFailure).await.unwrap();
        let first = alice.work_request_details(id).await.unwrap().superseded_by.unwrap();
        assert_eq!(alice.retry_work_request(id).await.unwrap().id, first, "the one that failed");
        let fetched = worker.take().await;
        assert_eq!((fetched.id, &fetched.workflow_data), (first, &json!({})));
        let refused = alice.retry_work_request(id).await.unwrap_err();
        assert!(refused.to_string().contains("Cannot retry old superseded tasks"), "{refused}");

        worker.report(&fetched, Results::TemporaryFailure).await.unwrap();
        let second = alice.work_request_details(first).await.unwrap().superseded_by.unwrap();
        assert_eq!(alice.retry_work_request(second).await.unwrap().id, second, "the one that rests");
        assert_eq!(worker.take().await.id, second);
        assert_eq!(alice.work_requests(&WorkRequestFilter::default(), 10).await.unwrap().len(), 3, "none is doubled");
        app.end().await;
    }

    /// A disabled worker is told, loses its work, and gets none.
    async fn a_disabled_worker_loses_its_work(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        worker.take().await;
        let row = usine_db::WorkerManager(&app.state.database).get_worker_or_none("w").await.unwrap().unwrap();
        row.disable(&app.state.database, app.state.now()).await.unwrap();
        loop {
            match worker.message().await {
                ServerMessage::Closed { reason_code, .. } => {
                    assert_eq!(reason_code, "TOKEN_DISABLED");
                    break;
                }
                _ => continue,
            }
        }
        let waiting = alice.work_request(id).await.unwrap();
        assert_eq!((waiting.status, waiting.worker, waiting.started_at), (Statuses::Pending, None, None));
        let mut again = worker.client.worker_channel().await.unwrap();
        let Received::Message(ServerMessage::Rejected { reason_code, .. }) = again.receive().await.unwrap() else {
            panic!("a disabled worker is refused in words");
        };
        assert_eq!(reason_code.as_deref(), Some("TOKEN_DISABLED"));
        let reason = alice.work_request_details(id).await.unwrap().pending_reason.unwrap();
        assert_eq!(reason.summary, "1 worker could run it but is disabled");
        app.end().await;
    }

    /// Why nothing happens, in words.
    async fn the_reason_is_told(app: App) {
        let alice = app.user("alice").await;
        let id = app.noop(&alice).await.id;
        let reason = |id| {
            let alice = &alice;
            async move { alice.work_request_details(id).await.unwrap().pending_reason.unwrap() }
        };
        assert_eq!(reason(id).await.summary, "no worker is registered");
        let mut worker = app.worker("w", &[]).await;
        let taken = worker.take().await;
        assert_eq!(taken.id, id);
        let next = app.noop(&alice).await.id;
        let after = app.noop(&alice).await.id;
        let busy = reason(after).await;
        assert_eq!(busy.summary, "1 worker could run it but is at work: 1 work request comes first");
        assert_eq!(busy.workers[0].verdict, Verdict::Busy { work_requests: vec![id] });
        assert_eq!(reason(next).await.ahead, 0);
        let new = CreateWorkRequest {
            task_name: "mmdebstrap".into(),
            task_data: json!({"bootstrap_options": {"architecture": "riscv64"},
                "bootstrap_repositories": [{"mirror": "http://mirror.example.org/debian", "suite": "sid"}]}),
            ..Default::default()
        };
        let foreign = alice.create_work_request(&new).await.unwrap().id;
        let summary = reason(foreign).await.summary;
        assert!(summary.contains("worker:build-arch:riscv64"), "{summary}");
        app.end().await;
    }

    /// Higher priority comes first, then the oldest; raising it needs a permission.
    async fn priorities_order_the_queue(app: App) {
        let alice = app.user("alice").await;
        let (first, second, third) = (app.noop(&alice).await.id, app.noop(&alice).await.id, app.noop(&alice).await.id);
        let lower = UpdateWorkRequest { priority_adjustment: -5 };
        alice.update_work_request(first, &lower).await.unwrap();
        let refused = alice.update_work_request(second, &UpdateWorkRequest { priority_adjustment: 5 }).await.unwrap_err();
        assert_eq!(refused.status(), Some(403));
        let mut worker = app.worker("w", &[]).await;
        let mut order = Vec::new();
        for _ in 0..3 {
            let fetched = worker.take().await;
            worker.report(&fetched, Results::Success).await.unwrap();
            order.push(fetched.id);
        }
        assert_eq!(order, [second, third, first]);
        app.end().await;
    }

    /// The live log is followed from the beginning to the end; frames for others' work are dropped.
    async fn logs_are_followed(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let mut early = alice.follow_log(id).await.unwrap();
        let _ = worker.take().await;
        let line = |text: &str, id| WorkerMessage::LogData {
            work_request_id: id, stream: LogStream::Stdout, data: text.to_owned(), timestamp: app.state.now(),
        };
        worker.say(&line("one\n", id)).await;
        worker.say(&line("stolen\n", id + 1)).await;
        worker.say(&json!({"type": "garbage"})).await;
        worker.say(&"not an object").await;
        let mut follower = alice.follow_log(id).await.unwrap();
        assert!(matches!(follower.receive().await.unwrap(), Received::Message(LogMessage::Connected)));
        let text = |message| match message {
            Received::Message(LogMessage::LogData { data, .. }) => data,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(follower.receive().await.unwrap()), "one\n");
        worker.say(&line("two\n", id)).await;
        assert_eq!(text(follower.receive().await.unwrap()), "two\n");
        worker.fetch().await;
        // The follower that came before the work request ran was told so, or follows too.
        assert!(matches!(early.receive().await.unwrap(),
            Received::Message(LogMessage::ConnectionRejected { .. } | LogMessage::Connected)));
        alice.abort_work_request(id).await.unwrap();
        assert!(matches!(follower.receive().await.unwrap(), Received::Closed), "the stream ends with the run");
        app.end().await;
    }

    /// Those who follow completions hear of each once, and of what they missed.
    async fn completions_are_followed(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let missed = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        worker.report(&fetched, Results::Failure).await.unwrap();
        app.pass(10);
        let since = app::noon() - chrono::TimeDelta::seconds(1);
        let mut channel = alice.on_completed(&["System".to_owned()], Some(since)).await.unwrap();
        let mut heard = Vec::new();
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        worker.report(&fetched, Results::Success).await.unwrap();
        while heard.len() < 2 {
            let message = tokio::time::timeout(app::SOON, channel.receive()).await.unwrap().unwrap();
            if let Received::Message(ServerMessage::Notice(Notice::WorkRequestCompleted { work_request_id, result, .. })) = message {
                heard.push((work_request_id, result));
            }
        }
        assert_eq!(heard, [(missed, Results::Failure), (id, Results::Success)]);
        let mut unknown = alice.on_completed(&["nowhere".to_owned()], None).await.unwrap();
        let Received::Message(ServerMessage::Rejected { reason, .. }) = unknown.receive().await.unwrap() else { panic!() };
        assert_eq!(reason, "Workspace \"nowhere\" not found");
        app.end().await;
    }

    /// What is wrong with a submission is said before anything is stored.
    async fn bad_submissions_change_nothing(app: App) {
        let alice = app.user("alice").await;
        let submit = |name: &str, data: serde_json::Value| {
            let new = CreateWorkRequest { task_name: name.into(), task_data: data, ..Default::default() };
            let alice = alice.clone();
            async move { alice.create_work_request(&new).await.unwrap_err() }
        };
        for (name, data, status, says) in [
            ("nop", json!({}), 400, "Registered task names: assemblesignedsource, "),
            ("noop", json!({"result": "perhaps"}), 400, "result"),
            ("noop", json!({"surprise": 1}), 400, "surprise"),
            ("noop", json!([]), 400, "task data must be a dictionary"),
            ("sbuild", json!({"build_architecture": "amd64", "environment": 1}), 400, "input"),
            ("sbuild", json!({"input": {"source_artifact": 77}, "build_architecture": "amd64", "environment": 1}), 400,
             "artifact 77 does not exist"),
            ("sbuild", json!({"input": {"source_artifact": "hello@debian:suite"}, "build_architecture": "amd64",
                "environment": "debian/match:codename=bookworm"}), 400, "collection"),
        ] {
            let error = submit(name, data.clone()).await;
            assert_eq!(error.status(), Some(status), "{name} {data}: {error}");
            assert!(error.to_string().contains(says), "{name} {data}: {error}");
        }
        let nowhere = CreateWorkRequest {
            task_name: "noop".into(), task_data: json!({}), workspace: Some("nowhere".into()), ..Default::default() };
        let error = alice.create_work_request(&nowhere).await.unwrap_err();
        assert!(error.to_string().contains("Workspace nowhere not found in scope debusine"), "{error}");
        let stranger = app.client(None).create_work_request(&nowhere).await.unwrap_err();
        assert!(stranger.to_string().contains("Authentication credentials were not provided."), "{stranger}");
        let unknown = app.client(Some(&"0".repeat(64))).work_requests(&WorkRequestFilter::default(), 1).await.unwrap_err();
        assert_eq!(unknown.status(), Some(403));
        assert!(alice.work_requests(&WorkRequestFilter::default(), 10).await.unwrap().is_empty());
        app.end().await;
    }

    /// Lists go from new to old, through all pages.
    async fn lists_have_pages(app: App) {
        let alice = app.user("alice").await;
        let mut ids = Vec::new();
        for n in 0..23 {
            app.pass(n % 2);
            ids.insert(0, app.noop(&alice).await.id);
        }
        let all = alice.work_requests(&WorkRequestFilter::default(), 100).await.unwrap();
        assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
        let some = alice.work_requests(&WorkRequestFilter::default(), 12).await.unwrap();
        assert_eq!(some.len(), 12);
        app.end().await;
    }
}
