//! Which environments the checks run in: those that were named, else the newest suitable ones of the workspace.

use std::collections::BTreeMap;

use serde::Serialize;
use usine_client::{ArtifactFilter, Client};
use usine_model::artifact::ArtifactCategory;
use usine_protocol::artifact::Artifact;

use crate::exit::failure;

/// So many of the newest environments are looked at.
const LOOKED_AT: usize = 500;

/// The releases whose piuparts is older than 1.5, which the task wants: an older one must create device nodes.
const OLD_PIUPARTS: [&str; 4] = ["stretch", "buster", "bullseye", "bookworm"];

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub architecture: &'a str,
    pub suite: Option<&'a str>,
    pub environment: Option<i64>,
    pub piuparts_environment: Option<i64>,
    pub base_tgz: Option<i64>,
    pub workspace: Option<&'a str>,
}

/// What was found: ids of artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Environments {
    /// To build and check in.
    pub environment: i64,
    /// That piuparts runs in.
    pub piuparts_environment: i64,
    /// That piuparts installs packages in.
    pub base_tgz: i64,
}

/// What matters of a `debian:system-tarball`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tarball {
    id: i64,
    codename: String,
    architecture: String,
    variant: Option<String>,
}

/// Asks the server, and chooses.
///
/// # Errors
/// If what was named is no environment, or nothing suitable is there: the text says how to make one.
pub async fn find(client: &Client, wanted: &Wanted<'_>) -> anyhow::Result<Environments> {
    let ids = [wanted.environment, wanted.piuparts_environment, wanted.base_tgz];
    let mut named = BTreeMap::new();
    for id in ids.into_iter().flatten() {
        named.insert(id, named_tarball(client.artifact(id).await?)?);
    }
    let mut listed = Vec::new();
    if ids.contains(&None) {
        let filter = ArtifactFilter {
            category: Some(ArtifactCategory::SystemTarball),
            workspace: wanted.workspace.map(str::to_owned),
            work_request: None,
        };
        let artifacts = client.artifacts(&filter, LOOKED_AT).await?;
        listed.extend(artifacts.iter().filter(|artifact| artifact.files_to_upload.is_empty()).filter_map(tarball));
    }
    choose(&listed, &named, wanted)
}

fn named_tarball(artifact: Artifact) -> anyhow::Result<Tarball> {
    tarball(&artifact).ok_or_else(|| {
        let (id, category) = (artifact.id, artifact.category);
        failure(format!("Error: artifact {id} is not a debian:system-tarball but a {category}"))
    })
}

fn tarball(artifact: &Artifact) -> Option<Tarball> {
    let text = |key| artifact.data.get(key)?.as_str().map(str::to_owned);
    if artifact.category != ArtifactCategory::SystemTarball {
        return None;
    }
    Some(Tarball {
        id: artifact.id,
        codename: text("codename")?,
        architecture: text("architecture")?,
        variant: text("variant"),
    })
}

/// `listed`: newest first. A buildd one is preferred to build in, another one to install in.
fn choose(listed: &[Tarball], named: &BTreeMap<i64, Tarball>, wanted: &Wanted<'_>) -> anyhow::Result<Environments> {
    let given = |id: Option<i64>| id.and_then(|id| named.get(&id));
    let usable: Vec<&Tarball> = listed.iter().filter(|one| one.architecture == wanted.architecture).collect();
    let newest = |suits: &dyn Fn(&Tarball) -> bool| usable.iter().copied().find(|one| suits(one));
    let missing = |variant, suite, option| failure(how_to_make(wanted, variant, suite, option));

    let suite = wanted.suite.map(codename);
    let fits = |one: &Tarball| suite.is_none_or(|suite| one.codename == suite);
    let environment = given(wanted.environment)
        .or_else(|| newest(&|one| fits(one) && one.is_buildd()))
        .or_else(|| newest(&fits))
        .ok_or_else(|| missing("buildd", suite.unwrap_or("trixie"), "--environment"))?;

    let suite = suite.unwrap_or(&environment.codename);
    let base_tgz = given(wanted.base_tgz)
        .or_else(|| newest(&|one| one.codename == suite && !one.is_buildd()))
        .or_else(|| newest(&|one| one.codename == suite))
        .or_else(|| Some(environment).filter(|one| one.codename == suite))
        .ok_or_else(|| missing("minbase", suite, "--base-tgz"))?;

    let has_piuparts = |one: &Tarball| !OLD_PIUPARTS.contains(&one.codename.as_str());
    let piuparts_environment = given(wanted.piuparts_environment)
        .or_else(|| newest(&|one| one.codename == suite && has_piuparts(one)))
        .or_else(|| newest(&has_piuparts))
        .or_else(|| Some(environment).filter(|one| has_piuparts(one)))
        .ok_or_else(|| missing("minbase", "trixie", "--piuparts-environment"))?;

    Ok(Environments {
        environment: environment.id,
        piuparts_environment: piuparts_environment.id,
        base_tgz: base_tgz.id,
    })
}

impl Tarball {
    fn is_buildd(&self) -> bool {
        self.variant.as_deref() == Some("buildd")
    }
}

/// The codename in environments of unstable is `sid`.
fn codename(suite: &str) -> &str {
    if suite == "unstable" { "sid" } else { suite }
}

/// What is missing and the request that makes it.
fn how_to_make(wanted: &Wanted<'_>, variant: &str, suite: &str, option: &str) -> String {
    let architecture = wanted.architecture;
    let what = match option {
        "--piuparts-environment" => "piuparts needs an environment of trixie or newer, and none".to_owned(),
        _ if wanted.suite.is_none() && option == "--environment" => "No environment".to_owned(),
        _ => format!("No environment of {suite}"),
    };
    let workspace = wanted.workspace.map(|name| format!(" --workspace {name}")).unwrap_or_default();
    format!(
        "Error: {what} for {architecture} is in the workspace. Make one:\n\n\
        usine work-request create mmdebstrap{workspace} <<END\n\
        bootstrap_options: {{architecture: {architecture}, variant: {variant}}}\n\
        bootstrap_repositories:\n\
        - {{mirror: \"https://deb.debian.org/debian\", suite: {suite}, components: [main]}}\n\
        END\n\n\
        and wait for its end, or name a debian:system-tarball with {option} ID."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'static> = Wanted {
        architecture: "amd64",
        suite: None,
        environment: None,
        piuparts_environment: None,
        base_tgz: None,
        workspace: None,
    };

    fn tarball(id: i64, codename: &str, architecture: &str, variant: &str) -> Tarball {
        let (codename, architecture) = (codename.to_owned(), architecture.to_owned());
        Tarball { id, codename, architecture, variant: Some(variant.to_owned()) }
    }

    fn chosen(listed: &[Tarball], wanted: Wanted<'_>) -> Result<[i64; 3], String> {
        let chosen = choose(listed, &BTreeMap::new(), &wanted).map_err(|error| error.to_string())?;
        Ok([chosen.environment, chosen.piuparts_environment, chosen.base_tgz])
    }

    #[test]
    fn the_newest_suitable_ones_are_taken() {
        let listed = [
            tarball(9, "trixie", "arm64", "buildd"),
            tarball(8, "trixie", "amd64", "minbase"),
            tarball(7, "bookworm", "amd64", "buildd"),
            tarball(6, "bookworm", "amd64", "buildd"),
            tarball(5, "trixie", "amd64", "buildd"),
        ];
        assert_eq!(chosen(&listed, WANTED), Ok([7, 8, 7]), "to build in, one that has the tools for it");
        assert_eq!(chosen(&listed, Wanted { suite: Some("trixie"), ..WANTED }), Ok([5, 8, 8]));
        let minbase = tarball(4, "bookworm", "amd64", "minbase");
        let more = [&listed[..], &[minbase]].concat();
        assert_eq!(chosen(&more, Wanted { suite: Some("bookworm"), ..WANTED }), Ok([7, 8, 4]));
        let sid = [tarball(3, "sid", "amd64", "buildd")];
        assert_eq!(chosen(&sid, Wanted { suite: Some("unstable"), ..WANTED }), Ok([3, 3, 3]));
    }

    #[test]
    fn what_is_named_is_taken_as_it_is() {
        let named = BTreeMap::from([(1, tarball(1, "bullseye", "i386", "-")), (2, tarball(2, "forky", "amd64", "-"))]);
        let wanted = Wanted { environment: Some(1), piuparts_environment: Some(2), ..WANTED };
        let chosen = choose(&[], &named, &wanted).unwrap();
        assert_eq!(chosen, Environments { environment: 1, piuparts_environment: 2, base_tgz: 1 });
    }

    #[test]
    fn what_is_missing_can_be_made() {
        let none = chosen(&[], Wanted { workspace: Some("qa"), ..WANTED }).unwrap_err();
        assert!(none.starts_with("Error: No environment for amd64 is in the workspace. Make one:\n\n"), "{none}");
        assert!(none.contains("create mmdebstrap --workspace qa <<END\n"), "{none}");
        let bookworm = [tarball(7, "bookworm", "amd64", "buildd")];
        let old = chosen(&bookworm, WANTED).unwrap_err();
        assert!(old.contains("piuparts needs an environment of trixie or newer"), "{old}");
        assert!(old.contains("variant: minbase") && old.ends_with("--piuparts-environment ID."), "{old}");
        let trixie = chosen(&bookworm, Wanted { suite: Some("trixie"), ..WANTED }).unwrap_err();
        assert!(trixie.starts_with("Error: No environment of trixie for amd64"), "{trixie}");

        // The request is one that the task takes.
        let yaml = none.split("<<END\n").nth(1).unwrap().split("END\n").next().unwrap();
        let data = crate::input::parse_yaml(yaml).unwrap();
        let task = usine_tasks::find(usine_model::work_request::TaskType::Worker, "mmdebstrap").unwrap();
        assert_eq!(task.check(&data), Ok(()));
    }
}
