//! Machines register, are enabled, connect, say what they can do, and get only work that suits them.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, FakeWorker, Words, eventually, stories};
use chrono::TimeDelta;
use futures::StreamExt;
use reqwest::Method;
use reqwest::header::HeaderValue;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use usine_client::Client;
use usine_client::channel::Received;
use usine_db::entity::user;
use usine_db::token::TokenSpec;
use usine_db::work_request::{NewWorkRequest, SchedulerTags};
use usine_db::{TokenManager, UserManager, WorkRequestManager, WorkerManager};
use usine_model::matching::Verdict;
use usine_model::tags::Tags;
use usine_model::token::{TokenKey, TokenType};
use usine_model::work_request::{Results, Statuses};
use usine_model::worker::WorkerType;
use usine_protocol::channel::{Notice, ServerMessage};

const REGISTER: &str = "/api/1.0/worker/register/";
const METADATA: &str = "/api/1.0/worker/dynamic-metadata/";
const GET_NEXT: &str = "/api/1.0/work-request/get-next-for-worker/";
const CHANNEL: &str = "/api/ws/1.0/worker/connect/";

/// The body of a registration.
fn machine(key: &str, fqdn: &str) -> Value {
    json!({"token": key, "fqdn": fqdn, "worker_type": "external"})
}

/// Number of workers that there are.
async fn registered(app: &App) -> usize {
    WorkerManager(&app.state.database).list().await.unwrap().len()
}

/// The first frames of a channel, as they are on the wire: `count` of them, or all until it closes, the code last.
async fn frames(app: &App, path: &str, key: Option<&str>, count: usize) -> Vec<Value> {
    let mut request = format!("{}{path}", app.url.replacen("http", "ws", 1)).into_client_request().unwrap();
    if let Some(key) = key {
        request.headers_mut().insert("Token", HeaderValue::from_str(key).unwrap());
    }
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.expect("the upgrade is always accepted");
    assert_eq!(answer.status(), 101);
    let mut frames = Vec::new();
    while frames.len() < count {
        match tokio::time::timeout(app::SOON, socket.next()).await.expect("a frame").unwrap().unwrap() {
            Message::Text(text) => frames.push(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => {
                frames.push(json!(u16::from(frame.expect("a reason").code)));
                break;
            }
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    frames
}

fn notice(text: &str) -> Value {
    json!({"type": "websocket.send", "text": text})
}

/// A pending work request with requirements of the test's choice.
async fn requiring(app: &App, tags: &[&str]) -> i64 {
    let creator = UserManager(&app.state.database).get_user_or_none("alice").await.unwrap().unwrap();
    let required: Tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let new = NewWorkRequest::of_worker_task(1, creator.id, "noop");
    let tags = SchedulerTags { required, provided: Tags::new() };
    WorkRequestManager(&app.state.database).create(&new, &tags, app.state.now()).await.unwrap().id
}

/// What a worker's row says about why it does not run a work request.
async fn verdict(alice: &Client, id: i64, worker: &str) -> Verdict {
    let reason = alice.work_request_details(id).await.unwrap().pending_reason.expect("it is pending");
    reason.workers.into_iter().find(|about| about.worker == worker).unwrap().verdict
}

/// The worker gets and does exactly this one next.
async fn does(worker: &mut FakeWorker, id: i64) {
    let fetched = worker.take().await;
    assert_eq!(fetched.id, id);
    worker.report(&fetched, Results::Success).await.unwrap();
}

stories! {
    /// Without an activation token an administrator has to agree; the machine notices by itself.
    async fn a_machine_waits_to_be_enabled(app: App) {
        let key = app.new_key();
        app.post(REGISTER, machine(&key, "Build-1.Example.ORG")).empty(201).await;
        let row = app.worker_row("build-1-example-org").await;
        assert_eq!((*row.worker_type, row.connected_at, row.registered_at), (WorkerType::External, None, app::noon()));
        let who = app.get("/api/1.0/whoami/").key(&key).answers(200).await;
        assert_eq!(who, json!({"user": "<anonymous>", "auth": false, "work_request": null, "worker": false}));
        let title = app.post(GET_NEXT, json!({})).key(&key).refused(403).await;
        assert_eq!(title, "Error | Authentication credentials were not provided.");
        assert_eq!(frames(&app, CHANNEL, Some(&key), 2).await[0]["reason_code"], "TOKEN_DISABLED");

        let mut token = row.token(&app.state.database).await.unwrap().unwrap();
        assert!(!token.enabled);
        token.enable(&app.state.database, app.state.now()).await.unwrap();
        assert_eq!(frames(&app, CHANNEL, Some(&key), 1).await, [notice("connected")]);
        app.post(GET_NEXT, json!({})).key(&key).empty(204).await;

        // Another machine of the same name gets a name of its own; a type may be left out or be another one.
        app.post(REGISTER, json!({"token": app.new_key(), "fqdn": "build-1.example.org"})).empty(201).await;
        assert_eq!(*app.worker_row("build-1-example-org-2").await.worker_type, WorkerType::External);
        let signing = json!({"token": app.new_key(), "fqdn": "s", "worker_type": "signing"});
        app.post(REGISTER, signing).empty(201).await;
        assert_eq!(*app.worker_row("s").await.worker_type, WorkerType::Signing);
        app.end().await;
    }

    /// An activation token stands for its worker, once, for 15 minutes.
    async fn an_activation_token_works_once(app: App) {
        let activation = app.activation("w.example.org", WorkerType::External).await;
        let id = app.worker_row("w-example-org").await.id;
        let key = app.new_key();
        let other_name = json!({"token": key, "fqdn": "elsewhere", "worker_type": "signing"});
        for _ in 0..2 {
            // The second time because the answer to the first was lost.
            app.post(REGISTER, &other_name).key(&activation).empty(201).await;
        }
        let row = app.worker_row("w-example-org").await;
        assert_eq!((row.id, *row.worker_type), (id, WorkerType::External), "the row decides, not the body");
        assert_eq!(registered(&app).await, 1);
        assert_eq!(frames(&app, CHANNEL, Some(&key), 1).await, [notice("connected")], "enabled at once");

        let late = app.activation("late", WorkerType::External).await;
        let just = app.activation("just", WorkerType::External).await;
        let alice = app.user_key("alice").await;
        app.pass(15 * 60);
        app.post(REGISTER, machine(&app.new_key(), "just")).key(&just).empty(201).await;
        app.pass(1);
        let refused = app.new_key();
        for wrong in [activation.as_str(), &late, &alice, &key, &"0".repeat(64), "garbage", ""] {
            let title = app.post(REGISTER, machine(&refused, "x")).key(wrong).refused(400).await;
            assert_eq!(title, "Invalid worker activation token", "{wrong}");
        }
        let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let title = app.post(REGISTER, machine(&refused, "x")).header("Token", latin).refused(400).await;
        assert_eq!(title, "Invalid worker activation token", "a header that is no text is no missing header");
        assert_eq!(registered(&app).await, 3);
        let found = TokenManager(&app.state.database).get_token_or_none(&refused, app.state.now()).await.unwrap();
        assert!(found.is_none(), "nothing was stored");
        app.end().await;
    }

    /// A second registration with a key changes nothing, whoever has the key.
    async fn a_key_belongs_to_one_worker(app: App) {
        let key = app.worker("w", &[]).await.key;
        let activation = app.activation("other", WorkerType::External).await;
        let alice = app.user_key("alice").await;
        let tell = "Cannot deserialize worker | {\"token\":[\"this token belongs to a worker already";
        for taken in [&key, &alice] {
            let title = app.post(REGISTER, machine(taken, "again")).refused(400).await;
            assert!(title.starts_with(tell), "{title}");
            let title = app.post(REGISTER, machine(taken, "again")).key(&activation).refused(400).await;
            assert!(title.starts_with(tell), "{title}");
        }
        assert_eq!(registered(&app).await, 2);
        let token = app.worker_row("w").await.token(&app.state.database).await.unwrap().unwrap();
        assert!(token.enabled, "a worker does not lose its token by somebody's registration");
        app.post(REGISTER, machine(&app.new_key(), "other")).key(&activation).empty(201).await;
        app.end().await;
    }

    /// What is wrong with a registration is told by field.
    async fn bad_registrations_name_the_field(app: App) {
        let key = app.new_key();
        let (short, long, upper) = (&key[1..], format!("{key}0"), "A".repeat(64));
        let (longest, too_long) = ("x".repeat(400), "x".repeat(401));
        for (body, field) in [
            (json!({}), "token"),
            (json!({"fqdn": "w"}), "token"),
            (json!({"token": key}), "fqdn"),
            (machine("", "w"), "token"),
            (machine(short, "w"), "token"),
            (machine(&long, "w"), "token"),
            (machine(&upper, "w"), "token"),
            (json!({"token": 5, "fqdn": "w"}), "token"),
            (json!({"token": null, "fqdn": "w"}), "token"),
            (machine(&key, ""), "fqdn"),
            (machine(&key, &too_long), "fqdn"),
            (json!({"token": key, "fqdn": ["w"]}), "fqdn"),
            (json!({"token": key, "fqdn": "w", "worker_type": "robot"}), "worker_type"),
            (json!({"token": key, "fqdn": "w", "worker_type": 5}), "worker_type"),
            (json!({"token": key, "fqdn": "w", "worker_type": "celery"}), "worker_type"),
            (json!({"token": key, "fqdn": "w", "worker_type": "scheduler"}), "worker_type"),
            (json!([key, "w", "external"]), "non_field_errors"),
            (json!("w"), "non_field_errors"),
            (json!(null), "non_field_errors"),
        ] {
            let title = app.post(REGISTER, &body).refused(400).await;
            assert!(title.starts_with(&format!("Cannot deserialize worker | {{\"{field}\":[\"")), "{body}: {title}");
        }
        assert_eq!(registered(&app).await, 0);
        app.post(REGISTER, machine(&key, &longest)).empty(201).await;
        app.end().await;
    }

    /// Whoever may not have a worker's channel is let in to be told so, with the code that lets a worker wait.
    async fn refusals_of_the_channel_are_in_words(app: App) {
        let (database, now) = (&app.state.database, app.state.now());
        let refusal = json!({"type": "connection_rejected", "reason_code": "TOKEN_DISABLED",
            "reason": "No token header, token not associated to a worker or not enabled"});
        let alice = app.user("alice").await;
        let user = app.user_key("bob").await;
        let gone = app.user_key("gone").await;
        let change = user::Entity::update_many().col_expr(user::Column::IsActive, Expr::value(false));
        change.filter(user::Column::Username.eq("gone")).exec(database.reader()).await.unwrap();
        let activation = app.activation("a", WorkerType::External).await;
        let mut worker = app.worker("w", &[]).await;
        app.noop(&alice).await;
        let running = worker.take().await.token.unwrap();
        let disabled = app.worker("disabled", &[]).await.key;
        app.worker_row("disabled").await.disable(database, now).await.unwrap();
        let unknown = app.new_key();
        for key in [None, Some(""), Some("garbage"), Some(&unknown), Some(&user), Some(&gone), Some(&activation),
            Some(&running), Some(&disabled)] {
            assert_eq!(frames(&app, CHANNEL, key, 3).await, [refusal.clone(), json!(1000)], "{key:?}");
        }
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_type(TokenType::Worker) };
        let key: TokenKey = app.new_key().parse().unwrap();
        let token = TokenManager(database).create_with_key(spec, key.clone(), now).await.unwrap().token;
        let workers = WorkerManager(database);
        workers.create_with_fqdn("inside", &token, WorkerType::Celery, now).await.unwrap();
        let refusal = json!({"type": "connection_rejected",
            "reason": "Unexpected worker type, only EXTERNAL and SIGNING supported"});
        assert_eq!(frames(&app, CHANNEL, Some(key.reveal()), 3).await, [refusal, json!(1000)]);
        app.end().await;
    }

    /// The greeting, the question, and (again at each connect) the work there is.
    async fn the_greeting_comes_first(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        worker.disconnect();
        let greeting = [notice("connected"), notice("request_dynamic_metadata")];
        for path in [CHANNEL, "/api//ws/1.0/worker/connect/"] {
            assert_eq!(frames(&app, path, Some(&worker.key), 2).await, greeting);
        }
        worker.connect().await;
        let id = app.noop(&alice).await.id;
        let assigned = app.until(&alice, id, |row| row.worker.is_some()).await;
        assert_eq!(assigned.status, Statuses::Pending);
        let mut expected = greeting.to_vec();
        expected.push(notice("work_request_available"));
        assert_eq!(frames(&app, CHANNEL, Some(&worker.key), 3).await, expected, "told, not fetched");
        let fetched = worker.take().await;
        assert_eq!(frames(&app, CHANNEL, Some(&worker.key), 3).await, expected, "running");
        worker.report(&fetched, Results::Success).await.unwrap();
        let mut token = app.worker_row("w").await.token(&app.state.database).await.unwrap().unwrap();
        assert_eq!(token.last_seen_at, Some(app::noon()));
        token.disable(&app.state.database, app.state.now()).await.unwrap();
        let reason = loop {
            match worker.message().await {
                ServerMessage::Closed { reason, reason_code } => {
                    assert_eq!(reason_code, "TOKEN_DISABLED");
                    break reason;
                }
                _ => continue,
            }
        };
        assert_eq!(reason, format!("Token has been disabled (token hash: \"{}\")", token.hash));
        app.end().await;
    }

    /// Metadata are an object, kept whole, replaced whole.
    async fn metadata_are_replaced_whole(app: App) {
        let worker = app.worker("w", &[]).await;
        let user = app.user_key("alice").await;
        let put = |body: Value| app.request(Method::PUT, METADATA).json(&body);
        for body in [json!([]), json!([{}]), json!("x"), json!(5), json!(null)] {
            let title = put(body.clone()).key(&worker.key).refused(400).await;
            assert_eq!(title, "Error | [\"Request data must be a JSON object.\"]", "{body}");
        }
        let title = put(json!({"cpu\0": "x"})).key(&worker.key).refused(400).await;
        assert_eq!(title, "Error | [\"Null characters are not allowed.\"]");
        let title = put(json!({})).refused(403).await;
        assert_eq!(title, "Error | Authentication credentials were not provided.");
        let title = put(json!({})).key(&user).refused(403).await;
        assert_eq!(title, "Error | You do not have permission to perform this action.");
        let before = app.worker_row("w").await;
        assert!(before.dynamic_metadata["provided_tags"].is_array(), "nothing of that has changed it");

        app.administer("w", json!({"note": "by hand"})).await;
        app.pass(5);
        let metadata = json!({"system:cpu_count": 16, "deep": {"list": [1, null, "ö"]}});
        put(metadata.clone()).key(&worker.key).empty(204).await;
        let row = app.worker_row("w").await;
        assert_eq!(row.dynamic_metadata, metadata);
        assert_eq!(row.dynamic_metadata_updated_at, Some(app::noon() + TimeDelta::seconds(5)));
        assert_eq!(row.static_metadata, json!({"note": "by hand"}));
        app.end().await;
    }

    /// What a worker is, and its class, are not for the worker to say.
    async fn workers_cannot_forge_tags(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &["worker:class:fast", "worker:type:signing", "worker:cap:mine"]).await;
        let class = requiring(&app, &["worker:class:fast"]).await;
        let signing = requiring(&app, &["worker:type:signing"]).await;
        let own = requiring(&app, &["worker:type:external", "worker:cap:mine"]).await;
        // The queue is in order: had the worker the tags, it would get the first two before.
        does(&mut worker, own).await;
        for id in [class, signing] {
            let verdict = verdict(&alice, id, "w").await;
            assert!(matches!(verdict, Verdict::DoesNotFit { .. }), "{verdict:?}");
        }
        app.administer("w", json!({"provided_tags": ["worker:class:fast", "worker:type:signing"]})).await;
        does(&mut worker, class).await;
        let verdict = verdict(&alice, signing, "w").await;
        assert!(matches!(verdict, Verdict::DoesNotFit { .. }), "not even an administrator says that: {verdict:?}");
        app.end().await;
    }

    /// A worker that has not said for 65 minutes what it can do gets nothing new until it does.
    async fn old_metadata_get_no_work(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let first = app.noop(&alice).await.id;
        app.pass(65 * 60);
        let fetched = worker.take().await;
        assert_eq!(fetched.id, first, "65 minutes are not too old");
        app.pass(1);
        worker.report(&fetched, Results::Success).await.unwrap();
        let next = app.noop(&alice).await.id;
        let mut other = app.worker("other", &[]).await;
        does(&mut other, next).await;
        other.disconnect();
        eventually(async || app.state.hub.connections() == 1).await;
        let waiting = app.noop(&alice).await.id;
        assert_eq!(verdict(&alice, waiting, "w").await, Verdict::StaleMetadata);
        worker.send_metadata().await;
        does(&mut worker, waiting).await;
        app.end().await;
    }

    /// A worker that comes back before its old connection is found dead stays connected when that ends.
    async fn connections_of_a_worker_overlap(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let mut older = worker.client.worker_channel().await.unwrap();
        assert_eq!(older.receive().await.unwrap(), Received::Message(ServerMessage::Notice(Notice::Connected)));
        eventually(async || app.state.hub.connections() == 2).await;
        app.pass(10);
        worker.connect().await;
        let at = Some(app::noon() + TimeDelta::seconds(10));
        eventually(async || app.worker_row("w").await.connected_at == at).await;
        drop(older);
        eventually(async || app.state.hub.connections() == 1).await;
        let id = app.noop(&alice).await.id;
        does(&mut worker, id).await;
        assert_eq!(app.worker_row("w").await.connected_at, at);
        worker.disconnect();
        eventually(async || app.worker_row("w").await.connected_at.is_none()).await;

        // The newer one may as well be the first to end.
        worker.connect().await;
        eventually(async || app.worker_row("w").await.connected_at.is_some()).await;
        app.pass(10);
        let newer = worker.client.worker_channel().await.unwrap();
        eventually(async || app.worker_row("w").await.connected_at.is_some_and(|time| time == app.state.now())).await;
        drop(newer);
        eventually(async || app.state.hub.connections() == 1).await;
        let id = app.noop(&alice).await.id;
        does(&mut worker, id).await;
        worker.disconnect();
        eventually(async || app.worker_row("w").await.connected_at.is_none()).await;
        app.end().await;
    }

    /// Only workers fetch.
    async fn only_workers_fetch(app: App) {
        let alice_key = app.user_key("alice").await;
        let alice = app.client(Some(&alice_key));
        let mut worker = app.worker("w", &[]).await;
        let activation = app.activation("a", WorkerType::External).await;
        let id = app.noop(&alice).await.id;
        app.until(&alice, id, |row| row.worker.is_some()).await;
        let fetch = || app.post(GET_NEXT, json!({}));
        let none = "Error | Authentication credentials were not provided.";
        assert_eq!(fetch().refused(403).await, none);
        assert_eq!(fetch().key("garbage").refused(403).await, none);
        for wrong in [&alice_key, &activation] {
            let title = fetch().key(wrong).refused(403).await;
            assert_eq!(title, "Error | You do not have permission to perform this action.");
        }
        let title = app.get(GET_NEXT).key(&alice_key).refused(403).await;
        assert_eq!(title, "Error | You do not have permission to perform this action.");
        let body = fetch().key(&worker.key).answers(200).await;
        assert_eq!((&body["id"], &body["status"], &body["started_at"]), (&json!(id), &json!("pending"), &json!(null)));
        assert_eq!((&body["scope"], &body["workspace"]), (&json!("debusine"), &json!("System")));
        assert_eq!(body["token"].as_str().unwrap().len(), 64);
        let hands = worker.client.acting_as(body["token"].as_str(), None).unwrap();
        assert_eq!(hands.get_next().await.unwrap_err().status(), Some(403), "the key of a work request fetches nothing");
        let fetched = worker.take().await;
        worker.report(&fetched, Results::Success).await.unwrap();
        fetch().key(&worker.key).empty(204).await;
        app.end().await;
    }

    /// A work request that kills its worker again and again is given up.
    async fn the_fourth_death_is_the_last(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let next = app.noop(&alice).await.id;
        let mut last = worker.take().await;
        let mut keys = vec![last.token.clone()];
        for retry in 1..=3 {
            app.pass(60);
            last = worker.fetch().await.unwrap();
            assert_eq!((last.id, last.status, &last.workflow_data["retry_count"]), (id, Statuses::Running, &json!(retry)));
            keys.push(last.token.clone());
        }
        keys.dedup();
        assert_eq!(keys.len(), 4, "each attempt has its own key");
        let fourth = worker.fetch().await;
        assert!(fourth.is_none_or(|fetched| fetched.id == next));
        let ended = alice.work_request(id).await.unwrap();
        assert_eq!((ended.status, ended.result), (Statuses::Aborted, Results::None));
        let details = alice.work_request_details(id).await.unwrap();
        let errors = details.output_data.errors.unwrap();
        assert_eq!(errors[0].code, "work-request-retry-limit-exceeded");
        let told = format!("No worker managed to complete work request {id}. Automatic retry limit exceeded.");
        assert_eq!(errors[0].message, told);
        assert_eq!(details.attempts.len(), 4);
        assert_eq!(worker.report(&last, Results::Success).await.unwrap_err().status(), Some(403));
        app.until(&alice, next, |row| row.worker.is_some()).await;
        app.end().await;
    }

    /// An administrator says what a worker is for; that counts from the next run of the scheduler on.
    async fn administrators_restrict_workers(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let mut other = app.worker("other", &[]).await;
        for (metadata, may) in [
            (json!({"tasks_denylist": ["noop"]}), false),
            (json!({"tasks_denylist": ["sbuild"]}), true),
            (json!({"tasks_allowlist": ["sbuild"]}), false),
            (json!({"tasks_allowlist": []}), false),
            (json!({"tasks_allowlist": ["noop"], "tasks_denylist": ["noop"]}), true),
            (json!({"required_tags": ["task:scope:elsewhere"]}), false),
            (json!({"required_tags": ["task:scope:debusine", "task:workspace:debusine:System"]}), true),
        ] {
            app.administer("w", metadata.clone()).await;
            // Exactly one of the two may run it. Which one is preferred is nobody's promise: a run of the scheduler that
            // has already begun may have looked at the first worker before.
            app.administer("other", if may { json!({"tasks_denylist": ["noop"]}) } else { json!({}) }).await;
            let id = app.noop(&alice).await.id;
            let chosen = app.until(&alice, id, |row| row.worker.is_some()).await.worker;
            let first = app.worker_row("w").await.id;
            assert_eq!(chosen == Some(first), may, "{metadata}");
            does(if may { &mut worker } else { &mut other }, id).await;
        }
        // What was said stays when the worker goes and comes.
        let kept = app.worker_row("w").await.static_metadata;
        worker.disconnect();
        worker.connect().await;
        assert_eq!(app.worker_row("w").await.static_metadata, kept);
        app.end().await;
    }

    /// A report that cannot be is refused, and the work request runs on; after a good one its key is dead.
    async fn reports_are_checked(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let waiting = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        let key = fetched.token.as_deref().unwrap();
        let path = |id: &dyn std::fmt::Display| format!("/api/1.0/work-request/{id}/completed/");
        let put = |path: &str, body: &Value| app.request(Method::PUT, path).json(body);
        let good = json!({"result": "success", "output_data": {}});
        for (body, field, says) in [
            (json!({}), "result", "This field is required."),
            (json!({"output_data": {}}), "result", "This field is required."),
            (json!({"result": ""}), "result", "This field may not be blank."),
            (json!({"result": "perhaps"}), "result", "perhaps"),
            (json!({"result": "Success"}), "result", "Success"),
            (json!({"result": null}), "result", "null"),
            (json!({"result": 1}), "result", "integer"),
            (json!({"result": "success", "output_data": {"surprise": 1}}), "output_data", "surprise"),
            (json!({"result": "success", "output_data": {"errors": [{"message": "m"}]}}), "output_data", "code"),
            (json!({"result": "success", "output_data": {"runtime_statistics": {"speed": 1}}}), "output_data", "speed"),
            (json!({"result": "success", "output_data": {"runtime_statistics": {"duration": "x"}}}), "output_data",
             "runtime_statistics.duration"),
            (json!({"result": "success", "output_data": "x"}), "output_data", "string"),
            (json!(["success"]), "non_field_errors", "dictionary"),
        ] {
            let title = put(&path(&id), &body).key(key).refused(400).await;
            let begin = format!("Cannot change work request as completed | {{\"{field}\":[\"");
            assert!(title.starts_with(&begin) && title.contains(says), "{body}: {title}");
            assert_eq!(title.contains("Invalid output_data: "), field == "output_data", "{title}");
        }
        for foreign in [&waiting as &dyn std::fmt::Display, &999_999_999_i64, &"x", &"99999999999999999999"] {
            let title = put(&path(foreign), &good).key(key).refused(404).await;
            assert_eq!(title, "Work request not found", "{foreign}");
        }
        let title = put(&path(&id), &good).refused(403).await;
        assert_eq!(title, "Error | Authentication credentials were not provided.");
        let title = put(&path(&id), &good).key(&worker.key).refused(403).await;
        assert_eq!(title, "Error | You do not have permission to perform this action.");
        assert_eq!(alice.work_request(id).await.unwrap().status, Statuses::Running);

        let full = json!({"result": "temporary failure", "output_data": {
            "runtime_statistics": {"duration": 61, "memory": 52428800}, "errors": [{"message": "m", "code": "c"}]}});
        put(&path(&id), &full).key(key).empty(200).await;
        let done = alice.work_request(id).await.unwrap();
        assert_eq!((done.status, done.result), (Statuses::Completed, Results::TemporaryFailure));
        let stored = alice.work_request_details(id).await.unwrap().output_data;
        assert_eq!(json!(stored), full["output_data"]);
        let who = app.get("/api/1.0/whoami/").key(key).answers(200).await;
        assert_eq!(who["work_request"], json!(null), "the key is dead");
        assert_eq!(app.get(&format!("/api/1.0/work-request/{id}/")).key(key).send().await.unwrap().status(), 403);
        assert_eq!(worker.take().await.id, waiting, "the next one comes without asking");
        app.end().await;
    }

    /// The key of an aborted work request opens nothing any more; a report is told why.
    async fn an_abort_kills_the_key(app: App) {
        let alice = app.user("alice").await;
        let mut worker = app.worker("w", &[]).await;
        let id = app.noop(&alice).await.id;
        let fetched = worker.take().await;
        let key = fetched.token.as_deref().unwrap();
        let own = format!("/api/1.0/work-request/{id}/");
        let who = app.get("/api/1.0/whoami/").key(key).answers(200).await;
        assert_eq!(who, json!({"user": "<anonymous>", "auth": true, "work_request": id, "worker": false}));
        assert_eq!(app.get(&own).key(key).answers(200).await["status"], "running");
        alice.abort_work_request(id).await.unwrap();
        assert_eq!(app.get(&own).key(key).send().await.unwrap().status(), 403);
        let report = app.request(Method::PUT, &format!("{own}completed/")).json(&json!({"result": "success"}));
        assert_eq!(report.key(key).says(403).await, "work request is not running");
        let artifact = json!({"category": "debusine:test", "files": {}, "data": {}, "work_request": id});
        assert_eq!(app.post("/api/1.0/artifact/", artifact).key(key).send().await.unwrap().status(), 403);
        app.end().await;
    }
}
