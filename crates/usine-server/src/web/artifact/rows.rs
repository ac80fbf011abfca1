//! Artifacts as rows of a table: with a fixed number of queries for any number of rows.

use askama::Template;
use usine_db::artifact::{File, FileInArtifact};
use usine_db::{Artifact, ArtifactManager};
use usine_model::artifact::{ArtifactCategory, label};

use super::super::show::{Size, When};
use crate::paths;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::state::AppState;

/// Files of an artifact that are named in its row.
const NAMED: usize = 3;

/// A row.
pub struct ArtifactRow {
    pub id: i64,
    pub address: String,
    pub category: ArtifactCategory,
    pub name: String,
    pub files: Vec<String>,
    /// Files that are not named.
    pub more: usize,
    pub size: Size,
    pub complete: bool,
    pub created: When,
    pub work_request: Option<i64>,
}

/// A table.
#[derive(Template)]
#[template(path = "artifact/rows.html")]
pub struct ArtifactRows {
    pub caption: String,
    pub rows: Vec<ArtifactRow>,
    pub place: String,
    pub empty: String,
}

impl askama::filters::HtmlSafe for ArtifactRows {}

/// A name for people.
pub fn label_of(artifact: &Artifact, files: &[(FileInArtifact, File)]) -> String {
    let paths: Vec<&str> = files.iter().map(|(entry, _)| entry.path.as_str()).collect();
    label(*artifact.category, &artifact.data, &paths)
}

impl ArtifactRows {
    /// The rows of these artifacts, all of one place.
    pub async fn of(
        state: &AppState,
        place: &Place,
        caption: &str,
        artifacts: Vec<Artifact>,
        empty: &str,
    ) -> ApiResult<Self> {
        let now = state.now();
        let ids: Vec<i64> = artifacts.iter().map(|artifact| artifact.id).collect();
        let mut files = ArtifactManager(&state.database).with_files(&ids).await?;
        let rows = artifacts
            .into_iter()
            .map(|artifact| {
                let files = files.remove(&artifact.id).unwrap_or_default();
                ArtifactRow {
                    id: artifact.id,
                    address: paths::artifact(&place.scope.name, &place.workspace.name, artifact.id),
                    category: *artifact.category,
                    name: label_of(&artifact, &files),
                    size: Size(files.iter().map(|(_, content)| content.size.unsigned_abs()).sum()),
                    complete: files.iter().all(|(entry, _)| entry.complete),
                    more: files.len().saturating_sub(NAMED),
                    files: files.into_iter().take(NAMED).map(|(entry, _)| entry.path).collect(),
                    created: When::new(artifact.created_at, now),
                    work_request: artifact.created_by_work_request_id,
                }
            })
            .collect();
        Ok(Self { caption: caption.to_owned(), rows, place: place.address(), empty: empty.to_owned() })
    }
}
