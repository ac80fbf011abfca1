//! `usine admin audit-log`: who changed what.

use serde_json::{Value, json};
use usine_db::Database;
use usine_db::tenancy::AuditLog;

use super::{listing, names};
use crate::output::{Format, Ui, native_time};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only what happened to this group: SCOPE/NAME, or SCOPE/WORKSPACE/NAME [default: everything]
    group: Option<String>,
    /// Most entries
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Shows the newest entries, newest first.
pub async fn run(database: &Database, ui: Ui, args: Args) -> anyhow::Result<()> {
    let limit = args.limit.into();
    let entries = match &args.group {
        Some(group) => AuditLog(database).of_group(names::group(database, group).await?.1.id, limit).await?,
        None => AuditLog(database).newest(limit).await?,
    };
    let rows: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            json!({
                "created_at": native_time(Some(entry.created_at)),
                "actor": entry.actor,
                "subject": entry.subject,
                "changes": if ui.format == Format::Human { json!(entry.changes.to_string()) } else { entry.changes },
            })
        })
        .collect();
    let columns = [("created_at", "Time"), ("actor", "Who"), ("subject", "What"), ("changes", "How")];
    listing(ui, &columns, &rows)
}
