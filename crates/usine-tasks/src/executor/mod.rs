//! Executors: the machinery that gives a task a system of its own, made from an environment artifact. What is alike in all
//! of them is said here; how each makes its systems, in its own file.

mod incus;
mod incus_image;
mod unshare;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};
use usine_model::artifact::ArtifactCategory;

use crate::run::{ArtifactInfo, BoxFuture, Shell, TaskError};

pub(crate) use unshare::unshare_remove;

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

/// Which executor a task asks for that runs its commands inside an instance: all but qemu, where that is not possible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstanceBackend {
    #[default]
    Auto,
    Unshare,
    IncusLxc,
    IncusVm,
}

impl From<InstanceBackend> for Backend {
    fn from(backend: InstanceBackend) -> Self {
        match backend {
            InstanceBackend::Auto => Self::Auto,
            InstanceBackend::Unshare => Self::Unshare,
            InstanceBackend::IncusLxc => Self::IncusLxc,
            InstanceBackend::IncusVm => Self::IncusVm,
        }
    }
}

/// What an environment may be, whichever backend: the server cannot know better before `auto` is decided.
pub(crate) const IMAGE_CATEGORIES: [ArtifactCategory; 2] =
    [ArtifactCategory::SystemTarball, ArtifactCategory::SystemImage];

/// The ordinary user inside of instances.
pub(crate) const USER: &str = "_debusine";

/// Where commands inside of an instance are found.
pub(crate) const INSIDE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As whom a command runs inside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum User {
    /// The instance's root.
    Root,
    /// [`USER`].
    #[default]
    Ordinary,
}

/// A command to run inside of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// As whom.
    pub user: User,
    /// Its working directory inside; `/` without.
    pub directory: Option<PathBuf>,
    /// What it finds in its environment besides `PATH`.
    pub environment: BTreeMap<String, String>,
}

impl Inside {
    /// A command of [`USER`].
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A command of the instance's root.
    pub fn as_root<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        Self { user: User::Root, ..Self::new(argv) }
    }

    /// The same in another directory.
    pub fn within(self, directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()), ..self }
    }

    /// The same with one more variable in its environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// A command of the worker's own system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
}

/// A system that commands can run in. Everything else — users, directories, files in and out — is done by commands.
pub(crate) trait Instance: Send + Sync {
    /// Makes the system and starts it.
    fn start<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>>;

    /// The command that runs a command inside. Standard streams are passed on; killing it kills what it started.
    fn command(&self, inside: &Inside) -> HostCommand;

    /// Ends the system and removes it; also after a start that failed halfway.
    fn stop<'a>(&'a mut self, shell: Shell<'a>) -> BoxFuture<'a, Result<(), TaskError>>;
}

/// What an instance is made from.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The environment artifact.
    pub artifact: ArtifactInfo,
    /// Its file, in the worker's cache.
    pub path: PathBuf,
}

impl Image {
    /// A text of the artifact's data.
    pub fn text(&self, key: &str) -> Result<&str, TaskError> {
        let text = self.artifact.data.get(key).and_then(|text| text.as_str());
        text.ok_or_else(|| TaskError::Other(format!("environment {} has no {key} in its data", self.artifact.id)))
    }

    /// `VENDOR:CODENAME`.
    pub fn distribution(&self) -> Result<String, TaskError> {
        Ok(format!("{}:{}", self.text("vendor")?, self.text("codename")?))
    }
}

/// A new instance, not started; `directory` is an existing directory for its files, open to all.
pub(crate) fn instance(backend: Backend, image: &Image, directory: PathBuf) -> Result<Box<dyn Instance>, TaskError> {
    if let Some(kind) = incus::Kind::of(backend) {
        return Ok(Box::new(incus::Incus::new(kind, image.clone(), directory)));
    }
    match backend.decided() {
        Backend::Auto | Backend::Unshare => Ok(Box::new(unshare::Unshare::new(image.path.clone(), directory))),
        other => Err(TaskError::Other(format!("backend {other} cannot run commands inside of an instance"))),
    }
}

/// How autopkgtest(1), and sbuild(1) in its autopkgtest mode, get to a system: the virtualization server
/// `autopkgtest-virt-SERVER` and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VirtServer {
    pub server: &'static str,
    pub arguments: Vec<String>,
}

/// Whether the image must be brought somewhere before a virtualization server finds it.
pub(crate) fn needs_import(backend: Backend) -> bool {
    incus::Kind::of(backend).is_some()
}

/// Brings an image where the virtualization server of [`virt_server`] looks for it; `directory` is for files on the way.
pub(crate) async fn import(
    backend: Backend,
    image: &Image,
    directory: &Path,
    shell: Shell<'_>,
) -> Result<(), TaskError> {
    match incus::Kind::of(backend) {
        Some(kind) => incus_image::import(kind, image, directory, shell).await,
        None => Ok(()),
    }
}

/// The virtualization server of a backend. Tasks ask [`crate::run::Bench::virt_server`], which also imports the image.
pub(crate) fn virt_server(backend: Backend, image: &Image) -> Result<VirtServer, TaskError> {
    let path = image.path.display().to_string();
    if let Some(kind) = incus::Kind::of(backend) {
        return Ok(VirtServer { server: "incus", arguments: incus::virt_server_arguments(kind, image) });
    }
    let architecture = image.text("architecture")?;
    if backend.decided() == Backend::Qemu {
        // autopkgtest(1) drives the machine with programs in Python.
        if image.artifact.data["pkglist"].get("python3-minimal").is_none() {
            return Err(TaskError::Other(format!(
                "environment {} has no python3-minimal, which autopkgtest needs in a qemu machine: \
                 make it with that in bootstrap_options.extra_packages",
                image.artifact.id
            )));
        }
        // autopkgtest lets QEMU find out the format.
        incus_image::qcow2::check(&image.path)?;
        let words = ["--boot", image.text("boot_mechanism")?, "--dpkg-architecture", architecture, &path];
        return Ok(VirtServer { server: "qemu", arguments: words.map(str::to_owned).to_vec() });
    }
    let words = ["--arch", architecture, "--release", image.text("codename")?, "--tarball", &path];
    Ok(VirtServer { server: "unshare", arguments: words.map(str::to_owned).to_vec() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    /// An environment of the tests.
    pub(super) fn image(id: i64, data: Value, path: &str) -> Image {
        let artifact = ArtifactInfo { id, category: ArtifactCategory::SystemTarball, data, files: BTreeMap::default() };
        Image { artifact, path: path.into() }
    }

    #[test]
    fn each_backend_has_its_virtualization_server() {
        let data = json!({"architecture": "amd64", "codename": "trixie", "boot_mechanism": "efi",
            "pkglist": {"python3-minimal": "3.13.5-1"}});
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("image").display().to_string();
        let mut header = incus_image::qcow2::tests::header(3);
        fs::write(&path, &header).unwrap();
        let image = image(7, data, &path);
        let line = |backend| {
            let VirtServer { server, arguments } = virt_server(backend, &image).unwrap();
            format!("{server} {}", arguments.join(" "))
        };
        assert_eq!(line(Backend::Auto), format!("unshare --arch amd64 --release trixie --tarball {path}"));
        assert_eq!(line(Backend::Unshare), line(Backend::Auto));
        assert_eq!(line(Backend::IncusLxc), "incus artifact/7 -- --profile debusine");
        assert_eq!(line(Backend::IncusVm), "incus --vm artifact/7 -- --profile debusine");
        assert_eq!(line(Backend::Qemu), format!("qemu --boot efi --dpkg-architecture amd64 {path}"));
        header[15] = 104;
        fs::write(&path, &header).unwrap();
        let error = virt_server(Backend::Qemu, &image).unwrap_err().to_string();
        assert!(error.contains("has a backing file"), "{error}");
        let mut poor = image.clone();
        poor.artifact.data["pkglist"] = json!({});
        let error = virt_server(Backend::Qemu, &poor).unwrap_err().to_string();
        assert!(error.starts_with("environment 7 has no python3-minimal"), "{error}");
    }

    #[test]
    fn qemu_has_no_instance() {
        let image = image(7, json!({}), "/images/x");
        let refused = instance(Backend::Qemu, &image, "/w".into()).err().unwrap().to_string();
        assert_eq!(refused, "backend qemu cannot run commands inside of an instance");
        for backend in [Backend::Auto, Backend::IncusLxc, Backend::IncusVm] {
            assert!(instance(backend, &image, "/w".into()).is_ok(), "{backend}");
        }
    }

    #[test]
    fn auto_is_unshare_with_a_tarball() {
        assert_eq!(Backend::Auto.decided().to_string(), "unshare");
        assert_eq!(Backend::IncusVm.decided().to_string(), "incus-vm");
        assert_eq!(Backend::Auto.image_category(), ArtifactCategory::SystemTarball);
        assert_eq!(Backend::Qemu.image_category(), ArtifactCategory::SystemImage);
        assert_eq!(Backend::from(InstanceBackend::default()), Backend::default());
    }
}
