//! `usine standalone`: server and worker in one process, on SQLite, ready to use: the whole factory under one directory.
//!
//! The first start makes a user with a token, who owns the scope, writes the client's configuration, and admits the worker.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use usine_client::config::ServerConfig;
use usine_db::account::User;
use usine_db::tenancy::OWNERS;
use usine_db::token::TokenSpec;
use usine_db::{Database, GroupManager, ScopeManager, TokenManager, UserManager, WorkerManager};
use usine_model::clock::Clock;
use usine_model::worker::WorkerType;
use usine_worker::Config as WorkerConfig;

use super::{server, worker};
use crate::ambient::{OsEntropy, SystemClock};
use crate::exit::Code;
use crate::server_config::ServerOptions;
use crate::signals;

/// Name of the user that the first start makes.
const USER: &str = "admin";

/// Options of `usine standalone`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Everything is kept in the data directory; remove it to begin anew. It must not be inside a private directory such as
/root: tasks run as other users, who must be able to walk down to it.

The client finds the factory with: usine --config-file DIRECTORY/client.ini …
On its pages, log in as admin with the password in DIRECTORY/password.")]
pub struct Args {
    /// Which configuration.
    #[command(flatten)]
    pub server: ServerOptions,
    /// Address to listen on; goes before the configuration file
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub bind: Option<SocketAddr>,
    /// Environment variable for the commands of tasks; may be given several times [default: XZ_OPT=-0]
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_variable)]
    pub worker_environment: Vec<(String, String)>,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<Code> {
    let mut config = args.server.load()?;
    if let Some(bind) = args.bind {
        config.bind = bind;
    }
    let directory = std::path::absolute(&config.data_directory)?;
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
    config.data_directory.clone_from(&directory);

    let stop = signals::listen()?;
    let server = server::start(config, stop.drain.child_token()).await?;
    let (state, address) = (server.state().clone(), server.address()?);
    let api_url = format!("http://{address}/api");
    introduce_client(&state.database, &directory, &api_url).await?;
    tracing::info!("pages: http://{address}/ (user {USER}, password in {})", directory.join("password").display());
    let worker_config = introduce_worker(&state.database, &directory, &api_url, args.worker_environment).await?;

    let serving = tokio::spawn(server.run());
    let worked = worker::run_with(worker_config, stop.clone()).await;
    // The server goes last: the worker reports to it.
    state.shutdown.cancel();
    serving.await??;
    worked?;
    Ok(Code::Success)
}

/// Makes a user and the client's configuration, unless they are there. The configuration is written anew when the address
/// has changed.
async fn introduce_client(database: &Database, directory: &Path, api_url: &str) -> anyhow::Result<()> {
    let path = directory.join("client.ini");
    let now = SystemClock.now();
    let user = owner_of_scope(database, directory).await?;
    if path.exists() {
        let mut known = usine_client::config::load(&path, Some("standalone"), None)?;
        let works =
            TokenManager(database).get_token_or_none(&known.token, now).await?.is_some_and(|token| token.enabled);
        if works {
            if known.api_url != api_url {
                api_url.clone_into(&mut known.api_url);
                usine_client::config::save(&path, &known, true)?;
            }
            return Ok(());
        }
    }
    let spec =
        TokenSpec { enabled: true, comment: "made by usine standalone".to_owned(), ..TokenSpec::of_user(user.id) };
    let token = TokenManager(database).create(spec, &OsEntropy, now).await?;
    let config = ServerConfig {
        name: "standalone".to_owned(),
        api_url: api_url.to_owned(),
        scope: usine_protocol::DEFAULT_SCOPE.to_owned(),
        token: token.key.reveal().to_owned(),
        default_workspace: Some(usine_protocol::DEFAULT_WORKSPACE.to_owned()),
        http_timeout: usine_client::Timeouts::default(),
        warning: None,
    };
    usine_client::config::save(&path, &config, true)?;
    tracing::info!("client configuration: {}", path.display());
    Ok(())
}

/// The user of this factory, who owns its scope: also in a directory of a time when there were no roles. Where the owners
/// have been given another name, that is left as it is.
async fn owner_of_scope(database: &Database, directory: &Path) -> anyhow::Result<User> {
    let now = SystemClock.now();
    let groups = GroupManager(database);
    let user = match UserManager(database).get_user_or_none(USER).await? {
        Some(user) => user,
        None => {
            let (user, password) = UserManager(database).create(USER, "", &OsEntropy, now).await?;
            let path = directory.join("password");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            writeln!(file, "{password}").with_context(|| format!("cannot write {}", path.display()))?;
            user
        }
    };
    if let Some(scope) = ScopeManager(database).get_scope_or_none(usine_protocol::DEFAULT_SCOPE).await?
        && let Some(owners) = groups.get_group_or_none(&scope, None, OWNERS).await?
    {
        groups.add_missing_users(&owners, std::slice::from_ref(&user), None, now).await?;
    }
    Ok(user)
}

/// Gives the worker a place and, if it is new, the key that admits it.
async fn introduce_worker(
    database: &Database,
    directory: &Path,
    api_url: &str,
    environment: Vec<(String, String)>,
) -> anyhow::Result<WorkerConfig> {
    let place: PathBuf = directory.join("worker");
    std::fs::create_dir_all(&place)?;
    let mut config = WorkerConfig::new(api_url, &place, &place);
    // One machine for everything: time is dearer than space.
    config.environment = BTreeMap::from([("XZ_OPT".to_owned(), "-0".to_owned())]);
    config.environment.extend(environment);
    let known = match usine_worker::credentials::token(&config)? {
        Some(key) => WorkerManager(database).get_worker_by_token_key_or_none(&key).await?.is_some(),
        None => false,
    };
    if !known {
        let fqdn = usine_worker::credentials::fqdn();
        let (_, activation) = WorkerManager(database)
            .create_with_activation(&fqdn, WorkerType::External, &OsEntropy, SystemClock.now())
            .await?;
        write_secret(&place.join("activation-token"), activation.key.reveal())?;
        let stale = place.join("token");
        if stale.exists() {
            std::fs::remove_file(stale)?;
        }
    }
    Ok(config)
}

fn write_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
