//! `ServerManager`: which servers share the database, and what becomes of the workers of one that is dead.
//!
//! A server has a row for each of its lives, and says in it every few seconds that it is there. A worker that is connected to it
//! is alive as long as the server says so: no sign of life of a worker is written. What is decided by the time since a
//! beat is decided by whoever watched it, with its own clock; see the leader's upkeep in the server.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, NotSet, QueryFilter, QueryOrder, Set};
use usine_model::event::EventKind;
use usine_model::worker::WorkerType;

use crate::database::{WriteTransaction, transact};
use crate::entity::event::NewEvent;
use crate::entity::{server, worker};
use crate::{Database, Result, Text};

pub use server::Model as Server;

/// Knows the servers.
#[derive(Clone, Copy)]
pub struct ServerManager<'a>(pub &'a Database);

impl ServerManager<'_> {
    /// A life of the server of this name begins. Workers that were connected to its earlier lives, or to servers that are
    /// no longer known, are not connected any more. From now on events of this process bear its number.
    pub async fn register(&self, name: &str, now: DateTime<Utc>) -> Result<Server> {
        let server = transact!(self.0, tx => {
            server::Entity::delete_many().filter(server::Column::Name.eq(name)).exec(tx.connection()).await?;
            let row = server::ActiveModel {
                id: NotSet,
                name: Set(name.to_owned()),
                started_at: Set(now),
                last_seen: Set(now),
            };
            let server = row.insert(tx.connection()).await?;
            for worker in homeless(&tx).await? {
                disconnect(&tx, &worker, now).await?;
            }
            Ok(server)
        })?;
        self.0.set_server(server.id);
        Ok(server)
    }

    /// Says that a server is there, and puts right which workers are connected to it: `connected`, as it was at `since`.
    pub async fn beat(&self, server: &Server, connected: &[i64], since: DateTime<Utc>) -> Result<()> {
        let theirs = worker::Entity::find()
            .filter(worker::Column::ServerId.eq(server.id))
            .filter(worker::Column::ConnectedAt.lt(since))
            .all(self.0.reader())
            .await?;
        let gone: Vec<&worker::Model> = theirs.iter().filter(|worker| !connected.contains(&worker.id)).collect();
        let known = theirs.len() - gone.len();
        transact!(self.0, tx => {
            let row = server::ActiveModel {
                id: Set(server.id),
                name: Set(server.name.clone()),
                started_at: Set(server.started_at),
                last_seen: Set(since),
            };
            // Another server may have taken this one for dead.
            server::Entity::insert(row)
                .on_conflict(OnConflict::column(server::Column::Id).update_column(server::Column::LastSeen).to_owned())
                .exec_without_returning(tx.connection())
                .await?;
            for worker in &gone {
                disconnect(&tx, worker, since).await?;
            }
            if known < connected.len() {
                // The same with its workers.
                let missing = worker::Entity::find()
                    .filter(worker::Column::Id.is_in(connected.iter().copied()))
                    .filter(worker::Column::ConnectedAt.is_null())
                    .order_by_asc(worker::Column::Id)
                    .all(tx.connection())
                    .await?;
                for worker in missing {
                    connect(&tx, worker.id, Some(server.id), since).await?;
                }
            }
            Ok(())
        })
    }

    /// All that say that they are there, or have been found dead by nobody yet; oldest first.
    pub async fn list(&self) -> Result<Vec<Server>> {
        Ok(server::Entity::find().order_by_asc(server::Column::Id).all(self.0.reader()).await?)
    }

    /// A server ends.
    pub async fn end(&self, id: i64, now: DateTime<Utc>) -> Result<()> {
        transact!(self.0, tx => {
            server::Entity::delete_by_id(id).exec(tx.connection()).await?;
            for worker in of_server(&tx, id).await? {
                disconnect(&tx, &worker, now).await?;
            }
            Ok(())
        })
    }

    /// Notes that a server is dead that said nothing since it was found as in `server`: its workers have not been seen since
    /// `last_seen`. False if it has said something meanwhile.
    pub async fn bury(&self, server: &Server, last_seen: DateTime<Utc>) -> Result<bool> {
        transact!(self.0, tx => {
            let dead = server::Entity::delete_many()
                .filter(server::Column::Id.eq(server.id))
                .filter(server::Column::LastSeen.eq(server.last_seen))
                .exec(tx.connection())
                .await?;
            if dead.rows_affected == 0 {
                return Ok(false);
            }
            for worker in of_server(&tx, server.id).await? {
                disconnect(&tx, &worker, last_seen).await?;
            }
            Ok(true)
        })
    }

    /// Workers that are connected to a server that is not known are not connected. Returns how many there were.
    pub async fn bring_home(&self, now: DateTime<Utc>) -> Result<usize> {
        transact!(self.0, tx => {
            let lost = homeless(&tx).await?;
            for worker in &lost {
                disconnect(&tx, worker, now).await?;
            }
            Ok(lost.len())
        })
    }
}

async fn homeless(tx: &WriteTransaction) -> Result<Vec<worker::Model>> {
    let servers = Query::select().column(server::Column::Id).from(server::Entity).to_owned();
    let unknown = worker::Column::ServerId.not_in_subquery(servers).or(worker::Column::ServerId.is_null());
    Ok(connected(tx, unknown).await?)
}

async fn of_server(tx: &WriteTransaction, id: i64) -> Result<Vec<worker::Model>> {
    Ok(connected(tx, worker::Column::ServerId.eq(id)).await?)
}

/// In the order in which everybody locks them.
async fn connected(
    tx: &WriteTransaction,
    filter: sea_orm::sea_query::SimpleExpr,
) -> Result<Vec<worker::Model>, sea_orm::DbErr> {
    worker::Entity::find()
        .filter(worker::Column::ConnectedAt.is_not_null())
        // The one in the server is never connected in this sense.
        .filter(worker::Column::WorkerType.ne(Text(WorkerType::Celery)))
        .filter(filter)
        .order_by_asc(worker::Column::Id)
        .all(tx.connection())
        .await
}

/// Notes that a worker is connected here, and since when.
pub(crate) async fn connect(tx: &WriteTransaction, id: i64, server: Option<i64>, now: DateTime<Utc>) -> Result<()> {
    let change = worker::ActiveModel {
        id: Set(id),
        connected_at: Set(Some(now)),
        server_id: Set(server),
        last_seen: Set(None),
        ..Default::default()
    };
    worker::Entity::update(change).validate()?.exec(tx.connection()).await?;
    tx.record(NewEvent::of_worker(EventKind::WorkerConnected, id, now)).await
}

/// Notes that a worker is gone by the connection that `worker` knows; it may have come back by another one.
pub(crate) async fn disconnect(tx: &WriteTransaction, worker: &worker::Model, last_seen: DateTime<Utc>) -> Result<()> {
    let gone = worker::Entity::update_many()
        .col_expr(worker::Column::ConnectedAt, Expr::value(None::<DateTime<Utc>>))
        .col_expr(worker::Column::LastSeen, Expr::value(Some(last_seen)))
        .filter(worker::Column::Id.eq(worker.id))
        .filter(worker::Column::ConnectedAt.eq(worker.connected_at))
        .exec(tx.connection())
        .await?;
    if gone.rows_affected > 0 {
        tx.record(NewEvent::of_worker(EventKind::WorkerDisconnected, worker.id, last_seen)).await?;
    }
    Ok(())
}
