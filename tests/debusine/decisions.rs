//! What people decide about work requests, by our own names: what the server is told.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake_server::serve;
use crate::house::House;
use crate::names::CLIENT_CONFIG;

#[test]
fn decisions_reach_the_server() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let address = serve(move |request| {
        seen.lock().unwrap().push((request.line.clone(), request.body.clone()));
        let work_request = json!({
            "id": 7, "created_at": "2026-11-23T20:38:39Z", "status": "pending", "result": "", "task_type": "Wait",
            "task_name": "confirm", "task_data": {}, "priority_base": 0, "priority_adjustment": 0, "artifacts": [],
            "workspace": "System",
        });
        (200, "application/json", work_request.to_string().into_bytes())
    });
    let house = House::new(None);
    let config = format!("[server:a]\napi-url = {address}/api\nscope = debusine\ntoken = 0\n");
    house.write(CLIENT_CONFIG, &config, 0o600);
    let run = |line: &str| {
        let arguments = [&["--server", "a", "work-request"], &line.split(' ').collect::<Vec<_>>()[..]].concat();
        house.run_as("usine", &arguments, "").success()
    };
    assert_eq!(run("unblock 7 --accept --notes fine"), "work request 7: pending\n");
    run("unblock 7 --reject");
    run("unblock 7 --notes later");
    assert!(run("confirm 7 --yaml").contains("task_name: confirm\n"));
    run("confirm 7 --deny --comment no");
    let told: Vec<(String, Value)> = told.lock().unwrap().clone();
    let expected = [
        ("unblock", json!({"notes": "fine", "action": "accept"})),
        ("unblock", json!({"action": "reject"})),
        ("unblock", json!({"notes": "later"})),
        ("confirm", json!({"confirm": true})),
        ("confirm", json!({"confirm": false, "comment": "no"})),
    ];
    let expected = expected.map(|(what, body)| (format!("POST /api/1.0/work-request/7/{what}/"), body));
    assert_eq!(told, expected);
}
