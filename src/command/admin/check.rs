//! `usine admin check`: the schema is up to date, what must always be true is true, and the store has every file.

use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use usine_db::artifact::{ArtifactFilter, ArtifactManager};
use usine_db::{Database, invariants};
use usine_server::{Config, stores};
use usine_store::FileId;

use crate::ambient::OsEntropy;
use crate::exit::Code;
use crate::output::{Format, Ui};

/// Artifacts looked at together.
const PAGE: u64 = 200;

/// Something that is not as it should be.
struct Issue {
    rule: String,
    id: i64,
}

/// Checks; exit code 1 if anything is wrong.
pub async fn run(database: &Database, config: &Config, ui: Ui) -> anyhow::Result<Code> {
    let violations = invariants::check(database).await?.into_iter();
    let mut issues: Vec<Issue> =
        violations.map(|found| Issue { rule: found.invariant.to_owned(), id: found.id }).collect();
    issues.extend(missing_files(database, config).await?);
    if ui.format != Format::Human {
        let rows: Value = issues.iter().map(|issue| json!({"rule": issue.rule, "id": issue.id})).collect();
        ui.data(&rows)?;
    } else if issues.is_empty() {
        ui.line("System check identified no issues (0 silenced).")?;
    } else {
        for issue in &issues {
            ui.line(&format!("row {} breaks the rule: {}", issue.id, issue.rule))?;
        }
        let count = issues.len();
        ui.line(&format!("System check identified {count} issue{}.", if count == 1 { "" } else { "s" }))?;
    }
    Ok(if issues.is_empty() { Code::Success } else { Code::Findings })
}

/// Complete files of artifacts that the store does not have. Their bytes are not read.
async fn missing_files(database: &Database, config: &Config) -> anyhow::Result<Vec<Issue>> {
    let artifacts = ArtifactManager(database);
    let mut store = None;
    let mut issues = Vec::new();
    let mut before_id = None;
    loop {
        let filter = ArtifactFilter { before_id, limit: Some(PAGE), ..ArtifactFilter::default() };
        let ids: Vec<i64> = artifacts.list(&filter).await?.iter().map(|artifact| artifact.id).collect();
        let Some(last) = ids.last() else { return Ok(issues) };
        before_id = Some(*last);
        for (entry, content) in artifacts.with_files(&ids).await?.into_values().flatten() {
            // Empty files are in no store.
            if !entry.complete || content.size == 0 {
                continue;
            }
            // Opened only when there is something to look for: opening makes the directory.
            let store = match &store {
                Some(store) => store,
                None => store.insert(stores::open(config, database, Arc::new(OsEntropy)).await?),
            };
            let sha256: [u8; 32] =
                content.sha256.as_slice().try_into().with_context(|| format!("file {}", content.id))?;
            if !store.contains(FileId::new(sha256, content.size.unsigned_abs())).await? {
                let rule = format!("the store has every complete file (\"{}\" of an artifact)", entry.path);
                issues.push(Issue { rule, id: entry.id });
            }
        }
    }
}
