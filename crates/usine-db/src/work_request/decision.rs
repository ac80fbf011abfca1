//! What people decide about work requests: approval of what waits for it, answers to tasks `confirm`.

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};
use usine_model::output_data::{Confirmation, OutputData};
use usine_model::work_request::{Results, Statuses, TaskType};

use super::create::{SchedulerTags, mark_pending};
use super::has_status;
use super::{WorkRequest, WorkRequestManager, change, load, mark_aborted, mark_completed, mark_running};
use crate::database::{WriteTransaction, transact};
use crate::entity::work_request;
use crate::{Database, Error, Result, Text};

/// What a person says of a work request that waits for approval.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Who says it.
    pub user_id: i64,
    /// What else there is to say.
    pub notes: &'a str,
    /// Whether it may run; nothing is decided yet if `None`.
    pub accept: Option<bool>,
}

/// Why nothing is decided about a work request.
#[derive(Debug, thiserror::Error)]
pub enum UnblockError {
    /// A rule forbids it.
    #[error("{0}")]
    NotAllowed(String),
    /// Anything else.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// A rule forbids it.
    #[error("{0}")]
    NotAllowed(String),
    /// Anything else.
    #[error(transparent)]
    Database(#[from] Error),
}

impl WorkRequest {
    /// Whether a person may decide about it now; [`WorkRequest::unblock`] looks again.
    pub async fn check_unblock(&self, database: &Database) -> Result<(), UnblockError> {
        let parent = match self.parent_id {
            None => None,
            Some(id) => WorkRequestManager(database).get_or_none(id).await?,
        };
        check_unblock(self, parent.as_ref()).map_err(UnblockError::NotAllowed)
    }

    /// Notes what a person says; accepted, it becomes pending with these tags, rejected, it is aborted.
    pub async fn unblock(
        &mut self,
        database: &Database,
        decision: &Decision<'_>,
        tags: Option<&SchedulerTags>,
        now: DateTime<Utc>,
    ) -> Result<(), UnblockError> {
        let outcome = async {
            transact!(database, tx => {
                let row = load(&tx, self.id).await?;
                let parent = match row.parent_id {
                    None => None,
                    Some(id) => work_request::Entity::find_by_id(id).one(tx.connection()).await?,
                };
                if let Err(reason) = check_unblock(&row, parent.as_ref()) {
                    return Ok(Err(reason));
                }
                let logged = work_request::ActiveModel {
                    workflow_data: Set(with_decision(&row.workflow_data, decision, now)),
                    ..Default::default()
                };
                let row = change(&tx, &row, Statuses::Blocked, logged).await?;
                Ok(Ok(match decision.accept {
                    None => row,
                    Some(true) => mark_pending(&tx, row, tags.unwrap_or(&SchedulerTags::default()), false, now).await?,
                    Some(false) => {
                        mark_aborted(&tx, row, OutputData::default(), Some(decision.user_id), now).await?
                    }
                }))
            })
        };
        *self = outcome.await?.map_err(UnblockError::NotAllowed)?;
        Ok(())
    }

    /// A person answers what a task `confirm` asks. An answer in the negative fails it, aborts it, or aborts the whole workflow, as
    /// its `deny_action` says.
    pub async fn confirm(
        &mut self,
        database: &Database,
        confirmed: bool,
        comment: Option<String>,
        user_id: i64,
        now: DateTime<Utc>,
    ) -> Result<(), ConfirmError> {
        let outcome = async {
            transact!(database, tx => {
                let row = load(&tx, self.id).await?;
                if *row.task_type != TaskType::Wait || row.task_name != "confirm" {
                    let reason =
                        format!("Expected work request to be Wait/Confirm; got {}/{}", *row.task_type, row.task_name);
                    return Ok(Err(reason));
                }
                if *row.status != Statuses::Running {
                    return Ok(Err(format!("Work request is not running. Status: {}", *row.status)));
                }
                let answer = Confirmation { confirmed, comment: comment.clone() };
                let output = OutputData { confirmation: Some(answer), ..OutputData::default() };
                let deny_action = row.used_task_data()["deny_action"].as_str().unwrap_or("abort-workflow").to_owned();
                let row = match (confirmed, deny_action.as_str()) {
                    (true, _) => completed_by(&tx, row, Results::Success, output, user_id, now).await?,
                    (false, "fail") => completed_by(&tx, row, Results::Failure, output, user_id, now).await?,
                    (false, "abort") => mark_aborted(&tx, row, output, Some(user_id), now).await?,
                    (false, _) => {
                        let root = row.workflow_root_id;
                        let row = mark_aborted(&tx, row, output, Some(user_id), now).await?;
                        if let Some(root) = root {
                            abort_workflow(&tx, root, user_id, now).await?;
                        }
                        row
                    }
                };
                Ok(Ok(row))
            })
        };
        *self = outcome.await?.map_err(ConfirmError::NotAllowed)?;
        Ok(())
    }
}

impl WorkRequestManager<'_> {
    /// Begins every wait task that is ready: it needs no worker. How many.
    pub async fn start_waits(&self, now: DateTime<Utc>) -> Result<usize> {
        let ready = work_request::Entity::find()
            .filter(has_status(Statuses::Pending))
            // In the words of the partial index, which only then is used.
            .filter(Expr::cust(format!(r#""work_request"."task_type" = '{}'"#, TaskType::Wait)))
            .order_by_asc(work_request::Column::Id)
            .all(self.0.reader())
            .await?;
        for row in &ready {
            transact!(self.0, tx => {
                let row = load(&tx, row.id).await?;
                if *row.status == Statuses::Pending {
                    mark_running(&tx, row, now).await?;
                }
                Ok(())
            })?;
        }
        Ok(ready.len())
    }
}

fn check_unblock(row: &WorkRequest, parent: Option<&WorkRequest>) -> Result<(), String> {
    let id = row.id;
    if row.unblock_strategy != "manual" {
        return Err(format!("Work request {id} cannot be manually unblocked"));
    }
    let Some(parent) = parent else { return Err(format!("Work request {id} is not part of a workflow")) };
    if *row.status != Statuses::Blocked || *parent.status != Statuses::Running {
        return Err(format!("Work request {id} cannot be unblocked"));
    }
    Ok(())
}

/// The workflow data with one more entry in the log of decisions.
fn with_decision(workflow_data: &Value, decision: &Decision<'_>, now: DateTime<Utc>) -> Value {
    let mut data = workflow_data.clone();
    let action = decision.accept.map(|accept| if accept { "accept" } else { "reject" });
    let entry = json!({
        "user_id": decision.user_id,
        "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
        "notes": decision.notes,
        "action": action,
    });
    let mut log = data["manual_unblock"]["log"].as_array().cloned().unwrap_or_default();
    log.push(entry);
    data["manual_unblock"] = json!({"log": log});
    data
}

async fn completed_by(
    tx: &WriteTransaction,
    row: WorkRequest,
    result: Results,
    output: OutputData,
    user_id: i64,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    let row = mark_completed(tx, row, result, output, now).await?;
    let by = work_request::ActiveModel { completed_by_id: Set(Some(user_id)), ..Default::default() };
    change(tx, &row, Statuses::Completed, by).await
}

/// Gives up everything in a workflow that has not ended, the workflow itself, too.
async fn abort_workflow(tx: &WriteTransaction, root: i64, user_id: i64, now: DateTime<Utc>) -> Result<()> {
    let open = [Statuses::Blocked, Statuses::Pending, Statuses::Running].map(Text);
    let rows = work_request::Entity::find()
        .filter(work_request::Column::WorkflowRootId.eq(root))
        .filter(work_request::Column::Status.is_in(open))
        .order_by_asc(work_request::Column::Id)
        .lock_exclusive()
        .all(tx.connection())
        .await?;
    for row in rows {
        mark_aborted(tx, row, OutputData::default(), Some(user_id), now).await?;
    }
    Ok(())
}
