//! `workspace inheritance`, which clients have since 0.12.

use serde_json::Value;

use crate::client::{Client, Names, Program, clients, yaml};
use crate::debian::Release;
use crate::tenancy::give_role;

impl Client {
    fn inheritance(&self, more: &[&str]) -> crate::support::Outcome {
        match self.names {
            Names::Today => self.data(&[&["workspace", "inheritance", "--workspace", "System"], more].concat(), ""),
            Names::OldToday | Names::Old => self.data(&[&["workspace-inheritance", "System"], more].concat(), ""),
        }
    }
}

/// The names of the workspaces in an answer.
fn names(answer: &Value) -> Vec<&str> {
    let chain = answer.get("chain").unwrap_or(answer).as_array().unwrap_or_else(|| panic!("{answer:#}"));
    chain.iter().map(|element| element["workspace"].as_str().unwrap_or_default()).collect()
}

clients! {
    fn a_workspace_says_where_it_looks_further(client: &mut Client) {
        if client.program == Program::Debian(Release::Old) {
            // There was no such command.
            assert_eq!(client.inheritance(&[]).code, Some(2));
            return;
        }
        let shown = yaml(&client.inheritance(&[]).success());
        assert_eq!(names(&shown), Vec::<&str>::new());
        give_role(&client.house, "alice", "owner", "Base");
        let outcome = client.inheritance(&["--append", "Base"]);
        outcome.assert_failed(3, &["cannot configure debusine/System"], "only owners of System may");

        give_role(&client.house, "alice", "owner", "System");
        client.inheritance(&["--append", "Base"]).success();
        assert_eq!(names(&yaml(&client.inheritance(&[]).success())), ["Base"]);
        client.inheritance(&["--remove", "Base"]).success();
        assert_eq!(names(&yaml(&client.inheritance(&[]).success())), Vec::<&str>::new());
    }
}
