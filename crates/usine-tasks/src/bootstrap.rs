//! What the tasks that bootstrap a system have in common: most of their data, the files that configure mmdebstrap(1), the
//! hooks that it gets, and the description of the system made.

mod configuration;
mod data;
pub(crate) mod hooks;
mod repositories;
mod system;

use usine_model::tags::{self, Tags};

use crate::task_data::TaskDataError;
use crate::worker_task::{Description, NoDynamicData};

#[cfg(test)]
pub(crate) use configuration::SavedKeyring;
pub(crate) use configuration::{Configuration, configure};
pub(crate) use data::{BootstrapOptions, BootstrapRepository, EMPTY_LIST, check_word};
pub(crate) use system::{Made, OS_RELEASE, describe_system, read_small};

use data::GpgvCommand;

/// The common part of the data of one of these tasks.
#[derive(Debug)]
pub(crate) struct Bootstrap<'a> {
    pub architecture: &'a str,
    /// Which packages the system begins with.
    pub variant: Option<String>,
    pub extra_packages: &'a [String],
    /// Whether apt is told which key signs which repository.
    pub use_signed_by: bool,
    pub gpgv_command: Option<GpgvCommand>,
    /// At least one, once checked.
    pub repositories: &'a [BootstrapRepository],
    /// A program that is run inside the new system, as root.
    pub script: Option<&'a str>,
}

impl Bootstrap<'_> {
    /// The tags that a worker must provide.
    pub fn tags(&self) -> Tags {
        Tags::from([tags::capability("mmdebstrap"), tags::build_arch(self.architecture)])
    }

    /// What the server says about the task.
    pub fn describe(&self) -> Result<Description<NoDynamicData>, TaskDataError> {
        let suite = self.repositories.first().map(|repository| repository.suite.clone()).unwrap_or_default();
        let architecture = self.architecture;
        let summary = match &self.variant {
            Some(variant) => format!("{suite} ({architecture}-{variant})"),
            None => format!("{suite} ({architecture})"),
        };
        let mut packages = self.extra_packages.to_vec();
        packages.sort();
        // The reference writes Python's word for null here; statistics of both must compare.
        let context = format!("{architecture}:{}:{}", self.variant.as_deref().unwrap_or("None"), packages.join(","));
        Ok(Description {
            subject: Some(suite),
            parameter_summary: Some(summary),
            runtime_context: Some(context),
            configuration_context: Some(architecture.to_owned()),
            dynamic: NoDynamicData {},
        })
    }
}
