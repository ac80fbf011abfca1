//! The client's configuration file, debusine's own: `~/.config/debusine/client/config.ini`.
//!
//! Environment and command line come in as arguments; the texts of errors are debusine's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use url::Url;
use usine_protocol::DEFAULT_WORKSPACE;

use crate::client::Timeouts;
use crate::ini::{self, IniError, IniFile};

/// What the client knows of one server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Name of its section, without `server:`.
    pub name: String,
    /// Such as `https://debusine.example.org/api`.
    pub api_url: String,
    /// Name of the scope.
    pub scope: String,
    /// Key of the user's token.
    pub token: String,
    /// Workspace that is meant when none is named.
    pub default_workspace: Option<String>,
    /// How long to wait for the server.
    pub http_timeout: Timeouts,
    /// Why `http-timeout` was not taken, if it was not; to be shown as a warning.
    pub warning: Option<String>,
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token.
        f.debug_struct("ServerConfig")
            .field("name", &self.name)
            .field("api_url", &self.api_url)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Why there is no usable configuration. Exit status 3.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Missing or unreadable.
    #[error("Cannot read {} .", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not an INI file.
    #[error("Cannot read {} : {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// No `[General]` and no server chosen.
    #[error("[General] section and default-server key must exist in {} to use the default server. Add them or specify the server in the command line.", .0.display())]
    NoGeneral(PathBuf),
    /// No `default-server` and no server chosen.
    #[error("default-server key must exist in [General] in {} . Add it or specify the server in the command line.", .0.display())]
    NoDefaultServer(PathBuf),
    /// No such section.
    #[error("No Debusine client configuration for '{0}'; run 'debusine setup' to configure it")]
    UnknownServer(String),
    /// Mandatory keys are not there.
    #[error("Missing required keys in the section [server:{name}]: {keys} in {} .", path.display())]
    MissingKeys {
        /// Name of the section, without `server:`.
        name: String,
        /// Sorted, comma separated.
        keys: String,
        /// The file.
        path: PathBuf,
    },
    /// Keys that mean nothing.
    #[error("Invalid keys in the section [server:{name}]: {keys} in {} .", path.display())]
    InvalidKeys {
        /// Name of the section, without `server:`.
        name: String,
        /// Sorted, comma separated.
        keys: String,
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("Cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

const REQUIRED: [&str; 3] = ["api-url", "scope", "token"];
const OPTIONAL: [&str; 2] = ["default-workspace", "http-timeout"];

/// A server that everybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownServer {
    /// Name of its section, without `server:`.
    pub name: &'static str,
    /// Such as `https://debusine.example.org/api`.
    pub api_url: &'static str,
    /// Name of the scope.
    pub scope: &'static str,
    /// Workspace that is meant when neither the user nor the file names one.
    pub workspace: &'static str,
}

/// Debian's own server, and the one that a developer of debusine runs.
pub const KNOWN_SERVERS: [KnownServer; 2] = [
    KnownServer {
        name: "debian",
        api_url: "https://debusine.debian.net/api/",
        scope: "debian",
        workspace: "developers",
    },
    KnownServer {
        name: "localhost",
        api_url: "http://localhost:8000/api/",
        scope: "debusine",
        workspace: "Playground",
    },
];

impl ServerConfig {
    /// The workspace that is meant when none is named, as in Debian's newer client: the file's, the one of a known server
    /// of that name, `System`.
    pub fn workspace(&self) -> &str {
        let known = KNOWN_SERVERS.iter().find(|known| known.name == self.name).map(|known| known.workspace);
        self.default_workspace.as_deref().or(known).unwrap_or(DEFAULT_WORKSPACE)
    }
}

/// Where the file is by default.
pub fn default_path(home: &Path) -> PathBuf {
    home.join(".config/debusine/client/config.ini")
}

/// Reads the configuration of a server: `chosen` (`--server`), else `environment` (`DEBUSINE_SERVER_NAME`), else the
/// file's default. A choice with a slash is `FQDN/scope`.
pub fn load(path: &Path, chosen: Option<&str>, environment: Option<&str>) -> Result<ServerConfig, ConfigError> {
    let file = read(path)?;
    let chosen = chosen.or(environment.filter(|name| !name.is_empty()));
    let name = match chosen {
        Some(name) => name.to_owned(),
        None => {
            let general = file.section("General").ok_or_else(|| ConfigError::NoGeneral(path.to_owned()))?;
            general.get("default-server").ok_or_else(|| ConfigError::NoDefaultServer(path.to_owned()))?.clone()
        }
    };
    let section = match name.split_once('/') {
        Some((fqdn, scope)) => server_sections(&file).find(|(_, keys)| {
            host_of(keys).as_deref() == Some(fqdn) && keys.get("scope").map(String::as_str) == Some(scope)
        }),
        None => server_sections(&file).find(|(section, _)| *section == name),
    };
    let (name, keys) = section.ok_or(ConfigError::UnknownServer(name))?;
    server_config(name, keys, path)
}

/// All servers of the file, by name; broken sections are left out.
pub fn servers(path: &Path) -> Result<Vec<ServerConfig>, ConfigError> {
    let file = read(path)?;
    Ok(server_sections(&file).filter_map(|(name, keys)| server_config(name, keys, path).ok()).collect())
}

/// Writes the section of a server, atomically and readable by its owner only; the rest of the file stays as it is.
/// The server becomes the default if `make_default` is set or there is no default yet.
pub fn save(path: &Path, server: &ServerConfig, make_default: bool) -> Result<(), ConfigError> {
    let unwritable = |source| ConfigError::Unwritable { path: path.to_owned(), source };
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    let file = parse(path, &old)?;
    let timeout = server.http_timeout.to_string();
    let mut keys = vec![("api-url", server.api_url.as_str()), ("scope", &server.scope), ("token", &server.token)];
    keys.extend(server.default_workspace.as_deref().map(|workspace| ("default-workspace", workspace)));
    if server.http_timeout != Timeouts::default() {
        keys.push(("http-timeout", &timeout));
    }
    let mut text = old;
    let general = file.section("General").cloned().unwrap_or_default();
    if make_default || !general.contains_key("default-server") {
        let others = general.iter().filter(|(key, _)| *key != "default-server");
        let mut general: Vec<(&str, &str)> = others.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        general.insert(0, ("default-server", &server.name));
        text = ini::with_section(&text, "General", &general);
    }
    text = ini::with_section(&text, &format!("server:{}", server.name), &keys);

    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(unwritable)?;
    let mut temporary = tempfile::NamedTempFile::new_in(directory).map_err(unwritable)?;
    temporary.write_all(text.as_bytes()).map_err(unwritable)?;
    temporary.as_file().sync_all().map_err(unwritable)?;
    temporary.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

fn read(path: &Path) -> Result<IniFile, ConfigError> {
    IniFile::read(path).map_err(|error| from_ini(path, error))
}

fn parse(path: &Path, text: &str) -> Result<IniFile, ConfigError> {
    IniFile::parse(text).map_err(|error| from_ini(path, error))
}

fn from_ini(path: &Path, error: IniError) -> ConfigError {
    let path = path.to_owned();
    match error {
        IniError::Io(source) => ConfigError::Unreadable { path, source },
        IniError::Syntax(message) => ConfigError::Syntax { path, message },
    }
}

fn server_sections(file: &IniFile) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
    file.sections().filter_map(|(section, keys)| Some((section.strip_prefix("server:")?, keys)))
}

fn host_of(keys: &BTreeMap<String, String>) -> Option<String> {
    Url::parse(keys.get("api-url")?).ok()?.host_str().map(str::to_owned)
}

fn server_config(name: &str, keys: &BTreeMap<String, String>, path: &Path) -> Result<ServerConfig, ConfigError> {
    let (name, path) = (name.to_owned(), path.to_owned());
    let mut missing = REQUIRED.iter().copied().filter(|key| !keys.contains_key(*key)).peekable();
    if missing.peek().is_some() {
        let keys = missing.collect::<Vec<_>>().join(", ");
        return Err(ConfigError::MissingKeys { name, keys, path });
    }
    let known = |key: &str| REQUIRED.contains(&key) || OPTIONAL.contains(&key);
    let mut invalid = keys.keys().map(String::as_str).filter(|key| !known(key)).peekable();
    if invalid.peek().is_some() {
        let keys = invalid.collect::<Vec<_>>().join(", ");
        return Err(ConfigError::InvalidKeys { name, keys, path });
    }
    let (http_timeout, warning) = match keys.get("http-timeout").map(|text| text.parse::<Timeouts>()) {
        None => (Timeouts::default(), None),
        Some(Ok(timeouts)) => (timeouts, None),
        Some(Err(error)) => (Timeouts::default(), Some(format!("[server:{name}]: {error}"))),
    };
    Ok(ServerConfig {
        name,
        api_url: keys["api-url"].clone(),
        scope: keys["scope"].clone(),
        token: keys["token"].clone(),
        default_workspace: keys.get("default-workspace").cloned(),
        http_timeout,
        warning,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = "[General]\ndefault-server = local\n\n[server:local]\napi-url = http://localhost:8000/api/\nscope = debusine\ntoken = abc\n\
        [server:far]\napi-url = https://far.example.org/api\nscope = other\ntoken = def\ndefault-workspace = W\nhttp-timeout = 2,60\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.ini");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn a_server_is_chosen() {
        let (_directory, path) = file(GOOD);
        assert_eq!(load(&path, None, None).unwrap().name, "local");
        assert_eq!(load(&path, None, Some("far")).unwrap().token, "def");
        assert_eq!(load(&path, Some("local"), Some("far")).unwrap().name, "local");
        let far = load(&path, Some("far.example.org/other"), None).unwrap();
        assert_eq!((far.name.as_str(), far.default_workspace.as_deref()), ("far", Some("W")));
        assert_eq!(far.http_timeout.to_string(), "2,60");
        assert_eq!(servers(&path).unwrap().len(), 2);
        assert!(!format!("{far:?}").contains("def"));
    }

    #[test]
    fn a_workspace_is_always_meant() {
        let (_directory, known) = file("[server:localhost]\napi-url = u\nscope = s\ntoken = t\n");
        assert_eq!(load(&known, Some("localhost"), None).unwrap().workspace(), "Playground");
        let (_directory, path) = file(GOOD);
        assert_eq!(load(&path, Some("far"), None).unwrap().workspace(), "W");
        assert_eq!(load(&path, Some("local"), None).unwrap().workspace(), "System");
    }

    #[test]
    fn faults_have_the_texts_of_the_original() {
        let error = |text: &str, server| {
            let (_directory, path) = file(text);
            load(&path, server, None).unwrap_err().to_string().replace(&path.display().to_string(), "P")
        };
        assert_eq!(
            load(Path::new("/nonexistent/config.ini"), None, None).unwrap_err().to_string(),
            "Cannot read /nonexistent/config.ini ."
        );
        assert_eq!(
            error("", None),
            "[General] section and default-server key must exist in P to use the default server. Add them or specify the server in the command line."
        );
        assert_eq!(
            error("[General]\n", None),
            "default-server key must exist in [General] in P . Add it or specify the server in the command line."
        );
        assert_eq!(
            error(GOOD, Some("x")),
            "No Debusine client configuration for 'x'; run 'debusine setup' to configure it"
        );
        assert_eq!(
            error(GOOD, Some("far.example.org/debusine")),
            "No Debusine client configuration for 'far.example.org/debusine'; run 'debusine setup' to configure it"
        );
        assert_eq!(
            error("[server:a]\nscope=s\n", Some("a")),
            "Missing required keys in the section [server:a]: api-url, token in P ."
        );
        assert_eq!(
            error("[server:a]\nscope=s\napi-url=u\ntoken=t\nzz=1\nColour=red\n", Some("a")),
            "Invalid keys in the section [server:a]: colour, zz in P ."
        );
    }

    #[test]
    fn a_bad_timeout_is_a_warning() {
        let (_directory, path) = file("[server:a]\nscope=s\napi-url=u\ntoken=t\nhttp-timeout=soon\n");
        let config = load(&path, Some("a"), None).unwrap();
        assert_eq!(config.http_timeout, Timeouts::default());
        assert!(config.warning.unwrap().contains("soon"));
    }

    #[test]
    fn a_section_is_saved_and_the_rest_kept() {
        let (_directory, path) = file(GOOD);
        let mut server = load(&path, Some("far"), None).unwrap();
        server.name = "new".to_owned();
        server.token = "50%".to_owned();
        save(&path, &server, false).unwrap();
        assert_eq!(load(&path, None, None).unwrap().name, "local");
        assert_eq!(load(&path, Some("new"), None).unwrap(), server);
        save(&path, &server, true).unwrap();
        assert_eq!(load(&path, None, None).unwrap().name, "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let fresh = path.with_file_name("a/b/config.ini");
        save(&fresh, &server, false).unwrap();
        assert_eq!(load(&fresh, None, None).unwrap(), server);
    }
}
