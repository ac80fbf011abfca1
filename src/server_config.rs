//! How the commands on the server's machine find its configuration: options, environment, `/etc/usine/server.toml`.

use std::path::{Path, PathBuf};

use usine_server::Config;

/// The server's configuration file, if none is named.
pub const DEFAULT_CONFIG: &str = "/etc/usine/server.toml";

/// Options of every command that opens the server's database.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServerOptions {
    /// The server's configuration file (TOML) [default: /etc/usine/server.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "USINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the server keeps its database and files; goes before the configuration file
    #[arg(long, value_name = "DIRECTORY", env = "USINE_DATA_DIRECTORY")]
    pub data_directory: Option<PathBuf>,
    /// sqlite:PATH or postgres://USER@HOST/NAME; goes before the configuration file
    #[arg(long, value_name = "URL", env = "USINE_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
}

impl ServerOptions {
    /// The configuration: the file, or the defaults, with what the options change.
    pub fn load(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None if Path::new(DEFAULT_CONFIG).exists() => Config::read(Path::new(DEFAULT_CONFIG))?,
            None => Config::default(),
        };
        if let Some(directory) = &self.data_directory {
            config.data_directory.clone_from(directory);
        }
        if let Some(database) = &self.database {
            config.database = Some(database.clone());
        }
        Ok(config)
    }
}
