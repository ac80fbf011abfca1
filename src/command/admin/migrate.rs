//! `usine admin migrate`.

use usine_db::Database;

use crate::exit::Code;
use crate::output::Ui;

/// Applies what is missing, and says what that was.
pub async fn run(database: &Database, ui: Ui) -> anyhow::Result<Code> {
    let pending = database.pending_migrations().await?;
    database.migrate().await?;
    if pending.is_empty() {
        ui.line("No migrations to apply.")?;
    }
    for name in pending {
        ui.line(&format!("Applied {name}"))?;
    }
    database.close().await;
    Ok(Code::Success)
}
