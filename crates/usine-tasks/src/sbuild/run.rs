//! Running sbuild: inputs, command, verdict, artifacts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use usine_debian::Dsc;
use usine_model::artifact::{ArtifactCategory, ArtifactPath, PackageBuildLog, RelationType};
use usine_model::work_request::Results;

use super::build_log::{self, BuildLog};
use super::command::{Chroot, Found, command};
use super::data::{SbuildData, SbuildDynamicData};
use super::output;
use crate::executor::Backend;
use crate::extra_repositories::{self, WrittenFiles};
use crate::run::{Bench, BoxFuture, Command, NewArtifact, PLAIN_TEXT, Run, TaskError};
use crate::task::BINARY_CATEGORIES;

pub(super) struct SbuildRun {
    data: SbuildData,
    dynamic: SbuildDynamicData,
    found: Found,
    log: Option<(PathBuf, BuildLog)>,
}

impl SbuildRun {
    pub fn new(data: SbuildData, dynamic: SbuildDynamicData) -> Self {
        Self { data, dynamic, found: Found::default(), log: None }
    }

    async fn fetch_inputs(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let source = [ArtifactCategory::SourcePackage];
        let id = self.dynamic.input_source_artifact_id;
        let Some(source) = bench.expect("input.source_artifact", id, &source).await? else { return Ok(false) };
        bench.download(&source).await?;
        if let Some(dsc) = source.files.keys().find(|path| path.as_str().ends_with(".dsc")) {
            self.found.dsc = bench.fetch.join(dsc.as_str());
        }
        for (index, id) in self.dynamic.input_extra_binary_artifacts_ids.iter().enumerate() {
            let field = format!("input.extra_binary_artifacts[{index}]");
            let Some(binary) = bench.expect(&field, *id, &BINARY_CATEGORIES).await? else { return Ok(false) };
            bench.download(&binary).await?;
            let debs = binary.files.keys().map(ArtifactPath::as_str).filter(|path| path.ends_with(".deb"));
            self.found.extra_packages.extend(debs.map(|path| bench.fetch.join(path)));
        }
        self.fetch_environment(bench).await?;
        Ok(true)
    }

    async fn fetch_environment(&mut self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let backend = self.data.backend;
        let image = bench.environment(backend, self.dynamic.environment_id).await?;
        let codename = image.text("codename")?;
        let repositories = self.dynamic.extra_repositories.as_deref();
        let WrittenFiles { sources, keys } =
            extra_repositories::write(repositories, &self.data.build_architecture, codename, bench)?;
        let chroot = match backend.decided() {
            // sbuild's own way; the server of autopkgtest for it would be slower.
            Backend::Unshare => Chroot::Unshare(image.path.clone()),
            _ => Chroot::Autopkgtest(bench.virt_server(backend, &image).await?),
        };
        self.found = Found { codename: codename.to_owned(), chroot, sources, keys, ..std::mem::take(&mut self.found) };
        Ok(())
    }

    fn environment(&self, bench: &Bench<'_>) -> BTreeMap<String, String> {
        let options = self.data.build_options();
        if options.is_empty() {
            return BTreeMap::new();
        }
        let name = "DEB_BUILD_OPTIONS";
        let own = bench.surroundings.environment.get(name).map(String::as_str);
        let words: Vec<&str> = own.into_iter().flat_map(str::split_ascii_whitespace).chain(options).collect();
        BTreeMap::from([(name.to_owned(), words.join(" "))])
    }

    async fn build(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let argv = command(&self.data, &self.found, self.dynamic.binnmu_maintainer.as_deref());
        let command = Command {
            argv,
            environment: self.environment(bench),
            follow: Some(build_log::SUFFIX),
            ..Command::default()
        };
        let ended = bench.run(&command).await;
        let fault = || TaskError::io("cannot read the build log");
        if let Some(path) = build_log::find(&bench.exec).map_err(fault())? {
            let log = build_log::read(&path).map_err(fault())?;
            self.log = Some((path, log));
        }
        let code = ended?.code;
        Ok(match &self.log {
            _ if code != Some(0) => Results::Failure,
            None => Results::Error,
            Some((_, log)) if log.status.as_deref() == Some("Status: successful") => Results::Success,
            Some(_) => Results::Failure,
        })
    }

    fn upload_all(&self, bench: &mut Bench<'_>, result: Results) -> Result<(), TaskError> {
        let Some((path, log)) = &self.log else { return Ok(()) };
        let dsc = Dsc::read(&self.found.dsc)?;
        let data = PackageBuildLog {
            source: dsc.source().to_owned(),
            version: dsc.version().to_owned(),
            architecture: Some(self.data.host_architecture().to_owned()),
            filename: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bd_uninstallable: log.dose3.clone().filter(|_| result != Results::Success),
        };
        let artifact = NewArtifact::new(ArtifactCategory::PackageBuildLog, &data)?;
        let log = bench.upload(artifact.with_file(path, Some(PLAIN_TEXT))?)?;
        bench.relate_to_fetched(log, RelationType::RelatesTo);
        if result == Results::Success { output::upload_packages(&self.data, log, bench) } else { Ok(()) }
    }
}

impl Run for SbuildRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(async move {
            if !self.found.dsc.is_file() {
                bench.append_log("configure_for_execution.log", "Input source package not found.\n")?;
                return Ok(false);
            }
            if matches!(self.found.chroot, Chroot::Unshare(_)) {
                bench.check_reachable(&bench.surroundings.directory)?;
            }
            Ok(true)
        })
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.build(bench))
    }

    fn check<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move { output::inconsistencies(&bench.exec) })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { self.upload_all(bench, result) })
    }

    /// A killed sbuild leaves its chroot, which belongs to subordinate users.
    fn clean_up<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            let chroot = self.log.as_ref().and_then(|(_, log)| log.chroot.as_deref());
            if let Some(chroot) = chroot.filter(|chroot| chroot.symlink_metadata().is_ok()) {
                bench.remove(chroot).await;
            }
            Ok(())
        })
    }
}
