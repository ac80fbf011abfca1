//! `usine work-request unblock` and `confirm`: what a person decides about a work request that waits for them.

use usine_client::Client;
use usine_protocol::work_request::{ConfirmWorkRequest, UnblockAction, UnblockWorkRequest, WorkRequest};

use super::view;
use crate::output::{Format, Ui};

/// Arguments of `unblock`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("decision").args(["accept", "reject", "notes"]).required(true).multiple(true))]
pub struct UnblockArgs {
    /// Work request
    id: i64,
    /// Let it run
    #[arg(long, conflicts_with = "reject")]
    accept: bool,
    /// Abort it
    #[arg(long)]
    reject: bool,
    /// What you have to say about it; it is kept with the decision, or without one
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

/// Arguments of `confirm`.
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {
    /// Work request of the task confirm
    id: i64,
    /// Say no; what follows from that is in the data of the task
    #[arg(long)]
    deny: bool,
    /// What you have to say about it
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Tells the server, and shows what became of the work request.
pub async fn unblock(client: &Client, ui: Ui, args: UnblockArgs) -> anyhow::Result<()> {
    let action = match (args.accept, args.reject) {
        (true, _) => Some(UnblockAction::Accept),
        (_, true) => Some(UnblockAction::Reject),
        _ => None,
    };
    let decided = client.unblock_work_request(args.id, &UnblockWorkRequest { notes: args.notes, action }).await?;
    show(ui, &decided)
}

/// Tells the server, and shows what became of the work request.
pub async fn confirm(client: &Client, ui: Ui, args: ConfirmArgs) -> anyhow::Result<()> {
    let confirm = ConfirmWorkRequest { confirm: !args.deny, comment: args.comment };
    show(ui, &client.confirm_work_request(args.id, &confirm).await?)
}

fn show(ui: Ui, work_request: &WorkRequest) -> anyhow::Result<()> {
    if ui.format == Format::Human {
        return Ok(ui.line(&format!("work request {}: {}", work_request.id, view::status(work_request)))?);
    }
    Ok(ui.data(&view::mapping(work_request)?)?)
}
