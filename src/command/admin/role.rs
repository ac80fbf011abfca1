//! What commands on roles have in common, whatever the roles are on.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Value, json};
use strum::IntoEnumIterator;
use usine_db::tenancy::RoleHolder;

use super::{command_error, listing};
use crate::output::Ui;

/// A role and the groups that get or lose it.
#[derive(Debug, clap::Args)]
pub struct Change {
    /// Role, such as owner
    pub role: String,
    /// Groups of the scope, by their names without scope
    #[arg(required = true, value_name = "GROUP")]
    pub groups: Vec<String>,
}

/// The role of this name.
pub fn parse<R: FromStr + IntoEnumIterator + Display>(name: &str) -> anyhow::Result<R> {
    name.parse().map_err(|_| {
        let known: Vec<String> = R::iter().map(|role| role.to_string()).collect();
        command_error(format!("Error assigning role: '{name}' is not one of {}", known.join(", ")))
    })
}

/// Lists groups and the roles that they hold.
pub fn list<R: Display>(ui: Ui, held: &[RoleHolder<R>]) -> anyhow::Result<()> {
    let rows: Vec<Value> =
        held.iter().map(|held| json!({"group": held.group.name, "role": held.role.to_string()})).collect();
    listing(ui, &[("group", "Group"), ("role", "Role")], &rows)
}

#[cfg(test)]
mod tests {
    use usine_model::permission::{ScopeRole, WorkspaceRole};

    use super::*;

    #[test]
    fn an_unknown_role_is_told_the_known_ones() {
        assert_eq!(parse::<WorkspaceRole>("owner").unwrap(), WorkspaceRole::Owner);
        let error = parse::<ScopeRole>("contributor").unwrap_err().to_string();
        assert!(error.ends_with("'contributor' is not one of aware, observer, owner"), "{error}");
    }
}
