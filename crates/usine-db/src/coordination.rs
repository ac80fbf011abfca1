//! What several servers on one PostgreSQL do besides reading and writing rows: they elect a leader, and wake each other when
//! there is news. Each on a connection of its own. With SQLite there is one server only.

use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnection, PgListener};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr};

use crate::{Database, Error, Result};

/// Key of PostgreSQL's advisory lock that the leader holds: "usine" in ASCII, and one more.
const LEADER: i64 = 0x75_7369_6e65 + 1;

/// The channel on which servers wake each other.
const CHANNEL: &str = "usine_event";

/// However many events there are, others are woken at most this often.
const COALESCE: Duration = Duration::from_millis(2);

/// So that PostgreSQL notices soon when the machine of a leader has gone without a word: after some 10 seconds.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 4; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3";

/// A candidate for leadership. Whoever leads does so as long as its connection lasts.
pub struct Candidate {
    connection: PgConnection,
}

impl Candidate {
    /// Comes forward.
    pub async fn connect(database: &Database) -> Result<Self> {
        let mut connection = PgConnection::connect(database.url()).await.map_err(failed)?;
        sqlx::raw_sql(KEEPALIVE).execute(&mut connection).await.map_err(failed)?;
        Ok(Self { connection })
    }

    /// Leads from now on, if nobody else does.
    pub async fn try_to_lead(&mut self) -> Result<bool> {
        let query = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEADER);
        query.fetch_one(&mut self.connection).await.map_err(failed)
    }

    /// Whether the connection still lasts.
    pub async fn check(&mut self) -> Result<()> {
        self.connection.ping().await.map_err(failed)
    }

    /// Lets others lead.
    pub async fn resign(self) {
        // A connection that cannot be closed is broken, which does the same.
        let _ = self.connection.close().await;
    }
}

/// Hears when another server has news.
pub struct Ear {
    listener: PgListener,
}

impl Ear {
    /// Listens.
    pub async fn open(database: &Database) -> Result<Self> {
        let mut listener = PgListener::connect(database.url()).await.map_err(failed)?;
        listener.listen(CHANNEL).await.map_err(failed)?;
        Ok(Self { listener })
    }

    /// Waits for news. Several at once are one. Also returns when the connection was lost and made anew: something may
    /// have been missed.
    pub async fn hear(&mut self) -> Result<()> {
        self.listener.try_recv().await.map_err(failed)?;
        while self.listener.next_buffered().is_some() {}
        Ok(())
    }
}

impl Database {
    /// Wakes the other servers whenever this process has written events, if there are others. For as long as it is polled.
    ///
    /// Not in the transaction that writes them: PostgreSQL lets only one transaction commit at a time of those that notify.
    pub async fn announce(&self) {
        loop {
            self.wait_for_news().await;
            if self.backend() == DbBackend::Postgres
                && self.is_one_of_several()
                && let Err(error) = self.reader().execute_unprepared(&format!("NOTIFY {CHANNEL}")).await
            {
                // They look by themselves, too.
                tracing::debug!(%error, "cannot wake the other servers");
            }
            tokio::time::sleep(COALESCE).await;
        }
    }
}

fn failed(error: sqlx::Error) -> Error {
    Error::Database(DbErr::Conn(RuntimeErr::Internal(error.to_string())))
}
