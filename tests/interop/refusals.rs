//! What the server refuses, in the words of each client.

use serde_json::Value;

use crate::client::{Client, Names, Program, clients, yaml};
use crate::debian::Release;
use crate::packages;
use crate::support::Outcome;

/// The title and the detail of a refusal. The first commands that create something exited with 0 even then.
fn refusal(client: &Client, outcome: &Outcome) -> (String, String) {
    let expected = if client.names == Names::Old { 0 } else { 3 };
    assert_eq!(outcome.code, Some(expected), "{outcome:#?}");
    let answer: Value = yaml(&outcome.stdout);
    assert_eq!(answer["result"], "failure", "{answer:#}");
    let text = |key: &str| answer["error"][key].as_str().unwrap_or_default().to_owned();
    (text("title"), text("detail"))
}

clients! {
    fn a_refusal_is_told(client: &mut Client) {
        let before = client.house.holdings();
        let (title, detail) = refusal(client, &client.try_submit("nope", "{}"));
        assert_eq!(title, "Cannot create work request: task name is not registered");
        assert!(detail.starts_with("Task name: \"nope\". Registered task names: "), "{detail}");
        let (title, detail) = refusal(client, &client.try_submit("noop", "surprise: 1\n"));
        assert_eq!(title, "Cannot create work request");
        assert!(detail.contains("surprise"), "{detail}");
        let place = client.house.path().to_owned();
        let elsewhere = client.try_create_artifact("debusine:test", &place, &[], &["--workspace", "Elsewhere"]);
        assert_eq!(refusal(client, &elsewhere).0, "Workspace not found");
        assert_eq!(client.house.holdings(), before, "nothing is left behind");
    }

    fn what_is_not_there_is_told(client: &mut Client) {
        for (outcome, words) in [
            (client.try_show(77), "No WorkRequest matches the given query."),
            (client.retry(77), "No WorkRequest matches the given query."),
            (client.try_show_artifact(77), "No Artifact matches the given query."),
        ] {
            // Debian's old client has a traceback for it.
            let expected = if client.program == Program::Debian(Release::Old) { 1 } else { 3 };
            assert_eq!(outcome.code, Some(expected), "{outcome:#?}");
            assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains(words), "{outcome:#?}");
        }
        assert_eq!(client.set_priority(client.submit("noop", "{}"), 5).code.map(|code| code != 0), Some(true));
    }

    fn files_that_are_no_packages_are_refused(client: &mut Client) {
        client.house.write("notes.txt", "hello\n", 0o644);
        let before = client.house.holdings();
        let outcome = client.try_import(&client.house.path().join("notes.txt"));
        outcome.assert_failed(3, &["can be directly imported with this"], "a text");
        // A file of the .changes is missing.
        let made = packages::make(client.house.path());
        std::fs::remove_file(&made.deb).unwrap();
        let outcome = client.try_import(&made.changes);
        assert_ne!(outcome.code, Some(0), "{outcome:#?}");
        assert_eq!(client.house.holdings(), before, "nothing is left behind");
    }
}
