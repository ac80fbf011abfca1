//! Databases for tests: each test gets its own, empty but for the first objects, on SQLite and on PostgreSQL.
//!
//! ```ignore
//! both! {
//!     async fn a_thing_happens(db: &Database) { … }   // tests a_thing_happens::sqlite and a_thing_happens::postgres
//! }
//! ```

// Each test binary uses another part of this.
#![allow(dead_code, unused_macros, unused_imports)]

pub mod dice;
mod postgres;

use std::ops::Deref;

use tempfile::TempDir;
use usine_db::Database;

/// A database of one test, with its schema.
pub struct TestDatabase {
    database: Database,
    url: String,
    kind: Kind,
}

/// What must go when the test is over.
enum Kind {
    Sqlite(TempDir),
    Postgres(String),
}

impl TestDatabase {
    /// In a directory of its own.
    pub async fn sqlite() -> Self {
        Self::bare_sqlite().await.migrated().await
    }

    /// In the cluster that all tests share: the one that `USINE_TEST_POSTGRES_URL` names (a database in which databases
    /// can be made), or else one that this process starts.
    pub async fn postgres() -> Self {
        Self::bare_postgres().await.migrated().await
    }

    /// As [`TestDatabase::sqlite`], without any table.
    pub async fn bare_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("usine.sqlite").display());
        Self::open(url, Kind::Sqlite(directory)).await
    }

    /// As [`TestDatabase::postgres`], without any table.
    pub async fn bare_postgres() -> Self {
        let (name, url) = postgres::create_database().await;
        Self::open(url, Kind::Postgres(name)).await
    }

    async fn open(url: String, kind: Kind) -> Self {
        let database = Database::connect(&url).await.unwrap();
        Self { database, url, kind }
    }

    async fn migrated(self) -> Self {
        self.database.migrate().await.unwrap();
        self
    }

    /// Where it is, for a second connection or another process.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes and removes it. A test that fails leaves its database behind; the cluster's end removes that.
    pub async fn remove(self) {
        self.database.close().await;
        match self.kind {
            Kind::Sqlite(directory) => directory.close().unwrap(),
            Kind::Postgres(name) => postgres::drop_database(&name).await,
        }
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// One of each engine.
pub async fn databases() -> Vec<(&'static str, TestDatabase)> {
    vec![("sqlite", TestDatabase::sqlite().await), ("postgres", TestDatabase::postgres().await)]
}

/// Makes two tests of each story: `name::sqlite` and `name::postgres`.
macro_rules! both {
    ($($(#[$attribute:meta])* async fn $name:ident($database:ident: &Database) $body:block)+) => {
        $(mod $name {
            use super::*;

            $(#[$attribute])*
            async fn story($database: &usine_db::Database) $body

            #[tokio::test]
            async fn sqlite() {
                let database = $crate::support::TestDatabase::sqlite().await;
                story(&database).await;
                database.remove().await;
            }

            #[tokio::test]
            async fn postgres() {
                let database = $crate::support::TestDatabase::postgres().await;
                story(&database).await;
                database.remove().await;
            }
        })+
    };
}
pub(crate) use both;
