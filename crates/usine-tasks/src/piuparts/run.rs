//! Running piuparts: packages, base tarball, command, report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use usine_debian::{Deb, Version};
use usine_model::artifact::{ArtifactCategory, Piuparts, RelationType};
use usine_model::work_request::Results;

use super::command::{command, scripts};
use super::data::{PiupartsData, PiupartsDynamicData};
use super::{BASE, BINARIES, base};
use crate::executor::{Backend, Image, Inside};
use crate::extra_repositories;
use crate::run::{ArtifactInfo, Bench, BoxFuture, NewArtifact, PLAIN_TEXT, Recommends, Run, TaskError, names_in};
use crate::task::BINARY_CATEGORIES;

/// The report: what piuparts prints.
const REPORT: &str = "piuparts.txt";

/// The oldest piuparts that works without making device nodes.
const OLDEST: &str = "1.5";

pub(super) struct PiupartsRun {
    data: PiupartsData,
    dynamic: PiupartsDynamicData,
    /// Paths of the packages, sorted.
    packages: Vec<String>,
    /// Their names and versions.
    versions: BTreeMap<String, String>,
    /// The base tarball.
    base: Option<Image>,
    scripts: PathBuf,
    piuparts_version: String,
}

impl PiupartsRun {
    pub fn new(data: PiupartsData, dynamic: PiupartsDynamicData) -> Self {
        Self {
            data,
            dynamic,
            packages: Vec::new(),
            versions: BTreeMap::new(),
            base: None,
            scripts: PathBuf::new(),
            piuparts_version: String::new(),
        }
    }

    async fn fetch_inputs(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        for (index, id) in self.dynamic.input_binary_artifacts_ids.iter().enumerate() {
            let field = format!("{BINARIES}[{index}]");
            let Some(binary) = bench.expect(&field, *id, &BINARY_CATEGORIES).await? else { return Ok(false) };
            bench.download(&binary).await?;
        }
        let tarball = [ArtifactCategory::SystemTarball];
        let Some(artifact) = bench.expect(BASE, self.dynamic.base_tgz_id, &tarball).await? else { return Ok(false) };
        let directory = bench.download_apart(&artifact, "base_tar").await?;
        self.base = Some(base_image(artifact, &directory)?);
        Ok(true)
    }

    async fn configure_all(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        if !self.find_packages(bench)? {
            return Ok(false);
        }
        bench.start_instance(self.data.backend.into(), self.dynamic.environment_id).await?;
        bench.install(&["piuparts"], Recommends::Yes).await?;
        self.check_version(bench).await?;
        self.prepare_base(bench).await?;
        self.write_scripts(bench)?;
        Ok(true)
    }

    fn find_packages(&mut self, bench: &Bench<'_>) -> Result<bool, TaskError> {
        let names = names_in(&bench.fetch, |name| bench.fetch.join(name).is_file())?;
        for name in names.iter().filter(|name| name.ends_with(".deb")) {
            let path = bench.fetch.join(name);
            let package = Deb::read(&path)?;
            let field = |key: &str| package.fields().text(key).unwrap_or_default().to_owned();
            self.versions.insert(field("Package"), field("Version"));
            self.packages.push(path.display().to_string());
        }
        if self.packages.is_empty() {
            let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let text = format!("There must be at least one *.deb file. Current files: [{}]\n", names.join(", "));
            bench.append_log("configure_for_execution.log", &text)?;
        }
        Ok(!self.packages.is_empty())
    }

    async fn check_version(&mut self, bench: &Bench<'_>) -> Result<(), TaskError> {
        let version = bench.installed_version("piuparts").await?;
        let oldest: Version = OLDEST.parse().map_err(|error| TaskError::Other(format!("{error}")))?;
        // In a virtual machine any piuparts can make its devices.
        if Backend::from(self.data.backend).decided() != Backend::IncusVm && version < oldest {
            return Err(TaskError::Other(format!(
                "The environment's piuparts {version} cannot work in a container: it must be {OLDEST} or later. Use an \
                 environment of Debian 13 (trixie) or later; base_tgz decides what the packages are tested against"
            )));
        }
        self.piuparts_version = version.to_string();
        Ok(())
    }

    async fn prepare_base(&mut self, bench: &Bench<'_>) -> Result<(), TaskError> {
        let Some(base) = &mut self.base else { return Err(no_base()) };
        let path = base.path.clone();
        let with_dev = base.artifact.data.get("with_dev").and_then(Value::as_bool).unwrap_or(true);
        let cancel = bench.surroundings.cancel.clone();
        let working = tokio::task::spawn_blocking(move || base::prepare(&path, with_dev, &cancel));
        let prepared = working.await.map_err(|error| TaskError::Other(format!("rewriting {BASE}: {error}")))??;
        bench.own(&prepared)?;
        base.path = prepared;
        Ok(())
    }

    fn write_scripts(&mut self, bench: &Bench<'_>) -> Result<(), TaskError> {
        let repositories = self.dynamic.extra_repositories.as_deref().unwrap_or_default();
        let codename = self.base()?.text("codename")?;
        let files = extra_repositories::files(repositories, &self.data.build_architecture, codename);
        let directory = bench.fetch.join("scripts");
        fs::create_dir(&directory).map_err(TaskError::io(format!("cannot create {}", directory.display())))?;
        bench.own(&directory)?;
        for script in scripts(&files) {
            bench.write(&directory.join(script.name), script.content.as_bytes(), 0o755)?;
        }
        self.scripts = directory;
        Ok(())
    }

    fn base(&self) -> Result<&Image, TaskError> {
        self.base.as_ref().ok_or_else(no_base)
    }

    async fn run_piuparts(&self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let argv = command(&self.base()?.path, &self.scripts, &self.packages);
        let inside = Inside::as_root(argv).within(&bench.exec);
        let ended = bench.run_inside(&inside, Some(REPORT)).await?;
        Ok(if ended.code == Some(0) { Results::Success } else { Results::Failure })
    }

    fn upload_report(&self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let data = Piuparts {
            piuparts_version: self.piuparts_version.clone(),
            binary_packages: self.versions.clone(),
            architecture: self.data.build_architecture.clone(),
            distribution: self.base()?.distribution()?,
        };
        let artifact = NewArtifact::new(ArtifactCategory::Piuparts, &data)?;
        let report = bench.upload(artifact.with_file(&bench.exec.join(REPORT), Some(PLAIN_TEXT))?)?;
        bench.relate_to_fetched(report, RelationType::RelatesTo);
        Ok(())
    }
}

fn no_base() -> TaskError {
    TaskError::Other(format!("{BASE} was not downloaded"))
}

fn base_image(artifact: ArtifactInfo, directory: &Path) -> Result<Image, TaskError> {
    let mut names = artifact.files.keys();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(TaskError::Other(format!("{BASE} (artifact {}) must have exactly one file", artifact.id)));
    };
    Ok(Image { path: directory.join(name.as_str()), artifact })
}

impl Run for PiupartsRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.configure_all(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.run_piuparts(bench))
    }

    fn check<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move {
            let is_there = bench.exec.join(REPORT).is_file();
            Ok(if is_there { Vec::new() } else { vec![format!("'{REPORT}' does not exist")] })
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, _: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { self.upload_report(bench) })
    }
}
