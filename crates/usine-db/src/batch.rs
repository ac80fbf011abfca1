//! Changes that come many at a time are written together: one transaction, few statements, one wait for the disk.
//!
//! Whoever submits, assigns, fetches or reports puts a job into the queue and waits for its answer. A task takes what waits,
//! does it in one transaction, and goes on until nothing waits; SQLite has one such task, PostgreSQL two. While the disk is
//! written to, the next batch grows: alone, a job waits for nobody; under load, hundreds share a commit. An answer comes after
//! the commit.
//!
//! What fails for one job (it names what does not exist) is its own answer. When the transaction fails, its jobs are done
//! one by one, each in its own: nobody pays for another's fault.

use std::sync::PoisonError;

use tokio::sync::oneshot;

use crate::database::{WriteTransaction, transact};
use crate::work_request::{Assign, Create, HandOut, Report};
use crate::{Database, Error, Result};

/// Most jobs of a kind in one transaction.
const MOST: usize = 64;

/// A change that may share a transaction with others of its kind.
pub(crate) trait Job: Sized + Send + Sync + 'static {
    /// What comes of it.
    type Answer: Send + 'static;

    /// Its queue.
    fn queue(waiting: &mut Waiting) -> &mut Vec<Asked<Self>>;

    /// Does all of them, and answers each, in their order.
    fn perform(
        transaction: &WriteTransaction,
        jobs: &[Asked<Self>],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer>>>> + Send;
}

/// A job, and who waits for its answer.
pub(crate) struct Asked<J: Job> {
    /// What is to be done.
    pub(crate) job: J,
    answer: oneshot::Sender<Result<J::Answer>>,
}

/// What waits to be done.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(crate) reports: Vec<Asked<Report>>,
    pub(crate) hand_outs: Vec<Asked<HandOut>>,
    pub(crate) creations: Vec<Asked<Create>>,
    pub(crate) assignments: Vec<Asked<Assign>>,
    /// How many tasks are at it.
    busy: usize,
}

impl Database {
    /// Does a job together with whatever else waits.
    pub(crate) async fn batched<J: Job>(&self, job: J) -> Result<J::Answer> {
        let (answer, answered) = oneshot::channel();
        let begin = {
            let mut waiting = self.waiting().lock().unwrap_or_else(PoisonError::into_inner);
            J::queue(&mut waiting).push(Asked { job, answer });
            let begin = waiting.busy < self.batches_at_once();
            waiting.busy += usize::from(begin);
            begin
        };
        if begin {
            // Not in the caller's own task: a client that hangs up must not take others' jobs with it.
            let work = work_off(Turn(self.clone()));
            match self.own_thread() {
                Some(thread) => thread.spawn(work),
                None => tokio::spawn(work),
            };
        }
        answered.await.unwrap_or(Err(Error::Interrupted))
    }
}

/// The right to take from the queue. When it is lost in a panic, whoever waits hears of it, and the next one begins anew.
struct Turn(Database);

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.waiting().lock().unwrap_or_else(PoisonError::into_inner) = Waiting::default();
        }
    }
}

async fn work_off(turn: Turn) {
    while let Some(batch) = next(&turn.0) {
        let done = transact!(turn.0, begin_batch, tx => { perform(&tx, &batch).await });
        match done {
            Ok(answers) => batch.answer(answers),
            // They may have been done: once more would be twice. Whoever waits hears that it is not known.
            Err(Error::Interrupted) => drop(batch),
            Err(error) => batch.one_by_one(&turn.0, error).await,
        }
    }
}

/// Takes what waits; when that is nothing, the turn is over.
fn next(database: &Database) -> Option<Batch> {
    let mut waiting = database.waiting().lock().unwrap_or_else(PoisonError::into_inner);
    let batch = Batch {
        reports: take(&mut waiting.reports),
        hand_outs: take(&mut waiting.hand_outs),
        creations: take(&mut waiting.creations),
        assignments: take(&mut waiting.assignments),
    };
    if batch.len() == 0 {
        // None is left after a panic of another one.
        waiting.busy = waiting.busy.saturating_sub(1);
        return None;
    }
    Some(batch)
}

fn take<J: Job>(queue: &mut Vec<Asked<J>>) -> Vec<Asked<J>> {
    let rest = queue.split_off(queue.len().min(MOST));
    std::mem::replace(queue, rest)
}

/// What is done in one transaction.
struct Batch {
    reports: Vec<Asked<Report>>,
    hand_outs: Vec<Asked<HandOut>>,
    creations: Vec<Asked<Create>>,
    assignments: Vec<Asked<Assign>>,
}

type Answers<J> = Vec<Result<<J as Job>::Answer>>;

/// Reports come first: they make room for the rest.
async fn perform(
    tx: &WriteTransaction,
    batch: &Batch,
) -> Result<(Answers<Report>, Answers<HandOut>, Answers<Create>, Answers<Assign>)> {
    Ok((
        perform_all(tx, &batch.reports).await?,
        perform_all(tx, &batch.hand_outs).await?,
        perform_all(tx, &batch.creations).await?,
        perform_all(tx, &batch.assignments).await?,
    ))
}

async fn perform_all<J: Job>(tx: &WriteTransaction, jobs: &[Asked<J>]) -> Result<Answers<J>> {
    if jobs.is_empty() { Ok(Vec::new()) } else { J::perform(tx, jobs).await }
}

impl Batch {
    fn len(&self) -> usize {
        self.reports.len() + self.hand_outs.len() + self.creations.len() + self.assignments.len()
    }

    fn answer(
        self,
        (reports, hand_outs, creations, assignments): (
            Answers<Report>,
            Answers<HandOut>,
            Answers<Create>,
            Answers<Assign>,
        ),
    ) {
        answer(self.reports, reports);
        answer(self.hand_outs, hand_outs);
        answer(self.creations, creations);
        answer(self.assignments, assignments);
    }

    /// After a failure of the whole: each job in its own transaction.
    async fn one_by_one(self, database: &Database, error: Error) {
        tracing::debug!(%error, jobs = self.len(), "what was to be written together is written one by one");
        alone(database, self.reports).await;
        alone(database, self.hand_outs).await;
        alone(database, self.creations).await;
        alone(database, self.assignments).await;
    }
}

fn answer<J: Job>(jobs: Vec<Asked<J>>, answers: Answers<J>) {
    for (asked, answer) in std::iter::zip(jobs, answers) {
        // Nobody waits any more: the job is done all the same, as if the answer had been lost on its way.
        let _ = asked.answer.send(answer);
    }
}

async fn alone<J: Job>(database: &Database, jobs: Vec<Asked<J>>) {
    for asked in jobs {
        let asked = [asked];
        let done = transact!(database, begin_batch, tx => { J::perform(&tx, &asked).await });
        let [asked] = asked;
        // One job has one answer.
        let done = done.and_then(|answers| answers.into_iter().next().unwrap_or(Err(Error::Interrupted)));
        let _ = asked.answer.send(done);
    }
}
