//! Scheduler tags: what workers and work requests provide, and what each requires of the other.

use std::collections::BTreeSet;

use crate::work_request::TaskType;
use crate::worker::WorkerType;

/// A set of tags, sorted.
pub type Tags = BTreeSet<String>;

/// Longest tag, in bytes.
pub const MAX_TAG: usize = 255;

/// Who says that a worker or work request provides a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// The worker, in its dynamic metadata.
    Worker,
    /// An administrator, in static metadata.
    Admin,
    /// The server itself.
    System,
    /// The owner of a workspace, in task configuration.
    Workspace,
}

/// Prefixes that only some sources may provide: nobody can forge a worker's class or a task's workspace.
const GUARDED: &[(&str, Provenance)] = &[
    ("worker:class:", Provenance::Admin),
    ("worker:type:", Provenance::System),
    ("task:scope:", Provenance::System),
    ("task:workspace:", Provenance::System),
    ("task:group:", Provenance::System),
    (SOURCE_PACKAGE_PREFIX, Provenance::System),
];

/// Prefix of the tag that names the source package of a task. These are many, unlike all others: they stay out of the
/// interned requirement sets.
pub const SOURCE_PACKAGE_PREFIX: &str = "task:source-package:";

/// Whether `tag` counts when `source` provides it.
pub fn may_provide(source: Provenance, tag: &str) -> bool {
    tag.len() <= MAX_TAG
        && GUARDED.iter().find(|(prefix, _)| tag.starts_with(prefix)).is_none_or(|(_, owner)| *owner == source)
}

/// The tags that `source` may provide, out of those it claims; the others are dropped.
pub fn accepted<'a>(source: Provenance, claimed: impl IntoIterator<Item = &'a str>) -> Tags {
    claimed.into_iter().filter(|tag| may_provide(source, tag)).map(str::to_owned).collect()
}

/// `worker:type:TYPE`.
pub fn worker_type(worker_type: WorkerType) -> String {
    format!("worker:type:{worker_type}")
}

/// `worker:task:TYPE:NAME:version:N`: the worker has this task at this version.
pub fn task_version(task_type: TaskType, task_name: &str, version: u32) -> String {
    format!("worker:task:{}:{task_name}:version:{version}", task_type.to_string().to_lowercase())
}

const BUILD_ARCH_PREFIX: &str = "worker:build-arch:";

/// `worker:build-arch:ARCH`.
pub fn build_arch(architecture: &str) -> String {
    format!("{BUILD_ARCH_PREFIX}{architecture}")
}

/// The architecture that these tags name, if any: the first in their order.
pub fn build_arch_of(tags: &Tags) -> Option<&str> {
    tags.iter().find_map(|tag| tag.strip_prefix(BUILD_ARCH_PREFIX))
}

/// `worker:executor:BACKEND`.
pub fn executor(backend: &str) -> String {
    format!("worker:executor:{backend}")
}

/// `worker:cap:TOOL`: a tool is installed.
pub fn capability(tool: &str) -> String {
    format!("worker:cap:{tool}")
}

/// `task:source-package:NAME`.
pub fn source_package(name: &str) -> String {
    format!("{SOURCE_PACKAGE_PREFIX}{name}")
}

/// `task:scope:SCOPE`.
pub fn task_scope(scope: &str) -> String {
    format!("task:scope:{scope}")
}

/// `task:workspace:SCOPE:WORKSPACE`.
pub fn task_workspace(scope: &str, workspace: &str) -> String {
    format!("task:workspace:{scope}:{workspace}")
}

/// `task:group:SCOPE:WORKSPACE:GROUP`, the workspace empty for groups of the scope.
pub fn task_group(scope: &str, workspace: Option<&str>, group: &str) -> String {
    format!("task:group:{scope}:{}:{group}", workspace.unwrap_or_default())
}

/// The tag every work request of this type requires of its worker.
pub fn required_worker_type(task_type: TaskType) -> String {
    match task_type {
        TaskType::Worker => worker_type(WorkerType::External),
        TaskType::Server => worker_type(WorkerType::Celery),
        TaskType::Signing => worker_type(WorkerType::Signing),
        TaskType::Internal | TaskType::Workflow | TaskType::Wait => "worker:type:not-assignable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_forges_a_class_or_a_type() {
        assert!(may_provide(Provenance::Admin, "worker:class:fast"));
        assert!(!may_provide(Provenance::Worker, "worker:class:fast"));
        assert!(!may_provide(Provenance::Worker, "worker:type:external"));
        assert!(may_provide(Provenance::System, "worker:type:external"));
        assert!(may_provide(Provenance::Worker, "worker:cap:sbuild"));
        assert!(!may_provide(Provenance::Workspace, "task:workspace:debusine:System"));
        assert!(may_provide(Provenance::Workspace, "task:mine"));
        assert!(!may_provide(Provenance::Worker, &"x".repeat(256)));
    }

    #[test]
    fn spelling() {
        assert_eq!(task_version(TaskType::Worker, "sbuild", 1), "worker:task:worker:sbuild:version:1");
        assert_eq!(task_group("debusine", None, "Members"), "task:group:debusine::Members");
        assert_eq!(required_worker_type(TaskType::Wait), "worker:type:not-assignable");
    }
}
