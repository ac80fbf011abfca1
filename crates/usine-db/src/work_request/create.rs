//! Submitting work requests, and the interning of what they require.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{LockType, OnConflict};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use usine_model::event::EventKind;
use usine_model::matching::RequirementSet;
use usine_model::policy::{Deadlines, ResourceLimits};
use usine_model::tags::Tags;
use usine_model::work_request::{Results, Statuses, TaskType};

use super::{WorkRequest, WorkRequestManager, change, load};
use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{artifact, requirement_set, work_request};
use crate::{Error, Result, Text};

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
        transact!(self.0, tx => {
            let row = insert(&tx, new, None, now).await?;
            mark_pending(&tx, row, tags, false, now).await
        })
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
    let workflow_data = match &heritage {
        Some(heritage) => with_retry_count(&heritage.of.workflow_data, heritage.retry_count),
        None => json!({}),
    };
    let row = work_request::ActiveModel {
        id: NotSet,
        workspace_id: Set(new.workspace_id),
        created_at: Set(now),
        created_by_id: Set(new.created_by_id),
        status: Set(Text(Statuses::Blocked)),
        result: Set(Text(Results::None)),
        task_type: Set(Text(new.task_type)),
        task_name: Set(new.task_name.clone()),
        subject: Set(cut(&new.subject)),
        summary: Set(cut(&new.summary)),
        task_data: Set(new.task_data.clone()),
        priority_base: Set(new.priority_base),
        priority_adjustment: Set(heritage.as_ref().map_or(0, |heritage| heritage.of.priority_adjustment)),
        unblock_strategy: Set("deps".to_owned()),
        workflow_data: Set(workflow_data),
        event_reactions: Set(new.event_reactions.clone()),
        expiration_delay: Set(heritage.as_ref().and_then(|heritage| heritage.of.expiration_delay)),
        supersedes_id: Set(heritage.as_ref().map(|heritage| heritage.of.id)),
        scheduler_tags_provided: Set(heritage.as_ref().map_or(json!([]), |old| old.of.scheduler_tags_provided.clone())),
        scheduler_tags_required: Set(heritage.as_ref().map_or(json!([]), |old| old.of.scheduler_tags_required.clone())),
        deadline_total: Set(limit(new.deadlines.total)?),
        deadline_silence: Set(limit(new.deadlines.silence)?),
        limit_memory: Set(bytes("memory", new.limits.memory)?),
        limit_disk: Set(bytes("disk", new.limits.disk)?),
        delayed_until: Set(heritage.as_ref().and_then(|heritage| heritage.delayed_until)),
        ..Default::default()
    };
    hold(tx, &new.inputs).await?;
    let row = row.insert(tx.connection()).await?;
    let created = NewEvent::of_work_request(EventKind::Created, row.id, None, now).by(Some(new.created_by_id));
    tx.record(created).await?;
    Ok(row)
}

/// Words of the task for lists. PostgreSQL's texts cannot hold NUL.
fn cut(words: &str) -> String {
    words.chars().filter(|char| *char != '\0').take(MAX_WORDS).collect()
}

/// Makes sure that these artifacts are there, and stay until the transaction ends: expiry, which may be about to delete
/// them, either has done so or will see the new work request.
async fn hold(tx: &WriteTransaction, artifacts: &BTreeSet<i64>) -> Result<()> {
    let mut missing = artifacts.clone();
    for batch in Vec::from_iter(artifacts.iter().copied()).chunks(BATCH) {
        let there: Vec<i64> = artifact::Entity::find()
            .select_only()
            .column(artifact::Column::Id)
            .filter(artifact::Column::Id.is_in(batch.iter().copied()))
            .order_by_asc(artifact::Column::Id)
            .lock(LockType::KeyShare)
            .into_tuple()
            .all(tx.connection())
            .await?;
        for id in there {
            missing.remove(&id);
        }
    }
    match missing.first() {
        Some(id) => Err(Error::does_not_exist("Artifact", id)),
        None => Ok(()),
    }
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
    row.state(false).mark_pending(force)?;
    let set = intern(tx, &RequirementSet::new(&row.task_name, &tags.required, &tags.provided)).await?;
    let ready = work_request::ActiveModel {
        status: Set(Text(Statuses::Pending)),
        pending_at: Set(Some(now)),
        result: Set(Text(Results::None)),
        completed_at: Set(None),
        dynamic_task_data: Set(None),
        configured_task_data: Set(Some(row.task_data.clone())),
        scheduler_tags_required: Set(json!(tags.required)),
        scheduler_tags_provided: Set(json!(tags.provided)),
        requirement_set_id: Set(Some(set)),
        delayed_until: Set(None),
        ..Default::default()
    };
    let row = change(tx, &row, Statuses::Pending, ready).await?;
    tx.record(NewEvent::of_work_request(EventKind::Pending, row.id, None, now)).await?;
    Ok(row)
}

/// The id of a requirement set, which is written if it is new.
async fn intern(tx: &WriteTransaction, set: &RequirementSet) -> Result<i64> {
    let definition = json!(set);
    let digest = hex::encode(Sha256::digest(definition.to_string().as_bytes()));
    let known = || requirement_set::Entity::find().filter(requirement_set::Column::Digest.eq(digest.clone()));
    if let Some(row) = known().one(tx.connection()).await? {
        return Ok(row.id);
    }
    let row = requirement_set::ActiveModel { id: NotSet, digest: Set(digest.clone()), definition: Set(definition) };
    requirement_set::Entity::insert(row)
        .on_conflict(OnConflict::column(requirement_set::Column::Digest).do_nothing().to_owned())
        .exec_without_returning(tx.connection())
        .await?;
    let row = known().one(tx.connection()).await?;
    row.map(|row| row.id).ok_or_else(|| Error::does_not_exist("RequirementSet", &digest))
}
