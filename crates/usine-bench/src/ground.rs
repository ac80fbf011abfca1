//! What a measurement stands on.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use usine_model::clock::Clock;
use usine_model::entropy::Entropy;

/// The time, randomness and the program; the binary hands out the real things.
#[derive(Clone)]
pub struct Ground {
    /// The time of day, for rows that are written into the database.
    pub clock: Arc<dyn Clock>,
    /// Random bytes, for keys.
    pub entropy: Arc<dyn Entropy>,
    /// The program `usine`, which is started as the server.
    pub program: PathBuf,
    /// Where directories are made: on the file system that is measured.
    pub directory: PathBuf,
    /// Leave directories and databases for a look at them.
    pub keep: bool,
}

/// Which database is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file in the directory of the site.
    Sqlite,
    /// A new database, made by way of this one: `postgres://user@host/postgres`.
    Postgres(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            url if url.starts_with("postgres:") || url.starts_with("postgresql:") => Ok(Self::Postgres(url.to_owned())),
            other => Err(format!(
                "{other:?}: use sqlite, or postgres://USER@HOST/NAME of a database in which others can be made"
            )),
        }
    }
}

impl Place {
    /// Work requests per second, end to end, that the program should do on two processors, which the generator uses as well.
    pub fn target_rate(&self) -> f64 {
        match self {
            Self::Sqlite => 2000.0,
            Self::Postgres(_) => 1500.0,
        }
    }

    /// For tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!("sqlite".parse(), Ok(Place::Sqlite));
        assert_eq!("postgres://a@b/c".parse(), Ok(Place::Postgres("postgres://a@b/c".to_owned())));
        assert!("sqlite:x".parse::<Place>().is_err(), "a file that is there already is not written to");
    }
}
