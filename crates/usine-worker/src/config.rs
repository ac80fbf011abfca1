//! The worker's configuration: our own `worker.toml`, or the `config.ini` of debusine's worker.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use usine_client::Timeouts;
use usine_client::ini::{IniError, IniFile};

use crate::WorkerError;

/// Who runs tasks when the worker is root.
pub const DEFAULT_USER: &str = "usine-worker";

/// How much the cache of inputs and images may hold by default, in bytes.
pub const DEFAULT_CACHE_SIZE: u64 = 20 * 1024 * 1024 * 1024;

/// Our file.
const TOML: &str = "worker.toml";

/// Debusine's file.
const INI: &str = "config.ini";

/// All that the worker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Such as `https://debusine.example.org/api`.
    pub api_url: String,
    /// How much to log.
    pub log_level: LogLevel,
    /// Where to log, instead of standard error; only debusine's file has it.
    pub log_file: Option<PathBuf>,
    /// Where the configuration is; the tokens are kept there.
    pub directory: PathBuf,
    /// Where tasks run.
    pub working_directory: PathBuf,
    /// Where the spool and the cache are. Best on the same file system as the working directory.
    pub state_directory: PathBuf,
    /// How long to wait for the server.
    pub http_timeout: Timeouts,
    /// Added to the environment of task commands; keys in upper case.
    pub environment: BTreeMap<String, String>,
    /// Who runs tasks when the worker is root.
    pub user: String,
    /// How much the cache of inputs and images may hold, in bytes.
    pub cache_size: u64,
    /// What the reader should know about the configuration.
    pub warnings: Vec<String>,
}

/// How much to log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong; also for Python's CRITICAL.
    Error,
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARNING" | "WARN" => Ok(Self::Warning),
            "ERROR" | "CRITICAL" => Ok(Self::Error),
            _ => Err(format!("log-level {text:?} is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL")),
        }
    }
}

/// Where files are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Home directory of the worker's user.
    pub home: Option<PathBuf>,
    /// `/etc`.
    pub etc: PathBuf,
    /// Where state is kept if the configuration does not say.
    pub state: PathBuf,
}

impl Places {
    /// Of this process: `$HOME`, `/etc`; state in `$STATE_DIRECTORY` (systemd.exec(5)), else in `/var/lib/usine-worker`
    /// for root, else in `~/.local/state/usine-worker`.
    pub fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME");
        let state = match (variable("STATE_DIRECTORY"), &home) {
            (Some(state), _) if state.is_absolute() => state,
            (_, Some(home)) if !rustix::process::geteuid().is_root() => home.join(".local/state/usine-worker"),
            _ => PathBuf::from("/var/lib/usine-worker"),
        };
        Self { home, etc: PathBuf::from("/etc"), state }
    }

    /// The directories that may hold the configuration of a program, first choice first.
    fn candidates(&self, program: &str) -> Vec<PathBuf> {
        let path = Path::new(program).join("worker");
        let home = self.home.as_ref().map(|home| home.join(".config").join(&path));
        home.into_iter().chain([self.etc.join(&path)]).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TomlFile {
    api_url: String,
    log_level: Option<String>,
    working_directory: Option<PathBuf>,
    state_directory: Option<PathBuf>,
    http_timeout: Option<String>,
    user: Option<String>,
    #[serde(default, deserialize_with = "cache_size")]
    cache_size: Option<u64>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

impl Config {
    /// A configuration of nothing but defaults, as for the worker of `usine standalone`.
    pub fn new(api_url: impl Into<String>, directory: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        let state_directory = state.into();
        Self {
            api_url: api_url.into(),
            log_level: LogLevel::default(),
            log_file: None,
            directory: directory.into(),
            working_directory: state_directory.join("work"),
            state_directory,
            http_timeout: Timeouts::default(),
            environment: BTreeMap::new(),
            user: DEFAULT_USER.to_owned(),
            cache_size: DEFAULT_CACHE_SIZE,
            warnings: Vec::new(),
        }
    }

    /// Reads the configuration from the first directory that exists: `~/.config/usine/worker`, `/etc/usine/worker`,
    /// `~/.config/debusine/worker`, `/etc/debusine/worker`.
    pub fn load(places: &Places) -> Result<Self, WorkerError> {
        let candidates = [places.candidates("usine"), places.candidates("debusine")].concat();
        Self::read(&first(candidates)?, places)
    }

    /// Reads debusine's `config.ini` from the first directory that exists: `~/.config/debusine/worker`,
    /// `/etc/debusine/worker`.
    pub fn load_debusine(places: &Places) -> Result<Self, WorkerError> {
        Self::read_ini(&first(places.candidates("debusine"))?.join(INI), places)
    }

    /// Reads `worker.toml`, or else `config.ini`, in `directory`.
    pub fn read(directory: &Path, places: &Places) -> Result<Self, WorkerError> {
        let toml = directory.join(TOML);
        if toml.exists() { Self::read_toml(&toml, places) } else { Self::read_ini(&directory.join(INI), places) }
    }

    fn read_toml(path: &Path, places: &Places) -> Result<Self, WorkerError> {
        let wrong = |message: String| WorkerError::Configuration { path: path.to_owned(), message };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let file: TomlFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let state = file.state_directory.unwrap_or_else(|| places.state.clone());
        let mut config = Self::new(file.api_url, directory_of(path), state);
        if let Some(level) = file.log_level {
            config.log_level = level.parse().map_err(wrong)?;
        }
        if let Some(timeout) = file.http_timeout {
            config.http_timeout = timeout.parse().map_err(wrong)?;
        }
        config.working_directory = file.working_directory.unwrap_or(config.working_directory);
        config.user = file.user.unwrap_or(config.user);
        config.cache_size = file.cache_size.unwrap_or(config.cache_size);
        config.environment = upper_case(file.environment);
        config.checked(path)
    }

    fn read_ini(path: &Path, places: &Places) -> Result<Self, WorkerError> {
        let wrong = |message: String| WorkerError::Configuration { path: path.to_owned(), message };
        let file = IniFile::read(path).map_err(|error| match error {
            IniError::Io(source) => WorkerError::Unreadable { path: path.to_owned(), source },
            IniError::Syntax(message) => wrong(message),
        })?;
        let general = file.section("General").ok_or_else(|| WorkerError::NoGeneral(path.to_owned()))?;
        let api_url = general.get("api-url").ok_or_else(|| WorkerError::NoApiUrl(path.to_owned()))?;
        let mut config = Self::new(api_url, directory_of(path), &places.state);
        for (key, value) in general {
            match key.as_str() {
                "api-url" => {}
                "log-level" => config.log_level = value.parse().map_err(wrong)?,
                "log-file" => config.log_file = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty()),
                "working-directory" => config.working_directory = PathBuf::from(value),
                "http-timeout" => match value.parse() {
                    Ok(timeouts) => config.http_timeout = timeouts,
                    Err(problem) => config.warnings.push(format!("{problem}; the default is used")),
                },
                other => config.warnings.push(format!("{}: key {other:?} has no effect", path.display())),
            }
        }
        config.environment = upper_case(file.section("Environment").cloned().unwrap_or_default());
        config.checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self, WorkerError> {
        let wrong = |message: String| Err(WorkerError::Configuration { path: path.to_owned(), message });
        for (key, directory) in
            [("working-directory", &self.working_directory), ("state-directory", &self.state_directory)]
        {
            if !directory.is_absolute() {
                return wrong(format!("{key} {:?} must be an absolute path", directory.display().to_string()));
            }
        }
        if self
            .environment
            .iter()
            .any(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
        {
            return wrong(
                "environment: names cannot be empty or have '=' in them, and nothing can have a NUL".to_owned(),
            );
        }
        Ok(self)
    }
}

/// The first directory that exists.
fn first(candidates: Vec<PathBuf>) -> Result<PathBuf, WorkerError> {
    match candidates.iter().find(|directory| directory.is_dir()) {
        Some(directory) => Ok(directory.clone()),
        None => Err(WorkerError::NoConfiguration(candidates)),
    }
}

fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

fn upper_case(environment: BTreeMap<String, String>) -> BTreeMap<String, String> {
    environment.into_iter().map(|(key, value)| (key.to_uppercase(), value)).collect()
}

/// Bytes as a number, or as text with a unit (powers of 1024): `20 GiB`, `500M`.
fn cache_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(deserializer)? {
        Size::Bytes(bytes) => Ok(Some(bytes)),
        Size::Text(text) => match parse_size(&text) {
            Some(bytes) => Ok(Some(bytes)),
            None => {
                Err(serde::de::Error::custom(format!("{text:?} is not a size; expected something like \"20 GiB\"")))
            }
        },
    }
}

/// Bytes, or a number with a unit in powers of 1024: `2G`, `500 MiB`; `None` for anything else.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().trim_end_matches('B').trim_end_matches('i');
    let power = match unit {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1024u64.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Config, WorkerError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), text).unwrap();
        let places = Places { home: None, etc: PathBuf::new(), state: "/state".into() };
        Config::read(directory.path(), &places)
    }

    #[test]
    fn our_own_file() {
        let config = read(
            TOML,
            "api-url = \"https://h/api\"\nlog-level = \"debug\"\nhttp-timeout = \"7\"\nuser = \"builder\"\ncache-size = \"2 GiB\"\n\
             working-directory = \"/w\"\n[environment]\nhttp_proxy = \"http://p\"\n",
        )
        .unwrap();
        assert_eq!((config.log_level, config.cache_size), (LogLevel::Debug, 2 << 30));
        assert_eq!(config.environment["HTTP_PROXY"], "http://p");
        assert_eq!(config.working_directory, Path::new("/w"));
        assert_eq!(config.state_directory, Path::new("/state"));
        let plain = read(TOML, "api-url = \"https://h/api\"\n").unwrap();
        assert_eq!((plain.user.as_str(), plain.cache_size), ("usine-worker", 20 << 30));
        assert_eq!(plain.working_directory, Path::new("/state/work"));
    }

    #[test]
    fn faults_say_what_is_possible() {
        for (text, part) in [
            ("api-ulr = \"x\"\n", "expected one of `api-url`"),
            ("log-level = \"debug\"\n", "missing field `api-url`"),
            ("api-url = \"x\"\nlog-level = \"loud\"\n", "is not one of DEBUG"),
            ("api-url = \"x\"\ncache-size = \"much\"\n", "expected something like \"20 GiB\""),
            ("api-url = \"x\"\nworking-directory = \"w\"\n", "absolute"),
            ("api-url = \"x\"\n[environment]\n\"A=B\" = \"c\"\n", "'='"),
        ] {
            let error = read(TOML, text).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.exit_code(), 3);
        }
    }

    #[test]
    fn debusines_file() {
        let config = read(
            INI,
            "[General]\napi-url = https://h/api\nlog-level = WARNING\nhttp-timeout = soon\nlog-file = /x\ncolour = red\n[Environment]\nDeb_Flags = a%%b\n",
        )
        .unwrap();
        assert_eq!(config.log_level, LogLevel::Warning);
        assert_eq!(config.environment["DEB_FLAGS"], "a%b");
        assert_eq!(config.http_timeout, Timeouts::default());
        assert_eq!(config.log_file.as_deref(), Some(Path::new("/x")));
        assert_eq!(config.warnings.len(), 2);
        for (text, part) in [
            ("", "Missing required section \"General\""),
            ("[General]\n", "Missing required key \"api-url\""),
            ("[General]\napi-url = %\n", "lone '%'"),
        ] {
            let error = read(INI, text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(read("other", "").unwrap_err().to_string().contains("Cannot read"));
    }

    #[test]
    fn the_first_directory_wins() {
        let root = tempfile::tempdir().unwrap();
        let places =
            Places { home: Some(root.path().join("home")), etc: root.path().join("etc"), state: "/state".into() };
        assert!(
            matches!(Config::load(&places), Err(WorkerError::NoConfiguration(candidates)) if candidates.len() == 4)
        );
        assert!(
            matches!(Config::load_debusine(&places), Err(WorkerError::NoConfiguration(candidates)) if candidates.len() == 2)
        );
        for (directory, name, text) in [
            ("etc/debusine/worker", INI, "[General]\napi-url = https://d/api\n"),
            ("home/.config/usine/worker", TOML, "api-url = \"https://u/api\"\n"),
        ] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
            fs::write(root.path().join(directory).join(name), text).unwrap();
            let config = Config::load(&places).unwrap();
            assert_eq!(config.directory, root.path().join(directory));
        }
        let debusines = Config::load_debusine(&places).unwrap();
        assert_eq!(debusines.directory, root.path().join("etc/debusine/worker"));
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("5", Some(5)),
            ("1k", Some(1024)),
            ("3 MiB", Some(3 << 20)),
            ("1T", Some(1 << 40)),
            ("x", None),
            ("", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
