//! Running autopkgtest: inputs, command, verdict, artifact.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use usine_debian::Dsc;
use usine_model::artifact::{ArtifactCategory, ArtifactPath, Autopkgtest, AutopkgtestSource, RelationType};
use usine_model::work_request::Results;
use walkdir::{DirEntry, WalkDir};

use super::command::{Found, OUTPUT, SUMMARY, command, has_resolver, offers_global_timeout};
use super::data::{AutopkgtestData, AutopkgtestDynamicData};
use super::summary::{self, TestResults};
use super::verdict::{about_the_package, verdict};
use super::{BINARIES, CONTEXT, SOURCE, SOURCE_CATEGORIES};
use crate::executor::{Backend, VirtServer};
use crate::extra_repositories::{self, WrittenFiles};
use crate::run::{
    ArtifactRef, Bench, BoxFuture, Command, LogStream, NewArtifact, PLAIN_TEXT, Run, Step, TaskError, names_in,
    quote_all,
};
use crate::task::BINARY_CATEGORIES;

/// Largest summary that is read, in bytes: a line has some 60.
const MAX_SUMMARY: u64 = 4 * 1024 * 1024;
/// What autopkgtest keeps of the packages that it tested; they are artifacts already.
const PACKAGES: &str = "binaries";
const CONFIGURE_LOG: &str = "configure_for_execution.log";

pub(super) struct AutopkgtestRun {
    data: AutopkgtestData,
    dynamic: AutopkgtestDynamicData,
    found: Found,
    /// The `.dsc`, and where it is on the server.
    dsc: Option<(PathBuf, String)>,
    /// Name and version of the source package.
    source: (String, String),
    /// `VENDOR:CODENAME` of the environment.
    distribution: String,
    argv: Vec<String>,
    /// Whether the run says nothing about the package.
    is_temporary: bool,
    /// `None` if there is no summary.
    results: Option<TestResults>,
}

impl AutopkgtestRun {
    pub fn new(data: AutopkgtestData, dynamic: AutopkgtestDynamicData) -> Self {
        Self {
            data,
            dynamic,
            found: Found::default(),
            dsc: None,
            source: Default::default(),
            distribution: String::new(),
            argv: Vec::new(),
            is_temporary: false,
            results: None,
        }
    }

    async fn fetch_inputs(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let id = self.dynamic.input_source_artifact_id;
        let Some(source) = bench.expect(SOURCE, id, &SOURCE_CATEGORIES).await? else { return Ok(false) };
        bench.download(&source).await?;
        let dsc = source.files.iter().find(|(path, _)| path.as_str().ends_with(".dsc"));
        self.dsc = dsc.map(|(path, file)| (bench.fetch.join(path.as_str()), file.url.clone()));
        // An upload may bring both the source package and what was built from it.
        let mut fetched = BTreeSet::from([id]);
        for (field, ids) in
            [(BINARIES, &self.dynamic.input_binary_artifacts_ids), (CONTEXT, &self.dynamic.input_context_artifacts_ids)]
        {
            for (index, id) in ids.iter().enumerate() {
                let field = format!("{field}[{index}]");
                let Some(packages) = bench.expect(&field, *id, &BINARY_CATEGORIES).await? else { return Ok(false) };
                if fetched.insert(*id) {
                    bench.download(&packages).await?;
                }
            }
        }
        self.fetch_environment(bench).await?;
        Ok(true)
    }

    async fn fetch_environment(&mut self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let backend = self.data.backend;
        let image = bench.environment(backend, self.dynamic.environment_id).await?;
        let codename = image.text("codename")?;
        let VirtServer { server, arguments } = bench.virt_server(backend, &image).await?;
        let repositories = self.dynamic.extra_repositories.as_deref();
        let WrittenFiles { sources, keys } =
            extra_repositories::write(repositories, &self.data.build_architecture, codename, bench)?;
        self.distribution = image.distribution()?;
        self.found = Found {
            codename: codename.to_owned(),
            server: std::iter::once(server.to_owned()).chain(arguments).collect(),
            shares_resolver: backend.decided() == Backend::Unshare && has_resolver(),
            sources,
            keys,
            ..Found::default()
        };
        Ok(())
    }

    async fn choose(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let read = match &self.dsc {
            Some((path, _)) => Dsc::read(path).map(|dsc| (path, dsc)).map_err(|error| error.to_string()),
            None => Err(format!("{SOURCE} has no .dsc file: there is no source package in it.")),
        };
        let (path, dsc) = match read {
            Ok(found) => found,
            Err(problem) => {
                bench.append_log(CONFIGURE_LOG, &format!("{problem}\n"))?;
                return Ok(false);
            }
        };
        self.source = (dsc.source().to_owned(), dsc.version().to_owned());
        let packages = names_in(&bench.fetch, |name| name.ends_with(".deb"))?;
        self.found.targets = packages.iter().map(|name| bench.fetch.join(name)).collect();
        self.found.targets.push(path.clone());
        if self.data.backend.decided() == Backend::Unshare {
            bench.check_reachable(&bench.surroundings.directory)?;
        }
        if let Some(seconds) = self.data.global_timeout() {
            // Its exit code is 20, as if something were wrong.
            let help = bench.shell().attempt(Step::new(["autopkgtest", "--help"])).await?;
            self.found.has_global_timeout = offers_global_timeout(&String::from_utf8_lossy(&help.stdout));
            if !self.found.has_global_timeout {
                let text = format!(
                    "timeout.global ({seconds} s) is not honoured: the autopkgtest of this worker has no --timeout. \
                     Set timeout.test for a limit of each test, or install a newer autopkgtest.\n"
                );
                bench.append_log(CONFIGURE_LOG, &text)?;
                bench.host.log(LogStream::Internal, text.as_bytes());
            }
        }
        self.argv = command(&self.data, &self.found);
        Ok(true)
    }

    async fn test(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let ended = bench.run(&Command { argv: self.argv.clone(), ..Command::default() }).await?;
        let code = match about_the_package(ended.code) {
            Ok(code) => code,
            Err(reason) => {
                self.is_temporary = true;
                bench.append_log("task_result.log", &format!("{reason}\n"))?;
                return Ok(Results::TemporaryFailure);
            }
        };
        self.results = read_summary(&bench.exec.join(SUMMARY))?;
        Ok(verdict(code, self.results.as_ref().unwrap_or(&TestResults::new()), self.data.fail_on))
    }

    fn upload_report(&self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let (Some(results), Some((_, url))) = (&self.results, &self.dsc) else { return Ok(()) };
        let (name, version) = self.source.clone();
        let url = url.parse().map_err(|error| TaskError::Other(format!("the .dsc's URL {url:?}: {error}")))?;
        let data = Autopkgtest {
            results: results.clone(),
            cmdline: quote_all(&self.argv),
            source_package: AutopkgtestSource { name, version, url },
            architecture: self.data.build_architecture.clone(),
            distribution: self.distribution.clone(),
        };
        let mut report = NewArtifact::new(ArtifactCategory::Autopkgtest, &data)?;
        for (name, path) in output_files(&bench.exec.join(OUTPUT), bench)? {
            let content_type = content_type(name.as_str());
            report = report.with_file_as(name, &path, content_type);
        }
        let report = bench.upload(report)?;
        let source = self.dynamic.input_source_artifact_id;
        let tested: BTreeSet<i64> = self.dynamic.input_binary_artifacts_ids.iter().copied().collect();
        for id in std::iter::once(source).chain(tested.into_iter().filter(|id| *id != source)) {
            bench.relate(report, RelationType::RelatesTo, ArtifactRef::Existing(id));
        }
        Ok(())
    }
}

fn read_summary(path: &Path) -> Result<Option<TestResults>, TaskError> {
    let fault = || TaskError::io(format!("cannot read {}", path.display()));
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault()(error)),
        Ok(kind) if !kind.is_file() => return Err(TaskError::Other(format!("{SUMMARY} is not a regular file"))),
        Ok(kind) if kind.len() > MAX_SUMMARY => {
            return Err(TaskError::Other(format!("{SUMMARY} has more than {MAX_SUMMARY} bytes")));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_SUMMARY).read_to_end(&mut bytes)).map_err(fault())?;
    summary::parse(&String::from_utf8_lossy(&bytes)).map(Some).map_err(TaskError::Other)
}

/// The regular files below the output directory and their names there. Tests leave what they like (`artifacts/`): links
/// are left out, and names that no artifact can have, which the log says.
fn output_files(directory: &Path, bench: &Bench<'_>) -> Result<Vec<(ArtifactPath, PathBuf)>, TaskError> {
    let is_wanted = |entry: &DirEntry| entry.depth() != 1 || entry.file_name() != PACKAGES;
    let mut files = Vec::new();
    for entry in WalkDir::new(directory).sort_by_file_name().into_iter().filter_entry(is_wanted) {
        let entry = entry.map_err(|error| TaskError::Other(format!("cannot list the output: {error}")))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(directory).ok().and_then(Path::to_str);
        match name.and_then(|name| name.parse().ok()) {
            Some(name) => files.push((name, entry.into_path())),
            None => {
                let text = format!("{:?} is not uploaded: it is no name for a file of an artifact.\n", entry.path());
                bench.append_log("post_execution.log", &text)?;
            }
        }
    }
    Ok(files)
}

/// Of the files that autopkgtest itself writes; names tell the rest.
fn content_type(name: &str) -> Option<&'static str> {
    let is_text = matches!(name, "log" | "summary" | "testpkg-version")
        || ["-packages", "-stdout", "-stderr"].iter().any(|suffix| name.ends_with(suffix));
    (is_text && !name.contains('/')).then_some(PLAIN_TEXT)
}

impl Run for AutopkgtestRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.choose(bench))
    }

    /// Test beds are made below `TMPDIR`, so that nothing of them outlives the command, whatever becomes of it.
    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.test(bench))
    }

    fn check<'a>(&'a mut self, _bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        let is_missing = self.results.is_none() && !self.is_temporary;
        let problem = is_missing.then(|| format!("'{SUMMARY}' does not exist"));
        Box::pin(async { Ok(problem.into_iter().collect()) })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, _: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async { self.upload_report(bench) })
    }
}
