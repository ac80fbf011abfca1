//! Work requests: submitted, shown, listed, managed, retried, aborted.

use serde_json::{Value, json};

use crate::client::{Client, Names, Program, clients};
use crate::house::until;
use crate::support::SOON;

impl Client {
    /// Waits until a work request is over; its row.
    fn wait(&self, id: i64) -> Value {
        until(&format!("the end of work request {id}"), SOON, || {
            matches!(self.house.status(id).as_str(), "completed" | "aborted")
        });
        self.show(id)
    }
}

clients! {
    fn a_work_request_is_submitted_and_shown(client: &mut Client) {
        let id = client.submit("noop", "result: true\n");
        let row = client.show(id);
        for (key, value) in [
            ("id", json!(id)),
            ("task_type", json!("Worker")),
            ("task_name", json!("noop")),
            ("task_data", json!({"result": true})),
            ("dynamic_task_data", Value::Null),
            ("status", json!("pending")),
            ("result", json!("")),
            ("started_at", Value::Null),
            ("worker", Value::Null),
            ("priority_base", json!(0)),
            ("priority_adjustment", json!(0)),
            ("artifacts", json!([])),
            ("workspace", json!("System")),
        ] {
            assert_eq!(row[key], value, "{key} of {row:#}");
        }
        assert!(row["created_at"].is_string(), "{row:#}");
        let today = client.submit("noop", "{\"result\": \"failure\"}");
        assert_eq!(client.show(today)["task_data"], json!({"result": "failure"}), "as it was sent");
        let none = client.submit("noop", "{}");
        assert_eq!(client.show(none)["task_data"], json!({}));
    }

    fn a_list_has_as_many_pages_as_it_needs(client: &mut Client) {
        let ids: Vec<i64> = (0..12).map(|_| client.house.submit("noop", &json!({}))).collect();
        let listed = |limit| client.list(limit).iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(listed(1), [ids[11]], "newest first");
        assert_eq!(listed(11), ids[1..].iter().rev().copied().collect::<Vec<_>>());
        assert_eq!(listed(20), ids.iter().rev().copied().collect::<Vec<_>>());
    }

    fn a_priority_is_lowered(client: &mut Client) {
        let id = client.submit("noop", "{}");
        client.set_priority(id, -5).success();
        assert_eq!(client.show(id)["priority_adjustment"], -5);
    }

    fn a_work_request_runs_and_is_retried(client: &mut Client) {
        client.house.start_worker();
        let id = client.submit("noop", "result: false\n");
        let row = client.wait(id);
        assert_eq!((&row["status"], &row["result"]), (&json!("completed"), &json!("failure")), "{row:#}");
        let made = &row["artifacts"][0];
        assert_eq!(made["category"], "debusine:work-request-debug-logs", "artifacts are shown in full: {row:#}");
        client.retry(id).success();
        let newest = client.list(1);
        let heir = newest[0]["id"].as_i64().unwrap();
        assert!(heir > id, "another one has its place");
        assert_eq!(client.wait(heir)["task_data"], json!({"result": false}));
        assert_ne!(client.retry(id).code, Some(0), "only once");
    }

    fn a_pending_work_request_is_aborted(client: &mut Client) {
        let id = client.submit("noop", "{}");
        if client.can_abort() {
            client.abort(id).success();
            assert_eq!(client.show(id)["status"], "aborted");
            let again = client.abort(id);
            again.assert_failed(3, &["Cannot abort work request"], "twice");
        } else {
            // Somebody else's abort is told by the old client, too.
            client.house.client(&["work-request", "abort", &id.to_string()]);
            assert_eq!(client.show(id)["status"], "aborted");
        }
    }

    fn people_can_read_it(client: &mut Client) {
        let id = client.submit("noop", "{}");
        let words: [&[&str]; 2] = match client.names {
            Names::Today => [&["work-request", "list"], &["work-request", "show"]],
            Names::OldToday | Names::Old => [&["list-work-requests"], &["show-work-request"]],
        };
        let list = client.run(words[0], "").success();
        let show = client.run(&[words[1], &[&id.to_string()]].concat(), "").success();
        for text in [&list, &show] {
            assert!(text.contains("noop") && text.contains("pending"), "{text}");
        }
        // Ours answers to old names as of old, unless it is asked for today's YAML.
        if client.names == Names::Today || client.program != Program::Usine && client.names == Names::OldToday {
            assert!(list.contains(&format!("#{id}")), "a table: {list}");
            let address = format!("{}/debusine/System/work-request/{id}/", client.house.url());
            assert!(client.program == Program::Usine || show.contains(&address), "{show}");
        }
    }
}
