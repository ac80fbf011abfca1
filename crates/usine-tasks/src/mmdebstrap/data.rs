//! Task data of mmdebstrap.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::Display;
use usine_model::lookup::LookupSingle;

use crate::bootstrap::{Bootstrap, BootstrapOptions, BootstrapRepository};
use crate::task_data::{SingleSchema, default_task_configuration};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MmdebstrapData {
    pub bootstrap_options: BootstrapOptions<Variant>,
    /// At least one.
    #[schemars(length(min = 1))]
    pub bootstrap_repositories: Vec<BootstrapRepository>,
    /// A program that is run inside the new system, as root.
    #[serde(default)]
    pub customization_script: Option<String>,
    #[serde(default = "default_task_configuration")]
    #[schemars(with = "Option<SingleSchema>")]
    task_configuration: Option<LookupSingle>,
}

/// Which packages a system begins with (mmdebstrap(1), VARIANTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Variant {
    Buildd,
    Minbase,
    #[serde(rename = "-")]
    #[strum(serialize = "-")]
    Dash,
    Apt,
    Custom,
    Debootstrap,
    Essential,
    Extract,
    Important,
    Required,
    Standard,
}

impl MmdebstrapData {
    /// The part that is common to all bootstraps.
    pub fn bootstrap(&self) -> Bootstrap<'_> {
        self.bootstrap_options.bootstrap(&self.bootstrap_repositories, self.customization_script.as_deref())
    }
}
