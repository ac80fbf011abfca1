//! The flat command names of older releases, and what each is called today.

use clap::Subcommand;

use super::{absent, artifact, work_request, workspace};
use crate::command::artifact::{create, download, import};
use crate::command::work_request::on_completed;
use crate::command::workspace::inheritance;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Submit a work request
    #[command(hide = true)]
    CreateWorkRequest(work_request::CreateArgs),
    /// Show a work request and its artifacts
    #[command(hide = true)]
    ShowWorkRequest {
        /// Work request
        id: i64,
    },
    /// List the newest work requests
    #[command(hide = true)]
    ListWorkRequests(work_request::ListArgs),
    /// Change the priority of a work request
    #[command(hide = true)]
    ManageWorkRequest(work_request::ManageArgs),
    /// Submit a failed or aborted work request again
    #[command(hide = true)]
    RetryWorkRequest {
        /// Work request
        id: i64,
    },
    /// Give a work request up, also while it runs
    #[command(hide = true)]
    AbortWorkRequest {
        /// Work request
        id: i64,
    },
    /// Run a command whenever a work request ends
    #[command(hide = true)]
    OnWorkRequestCompleted(on_completed::Args),
    /// Create an artifact from files
    #[command(hide = true, after_help = "")]
    CreateArtifact(create::Args),
    /// Import a Debian source package, upload or binary package: .dsc, .changes, .deb
    #[command(hide = true, after_help = "")]
    ImportDebianArtifact(import::Args),
    /// Show an artifact and its files
    #[command(hide = true)]
    ShowArtifact {
        /// Artifact
        id: i64,
    },
    /// Show which artifacts an artifact relates to
    #[command(hide = true)]
    ShowArtifactRelations {
        /// Artifact
        id: i64,
        /// Show which artifacts relate to this one
        #[arg(long)]
        reverse: bool,
    },
    /// Download the files of an artifact
    #[command(hide = true)]
    DownloadArtifact(download::Args),
    /// Show or change from which workspaces a workspace inherits, in their order
    #[command(hide = true, after_help = "")]
    WorkspaceInheritance(inheritance::Args),
    /// Not there yet
    #[command(hide = true)]
    ProvideSignature(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    CreateWorkflow(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    CreateWorkflowTemplate(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    CreateAsset(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    ListAssets(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    TaskConfigPull(absent::Rest),
    /// Not there yet
    #[command(hide = true)]
    TaskConfigPush(absent::Rest),
}

impl Commands {
    /// The same command under its new name.
    pub fn renamed(self) -> super::Commands {
        use super::Commands::{Absent, Artifact, WorkRequest, Workspace};
        match self {
            Self::CreateWorkRequest(args) => WorkRequest(work_request::Commands::Create(args)),
            Self::ShowWorkRequest { id } => WorkRequest(work_request::Commands::Show { id }),
            Self::ListWorkRequests(args) => WorkRequest(work_request::Commands::List(args)),
            Self::ManageWorkRequest(args) => WorkRequest(work_request::Commands::Manage(args)),
            Self::RetryWorkRequest { id } => WorkRequest(work_request::Commands::Retry { id }),
            Self::AbortWorkRequest { id } => WorkRequest(work_request::Commands::Abort { id }),
            Self::OnWorkRequestCompleted(args) => WorkRequest(work_request::Commands::OnCompleted(args)),
            Self::CreateArtifact(args) => Artifact(artifact::Commands::Create(args)),
            Self::ImportDebianArtifact(args) => Artifact(artifact::Commands::ImportDebian(args)),
            Self::ShowArtifact { id } => Artifact(artifact::Commands::Show { id }),
            Self::ShowArtifactRelations { id, reverse } => Artifact(artifact::Commands::ShowRelations { id, reverse }),
            Self::DownloadArtifact(args) => Artifact(artifact::Commands::Download(args)),
            Self::WorkspaceInheritance(args) => Workspace(workspace::Commands::Inheritance(args)),
            Self::ProvideSignature(rest) => WorkRequest(work_request::Commands::Sign(rest)),
            Self::CreateWorkflow(rest) => Absent(absent::Commands::Workflow(rest)),
            Self::CreateWorkflowTemplate(rest) => Absent(absent::Commands::WorkflowTemplate(rest)),
            Self::CreateAsset(rest) | Self::ListAssets(rest) => Absent(absent::Commands::Asset(rest)),
            Self::TaskConfigPull(rest) | Self::TaskConfigPush(rest) => Absent(absent::Commands::TaskConfig(rest)),
        }
    }
}
