//! The schema and its changes, forward only. Each migration is a text of SQL that both engines understand, but for the
//! few words in braces. All that a database lacks are done in one transaction, see [`crate::Database::migrate`].

mod generation;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::prelude::*;

use crate::{Error, Result};

/// All migrations, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        macro_rules! step {
            ($name:literal) => {
                Step::new($name, include_str!(concat!($name, ".sql")))
            };
        }
        vec![
            Box::new(Step { then: first_objects, ..step!("m20261123_000001_initial") }),
            Box::new(step!("m20261124_000002_limits")),
            Box::new(step!("m20261129_000003_tenancy")),
            Box::new(step!("m20261129_000004_upkeep")),
            Box::new(step!("m20261129_000005_pages")),
            Box::new(Step { then: generation::triggers, ..step!("m20261129_000006_shares") }),
            Box::new(step!("m20261129_000007_servers")),
            Box::new(Step { then: few_supersede, ..step!("m20261130_000008_indexes") }),
        ]
    }
}

/// The step that the schema of a database is ahead of this program, if it is.
///
/// So that servers can be upgraded one after the other, a program goes on with a schema that has exactly one migration more than
/// it knows. A migration must therefore leave the version before it able to work: it adds, and what is taken away goes one
/// version later.
///
/// # Errors
/// [`Error::SchemaAhead`] if there are more, or one that is not the next, or the database lacks others.
pub(crate) async fn ahead(connection: &impl ConnectionTrait) -> Result<Option<String>> {
    let known: BTreeSet<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    // The table of migrations may not be there yet; only PostgreSQL minds being asked in a transaction.
    let table = match connection.get_database_backend() {
        DbBackend::Postgres => "SELECT to_regclass('seaql_migrations') IS NOT NULL AS there",
        _ => "SELECT COUNT(*) > 0 AS there FROM sqlite_master WHERE name = 'seaql_migrations'",
    };
    let query = async |sql: &str| {
        connection.query_all_raw(sea_orm::Statement::from_string(connection.get_database_backend(), sql)).await
    };
    let there = query(table).await?.first().map(|row| row.try_get::<bool>("", "there")).transpose()?;
    if there != Some(true) {
        return Ok(None);
    }
    let rows = query("SELECT version FROM seaql_migrations ORDER BY version").await?;
    let applied: BTreeSet<String> = rows.iter().map(|row| row.try_get("", "version")).collect::<Result<_, DbErr>>()?;
    let mut unknown: Vec<String> = applied.difference(&known).cloned().collect();
    match unknown.pop() {
        None => Ok(None),
        Some(step) if unknown.is_empty() && known.is_subset(&applied) && known.last() < Some(&step) => Ok(Some(step)),
        Some(step) => {
            unknown.push(step);
            Err(Error::SchemaAhead { steps: unknown })
        }
    }
}

/// What the original's first migration leaves behind: system user, scope, workspace, file store.
const FIRST_OBJECTS: &str = r#"
INSERT INTO "user" (username, is_system, is_active, date_joined) VALUES ('_system', TRUE, TRUE, CURRENT_TIMESTAMP);
INSERT INTO scope (name, label) VALUES ('debusine', 'Debusine');
INSERT INTO workspace (scope_id, name, public, created_at) SELECT id, 'System', TRUE, CURRENT_TIMESTAMP FROM scope;
INSERT INTO file_store (name, backend) VALUES ('Default', 'Local');
"#;

/// Most work requests supersede none. Only PostgreSQL can drop the index of a `UNIQUE` column; SQLite writes to it only once.
const FEW_SUPERSEDE: &str = "
ALTER TABLE work_request DROP CONSTRAINT work_request_supersedes_id_key;
CREATE UNIQUE INDEX work_request_supersedes ON work_request (supersedes_id) WHERE supersedes_id IS NOT NULL;
";

/// A migration.
struct Step {
    /// What it is known by in the database.
    name: &'static str,
    /// What it does, see [`dialect`].
    sql: &'static str,
    /// What it then does on this engine.
    then: fn(DbBackend) -> String,
}

impl Step {
    /// One that is the same on both engines.
    const fn new(name: &'static str, sql: &'static str) -> Self {
        Self { name, sql, then: |_| String::new() }
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        connection.execute_unprepared(&dialect(self.sql, backend)).await?;
        let then = (self.then)(backend);
        if !then.is_empty() {
            connection.execute_unprepared(&then).await?;
        }
        Ok(())
    }
}

/// The objects that must exist in every database.
fn first_objects(backend: DbBackend) -> String {
    if backend == DbBackend::Postgres {
        let reference = "ALTER TABLE token ADD FOREIGN KEY (work_request_id) REFERENCES work_request (id);";
        format!("{reference}{}", FIRST_OBJECTS.replace("CURRENT_TIMESTAMP", "now()"))
    } else {
        FIRST_OBJECTS.replace("CURRENT_TIMESTAMP", "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')")
    }
}

fn few_supersede(backend: DbBackend) -> String {
    if backend == DbBackend::Postgres { FEW_SUPERSEDE.to_owned() } else { String::new() }
}

/// Fills in the words that the engines spell differently.
fn dialect(sql: &str, backend: DbBackend) -> String {
    let words: [(&str, &str); 6] = match backend {
        DbBackend::Postgres => [
            ("{id}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
            ("{json}", "JSONB"),
            ("{time}", "TIMESTAMPTZ"),
            ("{bytes}", "BYTEA"),
            // Ordered by code points in every locale, so that a prefix is a range.
            ("{exact}", "COLLATE \"C\""),
            // PostgreSQL cannot refer to a table that does not exist yet: such references are added afterwards.
            ("{later work_request}", ""),
        ],
        _ => [
            ("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{json}", "TEXT"),
            ("{time}", "TEXT"),
            ("{bytes}", "BLOB"),
            ("{exact}", "COLLATE BINARY"),
            ("{later work_request}", "REFERENCES work_request (id)"),
        ],
    };
    words.iter().fold(sql.to_owned(), |sql, (word, spelling)| sql.replace(word, spelling))
}
