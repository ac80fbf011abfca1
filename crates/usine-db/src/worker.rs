//! `Worker` and `WorkerManager`: who can be given work.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, NotSet, QueryFilter, QueryOrder, QuerySelect, Select, Set,
    TransactionTrait,
};
use serde_json::Value;
use usine_model::entropy::Entropy;
use usine_model::event::EventKind;
use usine_model::matching::Profile;
use usine_model::names::worker_name_candidates;
use usine_model::policy::METADATA_LIFE;
use usine_model::token::{TokenKey, TokenType, hash_of};
use usine_model::work_request::Statuses;
use usine_model::worker::{self as rules, Metadata, TaskFilter, WorkerType};

use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{token, work_request, worker};
use crate::neighbour::Place;
use crate::server::{connect, disconnect};
use crate::token::{NewToken, Token, TokenSpec, activation_spec, insert as insert_token, set_enabled};
use crate::work_request::{de_assign_all, has_status};
use crate::{Database, Error, Result, Text, bulk};

pub use worker::Model as Worker;

/// Makes and finds workers.
#[derive(Clone, Copy)]
pub struct WorkerManager<'a>(pub &'a Database);

impl WorkerManager<'_> {
    /// A new worker named after its host, with a token.
    pub async fn create_with_fqdn(
        &self,
        fqdn: &str,
        token: &Token,
        worker_type: WorkerType,
        now: DateTime<Utc>,
    ) -> Result<Worker> {
        transact!(self.0, tx => {
            let spec = NewWorker { token_id: Some(token.id), activation_token_id: None, worker_type };
            create_with_fqdn(&tx, fqdn, spec, now).await
        })
    }

    /// A new worker without token, and the activation token that its machine may register with.
    pub async fn create_with_activation(
        &self,
        fqdn: &str,
        worker_type: WorkerType,
        entropy: &dyn Entropy,
        now: DateTime<Utc>,
    ) -> Result<(Worker, NewToken)> {
        let key = TokenKey::generate(entropy);
        transact!(self.0, tx => {
            let token = insert_token(&tx, &activation_spec(now), &key.hash(), now).await?;
            let spec = NewWorker { token_id: None, activation_token_id: Some(token.id), worker_type };
            let worker = create_with_fqdn(&tx, fqdn, spec, now).await?;
            Ok((worker, NewToken { token, key: key.clone() }))
        })
    }

    /// A machine introduces itself with a key of its own choice: a new worker, whose token waits to be enabled.
    pub async fn register(
        &self,
        fqdn: &str,
        key: &TokenKey,
        worker_type: WorkerType,
        now: DateTime<Utc>,
    ) -> Result<Worker> {
        transact!(self.0, tx => {
            let token = self.token_for_registration(&tx, key, false, now).await?;
            let spec = NewWorker { token_id: Some(token), activation_token_id: None, worker_type };
            create_with_fqdn(&tx, fqdn, spec, now).await
        })
    }

    /// A machine introduces itself with an activation token: its row exists, its token is enabled at once, and the
    /// activation token is used up. `None` if the activation token is not a valid one.
    pub async fn register_with_activation(
        &self,
        activation_key: &str,
        key: &TokenKey,
        now: DateTime<Utc>,
    ) -> Result<Option<Worker>> {
        transact!(self.0, tx => {
            let activation = token::Entity::find()
                .filter(token::Column::Hash.eq(hash_of(activation_key).0))
                .filter(token::Column::TokenType.eq(Text(TokenType::WorkerActivation)))
                .filter(token::Column::Enabled.eq(true))
                .filter(token::Column::ExpireAt.gte(now))
                .one(tx.connection())
                .await?;
            let Some(activation) = activation else {
                // The answer to a registration that went well may have been lost: then the same key comes again.
                let known = worker::Entity::find()
                    .inner_join(token::Entity)
                    .filter(token::Column::Hash.eq(key.hash().0))
                    .filter(token::Column::Enabled.eq(true))
                    .one(tx.connection())
                    .await?;
                return Ok(known);
            };
            let waiting = worker::Entity::find()
                .filter(worker::Column::ActivationTokenId.eq(activation.id))
                .one(tx.connection())
                .await?;
            let Some(waiting) = waiting else { return Ok(None) };
            let token = self.token_for_registration(&tx, key, true, now).await?;
            let change = worker::ActiveModel {
                id: Set(waiting.id),
                token_id: Set(Some(token)),
                activation_token_id: Set(None),
                registered_at: Set(now),
                ..Default::default()
            };
            let registered = change.update(tx.connection()).await?;
            token::Entity::delete_by_id(activation.id).exec(tx.connection()).await?;
            tx.record(NewEvent::of_worker(EventKind::WorkerRegistered, registered.id, now));
            Ok(Some(registered))
        })
    }

    /// The token of a registering machine. A key that is known already is taken again (the worker tries anew after an
    /// answer was lost); that it may belong to one worker only is for the database to say.
    async fn token_for_registration(
        &self,
        tx: &WriteTransaction,
        key: &TokenKey,
        enabled: bool,
        now: DateTime<Utc>,
    ) -> Result<i64> {
        let known = token::Entity::find()
            .filter(token::Column::Hash.eq(key.hash().0))
            .filter(token::Column::TokenType.eq(Text(TokenType::Worker)))
            .one(tx.connection())
            .await?;
        match known {
            Some(token) => {
                set_enabled(tx, token.id, enabled, now).await?;
                Ok(token.id)
            }
            None => {
                let spec = TokenSpec { enabled, ..TokenSpec::of_type(TokenType::Worker) };
                Ok(insert_token(tx, &spec, &key.hash(), now).await?.id)
            }
        }
    }

    /// The worker with this id.
    pub async fn get(&self, id: i64) -> Result<Worker> {
        worker::Entity::find_by_id(id).one(self.0.reader()).await?.ok_or_else(|| Error::does_not_exist("Worker", id))
    }

    /// The worker of this name, or `None`.
    pub async fn get_worker_or_none(&self, worker_name: &str) -> Result<Option<Worker>> {
        Ok(worker::Entity::find().filter(worker::Column::Name.eq(worker_name)).one(self.0.reader()).await?)
    }

    /// The worker whose token has this key, or `None`. Whether the token is enabled or expired does not matter here.
    pub async fn get_worker_by_token_key_or_none(&self, token_key: &str) -> Result<Option<Worker>> {
        let found = worker::Entity::find()
            .inner_join(token::Entity)
            .filter(token::Column::Hash.eq(hash_of(token_key).0))
            .one(self.0.reader())
            .await?;
        Ok(found)
    }

    /// All workers with their tokens, in the order in which they registered.
    pub async fn list(&self) -> Result<Vec<(Worker, Option<Token>)>> {
        let rows = worker::Entity::find()
            .find_also_related(token::Entity)
            .order_by_asc(worker::Column::RegisteredAt)
            .order_by_asc(worker::Column::Id);
        Ok(rows.all(self.0.reader()).await?)
    }

    /// The names of these workers, by id.
    pub async fn names(&self, ids: &[i64]) -> Result<HashMap<i64, String>> {
        let rows: Vec<(i64, String)> = worker::Entity::find()
            .select_only()
            .column(worker::Column::Id)
            .column(worker::Column::Name)
            .filter(worker::Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(self.0.reader())
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The workers that are connected, longest connected first.
    pub fn connected(&self) -> Select<worker::Entity> {
        worker::Entity::find()
            .filter(worker::Column::ConnectedAt.is_not_null())
            .order_by_asc(worker::Column::ConnectedAt)
            .order_by_asc(worker::Column::Id)
    }

    /// The workers that can be given a work request now: connected, with an enabled token and fewer pending and running
    /// ones than their concurrency; the longest connected first. How old their metadata are is for
    /// [`Worker::has_fresh_metadata`] to say.
    pub fn waiting_for_work_request(&self) -> Select<worker::Entity> {
        let occupied = Query::select()
            .expr(Expr::col((work_request::Entity, work_request::Column::Id)).count())
            .from(work_request::Entity)
            .and_where(
                Expr::col((work_request::Entity, work_request::Column::WorkerId))
                    .equals((worker::Entity, worker::Column::Id)),
            )
            .and_where(occupying())
            .to_owned();
        self.connected()
            .left_join(token::Entity)
            .filter(
                Condition::any()
                    .add(token::Column::Enabled.eq(true))
                    .add(worker::Column::WorkerType.eq(Text(WorkerType::Celery))),
            )
            .filter(
                Expr::col((worker::Entity, worker::Column::Concurrency))
                    .gt(Expr::SubQuery(None, Box::new(occupied.into()))),
            )
    }

    /// The ids of the workers that are connected, longest connected first. Ids only: connections come and go, the rest of a
    /// worker rarely changes.
    pub async fn connected_ids(&self) -> Result<Vec<i64>> {
        let (from, order) = ("worker WHERE connected_at IS NOT NULL", "ORDER BY connected_at, id");
        let ids = bulk::numbers(self.0.reader(), ["id"], from, order).await?;
        Ok(ids.into_iter().map(|[id]| id).collect())
    }

    /// The workers whose tokens are not enabled.
    pub async fn disabled(&self) -> Result<BTreeSet<i64>> {
        let disabled = worker::Entity::find().inner_join(token::Entity).filter(token::Column::Enabled.eq(false));
        let ids: Vec<i64> = disabled.select_only().column(worker::Column::Id).into_tuple().all(self.0.reader()).await?;
        Ok(ids.into_iter().collect())
    }

    /// Deletes a worker, its tokens and all its work requests. Nothing in the program offers this to people.
    pub async fn delete(&self, worker: &Worker) -> Result<()> {
        transact!(self.0, tx => {
            let held = worker::Entity::find_by_id(worker.id).lock_exclusive().one(tx.connection()).await?;
            let held = held.ok_or_else(|| Error::does_not_exist("Worker", worker.id))?;
            let theirs = work_request::Entity::find()
                .select_only()
                .column(work_request::Column::Id)
                .filter(work_request::Column::WorkerId.eq(worker.id))
                .into_tuple::<i64>()
                .all(tx.connection())
                .await?;
            token::Entity::delete_many()
                .filter(token::Column::WorkRequestId.is_in(theirs))
                .exec(tx.connection())
                .await?;
            worker::Entity::delete_by_id(worker.id).exec(tx.connection()).await?;
            token::Entity::delete_many()
                .filter(token::Column::Id.is_in([held.token_id, held.activation_token_id].into_iter().flatten()))
                .exec(tx.connection())
                .await?;
            Ok(())
        })
    }
}

/// Pending and running: what occupies a worker. Written out, not bound: only then do both engines use the partial index.
pub(crate) const OCCUPYING: &str = r#""work_request"."status" IN ('pending', 'running')"#;

/// The same as an expression.
pub(crate) fn occupying() -> sea_orm::sea_query::SimpleExpr {
    Expr::cust(OCCUPYING)
}

impl Worker {
    /// Notes that the worker is connected to this server, and since when.
    pub async fn mark_connected(&mut self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        transact!(database, tx => { connect(&tx, self.id, tx.origin(), now).await })?;
        self.connected_at = Some(now);
        self.server_id = database.server();
        self.last_seen = None;
        Ok(())
    }

    /// Notes that the worker is gone, and was last seen then. Its work requests stay as they are: the lease decides about
    /// them.
    pub async fn mark_disconnected(&mut self, database: &Database, last_seen: DateTime<Utc>) -> Result<()> {
        // Only the connection that this object knows: the worker may have come back by another one.
        transact!(database, tx => { disconnect(&tx, self, last_seen).await })?;
        self.connected_at = None;
        self.last_seen = Some(last_seen);
        Ok(())
    }

    /// Whether the worker is connected.
    pub fn connected(&self) -> bool {
        self.connected_at.is_some()
    }

    /// All metadata, static over dynamic; a copy.
    pub fn metadata(&self) -> Result<Metadata> {
        Ok(rules::metadata(*self.worker_type, &self.dynamic()?, &self.fixed()?))
    }

    /// What the scheduler needs to know.
    pub fn profile(&self) -> Result<Profile> {
        let (dynamic, fixed) = (self.dynamic()?, self.fixed()?);
        Ok(Profile {
            provided: rules::provided_tags(*self.worker_type, &dynamic, &fixed),
            required: rules::required_tags(&fixed),
            tasks: TaskFilter::from_metadata(&rules::merge_metadata(&dynamic, &fixed)),
        })
    }

    /// Whether the worker is from before 0.13, and has other words for tasks.
    pub fn is_old(&self) -> Result<bool> {
        Ok(usine_model::old_worker::is_old(&self.dynamic()?))
    }

    /// Whether the same is said of the worker as in an older copy of its row.
    pub fn has_metadata_of(&self, older: &Worker) -> bool {
        self.static_metadata == older.static_metadata && self.dynamic_metadata == older.dynamic_metadata
    }

    /// Whether the worker has said lately what it can do. The one in the server need not.
    pub fn has_fresh_metadata(&self, now: DateTime<Utc>) -> bool {
        *self.worker_type == WorkerType::Celery
            || self.dynamic_metadata_updated_at.is_some_and(|updated| now - updated <= METADATA_LIFE)
    }

    /// Replaces what the worker says of itself.
    pub async fn set_dynamic_metadata(
        &mut self,
        database: &Database,
        metadata: Metadata,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let value = Value::Object(metadata);
        transact!(database, tx => {
            let change = worker::ActiveModel {
                id: Set(self.id),
                dynamic_metadata: Set(value.clone()),
                dynamic_metadata_updated_at: Set(Some(now)),
                ..Default::default()
            };
            worker::Entity::update(change).validate()?.exec(tx.connection()).await?;
            tx.record(NewEvent::of_worker(EventKind::WorkerMetadata, self.id, now));
            Ok(())
        })?;
        self.dynamic_metadata = value;
        self.dynamic_metadata_updated_at = Some(now);
        Ok(())
    }

    /// Replaces what administrators say of the worker.
    pub async fn set_static_metadata(
        &mut self,
        database: &Database,
        metadata: Metadata,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let value = Value::Object(metadata);
        transact!(database, tx => {
            let change =
                worker::ActiveModel { id: Set(self.id), static_metadata: Set(value.clone()), ..Default::default() };
            worker::Entity::update(change).validate()?.exec(tx.connection()).await?;
            tx.record(NewEvent::of_worker(EventKind::WorkerMetadata, self.id, now));
            Ok(())
        })?;
        self.static_metadata = value;
        Ok(())
    }

    /// The token of the worker, if it has registered.
    pub async fn token(&self, database: &Database) -> Result<Option<Token>> {
        match self.token_id {
            None => Ok(None),
            Some(id) => Ok(token::Entity::find_by_id(id).one(database.reader()).await?),
        }
    }

    /// Disables the token and hands the worker's pending and running work requests back, in one transaction.
    pub async fn disable(&self, database: &Database, now: DateTime<Utc>) -> Result<()> {
        transact!(database, tx => {
            if let Some(token) = self.token_id {
                set_enabled(&tx, token, false, now).await?;
            }
            de_assign_all(&tx, self.id, now).await
        })
    }

    /// All work requests ever assigned to the worker and not taken from it.
    pub fn assigned_work_requests(&self) -> Select<work_request::Entity> {
        work_request::Entity::find()
            .filter(work_request::Column::WorkerId.eq(self.id))
            .order_by_asc(work_request::Column::Id)
    }

    /// What the worker runs.
    pub fn running_work_requests(&self) -> Select<work_request::Entity> {
        self.assigned_work_requests().filter(has_status(Statuses::Running))
    }

    /// Whether anything pending or running is assigned to the worker.
    pub async fn is_busy(&self, database: &Database) -> Result<bool> {
        Ok(self.assigned_work_requests().filter(occupying()).one(database.reader()).await?.is_some())
    }

    /// Whether the worker has as many work requests as it may.
    pub async fn is_at_capacity(&self, database: &Database) -> Result<bool> {
        use sea_orm::PaginatorTrait;
        let count = self.assigned_work_requests().filter(occupying()).count(database.reader()).await?;
        Ok(count >= u64::from(self.concurrency.unsigned_abs()))
    }

    /// The worker registered after this one.
    pub async fn get_next_by_registered_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, true).await
    }

    /// The worker registered before this one.
    pub async fn get_previous_by_registered_at(&self, database: &Database) -> Result<Self> {
        self.place().neighbour(database, false).await
    }

    fn place(&self) -> Place<worker::Entity> {
        use worker::Column;
        Place { kind: "Worker", time: Column::RegisteredAt, id: Column::Id, at: (self.registered_at, self.id) }
    }

    fn dynamic(&self) -> Result<Metadata> {
        object(&self.dynamic_metadata, self.id, "dynamic_metadata")
    }

    fn fixed(&self) -> Result<Metadata> {
        object(&self.static_metadata, self.id, "static_metadata")
    }
}

impl std::fmt::Display for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Id: {} Name: {}", self.id, self.name)
    }
}

fn object(value: &Value, id: i64, column: &'static str) -> Result<Metadata> {
    value.as_object().cloned().ok_or_else(|| Error::Inconsistent {
        table: "worker",
        id,
        column,
        problem: format!("{value} is not a JSON object"),
    })
}

struct NewWorker {
    token_id: Option<i64>,
    activation_token_id: Option<i64>,
    worker_type: WorkerType,
}

/// Inserts a worker under the first free name. Each try is a savepoint of its own; only a taken *name* leads to the
/// next try, any other violation is the caller's.
async fn create_with_fqdn(tx: &WriteTransaction, fqdn: &str, spec: NewWorker, now: DateTime<Utc>) -> Result<Worker> {
    for name in worker_name_candidates(fqdn) {
        let row = worker::ActiveModel {
            id: NotSet,
            name: Set(name),
            registered_at: Set(now),
            connected_at: Set(None),
            token_id: Set(spec.token_id),
            activation_token_id: Set(spec.activation_token_id),
            static_metadata: Set(Value::Object(Metadata::new())),
            dynamic_metadata: Set(Value::Object(Metadata::new())),
            dynamic_metadata_updated_at: Set(None),
            worker_type: Set(Text(spec.worker_type)),
            concurrency: Set(1),
            server_id: Set(None),
            last_seen: Set(None),
        };
        let savepoint = tx.connection().begin().await?;
        match row.insert(&savepoint).await.map_err(Error::from) {
            Ok(worker) => {
                savepoint.commit().await?;
                tx.record(NewEvent::of_worker(EventKind::WorkerRegistered, worker.id, now));
                return Ok(worker);
            }
            Err(error) if error.violates_unique("worker", "name") => savepoint.rollback().await?,
            Err(error) => return Err(error),
        }
    }
    unreachable!("the candidate names never end")
}
