//! `/{scope}/{workspace}/artifact/new/`: a package from a browser: a `.dsc` or `.changes` with the files that it lists, or a `.deb`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use multer::Multipart;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use usine_db::artifact::NewArtifact;
use usine_db::{Artifact, ArtifactManager};
use usine_debian::{Algorithm, Changes, Dsc, LocalArtifact, NoArtifact, artifacts_of};
use usine_model::artifact::{ArtifactPath, RelationType, imposed_content_type};
use usine_model::permission::WORKSPACE_CAN_CREATE_ARTIFACTS;
use usine_store::{FileId, StoreError};

use super::super::csrf;
use super::super::frame::{Frame, Guest, LoggedIn};
use super::super::place::of_address;
use crate::api::upload::disk_full;
use crate::paths;
use crate::permissions::Place;
use crate::problem::{ApiError, ApiResult};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// Most files at once.
const MAX_FILES: usize = 500;

/// Longest field that is no file, in bytes.
const MAX_FIELD: u64 = 1000;

/// What artifacts are made of that a browser brings, the first one found counts.
const PRIMARY: [&str; 3] = [".changes", ".dsc", ".deb"];

pub(super) fn routes() -> Routes {
    Routes::new().get("/{scope}/{workspace}/artifact/new/", Access::Login, show).post(
        "/{scope}/{workspace}/artifact/new/",
        Access::Login,
        receive,
    )
}

#[derive(Template)]
#[template(path = "artifact/new.html")]
struct NewPage {
    frame: Frame,
    address: String,
    error: Option<String>,
}

async fn place_of(state: &AppState, guest: &Guest, scope: &str, workspace: &str) -> ApiResult<Place> {
    let place = of_address(state, guest, scope, workspace).await?;
    let facts = place.workspace.facts(&place.scope);
    guest.check(&WORKSPACE_CAN_CREATE_ARTIFACTS, &facts, &format!("upload to {}", place.name()))?;
    Ok(place)
}

fn form(guest: &Guest, place: &Place, status: StatusCode, error: Option<String>) -> ApiResult<Response> {
    let address = format!("{}artifact/", place.address());
    let frame = guest.frame("Upload a package").inside(place).below("Artifacts", address.clone());
    guest.show_as(status, &NewPage { frame, address: format!("{address}new/"), error })
}

async fn show(
    State(state): State<AppState>,
    LoggedIn { guest, .. }: LoggedIn,
    Path((scope, workspace)): Path<(String, String)>,
) -> ApiResult<Response> {
    let place = place_of(&state, &guest, &scope, &workspace).await?;
    form(&guest, &place, StatusCode::OK, None)
}

/// A file that has come.
pub(in crate::web) struct Received {
    pub path: PathBuf,
    pub id: FileId,
}

/// Why nothing was made of what came: told in the form, or answered as it is.
pub(in crate::web) enum Refusal {
    Form(String),
    Other(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl From<usine_db::Error> for Refusal {
    fn from(error: usine_db::Error) -> Self {
        Self::Other(error.into())
    }
}

async fn receive(
    State(state): State<AppState>,
    LoggedIn { guest, user }: LoggedIn,
    Path((scope, workspace)): Path<(String, String)>,
    request: Request,
) -> ApiResult<Response> {
    let place = place_of(&state, &guest, &scope, &workspace).await?;
    // Where the store can take the files from without copying them.
    let directory = state.config.incoming_directory();
    std::fs::create_dir_all(&directory)?;
    let directory = tempfile::Builder::new().prefix("browser-").tempdir_in(directory)?;
    let made = async {
        let files = receive_files(request, &directory).await?;
        let name = primary(files.keys())?;
        let path = directory.path().join(name);
        let there: BTreeSet<String> = files.keys().cloned().collect();
        let read = tokio::task::spawn_blocking(move || match missing_files(&path, &there)? {
            missing if missing.is_empty() => Ok(Ok(artifacts_of(&path)?)),
            missing => Ok::<_, NoArtifact>(Err(missing)),
        });
        let artifacts = read.await.map_err(|error| ApiError::Internal(Box::new(error)))?;
        let artifacts = artifacts.map_err(|error| Refusal::Form(in_words(&error, directory.path())))?;
        let artifacts = artifacts.map_err(|missing| {
            Refusal::Form(format!("{name} lists files that are not among these: {}", missing.join(", ")))
        })?;
        make(&state, &place, user.id, artifacts, &files).await
    };
    match made.await {
        Ok(artifact) => {
            let address = paths::artifact(&scope, &workspace, artifact.id);
            Ok(guest.go(&address, "The package has arrived."))
        }
        Err(Refusal::Form(error)) => form(&guest, &place, StatusCode::BAD_REQUEST, Some(error)),
        Err(Refusal::Other(error)) => Err(error),
    }
}

/// The error without our own paths.
fn in_words(error: &dyn std::error::Error, directory: &FilePath) -> String {
    error.to_string().replace(&format!("{}/", directory.display()), "")
}

/// Writes the files of a form as they come. The form's secret must come before them.
pub(in crate::web) async fn receive_files(
    request: Request,
    directory: &TempDir,
) -> Result<BTreeMap<String, Received>, Refusal> {
    let headers = request.headers().clone();
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wrong = |error: multer::Error| Refusal::Form(format!("The upload broke off: {error}. Try again."));
    let boundary = multer::parse_boundary(content_type).map_err(wrong)?;
    let mut parts = Multipart::new(request.into_body().into_data_stream(), boundary);
    let mut is_ours = false;
    let mut files = BTreeMap::new();
    while let Some(mut part) = parts.next_field().await.map_err(wrong)? {
        if part.name() == Some("csrfmiddlewaretoken") {
            let mut secret = Vec::new();
            while let Some(piece) = part.chunk().await.map_err(wrong)? {
                secret.extend_from_slice(&piece);
                if secret.len() as u64 > MAX_FIELD {
                    break;
                }
            }
            csrf::check(&headers, &String::from_utf8_lossy(&secret))?;
            is_ours = true;
            continue;
        }
        let Some(name) = part.file_name().map(str::to_owned).filter(|name| !name.is_empty()) else { continue };
        if !is_ours {
            csrf::check(&headers, "")?;
        }
        if name.contains('/') || name.parse::<ArtifactPath>().is_err() {
            return Err(Refusal::Form(format!("{name:?} cannot be the name of a file")));
        }
        if files.len() >= MAX_FILES {
            return Err(Refusal::Form(format!("These are more than {MAX_FILES} files")));
        }
        let path = directory.path().join(&name);
        let mut file = tokio::fs::File::create_new(&path).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Refusal::Form(format!("{name} is there twice")),
            _ => Refusal::Other(error.into()),
        })?;
        let (mut digest, mut size) = (Sha256::new(), 0);
        while let Some(piece) = part.chunk().await.map_err(wrong)? {
            digest.update(&piece);
            size += piece.len() as u64;
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        files.insert(name, Received { path, id: FileId::new(digest.finalize().into(), size) });
    }
    Ok(files)
}

fn failed(error: std::io::Error) -> Refusal {
    Refusal::Other(match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => disk_full(&error),
        _ => error.into(),
    })
}

/// The file that says what it all is.
fn primary<'a>(names: impl Iterator<Item = &'a String> + Clone) -> Result<&'a String, Refusal> {
    for suffix in PRIMARY {
        let mut found = names.clone().filter(|name| name.ends_with(suffix));
        match (found.next(), found.next()) {
            (Some(one), None) => return Ok(one),
            (Some(one), Some(other)) => {
                return Err(Refusal::Form(format!("{one} and {other}: upload one package after the other")));
            }
            (None, _) => {}
        }
    }
    Err(Refusal::Form("Choose a .dsc or a .changes together with all files that it lists, or one .deb".to_owned()))
}

/// What a control file lists and is not there.
fn missing_files(path: &FilePath, there: &BTreeSet<String>) -> Result<Vec<String>, usine_debian::Error> {
    let listing = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("dsc") => Dsc::read(path)?.listing().clone(),
        Some("changes") => Changes::read(path)?.listing().clone(),
        _ => return Ok(Vec::new()),
    };
    let listed = listing.names(Algorithm::Md5).filter(|name| !there.contains(*name));
    Ok(listed.map(str::to_owned).collect())
}

/// Makes the artifacts, with all their files; the first extends the others and relates to them.
async fn make(
    state: &AppState,
    place: &Place,
    user_id: i64,
    artifacts: Vec<LocalArtifact>,
    received: &BTreeMap<String, Received>,
) -> Result<Artifact, Refusal> {
    let manager = ArtifactManager(&state.database);
    let store = manager.default_store().await?;
    let mut made: Vec<Artifact> = Vec::new();
    for artifact in artifacts {
        let file = |name: &String| {
            let received = received.get(name).ok_or_else(|| Refusal::Form(format!("{name} is missing")))?;
            let path = name.parse().map_err(|error| Refusal::Form(format!("{name}: {error}")))?;
            Ok(usine_db::artifact::NewFile {
                path,
                sha256: received.id.sha256,
                size: received.id.size,
                content_type: imposed_content_type(artifact.category, name).map(str::to_owned),
            })
        };
        let files = artifact.files.keys().map(file).collect::<Result<_, Refusal>>()?;
        let new = NewArtifact {
            category: artifact.category,
            workspace_id: place.workspace.id,
            data: artifact.data,
            files,
            created_by: Some(user_id),
            created_by_work_request: None,
            expiration_delay: None,
        };
        let row = manager.create(new, state.now()).await?;
        for (entry, _) in manager.files(row.id).await?.into_iter().filter(|(entry, _)| !entry.complete) {
            let Some(received) = received.get(&entry.path) else { continue };
            state.store.put(received.id, &received.path).await.map_err(|error| match error {
                StoreError::NoSpace { source, .. } => disk_full(&source),
                other => ApiError::Internal(Box::new(other)),
            })?;
            manager.complete_file(entry.id, store.id).await?;
        }
        made.push(row);
    }
    let mut made = made.into_iter();
    let first = made.next().ok_or_else(|| Refusal::Form("There is nothing in it".to_owned()))?;
    for part in made {
        for relation in [RelationType::Extends, RelationType::RelatesTo] {
            manager.relate(first.id, part.id, relation).await?;
        }
    }
    Ok(first)
}
