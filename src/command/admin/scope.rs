//! `usine admin scope`.

use clap::Subcommand;
use serde_json::{Value, json};
use usine_db::tenancy::{OWNERS, Scope};
use usine_db::{ArtifactManager, Database, GroupManager, ScopeManager};
use usine_model::clock::Clock;
use usine_model::permission::ScopeRole;

use super::names::{self, would_be_invalid};
use super::{command_error, listing, role};
use crate::ambient::SystemClock;
use crate::output::Ui;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Create a scope with its group Members, or change one that is there
    Create(CreateArgs),
    /// Give a scope another name
    Rename {
        /// Scope
        scope: String,
        /// Its new name
        name: String,
    },
    /// Show a scope and where its files are kept
    Show {
        /// Scope
        scope: String,
    },
    /// List the scopes
    List,
    /// Show which groups hold which roles on a scope
    #[command(alias = "list_roles")]
    ListRoles {
        /// Scope
        scope: String,
    },
    /// Give groups a role on a scope: aware, observer or owner
    #[command(alias = "grant_role")]
    GrantRole {
        /// Scope
        scope: String,
        #[command(flatten)]
        change: role::Change,
    },
    /// Take a role on a scope from groups
    #[command(alias = "revoke_role")]
    RevokeRole {
        /// Scope
        scope: String,
        #[command(flatten)]
        change: role::Change,
    },
}

/// Arguments of `scope create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name
    name: String,
    /// Create a group that owns the scope, too [default name: Owners]
    #[arg(long, value_name = "GROUP", num_args = 0..=1, default_missing_value = OWNERS)]
    with_owners_group: Option<String>,
    /// Its name for people [default: the name with a capital letter]
    #[arg(long)]
    label: Option<String>,
    /// Its picture, for web pages
    #[arg(long)]
    icon: Option<String>,
    /// Anybody may know of the scope [default for a new one]
    #[arg(long, conflicts_with = "private")]
    public: bool,
    /// Only its members may know of the scope
    #[arg(long)]
    private: bool,
    /// Where its files are kept: one of the stores for all scopes
    #[arg(long, value_name = "STORE")]
    file_store: Option<String>,
}

/// Runs the command.
pub async fn run(database: &Database, ui: Ui, command: Commands) -> anyhow::Result<()> {
    let scopes = ScopeManager(database);
    let now = SystemClock.now();
    match command {
        Commands::Create(args) => create(database, args).await,
        Commands::Rename { scope, name } => {
            let scope = names::scope(database, &scope).await?;
            if scope.name != name {
                scopes.rename(&scope, &name, None, now).await.map_err(would_be_invalid("Renamed scope"))?;
            }
            Ok(())
        }
        Commands::Show { scope } => show(database, ui, &names::scope(database, &scope).await?).await,
        Commands::List => {
            let rows: Vec<Value> = scopes.list().await?.iter().map(row).collect();
            listing(ui, &COLUMNS, &rows)
        }
        Commands::ListRoles { scope } => {
            let scope = names::scope(database, &scope).await?;
            role::list(ui, &scopes.list_roles(&scope).await?)
        }
        Commands::GrantRole { scope, change } => {
            let scope = names::scope(database, &scope).await?;
            let role: ScopeRole = role::parse(&change.role)?;
            for group in names::groups_of(database, &scope, &change.groups).await? {
                scopes.grant_role(&scope, &group, role, None, now).await.map_err(command_error)?;
            }
            Ok(())
        }
        Commands::RevokeRole { scope, change } => {
            let scope = names::scope(database, &scope).await?;
            let role: ScopeRole = role::parse(&change.role)?;
            for group in names::groups_of(database, &scope, &change.groups).await? {
                scopes.revoke_role(&scope, &group, role, None, now).await.map_err(command_error)?;
            }
            Ok(())
        }
    }
}

async fn create(database: &Database, args: CreateArgs) -> anyhow::Result<()> {
    let scopes = ScopeManager(database);
    let now = SystemClock.now();
    if let Some(name) = &args.file_store {
        let known = ArtifactManager(database).stores().await?;
        if !known.iter().any(|store| store.name == *name) {
            return Err(command_error(format!("File store '{name}' not found")));
        }
    }
    let owners = args.with_owners_group.as_deref();
    let (label, invalid) = (args.label.as_deref(), would_be_invalid("New scope"));
    let scope = match scopes.get_scope_or_none(&args.name).await? {
        Some(scope) => {
            if let Some(owners) = owners {
                let group = match GroupManager(database).get_group_or_none(&scope, None, owners).await? {
                    Some(group) => group,
                    None => {
                        let made = GroupManager(database).create(&scope, None, owners, false, None, now).await;
                        made.map_err(&invalid)?
                    }
                };
                scopes.grant_role(&scope, &group, ScopeRole::Owner, None, now).await?;
            }
            scope
        }
        None => scopes.create(&args.name, label, owners, None, now).await.map_err(&invalid)?,
    };
    let public = (args.public || args.private).then_some(args.public);
    scopes.update(&scope, label, args.icon.as_deref(), public, None, now).await.map_err(&invalid)?;
    Ok(())
}

const COLUMNS: [(&str, &str); 3] = [("name", "Name"), ("label", "Label"), ("public", "Public")];

fn row(scope: &Scope) -> Value {
    json!({"name": scope.name, "label": scope.label, "public": scope.public})
}

async fn show(database: &Database, ui: Ui, scope: &Scope) -> anyhow::Result<()> {
    let stores = ArtifactManager(database).stores().await?;
    let rows: Vec<Value> = stores
        .iter()
        .filter(|store| store.instance_wide)
        .map(|store| {
            let mut row = row(scope);
            row["file_store"] = json!(store.name);
            row["backend"] = json!(store.backend);
            row
        })
        .collect();
    let columns = [&COLUMNS[..], &[("file_store", "File store name"), ("backend", "Backend")]].concat();
    listing(ui, &columns, &rows)
}
