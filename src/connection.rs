//! How the client's commands find their server: command line, environment, our own file, debusine's file.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use usine_client::config::{self, ServerConfig};
use usine_client::{Client, Options, Timeouts};

use crate::exit::failure;

/// Options of every command that talks to a server; accepted before and after the command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Connection {
    /// Server of the configuration file: its name or FQDN/scope [env: DEBUSINE_SERVER_NAME] [default: the file's default-server]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub server: Option<String>,
    /// Use another scope than the configuration file says
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    pub scope: Option<String>,
    /// Configuration file, debusine's INI or TOML [default: ~/.config/usine/client.toml, else ~/.config/debusine/client/config.ini]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Connection")]
    pub config_file: Option<PathBuf>,
}

/// A client, and what the configuration says besides.
pub struct Connected {
    /// The client.
    pub client: Client,
    /// The configuration it was made from.
    pub config: ServerConfig,
}

impl Connection {
    /// What was given before the command holds if it is not given again after it.
    pub fn or(self, before: &Self) -> Self {
        Self {
            server: self.server.or_else(|| before.server.clone()),
            scope: self.scope.or_else(|| before.scope.clone()),
            config_file: self.config_file.or_else(|| before.config_file.clone()),
        }
    }

    /// A client of the chosen server. Connects only when it is used.
    pub fn open(&self) -> anyhow::Result<Connected> {
        connect(self.config()?, self.scope.as_deref())
    }

    /// What is known of the chosen server.
    pub fn config(&self) -> anyhow::Result<ServerConfig> {
        let environment = server_of_environment();
        let (chosen, environment) = (self.server.as_deref(), environment.as_deref());
        if let Some(path) = &self.config_file {
            return if is_toml(path) {
                load_toml(path, chosen.or(environment))
            } else {
                Ok(config::load(path, chosen, environment)?)
            };
        }
        if chosen.is_none()
            && let Some(config) = from_environment()
        {
            return Ok(config);
        }
        let own = own_path()?;
        if own.exists() {
            return load_toml(&own, chosen.or(environment));
        }
        Ok(config::load(&debusine_path()?, chosen, environment)?)
    }
}

/// A client of the server that this configuration is of, in another scope if one is named.
pub fn connect(mut config: ServerConfig, scope: Option<&str>) -> anyhow::Result<Connected> {
    if let Some(warning) = &config.warning {
        tracing::warn!("{warning}");
    }
    if let Some(scope) = scope {
        scope.clone_into(&mut config.scope);
    }
    let client = Client::new(Options::from(&config))?;
    Ok(Connected { client, config })
}

/// The name of a server in `DEBUSINE_SERVER_NAME`.
pub fn server_of_environment() -> Option<String> {
    env::var("DEBUSINE_SERVER_NAME").ok().filter(|name| !name.is_empty())
}

/// Debusine's file of this user.
pub fn debusine_path() -> anyhow::Result<PathBuf> {
    Ok(config::default_path(&home()?))
}

fn home() -> anyhow::Result<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from).ok_or_else(|| failure("HOME is not set: name the configuration file with --config-file"))
}

/// Our own file of this user.
pub fn own_path() -> anyhow::Result<PathBuf> {
    let base = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.map_or_else(|| Ok(home()?.join(".config")), anyhow::Ok)?;
    Ok(base.join("usine/client.toml"))
}

/// Whether a configuration file is one of ours by its name.
pub fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// `USINE_URL` and `USINE_TOKEN`, for machines that build machines.
fn from_environment() -> Option<ServerConfig> {
    let get = |name| env::var(name).ok().filter(|value| !value.is_empty());
    Some(ServerConfig {
        name: "environment".to_owned(),
        api_url: get("USINE_URL")?,
        scope: get("USINE_SCOPE").unwrap_or_else(default_scope),
        token: get("USINE_TOKEN")?,
        default_workspace: get("USINE_WORKSPACE"),
        http_timeout: Timeouts::default(),
        warning: None,
    })
}

fn default_scope() -> String {
    usine_protocol::DEFAULT_SCOPE.to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TomlFile {
    default_server: Option<String>,
    #[serde(default)]
    server: BTreeMap<String, TomlServer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TomlServer {
    api_url: String,
    #[serde(default = "default_scope")]
    scope: String,
    token: String,
    default_workspace: Option<String>,
    http_timeout: Option<String>,
}

fn load_toml(path: &Path, chosen: Option<&str>) -> anyhow::Result<ServerConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("Cannot read {}", path.display()))?;
    let mut file: TomlFile = toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let chosen = chosen.filter(|name| !name.is_empty()).map(str::to_owned).or(file.default_server);
    let name = match chosen {
        Some(name) => name,
        None if file.server.len() == 1 => file.server.keys().next().cloned().unwrap_or_default(),
        None => {
            return Err(failure(format!(
                "{}: which server? Write default-server = \"NAME\" at its top, or give --server NAME",
                path.display()
            )));
        }
    };
    let Some(server) = file.server.remove(&name) else {
        let known = file.server.into_keys().collect::<Vec<_>>().join(", ");
        return Err(failure(format!("{}: there is no [server.{name}]; it has: {known}", path.display())));
    };
    let (http_timeout, warning) = match server.http_timeout.as_deref().map(str::parse::<Timeouts>) {
        None => (Timeouts::default(), None),
        Some(Ok(timeouts)) => (timeouts, None),
        Some(Err(error)) => (Timeouts::default(), Some(format!("[server.{name}]: {error}"))),
    };
    Ok(ServerConfig {
        name,
        api_url: server.api_url,
        scope: server.scope,
        token: server.token,
        default_workspace: server.default_workspace,
        http_timeout,
        warning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, chosen: Option<&str>) -> anyhow::Result<ServerConfig> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.toml");
        std::fs::write(&path, text).unwrap();
        load_toml(&path, chosen)
    }

    const TWO: &str = "default-server = \"b\"\n[server.a]\napi-url = \"http://a/api\"\ntoken = \"1\"\n\
        [server.b]\napi-url = \"http://b/api\"\ntoken = \"2\"\nscope = \"other\"\nhttp-timeout = \"soon\"\n";

    #[test]
    fn our_own_file_has_a_default_server() {
        let b = load(TWO, None).unwrap();
        assert_eq!((b.name.as_str(), b.scope.as_str(), b.warning.is_some()), ("b", "other", true));
        let a = load(TWO, Some("a")).unwrap();
        assert_eq!((a.token.as_str(), a.scope.as_str()), ("1", "debusine"));
        assert!(load(TWO, Some("c")).unwrap_err().to_string().ends_with("there is no [server.c]; it has: a, b"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error =
            load("[server.a]\napi-url = \"http://a/api\"\ntoken = \"1\"\ncolour = \"red\"\n", None).unwrap_err();
        assert!(format!("{error:#}").contains("unknown field `colour`"), "{error:#}");
    }
}
