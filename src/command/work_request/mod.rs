//! `usine work-request`: submit, look at, follow, retry and abort work requests.

pub mod create;
mod decide;
pub mod follow;
mod logs;
pub mod on_completed;
pub mod view;

use std::time::Duration;

use clap::Subcommand;
use usine_client::WorkRequestFilter;
use usine_model::work_request::{Statuses, TaskType};
use usine_protocol::work_request::UpdateWorkRequest;

use crate::connection::{Connected, Connection};
use crate::exit::{Code, failure};
use crate::input::one_of;
use crate::output::{OutputArgs, Ui};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Submit a work request
    Create(create::Args),
    /// Show a work request: its state, why it waits, its attempts, errors, artifacts and history
    Show {
        /// Work request
        id: i64,
    },
    /// List the newest work requests
    List {
        /// List this many at most
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only in this status
        #[arg(long, value_parser = one_of::<Statuses>())]
        status: Option<Statuses>,
        /// Only of this type
        #[arg(long, value_parser = one_of::<TaskType>())]
        task_type: Option<TaskType>,
        /// Accepted for debusine's sake; the list is of the whole scope
        #[arg(long, short, value_name = "NAME", hide = true)]
        workspace: Option<String>,
    },
    /// Follow a work request until it ends, and print what happens to it
    #[command(after_help = WAIT_HELP)]
    Watch {
        /// Work request
        id: i64,
    },
    /// Wait until a work request ends; the exit status tells how
    #[command(after_help = WAIT_HELP)]
    Wait {
        /// Work request
        id: i64,
        /// Give up waiting after this many seconds (exit status 14); the work request goes on
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
    },
    /// Print the log of a work request: live while it runs, afterwards the one that was kept
    Logs {
        /// Go on until the work request ends; wait for it to start, too
        #[arg(long, short)]
        follow: bool,
        /// Work request
        id: i64,
    },
    /// Submit a failed or aborted work request again
    Retry {
        /// Work request
        id: i64,
    },
    /// Give a work request up, also while it runs
    Abort {
        /// Work request
        id: i64,
    },
    /// Change the priority of a work request
    Manage {
        /// Work request
        id: i64,
        /// Added to the priority; higher comes first
        #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
        set_priority_adjustment: Option<i32>,
    },
    /// Run a command whenever a work request ends
    OnCompleted(on_completed::Args),
    /// Accept or reject a work request that waits for approval, or note something about it
    Unblock(decide::UnblockArgs),
    /// Say yes or no to a work request that waits for a confirmation
    Confirm(decide::ConfirmArgs),
}

/// What `manage` says if there is nothing to do.
pub const NOTHING_TO_CHANGE: &str = "Error: no changes specified";

const WAIT_HELP: &str = "\
Exit status: 0 success or skipped, 10 failure, 11 temporary failure, 12 error,
13 aborted, 14 not ended within --timeout, 3 if the server cannot be asked.
A work request that the server replaced by a new one, because its worker was
lost or it failed temporarily, is followed there.

Example: usine work-request wait 42 --timeout 3600 && usine artifact list --work-request 42";

/// Runs the command.
pub async fn run(args: Args, before: &Connection) -> anyhow::Result<Code> {
    let ui = Ui::new(args.output.format());
    let Connected { client, config } = args.connection.or(before).open()?;
    match args.command {
        Commands::Create(args) => create::run(&client, &config, ui, args).await?,
        Commands::Show { id } => view::show(&client, ui, id).await?,
        Commands::List { limit, status, task_type, workspace: _ } => {
            let filter = WorkRequestFilter { status, task_type, ..WorkRequestFilter::default() };
            view::list(ui, &client.work_requests(&filter, limit).await?)?;
        }
        Commands::Watch { id } => return follow::watch(&client, ui, id).await,
        Commands::Wait { id, timeout } => return follow::wait(&client, id, timeout.map(Duration::from_secs)).await,
        Commands::Logs { follow, id } => logs::run(&client, id, follow).await?,
        Commands::Retry { id } => {
            let heir = client.retry_work_request(id).await?;
            if heir.id != id {
                eprintln!("Work request {} takes the place of {id}.", heir.id);
            }
        }
        Commands::Abort { id } => {
            client.abort_work_request(id).await?;
        }
        Commands::Manage { id, set_priority_adjustment } => {
            let priority_adjustment = set_priority_adjustment.ok_or_else(|| failure(NOTHING_TO_CHANGE))?;
            client.update_work_request(id, &UpdateWorkRequest { priority_adjustment }).await?;
        }
        Commands::OnCompleted(args) => on_completed::run(&client, args).await?,
        Commands::Unblock(args) => decide::unblock(&client, ui, args).await?,
        Commands::Confirm(args) => decide::confirm(&client, ui, args).await?,
    }
    Ok(Code::Success)
}
