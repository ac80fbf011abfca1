//! What the server tells of itself and of what it holds: who is asking, numbers, details, in the form that clients read.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, Words, eventually, stories};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use usine_db::token::TokenSpec;
use usine_db::{TokenManager, UserManager};
use usine_model::clock::Clock;
use usine_model::entropy::CountingEntropy;
use usine_model::token::TokenType;
use usine_model::work_request::Results;
use usine_model::worker::WorkerType;
use usine_protocol::own::CreateLimitedWorkRequest;

const WHOAMI: &str = "/api/1.0/whoami/";
const STATUS: &str = "/api/1.0/service-status/";
const METRICS: &str = "/api/1.0/open-metrics/";

fn who(user: &str, auth: bool, work_request: Option<i64>, worker: bool) -> Value {
    json!({"user": user, "auth": auth, "work_request": work_request, "worker": worker})
}

fn workers(registered: u32, connected: u32, idle: u32, busy: u32) -> Value {
    json!({"registered": registered, "connected": connected, "idle": idle, "busy": busy})
}

fn queue(pending: u32, running: u32) -> Value {
    json!({"pending": pending, "running": running})
}

/// The samples of a text of metrics, by name and labels. Every line is what the format knows, every sample has been
/// announced.
fn samples(text: &str) -> Vec<(String, f64)> {
    let mut announced = Vec::new();
    let mut samples = Vec::new();
    assert!(text.ends_with("# EOF\n"));
    for line in text.trim_end_matches("# EOF\n").lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert!(["gauge", "counter", "histogram", "summary"].contains(&kind), "{line}");
                announced.push(name.to_owned());
            }
            ["#", "HELP", name, _] => assert!(!name.is_empty()),
            _ => {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(announced.iter().any(|known| name.starts_with(known.as_str())), "{line}");
                samples.push((name.to_owned(), value.parse().unwrap()));
            }
        }
    }
    assert!(announced.iter().all(|name| name.starts_with("debusine_")), "{announced:?}");
    samples
}

stories! {
    /// Each kind of token is told apart; one that does not work is none.
    async fn whoami_knows_every_token(app: App) {
        let (database, now) = (&app.state.database, app.state.now());
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let running = worker.take().await;
        let activation = app.activation("a", WorkerType::External).await;
        let waiting = app.new_key();
        app.post("/api/1.0/worker/register/", json!({"token": waiting, "fqdn": "waiting"})).empty(201).await;
        let make = async |spec: TokenSpec| {
            let key = app.new_key().parse().unwrap();
            TokenManager(database).create_with_key(spec, key, now).await.unwrap().key.reveal().to_owned()
        };
        let bob = UserManager(database).create("bob", "", &CountingEntropy::default(), now).await.unwrap().0.id;
        let of_bob = |enabled, expire_at| TokenSpec { enabled, expire_at, ..TokenSpec::of_user(bob) };
        let disabled = make(of_bob(false, None)).await;
        let expiring = make(of_bob(true, Some(now + TimeDelta::seconds(60)))).await;
        let external = TokenSpec { enabled: true, external_username: "carol".to_owned(), ..TokenSpec::of_type(TokenType::ExternalUser) };
        let external = make(external).await;

        let nobody = who("<anonymous>", false, None, false);
        assert_eq!(app.get(WHOAMI).answers(200).await, nobody);
        for (key, expected) in [
            (&user, who("alice", true, None, false)),
            (&worker.key, who("<anonymous>", true, None, true)),
            (running.token.as_ref().unwrap(), who("<anonymous>", true, Some(id), false)),
            (&activation, who("<anonymous>", true, None, false)),
            (&external, who("<anonymous>", true, None, false)),
            (&expiring, who("bob", true, None, false)),
            (&disabled, nobody.clone()),
            (&waiting, nobody.clone()),
            (&app.new_key(), nobody.clone()),
            (&user.to_uppercase(), nobody.clone()),
            (&"garbage".to_owned(), nobody.clone()),
            (&String::new(), nobody.clone()),
        ] {
            assert_eq!(app.get(WHOAMI).key(key).answers(200).await, expected, "{key}");
        }
        app.pass(61);
        assert_eq!(app.get(WHOAMI).key(&expiring).answers(200).await, nobody, "it has expired");
        worker.report(&running, Results::Success).await.unwrap();
        let dead = app.get(WHOAMI).key(running.token.as_ref().unwrap()).answers(200).await;
        assert_eq!(dead, nobody, "it ended with its work request");
        app.end().await;
    }

    /// Nothing is there, then some of everything.
    async fn the_service_is_counted(app: App) {
        let zero = |names: &[&str], value: Value| -> Value {
            names.iter().map(|name| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>().into()
        };
        let kinds = ["celery", "external", "signing"];
        let types = ["Worker", "Server", "Internal", "Workflow", "Signing", "Wait"];
        let empty = app.get(STATUS).answers(200).await;
        let expected = json!({"tasks": zero(&types, queue(0, 0)), "workers": zero(&kinds, workers(0, 0, 0, 0)),
            "worker_tasks": zero(&kinds, queue(0, 0)), "external_workers_arch": {}, "external_workers_native_arch": {},
            "worker_tasks_arch": {}});
        assert_eq!(empty, expected);

        let alice = app.user("alice").await;
        let mut busy = app.worker("busy", &["worker:build-arch:amd64", "worker:build-arch:i386"]).await;
        app.noop(&alice).await;
        busy.take().await;
        let idle = app.worker("idle", &["worker:build-arch:amd64"]).await;
        let metadata = json!({"system:native_architecture": "amd64", "provided_tags": ["worker:build-arch:amd64"]});
        idle.client.put_dynamic_metadata(metadata.as_object().unwrap()).await.unwrap();
        app.worker("away", &["worker:build-arch:riscv64"]).await.disconnect();
        app.post("/api/1.0/worker/register/", json!({"token": app.new_key(), "fqdn": "waiting"})).empty(201).await;
        app.activation("signer", WorkerType::Signing).await;
        for architecture in ["riscv64", "riscv64", "arm64"] {
            let new = json!({"task_name": "mmdebstrap", "task_data": {"bootstrap_options": {"architecture": architecture},
                "bootstrap_repositories": [{"mirror": "http://mirror.example.org/debian", "suite": "sid"}]}});
            alice.create_work_request(&serde_json::from_value(new).unwrap()).await.unwrap();
        }
        eventually(async || app.state.hub.connections() == 2 && app.worker_row("away").await.connected_at.is_none()).await;
        let status = app.get(STATUS).answers(200).await;
        assert_eq!(status["tasks"]["Worker"], queue(3, 1));
        assert_eq!(status["tasks"]["Signing"], queue(0, 0));
        assert_eq!(status["worker_tasks"]["external"], queue(3, 1));
        assert_eq!(status["workers"]["external"], workers(3, 2, 1, 1), "only those that are enabled");
        assert_eq!(status["workers"]["signing"], workers(0, 0, 0, 0));
        let by_architecture = json!({"amd64": workers(2, 2, 1, 1), "i386": workers(1, 1, 0, 1), "riscv64": workers(1, 0, 0, 0)});
        assert_eq!(status["external_workers_arch"], by_architecture);
        assert_eq!(status["external_workers_native_arch"], json!({"amd64": workers(1, 1, 1, 0)}));
        let tasks = json!({"None": queue(0, 1), "arm64": queue(1, 0), "riscv64": queue(2, 0)});
        assert_eq!(status["worker_tasks_arch"], tasks);

        let answer = app.get(METRICS).sent(200).await;
        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(content_type.starts_with("text/plain; version="), "{content_type}");
        let found = samples(&answer.text().await.unwrap());
        for (name, value) in [
            ("debusine_work_requests{task_type=\"Worker\",status=\"pending\"}", 3.0),
            ("debusine_work_requests{task_type=\"Worker\",status=\"running\"}", 1.0),
            ("debusine_workers{worker_type=\"external\",state=\"registered\"}", 3.0),
            ("debusine_workers{worker_type=\"external\",state=\"busy\"}", 1.0),
            ("debusine_workers{worker_type=\"signing\",state=\"registered\"}", 0.0),
            ("debusine_worker_channels", 2.0),
        ] {
            assert!(found.contains(&(name.to_owned(), value)), "{name} {value}: {found:?}");
        }
        let open = app.get(METRICS).header("Accept", "application/openmetrics-text; version=1.0.0").sent(200).await;
        let content_type = open.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
        app.end().await;
    }

    /// Times are in UTC with a Z, microseconds where there are any; what is not set is null, not left out.
    async fn answers_have_the_originals_form(app: App) {
        let user = app.user_key("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let made = app.post("/api/1.0/work-request/", json!({"task_name": "NoOp", "task_data": {}, "event_reactions": {}}));
        let made = made.key(&user).answers(200).await;
        let id = made["id"].as_i64().unwrap();
        let creator = made["created_by"].as_i64().unwrap();
        let path = format!("/debusine/System/work-request/{id}/");
        let mut expected = json!({
            "id": id, "url": path, "parent": null, "workflow_root": null, "task_name": "noop",
            "created_at": "2026-09-21T14:13:20Z", "created_by": creator, "completed_by": null, "aborted_by": null,
            "started_at": null, "completed_at": null, "duration": null, "worker": null, "task_type": "Worker",
            "task_data": {}, "dynamic_task_data": null, "priority_base": 0, "priority_adjustment": 0, "workflow_data": {},
            "event_reactions": {}, "status": "pending", "result": "", "artifacts": [], "scope": "debusine",
            "workspace": "System", "scheduler_tags_provided": ["task:group:debusine::Members", "task:group:debusine::System-contributor",
                "task:scope:debusine", "task:workspace:debusine:System"],
            "scheduler_tags_required": ["worker:task:worker:noop:version:1", "worker:type:external"],
            "links": {"self": format!("/api/1.0/work-request/{id}/"), "webui_self": path,
                "webui_created_by": format!("/-/user/id/{creator}/")}
        });
        assert_eq!(made, expected);
        app.clock.advance(TimeDelta::microseconds(1_123_456));
        let fetched = worker.take().await;
        app.clock.advance(TimeDelta::microseconds(2_500_000));
        worker.report(&fetched, Results::Skipped).await.unwrap();
        assert_eq!(app.clock.now().timestamp_subsec_micros(), 623_456);
        let shown = app.get(&format!("/api/1.0/work-request/{id}/")).key(&user).answers(200).await;
        for (key, value) in [
            ("status", json!("completed")),
            ("result", json!("skipped")),
            ("worker", shown["worker"].clone()),
            ("dynamic_task_data", shown["dynamic_task_data"].clone()),
            ("started_at", json!("2026-09-21T14:13:21.123456Z")),
            ("completed_at", json!("2026-09-21T14:13:23.623456Z")),
            ("duration", json!(2.5)),
        ] {
            expected[key] = value;
        }
        assert_eq!(shown, expected);
        assert!(shown["worker"].is_i64() && shown["dynamic_task_data"].is_object(), "{shown}");
        app.end().await;
    }

    /// Where the original's clients expect no object, there is not even a blank.
    async fn empty_means_empty(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let key = app.new_key();
        let activation = app.activation("w", WorkerType::External).await;
        let register = json!({"token": key, "fqdn": "w", "worker_type": "external"});
        app.post("/api/1.0/worker/register/", register).key(&activation).empty(201).await;
        let mut worker = app.worker("other", &[]).await;
        app.request(Method::PUT, "/api/1.0/worker/dynamic-metadata/").key(&key).json(&json!({})).empty(204).await;
        let next = "/api/1.0/work-request/get-next-for-worker/";
        app.post(next, json!({})).key(&key).empty(204).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        let report = || {
            let path = format!("/api/1.0/work-request/{id}/completed/");
            let request = app.request(Method::PUT, &path).json(&json!({"result": "success"}));
            request.key(fetched.token.as_deref().unwrap())
        };
        report().empty(200).await;
        report().empty(200).await;
        app.end().await;
    }

    /// Our own part of the API: what a work request went through, for those who may see it.
    async fn details_are_for_those_who_may_see(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut worker = app.worker("w", &[]).await;
        let new = json!({"task_name": "noop", "task_data": {}, "deadlines": {"total": 600, "silence": 60}});
        let new: CreateLimitedWorkRequest = serde_json::from_value(new).unwrap();
        let id = alice.create_limited_work_request(&new).await.unwrap().id;
        let other = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        let own = fetched.token.as_deref().unwrap();
        let path = |id: &dyn std::fmt::Display, rest: &str| format!("/api/usine/1.0/work-request/{id}/{rest}/");
        let details = app.get(&path(&id, "details")).key(&user).answers(200).await;
        assert_eq!((&details["worker_name"], &details["pending_reason"]), (&json!("w"), &json!(null)));
        assert_eq!(details["deadlines"], json!({"total": 600, "silence": 60}));
        assert_eq!(details["attempts"][0]["handed_out_at"], "2026-09-21T14:13:20Z");
        assert_eq!(app.get(&path(&id, "details")).key(own).answers(200).await, details, "its own worker may look");
        let waiting = app.get(&path(&other, "details")).key(&user).answers(200).await;
        assert!(waiting["pending_reason"]["summary"].as_str().unwrap().contains("at work"), "{waiting}");

        let missing = "Error | No WorkRequest matches the given query.";
        for rest in ["details", "log"] {
            for (key, id, status, title) in [
                (own, other, 404, missing),
                (&user, 999_999, 404, missing),
                (&worker.key, id, 403, "Error | You do not have permission to perform this action."),
                ("garbage", id, 403, "Error | Authentication credentials were not provided."),
            ] {
                assert_eq!(app.get(&path(&id, rest)).key(key).refused(status).await, title, "{rest} {id}");
            }
            let title = app.get(&path(&id, rest)).refused(403).await;
            assert_eq!(title, "Error | Authentication credentials were not provided.");
            for id in ["x", "-1", "99999999999999999999"] {
                assert_eq!(app.get(&path(&id, rest)).key(&user).refused(404).await, missing, "{rest} {id}");
            }
        }
        assert_eq!(app.get(&path(&other, "log")).key(&user).refused(404).await, "No log is kept");
        app.end().await;
    }

    /// The tasks there are, and what each takes.
    async fn tasks_are_described(app: App) {
        let tasks = app.get("/api/usine/1.0/task/").answers(200).await;
        let names: Vec<_> = tasks["Worker"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(names.contains(&"noop") && names.contains(&"sbuild") && names.is_sorted(), "{names:?}");
        for name in names {
            let schema = app.get(&format!("/api/usine/1.0/task/{name}/schema/")).answers(200).await;
            assert_eq!(schema["type"], "object", "{name}");
            assert!(schema["properties"].is_object() && schema["$schema"].is_string(), "{name}: {schema}");
        }
        let schema = app.get("/api/usine/1.0/task/noop/schema/").answers(200).await;
        assert!(schema["properties"]["result"].is_object(), "{schema}");
        assert_eq!(app.get("/api/usine/1.0/task/nop/schema/").refused(404).await, "Object not found");
        app.end().await;
    }
}
