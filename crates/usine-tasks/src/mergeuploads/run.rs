//! Running mergeuploads: everything happens in the worker itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use usine_debian::{Changes, Version, is_package_name};
use usine_model::artifact::{ArtifactCategory, RelationType};
use usine_model::work_request::Results;

use super::merge::merge;
use crate::packages::{only, upload_of};
use crate::run::{ArtifactRef, Bench, BoxFuture, Run, TaskError};

pub(super) struct MergeUploadsRun {
    /// In order.
    ids: Vec<i64>,
    /// Where each upload's files are, and its `.changes`.
    uploads: Vec<(PathBuf, Changes)>,
    merged: PathBuf,
}

impl MergeUploadsRun {
    pub fn new(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        Self { ids, uploads: Vec::new(), merged: PathBuf::new() }
    }

    async fn fetch_uploads(&mut self, bench: &mut Bench<'_>) -> Result<bool, TaskError> {
        for (index, id) in self.ids.iter().enumerate() {
            let field = format!("input.uploads[{index}]");
            let Some(upload) = bench.expect(&field, *id, &[ArtifactCategory::Upload]).await? else { return Ok(false) };
            let directory = bench.download_apart(&upload, &format!("upload-{id}")).await?;
            let path = only(&directory, ".changes")?;
            let path = path.ok_or_else(|| TaskError::Other(format!("upload {id} has no .changes file")))?;
            self.uploads.push((directory, Changes::read(&path)?));
        }
        Ok(true)
    }

    fn write_merged(&mut self, bench: &Bench<'_>) -> Result<(), TaskError> {
        let changes: Vec<&Changes> = self.uploads.iter().map(|(_, changes)| changes).collect();
        let merged = merge(&changes)?;
        let field = |name| merged.text(name).unwrap_or_default();
        let source = field("Source").split(" (").next().unwrap_or_default();
        let version: Version = field("Version")
            .parse()
            .map_err(|error| TaskError::Other(format!("the uploads have a bad Version: {error}")))?;
        let name = format!("{source}_{}_multi.changes", version.without_epoch());
        if !is_package_name(source) || name.contains('/') {
            return Err(TaskError::Other(format!("the uploads have a bad Source or Version: '{source}', '{version}'")));
        }
        let text = merged.to_text().map_err(|error| TaskError::Other(error.to_string()))?;
        let directory = bench.exec.join("merged");
        fs::create_dir(&directory).map_err(TaskError::io(format!("cannot create {}", directory.display())))?;
        self.merged = directory.join(name);
        bench.write(&self.merged, text.as_bytes(), 0o644)
    }

    fn upload_merged(&self, bench: &mut Bench<'_>) -> Result<(), TaskError> {
        let mut places = BTreeMap::new();
        for (directory, changes) in &self.uploads {
            places.extend(changes.names().map(|name| (name, directory.join(name))));
        }
        let place = |name: &str| places.get(name).cloned().unwrap_or_default();
        let artifact = upload_of(&self.merged, &Changes::read(&self.merged)?, place)?;
        let merged = bench.upload(artifact)?;
        for id in &self.ids {
            bench.relate(merged, RelationType::Extends, ArtifactRef::Existing(*id));
        }
        Ok(())
    }
}

impl Run for MergeUploadsRun {
    fn fetch<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<bool, TaskError>> {
        Box::pin(self.fetch_uploads(bench))
    }

    fn run<'a>(&'a mut self, bench: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Results, TaskError>> {
        Box::pin(async move { self.write_merged(bench).map(|()| Results::Success) })
    }

    /// What is merged must fit its own lists, or no archive takes the result.
    fn check<'a>(&'a mut self, _: &'a mut Bench<'_>) -> BoxFuture<'a, Result<Vec<String>, TaskError>> {
        Box::pin(async move {
            let mut problems = Vec::new();
            for (directory, changes) in &self.uploads {
                problems.extend(changes.listing().verify(directory)?);
            }
            Ok(problems)
        })
    }

    fn upload<'a>(&'a mut self, bench: &'a mut Bench<'_>, result: Results) -> BoxFuture<'a, Result<(), TaskError>> {
        Box::pin(async move { if result == Results::Success { self.upload_merged(bench) } else { Ok(()) } })
    }
}
