//! `extra_repositories`: package archives that a task may use besides those of its environment. In task data they are
//! suites of ours or external archives; in dynamic data only external ones; in the chroot, deb822 `.sources` files
//! (sources.list(5)).

use std::fmt::Write;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use usine_model::lookup::LookupSingle;

use crate::run::{Bench, TaskError};
use crate::task::Resolved;
use crate::task_data::{SingleSchema, TaskDataError};

/// One repository as task data name it: with `url` an external one, without it a suite of this server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraRepository {
    /// Where the external archive is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The external suite's name, or the lookup of a suite.
    #[schemars(with = "SingleSchema")]
    pub suite: LookupSingle,
    /// Its components.
    #[serde(default)]
    pub components: Option<Vec<String>>,
    /// ASCII-armoured keys that sign an external archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<String>,
    /// The build architectures that use it; all without.
    #[serde(default)]
    pub architectures: Option<Vec<String>>,
}

/// One repository as dynamic data name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalRepository {
    /// Where the archive is.
    pub url: String,
    /// The suite; one that ends with `/` is flat.
    pub suite: String,
    /// Its components, none for a flat one.
    #[serde(default)]
    pub components: Option<Vec<String>>,
    /// ASCII-armoured keys that sign it.
    #[serde(default)]
    pub signing_key: Option<String>,
    /// The build architectures that use it; all without.
    #[serde(default)]
    pub architectures: Option<Vec<String>>,
}

/// Adds to `error` what is wrong with the repositories of task data.
pub(crate) fn check(repositories: Option<&[ExtraRepository]>, error: &mut TaskDataError) {
    for (index, repository) in repositories.unwrap_or_default().iter().enumerate() {
        let path = format!("extra_repositories[{index}]");
        check_names(&path, "components", repository.components.as_deref(), error);
        check_names(&path, "architectures", repository.architectures.as_deref(), error);
        match &repository.url {
            Some(url) => check_external(&path, url, repository, error),
            None if repository.signing_key.is_some() => {
                error.add(format!("{path}.signing_key"), "Extra inputs are not permitted");
            }
            None => {}
        }
    }
}

fn check_external(path: &str, url: &str, repository: &ExtraRepository, error: &mut TaskDataError) {
    if !is_url_with_host(url) {
        error.add(format!("{path}.url"), "Input should be a valid URL");
    }
    let LookupSingle::Text(suite) = &repository.suite else {
        return error.add(format!("{path}.suite"), "Input should be a valid string");
    };
    let allowed = |c: char| c.is_alphanumeric() || "_./- ".contains(c);
    if suite.is_empty() || !suite.chars().all(allowed) {
        error.add(
            format!("{path}.suite"),
            "Value error, suite may have only letters, digits and the characters '_./- '",
        );
    }
    let has_components = repository.components.as_deref().is_some_and(|list| !list.is_empty());
    if suite.ends_with('/') && has_components {
        let message = "Value error, Components cannot be specified for a flat repository (suite ends with '/')";
        error.add(path, message);
    } else if !suite.ends_with('/') && !has_components {
        error.add(path, "Value error, Components must be specified");
    }
}

/// The line breaks matter: the URL becomes a line of a control file.
fn is_url_with_host(text: &str) -> bool {
    !text.contains(char::is_whitespace) && Url::parse(text).is_ok_and(|url| url.has_host())
}

fn check_names(path: &str, field: &str, names: Option<&[String]>, error: &mut TaskDataError) {
    let is_name = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    for (index, _) in names.unwrap_or_default().iter().enumerate().filter(|(_, name)| !is_name(name)) {
        let message = "Value error, only letters, digits, '_' and '-' are allowed";
        error.add(format!("{path}.{field}[{index}]"), message);
    }
}

/// What dynamic data say: each suite of ours replaced by what the server found for it.
pub(crate) fn resolve(
    repositories: Option<&[ExtraRepository]>,
    resolved: &Resolved,
) -> Result<Option<Vec<ExternalRepository>>, TaskDataError> {
    let Some(repositories) = repositories else { return Ok(None) };
    let mut external = Vec::new();
    for (index, repository) in repositories.iter().enumerate() {
        match &repository.url {
            Some(url) => external.push(ExternalRepository {
                url: url.clone(),
                suite: repository.suite.to_string(),
                components: none_if_empty(&repository.components),
                signing_key: repository.signing_key.clone(),
                architectures: none_if_empty(&repository.architectures),
            }),
            None => match resolved.suite(index) {
                Some(found) => external.extend(found.clone()),
                None => {
                    let path = format!("extra_repositories[{index}].suite");
                    return Err(TaskDataError::rule(path, "nothing was found for this lookup"));
                }
            },
        }
    }
    Ok(Some(external))
}

fn none_if_empty(list: &Option<Vec<String>>) -> Option<Vec<String>> {
    list.clone().filter(|list| !list.is_empty())
}

/// A file that tells apt about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositoryFile {
    /// Its name, unique among the files of a task.
    pub name: String,
    /// What is in it.
    pub content: String,
    /// Whether it is a key, for `/etc/apt/keyrings`, instead of a source, for `/etc/apt/sources.list.d`.
    pub is_key: bool,
}

/// Releases whose apt is older than 2.3.10 and cannot read a key in `Signed-By` itself.
const OLD_APT: &[&str] = &["stretch", "buster", "bullseye", "xenial", "bionic", "focal"];

/// The files for an environment: first the sources, then the keys that old releases need.
pub(crate) fn files(repositories: &[ExternalRepository], architecture: &str, codename: &str) -> Vec<RepositoryFile> {
    let applies = |repository: &&ExternalRepository| {
        none_if_empty(&repository.architectures).is_none_or(|list| list.iter().any(|name| name == architecture))
    };
    let (mut sources, mut keys) = (Vec::new(), Vec::new());
    for (index, repository) in repositories.iter().filter(applies).enumerate() {
        let mut content = format!("Types: deb\nURIs: {}\nSuites: {}\n", repository.url, repository.suite);
        if let Some(components) = none_if_empty(&repository.components) {
            let _ = writeln!(content, "Components: {}", components.join(" "));
        }
        match &repository.signing_key {
            Some(key) if OLD_APT.contains(&codename) => {
                let name = format!("extra_apt_key_{index}.asc");
                let _ = writeln!(content, "Signed-By: /etc/apt/keyrings/{name}");
                keys.push(RepositoryFile { name, content: key.clone(), is_key: true });
            }
            Some(key) => {
                content.push_str("Signed-By:\n");
                for line in key.lines() {
                    let _ = writeln!(content, " {}", if line.is_empty() { "." } else { line });
                }
            }
            None => {}
        }
        sources.push(RepositoryFile { name: format!("extra_repository_{index}.sources"), content, is_key: false });
    }
    sources.append(&mut keys);
    sources
}

/// The files that tell apt in an environment about repositories, on the worker.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles {
    /// For `/etc/apt/sources.list.d`.
    pub sources: Vec<PathBuf>,
    /// For `/etc/apt/keyrings`.
    pub keys: Vec<PathBuf>,
}

/// Writes [`files`] into [`Bench::fetch`].
pub(crate) fn write(
    repositories: Option<&[ExternalRepository]>,
    architecture: &str,
    codename: &str,
    bench: &Bench<'_>,
) -> Result<WrittenFiles, TaskError> {
    let mut written = WrittenFiles::default();
    for file in files(repositories.unwrap_or_default(), architecture, codename) {
        let path = bench.fetch.join(&file.name);
        bench.write(&path, file.content.as_bytes(), 0o644)?;
        if file.is_key { written.keys.push(path) } else { written.sources.push(path) }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(repository: Value) -> String {
        let repository: ExtraRepository = serde_json::from_value(repository).unwrap();
        let mut error = TaskDataError::default();
        check(Some(&[repository]), &mut error);
        error.to_string()
    }

    #[test]
    fn rules_of_both_forms() {
        let none = "0 validation errors";
        assert_eq!(faults(json!({"url": "https://deb.example.org/", "suite": "sid", "components": ["main"]})), none);
        assert_eq!(faults(json!({"url": "https://deb.example.org/", "suite": "./"})), none);
        assert_eq!(faults(json!({"suite": "sid@debian:suite"})), none);
        assert!(
            faults(json!({"url": "https://d.example/", "suite": "./", "components": ["x"]}))
                .contains("flat repository")
        );
        for components in [json!(null), json!([])] {
            let repository = json!({"url": "https://d.example/", "suite": "sid", "components": components});
            assert!(faults(repository).contains("Components must be specified"));
        }
        for url in ["deb.example.org", "file:///srv", "https://x/\nTrusted: yes"] {
            assert!(faults(json!({"url": url, "suite": "./"})).contains("extra_repositories[0].url"), "{url}");
        }
        assert!(faults(json!({"url": "https://d/", "suite": "a;b/"})).contains(".suite"));
        assert!(faults(json!({"url": "https://d/", "suite": "a\nb/"})).contains(".suite"));
        assert!(faults(json!({"suite": "x", "signing_key": "k"})).contains("signing_key: Extra inputs"));
        assert!(faults(json!({"suite": "x", "components": ["a b"]})).contains("components[0]"));
    }

    #[test]
    fn suites_are_replaced_or_left_out() {
        let suite = |name: &str| serde_json::from_value::<ExtraRepository>(json!({"suite": name})).unwrap();
        let found = ExternalRepository {
            url: "https://d/".into(),
            suite: "sid".into(),
            components: Some(vec!["main".into()]),
            signing_key: None,
            architectures: None,
        };
        let asked = [suite("a"), suite("b")];
        let resolved = Resolved::new().with_suite(0, Some(found.clone())).with_suite(1, None);
        assert_eq!(resolve(Some(&asked), &resolved).unwrap(), Some(vec![found]));
        assert_eq!(resolve(None, &resolved).unwrap(), None);
        assert!(
            resolve(Some(&asked), &Resolved::new()).unwrap_err().errors.contains_key("extra_repositories[0].suite")
        );
    }

    #[test]
    fn sources_and_keys() {
        let repository = |architectures: Option<&[&str]>| ExternalRepository {
            url: "https://d.example/debian".into(),
            suite: "sid".into(),
            components: Some(vec!["main".into(), "contrib".into()]),
            signing_key: Some("-----BEGIN\n\nabc\n-----END\n".into()),
            architectures: architectures.map(|list| list.iter().map(|name| (*name).to_owned()).collect()),
        };
        let all = [repository(Some(&["arm64"])), repository(Some(&["amd64"])), repository(None)];
        let new = files(&all, "amd64", "trixie");
        assert_eq!(new.len(), 2);
        assert_eq!(new[0].name, "extra_repository_0.sources");
        assert_eq!(
            new[0].content,
            "Types: deb\nURIs: https://d.example/debian\nSuites: sid\nComponents: main contrib\nSigned-By:\n -----BEGIN\n .\n abc\n -----END\n"
        );
        let old = files(&all[1..2], "amd64", "bullseye");
        assert!(old[0].content.ends_with("Signed-By: /etc/apt/keyrings/extra_apt_key_0.asc\n"));
        assert_eq!((old[1].name.as_str(), old[1].is_key), ("extra_apt_key_0.asc", true));
        let flat = ExternalRepository { suite: "./".into(), components: None, signing_key: None, ..repository(None) };
        assert_eq!(
            files(&[flat], "amd64", "sid")[0].content,
            "Types: deb\nURIs: https://d.example/debian\nSuites: ./\n"
        );
    }
}
