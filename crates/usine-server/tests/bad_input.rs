//! What is wrong is refused in the one form that clients read, and never takes the server down.

mod app;
#[path = "../../usine-db/tests/support/mod.rs"]
mod support;

use app::{App, Words, stories};
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use usine_client::WorkRequestFilter;

const WORK_REQUESTS: &str = "/api/1.0/work-request/";

/// Every route with the methods it takes. `1` is the id of something that exists or not.
const ROUTES: [(&str, &[Method]); 24] = [
    ("/api/1.0/whoami/", &[Method::GET]),
    ("/api/1.0/service-status/", &[Method::GET]),
    ("/api/1.0/open-metrics/", &[Method::GET]),
    ("/api/1.0/worker/register/", &[Method::POST]),
    ("/api/1.0/worker/dynamic-metadata/", &[Method::PUT]),
    (WORK_REQUESTS, &[Method::GET, Method::POST]),
    ("/api/1.0/work-request/1/", &[Method::GET, Method::PATCH]),
    ("/api/1.0/work-request/1/retry/", &[Method::POST]),
    ("/api/1.0/work-request/1/abort/", &[Method::POST]),
    ("/api/1.0/work-request/1/completed/", &[Method::PUT]),
    ("/api/1.0/work-request/get-next-for-worker/", &[Method::POST, Method::GET, Method::HEAD]),
    ("/api/1.0/artifact/", &[Method::POST]),
    ("/api/1.0/artifact/1/", &[Method::GET]),
    ("/api/1.0/artifact/System/1/", &[Method::GET]),
    ("/api/1.0/artifact/1/files/a/b/", &[Method::PUT]),
    ("/api/1.0/artifact-relation/", &[Method::GET, Method::POST]),
    ("/api/1.0/artifact-relation/1/", &[Method::DELETE]),
    ("/api/usine/1.0/artifact/", &[Method::GET]),
    ("/api/usine/1.0/work-request/", &[Method::POST]),
    ("/api/usine/1.0/work-request/1/details/", &[Method::GET]),
    ("/api/usine/1.0/work-request/1/log/", &[Method::GET]),
    ("/api/usine/1.0/task/", &[Method::GET]),
    ("/api/usine/1.0/task/noop/schema/", &[Method::GET]),
    ("/api/1.0/nothing/", &[]),
];

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Sends it: a success, a redirect, or a problem of the form that clients read; the server has not failed, and nobody is
/// asked for a password. The status.
async fn decent(request: RequestBuilder, what: &str) -> u16 {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(status != 401 && status < 500, "{what}: {status}");
    if status >= 400 {
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{what}: {status}");
        let problem: serde_json::Map<String, Value> = response.json().await.unwrap();
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{what}: {problem:?}");
        for (key, value) in &problem {
            match key.as_str() {
                "title" | "detail" => {}
                "validation_errors" => {
                    let errors = value.as_object().unwrap();
                    let lists = errors.values().all(|list| list.as_array().is_some_and(|list| !list.is_empty()));
                    assert!(lists, "{what}: {problem:?}");
                }
                other => panic!("{what}: clients break on {other}"),
            }
        }
    }
    status
}

stories! {
    /// Each route by each method, by nobody and by every kind of token: no 401, no 5xx, one form of errors.
    async fn all_errors_have_one_form(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut worker = app.worker("w", &[]).await;
        app.noop(&alice).await;
        let running = worker.take().await.token.unwrap();
        let unknown = app.new_key();
        let keys = [None, Some(""), Some("garbage"), Some(&*unknown), Some(&*worker.key), Some(&*running), Some(&*user)];
        for (path, takes) in ROUTES {
            for method in METHODS {
                for key in keys {
                    let what = format!("{method} {path} {key:?}");
                    let mut request = app.request(method.clone(), path);
                    if let Some(key) = key {
                        request = request.key(key);
                    }
                    let status = decent(request, &what).await;
                    assert_eq!(status == 405, !takes.is_empty() && !takes.contains(&method), "{what}: {status}");
                }
            }
        }
        app.end().await;
    }

    /// A method that a route does not take is named, and so are those it takes.
    async fn wrong_methods_are_named(app: App) {
        for (method, path, allow) in [
            (Method::POST, "/api/1.0/whoami/", "GET,HEAD"),
            (Method::PUT, "/api/1.0/work-request/1/", "GET,HEAD,PATCH"),
            (Method::DELETE, WORK_REQUESTS, "GET,HEAD,POST"),
            (Method::GET, "/api/1.0/worker/register/", "POST"),
        ] {
            let answer = app.request(method.clone(), path).sent(405).await;
            assert_eq!(answer.headers()["allow"], allow, "{method} {path}");
            let title = app.request(method.clone(), path).refused(405).await;
            assert_eq!(title, format!("Error | Method \"{method}\" not allowed."));
        }
        app.end().await;
    }

    /// What is no JSON is told as the original tells it, before anything else is looked at in it.
    async fn malformed_json_is_told(app: App) {
        let user = app.user_key("alice").await;
        let worker = app.worker("w", &[]).await;
        let deep = "[".repeat(100_000);
        for body in ["", "{", "{\"task_name\": \"noop\",}", "nope", "{} {}", "\u{0}", "\"\\ud800\"", "1e999", &deep] {
            for (method, path, key) in [
                (Method::POST, WORK_REQUESTS, &user),
                (Method::POST, "/api/usine/1.0/work-request/", &user),
                (Method::POST, "/api/1.0/artifact/", &user),
                (Method::POST, "/api/1.0/artifact-relation/", &user),
                (Method::POST, "/api/1.0/worker/register/", &user),
                (Method::PUT, "/api/1.0/worker/dynamic-metadata/", &worker.key),
                (Method::PUT, "/api/1.0/work-request/1/completed/", &user),
            ] {
                let title = app.request(method, path).key(key).body(body.to_owned()).refused(400).await;
                assert!(title.starts_with("Error | JSON parse error - "), "{path} {body:.20}: {title}");
            }
        }
        let title = app.request(Method::POST, WORK_REQUESTS).key(&user).body(b"{\"task_name\": \"\xff\"}".to_vec());
        assert!(title.refused(400).await.starts_with("Error | JSON parse error - "), "not UTF-8");
        app.end().await;
    }

    /// A field that is missing, wrong or unknown is named.
    async fn wrong_fields_are_named(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let id = app.noop(&alice).await.id;
        for path in [WORK_REQUESTS, "/api/usine/1.0/work-request/"] {
            for (body, field) in [
                (json!({}), "task_name"),
                (json!({"task_name": 5}), "task_name"),
                (json!({"task_name": null}), "task_name"),
                (json!({"task_name": ["noop"]}), "task_name"),
                (json!({"task_name": "noop", "workspace": 5}), "workspace"),
                (json!({"task_name": "noop", "event_reactions": []}), "event_reactions"),
                (json!({"task_name": "noop", "event_reactions": {"on_fire": []}}), "event_reactions"),
                (json!({"task_name": "noop", "event_reactions": {"on_success": {}}}), "event_reactions"),
                (json!({"task_name": "noop", "event_reactions": {"on_success": [5]}}), "event_reactions"),
                (json!(["noop", {}]), "non_field_errors"),
                (json!("noop"), "non_field_errors"),
                (json!(null), "non_field_errors"),
            ] {
                let title = app.post(path, &body).key(&user).refused(400).await;
                let begin = format!("Cannot deserialize work request | {{\"{field}\":[\"");
                assert!(title.starts_with(&begin), "{path} {body}: {title}");
            }
            let body = json!({"task_name": "noop", "zebra": 1, "task_data": {}, "apple": 2, "created_by": 77});
            let title = app.post(path, body).key(&user).refused(400).await;
            assert_eq!(title, "Cannot deserialize work request | {\"non_field_errors\":[\"Invalid fields: apple, zebra\"]}");
        }
        for (key, limits) in [
            ("deadlines", json!(5)),
            ("deadlines", json!({"total": "x"})),
            ("deadlines", json!({"total": -1})),
            ("deadlines", json!({"perhaps": 1})),
            ("deadlines", json!([])),
            ("deadlines", json!([60, 60])),
            ("limits", json!("2G")),
            ("limits", json!({"memory": "2G"})),
            ("limits", json!({"disk": -1})),
            ("limits", json!({"cpu": 1})),
            ("limits", json!([4096])),
            ("limits", json!([4096, 4096])),
        ] {
            let body = json!({"task_name": "noop", key: limits});
            let title = app.post("/api/usine/1.0/work-request/", &body).key(&user).refused(400).await;
            let begin = format!("Cannot deserialize work request | {{\"{key}\":[\"");
            assert!(title.starts_with(&begin), "{body}: {title}");
        }
        let patch = |body: Value| app.request(Method::PATCH, &format!("{WORK_REQUESTS}{id}/")).key(&user).json(&body);
        for (body, field) in [
            (json!({}), "priority_adjustment"),
            (json!({"priority_adjustment": "high"}), "priority_adjustment"),
            (json!({"priority_adjustment": 3_000_000_000_i64}), "priority_adjustment"),
            (json!({"priority_adjustment": 0, "status": "completed"}), "status"),
            (json!([-1]), "non_field_errors"),
        ] {
            let title = patch(body.clone()).refused(400).await;
            assert!(title.starts_with("Cannot deserialize work request update | {\""), "{body}: {title}");
            assert!(title.contains(field), "{body}: {title}");
        }
        // Whom it belongs to is not for the body to say.
        let body = json!({"task_name": "noop", "created_by": 77});
        let made = app.post(WORK_REQUESTS, body).key(&user).answers(200).await;
        assert_eq!(made["created_by"], json!(alice.work_request(id).await.unwrap().created_by));
        assert_eq!(alice.work_requests(&WorkRequestFilter::default(), 10).await.unwrap().len(), 2);
        app.end().await;
    }

    /// A scope that is not there is a plain page that is not there.
    async fn unknown_scopes_are_not_found(app: App) {
        let user = app.user_key("alice").await;
        let header = |value: HeaderValue| app.get("/api/1.0/whoami/").key(&user).header("X-Debusine-Scope", value);
        let name = HeaderValue::from_static;
        assert_eq!(header(name("debusine")).answers(200).await["user"], "alice");
        assert_eq!(app.get("/api/1.0/whoami/").key(&user).answers(200).await["user"], "alice");
        let long = HeaderValue::from_str(&"s".repeat(50_000)).unwrap();
        for scope in [name("nowhere"), name(""), name("Debusine"), name("a b"), name("api"), name("%00"), long,
            HeaderValue::from_bytes(b"caf\xe9").unwrap()] {
            header(scope).says(404).await;
        }
        app.end().await;
    }

    /// Old clients leave out the last slash, and an `api-url` that ends in a slash makes two of one.
    async fn slashes_are_put_right(app: App) {
        let user = app.user_key("alice").await;
        for (path, location) in [
            ("/api/1.0/whoami", "/api/1.0/whoami/"),
            ("/api/1.0/artifact/5", "/api/1.0/artifact/5/"),
            ("/api/1.0/work-request?status=pending&ids=1,2", "/api/1.0/work-request/?status=pending&ids=1,2"),
            ("/api/1.0/work-request?x=%26%2F", "/api/1.0/work-request/?x=%26%2F"),
            ("/api//1.0/artifact/5", "/api/1.0/artifact/5/"),
            ("/api/1.0/artifact/a%20b/5", "/api/1.0/artifact/a%20b/5/"),
        ] {
            let answer = app.get(path).sent(301).await;
            assert_eq!(answer.headers()[LOCATION], location, "{path}");
        }
        for path in ["/api//1.0/whoami/", "/api///1.0/whoami/", "/api/1.0/whoami/?x=//"] {
            assert_eq!(app.get(path).key(&user).answers(200).await["user"], "alice", "{path}");
        }
        let made = app.post("/api//1.0/work-request/", json!({"task_name": "noop"})).key(&user).answers(200).await;
        assert_eq!(made["links"]["self"], format!("/api/1.0/work-request/{}/", made["id"]));
        for method in [Method::POST, Method::PUT] {
            app.request(method, "/api/1.0/whoami").refused(404).await;
        }
        assert_eq!(app.get("/api/1.0/nothing/").refused(404).await, "Object not found");
        app.end().await;
    }

    /// Filters of the list, alone and together; a wrong one is named.
    async fn lists_are_filtered(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut worker = app.worker("w", &[]).await;
        let running = app.noop(&alice).await.id;
        worker.take().await;
        let pending = app.noop(&alice).await.id;
        let aborted = app.noop(&alice).await.id;
        alice.abort_work_request(aborted).await.unwrap();
        let list = |query: &str| app.get(&format!("{WORK_REQUESTS}?{query}")).key(&user);
        for (query, expected) in [
            ("", vec![aborted, pending, running]),
            ("status=running", vec![running]),
            ("status=pending", vec![pending]),
            ("status=aborted", vec![aborted]),
            ("status=completed", vec![]),
            ("status=blocked", vec![]),
            ("task_type=Worker", vec![aborted, pending, running]),
            ("task_type=Signing", vec![]),
            ("root_only=true", vec![aborted, pending, running]),
            (&format!("ids={running},{aborted},999999"), vec![aborted, running]),
            (&format!("ids={running}, {running}"), vec![running]),
            (&format!("ids={running},{aborted}&status=running&task_type=Worker"), vec![running]),
            ("unknown=ignored", vec![aborted, pending, running]),
        ] {
            let page = list(query).answers(200).await;
            let ids: Vec<_> = page["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
            assert_eq!(ids, expected, "{query}");
            assert_eq!((page["next"].is_null(), page["previous"].is_null()), (true, true), "{query}");
            assert_eq!(page.as_object().unwrap().len(), 3, "no count");
        }
        for (query, status, title) in [
            ("ids=x", 400, "Error | {\"ids\":[\"Expected a comma-separated list of integers\"]}"),
            ("ids=1,,2", 400, "Error | {\"ids\":[\"Expected a comma-separated list of integers\"]}"),
            ("ids=99999999999999999999", 400, "Error | {\"ids\":[\"Expected a comma-separated list of integers\"]}"),
            ("ids=%00", 400, "Error | {\"ids\":[\"Expected a comma-separated list of integers\"]}"),
            ("status=perhaps", 400, "Error | {\"status\":[\"Invalid work request status\"]}"),
            ("status=", 400, "Error | {\"status\":[\"Invalid work request status\"]}"),
            ("task_type=worker", 400, "Error | {\"task_type\":[\"Invalid task type\"]}"),
            ("cursor=x", 404, "Invalid cursor"),
            ("cursor=99999999999999999999-1", 404, "Invalid cursor"),
        ] {
            assert_eq!(list(query).refused(status).await, title, "{query}");
        }
        for query in ["ids=1", "status=pending"] {
            app.get(&format!("{WORK_REQUESTS}{pending}/?{query}")).key(&user).refused(400).await;
        }
        let many = vec![running.to_string(); 32_000].join(",");
        let page = list(&format!("ids={many}")).answers(200).await;
        assert_eq!(page["results"].as_array().unwrap().len(), 1, "the same again does not count");
        let distinct: Vec<_> = (1..11_000).map(|id| id.to_string()).collect();
        list(&format!("ids={}", distinct.join(","))).answers(200).await;
        list("cursor=9223372036854775-9223372036854775807").answers(200).await;
        app.end().await;
    }

    /// The next page is an address that works as it is, under the name by which the client knows the server.
    async fn pages_follow_each_other(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut ids = Vec::new();
        for _ in 0..21 {
            ids.insert(0, app.noop(&alice).await.id);
        }
        let mut seen = Vec::new();
        let mut next = json!(format!("{WORK_REQUESTS}?status=pending&task_type=Worker"));
        while let Some(address) = next.as_str() {
            assert!(address.contains("status=pending") && address.contains("task_type=Worker"), "{address}");
            let page = app.get(address).key(&user).answers(200).await;
            seen.extend(page["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
            next = page["next"].clone();
            assert!(next.as_str().is_none_or(|next| next.starts_with(&format!("{}{WORK_REQUESTS}?", app.url))), "{next}");
        }
        assert_eq!(seen, ids);
        let proxied = app.get(WORK_REQUESTS).key(&user).header("Host", "usine.example.org").header("X-Forwarded-Proto", "https");
        let next = proxied.answers(200).await["next"].as_str().unwrap().to_owned();
        assert!(next.starts_with("https://usine.example.org/api/1.0/work-request/?"), "{next}");
        app.end().await;
    }

    /// Characters that a database does not take, in every place where a name or a text can be.
    async fn nul_is_refused(app: App) {
        let user = app.user_key("alice").await;
        let alice = app.client(Some(&user));
        let mut worker = app.worker("w", &[]).await;
        app.noop(&alice).await;
        let fetched = worker.take().await;
        let key = fetched.token.as_deref().unwrap();
        let artifact = |category: &str, path: &str, data: Value| {
            let file = json!({"size": 1, "type": "file", "checksums": {"sha256": "0".repeat(64)}, "content_type": "a/b"});
            json!({"category": category, "files": {path: file}, "data": data})
        };
        let mut in_type = artifact("debusine:test", "f", json!({}));
        in_type["files"]["f"]["content_type"] = json!("a\0/b");
        for (method, path, key, body) in [
            (Method::POST, WORK_REQUESTS, &*user, json!({"task_name": "no\0op"})),
            (Method::POST, WORK_REQUESTS, &user, json!({"task_name": "noop", "workspace": "Sys\0tem"})),
            (Method::POST, WORK_REQUESTS, &user, json!({"task_name": "noop", "task_data": {"a\0": 1}})),
            (Method::POST, WORK_REQUESTS, &user, json!({"task_name": "noop", "\0": 1})),
            (Method::POST, WORK_REQUESTS, &user, json!({"task_name": "mmdebstrap", "task_data": {
                "bootstrap_options": {"architecture": "amd64"},
                "bootstrap_repositories": [{"mirror": "http://m.example.org/\0", "suite": "sid"}]}})),
            (Method::POST, "/api/1.0/artifact/", &user, artifact("debusine:\0test", "f", json!({}))),
            (Method::POST, "/api/1.0/artifact/", &user, artifact("debusine:test", "f\0", json!({}))),
            (Method::POST, "/api/1.0/artifact/", &user, artifact("debusine:test", "f", json!({"a": ["\0"]}))),
            (Method::POST, "/api/1.0/artifact/", &user, in_type),
            (Method::POST, "/api/1.0/worker/register/", "", json!({"token": "\0", "fqdn": "w\0"})),
            (Method::PUT, "/api/1.0/worker/dynamic-metadata/", &worker.key, json!({"a": {"b": "\0"}})),
            (Method::PUT, &format!("{WORK_REQUESTS}{}/completed/", fetched.id), key, json!({"result": "error",
                "output_data": {"errors": [{"code": "c", "message": "m\0"}]}})),
        ] {
            let title = app.request(method, path).key(key).json(&body).refused(400).await;
            assert!(title.contains("Null characters are not allowed."), "{path} {body}: {title}");
        }
        for (method, path) in [
            (Method::GET, "/api/1.0/work-request/%00/"),
            (Method::GET, "/api/1.0/artifact/%00/"),
            (Method::GET, "/api/1.0/artifact/Sys%00tem/1/"),
            (Method::PUT, "/api/1.0/artifact/1/files/a%00b/"),
            (Method::GET, "/api/1.0/artifact-relation/?artifact=%00"),
            (Method::DELETE, "/api/1.0/artifact-relation/%00/"),
            (Method::GET, "/api/usine/1.0/artifact/?workspace=%00"),
            (Method::GET, "/api/usine/1.0/artifact/?category=%00"),
            (Method::GET, "/api/usine/1.0/artifact/?work_request=%00"),
            (Method::GET, "/api/usine/1.0/task/%00/schema/"),
        ] {
            let status = decent(app.request(method.clone(), path).key(&user), &format!("{method} {path}")).await;
            assert!(status >= 400, "{method} {path}: {status}");
        }
        for path in ["/debu%00sine/System/artifact/1/download/", "/debusine/Sys%00tem/artifact/1/download/",
            "/debusine/System/artifact/%00/download/", "/debusine/System/artifact/1/download/%00"] {
            assert_eq!(app.get(path).key(&user).send().await.unwrap().status(), 404, "{path}");
        }
        // A backslash, a "u" and zeros are text as any other.
        app.post(WORK_REQUESTS, json!({"task_name": "\\u0000"})).key(&user).refused(400).await.find("u0000").unwrap();
        app.end().await;
    }

    /// A mebibyte in each place: refused, and not at length.
    async fn huge_texts_are_refused(app: App) {
        let user = app.user_key("alice").await;
        let worker = app.worker("w", &[]).await;
        let huge = "x".repeat(1 << 20);
        let file = json!({"size": 1, "type": "file", "checksums": {"sha256": "0".repeat(64)}});
        for (path, key, body) in [
            (WORK_REQUESTS, &*user, json!({"task_name": huge})),
            (WORK_REQUESTS, &user, json!({"task_name": "noop", "workspace": huge})),
            (WORK_REQUESTS, &user, json!({"task_name": "noop", huge.as_str(): 1})),
            (WORK_REQUESTS, &user, json!({"task_name": "noop", "task_data": {huge.as_str(): 1}})),
            (WORK_REQUESTS, &user, json!({"task_name": "noop", "task_data": {"result": huge}})),
            ("/api/1.0/artifact/", &user, json!({"category": huge, "files": {}, "data": {}})),
            ("/api/1.0/artifact/", &user, json!({"category": "debusine:test", "files": {huge.as_str(): file}, "data": {}})),
            ("/api/1.0/artifact/", &user, json!({"category": "debusine:test", "files": {}, "data": {}, "workspace": huge})),
            ("/api/1.0/worker/register/", "", json!({"token": huge, "fqdn": "w"})),
            ("/api/1.0/worker/register/", "", json!({"token": app.new_key(), "fqdn": huge})),
        ] {
            let status = decent(app.post(path, &body).key(key), &format!("{path} {:.60}", body.to_string())).await;
            assert!(matches!(status, 400 | 404), "{path} {:.60}: {status}", body.to_string());
        }
        // Metadata are the worker's own affair.
        let body = json!({"note": huge});
        app.request(Method::PUT, "/api/1.0/worker/dynamic-metadata/").key(&worker.key).json(&body).empty(204).await;
        let too_much = json!({"note": huge.repeat(20)});
        for (method, path, key) in [
            (Method::PUT, "/api/1.0/worker/dynamic-metadata/", &worker.key),
            (Method::POST, WORK_REQUESTS, &user),
        ] {
            assert_eq!(decent(app.request(method, path).key(key).json(&too_much), path).await, 413);
        }
        // Heads are limited before anything looks at them: the answer may be the end of the connection.
        let long = "x".repeat(60_000);
        for request in [
            app.get("/api/1.0/whoami/").key(&huge),
            app.get(&format!("{WORK_REQUESTS}{huge}/")).key(&user),
            app.get(&format!("/api/1.0/artifact/{huge}/1/")).key(&user),
            app.get("/api/1.0/whoami/").key(&long),
            app.get(&format!("{WORK_REQUESTS}{long}/")).key(&user),
            app.get(&format!("/api/1.0/artifact/{long}/1/")).key(&user),
            app.get(&format!("/debusine/{long}/artifact/1/download/")).key(&user),
        ] {
            if let Ok(answer) = request.send().await {
                assert!(answer.status() != 401 && answer.status().as_u16() < 500, "{}", answer.status());
            }
        }
        assert_eq!(app.get("/api/1.0/whoami/").key(&user).answers(200).await["user"], "alice", "it is still there");
        app.end().await;
    }
}
