//! Where one measurement takes place: a directory, an empty database with one user, and the server on them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use sea_orm::{ColumnTrait, ConnectOptions, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};
use tempfile::TempDir;
use tokio::runtime::Handle;
use usine_db::account::User;
use usine_db::entity::work_request;
use usine_db::tenancy::Workspace;
use usine_db::token::TokenSpec;
use usine_db::{Database, GroupManager, ScopeManager, TokenManager, UserManager, WorkspaceManager, invariants};
use usine_model::permission::MembershipRole;
use usine_model::token::TokenKey;
use usine_model::work_request::{Results, Statuses};
use usine_protocol::{DEFAULT_SCOPE, DEFAULT_WORKSPACE};

use crate::http::token_header;
use crate::server::Server;
use crate::{Error, Ground, Place, Result};

/// A place of its own.
pub(crate) struct Site {
    pub ground: Ground,
    pub place: Place,
    pub database: Database,
    /// Who submits.
    pub user: User,
    /// Where to.
    pub workspace: Workspace,
    /// The user's token.
    pub token: HeaderValue,
    /// Where the connections to the database live; a load has a runtime of its own.
    runtime: Handle,
    url: String,
    /// In PostgreSQL.
    name: Option<String>,
    directory: TempDir,
}

impl Site {
    /// Makes it.
    pub async fn new(ground: &Ground, place: &Place) -> Result<Self> {
        let what = || Error::io(format!("cannot make a directory in {}", ground.directory.display()));
        let directory = tempfile::Builder::new().prefix("usine-bench-").tempdir_in(&ground.directory).map_err(what())?;
        std::fs::create_dir(directory.path().join("data")).map_err(what())?;
        let (url, name) = match place {
            Place::Sqlite => (format!("sqlite:{}", directory.path().join("data/usine.db").display()), None),
            Place::Postgres(url) => {
                let name = fresh_name();
                administer(url, &format!("CREATE DATABASE {name}")).await?;
                (with_name(url, &name)?, Some(name))
            }
        };
        let config = format!(
            "data-directory = {:?}\ndatabase = {url:?}\nbind = \"127.0.0.1:0\"\n",
            directory.path().join("data")
        );
        let path = directory.path().join("server.toml");
        std::fs::write(&path, config).map_err(Error::io(format!("cannot write {}", path.display())))?;
        let database = Database::connect(&url).await?;
        database.migrate().await?;

        let (user, _) = UserManager(&database).create("bench", "", ground.entropy.as_ref(), ground.clock.now()).await?;
        let missing = |what: &str| Error::Inconsistent(format!("a new database has no {what}"));
        let scope = ScopeManager(&database).get_scope_or_none(DEFAULT_SCOPE).await?;
        let scope = scope.ok_or_else(|| missing("scope"))?;
        let workspace = WorkspaceManager(&database).get_workspace_or_none(&scope, DEFAULT_WORKSPACE).await?;
        let workspace = workspace.ok_or_else(|| missing("workspace"))?;
        let groups = GroupManager(&database);
        let owners = groups.get_group_or_none(&scope, None, "Owners").await?.ok_or_else(|| missing("owners"))?;
        let users = std::slice::from_ref(&user);
        groups.add_users(&owners, users, MembershipRole::Member, true, None, ground.clock.now()).await?;
        let spec = TokenSpec { enabled: true, ..TokenSpec::of_user(user.id) };
        let token = TokenManager(&database).create(spec, ground.entropy.as_ref(), ground.clock.now()).await?;
        Ok(Self {
            ground: ground.clone(),
            place: place.clone(),
            database,
            user,
            workspace,
            token: token_header(token.key.reveal())?,
            runtime: Handle::current(),
            url,
            name,
            directory,
        })
    }

    /// Starts the server. One at a time.
    pub async fn serve(&self) -> Result<Server> {
        let config = self.path("server.toml");
        self.start(&["server".as_ref(), "--config".as_ref(), config.as_os_str()]).await
    }

    /// Starts a server that answers with so many bytes, and does nothing else.
    pub async fn serve_bare_http(&self, size: usize) -> Result<Server> {
        self.start(&["bench", "bare-http", &size.to_string()].map(OsStr::new)).await
    }

    async fn start(&self, arguments: &[&OsStr]) -> Result<Server> {
        Server::start(&self.ground.program, arguments, &self.path("server.log")).await
    }

    /// A path in the directory, on the file system that the server writes to.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets the worker with this key in, as an administrator does. From any runtime.
    pub async fn enable_worker(&self, key: &TokenKey) -> Result<()> {
        let (database, key, now) = (self.database.clone(), key.clone(), self.ground.clock.now());
        let enabled = self.runtime.spawn(async move {
            let token = TokenManager(&database).get_token_or_none(key.reveal(), now).await?;
            let mut token = token.ok_or_else(|| Error::Inconsistent("a new worker has no token".to_owned()))?;
            Ok::<(), Error>(token.enable(&database, now).await?)
        });
        enabled.await.map_err(|error| Error::Inconsistent(error.to_string()))?
    }

    /// Looks whether everything is as it must be: the invariants hold, exactly `ended` work requests have ended with success
    /// and `open` are left.
    pub async fn check(&self, ended: usize, open: usize) -> Result<()> {
        let violations = invariants::check(&self.database).await?;
        if let Some(first) = violations.first() {
            let count = violations.len();
            return Err(Error::Inconsistent(format!(
                "row {} breaks the rule: {} ({count} in all)",
                first.id, first.invariant
            )));
        }
        let of = |statuses: &[Statuses]| {
            let names: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            work_request::Entity::find().filter(work_request::Column::Status.is_in(names))
        };
        let reader = self.database.reader();
        let successful = work_request::Column::Result.eq(Results::Success.to_string());
        let found = of(&[Statuses::Completed]).filter(successful).count(reader).await?;
        let left = of(&[Statuses::Blocked, Statuses::Pending, Statuses::Running]).count(reader).await?;
        let all = work_request::Entity::find().count(reader).await?;
        let expected = (ended as u64, open as u64, (ended + open) as u64);
        if (found, left, all) == expected {
            return Ok(());
        }
        Err(Error::Inconsistent(format!(
            "the database has {all} work requests, {found} of them successful and {left} open; there should be {ended} and {open}"
        )))
    }

    /// How many work requests there are.
    pub async fn count(&self) -> Result<usize> {
        let count = work_request::Entity::find().count(self.database.reader()).await?;
        usize::try_from(count).map_err(|error| Error::Inconsistent(error.to_string()))
    }

    /// Removes everything, unless it is to be kept.
    pub async fn remove(self) -> Result<()> {
        self.database.close().await;
        if self.ground.keep {
            tracing::info!("{} is kept; the database is {}", self.directory.keep().display(), self.url);
            return Ok(());
        }
        if let (Place::Postgres(url), Some(name)) = (&self.place, &self.name) {
            administer(url, &format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        self.directory.close().map_err(Error::io("cannot remove the directory"))
    }

    /// Where its database is, for a second connection.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Not used by another process on the same cluster, or by this one before.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("usine_bench_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The same address, another database.
fn with_name(url: &str, name: &str) -> Result<String> {
    let mut parsed: url::Url = url.parse().map_err(|error| Error::Usage(format!("{url}: {error}")))?;
    parsed.set_path(name);
    Ok(parsed.into())
}

async fn administer(url: &str, statement: &str) -> Result<()> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let connection = sea_orm::Database::connect(options).await?;
    connection.execute_unprepared(statement).await?;
    Ok(connection.close().await?)
}
