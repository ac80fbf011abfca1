//! Running lintian: inputs, command, verdict, reports.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use usine_model::artifact::{ArtifactCategory, ArtifactPath, Lintian as LintianReport, RelationType};
use usine_model::work_request::Results;

use super::analysis::{Package, analysis, architectures, stranger, verdict};
use super::data::{LintianData, LintianDynamicData};
use super::report::{self, Tag};
use super::{BINARIES, SOURCE, SOURCE_CATEGORIES};
use crate::executor::Inside;
use crate::run::{Bench, BoxFuture, LocalFile, NewArtifact, PLAIN_TEXT, Recommends, Run, TaskError, names_in};
use crate::task::BINARY_CATEGORIES;

/// Lintian's output.
const OUTPUT: &str = "lintian.txt";
/// More than this is not read; the largest packages of Debian give some megabytes.
const MAX_OUTPUT_BYTES: u64 = 256 * 1024 * 1024;
const JSON: &str = "application/json; charset=utf-8";

pub(super) struct LintianRun {
    data: LintianData,
    dynamic: LintianDynamicData,
    /// Names of the files to look at.
    targets: Vec<String>,
    packages: Vec<Package>,
    found: Option<Found>,
}

/// What lintian found, and which lintian.
struct Found {
    tags: Vec<Tag>,
    version: String,
}

impl LintianRun {
    pub fn new(data: LintianData, dynamic: LintianDynamicData) -> Self {
        Self { data, dynamic, targets: Vec::new(), packages: Vec::new(), found: None }
    }

    async fn fetch_inputs(&self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let source = self.dynamic.input_source_artifact_id.map(|id| (SOURCE.to_owned(), id, SOURCE_CATEGORIES));
        let binaries = self.dynamic.input_binary_artifacts_ids.iter().enumerate();
        let binaries = binaries.map(|(index, id)| (format!("{BINARIES}[{index}]"), *id, BINARY_CATEGORIES));
        for (field, id, categories) in source.into_iter().chain(binaries) {
            let Some(artifact) = bench.expect(&field, id, &categories).await? else { return Ok(false) };
            bench.download(&artifact).await?;
        }
        Ok(true)
    }

    async fn prepare(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let names = names_in(&bench.fetch, |_| true)?;
        self.targets = targets(&names);
        let environment = match (self.targets.as_slice(), self.dynamic.environment_id) {
            ([], _) => Err(format!("No *.dsc, *.deb or *.udeb to be analyzed. Files: {names:?}\n")),
            (_, None) => Err("lintian needs an environment to run in, and the task data name none.\n".to_owned()),
            (_, Some(id)) => Ok(id),
        };
        let environment = match environment {
            Ok(id) => id,
            Err(problem) => {
                bench.append_log("configure_for_execution.log", &problem)?;
                return Ok(false);
            }
        };
        for name in &self.targets {
            self.packages.push(Package::read(&bench.fetch.join(name))?);
        }
        bench.start_instance(self.data.backend.into(), environment).await?;
        bench.install(&["lintian"], Recommends::Yes).await?;
        Ok(true)
    }

    async fn analyze(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let inside = Inside::new(command(&self.data, &bench.fetch, &self.targets)).within(&bench.exec);
        let ended = bench.run_inside(&inside, Some(OUTPUT)).await?;
        // 2: there are tags that lintian itself finds bad (lintian(1), EXIT STATUS).
        if !matches!(ended.code, Some(0 | 2)) {
            return Ok(Results::Error);
        }
        let version = bench.output_inside(&Inside::new(["lintian", "--print-version"])).await?;
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        let output = read_output(&bench.exec.join(OUTPUT))?;
        let tags = report::parse(&output).map_err(|error| TaskError::Other(error.to_string()))?;
        if let Some(Tag { tag, package, .. }) = stranger(&tags, &self.packages) {
            let problem =
                format!("lintian found {tag} in {package}, which is not among the packages that it was given");
            return Err(TaskError::Other(problem));
        }
        let result = verdict(&tags, &self.packages, self.data.output, self.data.fail_on_severity);
        self.found = Some(Found { tags, version });
        Ok(result)
    }

    /// One artifact for each architecture. There are none if lintian broke off: its debug log has what it said, and half
    /// an analysis would look like a whole one.
    fn upload_analyses(&self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let Some(Found { tags, version }) = &self.found else { return Ok(()) };
        for architecture in architectures(&self.packages, self.data.output) {
            let analysis = analysis(architecture, tags, &self.packages, version, &self.data.target_distribution);
            let text = serde_json::to_vec(&analysis).map_err(|error| TaskError::Other(error.to_string()))?;
            let path = bench.exec.join(format!("analysis-{architecture}.json"));
            bench.write(&path, &text, 0o644)?;
            let data = LintianReport { architecture: Some(architecture.to_owned()), summary: analysis.summary };
            let report = NewArtifact::new(ArtifactCategory::Lintian, &data)?;
            let mut report = report.with_file(&bench.exec.join(OUTPUT), Some(PLAIN_TEXT))?;
            let name: ArtifactPath =
                "analysis.json".parse().map_err(|error| TaskError::Other(format!("analysis.json: {error}")))?;
            report.files.insert(name, LocalFile { path, content_type: Some(JSON.to_owned()) });
            let report = bench.upload(report)?;
            bench.relate_to_fetched(report, RelationType::RelatesTo);
        }
        Ok(())
    }
}

/// The files to look at: source packages first.
fn targets(names: &[String]) -> Vec<String> {
    let sources = names.iter().filter(|name| name.ends_with(".dsc"));
    let binaries = names.iter().filter(|name| name.ends_with(".deb") || name.ends_with(".udeb"));
    sources.chain(binaries).cloned().collect()
}

fn command(data: &LintianData, directory: &Path, targets: &[String]) -> Vec<String> {
    let options = [
        "lintian",
        "--no-cfg",
        "--display-level",
        ">=classification",
        "--display-experimental",
        "--info",
        "--show-overrides",
    ];
    let mut argv: Vec<String> = options.map(str::to_owned).to_vec();
    for (option, tags) in [("--tags", &data.include_tags), ("--suppress-tags", &data.exclude_tags)] {
        if !tags.is_empty() {
            argv.push(format!("{option}={}", tags.join(",")));
        }
    }
    argv.extend(targets.iter().map(|name| directory.join(name).display().to_string()));
    argv
}

fn read_output(path: &Path) -> Result<String, TaskError> {
    let fault = || TaskError::io(format!("cannot read {OUTPUT}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fault())?;
    if file.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut bytes).map_err(fault())? as u64 > MAX_OUTPUT_BYTES {
        return Err(TaskError::Other(format!("{OUTPUT} has more than {MAX_OUTPUT_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Run for LintianRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.prepare(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.analyze(bench))
    }

    fn check<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move {
            let is_there = bench.exec.join(OUTPUT).is_file();
            Ok(if is_there { Vec::new() } else { vec![format!("{OUTPUT} not in output")] })
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, _: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { self.upload_analyses(bench) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lintian::Lintian;
    use crate::worker_task::read;

    fn argv(further: &Value) -> Vec<String> {
        let mut data = json!({"input": {"source_artifact": 12}});
        data.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let names = ["a_1.dsc", "a_1_all.deb"].map(str::to_owned);
        command(&read::<Lintian>(&data).unwrap(), Path::new("/w/fetch-x"), &names)
    }

    #[test]
    fn commands() {
        let common = [
            "lintian",
            "--no-cfg",
            "--display-level",
            ">=classification",
            "--display-experimental",
            "--info",
            "--show-overrides",
        ];
        let files = ["/w/fetch-x/a_1.dsc", "/w/fetch-x/a_1_all.deb"];
        assert_eq!(argv(&json!({})), [&common[..], &files].concat());
        assert_eq!(
            argv(&json!({"include_tags": ["a", "b"], "exclude_tags": ["c"], "fail_on_severity": "none"})),
            [&common[..], &["--tags=a,b", "--suppress-tags=c"], &files].concat()
        );
    }

    #[test]
    fn sources_come_before_binaries() {
        let names = ["a.deb", "a.udeb", "b.changes", "b.deb", "b.dsc", "b.tar.xz", "c.dsc"].map(str::to_owned);
        assert_eq!(targets(&names), ["b.dsc", "c.dsc", "a.deb", "a.udeb", "b.deb"]);
    }
}
