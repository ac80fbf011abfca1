//! What to submit: the task data of each check, from what the build has made.

use serde_json::{Value, json};
use usine_model::artifact::ArtifactCategory;
use usine_protocol::artifact::Artifact;

use super::Check;
use super::environments::Environments;

/// What is the same for all checks.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The source package: an artifact.
    pub source: i64,
    pub architecture: String,
    pub environments: Environments,
    pub fail_on_severity: Option<String>,
}

/// What to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// This source package.
    Source(i64),
    /// This upload, with the one that the build has made.
    Upload(i64),
    /// There is nothing.
    Nothing,
}

/// What becomes of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Submit its task with this data.
    Submit(Value),
    /// There is nothing to do, and why.
    Skip(&'static str),
}

/// What a build has made: ids of artifacts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Built {
    /// All binary packages.
    pub binaries: Vec<i64>,
    /// Those that can be installed by a user: neither udebs nor automatic debug symbols.
    pub installable: Vec<i64>,
    /// Those of debug symbols.
    pub debug: usize,
    log: Option<i64>,
    upload: Option<i64>,
}

impl Built {
    /// Sorts the artifacts of a build.
    pub fn of(artifacts: &[Artifact]) -> Self {
        let mut built = Self::default();
        for artifact in artifacts {
            match artifact.category {
                ArtifactCategory::BinaryPackage => {
                    built.binaries.push(artifact.id);
                    if is_debug(artifact) {
                        built.debug += 1;
                    } else if !artifact.files.keys().any(|name| name.ends_with(".udeb")) {
                        built.installable.push(artifact.id);
                    }
                }
                ArtifactCategory::PackageBuildLog => built.log = Some(artifact.id),
                ArtifactCategory::Upload => built.upload = Some(artifact.id),
                _ => {}
            }
        }
        built
    }
}

/// A package of debug symbols that the build made by itself (deb-control(5)).
fn is_debug(artifact: &Artifact) -> bool {
    let field = |name| artifact.data.get("deb_fields")?.get(name)?.as_str();
    field("Auto-Built-Package") == Some("debug-symbols")
        || field("Package").is_some_and(|name| name.ends_with("-dbgsym"))
}

impl Ground {
    /// The data of the build.
    pub fn build(&self) -> Value {
        json!({
            "input": {"source_artifact": self.source},
            "build_architecture": self.architecture,
            "build_components": ["any", "all"],
            "environment": self.environments.environment,
        })
    }

    /// What to do for a check of what was built.
    pub fn plan(&self, check: Check, built: &Built, comparison: &Comparison) -> Plan {
        let Self { source, architecture, environments, .. } = self;
        let in_environment = |input: Value| json!({"input": input, "build_architecture": architecture, "environment": environments.environment});
        match check {
            Check::Build => Plan::Submit(self.build()),
            Check::Lintian => {
                let mut data = in_environment(json!({"source_artifact": source, "binary_artifacts": built.binaries}));
                if let Some(severity) = &self.fail_on_severity {
                    data["fail_on_severity"] = json!(severity);
                }
                Plan::Submit(data)
            }
            Check::Autopkgtest => {
                let input = json!({"source_artifact": source, "binary_artifacts": built.installable});
                Plan::Submit(in_environment(input))
            }
            Check::Piuparts if built.installable.is_empty() => Plan::Skip("no package to install"),
            Check::Piuparts => Plan::Submit(json!({
                "input": {"binary_artifacts": built.installable},
                "build_architecture": architecture,
                "environment": environments.piuparts_environment,
                "base_tgz": environments.base_tgz,
            })),
            Check::Blhc => match built.log {
                Some(log) => Plan::Submit(in_environment(json!({"artifact": log}))),
                None => Plan::Skip("the build left no log"),
            },
            Check::Debdiff => match (comparison, built.upload) {
                (Comparison::Source(old), _) => {
                    Plan::Submit(in_environment(json!({"source_artifacts": [old, source]})))
                }
                (Comparison::Upload(old), Some(new)) => {
                    Plan::Submit(in_environment(json!({"binary_artifacts": [[old], [new]]})))
                }
                (Comparison::Upload(_), None) => Plan::Skip("the build made no upload"),
                (Comparison::Nothing, _) => Plan::Skip("nothing to compare with"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(id: i64, category: &str, file: &str, data: Value) -> Artifact {
        serde_json::from_value(json!({
            "id": id, "workspace": "System", "category": category, "created_at": "2026-11-23T20:38:39Z", "data": data,
            "download_tar_gz_url": "", "files_to_upload": [],
            "files": {file: {"size": 1, "checksums": {"sha256": ""}, "type": "file", "url": ""}},
        }))
        .unwrap()
    }

    fn deb(id: i64, package: &str, suffix: &str) -> Artifact {
        let data = json!({"deb_fields": {"Package": package}});
        artifact(id, "debian:binary-package", &format!("{package}_1.0_amd64.{suffix}"), data)
    }

    fn built() -> Built {
        Built::of(&[
            artifact(4, "debian:package-build-log", "a.build", json!({})),
            deb(5, "a", "deb"),
            deb(6, "a-dbgsym", "deb"),
            deb(7, "a-udeb", "udeb"),
            artifact(8, "debian:upload", "a.changes", json!({})),
            artifact(9, "debusine:work-request-debug-logs", "stages.log", json!({})),
        ])
    }

    fn ground(fail_on_severity: Option<&str>) -> Ground {
        Ground {
            source: 3,
            architecture: "amd64".to_owned(),
            environments: Environments { environment: 1, piuparts_environment: 2, base_tgz: 10 },
            fail_on_severity: fail_on_severity.map(str::to_owned),
        }
    }

    #[test]
    fn each_check_gets_what_it_is_about() {
        let built = built();
        assert_eq!((built.binaries.as_slice(), built.debug), ([5, 6, 7].as_slice(), 1));
        let data = |check, comparison| ground(None).plan(check, &built, &comparison);
        let plan = |input, environment| {
            Plan::Submit(json!({"input": input, "build_architecture": "amd64", "environment": environment}))
        };
        let nothing = || Comparison::Nothing;
        assert_eq!(
            data(Check::Lintian, nothing()),
            plan(json!({"source_artifact": 3, "binary_artifacts": [5, 6, 7]}), 1)
        );
        assert_eq!(
            data(Check::Autopkgtest, nothing()),
            plan(json!({"source_artifact": 3, "binary_artifacts": [5]}), 1)
        );
        let Plan::Submit(piuparts) = data(Check::Piuparts, nothing()) else { panic!("submitted") };
        assert_eq!(
            piuparts,
            json!({"input": {"binary_artifacts": [5]}, "build_architecture": "amd64", "environment": 2, "base_tgz": 10})
        );
        assert_eq!(data(Check::Blhc, nothing()), plan(json!({"artifact": 4}), 1));
        assert_eq!(data(Check::Debdiff, nothing()), Plan::Skip("nothing to compare with"));
        assert_eq!(data(Check::Debdiff, Comparison::Source(11)), plan(json!({"source_artifacts": [11, 3]}), 1));
        assert_eq!(data(Check::Debdiff, Comparison::Upload(12)), plan(json!({"binary_artifacts": [[12], [8]]}), 1));
    }

    #[test]
    fn what_has_no_subject_is_skipped() {
        let plan = |check, comparison| ground(None).plan(check, &Built::default(), &comparison);
        for check in [Check::Piuparts, Check::Blhc] {
            assert!(matches!(plan(check, Comparison::Nothing), Plan::Skip(_)), "{check}");
        }
        assert!(matches!(plan(Check::Debdiff, Comparison::Upload(1)), Plan::Skip(_)));
    }

    #[test]
    fn the_severity_is_passed_on() {
        let Plan::Submit(data) = ground(Some("warning")).plan(Check::Lintian, &built(), &Comparison::Nothing) else {
            panic!("submitted")
        };
        assert_eq!(data["fail_on_severity"], "warning");
    }

    /// The tasks take the data: the plan is written after the same specification as they are, in another place.
    #[test]
    fn the_tasks_take_the_data() {
        use usine_model::work_request::TaskType;
        let built = built();
        let ground = ground(Some("none"));
        for (check, comparison) in [
            (Check::Build, Comparison::Nothing),
            (Check::Lintian, Comparison::Nothing),
            (Check::Autopkgtest, Comparison::Nothing),
            (Check::Piuparts, Comparison::Nothing),
            (Check::Blhc, Comparison::Nothing),
            (Check::Debdiff, Comparison::Source(11)),
            (Check::Debdiff, Comparison::Upload(12)),
        ] {
            let Plan::Submit(data) = ground.plan(check, &built, &comparison) else { panic!("{check}") };
            let task = usine_tasks::find(TaskType::Worker, check.task_name());
            assert_eq!(task.unwrap_or_else(|| panic!("no task for {check}")).check(&data), Ok(()), "{check}");
        }
    }
}
