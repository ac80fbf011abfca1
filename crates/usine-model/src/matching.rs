//! Which worker may run which work request, and in words why none does.
//!
//! The scheduler and the answer to "why is this not running?" call the same [`Profile::misfits`].

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tags::{SOURCE_PACKAGE_PREFIX, Tags};
use crate::worker::TaskFilter;

/// What a work request asks of a worker. Few distinct ones exist, however long the queue: they are interned.
///
/// Tags that name the source package are left out of `provided`, because there is one for each package; a worker that
/// requires such a tag is matched against the work request itself ([`Profile::wants_source_package`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequirementSet {
    /// Name of the task, for allow and deny lists.
    pub task_name: String,
    /// Tags the worker must provide.
    pub required: Tags,
    /// Tags the work request provides, without source packages.
    pub provided: Tags,
}

impl RequirementSet {
    /// The set of a work request with these tags.
    pub fn new(task_name: &str, required: &Tags, provided: &Tags) -> Self {
        Self {
            task_name: task_name.to_owned(),
            required: required.clone(),
            provided: provided.iter().filter(|tag| !tag.starts_with(SOURCE_PACKAGE_PREFIX)).cloned().collect(),
        }
    }
}

/// What a worker offers and wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Tags the worker provides.
    pub provided: Tags,
    /// Tags the worker requires of work requests.
    pub required: Tags,
    /// Tasks the worker takes.
    pub tasks: TaskFilter,
}

/// One reason why a worker does not fit a work request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "misfit", rename_all = "kebab-case")]
pub enum Misfit {
    /// The worker lacks tags that the work request requires.
    MissingTags {
        /// What is missing.
        tags: Vec<String>,
    },
    /// The worker only takes work requests with tags that this one lacks.
    WorkerRequires {
        /// What is missing.
        tags: Vec<String>,
    },
    /// The allow or deny list of the worker excludes the task.
    TaskNotAllowed {
        /// Name of the task.
        task: String,
    },
    /// The worker is from before 0.13, and the task data say what it does not know.
    TooOld,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingTags { tags } => write!(f, "does not provide {}", tags.join(", ")),
            Self::WorkerRequires { tags } => write!(f, "only takes work requests with {}", tags.join(", ")),
            Self::TaskNotAllowed { task } => write!(f, "does not take the task {task} (allow or deny list)"),
            Self::TooOld => f.write_str("is too old to understand these task data"),
        }
    }
}

impl Profile {
    /// Everything that keeps the worker from running work requests of this set; empty if it fits. Source package tags
    /// of `extra` (the work request's own) count as provided too.
    pub fn misfits(&self, set: &RequirementSet, extra: &Tags) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let missing: Vec<_> = set.required.difference(&self.provided).cloned().collect();
        if !missing.is_empty() {
            misfits.push(Misfit::MissingTags { tags: missing });
        }
        let wanted: Vec<_> =
            self.required.iter().filter(|tag| !set.provided.contains(*tag) && !extra.contains(*tag)).cloned().collect();
        if !wanted.is_empty() {
            misfits.push(Misfit::WorkerRequires { tags: wanted });
        }
        if !self.tasks.allows(&set.task_name) {
            misfits.push(Misfit::TaskNotAllowed { task: set.task_name.clone() });
        }
        misfits
    }

    /// Whether work requests of this set fit, as far as the set can tell: source packages are looked at one by one.
    pub fn fits_set(&self, set: &RequirementSet) -> bool {
        self.misfits(set, &self.source_packages()).is_empty()
    }

    /// Whether the worker is reserved for some source packages.
    pub fn wants_source_package(&self) -> bool {
        self.required.iter().any(|tag| tag.starts_with(SOURCE_PACKAGE_PREFIX))
    }

    /// Whether a work request of a fitting set with these tags has the source packages that the worker is reserved for.
    pub fn fits_source_package(&self, provided: &Tags) -> bool {
        self.source_packages().is_subset(provided)
    }

    fn source_packages(&self) -> Tags {
        self.required.iter().filter(|tag| tag.starts_with(SOURCE_PACKAGE_PREFIX)).cloned().collect()
    }
}

/// Why a pending work request is not running, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PendingReason {
    /// One sentence.
    pub summary: String,
    /// Work requests that come first on the workers that could run this one, if only age and priority counted: those whose
    /// owners had less of the workers of late come earlier.
    pub ahead: u64,
    /// The limit that its owners have reached, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Each worker and what it says.
    pub workers: Vec<WorkerVerdict>,
}

/// What one worker has to say about a pending work request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerVerdict {
    /// Name of the worker.
    pub worker: String,
    /// Why it does not run it now.
    pub verdict: Verdict,
}

/// The state of one worker, seen from one pending work request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// It cannot run it.
    DoesNotFit {
        /// All the reasons.
        misfits: Vec<Misfit>,
    },
    /// It could, but an administrator has not enabled it.
    Disabled,
    /// It could, but is not connected.
    Disconnected,
    /// It could, but has not said lately what it can do.
    StaleMetadata,
    /// It could, but is at work.
    Busy {
        /// Ids of the work requests it has.
        work_requests: Vec<i64>,
    },
    /// It has been chosen and is told to fetch it.
    Assigned,
    /// It is free: the next run of the scheduler will look.
    Free,
}

/// Puts the verdicts of all workers, and the limit of the owners, into one sentence.
pub fn explain(ahead: u64, limit: Option<String>, workers: Vec<WorkerVerdict>) -> PendingReason {
    let count = |pick: fn(&Verdict) -> bool| workers.iter().filter(|w| pick(&w.verdict)).count();
    let assigned = workers.iter().find(|w| w.verdict == Verdict::Assigned);
    let free = count(|v| *v == Verdict::Free);
    let busy = count(|v| matches!(v, Verdict::Busy { .. }));
    let away = count(|v| matches!(v, Verdict::Disconnected | Verdict::StaleMetadata));
    let disabled = count(|v| *v == Verdict::Disabled);
    let queue = match ahead {
        0 => "it is next in line".to_owned(),
        1 => "1 work request comes first".to_owned(),
        n => format!("{n} work requests come first"),
    };
    let summary = if let Some(chosen) = assigned {
        format!("assigned to {}, which is being told to fetch it", chosen.worker)
    } else if workers.is_empty() {
        "no worker is registered".to_owned()
    } else if let Some(limit) = limit.as_ref().filter(|_| free + busy > 0) {
        limit.clone()
    } else if free > 0 {
        format!("{} free: {queue}", workers_are(free))
    } else if busy > 0 {
        format!("{} could run it but {} at work: {queue}", count_workers(busy), if busy == 1 { "is" } else { "are" })
    } else if away > 0 {
        format!("{} could run it but {} not connected", count_workers(away), if away == 1 { "is" } else { "are" })
    } else if disabled > 0 {
        format!("{} could run it but {} disabled", count_workers(disabled), if disabled == 1 { "is" } else { "are" })
    } else {
        match (nearest_miss(&workers), workers.len()) {
            ((name, reasons), 1) => format!("the only worker, {name}, cannot run it: it {reasons}"),
            ((name, reasons), count) => {
                format!("none of the {count} workers can run it: the nearest, {name}, {reasons}")
            }
        }
    };
    PendingReason { summary, ahead, limit, workers }
}

fn count_workers(n: usize) -> String {
    if n == 1 { "1 worker".to_owned() } else { format!("{n} workers") }
}

fn workers_are(n: usize) -> String {
    if n == 1 { "1 fitting worker is".to_owned() } else { format!("{n} fitting workers are") }
}

/// The misfits of the worker that comes closest.
fn nearest_miss(workers: &[WorkerVerdict]) -> (String, String) {
    let misses = |misfits: &[Misfit]| {
        misfits
            .iter()
            .map(|misfit| match misfit {
                Misfit::MissingTags { tags } | Misfit::WorkerRequires { tags } => tags.len(),
                Misfit::TaskNotAllowed { .. } | Misfit::TooOld => 1,
            })
            .sum::<usize>()
    };
    workers
        .iter()
        .filter_map(|worker| match &worker.verdict {
            Verdict::DoesNotFit { misfits } => Some((misses(misfits), &worker.worker, misfits)),
            _ => None,
        })
        .min_by_key(|(count, name, _)| (*count, name.as_str()))
        .map(|(_, name, misfits)| {
            let reasons: Vec<_> = misfits.iter().map(Misfit::to_string).collect();
            (name.clone(), reasons.join("; "))
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Tags {
        list.iter().map(|tag| (*tag).to_owned()).collect()
    }

    fn profile(provided: &[&str], required: &[&str]) -> Profile {
        Profile { provided: tags(provided), required: tags(required), tasks: TaskFilter::All }
    }

    #[test]
    fn both_sides_must_agree() {
        let set = RequirementSet::new("sbuild", &tags(&["worker:cap:sbuild"]), &tags(&["task:scope:debusine"]));
        assert!(profile(&["worker:cap:sbuild"], &[]).fits_set(&set));
        assert!(profile(&["worker:cap:sbuild"], &["task:scope:debusine"]).fits_set(&set));
        assert!(!profile(&["worker:cap:sbuild"], &["task:scope:other"]).fits_set(&set));
        let misfits = profile(&[], &["task:scope:other"]).misfits(&set, &Tags::new());
        assert_eq!(misfits.len(), 2, "all reasons are told: {misfits:?}");
        let denied =
            Profile { tasks: TaskFilter::AllBut(vec!["sbuild".into()]), ..profile(&["worker:cap:sbuild"], &[]) };
        assert!(!denied.fits_set(&set));
    }

    #[test]
    fn a_worker_reserved_for_a_package_is_matched_one_by_one() {
        let provided = tags(&["task:scope:debusine", "task:source-package:hello"]);
        let set = RequirementSet::new("sbuild", &Tags::new(), &provided);
        assert_eq!(set.provided, tags(&["task:scope:debusine"]), "packages stay out of the set");
        let reserved = profile(&[], &["task:source-package:hello"]);
        assert!(reserved.fits_set(&set) && reserved.wants_source_package());
        assert!(reserved.fits_source_package(&provided));
        assert!(!reserved.fits_source_package(&tags(&["task:source-package:linux"])));
    }

    #[test]
    fn the_sentence_names_the_nearest_reason() {
        let say = |verdicts: Vec<Verdict>| {
            let workers = verdicts
                .into_iter()
                .enumerate()
                .map(|(n, verdict)| WorkerVerdict { worker: format!("w{n}"), verdict })
                .collect();
            explain(2, None, workers).summary
        };
        assert_eq!(say(vec![]), "no worker is registered");
        let misfit = Verdict::DoesNotFit {
            misfits: vec![Misfit::MissingTags { tags: vec!["worker:build-arch:riscv64".into()] }],
        };
        assert_eq!(
            say(vec![misfit.clone()]),
            "the only worker, w0, cannot run it: it does not provide worker:build-arch:riscv64"
        );
        assert_eq!(say(vec![misfit.clone(), Verdict::Disconnected]), "1 worker could run it but is not connected");
        assert_eq!(
            say(vec![misfit, Verdict::Busy { work_requests: vec![3] }]),
            "1 worker could run it but is at work: 2 work requests come first"
        );
        assert_eq!(say(vec![Verdict::Assigned]), "assigned to w0, which is being told to fetch it");
    }
}
