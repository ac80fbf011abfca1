//! Executors: the machinery that gives a task a system of its own, made from an environment artifact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};
use usine_model::artifact::ArtifactCategory;

/// Which executor a task asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Backend {
    /// Whatever suits: `unshare`.
    #[default]
    Auto,
    /// Linux namespaces.
    Unshare,
    /// An Incus container.
    IncusLxc,
    /// An Incus virtual machine.
    IncusVm,
    /// A virtual machine without help.
    Qemu,
}

impl Backend {
    /// The backend with `auto` decided.
    pub fn decided(self) -> Self {
        if self == Self::Auto { Self::Unshare } else { self }
    }

    /// What an environment for it is.
    pub fn image_category(self) -> ArtifactCategory {
        match self.decided() {
            Self::IncusVm | Self::Qemu => ArtifactCategory::SystemImage,
            _ => ArtifactCategory::SystemTarball,
        }
    }
}

/// What an environment may be, whichever backend: the server cannot know better before `auto` is decided.
pub(crate) const IMAGE_CATEGORIES: [ArtifactCategory; 2] =
    [ArtifactCategory::SystemTarball, ArtifactCategory::SystemImage];

/// The command that removes what processes in a user namespace left: their files belong to subordinate ids.
pub(crate) fn unshare_remove(paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let command = ["unshare", "--map-users=auto", "--map-groups=auto", "--map-root-user", "rm", "-rf", "--"];
    command.into_iter().map(str::to_owned).chain(paths).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_unshare_with_a_tarball() {
        assert_eq!(Backend::Auto.decided().to_string(), "unshare");
        assert_eq!(Backend::IncusVm.decided().to_string(), "incus-vm");
        assert_eq!(Backend::Auto.image_category(), ArtifactCategory::SystemTarball);
        assert_eq!(Backend::Qemu.image_category(), ArtifactCategory::SystemImage);
    }
}
