//! Taking the results that workers report.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, DerivePartialModel, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};
use serde_json::{Value, json};
use usine_model::event::EventKind;
use usine_model::output_data::OutputData;
use usine_model::token::TokenHash;
use usine_model::work_request::{Results, State, Statuses, TaskType};

use super::has_status;
use super::retry::retry_later;
use super::{AttemptOutcome, WorkRequestManager, load, merged_output};
use crate::batch::{Asked, Job, Waiting};
use crate::database::WriteTransaction;
use crate::entity::event::NewEvent;
use crate::entity::{attempt, token, work_request};
use crate::{Result, Text, bulk};

/// What came of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The result counts.
    Accepted,
    /// The very same attempt has reported before.
    Repeated,
    /// The attempt is over: aborted, lost, or handed to another.
    NotRunning,
    /// The work request does not exist, or the key is not one for it.
    NotFound,
}

impl WorkRequestManager<'_> {
    /// A worker reports a result, with the key of its attempt. After a temporary failure another work request takes its
    /// place, a bounded number of times; it rests first ([`WorkRequestManager::end_rest`]).
    pub async fn report(
        &self,
        id: i64,
        key_hash: &TokenHash,
        result: Results,
        output: OutputData,
        now: DateTime<Utc>,
    ) -> Result<ReportOutcome> {
        self.0.batched(Report { id, key_hash: key_hash.clone(), result, output, now }).await
    }
}

/// A worker reports a result.
pub(crate) struct Report {
    id: i64,
    key_hash: TokenHash,
    result: Results,
    output: OutputData,
    now: DateTime<Utc>,
}

/// A report that counts.
struct Accepted<'a> {
    job: &'a Report,
    attempt: i64,
    row: Held,
}

/// What has to be known of a work request whose result is reported.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "work_request::Entity")]
struct Held {
    id: i64,
    task_type: Text<TaskType>,
    status: Text<Statuses>,
    result: Text<Results>,
    worker_id: Option<i64>,
    output_data: Option<Value>,
}

impl Held {
    fn state(&self) -> State {
        State {
            id: self.id,
            task_type: *self.task_type,
            status: *self.status,
            result: *self.result,
            has_worker: self.worker_id.is_some(),
            superseded: false,
        }
    }
}

impl Job for Report {
    type Answer = ReportOutcome;

    fn queue(waiting: &mut Waiting) -> &mut Vec<Asked<Self>> {
        &mut waiting.reports
    }

    async fn perform(tx: &WriteTransaction, jobs: &[Asked<Self>]) -> Result<Vec<Result<ReportOutcome>>> {
        let rows = work_request::Entity::find()
            .filter(work_request::Column::Id.is_in(bulk::padded(jobs.iter().map(|asked| asked.job.id))))
            .order_by_asc(work_request::Column::Id)
            .lock_exclusive()
            .into_partial_model::<Held>()
            .all(tx.connection())
            .await?;
        // Under the locks, because an attempt ends with a change of its work request.
        let attempts = attempts(tx, jobs).await?;
        let mut rows: HashMap<i64, Held> = rows.into_iter().map(|row| (row.id, row)).collect();
        let mut reported = BTreeMap::new();
        let mut accepted = Vec::new();
        let mut answers = Vec::with_capacity(jobs.len());
        for Asked { job, .. } in jobs {
            let Some(attempt) = attempts.get(&(job.id, job.key_hash.0.as_str())) else {
                answers.push(Ok(ReportOutcome::NotFound));
                continue;
            };
            let answer = match &attempt.outcome {
                // Earlier in this batch.
                None if reported.get(&job.id) == Some(&attempt.id) => ReportOutcome::Repeated,
                None => match rows.remove(&job.id) {
                    Some(row) if *row.status == Statuses::Running => {
                        row.state().mark_completed(job.result)?;
                        reported.insert(job.id, attempt.id);
                        accepted.push(Accepted { job, attempt: attempt.id, row });
                        ReportOutcome::Accepted
                    }
                    _ => ReportOutcome::NotRunning,
                },
                Some(outcome) if *outcome == AttemptOutcome::Reported.to_string() => ReportOutcome::Repeated,
                Some(_) => ReportOutcome::NotRunning,
            };
            answers.push(Ok(answer));
        }
        complete(tx, accepted).await?;
        Ok(answers)
    }
}

/// The attempts that the keys are of, by work request and hash of the key. An old worker has the same key each time: its last
/// attempt counts.
async fn attempts<'a>(
    tx: &WriteTransaction,
    jobs: &'a [Asked<Report>],
) -> Result<HashMap<(i64, &'a str), attempt::Model>> {
    let found = attempt::Entity::find()
        .filter(attempt::Column::WorkRequestId.is_in(bulk::padded(jobs.iter().map(|asked| asked.job.id))))
        .order_by_asc(attempt::Column::Number)
        .all(tx.connection())
        .await?;
    let mut attempts = HashMap::new();
    for Asked { job, .. } in jobs {
        let theirs =
            |attempt: &&attempt::Model| attempt.work_request_id == job.id && attempt.token_hash == job.key_hash.0;
        if let Some(attempt) = found.iter().rfind(theirs) {
            attempts.insert((job.id, job.key_hash.0.as_str()), attempt.clone());
        }
    }
    Ok(attempts)
}

/// Writes the ends: those alike with one statement.
async fn complete(tx: &WriteTransaction, accepted: Vec<Accepted<'_>>) -> Result<()> {
    let Some(now) = accepted.iter().map(|accepted| accepted.job.now).max() else { return Ok(()) };
    let mut alike: Vec<(Text<Results>, Option<Value>, Vec<&Accepted<'_>>)> = Vec::new();
    for one in &accepted {
        let (result, output) =
            (Text(one.job.result), merged_output(one.row.id, one.row.output_data.as_ref(), one.job.output.clone())?);
        match alike.iter_mut().find(|(other, data, _)| *other == result && *data == output) {
            Some((_, _, ones)) => ones.push(one),
            None => alike.push((result, output, vec![one])),
        }
    }
    for (result, output, ones) in alike {
        let completed = work_request::ActiveModel {
            status: Set(Text(Statuses::Completed)),
            result: Set(result),
            completed_at: Set(Some(now)),
            output_data: Set(output),
            ..Default::default()
        };
        work_request::Entity::update_many()
            .set(completed)
            .filter(work_request::Column::Id.is_in(bulk::padded(ones.iter().map(|one| one.row.id))))
            .filter(has_status(Statuses::Running))
            .exec(tx.connection())
            .await?;
        let ended = attempt::ActiveModel {
            ended_at: Set(Some(now)),
            outcome: Set(Some(AttemptOutcome::Reported.to_string())),
            result: Set(result),
            ..Default::default()
        };
        attempt::Entity::update_many()
            .set(ended)
            .filter(attempt::Column::Id.is_in(bulk::padded(ones.iter().map(|one| one.attempt))))
            .exec(tx.connection())
            .await?;
    }
    let ids = bulk::padded(accepted.iter().map(|one| one.row.id));
    token::Entity::delete_many().filter(token::Column::WorkRequestId.is_in(ids)).exec(tx.connection()).await?;
    for Accepted { job, row, .. } in accepted {
        let event = NewEvent::of_work_request(EventKind::Completed, row.id, row.worker_id, now);
        tx.record(event.detail(json!({"result": job.result})));
        if job.result == Results::TemporaryFailure {
            retry_later(tx, load(tx, row.id).await?, now).await?;
        }
    }
    Ok(())
}
