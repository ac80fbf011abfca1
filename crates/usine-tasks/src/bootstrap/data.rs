//! Task data of the tasks that bootstrap a system.

use std::collections::HashSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use url::Url;

use super::Bootstrap;
use crate::task_data::{TaskDataError, boolean};

/// What to make.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "V: Deserialize<'de>"))]
pub(crate) struct BootstrapOptions<V> {
    pub architecture: String,
    #[serde(default)]
    pub variant: Option<V>,
    #[serde(default)]
    pub extra_packages: Vec<String>,
    /// Whether apt is told which key signs which repository.
    #[serde(default = "yes", deserialize_with = "boolean")]
    pub use_signed_by: bool,
    #[serde(default)]
    pub gpgv_command: Option<GpgvCommand>,
}

impl<V: fmt::Display> BootstrapOptions<V> {
    /// All that the bootstrap must know.
    pub fn bootstrap<'a>(&'a self, repositories: &'a [BootstrapRepository], script: Option<&'a str>) -> Bootstrap<'a> {
        Bootstrap {
            architecture: &self.architecture,
            variant: self.variant.as_ref().map(ToString::to_string),
            extra_packages: &self.extra_packages,
            use_signed_by: self.use_signed_by,
            gpgv_command: self.gpgv_command,
            repositories,
            script,
        }
    }
}

/// What verifies signatures of repositories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum GpgvCommand {
    Gpgv,
    GpgvSq,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootstrapRepository {
    pub mirror: String,
    pub suite: String,
    #[serde(default = "binary_only")]
    #[schemars(length(min = 1))]
    pub types: Vec<SourceType>,
    /// Without them, those that the suite's Release file names.
    #[serde(default)]
    pub components: Option<Vec<String>>,
    #[serde(default)]
    pub check_signature_with: CheckSignatureWith,
    #[serde(default)]
    pub keyring_package: Option<String>,
    #[serde(default)]
    pub keyring: Option<Keyring>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum SourceType {
    Deb,
    DebSrc,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckSignatureWith {
    /// The keys that the worker's system trusts.
    #[default]
    System,
    /// The keyring given.
    External,
    /// Nothing.
    NoCheck,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyring {
    /// http, https, or file below one of the system's keyring directories.
    pub url: String,
    /// Empty: not checked.
    #[serde(default)]
    pub sha256sum: String,
    /// Whether the new system gets it too.
    #[serde(default, deserialize_with = "boolean")]
    pub install: bool,
}

/// Where `file:` keyrings may be.
pub(super) const KEYRING_DIRECTORIES: [&str; 2] = ["/usr/share/keyrings/", "/usr/local/share/keyrings/"];

/// What users know of an empty list.
pub(crate) const EMPTY_LIST: &str = "List should have at least 1 item after validation, not 0";

fn yes() -> bool {
    true
}

fn binary_only() -> Vec<SourceType> {
    vec![SourceType::Deb]
}

impl Bootstrap<'_> {
    /// Adds to `error` the rules that are broken.
    pub fn check(&self, error: &mut TaskDataError) {
        if self.repositories.is_empty() {
            error.add("bootstrap_repositories", EMPTY_LIST);
        }
        check_words("bootstrap_options.extra_packages", self.extra_packages, error);
        check_word("bootstrap_options.architecture", self.architecture, error);
        for (index, repository) in self.repositories.iter().enumerate() {
            repository.check(&format!("bootstrap_repositories[{index}]"), error);
        }
    }
}

impl BootstrapRepository {
    fn check(&self, path: &str, error: &mut TaskDataError) {
        check_word(&format!("{path}.suite"), &self.suite, error);
        check_word(&format!("{path}.mirror"), &self.mirror, error);
        if !is_archive(&self.mirror) {
            error.add(
                format!("{path}.mirror"),
                "Value error, must be the URL of an archive, by http, https, ftp or file",
            );
        }
        if self.types.is_empty() {
            error.add(format!("{path}.types"), EMPTY_LIST);
        }
        check_unique(&format!("{path}.types"), &self.types.iter().map(ToString::to_string).collect::<Vec<_>>(), error);
        if let Some(components) = &self.components {
            check_words(&format!("{path}.components"), components, error);
            check_unique(&format!("{path}.components"), components, error);
        }
        if let Some(package) = &self.keyring_package {
            check_word(&format!("{path}.keyring_package"), package, error);
        }
        if self.check_signature_with == CheckSignatureWith::External && self.keyring.is_none() {
            error.add(path, "Value error, repository requires 'keyring': 'check_signature_with' is set to 'external'");
        }
        if let Some(message) = self.keyring.as_ref().and_then(|keyring| wrong_keyring_url(&keyring.url)) {
            error.add(format!("{path}.keyring.url"), message);
        }
    }
}

/// A mirror becomes a word of a command line, too: it must not be an option.
fn is_archive(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| match url.scheme() {
        "http" | "https" | "ftp" => url.has_host(),
        "file" => text.starts_with("file:/") && url.path().len() > 1,
        _ => false,
    })
}

fn wrong_keyring_url(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("Input should be a valid URL") };
    match url.scheme() {
        "http" | "https" => None,
        // The parser has taken ".." out of the path; links are looked at where the file is, on the worker.
        "file" => {
            let path = url.to_file_path().ok();
            let inside =
                |path: std::path::PathBuf| KEYRING_DIRECTORIES.iter().any(|directory| path.starts_with(directory));
            if path.is_some_and(inside) {
                None
            } else {
                Some(
                    "Value error, file:// URLs for keyrings must be in /usr/share/keyrings/ or /usr/local/share/keyrings/",
                )
            }
        }
        _ => Some("URL scheme should be 'http', 'https' or 'file'"),
    }
}

/// These values become words of a control file or a command line: a blank or line break in one would make it two fields,
/// and some programs would take one with `-` in front for an option.
pub(crate) fn check_word(path: &str, word: &str, error: &mut TaskDataError) {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()) {
        error.add(path, "Value error, must not be empty or contain blanks");
    } else if word.starts_with('-') {
        error.add(path, "Value error, must not begin with '-'");
    }
}

fn check_words(path: &str, words: &[String], error: &mut TaskDataError) {
    for (index, word) in words.iter().enumerate() {
        check_word(&format!("{path}[{index}]"), word, error);
    }
}

fn check_unique(path: &str, items: &[String], error: &mut TaskDataError) {
    let mut seen = HashSet::new();
    if !items.iter().all(|item| seen.insert(item)) {
        let list: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
        error.add(path, format!("Value error, [{}] contains duplicate items", list.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mmdebstrap::Mmdebstrap;
    use crate::worker_task::read;

    fn minimal() -> Value {
        json!({
            "bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "bookworm"}],
        })
    }

    fn fault(change: impl FnOnce(&mut Value)) -> String {
        let mut data = minimal();
        change(&mut data);
        read::<Mmdebstrap>(&data).unwrap_err().to_string()
    }

    #[test]
    fn a_mirror_is_a_url_and_never_an_option() {
        let with = |mirror: &str| {
            let mut data = minimal();
            data["bootstrap_repositories"][0]["mirror"] = mirror.into();
            read::<Mmdebstrap>(&data).map(drop)
        };
        for good in ["http://d.example/debian", "https://d.example:8080/", "ftp://d.example/x", "file:///srv/mirror"] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "debian",
            "--setup-hook=touch${IFS}x",
            "-x",
            "http://",
            "gopher://d.example/",
            "file://",
            "http://d/ x",
        ] {
            let error = with(bad).unwrap_err();
            assert!(error.errors.keys().eq(["bootstrap_repositories[0].mirror"]), "{bad}: {error}");
        }
        let suite = fault(|data| data["bootstrap_repositories"][0]["suite"] = "--x".into());
        assert!(suite.contains("bootstrap_repositories[0].suite: Value error, must not begin with '-'"), "{suite}");
    }

    #[test]
    fn minimal_data_have_defaults() {
        let data = read::<Mmdebstrap>(&minimal()).unwrap();
        assert!(data.bootstrap_options.use_signed_by);
        assert_eq!(data.bootstrap_repositories[0].types, [SourceType::Deb]);
        assert_eq!(data.bootstrap_repositories[0].check_signature_with, CheckSignatureWith::System);
    }

    #[test]
    fn every_level_refuses_what_it_does_not_know() {
        assert!(fault(|data| data["x"] = json!(1)).contains(": x: Extra inputs"));
        assert!(fault(|data| data["bootstrap_options"]["x"] = json!(1)).contains("bootstrap_options.x: Extra inputs"));
        assert!(
            fault(|data| data["bootstrap_repositories"][0]["x"] = json!(1))
                .contains("bootstrap_repositories[0].x: Extra")
        );
        let keyring = json!({"url": "https://d.example/k.asc", "x": 1});
        assert!(fault(|data| data["bootstrap_repositories"][0]["keyring"] = keyring).contains("[0].keyring.x: Extra"));
    }

    #[test]
    fn required_keys() {
        for (pointer, key, path) in [
            ("", "bootstrap_options", "bootstrap_options"),
            ("", "bootstrap_repositories", "bootstrap_repositories"),
            ("/bootstrap_options", "architecture", "bootstrap_options.architecture"),
            ("/bootstrap_repositories/0", "mirror", "bootstrap_repositories[0].mirror"),
            ("/bootstrap_repositories/0", "suite", "bootstrap_repositories[0].suite"),
        ] {
            let text = fault(|data| {
                data.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key);
            });
            assert_eq!(text, format!("1 validation error: {path}: Field required"));
        }
        assert!(fault(|data| data["bootstrap_repositories"] = json!([])).contains("at least 1 item"));
    }

    #[test]
    fn bad_values() {
        let repository = |key: &str, value: Value| fault(|data| data["bootstrap_repositories"][0][key] = value);
        assert!(fault(|data| data["bootstrap_options"]["variant"] = json!("x")).contains("'buildd', 'minbase', '-'"));
        assert!(fault(|data| data["bootstrap_options"]["gpgv_command"] = json!("x")).contains("'gpgv' or 'gpgv-sq'"));
        assert!(repository("types", json!(["deb", "rpm"])).contains("'deb' or 'deb-src'"));
        assert!(repository("types", json!([])).contains("at least 1 item"));
        assert!(repository("types", json!(["deb", "deb"])).contains("['deb', 'deb'] contains duplicate items"));
        assert!(
            repository("components", json!(["main", "main"])).contains("['main', 'main'] contains duplicate items")
        );
        assert!(repository("check_signature_with", json!("x")).contains("'system', 'external' or 'no-check'"));
        assert!(repository("check_signature_with", json!("external")).contains("requires 'keyring'"));
        assert!(repository("mirror", json!("https://d/\nTrusted: yes")).contains("[0].mirror"));
        assert!(repository("suite", json!("a b")).contains("[0].suite"));
        for url in ["file:///etc/passwd", "file:///usr/share/keyrings/../../../etc/passwd", "gopher://x/", "x"] {
            assert!(repository("keyring", json!({"url": url})).contains("[0].keyring.url"), "{url}");
        }
    }

    #[test]
    fn keyrings_may_be_local() {
        let mut data = minimal();
        data["bootstrap_repositories"][0]["keyring"] =
            json!({"url": "file:///usr/share/keyrings/debian.gpg", "install": "yes"});
        assert!(read::<Mmdebstrap>(&data).unwrap().bootstrap_repositories[0].keyring.as_ref().unwrap().install);
    }
}
