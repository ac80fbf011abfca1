//! The flat command names of `debusine-admin`: those that are called something else by now, and those that are not.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use usine_db::{SessionManager, UserManager};
use usine_model::clock::Clock;
use usine_model::worker::WorkerType;
use usine_server::Config;

use super::dispatch;
use crate::ambient::SystemClock;
use crate::command::admin::{self, Program, password, token, user, with_database, work_request, worker};
use crate::exit::{Code, failure};
use crate::input;
use crate::output::Ui;

/// Retired names.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum Commands {
    /// Create a user
    #[command(hide = true)]
    CreateUser {
        /// Name
        username: String,
        /// E-mail address
        email: String,
    },
    /// List the users
    #[command(hide = true)]
    ListUsers,
    /// Change a user
    #[command(hide = true, subcommand)]
    ManageUser(ManageUser),
    /// List the workers
    #[command(hide = true)]
    ListWorkers,
    /// Enable or disable a worker
    #[command(hide = true)]
    ManageWorker {
        /// Kind of worker: external or signing
        #[arg(long = "worker-type", default_value = "external", value_parser = worker::worker_type)]
        worker_type: WorkerType,
        /// What to do
        action: Action,
        /// Name or token key of the worker
        worker: String,
    },
    /// Change what administrators say of a worker
    #[command(hide = true)]
    EditWorkerMetadata {
        /// YAML file with the new metadata [default: open an editor]
        #[arg(long, value_name = "FILE")]
        set: Option<PathBuf>,
        /// Name of the worker
        worker: String,
    },
}

/// What `manage_user` does.
#[derive(Debug, Subcommand)]
pub enum ManageUser {
    /// Give a user another e-mail address
    ChangeEmail {
        /// Name
        username: String,
        /// New e-mail address
        email: String,
    },
}

/// What `manage_worker` does.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Action {
    /// Let it have work.
    Enable,
    /// Give it no more work.
    Disable,
}

impl Commands {
    /// The same by its present name; says what that is.
    pub(super) fn renamed(self) -> super::Commands {
        use super::Commands as New;
        let (old, new, command) = match self {
            Self::CreateUser { username, email } => {
                let create = user::Commands::Create { username, email, groups: Vec::new(), superuser: false };
                ("create_user", "user create", New::User(create))
            }
            Self::ListUsers => ("list_users", "user list", New::User(user::Commands::List)),
            Self::ManageUser(ManageUser::ChangeEmail { username, email }) => {
                let change = user::Commands::ChangeEmail { username, email };
                ("manage_user change-email", "user change-email", New::User(change))
            }
            Self::ListWorkers => ("list_workers", "worker list", New::Worker(worker::Commands::List)),
            Self::ManageWorker { worker_type, action, worker } => {
                let named = worker::Named { worker_type, worker };
                match action {
                    Action::Enable => {
                        ("manage_worker enable", "worker enable", New::Worker(worker::Commands::Enable(named)))
                    }
                    Action::Disable => {
                        ("manage_worker disable", "worker disable", New::Worker(worker::Commands::Disable(named)))
                    }
                }
            }
            Self::EditWorkerMetadata { set, worker } => {
                let edit = worker::Commands::EditMetadata { set, worker };
                ("edit_worker_metadata", "worker edit_metadata", New::Worker(edit))
            }
        };
        tracing::warn!("`{old}` is an old name: use `debusine-admin {new}`");
        command
    }
}

/// Names that are in use as they are.
#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub enum Flat {
    /// Create an enabled token for a user and print its key: it is shown once
    CreateToken {
        /// Name of the user
        username: String,
        /// What it is for
        #[arg(long, default_value = "")]
        comment: String,
        /// Date or time (ISO 8601, UTC) when it stops working [default: never]
        #[arg(long = "expire-at", value_name = "TIME", value_parser = input::parse_time)]
        expire_at: Option<DateTime<Utc>>,
    },
    /// List tokens, also those that have expired
    ListTokens(token::Filter),
    /// Delete tokens; all that match, after asking
    DeleteTokens {
        #[command(flatten)]
        filter: token::Filter,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Nothing to delete is fine
        #[arg(long)]
        force: bool,
    },
    /// Create a user with all global permissions
    #[command(name = "createsuperuser")]
    CreateSuperuser(SuperuserArgs),
    /// Give a user another password
    #[command(name = "changepassword")]
    ChangePassword {
        /// Name
        username: String,
    },
    /// Delete the sessions of browsers that are over
    #[command(name = "clearsessions")]
    ClearSessions,
    /// Submit a work request as any user and print its id
    CreateWorkRequest(work_request::create::Args),
    /// List work requests, oldest first
    ListWorkRequests,
}

/// Arguments of `createsuperuser`.
#[derive(Debug, clap::Args)]
pub struct SuperuserArgs {
    /// Name
    #[arg(long, env = "DJANGO_SUPERUSER_USERNAME")]
    username: String,
    /// E-mail address
    #[arg(long, env = "DJANGO_SUPERUSER_EMAIL")]
    email: String,
    /// Ask nothing: the password is that of DJANGO_SUPERUSER_PASSWORD or, without it, one that nobody knows
    #[arg(long, visible_alias = "no-input")]
    noinput: bool,
}

impl Flat {
    /// Runs the command.
    pub(super) async fn run(self, config: &Config, ui: Ui) -> anyhow::Result<Code> {
        let known = match self {
            Self::CreateToken { username, comment, expire_at } => {
                admin::Commands::Token(token::Commands::Create { username, comment, expire_at })
            }
            Self::ListTokens(filter) => admin::Commands::Token(token::Commands::List(filter)),
            Self::DeleteTokens { filter, yes, force } => {
                admin::Commands::Token(token::Commands::Delete { filter, yes, force })
            }
            Self::CreateWorkRequest(args) => admin::Commands::WorkRequest(work_request::Commands::Create(args)),
            Self::ListWorkRequests => {
                admin::Commands::WorkRequest(work_request::Commands::List { limit: None, status: None })
            }
            Self::CreateSuperuser(args) => return create_superuser(config, ui, args).await,
            Self::ChangePassword { username } => return change_password(config, ui, &username).await,
            Self::ClearSessions => return clear_sessions(config).await,
        };
        dispatch(config, known, ui).await
    }
}

async fn create_superuser(config: &Config, ui: Ui, args: SuperuserArgs) -> anyhow::Result<Code> {
    with_database(Program::Debusine, config, async |database| {
        if UserManager(database).get_user_or_none(&args.username).await?.is_some() {
            // Before a password is asked for in vain.
            return Err(failure("CommandError: Error: That username is already taken."));
        }
        let chosen = match std::env::var("DJANGO_SUPERUSER_PASSWORD") {
            Ok(text) => Some(text),
            Err(_) if args.noinput => None,
            Err(_) => Some(password::new()?),
        };
        user::create(database, &args.username, &args.email, &[], true, chosen.as_deref()).await?;
        ui.line("Superuser created successfully.")?;
        Ok(Code::Success)
    })
    .await
}

async fn change_password(config: &Config, ui: Ui, username: &str) -> anyhow::Result<Code> {
    with_database(Program::Debusine, config, async |database| {
        user::change_password(database, username).await?;
        ui.line(&format!("Password changed successfully for user '{username}'"))?;
        Ok(Code::Success)
    })
    .await
}

async fn clear_sessions(config: &Config) -> anyhow::Result<Code> {
    with_database(Program::Debusine, config, async |database| {
        SessionManager(database).clear_expired(SystemClock.now()).await?;
        Ok(Code::Success)
    })
    .await
}
