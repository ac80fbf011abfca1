//! `artifact-relation/`: how artifacts relate.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use usine_db::artifact::ArtifactRelation;
use usine_db::tenancy::Workspace;
use usine_db::{Artifact, ArtifactManager, WorkspaceManager};
use usine_protocol::artifact::{CreateRelation, Relation};

use super::artifact::visible;
use crate::auth::{Identity, Requester};
use crate::permissions::{can_change_artifact, can_delete_relations, can_see_artifact, refused};
use crate::problem::{ApiError, ApiResult, Payload, parse_body};
use crate::state::AppState;

/// The routes.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/api/1.0/artifact-relation/", get(list).post(create))
        .route("/api/1.0/artifact-relation/{id}/", delete(remove))
}

/// The relations from an artifact (`artifact`) or to it (`target_artifact`) whose other end the requester may see.
async fn list(
    State(state): State<AppState>,
    requester: Requester,
    Query(query): Query<BTreeMap<String, String>>,
) -> ApiResult<Json<Vec<Relation>>> {
    let (id, from) = match (query.get("artifact"), query.get("target_artifact")) {
        (Some(id), _) => (id, true),
        (None, Some(id)) => (id, false),
        (None, None) => {
            return Err(ApiError::bad_request("\"artifact\" or \"target_artifact\" parameter are mandatory"));
        }
    };
    let found = visible(&state, &requester, id).await?;
    let (artifact, _) = found.ok_or_else(|| ApiError::not_found(format!("Artifact {id} not found")))?;
    let artifacts = ArtifactManager(&state.database);
    let (relations, other_end): (_, fn(&ArtifactRelation) -> i64) = if from {
        (artifacts.relations_from(artifact.id).await?, |relation| relation.target_id)
    } else {
        (artifacts.relations_to(artifact.id).await?, |relation| relation.artifact_id)
    };
    let seen = visible_among(&state, &requester, relations.iter().map(other_end).collect()).await?;
    let shown = relations.iter().filter(|relation| seen.contains(&other_end(relation))).map(present);
    Ok(Json(shown.collect()))
}

/// Which of these artifacts the requester may see, in any scope.
async fn visible_among(state: &AppState, requester: &Requester, ids: BTreeSet<i64>) -> ApiResult<BTreeSet<i64>> {
    let ids: Vec<_> = ids.into_iter().collect();
    let rows = ArtifactManager(&state.database).in_bulk(&ids).await?;
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let workspaces: HashMap<i64, Workspace> = WorkspaceManager(&state.database)
        .list()
        .await?
        .into_iter()
        .map(|(workspace, _)| (workspace.id, workspace))
        .collect();
    let seen = |row: &&Artifact| {
        workspaces.get(&row.workspace_id).is_some_and(|workspace| can_see_artifact(requester, row, workspace))
    };
    Ok(rows.values().filter(seen).map(|row| row.id).collect())
}

/// Relates two artifacts; the same again finds what is there.
async fn create(
    State(state): State<AppState>,
    requester: Requester,
    Payload(body): Payload,
) -> ApiResult<(StatusCode, Json<Relation>)> {
    if !matches!(requester.identity, Identity::WorkRequest(_)) {
        requester.user()?;
    }
    let body: CreateRelation = parse_body(&body, "artifact relation")?;
    let end = async |field: &str, id: i64| {
        let found = visible(&state, &requester, &id.to_string()).await?;
        found.ok_or_else(|| {
            ApiError::bad_request("Cannot deserialize artifact relation")
                .field(field, format!("Invalid pk \"{id}\" - object does not exist."))
        })
    };
    let (artifact, workspace) = end("artifact", body.artifact).await?;
    end("target", body.target).await?;
    if !can_change_artifact(&requester, &artifact, &workspace) {
        return Err(refused(&requester, &format!("create relations of artifact {} in", artifact.id), &workspace));
    }
    let outcome = ArtifactManager(&state.database).relate(body.artifact, body.target, body.relation_type).await;
    let (relation, created) = outcome.map_err(|error| match error {
        usine_db::Error::Invalid(reason) => ApiError::bad_request(reason),
        other => other.into(),
    })?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(present(&relation))))
}

/// Removes a relation.
async fn remove(State(state): State<AppState>, requester: Requester, Path(id): Path<String>) -> ApiResult<StatusCode> {
    requester.user()?;
    let missing = || ApiError::not_found("No ArtifactRelation matches the given query.");
    let artifacts = ArtifactManager(&state.database);
    let relation = match id.parse() {
        Ok(id) => artifacts.relation(id).await?.ok_or_else(missing)?,
        Err(_) => return Err(missing()),
    };
    let found = visible(&state, &requester, &relation.artifact_id.to_string()).await?;
    let (artifact, workspace) = found.ok_or_else(missing)?;
    if !can_delete_relations(&requester) {
        return Err(refused(&requester, &format!("delete relations of artifact {} in", artifact.id), &workspace));
    }
    artifacts.delete_relation(relation.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn present(relation: &ArtifactRelation) -> Relation {
    Relation {
        id: relation.id,
        artifact: relation.artifact_id,
        target: relation.target_id,
        relation_type: *relation.r#type,
    }
}
