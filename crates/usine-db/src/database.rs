//! The door to SQLite and PostgreSQL: connecting, one transaction per change, events after commit.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sea_orm::sqlx::{self, Connection as _, Executor as _, PgConnection, SqliteConnection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, oneshot};

use crate::batch::Waiting;
use crate::bulk;
use crate::entity::event;
use crate::error::{Error, Result};
use crate::interned::{Interned, Learned};
use crate::meter;
use crate::migration::{self, Migrator};

/// Key of PostgreSQL's advisory lock on migrations: "usine" in ASCII. It belongs to one database.
const MIGRATION_LOCK: i64 = 0x75_7369_6e65;

/// How often one change is tried before the caller hears of it.
const MAX_TRIES: u32 = 8;

/// Events that a slow listener may be behind before it must read the database again.
const EVENT_BACKLOG: usize = 16_384;

/// Runs a block in one write transaction, again (bounded, with a growing jittered pause) when the database was busy.
/// The block may run several times: it reads what it needs inside and has no effect outside the database.
macro_rules! transact {
    ($database:expr, $transaction:ident => $block:block) => {
        transact!($database, begin_write, $transaction => $block)
    };
    ($database:expr, $begin:ident, $transaction:ident => $block:block) => {{
        let mut tries = 0;
        loop {
            let $transaction = match $database.$begin().await {
                Ok(transaction) => transaction,
                Err(error) => match $database.may_try_again(error, &mut tries).await {
                    Some(error) => break Err(error),
                    None => continue,
                },
            };
            let outcome: $crate::Result<_> = async { $block }.await;
            if let Some(settled) = $database.settle($transaction, outcome, &mut tries).await {
                break settled;
            }
        }
    }};
}
pub(crate) use transact;

/// A database: SQLite or PostgreSQL, by its URL.
///
/// SQLite has one writing connection with immediate transactions, so that two changes never dead-lock, and many reading
/// ones (WAL). PostgreSQL has one pool for both, and a small one for batches, so that their statements are not planned in
/// many connections. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    writer: DatabaseConnection,
    /// That of batches.
    batches: DatabaseConnection,
    reader: DatabaseConnection,
    events: broadcast::Sender<event::Model>,
    retries: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Where batches are written; `None`: beside everything else.
    own_thread: OnceLock<OwnThread>,
    interned: Interned,
    /// The life of the server that this process is; 0 if it is none.
    server: AtomicI64,
    /// Whether there are other servers.
    several: AtomicBool,
    /// Events have been written of which other servers should hear.
    news: Notify,
}

/// A thread that lives as long as this.
struct OwnThread {
    handle: Handle,
    _until: oneshot::Sender<()>,
}

/// Longest wait for SQLite's only writing connection.
const WRITER_QUEUE: Duration = Duration::from_secs(30);

/// Longest wait for a PostgreSQL that does not answer: clients that wait for 30 seconds are to hear of it.
const ABSENCE: Duration = Duration::from_secs(10);

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// On SQLite everything that writes.
    Batches,
    Others,
}

impl Role {
    /// Most memory for pages of a SQLite database, in KiB.
    fn cache(self) -> u32 {
        match self {
            Self::Batches => 8192,
            Self::Others => 1024,
        }
    }
}

/// So many batches at once are written to PostgreSQL: while the disk is waited for, another one can be worked on.
const BATCHES: u32 = 2;

/// How many connections a pool has.
const READERS: u32 = 8;

impl Database {
    /// Connects to `sqlite:PATH` or `postgres://…`. Does not look at the schema: see [`Database::migrate`].
    pub async fn connect(url: &str) -> Result<Self> {
        let options = |max: u32, role: Role| {
            let mut options = ConnectOptions::new(url);
            options
                .max_connections(max)
                .min_connections(0)
                .acquire_timeout(if url.starts_with("sqlite:") { WRITER_QUEUE } else { ABSENCE })
                // A server may have gone away meanwhile; what was used a moment ago is taken on trust.
                .test_before_acquire_if_idle_for(Duration::from_secs(30))
                .sqlx_logging(false)
                .map_sqlx_sqlite_opts(move |sqlite| {
                    use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
                    // FULL: a commit that was answered survives a power cut.
                    sqlite
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .busy_timeout(Duration::from_secs(10))
                        .foreign_keys(true)
                        .pragma("cache_size", format!("-{}", role.cache()))
                        // Pages; SQLite's 1000 would be written back several times a second under load.
                        .pragma("wal_autocheckpoint", "4000")
                        .statement_cache_capacity(256)
                })
                .map_sqlx_sqlite_pool_opts(|pool| {
                    pool.after_release(|connection, _| Box::pin(async move { is_at_rest(connection).await }))
                })
                .map_sqlx_postgres_opts(|postgres| postgres.application_name("usine").statement_cache_capacity(256));
            if role == Role::Batches {
                options.map_sqlx_postgres_pool_opts(|pool| {
                    pool.after_connect(|connection, _| Box::pin(async move { by_index(connection).await }))
                });
            }
            options
        };
        let connect = async |max: u32, role: Role| -> Result<DatabaseConnection> {
            let mut connection = sea_orm::Database::connect(options(max, role)).await?;
            meter::watch(&mut connection);
            Ok(connection)
        };
        let (writer, batches, reader) = if url.starts_with("sqlite:") {
            let writer = connect(1, Role::Batches).await?;
            (writer.clone(), writer, connect(READERS, Role::Others).await?)
        } else {
            let pool = connect(READERS * 2, Role::Others).await?;
            (pool.clone(), connect(BATCHES, Role::Batches).await?, pool)
        };
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let inner = Inner {
            url: url.to_owned(),
            writer,
            batches,
            reader,
            events,
            retries: AtomicU64::new(0),
            waiting: Mutex::default(),
            own_thread: OnceLock::new(),
            interned: Interned::default(),
            server: AtomicI64::new(0),
            several: AtomicBool::new(false),
            news: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Brings the schema up to date, in one transaction: whatever interrupts it, nothing is half done. Of several that
    /// start at once, one does it; the others wait for it and find nothing to do. A schema that is one step ahead is left as
    /// it is: the next version of the program has come to another server first.
    ///
    /// # Errors
    /// [`Error::SchemaAhead`] if it is farther ahead than that.
    pub async fn migrate(&self) -> Result<()> {
        transact!(self, tx => {
            // SQLite's transaction is the only one that writes; PostgreSQL needs to be told.
            if self.backend() == DbBackend::Postgres {
                let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
                tx.connection().execute_unprepared(&lock).await?;
            }
            if let Some(step) = migration::ahead(tx.connection()).await? {
                tracing::info!(step, "the schema is one step ahead of this program, which goes on");
                return Ok(());
            }
            Ok(Migrator::up(tx.connection(), None).await?)
        })
    }

    /// Names of migrations that this database still lacks.
    ///
    /// # Errors
    /// As [`Database::migrate`].
    pub async fn pending_migrations(&self) -> Result<Vec<String>> {
        if migration::ahead(&self.inner.writer).await?.is_some() {
            return Ok(Vec::new());
        }
        // Looks only: another process may be about to make the table of migrations.
        let pending = Migrator::get_pending_migrations_read_only(&self.inner.writer).await?;
        Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
    }

    pub(crate) fn url(&self) -> &str {
        &self.inner.url
    }

    /// The life of the server that this process is, if it is one: its events bear this number.
    pub fn server(&self) -> Option<i64> {
        Some(self.inner.server.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    pub(crate) fn set_server(&self, id: i64) {
        self.inner.server.store(id, Ordering::Relaxed);
    }

    /// Whether other servers share this database, as far as is known.
    pub fn is_one_of_several(&self) -> bool {
        self.inner.several.load(Ordering::Relaxed)
    }

    /// Notes whether other servers share this database: they are woken when there are events.
    pub fn set_one_of_several(&self, several: bool) {
        self.inner.several.store(several, Ordering::Relaxed);
    }

    pub(crate) async fn wait_for_news(&self) {
        self.inner.news.notified().await;
    }

    /// The connection for reading.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.inner.reader
    }

    /// A number that changes with everything that decides who may do what, and with what is said of workers. Whoever
    /// remembers something of that asks for the number first, and forgets when it has changed: see
    /// `migration/generation.rs`.
    pub async fn generation(&self) -> Result<i64> {
        let statement = Statement::from_string(self.backend(), "SELECT number FROM generation");
        let row = self.inner.reader.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| Error::does_not_exist("Generation", 1))?;
        Ok(row.try_get("", "number")?)
    }

    /// Which engine it is.
    pub fn backend(&self) -> DbBackend {
        self.inner.reader.get_database_backend()
    }

    /// Every event of this process, after its commit. A hint: whoever gets one reads the database.
    pub fn events(&self) -> broadcast::Receiver<event::Model> {
        self.inner.events.subscribe()
    }

    /// Passes on events that another process has written.
    pub fn republish(&self, events: Vec<event::Model>) {
        for event in events {
            // Nobody listening is fine.
            let _ = self.inner.events.send(event);
        }
    }

    /// How often a transaction had to be tried again since the start.
    pub fn retries(&self) -> u64 {
        self.inner.retries.load(Ordering::Relaxed)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        // Errors while closing lose nothing: what was committed is committed.
        let _ = self.inner.writer.clone().close().await;
        let _ = self.inner.batches.clone().close().await;
        let _ = self.inner.reader.clone().close().await;
    }

    /// Has batches written on a thread of their own from now on: whoever answers hundreds of requests at once should not
    /// keep the next batch waiting for its turn.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn write_on_own_thread(&self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name("usine-batch".to_owned()).spawn(move || {
            // Nothing is sent: the other end is dropped with the database.
            let _ = runtime.block_on(ended);
        })?;
        // The first one stays.
        let _ = self.inner.own_thread.set(OwnThread { handle, _until: until });
        Ok(())
    }

    pub(crate) fn batches_at_once(&self) -> usize {
        if self.backend() == DbBackend::Sqlite { 1 } else { BATCHES as usize }
    }

    pub(crate) fn own_thread(&self) -> Option<&Handle> {
        self.inner.own_thread.get().map(|thread| &thread.handle)
    }

    /// Jobs that wait for the next batch.
    pub(crate) fn waiting(&self) -> &Mutex<Waiting> {
        &self.inner.waiting
    }

    pub(crate) async fn begin_write(&self) -> Result<WriteTransaction> {
        self.begin_on(&self.inner.writer).await
    }

    pub(crate) async fn begin_batch(&self) -> Result<WriteTransaction> {
        self.begin_on(&self.inner.batches).await
    }

    async fn begin_on(&self, connection: &DatabaseConnection) -> Result<WriteTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = connection.begin_with_options(options).await?;
        Ok(WriteTransaction {
            transaction,
            database: self.clone(),
            origin: self.server(),
            events: Mutex::default(),
            learned: Mutex::default(),
        })
    }

    /// Ends one try of [`transact!`]: commits and publishes, or rolls back; `None` means try again.
    pub(crate) async fn settle<T>(
        &self,
        transaction: WriteTransaction,
        outcome: Result<T>,
        tries: &mut u32,
    ) -> Option<Result<T>> {
        let outcome = match outcome {
            Ok(value) => match transaction.commit().await {
                Ok(events) => {
                    if !events.is_empty() {
                        self.inner.news.notify_one();
                    }
                    self.republish(events);
                    Ok(value)
                }
                Err(error) => Err(error),
            },
            Err(error) => {
                // The error that led here says more than one of the roll-back.
                let _ = transaction.transaction.rollback().await;
                Err(error)
            }
        };
        match outcome {
            Ok(value) => Some(Ok(value)),
            Err(error) => self.may_try_again(error, tries).await.map(Err),
        }
    }

    /// Waits and says `None` if another try may help; else the error for the caller.
    pub(crate) async fn may_try_again(&self, error: Error, tries: &mut u32) -> Option<Error> {
        *tries += 1;
        if !error.is_transient() {
            return Some(error);
        }
        self.inner.retries.fetch_add(1, Ordering::Relaxed);
        if *tries < MAX_TRIES {
            tokio::time::sleep(backoff(*tries, self.retries())).await;
            return None;
        }
        match error {
            Error::Database(last) => Some(Error::StillBusy { tries: *tries, last }),
            other => Some(other),
        }
    }
}

/// Plans that were made while tables were small stay until they are analysed; the statements of batches all have an index. Not
/// by a bitmap: only a plain index scan marks the entries of versions that have died, which the next one then leaves out.
async fn by_index(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off").await?;
    Ok(())
}

/// Whether a connection to SQLite has no transaction open; else the pool closes it.
///
/// When the disk is full, SQLite rolls a transaction back by itself. The driver's own roll-back then fails, and the driver
/// takes the next transaction for one inside of another, whose commit commits nothing.
async fn is_at_rest(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A roll-back may still be under way: it comes before the answer.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// 2, 4, 8, … milliseconds, each with a spread so that two who collided do not meet again.
fn backoff(tries: u32, spread: u64) -> Duration {
    let base = 2u64 << tries.min(8);
    Duration::from_millis(base + (spread.wrapping_mul(2_654_435_761) >> 7) % base)
}

/// A transaction that changes something, and the events it writes on the way.
pub(crate) struct WriteTransaction {
    transaction: DatabaseTransaction,
    database: Database,
    origin: Option<i64>,
    events: Mutex<Vec<event::NewEvent>>,
    learned: Mutex<Learned>,
}

impl WriteTransaction {
    /// The server that this process is, if it is one.
    pub(crate) fn origin(&self) -> Option<i64> {
        self.origin
    }

    /// Where statements go.
    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Ids that the database has given to what never changes.
    pub(crate) fn interned(&self) -> &Interned {
        &self.database.inner.interned
    }

    /// Notes ids that are to be remembered when the transaction has committed.
    pub(crate) fn learn(&self, note: impl FnOnce(&mut Learned)) {
        note(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes an event: it is written at the end of the transaction, and published if and when that commits.
    pub(crate) fn record(&self, event: event::NewEvent) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Writes the events and commits.
    async fn commit(self) -> Result<Vec<event::Model>> {
        let events = self.events.into_inner().unwrap_or_else(PoisonError::into_inner);
        let rows = events.iter().map(|event| event.clone().row(self.origin)).collect();
        let ids = match bulk::insert(&self.transaction, rows).await {
            Ok(ids) => ids,
            Err(error) => {
                // The error that led here says more than one of the roll-back.
                let _ = self.transaction.rollback().await;
                return Err(error);
            }
        };
        self.transaction.commit().await.map_err(Error::of_commit)?;
        self.database.inner.interned.learn(self.learned.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(events.into_iter().zip(ids).map(|(event, id)| event.written_as(id, self.origin)).collect())
    }
}
