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
        vec![
            Box::new(Initial),
            Box::new(Limits),
            Box::new(Tenancy),
            Box::new(Upkeep),
            Box::new(Pages),
            Box::new(Shares),
            Box::new(Servers),
            Box::new(Indexes),
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

/// The first schema, and the objects that must exist in every database.
struct Initial;

impl MigrationName for Initial {
    fn name(&self) -> &str {
        "m20261123_000001_initial"
    }
}

/// What the original's first migration leaves behind: system user, scope, workspace, file store.
const FIRST_OBJECTS: &str = r#"
INSERT INTO "user" (username, is_system, is_active, date_joined) VALUES ('_system', TRUE, TRUE, CURRENT_TIMESTAMP);
INSERT INTO scope (name, label) VALUES ('debusine', 'Debusine');
INSERT INTO workspace (scope_id, name, public, created_at) SELECT id, 'System', TRUE, CURRENT_TIMESTAMP FROM scope;
INSERT INTO file_store (name, backend) VALUES ('Default', 'Local');
"#;

#[async_trait::async_trait]
impl MigrationTrait for Initial {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        connection.execute_unprepared(&dialect(include_str!("m20261123_000001_initial.sql"), backend)).await?;
        if backend == DbBackend::Postgres {
            connection
                .execute_unprepared("ALTER TABLE token ADD FOREIGN KEY (work_request_id) REFERENCES work_request (id)")
                .await?;
        }
        let now = if backend == DbBackend::Postgres { "now()" } else { "strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')" };
        connection.execute_unprepared(&FIRST_OBJECTS.replace("CURRENT_TIMESTAMP", now)).await?;
        Ok(())
    }
}

/// Limits of resources, and the rest after temporary failures.
struct Limits;

impl MigrationName for Limits {
    fn name(&self) -> &str {
        "m20261124_000002_limits"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Limits {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let sql = dialect(include_str!("m20261124_000002_limits.sql"), connection.get_database_backend());
        connection.execute_unprepared(&sql).await?;
        Ok(())
    }
}

/// Groups, roles, inheritance, enrolment, sessions.
struct Tenancy;

impl MigrationName for Tenancy {
    fn name(&self) -> &str {
        "m20261129_000003_tenancy"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tenancy {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let sql = dialect(include_str!("m20261129_000003_tenancy.sql"), connection.get_database_backend());
        connection.execute_unprepared(&sql).await?;
        Ok(())
    }
}

/// Indexes for what upkeep looks for.
struct Upkeep;

impl MigrationName for Upkeep {
    fn name(&self) -> &str {
        "m20261129_000004_upkeep"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Upkeep {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let sql = dialect(include_str!("m20261129_000004_upkeep.sql"), connection.get_database_backend());
        connection.execute_unprepared(&sql).await?;
        Ok(())
    }
}

/// What pages show, and indexes for what they list.
struct Pages;

impl MigrationName for Pages {
    fn name(&self) -> &str {
        "m20261129_000005_pages"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Pages {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let sql = dialect(include_str!("m20261129_000005_pages.sql"), connection.get_database_backend());
        connection.execute_unprepared(&sql).await?;
        Ok(())
    }
}

/// Lanes of the queue, shares of owners, and the number that changes with who may do what.
struct Shares;

impl MigrationName for Shares {
    fn name(&self) -> &str {
        "m20261129_000006_shares"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Shares {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        let sql = dialect(include_str!("m20261129_000006_shares.sql"), backend);
        connection.execute_unprepared(&sql).await?;
        connection.execute_unprepared(&generation::triggers(backend)).await?;
        Ok(())
    }
}

/// Several servers on one database.
struct Servers;

impl MigrationName for Servers {
    fn name(&self) -> &str {
        "m20261129_000007_servers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Servers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let sql = dialect(include_str!("m20261129_000007_servers.sql"), connection.get_database_backend());
        connection.execute_unprepared(&sql).await?;
        Ok(())
    }
}

/// Indexes that cost less to write.
struct Indexes;

impl MigrationName for Indexes {
    fn name(&self) -> &str {
        "m20261130_000008_indexes"
    }
}

/// Most work requests supersede none. Only PostgreSQL can drop the index of a `UNIQUE` column; SQLite writes to it only once.
const FEW_SUPERSEDE: &str = "
ALTER TABLE work_request DROP CONSTRAINT work_request_supersedes_id_key;
CREATE UNIQUE INDEX work_request_supersedes ON work_request (supersedes_id) WHERE supersedes_id IS NOT NULL;
";

#[async_trait::async_trait]
impl MigrationTrait for Indexes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        connection.execute_unprepared(&dialect(include_str!("m20261130_000008_indexes.sql"), backend)).await?;
        if backend == DbBackend::Postgres {
            connection.execute_unprepared(FEW_SUPERSEDE).await?;
        }
        Ok(())
    }
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
