//! `…/groups/{group}/audit-log/`: what has changed in a group, and what its entries say in words.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::Value;
use usine_db::WorkspaceManager;
use usine_db::paged::Paged;
use usine_db::tenancy::{AuditEntry, AuditLog};
use usine_model::permission::{GROUP_CAN_DISPLAY_AUDIT_LOG, SCOPE_CAN_INSPECT};

use super::super::pieces::{Asked, Pager};
use super::{InGroup, Tenant, both};
use crate::problem::ApiResult;
use crate::routes::Routes;
use crate::state::AppState;
use crate::web::frame::Frame;
use crate::web::show::When;

/// How many entries a page has.
const ROWS: u64 = 10;

pub(super) fn routes() -> Routes {
    both!(Routes::new(), get, "groups/{group}/audit-log/", log)
}

#[derive(Template)]
#[template(path = "tenancy/audit_log.html")]
struct AuditPage {
    frame: Frame,
    entries: Paged<Line>,
    pager: Pager,
}

/// An entry.
pub(super) struct Line {
    pub at: When,
    pub who: String,
    pub message: String,
}

async fn log(State(state): State<AppState>, asked: InGroup, Query(query): Query<Asked>) -> ApiResult<Response> {
    asked.check(&GROUP_CAN_DISPLAY_AUDIT_LOG, "see what has changed in this group")?;
    let found = AuditLog(&state.database).page_of_group(asked.group.id, query.page(ROWS)).await?;
    let pager = Pager::of(&found);
    let Paged { rows, page, last, total } = found;
    let entries = Paged { rows: lines(&state, &asked.tenant, rows).await?, page, last, total };
    let frame = asked.frame_below(format!("Audit log of {}", asked.group.name));
    asked.tenant.guest.show(&AuditPage { frame, entries, pager })
}

/// The entries in words. Workspaces that one may not see are not named.
pub(super) async fn lines(state: &AppState, tenant: &Tenant, entries: Vec<AuditEntry>) -> ApiResult<Vec<Line>> {
    let scope = &tenant.scope;
    let prefix = format!("{}/", scope.name);
    let names = entries.iter().filter_map(|entry| entry.changes["resource"].as_str()?.strip_prefix(&prefix));
    // Who reads everything in the scope may know of workspaces that have another name now.
    let seen: Option<BTreeSet<String>> = if tenant.guest.may(&SCOPE_CAN_INSPECT, &scope.facts()) {
        None
    } else {
        let found = WorkspaceManager(&state.database).by_names(scope, names).await?;
        Some(found.iter().filter(|found| tenant.sees(found)).map(|found| found.full_name(scope)).collect())
    };
    let named = |resource: &str| {
        let known = !resource.contains('/') || seen.as_ref().is_none_or(|seen| seen.contains(resource));
        if known { resource.to_owned() } else { "a workspace that you may not see".to_owned() }
    };
    let now = state.now();
    let line = |entry: AuditEntry| Line {
        at: When::new(entry.created_at, now),
        message: message(&entry.changes, &named),
        who: entry.actor,
    };
    Ok(entries.into_iter().map(line).collect())
}

/// What an entry says.
fn message(changes: &Value, named: &dyn Fn(&str) -> String) -> String {
    let word = |key: &str| changes[key].as_str().unwrap_or("?");
    match word("type") {
        "create" => format!("made the group {}", word("name")),
        "delete" => format!("deleted the group {}", word("name")),
        "add_user" => format!("added {} as {}", word("user"), word("role")),
        "set_role" => format!("made {} {}", word("user"), word("role")),
        "del_user" => format!("removed {}", word("user")),
        "grant_role" => format!("gave it the role {} on {}", word("role"), named(word("resource"))),
        "revoke_role" => format!("took the role {} on {} from it", word("role"), named(word("resource"))),
        "update" => {
            let pairs = changes.as_object().into_iter().flatten().filter(|(key, _)| *key != "type");
            let said: Vec<String> =
                pairs.map(|(key, value)| format!("{key} from {} to {}", plain(&value[0]), plain(&value[1]))).collect();
            format!("changed {}", said.join(", "))
        }
        other => other.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_told_in_words() {
        let told = |changes| message(&changes, &|resource| format!("<{resource}>"));
        let cases = [
            (json!({"type": "create", "name": "qa", "scope": "debusine"}), "made the group qa"),
            (json!({"type": "update", "name": ["a", "b"]}), "changed name from a to b"),
            (json!({"type": "update", "ephemeral": [false, true]}), "changed ephemeral from false to true"),
            (json!({"type": "add_user", "user": "u", "role": "admin"}), "added u as admin"),
            (json!({"type": "set_role", "user": "u", "role": "member"}), "made u member"),
            (json!({"type": "del_user", "user": "u"}), "removed u"),
            (json!({"type": "grant_role", "resource": "s/w", "role": "owner"}), "gave it the role owner on <s/w>"),
            (json!({"type": "revoke_role", "resource": "s", "role": "owner"}), "took the role owner on <s> from it"),
            (json!({"type": "news"}), "news"),
            (json!([]), "?"),
        ];
        for (changes, words) in cases {
            assert_eq!(told(changes), words);
        }
    }
}
