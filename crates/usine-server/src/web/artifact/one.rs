//! `/{scope}/{workspace}/artifact/{id}/` and its files below `file/`: what an artifact says, what it holds, and what it belongs to.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use std::collections::BTreeMap;
use usine_db::artifact::{ArtifactRelation, File, FileInArtifact, expire_at};
use usine_db::{Artifact, ArtifactManager, UserManager, WorkRequest, WorkRequestManager};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::permission::ARTIFACT_CAN_DISPLAY;

use super::super::frame::{Frame, Guest};
use super::super::place::{InWorkspace, missing};
use super::super::results::{self, ResultView};
use super::super::show::{Size, When, yaml};
use super::super::work_request::may_submit;
use super::super::work_request::rows::label;
use super::rows::{ArtifactRows, label_of};
use crate::paths;
use crate::permissions::Place;
use crate::problem::ApiResult;
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Files that are listed, and the relations.
const LISTED: usize = 2000;
const RELATED: usize = 200;

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/artifact/{id}/", Access::Page, show).get(
        "/{scope}/{workspace}/artifact/{id}/file/{*path}",
        Access::Page,
        file,
    )
}

#[derive(Template)]
#[template(path = "artifact/one.html")]
struct OnePage {
    frame: Frame,
    place: String,
    address: String,
    artifact: Artifact,
    view: Option<ResultView>,
    files: Vec<FileRow>,
    /// Whether the view has a list of the files.
    view_lists_files: bool,
    unlisted: usize,
    total: Size,
    complete: bool,
    created: When,
    expires: Option<When>,
    user: Option<String>,
    origin: Option<WorkRequest>,
    origin_label: String,
    relations: Vec<(String, ArtifactRows)>,
    data: String,
    /// Tasks that can be begun with it: name, and the query of their form.
    tasks: Vec<(&'static str, String)>,
}

struct FileRow {
    path: String,
    /// As an address has it.
    encoded: String,
    size: Size,
    complete: bool,
}

#[derive(Template)]
#[template(path = "artifact/file.html")]
struct FilePage {
    frame: Frame,
    address: String,
    encoded: String,
    size: Size,
    complete: bool,
    html: String,
}

/// The artifact of this id, if it is in this place and may be seen.
async fn find(state: &AppState, guest: &Guest, place: &Place, id: &str) -> ApiResult<Artifact> {
    let id = id.parse().map_err(|_| missing())?;
    let row = ArtifactManager(&state.database).get_or_none(id).await?;
    let seen = |row: &Artifact| {
        row.workspace_id == place.workspace.id && guest.may(&ARTIFACT_CAN_DISPLAY, &place.artifact(row))
    };
    row.filter(seen).ok_or_else(missing)
}

async fn show(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Path((_, _, id)): Path<(String, String, String)>,
) -> ApiResult<Response> {
    let artifact = find(&state, &guest, &place, &id).await?;
    let manager = ArtifactManager(&state.database);
    let files = manager.files(artifact.id).await?;
    let address = paths::artifact(&place.scope.name, &place.workspace.name, artifact.id);
    let mut view = results::of_artifact(&state, &artifact, &files, &address).await?;
    if let (None, [(entry, content)]) = (&view, files.as_slice()) {
        let html = results::of_file(&state, &artifact, entry, content, &address).await?.html;
        view = Some(ResultView { title: "File", html });
    }
    let origin = match artifact.created_by_work_request_id {
        Some(id) => WorkRequestManager(&state.database).get_or_none(id).await?,
        None => None,
    };
    let user = match artifact.created_by_id {
        Some(id) => UserManager(&state.database).names(&[id]).await?.remove(&id),
        None => None,
    };
    let now = state.now();
    let frame = guest.frame(label_of(&artifact, &files)).inside(&place);
    let frame = frame.below("Artifacts", format!("{}artifact/", place.address()));
    let tasks = if may_submit(&guest, &place) { tasks_for(&artifact) } else { Vec::new() };
    guest.show(&OnePage {
        frame,
        place: place.address(),
        address,
        view,
        view_lists_files: matches!(
            *artifact.category,
            ArtifactCategory::SourcePackage | ArtifactCategory::Upload | ArtifactCategory::BinaryPackages
        ),
        unlisted: files.len().saturating_sub(LISTED),
        total: Size(files.iter().map(|(_, content)| content.size.unsigned_abs()).sum()),
        complete: files.iter().all(|(entry, _)| entry.complete),
        files: files.iter().take(LISTED).map(file_row).collect(),
        created: When::new(artifact.created_at, now),
        expires: When::maybe(expire_at(&artifact, &place.workspace), now),
        user,
        origin_label: origin.as_ref().map(label).unwrap_or_default(),
        origin,
        relations: relations(&state, &guest, &place, &artifact).await?,
        data: yaml(&artifact.data),
        tasks,
        artifact,
    })
}

fn file_row((entry, content): &(FileInArtifact, File)) -> FileRow {
    FileRow {
        path: entry.path.clone(),
        encoded: paths::in_address(&entry.path),
        size: Size(content.size.unsigned_abs()),
        complete: entry.complete,
    }
}

/// What one does most with an artifact of this category.
fn tasks_for(artifact: &Artifact) -> Vec<(&'static str, String)> {
    let field = |task: &'static str, name: &str| (task, format!("task={task}&{name}={}", artifact.id));
    match *artifact.category {
        ArtifactCategory::SourcePackage => vec![
            field("sbuild", "input.source_artifact"),
            field("lintian", "input.source_artifact"),
            field("autopkgtest", "input.source_artifact"),
            field("makesourcepackageupload", "input.source_artifact"),
        ],
        ArtifactCategory::Upload => vec![
            field("sbuild", "input.source_artifact"),
            field("lintian", "input.binary_artifacts"),
            field("piuparts", "input.binary_artifacts"),
        ],
        ArtifactCategory::BinaryPackage => {
            vec![field("lintian", "input.binary_artifacts"), field("piuparts", "input.binary_artifacts")]
        }
        ArtifactCategory::PackageBuildLog => vec![field("blhc", "input.artifact")],
        _ => Vec::new(),
    }
}

/// The artifacts that it relates to, and that extend it or relate to it, in groups; those elsewhere are left out.
async fn relations(
    state: &AppState,
    guest: &Guest,
    place: &Place,
    artifact: &Artifact,
) -> ApiResult<Vec<(String, ArtifactRows)>> {
    let manager = ArtifactManager(&state.database);
    let mut groups: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut add = |relations: Vec<ArtifactRelation>, forward: bool| {
        for relation in relations.into_iter().take(RELATED) {
            let (name, id) = if forward {
                (forward_words(*relation.r#type), relation.target_id)
            } else {
                (backward_words(*relation.r#type), relation.artifact_id)
            };
            groups.entry(name.to_owned()).or_default().push(id);
        }
    };
    add(manager.relations_from(artifact.id).await?, true);
    add(manager.relations_to(artifact.id).await?, false);
    let ids: Vec<i64> = groups.values().flatten().copied().collect();
    let mut found = manager.in_bulk(&ids).await?;
    let seen = manager.displayable_among(&guest.context, &ids).await?;
    found.retain(|id, row| row.workspace_id == place.workspace.id && seen.contains(id));
    let mut shown = Vec::new();
    for (name, ids) in groups {
        let rows: Vec<Artifact> = ids.iter().filter_map(|id| found.get(id).cloned()).collect();
        if !rows.is_empty() {
            let rows = ArtifactRows::of(state, place, &name, rows, "").await?;
            shown.push((name, rows));
        }
    }
    Ok(shown)
}

fn forward_words(relation: RelationType) -> &'static str {
    match relation {
        RelationType::Extends => "Extends",
        RelationType::RelatesTo => "Relates to",
        RelationType::BuiltUsing => "Built using",
    }
}

fn backward_words(relation: RelationType) -> &'static str {
    match relation {
        RelationType::Extends => "Extended by",
        RelationType::RelatesTo => "Related to from",
        RelationType::BuiltUsing => "Used to build",
    }
}

async fn file(
    State(state): State<AppState>,
    InWorkspace { guest, place }: InWorkspace,
    Path((_, _, id, path)): Path<(String, String, String, String)>,
) -> ApiResult<Response> {
    let artifact = find(&state, &guest, &place, &id).await?;
    let found = ArtifactManager(&state.database).file(artifact.id, &path).await?;
    let (entry, content) = found.ok_or_else(missing)?;
    let address = paths::artifact(&place.scope.name, &place.workspace.name, artifact.id);
    let html = results::of_file(&state, &artifact, &entry, &content, &address).await?.html;
    let frame = guest.frame(path.clone()).inside(&place);
    let frame = frame.below("Artifacts", format!("{}artifact/", place.address()));
    let frame = frame.below(format!("Artifact {}", artifact.id), address.clone());
    guest.show(&FilePage {
        frame,
        address,
        encoded: paths::in_address(&path),
        size: Size(content.size.unsigned_abs()),
        complete: entry.complete,
        html,
    })
}
