//! The calls, one method each.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;
use usine_model::artifact::ArtifactCategory;
use usine_model::work_request::{Statuses, TaskType};
use usine_protocol::artifact::{Artifact, CreateArtifact, CreateRelation, Relation};
use usine_protocol::own::{CreateLimitedWorkRequest, WorkRequestDetails};
use usine_protocol::page::CursorPage;
use usine_protocol::status::{ServiceStatus, Whoami};
use usine_protocol::work_request::{
    Completed, ConfirmWorkRequest, CreateWorkRequest, UnblockWorkRequest, UpdateWorkRequest, WorkRequest,
};
use usine_protocol::worker::Register;
use usine_protocol::workspace::InheritanceChain;

use crate::client::{Repeat, json as read_json};
use crate::{Client, Error};

/// The answer to a worker that asks for work.
#[derive(Debug)]
pub enum NextWork {
    /// Run this.
    Run(Box<WorkRequest>),
    /// There is nothing to do.
    Nothing,
    /// The server is busy: ask again after this time, or when it suits.
    Retry(Option<Duration>),
}

/// Which work requests to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkRequestFilter {
    /// Of this type.
    pub task_type: Option<TaskType>,
    /// Not part of a workflow.
    pub root_only: bool,
    /// Only these.
    pub ids: Vec<i64>,
    /// In this status.
    pub status: Option<Statuses>,
}

/// Which artifacts to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// Of this category.
    pub category: Option<ArtifactCategory>,
    /// In this workspace.
    pub workspace: Option<String>,
    /// Made by this work request.
    pub work_request: Option<i64>,
}

/// A list, whole or in pages.
#[derive(Deserialize)]
#[serde(untagged)]
enum List<T> {
    Whole(Vec<T>),
    Page(CursorPage<T>),
}

/// Who we are, tasks and workers.
impl Client {
    /// Who the server takes us for.
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.get(&self.url(&["whoami"])).await
    }

    /// The state of the service in numbers.
    pub async fn service_status(&self) -> Result<ServiceStatus, Error> {
        self.get(&self.url(&["service-status"])).await
    }

    /// Makes a worker known. With an activation token as this client's token it is enabled at once.
    pub async fn register(&self, worker: &Register) -> Result<(), Error> {
        self.call(Method::POST, &self.url(&["worker", "register"]), Repeat::OnlyUnseen, &[201], worker).await?;
        Ok(())
    }

    /// Reports what the worker can do.
    pub async fn put_dynamic_metadata(&self, metadata: &Map<String, Value>) -> Result<(), Error> {
        self.call(Method::PUT, &self.url(&["worker", "dynamic-metadata"]), Repeat::Safe, &[204], metadata).await?;
        Ok(())
    }

    /// Asks for work. Safe to repeat: the server hands out the same work request again.
    pub async fn get_next(&self) -> Result<NextWork, Error> {
        let url = self.url(&["work-request", "get-next-for-worker"]);
        match self.call(Method::POST, &url, Repeat::OnlyUnseen, &[200, 204], &json!({})).await {
            Ok(response) if response.status() == 204 => Ok(NextWork::Nothing),
            Ok(response) => Ok(NextWork::Run(Box::new(read_json(&url, response).await?))),
            Err(
                Error::Problem { status: 423, retry_after, .. }
                | Error::UnexpectedStatus { status: 423, retry_after, .. },
            ) => Ok(NextWork::Retry(retry_after)),
            Err(error) => Err(error),
        }
    }

    /// Reports the end of a work request; needs its own token.
    pub async fn complete(&self, work_request: i64, completed: &Completed) -> Result<(), Error> {
        let url = self.url(&["work-request", &work_request.to_string(), "completed"]);
        self.call(Method::PUT, &url, Repeat::Safe, &[200], completed).await?;
        Ok(())
    }
}

/// Work requests.
impl Client {
    /// One work request.
    pub async fn work_request(&self, id: i64) -> Result<WorkRequest, Error> {
        self.get(&self.url(&["work-request", &id.to_string()])).await
    }

    /// The newest work requests, at most `limit`.
    pub async fn work_requests(&self, filter: &WorkRequestFilter, limit: usize) -> Result<Vec<WorkRequest>, Error> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(filter.task_type.map(|task_type| ("task_type", task_type.to_string())));
        if filter.root_only {
            query.push(("root_only", "true".to_owned()));
        }
        if !filter.ids.is_empty() {
            query.push(("ids", filter.ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")));
        }
        query.extend(filter.status.map(|status| ("status", status.to_string())));
        self.list(with_query(self.url(&["work-request"]), &query), limit).await
    }

    /// Submits a work request.
    pub async fn create_work_request(&self, new: &CreateWorkRequest) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.url(&["work-request"]), &[200, 201], new).await
    }

    /// Submits a work request with limits on its run (usine's own API).
    pub async fn create_limited_work_request(&self, new: &CreateLimitedWorkRequest) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.own_url(&["work-request"]), &[200, 201], new).await
    }

    /// What the 1.0 API does not tell (usine's own API).
    pub async fn work_request_details(&self, id: i64) -> Result<WorkRequestDetails, Error> {
        self.get(&self.own_url(&["work-request", &id.to_string(), "details"])).await
    }

    /// Changes the priority.
    pub async fn update_work_request(&self, id: i64, update: &UpdateWorkRequest) -> Result<WorkRequest, Error> {
        self.call_json(Method::PATCH, &self.url(&["work-request", &id.to_string()]), &[200], update).await
    }

    /// Tries again; the answer is the new work request, or the same one for workflows.
    pub async fn retry_work_request(&self, id: i64) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.url(&["work-request", &id.to_string(), "retry"]), &[200], &json!({})).await
    }

    /// Gives up.
    pub async fn abort_work_request(&self, id: i64) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.url(&["work-request", &id.to_string(), "abort"]), &[200], &json!({})).await
    }
}

/// What people decide.
impl Client {
    /// Approves or rejects a work request that waits for a person, or notes something about it.
    pub async fn unblock_work_request(&self, id: i64, unblock: &UnblockWorkRequest) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.url(&["work-request", &id.to_string(), "unblock"]), &[200], unblock).await
    }

    /// Confirms or denies what a task `confirm` asks.
    pub async fn confirm_work_request(&self, id: i64, confirm: &ConfirmWorkRequest) -> Result<WorkRequest, Error> {
        self.call_json(Method::POST, &self.url(&["work-request", &id.to_string(), "confirm"]), &[200], confirm).await
    }
}

/// Workspaces.
impl Client {
    /// Where a workspace looks further.
    pub async fn inheritance(&self, workspace: &str) -> Result<InheritanceChain, Error> {
        self.get(&self.url(&["workspace", workspace, "inheritance"])).await
    }

    /// Replaces the whole chain.
    pub async fn set_inheritance(&self, workspace: &str, chain: &InheritanceChain) -> Result<InheritanceChain, Error> {
        self.call_json(Method::POST, &self.url(&["workspace", workspace, "inheritance"]), &[200], chain).await
    }
}

/// Artifacts and relations. Files: [`Client::upload_file`], [`Client::download_file`].
impl Client {
    /// One artifact of the scope.
    pub async fn artifact(&self, id: i64) -> Result<Artifact, Error> {
        self.get(&self.url(&["artifact", &id.to_string()])).await
    }

    /// One artifact as seen from a workspace: its own and those it inherits.
    pub async fn artifact_in(&self, workspace: &str, id: i64) -> Result<Artifact, Error> {
        self.get(&self.url(&["artifact", workspace, &id.to_string()])).await
    }

    /// The newest artifacts, at most `limit` (usine's own API).
    pub async fn artifacts(&self, filter: &ArtifactFilter, limit: usize) -> Result<Vec<Artifact>, Error> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(filter.category.map(|category| ("category", category.to_string())));
        query.extend(filter.workspace.clone().map(|workspace| ("workspace", workspace)));
        query.extend(filter.work_request.map(|id| ("work_request", id.to_string())));
        self.list(with_query(self.own_url(&["artifact"]), &query), limit).await
    }

    /// Announces an artifact; its files in `files_to_upload` must follow.
    pub async fn create_artifact(&self, new: &CreateArtifact) -> Result<Artifact, Error> {
        self.call_json(Method::POST, &self.url(&["artifact"]), &[201], new).await
    }

    /// Relations from an artifact.
    pub async fn relations_from(&self, artifact: i64) -> Result<Vec<Relation>, Error> {
        let url = self.url(&["artifact-relation"]);
        self.get(&with_query(url, &[("artifact", artifact.to_string())])).await
    }

    /// Relations to an artifact.
    pub async fn relations_to(&self, artifact: i64) -> Result<Vec<Relation>, Error> {
        let url = self.url(&["artifact-relation"]);
        self.get(&with_query(url, &[("target_artifact", artifact.to_string())])).await
    }

    /// Relates two complete artifacts; a relation that exists already is answered as it is.
    pub async fn create_relation(&self, relation: &CreateRelation) -> Result<Relation, Error> {
        let url = self.url(&["artifact-relation"]);
        let response = self.call(Method::POST, &url, Repeat::Safe, &[200, 201], relation).await?;
        read_json(&url, response).await
    }

    /// Walks a list by its `next` addresses until there are `limit` rows or no more.
    async fn list<T: serde::de::DeserializeOwned>(&self, first: Url, limit: usize) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        let mut url = first;
        while rows.len() < limit {
            let page = match self.get(&url).await? {
                List::Whole(results) => CursorPage { next: None, previous: None, results },
                List::Page(page) => page,
            };
            let was_empty = page.results.is_empty();
            rows.extend(page.results);
            match page.next {
                Some(next) if !was_empty => {
                    url = Url::parse(&next)
                        .map_err(|error| Error::invalid_body(url.as_str(), format!("next: {next:?}: {error}")))?;
                }
                _ => break,
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }
}

fn with_query(mut url: Url, query: &[(&str, String)]) -> Url {
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}
