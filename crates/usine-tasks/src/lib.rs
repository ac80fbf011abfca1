//! The task library: what each task asks for, what it needs, how it runs and what it makes.
//!
//! The server uses [`Task`]: it checks task data, learns which lookups to resolve and which workers fit. The worker uses
//! [`execute`]: it runs a task and gets back results, artifacts and relations as data, to be delivered by the worker.
//! Nothing here speaks HTTP or SQL: whatever must be fetched is asked of a [`Host`].

mod assemblesignedsource;
mod autopkgtest;
mod blhc;
mod bootstrap;
pub mod capabilities;
mod debdiff;
mod executor;
mod extra_repositories;
mod extractforsigning;
mod lintian;
mod makesourcepackageupload;
mod mergeuploads;
mod mmdebstrap;
mod noop;
pub mod old_worker;
mod packages;
mod piuparts;
mod run;
mod sbuild;
mod signing_template;
mod simplesystemimagebuild;
mod task;
mod task_data;
#[cfg(test)]
mod test_support;
mod todays_words;
mod worker_task;

use usine_model::work_request::TaskType;

pub use executor::Backend;
pub use extra_repositories::{ExternalRepository, ExtraRepository};
pub use run::{
    ArtifactInfo, ArtifactRef, Cgroups, FileInfo, Host, HostError, Identity, LocalFile, LogStream, NewArtifact,
    NewRelation, Outcome, Resources, Surroundings, execute,
};
pub use task::{Derived, Input, InputLookup, Resolved, ResolvedArtifact, ServerFacts, Task, input_artifact_ids};
pub use task_data::TaskDataError;
pub use todays_words::in_todays_words;

/// Every task there is. A new task is one file and one line here.
static REGISTRY: &[&dyn Task] = &[
    &assemblesignedsource::AssembleSignedSource,
    &autopkgtest::Autopkgtest,
    &blhc::Blhc,
    &debdiff::Debdiff,
    &extractforsigning::ExtractForSigning,
    &lintian::Lintian,
    &makesourcepackageupload::MakeSourcePackageUpload,
    &mergeuploads::MergeUploads,
    &mmdebstrap::Mmdebstrap,
    &noop::Noop,
    &piuparts::Piuparts,
    &sbuild::Sbuild,
    &simplesystemimagebuild::SimpleSystemImageBuild,
];

/// The task of this type and name; names are found without regard to case.
pub fn find(task_type: TaskType, name: &str) -> Option<&'static dyn Task> {
    REGISTRY.iter().copied().find(|task| task.task_type() == task_type && task.name().eq_ignore_ascii_case(name))
}

/// The names of all tasks of a type, sorted.
pub fn registered(task_type: TaskType) -> Vec<&'static str> {
    let mut names: Vec<_> =
        REGISTRY.iter().filter(|task| task.task_type() == task_type).map(|task| task.name()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_without_regard_to_case() {
        assert_eq!(find(TaskType::Worker, "SBuild").map(|task| task.name()), Some("sbuild"));
        assert!(find(TaskType::Signing, "sbuild").is_none());
        assert!(find(TaskType::Worker, "sbuil").is_none());
        assert!(REGISTRY.iter().map(|task| task.name()).is_sorted(), "keep the registry sorted");
    }

    #[test]
    fn every_schema_is_of_an_object_that_refuses_other_keys() {
        for name in registered(TaskType::Worker) {
            let schema = find(TaskType::Worker, name).unwrap().schema();
            assert_eq!(schema["type"], "object", "{name}");
            assert_eq!(schema["additionalProperties"], false, "{name}");
        }
    }
}
