//! Commands of Debian's administration command whose part of the server is not there yet. They are known, so that a script
//! learns that usine cannot do it, not that its command line is wrong.

use clap::Subcommand;

use crate::debusine::client::absent::Rest;
use crate::exit::failure;

/// The commands.
#[derive(Debug, Subcommand, strum::IntoStaticStr)]
#[command(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Commands {
    /// Delete what has expired (not there yet)
    DeleteExpired(Rest),
    /// Clear away what was begun and never ended (not there yet)
    VacuumStorage(Rest),
    /// Compare the file store with the database (not there yet)
    Fsck(Rest),
    /// Pools of workers (not there yet)
    WorkerPool(Rest),
    /// Start workflows (not there yet)
    CreateWorkflow(Rest),
    /// Collections (not there yet)
    CreateCollection(Rest),
    /// Assets, such as signing keys (not there yet)
    Asset(Rest),
    /// Stores of files (not there yet)
    FileStore(Rest),
    /// Channels of notifications (not there yet)
    CreateNotificationChannel(Rest),
    /// Channels of notifications (not there yet)
    DeleteNotificationChannel(Rest),
    /// Channels of notifications (not there yet)
    ListNotificationChannels(Rest),
    /// Channels of notifications (not there yet)
    ManageNotificationChannel(Rest),
    /// Statistics of tasks (not there yet)
    UpdateStatistics(Rest),
    /// Tags of the scheduler (not there yet)
    CheckSchedulerTags(Rest),
    /// Accounts of other sites (not there yet)
    SignonSync(Rest),
    /// Python code: there is no Python here
    Shell(Rest),
}

impl Commands {
    /// What to say.
    pub fn error(&self) -> anyhow::Error {
        let name: &str = self.into();
        failure(format!("CommandError: `debusine-admin {name}` is not there yet; see the limits in usine's README"))
    }
}
