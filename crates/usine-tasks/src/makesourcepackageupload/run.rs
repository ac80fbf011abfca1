//! Running makesourcepackageupload: a script unpacks the source package and makes its `.changes`.

use std::path::{Path, PathBuf};

use usine_debian::Changes;
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::work_request::Results;

use super::{MakeSourcePackageUploadData, MakeSourcePackageUploadDynamicData, SOURCE};
use crate::executor::Inside;
use crate::packages::{self, only};
use crate::run::{ArtifactRef, Bench, BoxFuture, Recommends, Run, TaskError};

/// Its arguments: the `.dsc`, the `.changes` to make, and perhaps the last version known and a distribution.
const SCRIPT: &str = r#"#!/bin/bash
cd "$(dirname "$1")"
dpkg-source -x "$1" package/
cd package/
dpkg-genchanges -S -sa ${3:+"-v$3"} ${4:+"-DDistribution=$4"} > "$2"
ls -l "$2"
"#;

pub(super) struct MakeSourcePackageUploadRun {
    data: MakeSourcePackageUploadData,
    dynamic: MakeSourcePackageUploadDynamicData,
    dsc: PathBuf,
    script: PathBuf,
    /// The upload's `.changes`, once it is made.
    changes: Option<PathBuf>,
}

impl MakeSourcePackageUploadRun {
    pub fn new(data: MakeSourcePackageUploadData, dynamic: MakeSourcePackageUploadDynamicData) -> Self {
        Self { data, dynamic, dsc: PathBuf::new(), script: PathBuf::new(), changes: None }
    }

    async fn fetch_source(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        let id = self.dynamic.input_source_artifact_id;
        let source = bench.expect(SOURCE, id, &[ArtifactCategory::SourcePackage]).await?;
        let Some(source) = source else { return Ok(false) };
        bench.download(&source).await?;
        let dsc = only(&bench.fetch, ".dsc")?;
        self.dsc = dsc.ok_or_else(|| TaskError::Other(format!("source package {id} has no .dsc file")))?;
        Ok(true)
    }

    async fn prepare(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        self.script = self.dsc.with_file_name("makesourcepackageupload.sh");
        bench.write(&self.script, SCRIPT.as_bytes(), 0o755)?;
        bench.start_instance(self.data.backend.into(), self.dynamic.environment_id).await?;
        bench.install(&["dpkg-dev"], Recommends::Yes).await?;
        Ok(true)
    }

    async fn make(&mut self, bench: &mut Bench<'_>) -> Result<Results, TaskError> {
        let path = changes_path(&self.dsc);
        if bench.run_inside(&Inside::new(self.command(&path)), None).await?.code != Some(0) {
            return Ok(Results::Failure);
        }
        bench.pull(&path, &path).await?;
        self.changes = Some(path);
        Ok(Results::Success)
    }

    fn command(&self, changes: &Path) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut argv = ["bash", "-x", "-e"].map(str::to_owned).to_vec();
        argv.extend([path(&self.script), path(&self.dsc), path(changes)]);
        let options = [&self.data.since_version, &self.data.target_distribution];
        argv.extend(options.map(|option| option.clone().unwrap_or_default()));
        argv
    }
}

/// Beside the `.dsc`.
fn changes_path(dsc: &Path) -> PathBuf {
    let name = dsc.file_stem().unwrap_or_default().to_string_lossy();
    dsc.with_file_name(format!("{name}_source.changes"))
}

impl Run for MakeSourcePackageUploadRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_source(bench))
    }

    fn configure<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.prepare(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(self.make(bench))
    }

    fn check<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move {
            let Some(path) = &self.changes else { return Ok(Vec::new()) };
            Ok(Changes::read(path)?.listing().verify(path.parent().unwrap_or(&bench.fetch))?)
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move {
            let Some(path) = self.changes.as_ref().filter(|_| result == Results::Success) else { return Ok(()) };
            let upload = bench.upload(packages::upload(path)?)?;
            let source = ArtifactRef::Existing(self.dynamic.input_source_artifact_id);
            bench.relate(upload, RelationType::Extends, source);
            bench.relate(upload, RelationType::RelatesTo, source);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::makesourcepackageupload::MakeSourcePackageUpload;
    use crate::worker_task::read;

    #[test]
    fn commands() {
        let command = |more: serde_json::Value| {
            let mut data = json!({"input": {"source_artifact": 12}, "environment": 3});
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let data = read::<MakeSourcePackageUpload>(&data).unwrap();
            let dynamic = MakeSourcePackageUploadDynamicData { environment_id: 3, input_source_artifact_id: 12 };
            let mut run = MakeSourcePackageUploadRun::new(data, dynamic);
            run.dsc = "/w/fetch/hello_2.12.3-1.dsc".into();
            run.script = "/w/fetch/makesourcepackageupload.sh".into();
            run.command(&changes_path(&run.dsc))
        };
        let (script, dsc) = ("/w/fetch/makesourcepackageupload.sh", "/w/fetch/hello_2.12.3-1.dsc");
        let changes = "/w/fetch/hello_2.12.3-1_source.changes";
        assert_eq!(command(json!({})), ["bash", "-x", "-e", script, dsc, changes, "", ""]);
        let more = json!({"since_version": "2.10-1", "target_distribution": "bookworm"});
        assert_eq!(command(more), ["bash", "-x", "-e", script, dsc, changes, "2.10-1", "bookworm"]);
    }
}
