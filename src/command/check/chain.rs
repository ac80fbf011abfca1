//! The chain: import, build, then all checks at once, each followed to its end.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use usine_client::{ArtifactFilter, Client};
use usine_debian::Version;
use usine_model::artifact::{ArtifactCategory, source_name_and_version};
use usine_model::work_request::{Results, Statuses};
use usine_protocol::artifact::Artifact;
use usine_protocol::work_request::{CreateWorkRequest, WorkRequest};

use super::environments::{self, Wanted};
use super::plan::{Built, Comparison, Ground, Plan};
use super::report::{Report, Row, Verdict};
use super::{Against, Args, Check, Submitted, findings};
use crate::command::work_request::{follow, view};
use crate::exit::failure;
use crate::progress::Progress;

/// So many of the newest source packages are looked through for an older version.
const LOOKED_AT: usize = 2000;

/// How often to look why a work request does not run.
const REASONS: Duration = Duration::from_secs(10);

/// What comes after a build.
const AFTER_BUILD: [Check; 5] = [Check::Lintian, Check::Autopkgtest, Check::Piuparts, Check::Blhc, Check::Debdiff];

/// One run of the command.
pub struct Chain<'a> {
    pub client: &'a Client,
    pub args: &'a Args,
    pub architecture: String,
    pub workspace: Option<String>,
    /// What has been submitted so far, also when this run is interrupted.
    pub submitted: &'a RefCell<Vec<Submitted>>,
}

impl Chain<'_> {
    /// Runs it to its end.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let args = self.args;
        // What is missing is told before anything is changed.
        let environments = environments::find(self.client, &self.wanted()).await?;
        let given = match &args.against {
            Some(Against::Artifact(id)) => Some(comparison(&self.client.artifact(*id).await?)?),
            Some(Against::File(path)) => Some(Comparison::Source(self.import(path).await?.id)),
            None => None,
        };
        let source = self.import(&args.dsc).await?;
        let comparison = match given {
            Some(comparison) => comparison,
            None => self.older_version(&source).await?.map_or(Comparison::Nothing, Comparison::Source),
        };
        let ground = Ground {
            source: source.id,
            architecture: self.architecture.clone(),
            environments,
            fail_on_severity: args.fail_on_severity.clone(),
        };

        let (build, artifacts) = self.check(Check::Build, Plan::Submit(ground.build())).await?;
        let built = Built::of(&artifacts);
        let plans = AFTER_BUILD.map(|check| {
            let plan = match build.verdict {
                Verdict::Passed => ground.plan(check, &built, &comparison),
                _ => Plan::Skip("nothing was built"),
            };
            (check, plan)
        });
        let checks = try_join_all(plans.map(|(check, plan)| self.check(check, plan))).await?;
        let rows = std::iter::once(build).chain(checks.into_iter().map(|(row, _)| row)).collect();
        Ok(Report { source, ground, rows })
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            architecture: &self.architecture,
            suite: self.args.suite.as_deref(),
            environment: self.args.environment,
            piuparts_environment: self.args.piuparts_environment,
            base_tgz: self.args.base_tgz,
            workspace: self.workspace.as_deref(),
        }
    }

    async fn import(&self, path: &Path) -> anyhow::Result<Artifact> {
        let progress = Progress::new("Uploading");
        let update = |name: &str, done: u64, all: u64| progress.update(name, done, all);
        let imported = self.client.import(path, self.workspace.as_deref(), &update).await?;
        eprintln!("{}: artifact {}", path.display(), imported.primary.id);
        Ok(imported.primary)
    }

    /// The source package that comes just before this version, if the server knows one.
    async fn older_version(&self, source: &Artifact) -> anyhow::Result<Option<i64>> {
        let filter = ArtifactFilter {
            category: Some(ArtifactCategory::SourcePackage),
            workspace: self.workspace.clone(),
            work_request: None,
        };
        let known = match self.client.artifacts(&filter, LOOKED_AT).await {
            Ok(known) => known,
            // Another server than ours has no such list.
            Err(error) if error.is_refusal() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(newest_older(source, &known))
    }

    /// Submits a check, follows it, and says how it went and what it made.
    async fn check(&self, check: Check, plan: Plan) -> anyhow::Result<(Row, Vec<Artifact>)> {
        let data = match plan {
            Plan::Submit(data) => data,
            Plan::Skip(reason) => return Ok((Row::skipped(check, reason), Vec::new())),
        };
        let new = CreateWorkRequest {
            task_name: check.task_name().to_owned(),
            task_data: data,
            event_reactions: None,
            workspace: self.workspace.clone(),
        };
        let created = match self.client.create_work_request(&new).await {
            Ok(created) => created,
            // The others need not suffer: a server may lack one of the tasks.
            Err(error @ usine_client::Error::Problem { status: 400, .. }) => {
                return Ok((Row::refused(check, findings::in_short(&error.to_string())), Vec::new()));
            }
            Err(error) => return Err(error).with_context(|| format!("submitting {check}")),
        };
        eprintln!("{check}: work request {}", created.id);
        self.submitted.borrow_mut().push((check, created.id));
        let work_request = self.follow(check, created.id).await?;
        let mut artifacts = Vec::with_capacity(work_request.artifacts.len());
        for id in &work_request.artifacts {
            artifacts.push(self.client.artifact(*id).await?);
        }
        let reports: Vec<Artifact> =
            artifacts.iter().filter(|artifact| artifact.category == check.report_category()).cloned().collect();
        let found = self.found(check, &work_request, &artifacts, &reports).await?;
        let verdict = Verdict::of(work_request.status, work_request.result);
        Ok((Row { check, verdict, found, work_request: Some(work_request), reports }, artifacts))
    }

    /// The work request at its end, or the one that took its place.
    async fn follow(&self, check: Check, id: i64) -> anyhow::Result<WorkRequest> {
        tokio::select! {
            ended = follow::wait(self.client, id, None) => ended?,
            never = self.tell_reasons(check, id) => match never {},
        };
        follow::Waiter::new(self.client, id).await?.look().await
    }

    /// Tells a person why a work request does not run, each reason once.
    async fn tell_reasons(&self, check: Check, id: i64) -> std::convert::Infallible {
        let mut told = String::new();
        loop {
            tokio::time::sleep(REASONS).await;
            // What goes wrong here, the one who waits for the end sees, too.
            let details = view::details(self.client, id).await.ok().flatten();
            if let Some(reason) = details.and_then(|details| details.pending_reason)
                && reason.summary != told
            {
                eprintln!("{check} waits because {}", reason.summary);
                told = reason.summary;
            }
        }
    }

    /// In a few words, what a check has found; of one that has no verdict, why.
    async fn found(
        &self,
        check: Check,
        work_request: &WorkRequest,
        artifacts: &[Artifact],
        reports: &[Artifact],
    ) -> anyhow::Result<String> {
        if work_request.status == Statuses::Aborted
            || matches!(work_request.result, Results::Error | Results::TemporaryFailure)
        {
            let details = view::details(self.client, work_request.id).await?;
            let errors = details.and_then(|details| details.output_data.errors).unwrap_or_default();
            return Ok(errors.first().map(|error| findings::in_short(&error.message)).unwrap_or_default());
        }
        let mut text = None;
        if let Some(report) = reports.first()
            && let Some(name) = findings::file_of(check, work_request.result, report)
        {
            text = findings::text(self.client, report, name).await?;
        }
        Ok(findings::in_words(check, work_request.result, artifacts, text.as_deref()))
    }
}

/// What an artifact can be compared with.
fn comparison(artifact: &Artifact) -> anyhow::Result<Comparison> {
    match artifact.category {
        ArtifactCategory::SourcePackage => Ok(Comparison::Source(artifact.id)),
        ArtifactCategory::Upload => Ok(Comparison::Upload(artifact.id)),
        other => Err(failure(format!(
            "Error: artifact {} is a {other}; --against wants a debian:source-package or a debian:upload",
            artifact.id
        ))),
    }
}

/// Of the complete source packages of the same name and a lower version the one of the highest version; the newest
/// artifact of several. `known`: newest first.
fn newest_older(source: &Artifact, known: &[Artifact]) -> Option<i64> {
    let name_and_version = |artifact: &Artifact| -> Option<(String, Version)> {
        let (name, version) = source_name_and_version(artifact.category, &artifact.data)?;
        Some((name, version?.parse().ok()?))
    };
    let (name, version) = name_and_version(source)?;
    let complete = known.iter().filter(|artifact| artifact.files_to_upload.is_empty());
    let older = complete.filter_map(|artifact| {
        let (its_name, its_version) = name_and_version(artifact)?;
        (its_name == name && its_version < version).then_some((its_version, artifact.id))
    });
    older.max().map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn artifact(id: i64, category: &str, data: Value) -> Artifact {
        serde_json::from_value(json!({
            "id": id, "workspace": "System", "category": category, "created_at": "2026-11-23T20:38:39Z", "data": data,
            "download_tar_gz_url": "", "files_to_upload": [], "files": {},
        }))
        .unwrap()
    }

    fn source(id: i64, name: &str, version: &str) -> Artifact {
        artifact(id, "debian:source-package", json!({"name": name, "version": version}))
    }

    #[test]
    fn the_version_before_this_one_is_found() {
        let this = source(9, "hello", "2.10-10");
        let mut incomplete = source(7, "hello", "2.10-9.1");
        incomplete.files_to_upload.push("hello.dsc".to_owned());
        let known = [
            this.clone(),
            source(8, "hello", "1:1.0-1"),
            incomplete,
            source(6, "hello", "2.10-9"),
            source(5, "hello", "2.10-9"),
            source(4, "hello", "2.9-1"),
            source(3, "hallo", "2.10-9.2"),
        ];
        assert_eq!(newest_older(&this, &known), Some(6));
        assert_eq!(newest_older(&source(9, "other", "1"), &known), None);
    }

    #[test]
    fn only_packages_can_be_compared() {
        assert_eq!(comparison(&source(1, "a", "1")).unwrap(), Comparison::Source(1));
        assert_eq!(comparison(&artifact(2, "debian:upload", json!({}))).unwrap(), Comparison::Upload(2));
        let error = comparison(&artifact(3, "debian:lintian", json!({}))).unwrap_err().to_string();
        assert!(error.starts_with("Error: artifact 3 is a debian:lintian;"), "{error}");
    }
}
