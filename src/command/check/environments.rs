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
    /// The one in which the checks run.
    pub workspace: &'a str,
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
    vendor: Option<String>,
    codename: String,
    architecture: String,
    variant: Option<String>,
}

/// Asks the server, and chooses.
///
/// # Errors
/// If what was named is no environment, or nothing suitable is there: the text says how to make one.
pub async fn find(client: &Client, wanted: &Wanted<'_>) -> anyhow::Result<Environments> {
    let options = [
        ("--environment", wanted.environment),
        ("--piuparts-environment", wanted.piuparts_environment),
        ("--base-tgz", wanted.base_tgz),
    ];
    let mut named = BTreeMap::new();
    for (option, id) in options {
        if let Some(id) = id {
            named.insert(id, named_tarball(&client.artifact(id).await?, option, wanted)?);
        }
    }
    let mut listed = Vec::new();
    if options.iter().any(|(_, id)| id.is_none()) {
        let filter = ArtifactFilter {
            category: Some(ArtifactCategory::SystemTarball),
            workspace: Some(wanted.workspace.to_owned()),
            work_request: None,
        };
        let artifacts = client.artifacts(&filter, LOOKED_AT).await?;
        listed.extend(artifacts.iter().filter(|artifact| artifact.files_to_upload.is_empty()).filter_map(tarball));
    }
    choose(&listed, &named, wanted)
}

/// What was named must be whole, and where the checks run: the server refuses artifacts of other workspaces.
///
/// # Errors
/// If it is not.
pub fn check_named(artifact: &Artifact, option: &str, workspace: &str) -> anyhow::Result<()> {
    let (id, its) = (artifact.id, &artifact.workspace);
    if its != workspace {
        return Err(failure(format!(
            "Error: {option}: artifact {id} is in the workspace {its}, the checks run in {workspace}: give --workspace {its} \
             or another artifact"
        )));
    }
    if !artifact.files_to_upload.is_empty() {
        let missing = artifact.files_to_upload.join(", ");
        return Err(failure(format!("Error: {option}: artifact {id} is not complete: {missing} was not uploaded")));
    }
    Ok(())
}

fn named_tarball(artifact: &Artifact, option: &str, wanted: &Wanted<'_>) -> anyhow::Result<Tarball> {
    let (id, category) = (artifact.id, artifact.category);
    if category != ArtifactCategory::SystemTarball {
        return Err(failure(format!("Error: {option}: artifact {id} is not a debian:system-tarball but a {category}")));
    }
    check_named(artifact, option, wanted.workspace)?;
    let unclear = || failure(format!("Error: {option}: the data of artifact {id} lack a codename or an architecture"));
    let tarball = tarball(artifact).ok_or_else(unclear)?;
    if tarball.architecture != wanted.architecture {
        let (its, asked) = (&tarball.architecture, wanted.architecture);
        return Err(failure(format!(
            "Error: {option}: artifact {id} is for {its}, the checks are for {asked}: give --architecture {its} or another \
             artifact"
        )));
    }
    Ok(tarball)
}

fn tarball(artifact: &Artifact) -> Option<Tarball> {
    let text = |key| artifact.data.get(key)?.as_str().map(str::to_owned);
    if artifact.category != ArtifactCategory::SystemTarball {
        return None;
    }
    Some(Tarball {
        id: artifact.id,
        vendor: text("vendor"),
        codename: text("codename")?,
        architecture: text("architecture")?,
        variant: text("variant"),
    })
}

/// `listed`: newest first. A buildd one is preferred to build in, a small one with apt of the same vendor for piuparts.
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
    // Of equals the first is taken: the newest.
    let foreign = |one: &Tarball| one.vendor != environment.vendor;
    let of_suite = usable.iter().copied().filter(|one| one.codename == suite);
    let base_tgz = given(wanted.base_tgz)
        .or_else(|| of_suite.min_by_key(|one| (foreign(one), one.burden())))
        .or_else(|| Some(environment).filter(|one| one.codename == suite))
        .ok_or_else(|| missing("minbase", suite, "--base-tgz"))?;

    let has_piuparts = |one: &Tarball| !OLD_PIUPARTS.contains(&one.codename.as_str());
    let with_piuparts = usable.iter().copied().filter(|one| has_piuparts(one));
    let piuparts_environment = given(wanted.piuparts_environment)
        .or_else(|| with_piuparts.min_by_key(|one| (foreign(one), one.codename != suite, one.burden())))
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

    /// How little it suits as a plain system in which packages are installed; 0 is best (mmdebstrap(1), VARIANTS).
    fn burden(&self) -> u8 {
        match self.variant.as_deref() {
            // The required packages and apt; without a variant debootstrap's usual system.
            None | Some("" | "-" | "minbase" | "apt" | "required") => 0,
            Some("important" | "debootstrap" | "standard") => 1,
            Some("buildd") => 2,
            // These may lack apt.
            Some(_) => 3,
        }
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
    let workspace = wanted.workspace;
    format!(
        "Error: {what} for {architecture} is in the workspace {workspace}. Make one:\n\n\
        usine work-request create mmdebstrap --workspace {workspace} <<END\n\
        bootstrap_options: {{architecture: {architecture}, variant: {variant}}}\n\
        bootstrap_repositories:\n\
        - {{mirror: \"https://deb.debian.org/debian\", suite: {suite}, components: [main]}}\n\
        END\n\n\
        and wait for its end, or name a debian:system-tarball with {option} ID; --workspace NAME looks in another workspace."
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
        workspace: "System",
    };

    fn tarball(id: i64, codename: &str, architecture: &str, variant: &str) -> Tarball {
        let (codename, architecture) = (codename.to_owned(), architecture.to_owned());
        Tarball { id, vendor: Some("debian".to_owned()), codename, architecture, variant: Some(variant.to_owned()) }
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
    fn piuparts_gets_a_plain_system_of_the_same_vendor() {
        let foreign = Tarball { vendor: Some("other".to_owned()), ..tarball(9, "trixie", "amd64", "minbase") };
        let listed = [
            foreign,
            tarball(8, "trixie", "amd64", "essential"),
            tarball(7, "trixie", "amd64", "custom"),
            tarball(6, "trixie", "amd64", "buildd"),
            tarball(5, "trixie", "amd64", "standard"),
            tarball(4, "trixie", "amd64", "apt"),
            tarball(3, "trixie", "amd64", "minbase"),
        ];
        assert_eq!(chosen(&listed, WANTED), Ok([6, 4, 4]));
        assert_eq!(chosen(&listed[..5], WANTED), Ok([6, 5, 5]));
        assert_eq!(chosen(&listed[..4], WANTED), Ok([6, 6, 6]), "the others may lack apt");
        let plain = Tarball { variant: None, ..tarball(2, "trixie", "amd64", "") };
        assert_eq!(chosen(&[&listed[1..4], &[plain]].concat(), WANTED), Ok([6, 2, 2]));
        // One of another vendor is better than none.
        let environment = tarball(1, "bookworm", "amd64", "buildd");
        assert_eq!(chosen(&[listed[0].clone(), environment.clone()], WANTED), Ok([1, 9, 1]));
        let own = tarball(10, "forky", "amd64", "custom");
        assert_eq!(chosen(&[listed[0].clone(), environment, own], WANTED), Ok([1, 10, 1]));
    }

    #[test]
    fn what_is_named_must_be_usable() {
        let artifact = |category: &str, architecture: &str| -> Artifact {
            serde_json::from_value(serde_json::json!({
                "id": 4, "workspace": "System", "category": category, "created_at": "2026-11-23T20:38:39Z",
                "data": {"codename": "trixie", "architecture": architecture, "vendor": "debian"},
                "download_tar_gz_url": "", "files_to_upload": [], "files": {},
            }))
            .unwrap()
        };
        let named = |artifact: &Artifact| {
            let named = named_tarball(artifact, "--base-tgz", &WANTED);
            named.map(|tarball| tarball.id).map_err(|error| error.to_string())
        };
        let good = artifact("debian:system-tarball", "amd64");
        assert_eq!(named(&good), Ok(4));
        let incomplete = Artifact { files_to_upload: vec!["system.tar.xz".to_owned()], ..good.clone() };
        let elsewhere = Artifact { workspace: "qa".to_owned(), ..good.clone() };
        let unclear = Artifact { data: serde_json::json!({}), ..good };
        for (wrong, words) in [
            (artifact("debian:system-image", "amd64"), "is not a debian:system-tarball but a debian:system-image"),
            (
                artifact("debian:system-tarball", "arm64"),
                "is for arm64, the checks are for amd64: give --architecture arm64",
            ),
            (incomplete, "is not complete: system.tar.xz was not uploaded"),
            (elsewhere, "is in the workspace qa, the checks run in System: give --workspace qa"),
            (unclear, "lack a codename or an architecture"),
        ] {
            let error = named(&wrong).unwrap_err();
            assert!(error.starts_with("Error: --base-tgz: ") && error.contains(words), "{error}");
        }
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
        let none = chosen(&[], Wanted { workspace: "qa", ..WANTED }).unwrap_err();
        assert!(none.starts_with("Error: No environment for amd64 is in the workspace qa. Make one:\n\n"), "{none}");
        assert!(none.contains("create mmdebstrap --workspace qa <<END\n"), "{none}");
        let bookworm = [tarball(7, "bookworm", "amd64", "buildd")];
        let old = chosen(&bookworm, WANTED).unwrap_err();
        assert!(old.contains("piuparts needs an environment of trixie or newer"), "{old}");
        assert!(old.contains("variant: minbase") && old.contains("with --piuparts-environment ID;"), "{old}");
        let trixie = chosen(&bookworm, Wanted { suite: Some("trixie"), ..WANTED }).unwrap_err();
        assert!(trixie.starts_with("Error: No environment of trixie for amd64"), "{trixie}");

        // The request is one that the task takes.
        let yaml = none.split("<<END\n").nth(1).unwrap().split("END\n").next().unwrap();
        let data = crate::input::parse_yaml(yaml).unwrap();
        let task = usine_tasks::find(usine_model::work_request::TaskType::Worker, "mmdebstrap").unwrap();
        assert_eq!(task.check(&data), Ok(()));
    }
}
