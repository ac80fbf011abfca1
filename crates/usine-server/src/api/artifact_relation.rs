//! `artifact-relation/`: how artifacts relate.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use usine_db::ArtifactManager;
use usine_db::artifact::ArtifactRelation;
use usine_protocol::artifact::{CreateRelation, Relation};

use usine_model::permission::{ARTIFACT_CAN_ADD_RELATION, ARTIFACT_CAN_DELETE_RELATION};

use crate::auth::Requester;
use crate::permissions::visible_artifact;
use crate::problem::{ApiError, ApiResult, Payload, parse_body};
use crate::routes::{Access, Routes};
use crate::state::AppState;

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .get("/api/1.0/artifact-relation/", Access::Everybody, list)
        .post("/api/1.0/artifact-relation/", Access::UserOrWorkRequest, create)
        .delete("/api/1.0/artifact-relation/{id}/", Access::User, remove)
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
    let found = visible_artifact(&state, &requester, id).await?;
    let (artifact, _) = found.ok_or_else(|| ApiError::not_found(format!("Artifact {id} not found")))?;
    let artifacts = ArtifactManager(&state.database);
    let (relations, other_end): (_, fn(&ArtifactRelation) -> i64) = if from {
        (artifacts.relations_from(artifact.id).await?, |relation| relation.target_id)
    } else {
        (artifacts.relations_to(artifact.id).await?, |relation| relation.artifact_id)
    };
    let others: Vec<i64> = relations.iter().map(other_end).collect();
    let seen = artifacts.displayable_among(&requester.context, &others).await?;
    let shown = relations.iter().filter(|relation| seen.contains(&other_end(relation))).map(present);
    Ok(Json(shown.collect()))
}

/// Relates two artifacts; the same again finds what is there.
async fn create(
    State(state): State<AppState>,
    requester: Requester,
    Payload(body): Payload,
) -> ApiResult<(StatusCode, Json<Relation>)> {
    let body: CreateRelation = parse_body(&body, "artifact relation")?;
    let end = async |field: &str, id: i64| {
        let found = visible_artifact(&state, &requester, &id.to_string()).await?;
        found.ok_or_else(|| {
            ApiError::bad_request("Cannot deserialize artifact relation")
                .field(field, format!("Invalid pk \"{id}\" - object does not exist."))
        })
    };
    let (artifact, place) = end("artifact", body.artifact).await?;
    end("target", body.target).await?;
    let name = format!("artifact {} of {}", artifact.id, place.name());
    requester.check(&ARTIFACT_CAN_ADD_RELATION, &place.artifact(&artifact), &name)?;
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
    let missing = || ApiError::not_found("No ArtifactRelation matches the given query.");
    let artifacts = ArtifactManager(&state.database);
    let relation = match id.parse() {
        Ok(id) => artifacts.relation(id).await?.ok_or_else(missing)?,
        Err(_) => return Err(missing()),
    };
    let found = visible_artifact(&state, &requester, &relation.artifact_id.to_string()).await?;
    let (artifact, place) = found.ok_or_else(missing)?;
    let name = format!("artifact {} of {}", artifact.id, place.name());
    requester.check(&ARTIFACT_CAN_DELETE_RELATION, &place.artifact(&artifact), &name)?;
    // A relation to what the requester may not see is not there for them.
    visible_artifact(&state, &requester, &relation.target_id.to_string()).await?.ok_or_else(missing)?;
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
