//! `usine admin token`: the tokens with which the programs of users show who they are.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::token::TokenSpec;
use usine_db::{Database, Token, TokenManager, UserManager};
use usine_model::clock::Clock;
use usine_model::token::{TokenType, hash_of};

use super::{command_error, confirm, listing};
use crate::ambient::{OsEntropy, SystemClock};
use crate::input;
use crate::output::{Ui, native_time};

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create an enabled token for a user and print its key: it is shown once
    Create {
        /// Name of the user
        username: String,
        /// What it is for
        #[arg(long, default_value = "")]
        comment: String,
        /// Date or time (ISO 8601, UTC) when it stops working [default: never]
        #[arg(long, value_name = "TIME", value_parser = input::parse_time)]
        expire_at: Option<DateTime<Utc>>,
    },
    /// List tokens, also those that have expired
    List(Filter),
    /// Let a token work
    Enable {
        /// Key or hash of the token
        token: String,
    },
    /// Stop a token from working
    Disable {
        /// Key or hash of the token
        token: String,
    },
    /// Delete tokens; all that match, after asking
    Delete {
        #[command(flatten)]
        filter: Filter,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Nothing to delete is fine
        #[arg(long)]
        force: bool,
    },
}

/// Which tokens. Both conditions must hold.
#[derive(Debug, clap::Args)]
pub struct Filter {
    /// Only the tokens of this user
    #[arg(long, value_name = "USER")]
    username: Option<String>,
    /// Only the token with this key or hash
    #[arg(long, value_name = "KEY")]
    token: Option<String>,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let now = SystemClock.now();
    match command {
        Commands::Create { username, comment, expire_at } => {
            let user = UserManager(database).get_user_or_none(&username).await?;
            let user =
                user.ok_or_else(|| command_error(format!("Cannot create token: \"{username}\" does not exist")))?;
            let spec = TokenSpec { comment, expire_at, enabled: true, ..TokenSpec::of_user(user.id) };
            let created = TokenManager(database).create(spec, &OsEntropy, now).await.map_err(command_error)?;
            Ok(ui.line(created.key.reveal())?)
        }
        Commands::List(filter) => show(ui, &matching(database, &filter).await?),
        Commands::Enable { token } => Ok(one(database, &token).await?.enable(database, now).await?),
        Commands::Disable { token } => Ok(one(database, &token).await?.disable(database, now).await?),
        Commands::Delete { filter, yes, force } => {
            let found = matching(database, &filter).await?;
            if found.is_empty() {
                let nothing = "There are no tokens to be deleted";
                return if force { Ok(ui.line(nothing)?) } else { Err(command_error(nothing)) };
            }
            if !yes {
                show(ui, &found)?;
                if !confirm("Would you like to delete them?")? {
                    return Ok(());
                }
            }
            for (_, token) in &found {
                TokenManager(database).delete(token).await.map_err(command_error)?;
            }
            Ok(())
        }
    }
}

/// The tokens of people (those of workers and work requests belong to these), by user and age.
async fn matching(database: &Database, filter: &Filter) -> anyhow::Result<Vec<(String, Token)>> {
    let tokens = TokenManager(database)
        .get_tokens(filter.username.as_deref(), None, true, SystemClock.now())
        .all(database.reader())
        .await
        .map_err(usine_db::Error::from)?;
    let mut found = Vec::new();
    for token in tokens {
        let is_personal = matches!(*token.token_type, TokenType::User | TokenType::ExternalUser);
        let is_meant = filter.token.as_ref().is_none_or(|text| is_named(&token, text));
        if is_personal && is_meant {
            found.push((token.get_username(database).await?, token));
        }
    }
    found.sort_by(|(a, x), (b, y)| (a, x.created_at, x.id).cmp(&(b, y.created_at, y.id)));
    Ok(found)
}

/// The one token with this key or hash, whatever it is for.
async fn one(database: &Database, text: &str) -> anyhow::Result<Token> {
    let tokens = TokenManager(database).get_tokens(None, None, true, SystemClock.now());
    let tokens = tokens.all(database.reader()).await.map_err(usine_db::Error::from)?;
    tokens.into_iter().find(|token| is_named(token, text)).ok_or_else(|| command_error("Token not found"))
}

fn is_named(token: &Token, text: &str) -> bool {
    token.hash == text || token.hash == hash_of(text).0
}

fn show(ui: Ui, tokens: &[(String, Token)]) -> anyhow::Result<()> {
    let rows: Vec<Value> = tokens
        .iter()
        .map(|(username, token)| {
            json!({
                "hash": token.hash,
                "user": username,
                "created": native_time(Some(token.created_at)),
                "expires": native_time(token.expire_at),
                "enabled": token.enabled,
                "comment": token.comment,
            })
        })
        .collect();
    let columns = [
        ("hash", "Token hash (do not copy)"),
        ("user", "User"),
        ("created", "Created"),
        ("expires", "Expires"),
        ("enabled", "Enabled"),
        ("comment", "Comment"),
    ];
    listing(ui, &columns, &rows)
}
