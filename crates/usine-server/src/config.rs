//! The server's configuration: one TOML file, every key optional, unknown keys refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use usine_store::S3Settings;

/// What the server is told. Every default works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Address to listen on.
    pub bind: SocketAddr,
    /// Where everything is kept that is not told otherwise: database, files, logs.
    pub data_directory: PathBuf,
    /// `sqlite:PATH` or `postgres://…`; `sqlite:<data-directory>/usine.db` if missing.
    pub database: Option<String>,
    /// Name under which tasks know the server.
    pub fqdn: String,
    /// Architecture of tasks that name none.
    pub fallback_architecture: String,
    /// Scope of requests that name none.
    pub default_scope: String,
    /// Workspace of requests that name none.
    pub default_workspace: String,
    /// Seconds without a sign of life after which a worker loses its work.
    pub lease: u32,
    /// Seconds between looks at what the clock decides: leases, deadlines.
    pub upkeep_interval: u32,
    /// Seconds between runs of expiry; 0 is never.
    pub expire_interval: u32,
    /// Seconds between runs of the vacuum; 0 is never.
    pub vacuum_interval: u32,
    /// Seconds that the log of an ended work request is kept for followers.
    pub live_log_life: u32,
    /// Most bytes of live log that are kept of one work request.
    pub live_log_size: u64,
    /// Most connections at once that are no channels.
    pub max_connections: u32,
    /// Most channels (WebSockets of workers and followers) at once.
    pub max_channels: u32,
    /// Most requests that are worked on at once.
    pub max_requests: u32,
    /// Most requests that wait for their turn; further ones are answered 503.
    pub max_waiting: u32,
    /// Most large bodies that are on their way at once, in either direction.
    pub max_transfers: u32,
    /// Seconds in which the head of a request must have come, and that a connection may be idle.
    pub header_timeout: u32,
    /// What this server is called among several on one database; host name and data directory if missing.
    pub server_name: Option<String>,
    /// Where complete files are.
    pub store: StoreConfig,
}

/// Where complete files are: in the data directory, if nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreConfig {
    /// In a bucket of an S3-compatible service.
    pub s3: Option<S3Config>,
}

/// A bucket of an S3-compatible service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct S3Config {
    /// Address of the service.
    pub endpoint: String,
    /// Name of the bucket, which must exist.
    pub bucket: String,
    /// Region, as signatures want it.
    #[serde(default = "default_region")]
    pub region: String,
    /// What comes before the names of all objects.
    #[serde(default)]
    pub prefix: String,
    /// The access key; else it is in the environment.
    pub access_key: Option<String>,
    /// A file that has the secret key in it; else it is in the environment.
    pub secret_key_file: Option<PathBuf>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// Where keys are that the configuration does not have: as with the tools of the original service.
const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8016)),
            data_directory: PathBuf::from("/var/lib/usine"),
            database: None,
            fqdn: "localhost".to_owned(),
            fallback_architecture: "amd64".to_owned(),
            default_scope: usine_protocol::DEFAULT_SCOPE.to_owned(),
            default_workspace: usine_protocol::DEFAULT_WORKSPACE.to_owned(),
            lease: 90,
            upkeep_interval: 5,
            expire_interval: 3600,
            vacuum_interval: 24 * 3600,
            live_log_life: 12 * 3600,
            live_log_size: 256 << 20,
            max_connections: 4096,
            max_channels: 4096,
            max_requests: 64,
            max_waiting: 1024,
            max_transfers: 256,
            // Longer than the minute that proxies keep connections for later.
            header_timeout: 65,
            server_name: None,
            store: StoreConfig::default(),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be: the text names line and key.
    #[error("the configuration {path} is not valid: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What and where.
        problem: String,
    },
    /// The keys of the store are not there.
    #[error("store.s3: {0}")]
    Keys(String),
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let invalid = |problem: String| ConfigError::Invalid { path: path.to_owned(), problem };
        let config: Self = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    /// The rules between and about the keys.
    fn check(&self) -> Result<(), String> {
        if self.lease < 30 {
            return Err(format!(
                "lease = {}: workers reconnect within seconds, not at once; use at least 30",
                self.lease
            ));
        }
        if self.upkeep_interval == 0 || self.upkeep_interval > self.lease {
            return Err(format!("upkeep-interval = {}: use 1 to {} (the lease)", self.upkeep_interval, self.lease));
        }
        if let Some(url) = &self.database
            && !(url.starts_with("sqlite:") || url.starts_with("postgres:") || url.starts_with("postgresql:"))
        {
            return Err(format!("database = {url:?}: use sqlite:PATH or postgres://USER@HOST/NAME"));
        }
        for (key, number) in [
            ("max-connections", self.max_connections),
            ("max-channels", self.max_channels),
            ("max-requests", self.max_requests),
            ("max-waiting", self.max_waiting),
            ("max-transfers", self.max_transfers),
            ("header-timeout", self.header_timeout),
        ] {
            if !(1..=1_000_000).contains(&number) {
                return Err(format!("{key} = {number}: use 1 to 1000000"));
            }
        }
        for (key, name) in [("default-scope", &self.default_scope), ("default-workspace", &self.default_workspace)] {
            if !usine_model::names::is_valid_name(name) {
                return Err(format!(
                    "{key} = {name:?}: a name begins with a letter and has letters, digits and + . _ -"
                ));
            }
        }
        if let Some(s3) = &self.store.s3 {
            if !(s3.endpoint.starts_with("https://") || s3.endpoint.starts_with("http://")) {
                let endpoint = &s3.endpoint;
                return Err(format!("store.s3.endpoint = {endpoint:?}: use https://HOST, without the bucket"));
            }
            if s3.bucket.is_empty() {
                return Err("store.s3.bucket = \"\": name the bucket".to_owned());
            }
        }
        Ok(())
    }

    /// The database's URL.
    pub fn database_url(&self) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite:{}", self.data_directory.join("usine.db").display()))
    }

    /// What this server is called among several. It must stay the same from start to start.
    pub fn server_name(&self) -> String {
        self.server_name.clone().unwrap_or_else(|| {
            let host = rustix::system::uname();
            let directory = std::path::absolute(&self.data_directory).unwrap_or_else(|_| self.data_directory.clone());
            format!("{}:{}", host.nodename().to_string_lossy(), directory.display())
        })
    }

    /// The bucket with complete files and the keys to it, if they are in one.
    pub fn s3(&self) -> Result<Option<S3Settings>, ConfigError> {
        let Some(s3) = &self.store.s3 else { return Ok(None) };
        let from_environment = |name: &str, key: &str| {
            std::env::var(name).map_err(|_| ConfigError::Keys(format!("set {key}, or the environment variable {name}")))
        };
        let access_key = match &s3.access_key {
            Some(key) => key.clone(),
            None => from_environment(ACCESS_KEY, "access-key")?,
        };
        let secret_key = match &s3.secret_key_file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Keys(format!("cannot read secret-key-file {}: {error}", path.display())))?
                .trim()
                .to_owned(),
            None => from_environment(SECRET_KEY, "secret-key-file")?,
        };
        let S3Config { endpoint, bucket, region, prefix, .. } = s3.clone();
        Ok(Some(S3Settings { endpoint, bucket, region, prefix, access_key, secret_key }))
    }

    /// Where complete files are, if they are on this machine.
    pub fn store_directory(&self) -> PathBuf {
        self.data_directory.join("store")
    }

    /// Where files wait while they are uploaded.
    pub fn upload_directory(&self) -> PathBuf {
        self.data_directory.join("uploads")
    }

    /// Where packages wait that browsers bring. Emptied at the start.
    pub fn incoming_directory(&self) -> PathBuf {
        self.data_directory.join("incoming")
    }

    /// Where live logs are.
    pub fn live_log_directory(&self) -> PathBuf {
        self.data_directory.join("live-logs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn every_default_works() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("lease = 60").unwrap().lease, 60);
        assert_eq!(read("expire-interval = 0").unwrap().expire_interval, 0);
        assert_eq!(Config::default().database_url(), "sqlite:/var/lib/usine/usine.db");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, hint) in [
            ("lesae = 60", "lesae"),
            ("lease = 1", "at least 30"),
            ("lease = \"x\"", "lease"),
            ("database = \"mysql://x\"", "sqlite:PATH"),
            ("upkeep-interval = 0", "upkeep-interval"),
            ("default-scope = \"a b\"", "default-scope"),
            ("max-requests = 0", "max-requests = 0: use 1"),
            ("header-timeout = 1000001", "header-timeout"),
            ("[", "not valid"),
            ("[store.s3]\nendpoint = \"https://s3.example.org\"", "bucket"),
            ("[store.s3]\nendpoint = \"s3.example.org\"\nbucket = \"b\"", "https://HOST"),
            ("[store.s3]\nendpoint = \"https://s3.example.org\"\nbucket = \"b\"\nsecret-key = \"x\"", "secret-key"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
        assert!(Config::read(Path::new("/nonexistent.toml")).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn the_keys_of_a_bucket_are_in_files() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        let text = format!(
            "[store.s3]\nendpoint = \"https://s3.example.org/\"\nbucket = \"b\"\nprefix = \"p\"\naccess-key = \"a\"\n\
             secret-key-file = {secret:?}"
        );
        let config = read(&text).unwrap();
        let error = config.s3().unwrap_err().to_string();
        assert!(error.contains("secret-key-file") && error.contains("No such file"), "{error}");
        std::fs::write(&secret, "s3cret\n").unwrap();
        let settings = config.s3().unwrap().unwrap();
        assert_eq!((&*settings.secret_key, &*settings.region), ("s3cret", "us-east-1"));
        assert_eq!(settings.place(), "https://s3.example.org/b/p");
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert_eq!(Config::default().s3().unwrap(), None);
    }
}
