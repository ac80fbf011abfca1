//! The chain: import, build, then all checks at once, each followed to its end.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use usine_client::{ArtifactFilter, Client, Error};
use usine_debian::Version;
use usine_model::artifact::{ArtifactCategory, source_name_and_version};
use usine_model::work_request::{Results, Statuses};
use usine_protocol::DEFAULT_WORKSPACE;
use usine_protocol::artifact::Artifact;
use usine_protocol::work_request::{CreateWorkRequest, WorkRequest};

use super::environments::{self, Environments, Wanted};
use super::plan::{Built, Comparison, Ground, Plan};
use super::report::{Report, Row, Verdict};
use super::{Against, Args, Check, Submitted, findings};
use crate::command::work_request::{follow, view};
use crate::exit::{failure, text_of};
use crate::patience::{patiently, was_hardly_seen};
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
    /// None for the server's default one.
    pub workspace: Option<String>,
    /// What has been submitted so far, also when this run is interrupted.
    pub submitted: &'a RefCell<Vec<Submitted>>,
}

impl Chain<'_> {
    /// Runs it to its end.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let args = self.args;
        // What is missing is told before anything is changed. Which workspace is the server's default one, it tells only
        // of what was imported.
        let expected = self.workspace.as_deref().unwrap_or(DEFAULT_WORKSPACE);
        let (mut environments, mut named) = self.look_around(expected).await?;
        let imported = match &args.against {
            Some(Against::File(path)) => Some(Comparison::Source(self.import(path).await?.id)),
            Some(Against::Artifact(_)) | None => None,
        };
        let source = self.import(&args.dsc).await?;
        let workspace = source.workspace.as_str();
        if workspace != expected {
            (environments, named) = self.look_around(workspace).await?;
        }
        let comparison = match named.or(imported) {
            Some(comparison) => comparison,
            None => self.older_version(&source).await?.map_or(Comparison::Nothing, Comparison::Source),
        };
        let ground = Ground {
            source: source.id,
            architecture: self.architecture.clone(),
            environments,
            fail_on_severity: args.fail_on_severity.clone(),
        };

        let (build, artifacts) = self.check(workspace, Check::Build, Plan::Submit(ground.build())).await;
        let built = Built::of(&artifacts);
        let plans = AFTER_BUILD.map(|check| {
            let plan = match build.verdict {
                Verdict::Passed => ground.plan(check, &built, &comparison),
                _ => Plan::Skip("nothing was built"),
            };
            (check, plan)
        });
        let checks = join_all(plans.map(|(check, plan)| self.check(workspace, check, plan))).await;
        let rows = std::iter::once(build).chain(checks.into_iter().map(|(row, _)| row)).collect();
        Ok(Report { source, ground, rows })
    }

    /// What is there already: the environments of a workspace, and what was named to compare with.
    async fn look_around(&self, workspace: &str) -> anyhow::Result<(Environments, Option<Comparison>)> {
        let environments = environments::find(self.client, &self.wanted(workspace)).await?;
        let named = match self.args.against {
            Some(Against::Artifact(id)) => Some(comparison(&self.client.artifact(id).await?, workspace)?),
            Some(Against::File(_)) | None => None,
        };
        Ok((environments, named))
    }

    fn wanted<'a>(&'a self, workspace: &'a str) -> Wanted<'a> {
        Wanted {
            architecture: &self.architecture,
            suite: self.args.suite.as_deref(),
            environment: self.args.environment,
            piuparts_environment: self.args.piuparts_environment,
            base_tgz: self.args.base_tgz,
            workspace,
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
            workspace: Some(source.workspace.clone()),
            work_request: None,
        };
        let known = match patiently(Error::is_transient, async || self.client.artifacts(&filter, LOOKED_AT).await).await
        {
            Ok(known) => known,
            // Another server than ours has no such list.
            Err(error) if error.is_refusal() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(newest_older(source, &known))
    }

    /// Submits a check, follows it, and says how it went and what it made. What goes wrong here spoils this one only.
    async fn check(&self, workspace: &str, check: Check, plan: Plan) -> (Row, Vec<Artifact>) {
        let data = match plan {
            Plan::Submit(data) => data,
            Plan::Skip(reason) => return (Row::skipped(check, reason), Vec::new()),
        };
        let new = CreateWorkRequest {
            task_name: check.task_name().to_owned(),
            task_data: data,
            event_reactions: None,
            workspace: Some(workspace.to_owned()),
        };
        let created = match patiently(was_hardly_seen, async || self.client.create_work_request(&new).await).await {
            Ok(created) => created,
            Err(error) => return broken(check, &error.into(), None),
        };
        eprintln!("{check}: work request {}", created.id);
        self.submitted.borrow_mut().push((check, created.id));
        let ended = match self.follow(check, created.id).await {
            Ok(ended) => ended,
            Err(error) => return broken(check, &error, Some(created)),
        };
        match self.judge(check, &ended).await {
            Ok(Judged { verdict, found, reports, artifacts }) => {
                (Row { check, verdict, found, work_request: Some(ended), reports }, artifacts)
            }
            Err(error) => broken(check, &error, Some(ended)),
        }
    }

    /// The work request at its end, or the one that took its place.
    async fn follow(&self, check: Check, id: i64) -> anyhow::Result<WorkRequest> {
        let mut waiter = follow::Waiter::new(self.client, id).await?.known();
        tokio::select! {
            ended = waiter.end() => ended,
            never = self.tell_reasons(check, id) => match never {},
        }
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

    /// Reads what a work request has left behind.
    async fn judge(&self, check: Check, ended: &WorkRequest) -> anyhow::Result<Judged> {
        let mut artifacts = Vec::with_capacity(ended.artifacts.len());
        for id in &ended.artifacts {
            artifacts.push(patiently(Error::is_transient, async || self.client.artifact(*id).await).await?);
        }
        let of = |category| -> Vec<Artifact> {
            artifacts.iter().filter(|artifact| artifact.category == category).cloned().collect()
        };
        let mut reports = of(check.report_category());
        let errors = match ended.result {
            Results::Success | Results::Skipped => Vec::new(),
            Results::None | Results::Failure | Results::Error | Results::TemporaryFailure => {
                let details = patiently(Error::is_transient, async || view::details(self.client, ended.id).await);
                details.await?.and_then(|details| details.output_data.errors).unwrap_or_default()
            }
        };
        let verdict = Verdict::of(ended.status, ended.result, !reports.is_empty() && errors.is_empty());
        let found = match (verdict, errors.first()) {
            (Verdict::Broken, Some(error)) => findings::in_short(&error.message),
            (Verdict::Broken, None) if ended.status == Statuses::Completed => {
                "broke off: see the debug logs".to_owned()
            }
            (Verdict::Broken, None) => String::new(),
            (Verdict::Passed | Verdict::Failed | Verdict::Skipped, _) => {
                let text = self.text(check, ended.result, &reports).await?;
                findings::in_words(check, ended.result, &artifacts, text.as_deref())
            }
        };
        if verdict == Verdict::Broken && reports.is_empty() {
            reports = of(ArtifactCategory::WorkRequestDebugLogs);
        }
        Ok(Judged { verdict, found, reports, artifacts })
    }

    /// The text of the first report, if it says more than its data.
    async fn text(&self, check: Check, result: Results, reports: &[Artifact]) -> anyhow::Result<Option<String>> {
        let Some(report) = reports.first() else { return Ok(None) };
        match findings::file_of(check, result, report) {
            Some(name) => findings::text(self.client, report, name).await,
            None => Ok(None),
        }
    }
}

/// What came of a work request.
struct Judged {
    verdict: Verdict,
    found: String,
    reports: Vec<Artifact>,
    artifacts: Vec<Artifact>,
}

/// A check of which we do not know how it went, or that could not be submitted.
fn broken(check: Check, error: &anyhow::Error, work_request: Option<WorkRequest>) -> (Row, Vec<Artifact>) {
    let text = text_of(error);
    eprintln!("{check}: {text}");
    (Row::broken(check, findings::in_short(&text), work_request), Vec::new())
}

/// What an artifact can be compared with.
fn comparison(artifact: &Artifact, workspace: &str) -> anyhow::Result<Comparison> {
    let comparison = match artifact.category {
        ArtifactCategory::SourcePackage => Comparison::Source(artifact.id),
        ArtifactCategory::Upload => Comparison::Upload(artifact.id),
        other => {
            return Err(failure(format!(
                "Error: artifact {} is a {other}; --against wants a debian:source-package or a debian:upload",
                artifact.id
            )));
        }
    };
    environments::check_named(artifact, "--against", workspace)?;
    Ok(comparison)
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
        let comparison = |artifact| comparison(&artifact, "System").map_err(|error| error.to_string());
        assert_eq!(comparison(source(1, "a", "1")), Ok(Comparison::Source(1)));
        assert_eq!(comparison(artifact(2, "debian:upload", json!({}))), Ok(Comparison::Upload(2)));
        let error = comparison(artifact(3, "debian:lintian", json!({}))).unwrap_err();
        assert!(error.starts_with("Error: artifact 3 is a debian:lintian;"), "{error}");
        let error = comparison(Artifact { workspace: "qa".to_owned(), ..source(4, "a", "1") }).unwrap_err();
        assert!(error.starts_with("Error: --against: artifact 4 is in the workspace qa,"), "{error}");
        let files_to_upload = vec!["a.dsc".to_owned()];
        let error = comparison(Artifact { files_to_upload, ..source(5, "a", "1") }).unwrap_err();
        assert_eq!(error, "Error: --against: artifact 5 is not complete: a.dsc was not uploaded");
    }
}
