//! `artifact/`: make and show artifacts; and our own list of them.

pub(crate) mod duration;

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Map, json};
use usine_db::artifact::{ArtifactFilter, File, FileInArtifact, NewArtifact, NewFile, expire_at};
use usine_db::tenancy::{Scope, Workspace};
use usine_db::{Artifact as Row, ArtifactManager, WorkRequestManager, WorkspaceManager};
use usine_model::artifact::{ArtifactCategory, ArtifactPath, validate_data, validate_files};
use usine_model::permission::WORKSPACE_CAN_CREATE_ARTIFACTS;
use usine_protocol::artifact::{Artifact, Checksums, CreateArtifact, File as WireFile, NewFile as WireNewFile};

use crate::auth::{Identity, Requester};
use crate::paths::{self, Base};
use crate::permissions::{reachable, visible_artifact, visible_artifact_anywhere, visible_workspace};
use crate::problem::{ApiError, ApiResult, Payload, json_body, parse_value};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Most bytes of a request that makes an artifact: some 50,000 files, or the data of the largest upload many times over.
const MAX_BODY: usize = 16 << 20;

/// Longest content type, in characters.
const MAX_CONTENT_TYPE: usize = 255;

/// How many artifacts a list has, unless the request says so, and at most.
const LIST_LENGTH: (u64, u64) = (100, 1000);

const TITLE: &str = "Cannot deserialize artifact";

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .post("/api/1.0/artifact/", Access::UserOrWorkRequest, create)
        .get("/api/1.0/artifact/{id}/", Access::Everybody, show)
        .get("/api/1.0/artifact/{workspace}/{id}/", Access::Everybody, show_in_workspace)
        .get("/api/usine/1.0/artifact/", Access::Everybody, list)
}

/// Makes an artifact. Its files come afterwards, one by one, where they are not known already.
async fn create(
    State(state): State<AppState>,
    requester: Requester,
    base: Base,
    Payload(body): Payload<MAX_BODY>,
) -> ApiResult<(StatusCode, Json<Artifact>)> {
    let mut body = json_body(&body)?;
    let delay = body.as_object_mut().and_then(|body| body.remove("expiration_delay"));
    let body: CreateArtifact = parse_value(body, TITLE)?;
    let expiration_delay = delay.as_ref().map_or(Ok(None), duration::seconds);
    let expiration_delay =
        expiration_delay.map_err(|message| ApiError::bad_request(TITLE).field("expiration_delay", message))?;
    let files = body.files.into_iter().map(new_file).collect::<ApiResult<Vec<_>>>()?;

    let workspace = place_for(&state, &requester, body.workspace.as_deref()).await?;
    let (created_by, created_by_work_request) = maker(&state, &requester, body.work_request).await?;
    let scope = &requester.scope;
    requester.check(&WORKSPACE_CAN_CREATE_ARTIFACTS, &workspace.facts(scope), &workspace.full_name(scope))?;
    let category: ArtifactCategory = body
        .category
        .parse()
        .map_err(|_| ApiError::bad_request("Error").detail(format!("{}: invalid artifact category", body.category)))?;

    // The data are checked again, and refused, below; here they only go first.
    if validate_data(category, &body.data).is_ok() {
        validate_files(category, &body.data, files.iter().map(|file| file.path.as_str()))
            .map_err(|error| ApiError::bad_request(TITLE).field("files", error.to_string()))?;
    }
    let new = NewArtifact {
        category,
        workspace_id: workspace.id,
        data: body.data,
        files,
        created_by,
        created_by_work_request,
        expiration_delay,
    };
    let artifacts = ArtifactManager(&state.database);
    let made = artifacts.create(new, state.now()).await.map_err(|error| match error {
        usine_db::Error::Invalid(reason) => ApiError::bad_request("Error").detail(json!({"data": [reason]})),
        other => other.into(),
    })?;
    let files = artifacts.files(made.id).await?;
    Ok((StatusCode::CREATED, Json(present(&base, &requester.scope, &workspace, made, files))))
}

/// Where it is to be: a work request finds its own workspace, whatever has become of its creator's roles.
async fn place_for(state: &AppState, requester: &Requester, name: Option<&str>) -> ApiResult<Workspace> {
    if let Identity::WorkRequest(own) = &requester.identity {
        let (workspace, scope) = WorkspaceManager(&state.database).get(own.workspace_id).await?;
        if scope.id == requester.scope.id && name == Some(workspace.name.as_str()) {
            return Ok(workspace);
        }
    }
    visible_workspace(state, requester, name).await
}

fn new_file((path, file): (String, WireNewFile)) -> ApiResult<NewFile> {
    let wrong = |message: String| ApiError::bad_request(TITLE).field("files", format!("{path:?}: {message}"));
    let safe: ArtifactPath = path.parse().map_err(|error| wrong(format!("{error}")))?;
    if file.file_type != "file" {
        return Err(wrong(format!("type must be \"file\", not {:?}", file.file_type)));
    }
    if i64::try_from(file.size).is_err() {
        return Err(wrong(format!("{} bytes are too many", file.size)));
    }
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&file.checksums.sha256, &mut sha256)
        .map_err(|_| wrong("checksums.sha256 must be 64 hexadecimal digits".to_owned()))?;
    if file
        .content_type
        .as_ref()
        .is_some_and(|text| text.chars().count() > MAX_CONTENT_TYPE || text.chars().any(char::is_control))
    {
        return Err(wrong(format!("content_type must have at most {MAX_CONTENT_TYPE} characters, none for control")));
    }
    Ok(NewFile { path: safe, sha256, size: file.size, content_type: file.content_type })
}

/// Who makes it: the user, or the work request that the worker runs, which it must name.
async fn maker(
    state: &AppState,
    requester: &Requester,
    work_request: Option<i64>,
) -> ApiResult<(Option<i64>, Option<i64>)> {
    match (&requester.identity, work_request) {
        (Identity::WorkRequest(own), Some(id)) if own.id == id => Ok((None, Some(id))),
        (Identity::WorkRequest(_), Some(id)) => match WorkRequestManager(&state.database).get_or_none(id).await? {
            None => Err(ApiError::bad_request(format!("WorkRequest {id} does not exist"))),
            Some(_) => Err(ApiError::forbidden("Work request mismatch in POST data.")),
        },
        (Identity::WorkRequest(_), None) => Err(ApiError::forbidden(
            "If work_request field is empty the WorkRequest must be created using a Token associated to a user",
        )),
        (_, Some(_)) => {
            Err(ApiError::forbidden("work_request field can only be used by a request with a token from a Worker"))
        }
        (_, None) => Ok((Some(requester.user()?.id), None)),
    }
}

/// Shows an artifact of the requester's scope.
async fn show(
    State(state): State<AppState>,
    requester: Requester,
    base: Base,
    Path(id): Path<String>,
) -> ApiResult<Json<Artifact>> {
    let (row, place) = visible_artifact(&state, &requester, &id).await?.ok_or_else(no_match)?;
    let files = ArtifactManager(&state.database).files(row.id).await?;
    Ok(Json(present(&base, &place.scope, &place.workspace, row, files)))
}

/// Shows an artifact as seen from a workspace: its own, and those of workspaces that it inherits, also of other scopes. A work
/// request sees all that it was given.
async fn show_in_workspace(
    State(state): State<AppState>,
    requester: Requester,
    base: Base,
    Path((workspace, id)): Path<(String, String)>,
) -> ApiResult<Json<Artifact>> {
    let from = match requester.identity {
        Identity::WorkRequest(_) => None,
        _ => Some(visible_workspace(&state, &requester, Some(&workspace)).await?),
    };
    let (row, place) = visible_artifact_anywhere(&state, &requester, &id).await?.ok_or_else(no_match)?;
    if let Some(from) = from {
        let reached = reachable(&state, &requester.context, &from, &requester.scope).await?;
        if reached.iter().all(|place| place.workspace.id != row.workspace_id) {
            return Err(no_match());
        }
    }
    let files = ArtifactManager(&state.database).files(row.id).await?;
    Ok(Json(present(&base, &place.scope, &place.workspace, row, files)))
}

/// The answer for an artifact that is not there or not to be seen.
fn no_match() -> ApiError {
    ApiError::not_found("No Artifact matches the given query.")
}

/// Lists artifacts, newest first: `category`, `workspace`, `work_request` restrict, `limit` and `before` (an id) page.
async fn list(
    State(state): State<AppState>,
    requester: Requester,
    base: Base,
    Query(mut query): Query<BTreeMap<String, String>>,
) -> ApiResult<Json<Vec<Artifact>>> {
    query.retain(|_, value| !value.is_empty());
    let workspaces: HashMap<i64, Workspace> = match query.get("workspace") {
        Some(name) => vec![visible_workspace(&state, &requester, Some(name)).await?],
        None => {
            let seen =
                WorkspaceManager(&state.database).displayable(&requester.context, Some(&requester.scope)).await?;
            seen.into_iter().map(|(workspace, _)| workspace).collect()
        }
    }
    .into_iter()
    .map(|workspace| (workspace.id, workspace))
    .collect();
    let (length, most) = LIST_LENGTH;
    let filter = ArtifactFilter {
        workspace_ids: Some(workspaces.keys().copied().collect()),
        category: query
            .get("category")
            .map(|name| name.parse())
            .transpose()
            .map_err(|_| wrong_parameter("category", "not the name of a category"))?,
        work_request_id: number(&query, "work_request")?,
        before_id: number(&query, "before")?,
        limit: Some(number(&query, "limit")?.map_or(length, |limit| limit.max(0).unsigned_abs().min(most))),
    };
    // A work request lists only what it has made.
    let filter = match &requester.identity {
        Identity::WorkRequest(own) if filter.work_request_id.is_none_or(|id| id == own.id) => {
            ArtifactFilter { work_request_id: Some(own.id), ..filter }
        }
        Identity::WorkRequest(_) => return Ok(Json(Vec::new())),
        _ => filter,
    };
    let artifacts = ArtifactManager(&state.database);
    let rows = artifacts.list(&filter).await?;
    let mut files = artifacts.with_files(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
    let listed = rows.into_iter().filter_map(|row| {
        let workspace = workspaces.get(&row.workspace_id)?;
        let files = files.remove(&row.id).unwrap_or_default();
        Some(present(&base, &requester.scope, workspace, row, files))
    });
    Ok(Json(listed.collect()))
}

fn number(query: &BTreeMap<String, String>, name: &str) -> ApiResult<Option<i64>> {
    let value = query.get(name).map(|text| text.parse()).transpose();
    value.map_err(|_| wrong_parameter(name, "a whole number is expected"))
}

fn wrong_parameter(name: &str, message: &str) -> ApiError {
    ApiError::bad_request("Error").detail(json!({name: [message]}))
}

/// An artifact as every answer shows it.
fn present(
    base: &Base,
    scope: &Scope,
    workspace: &Workspace,
    row: Row,
    files: Vec<(FileInArtifact, File)>,
) -> Artifact {
    let page = paths::artifact(&scope.name, &workspace.name, row.id);
    let download = format!("{page}download/");
    let tarball = format!("{download}?archive=tar.gz");
    let mut links = Map::new();
    links.insert("self".to_owned(), json!(format!("{}/artifact/{}/", usine_protocol::API, row.id)));
    links.insert("webui_self".to_owned(), json!(page));
    links.insert("download_tar_gz".to_owned(), json!({"href": tarball, "type": "application/tar+gzip"}));
    let missing = files.iter().filter(|(entry, _)| !entry.complete).map(|(entry, _)| entry.path.clone());
    Artifact {
        links,
        id: row.id,
        scope: scope.name.clone(),
        workspace: workspace.name.clone(),
        category: *row.category,
        created_at: row.created_at,
        download_tar_gz_url: format!("{}{tarball}", base.0),
        files_to_upload: missing.collect(),
        expire_at: expire_at(&row, workspace),
        files: files
            .into_iter()
            .map(|(entry, content)| {
                let url = format!("{}{download}{}", base.0, paths::in_address(&entry.path));
                (entry.path.clone(), present_file(entry, content, url))
            })
            .collect(),
        url: page,
        data: row.data,
    }
}

fn present_file(entry: FileInArtifact, content: File, url: String) -> WireFile {
    WireFile {
        links: Map::new(),
        size: content.size.unsigned_abs(),
        checksums: Checksums { sha256: hex::encode(content.sha256) },
        file_type: "file".to_owned(),
        url,
        content_type: entry.content_type,
    }
}
