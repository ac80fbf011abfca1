//! `usine admin user`.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::{Database, UserManager};
use usine_model::clock::Clock;

use super::{command_error, listing};
use crate::ambient::{OsEntropy, SystemClock};
use crate::output::{Ui, native_time};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create a user and print the new password: it is shown once
    Create {
        /// Name
        username: String,
        /// E-mail address
        email: String,
    },
    /// List the users
    List,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let users = UserManager(database);
    match command {
        Commands::Create { username, email } => {
            let (_, password) =
                users.create(&username, &email, &OsEntropy, SystemClock.now()).await.map_err(command_error)?;
            Ok(ui.line(&password)?)
        }
        Commands::List => {
            let rows: Vec<Value> = users
                .list()
                .await?
                .iter()
                .map(|user| {
                    json!({"username": user.username, "email": user.email,
                        "date_joined": native_time(Some(user.date_joined))})
                })
                .collect();
            listing(ui, &[("username", "User"), ("email", "Email"), ("date_joined", "Joined")], &rows)
        }
    }
}
