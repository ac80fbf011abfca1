//! How lists of artifacts are shown.

use usine_protocol::artifact::Artifact;

use crate::output::{Format, Ui, human_time};

/// Shows a list.
pub fn list(ui: Ui, artifacts: &[Artifact]) -> anyhow::Result<()> {
    if ui.format != Format::Human {
        return Ok(ui.data(&serde_json::to_value(artifacts)?)?);
    }
    let rows = artifacts.iter().map(|artifact| {
        let bytes = artifact.files.values().map(|file| file.size).sum();
        vec![
            format!("#{}", artifact.id),
            artifact.category.to_string(),
            artifact.workspace.clone(),
            human_time(&artifact.created_at),
            artifact.files.len().to_string(),
            indicatif::HumanBytes(bytes).to_string(),
        ]
    });
    Ok(ui.table(&["ID", "Category", "Workspace", "Created", "Files", "Size"], rows.collect())?)
}
