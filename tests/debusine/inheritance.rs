//! `workspace inheritance`, old and new name, and ours: what is asked of the server and what is printed.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake_server::serve;
use crate::house::House;
use crate::names::CLIENT_CONFIG;

/// A server with one chain; what was posted last.
fn server() -> (String, Arc<Mutex<Value>>) {
    let posted = Arc::new(Mutex::new(Value::Null));
    let seen = posted.clone();
    let address = serve(move |request| {
        let chain = json!({"chain": [{"id": 3, "scope": "debusine", "workspace": "base"}]});
        let not_found = json!({"title": "Workspace not found", "detail": "Workspace x not found in scope debusine"});
        let (status, content_type, body) = match request.line.as_str() {
            "GET /api/1.0/workspace/System/inheritance/" => (200, "application/json", chain),
            "POST /api/1.0/workspace/System/inheritance/" => {
                *seen.lock().unwrap() = request.body.clone();
                let wanted = request.body["chain"].as_array().unwrap();
                let is_twice = |parent: &Value| wanted.iter().filter(|other| *other == parent).count() > 1;
                if !wanted.iter().any(is_twice) {
                    (200, "application/json", chain)
                } else {
                    (400, "application/problem+json", json!({"title": "Invalid inheritance chain"}))
                }
            }
            _ => (404, "application/problem+json", not_found),
        };
        (status, content_type, body.to_string().into_bytes())
    });
    (address, posted)
}

#[test]
fn a_chain_is_shown_and_changed() {
    let (address, posted) = server();
    let house = House::new(None);
    let config =
        format!("[General]\ndefault-server = a\n[server:a]\napi-url = {address}/api\nscope = debusine\ntoken = 0\n");
    house.write(CLIENT_CONFIG, &config, 0o600);
    let shown = "chain:\n- id: 3\n  scope: debusine\n  workspace: base\n";
    for line in ["workspace inheritance", "workspace inheritance -w System", "workspace-inheritance System"] {
        assert_eq!(house.debusine(line, "").success(), shown, "{line}");
    }
    assert_eq!(*posted.lock().unwrap(), Value::Null, "nothing was changed");
    let base = json!({"id": 3, "scope": "debusine", "workspace": "base"});
    for (line, chain) in [
        ("workspace inheritance --append 7", json!([base, {"id": 7}])),
        ("workspace inheritance --prepend other/x", json!([{"scope": "other", "workspace": "x"}, base])),
        ("workspace-inheritance --remove base -- System", json!([])),
        (
            "workspace-inheritance System --append y --set a b/c",
            json!([{"workspace": "a"}, {"scope": "b", "workspace": "c"}]),
        ),
        ("workspace inheritance System --set", json!([])),
    ] {
        assert_eq!(house.debusine(line, "").success(), shown, "{line}");
        assert_eq!(posted.lock().unwrap()["chain"], chain, "{line}");
    }
    let refused = house.debusine("workspace inheritance --append 7 7", "");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""));
    assert_eq!(refused.stderr, "Error setting inheritance:\ntitle: Invalid inheritance chain\n");
    let unknown = house.debusine("workspace inheritance nowhere", "");
    unknown.assert_failed(3, &["Error: Workspace not found\n"], "an unknown workspace");

    // With an editor, and by our own name.
    house.write("edit", "#!/bin/sh\necho '- new' >> \"$1\"\n", 0o755);
    let mut edit = house.command("debusine", &["workspace", "inheritance", "--edit"]);
    let output = edit.env("VISUAL", house.path().join("edit")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(posted.lock().unwrap()["chain"], json!([base, {"workspace": "new"}]));
    let own = house.run_as("usine", &["workspace", "inheritance", "System", "--json"], "").success();
    assert_eq!(serde_json::from_str::<Value>(&own).unwrap(), json!({"chain": [base]}));
    let people = house.run_as("usine", &["workspace", "inheritance"], "").success();
    assert!(people.contains("│ debusine/base\n"), "{people}");
}
