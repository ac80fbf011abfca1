//! Running debdiff: inputs, command, verdict, report.

use std::path::{Path, PathBuf};

use usine_model::artifact::{ArtifactCategory, Debdiff as DebdiffReport, RelationType};
use usine_model::work_request::Results;

use super::data::{DebdiffData, DebdiffDynamicData, Flag};
use super::sides::{Sides, parameter_summary};
use super::{BINARIES, SOURCES};
use crate::executor::Inside;
use crate::run::{ArtifactInfo, Bench, BoxFuture, NewArtifact, PLAIN_TEXT, Recommends, Run, TaskError, names_in};
use crate::task::BINARY_CATEGORIES;

/// The report, and the name of its file.
const REPORT: &str = "debdiff.txt";
/// What debdiff(1) calls for its options.
const PACKAGES: [&str; 4] = ["devscripts", "diffstat", "patchutils", "wdiff"];

pub(super) struct DebdiffRun {
    data: DebdiffData,
    dynamic: DebdiffDynamicData,
    artifacts: Sides<Vec<ArtifactInfo>>,
    /// Where their files are, in the same order.
    directories: Sides<Vec<PathBuf>>,
    /// The file of each artifact that debdiff gets.
    targets: Sides<Vec<PathBuf>>,
}

impl DebdiffRun {
    pub fn new(data: DebdiffData, dynamic: DebdiffDynamicData) -> Self {
        let (artifacts, directories, targets) = Default::default();
        Self { data, dynamic, artifacts, directories, targets }
    }

    /// Field, id and side of each input.
    fn inputs(&self) -> Vec<(String, i64, usize)> {
        let sources = self.dynamic.input_source_artifacts_ids.iter().flatten().zip(SOURCES).enumerate();
        let sources = sources.map(|(side, (id, field))| (field.to_owned(), *id, side));
        let binaries = self.dynamic.input_binary_artifacts_ids.iter().flatten().zip(BINARIES).enumerate();
        let binaries = binaries.flat_map(|(side, (ids, field))| {
            ids.iter().enumerate().map(move |(index, id)| (format!("{field}[{index}]"), *id, side))
        });
        sources.chain(binaries).collect()
    }

    async fn fetch_inputs(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let are_sources = self.data.input.source_artifacts.is_some();
        let expected = if are_sources { &[ArtifactCategory::SourcePackage][..] } else { &BINARY_CATEGORIES };
        for (number, (field, id, side)) in self.inputs().into_iter().enumerate() {
            let Some(artifact) = bench.expect(&field, id, expected).await? else { return Ok(false) };
            // An artifact may be on both sides, and both may have files of the same name.
            let directory = bench.download_apart(&artifact, &format!("{id}_{number}")).await?;
            self.artifacts[side].push(artifact);
            self.directories[side].push(directory);
        }
        Ok(true)
    }

    async fn prepare(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        for side in 0..2 {
            for directory in &self.directories[side] {
                self.targets[side].push(target(directory)?);
            }
            if self.targets[side].is_empty() {
                bench.append_log("configure_for_execution.log", "There are no two sides to compare.\n")?;
                return Ok(false);
            }
        }
        bench.start_instance(self.data.backend.into(), self.dynamic.environment_id).await?;
        bench.install(&PACKAGES, Recommends::No).await?;
        Ok(true)
    }

    async fn compare(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let inside = Inside::new(command(&self.data.extra_flags, &self.targets)).within(&bench.exec);
        let ended = bench.run_inside(&inside, Some(REPORT)).await?;
        // 1: there are differences (debdiff(1), EXIT VALUES).
        Ok(if matches!(ended.code, Some(0 | 1)) { Results::Success } else { Results::Failure })
    }

    /// A comparison that broke off is not uploaded: the debug log has what it said, and half of it would look like all.
    fn upload_report(&self, bench: &mut Bench<'_>, result: Results) -> Result<(), TaskError> {
        if result != Results::Success {
            return Ok(());
        }
        let sides = self
            .artifacts
            .each_ref()
            .map(|side| side.iter().map(|artifact| (artifact.category, &artifact.data)).collect::<Vec<_>>());
        let [original, new] = self.targets.each_ref().map(|side| names(side));
        let summary = parameter_summary(&sides, self.data.compared());
        let data = DebdiffReport { original, new, label: summary.map(|summary| format!("debdiff {summary}")) };
        let report = NewArtifact::new(ArtifactCategory::Debdiff, &data)?;
        let report = bench.upload(report.with_file(&bench.exec.join(REPORT), Some(PLAIN_TEXT))?)?;
        bench.relate_to_fetched(report, RelationType::RelatesTo);
        Ok(())
    }
}

fn is_binary(name: &str) -> bool {
    name.ends_with(".deb") || name.ends_with(".udeb")
}

/// What stands for the artifact in `directory`: its `.changes` file, else its only package.
fn target(directory: &Path) -> Result<PathBuf, TaskError> {
    let changes = names_in(directory, |name| name.ends_with(".changes"))?;
    let packages = names_in(directory, |name| is_binary(name) || name.ends_with(".dsc"))?;
    match (changes.as_slice(), packages.as_slice()) {
        ([name], _) | ([], [name]) => Ok(directory.join(name)),
        _ => {
            let names = names_in(directory, |_| true)?.join(", ");
            Err(TaskError::Other(format!("expected one .changes, .dsc, .deb or .udeb file to compare among: {names}")))
        }
    }
}

fn command(flags: &[Flag], targets: &Sides<Vec<PathBuf>>) -> Vec<String> {
    let [old, new] = targets.each_ref().map(|side| side.iter().map(|path| path.display().to_string()));
    let flags = flags.iter().map(|flag| <&str>::from(flag).to_owned());
    let argv = ["debdiff".to_owned()].into_iter().chain(flags);
    if targets.iter().flatten().all(|path| is_binary(&path.to_string_lossy())) {
        return argv.chain(["--from".to_owned()]).chain(old).chain(["--to".to_owned()]).chain(new).collect();
    }
    argv.chain(old).chain(new).collect()
}

/// The names of files, joined by blanks.
fn names(paths: &[PathBuf]) -> String {
    let names = paths.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy());
    names.collect::<Vec<_>>().join(" ")
}

impl Run for DebdiffRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_inputs(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.prepare(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.compare(bench))
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { self.upload_report(bench, result) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn commands() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            command(&[], &[paths(&["/a/h_1.dsc"]), paths(&["/b/h_2.dsc"])]),
            ["debdiff", "/a/h_1.dsc", "/b/h_2.dsc"]
        );
        assert_eq!(
            command(&[Flag::NoControl, Flag::Dirs], &[paths(&["/a/h_1.changes"]), paths(&["/b/h_2.changes"])]),
            ["debdiff", "--nocontrol", "--dirs", "/a/h_1.changes", "/b/h_2.changes"]
        );
        assert_eq!(
            command(&[Flag::Diffstat], &[paths(&["/a/h_1.deb", "/b/i_1.udeb"]), paths(&["/c/h_2.deb"])]),
            ["debdiff", "--diffstat", "--from", "/a/h_1.deb", "/b/i_1.udeb", "--to", "/c/h_2.deb"]
        );
        assert_eq!(names(&paths(&["/a/h_1.deb", "/b/i_1.udeb"])), "h_1.deb i_1.udeb");
    }

    #[test]
    fn targets() {
        for (files, expected) in [
            (&["h_1.dsc", "h_1.tar.xz"][..], Ok("h_1.dsc")),
            (&["h_1_all.deb"], Ok("h_1_all.deb")),
            (&["h_1_all.udeb"], Ok("h_1_all.udeb")),
            (&["a.deb", "b.deb", "h_1_all.changes", "h_1_all.buildinfo"], Ok("h_1_all.changes")),
            (&["a.deb", "b.deb"], Err("a.deb, b.deb")),
            (&["a.txt"], Err("a.txt")),
            (&["a.changes", "b.changes"], Err("a.changes, b.changes")),
        ] {
            let directory = tempfile::tempdir().unwrap();
            for name in files {
                fs::write(directory.path().join(name), "").unwrap();
            }
            match (target(directory.path()), expected) {
                (Ok(path), Ok(name)) => assert_eq!(path, directory.path().join(name)),
                (Err(error), Err(names)) => assert!(error.to_string().ends_with(&format!("among: {names}")), "{error}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        }
    }
}
