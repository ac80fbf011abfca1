//! Submitting work requests, and the interning of what they require.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::LockType;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};
use usine_model::event::EventKind;
use usine_model::matching::RequirementSet;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::tags::Tags;
use usine_model::work_request::{Results, Statuses, TaskType};

use super::{WorkRequest, WorkRequestManager, change, load};
use crate::batch::{Asked, Job, Waiting};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{artifact, work_request};
use crate::interned::{self, LaneKey};
use crate::{Error, Result, Text, bulk};

/// Ids in one statement.
const BATCH: usize = 500;

/// Longest subject and summary, in characters.
const MAX_WORDS: usize = 255;

/// A work request to be made.
#[derive(Debug, Clone)]
pub struct NewWorkRequest {
    /// Where it belongs.
    pub workspace_id: i64,
    /// Who submits it.
    pub created_by_id: i64,
    /// Where it runs.
    pub task_type: TaskType,
    /// Name of the task, lower case.
    pub task_name: String,
    /// Data of the task: an object.
    pub task_data: Value,
    /// What it is about, for lists: mostly the name of a source package. Cut after 255 characters.
    pub subject: String,
    /// Its parameters in a few words, for lists. Cut as well.
    pub summary: String,
    /// What to do when something happens: an object.
    pub event_reactions: Value,
    /// Priority.
    pub priority_base: i32,
    /// Limits on the time of the run.
    pub deadlines: Deadlines,
    /// Limits on what it uses.
    pub limits: ResourceLimits,
    /// The artifacts that its data name: they must be there when it is made. From then on expiry keeps them until it ends.
    pub inputs: BTreeSet<i64>,
}

impl NewWorkRequest {
    /// A work request for a worker, without data, priority and limits.
    pub fn of_worker_task(workspace_id: i64, created_by_id: i64, task_name: &str) -> Self {
        Self {
            workspace_id,
            created_by_id,
            task_type: TaskType::Worker,
            task_name: task_name.to_owned(),
            task_data: json!({}),
            subject: String::new(),
            summary: String::new(),
            event_reactions: json!({}),
            priority_base: 0,
            deadlines: Deadlines::default(),
            limits: ResourceLimits::default(),
            inputs: BTreeSet::new(),
        }
    }
}

/// What the task says about who may run it.
#[derive(Debug, Clone, Default)]
pub struct SchedulerTags {
    /// Tags the worker must provide.
    pub required: Tags,
    /// Tags the work request provides.
    pub provided: Tags,
}

impl WorkRequestManager<'_> {
    /// Saves a new work request, blocked: something else will make it pending.
    pub async fn create_blocked(&self, new: &NewWorkRequest, now: DateTime<Utc>) -> Result<WorkRequest> {
        transact!(self.0, tx => { insert(&tx, new, None, now).await })
    }

    /// Saves a new work request that is ready to run. This is what submitting does.
    pub async fn create(&self, new: &NewWorkRequest, tags: &SchedulerTags, now: DateTime<Utc>) -> Result<WorkRequest> {
        self.0.batched(Create { new: new.clone(), tags: tags.clone(), now }).await
    }

    /// Makes a blocked work request ready to run.
    pub async fn mark_pending(&self, id: i64, tags: &SchedulerTags, now: DateTime<Utc>) -> Result<WorkRequest> {
        transact!(self.0, tx => {
            let row = load(&tx, id).await?;
            mark_pending(&tx, row, tags, false, now).await
        })
    }
}

/// What a replacement takes over from the one it replaces.
pub(super) struct Heritage<'a> {
    pub(super) of: &'a WorkRequest,
    pub(super) retry_count: i64,
    /// It rests until then.
    pub(super) delayed_until: Option<DateTime<Utc>>,
}

pub(super) async fn insert(
    tx: &WriteTransaction,
    new: &NewWorkRequest,
    heritage: Option<Heritage<'_>>,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    hold(tx, &new.inputs).await?;
    let mut row = row_of(new, heritage.as_ref(), now)?;
    insert_all(tx, std::slice::from_mut(&mut row)).await?;
    Ok(row)
}

/// The row as it is before it has an id: blocked.
fn row_of(new: &NewWorkRequest, heritage: Option<&Heritage<'_>>, now: DateTime<Utc>) -> Result<WorkRequest> {
    let name_length = new.task_name.chars().count();
    if !(1..=100).contains(&name_length) {
        return Err(Error::Invalid(format!("task_name: must have 1 to 100 characters, not {name_length}")));
    }
    if !new.task_data.is_object() {
        return Err(Error::Invalid("task_data: task data must be a dictionary".to_owned()));
    }
    let limit = |seconds: Option<u32>| {
        seconds
            .map(|seconds| match i32::try_from(seconds) {
                Ok(seconds) if seconds > 0 => Ok(seconds),
                _ => Err(Error::Invalid(format!("deadlines: {seconds} is not between 1 and {} seconds", i32::MAX))),
            })
            .transpose()
    };
    let bytes = |name: &str, limit: Option<u64>| {
        limit
            .map(|bytes| match i64::try_from(bytes) {
                Ok(bytes) if bytes > 0 => Ok(bytes),
                _ => Err(Error::Invalid(format!("limits: {name} {bytes} is not between 1 and {} bytes", i64::MAX))),
            })
            .transpose()
    };
    let workflow_data = match heritage {
        Some(heritage) => with_retry_count(&heritage.of.workflow_data, heritage.retry_count),
        None => json!({}),
    };
    let old = heritage.map(|heritage| heritage.of);
    Ok(WorkRequest {
        id: 0,
        workspace_id: new.workspace_id,
        created_at: now,
        created_by_id: new.created_by_id,
        pending_at: None,
        started_at: None,
        completed_at: None,
        completed_by_id: None,
        aborted_by_id: None,
        status: Text(Statuses::Blocked),
        result: Text(Results::None),
        worker_id: None,
        task_type: Text(new.task_type),
        task_name: new.task_name.clone(),
        subject: cut(&new.subject),
        summary: cut(&new.summary),
        task_data: new.task_data.clone(),
        dynamic_task_data: None,
        configured_task_data: None,
        version: 0,
        priority_base: new.priority_base,
        priority_adjustment: old.map_or(0, |old| old.priority_adjustment),
        output_data: None,
        unblock_strategy: "deps".to_owned(),
        parent_id: None,
        workflow_root_id: None,
        workflow_data,
        event_reactions: new.event_reactions.clone(),
        expiration_delay: old.and_then(|old| old.expiration_delay),
        supersedes_id: old.map(|old| old.id),
        scheduler_tags_provided: old.map_or(json!([]), |old| old.scheduler_tags_provided.clone()),
        scheduler_tags_required: old.map_or(json!([]), |old| old.scheduler_tags_required.clone()),
        requirement_set_id: None,
        lane_id: None,
        deadline_total: limit(new.deadlines.total)?,
        deadline_silence: limit(new.deadlines.silence)?,
        limit_memory: bytes("memory", new.limits.memory)?,
        limit_disk: bytes("disk", new.limits.disk)?,
        delayed_until: heritage.and_then(|heritage| heritage.delayed_until),
    })
}

/// Writes new rows with their events, and gives them their ids.
async fn insert_all(tx: &WriteTransaction, rows: &mut [WorkRequest]) -> Result<()> {
    let models = rows
        .iter()
        .cloned()
        .map(|row| work_request::ActiveModel { id: NotSet, ..work_request::ActiveModel::from(row).reset_all() });
    let ids = bulk::insert(tx.connection(), models.collect()).await?;
    for (row, id) in rows.iter_mut().zip(ids) {
        row.id = id;
        let created = NewEvent::of_work_request(EventKind::Created, id, None, row.created_at);
        tx.record(created.by(Some(row.created_by_id)));
    }
    Ok(())
}

/// Words of the task for lists. PostgreSQL's texts cannot hold NUL.
fn cut(words: &str) -> String {
    words.chars().filter(|char| *char != '\0').take(MAX_WORDS).collect()
}

/// Makes sure that these artifacts are there.
async fn hold(tx: &WriteTransaction, artifacts: &BTreeSet<i64>) -> Result<()> {
    all_there(artifacts, &held(tx, artifacts).await?)
}

fn all_there(artifacts: &BTreeSet<i64>, there: &BTreeSet<i64>) -> Result<()> {
    match artifacts.difference(there).next() {
        Some(id) => Err(Error::does_not_exist("Artifact", id)),
        None => Ok(()),
    }
}

/// Those of the artifacts that are there. They stay until the transaction ends: expiry, which may be about to delete them,
/// either has done so or will see the new work request.
async fn held(tx: &WriteTransaction, artifacts: &BTreeSet<i64>) -> Result<BTreeSet<i64>> {
    let mut there = BTreeSet::new();
    for batch in Vec::from_iter(artifacts.iter().copied()).chunks(BATCH) {
        let found: Vec<i64> = artifact::Entity::find()
            .select_only()
            .column(artifact::Column::Id)
            .filter(artifact::Column::Id.is_in(bulk::padded(batch.iter().copied())))
            .order_by_asc(artifact::Column::Id)
            .lock(LockType::KeyShare)
            .into_tuple()
            .all(tx.connection())
            .await?;
        there.extend(found);
    }
    Ok(there)
}

/// Workflow data with another count of retries; 0 is not written down.
pub(super) fn with_retry_count(workflow_data: &Value, retry_count: i64) -> Value {
    let mut keys: BTreeMap<String, Value> =
        workflow_data.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    keys.remove("retry_count");
    if retry_count > 0 {
        keys.insert("retry_count".to_owned(), json!(retry_count));
    }
    json!(keys)
}

pub(super) async fn mark_pending(
    tx: &WriteTransaction,
    row: WorkRequest,
    tags: &SchedulerTags,
    force: bool,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    let old = row.status;
    let row = made_pending(tx, row, tags, force, now).await?;
    let ready = work_request::ActiveModel {
        status: Set(row.status),
        pending_at: Set(row.pending_at),
        result: Set(row.result),
        completed_at: Set(row.completed_at),
        dynamic_task_data: Set(row.dynamic_task_data.clone()),
        configured_task_data: Set(row.configured_task_data.clone()),
        scheduler_tags_required: Set(row.scheduler_tags_required.clone()),
        scheduler_tags_provided: Set(row.scheduler_tags_provided.clone()),
        requirement_set_id: Set(row.requirement_set_id),
        lane_id: Set(row.lane_id),
        delayed_until: Set(row.delayed_until),
        ..Default::default()
    };
    let row = change(tx, &WorkRequest { status: old, ..row }, Statuses::Pending, ready).await?;
    tx.record(NewEvent::of_work_request(EventKind::Pending, row.id, None, now));
    Ok(row)
}

/// The row as it is when it is ready to run.
async fn made_pending(
    tx: &WriteTransaction,
    row: WorkRequest,
    tags: &SchedulerTags,
    force: bool,
    now: DateTime<Utc>,
) -> Result<WorkRequest> {
    row.state(false).mark_pending(force)?;
    let set = RequirementSet::new(&row.task_name, &tags.required, &tags.provided);
    let requirement_set_id = interned::requirement_set(tx, set).await?;
    let key = LaneKey { requirement_set_id, workspace_id: row.workspace_id, created_by_id: row.created_by_id };
    let lane = interned::lane(tx, key).await?;
    Ok(WorkRequest {
        status: Text(Statuses::Pending),
        pending_at: Some(now),
        result: Text(Results::None),
        completed_at: None,
        dynamic_task_data: None,
        configured_task_data: Some(row.task_data.clone()),
        scheduler_tags_required: json!(tags.required),
        scheduler_tags_provided: json!(tags.provided),
        requirement_set_id: Some(requirement_set_id),
        lane_id: Some(lane),
        delayed_until: None,
        ..row
    })
}

/// A work request is submitted.
pub(crate) struct Create {
    new: NewWorkRequest,
    tags: SchedulerTags,
    now: DateTime<Utc>,
}

impl Job for Create {
    type Answer = WorkRequest;

    fn queue(waiting: &mut Waiting) -> &mut Vec<Asked<Self>> {
        &mut waiting.creations
    }

    async fn perform(tx: &WriteTransaction, jobs: &[Asked<Self>]) -> Result<Vec<Result<WorkRequest>>> {
        let inputs = jobs.iter().flat_map(|asked| &asked.job.new.inputs).copied().collect();
        let there = held(tx, &inputs).await?;
        let mut rows = Vec::with_capacity(jobs.len());
        let mut answers = Vec::with_capacity(jobs.len());
        for Asked { job: Create { new, tags, now }, .. } in jobs {
            match all_there(&new.inputs, &there).and_then(|()| row_of(new, None, *now)) {
                Ok(row) => {
                    rows.push(made_pending(tx, row, tags, false, *now).await?);
                    answers.push(Ok(()));
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        insert_all(tx, &mut rows).await?;
        for row in &rows {
            tx.record(NewEvent::of_work_request(EventKind::Pending, row.id, None, row.created_at));
        }
        let mut rows = rows.into_iter();
        Ok(answers.into_iter().filter_map(|answer| answer.map(|()| rows.next()).transpose()).collect())
    }
}
