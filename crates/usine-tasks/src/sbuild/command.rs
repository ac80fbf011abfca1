//! The command line of sbuild(1).

use std::path::{Path, PathBuf};

use super::data::{BuildComponent, SbuildData};
use crate::executor::VirtServer;
use crate::run::quote;

/// How sbuild gets to a system to build in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chroot {
    /// It unpacks the environment's tarball itself, in user namespaces.
    Unshare(PathBuf),
    /// A virtualization server of autopkgtest gives it one.
    Autopkgtest(VirtServer),
}

impl Default for Chroot {
    fn default() -> Self {
        Self::Unshare(PathBuf::new())
    }
}

impl Chroot {
    fn options(&self) -> Vec<String> {
        match self {
            Self::Unshare(tarball) => vec![
                "--chroot-mode=unshare".to_owned(),
                format!("--chroot={}", tarball.display()),
                "--chroot-setup-commands=rm -f /etc/resolv.conf".to_owned(),
            ],
            Self::Autopkgtest(VirtServer { server, arguments }) => {
                // sbuild replaces %-words in them.
                let options = arguments.iter().map(|argument| argument.replace('%', "%%"));
                let mode = [
                    "--chroot-mode=autopkgtest".to_owned(),
                    format!("--autopkgtest-virt-server=autopkgtest-virt-{server}"),
                ];
                mode.into_iter()
                    .chain(options.map(|option| format!("--autopkgtest-virt-server-opt={option}")))
                    .collect()
            }
        }
    }
}

/// What was found out on the worker for the command.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of the environment.
    pub codename: String,
    /// Where the build happens.
    pub chroot: Chroot,
    /// `.sources` files for the chroot.
    pub sources: Vec<PathBuf>,
    /// Keys for the chroot.
    pub keys: Vec<PathBuf>,
    /// Binary packages that are offered to apt.
    pub extra_packages: Vec<PathBuf>,
    pub dsc: PathBuf,
}

/// Program and arguments. `maintainer` is that of a binNMU which names none.
pub(super) fn command(data: &SbuildData, found: &Found, maintainer: Option<&str>) -> Vec<String> {
    let switch = |component, name: &str| if data.has(component) { format!("--{name}") } else { format!("--no-{name}") };
    let mut argv = vec![
        "sbuild".to_owned(),
        "--purge-deps=never".to_owned(),
        "--no-run-lintian".to_owned(),
        switch(BuildComponent::Any, "arch-any"),
        switch(BuildComponent::All, "arch-all"),
        switch(BuildComponent::Source, "source"),
        format!("--arch={}", data.build_architecture),
        format!("--dist={}", found.codename),
    ];
    argv.extend(found.chroot.options());
    for file in &found.sources {
        argv.push(pipe_into_chroot(file, |name| format!("cat > /etc/apt/sources.list.d/{name}")));
    }
    for file in &found.keys {
        argv.push(pipe_into_chroot(file, |name| {
            format!("mkdir -p /etc/apt/keyrings && cat > /etc/apt/keyrings/{name}")
        }));
    }
    if let Some(binnmu) = &data.binnmu {
        argv.push(format!("--make-binNMU={}", binnmu.changelog));
        argv.push(format!("--append-to-version={}", binnmu.suffix));
        argv.push("--binNMU=0".to_owned());
        // RFC 5322 §3.3
        argv.extend(
            binnmu.timestamp.map(|time| format!("--binNMU-timestamp={}", time.format("%a, %d %b %Y %H:%M:%S %z"))),
        );
        argv.extend(binnmu.maintainer.as_deref().or(maintainer).map(|maintainer| format!("--maintainer={maintainer}")));
    }
    if let Some(profiles) = data.build_profiles.as_ref().filter(|profiles| !profiles.is_empty()) {
        argv.push(format!("--profiles={}", profiles.join(",")));
    }
    argv.extend(data.build_dep_resolver.map(|resolver| format!("--build-dep-resolver={resolver}")));
    argv.extend(data.aspcud_criteria.as_ref().map(|criteria| format!("--aspcud-criteria={criteria}")));
    if data.resolve_alternatives {
        argv.push("--resolve-alternatives".to_owned());
    }
    argv.push("--bd-uninstallable-explainer=dose3".to_owned());
    argv.extend(found.extra_packages.iter().map(|file| format!("--extra-package={}", file.display())));
    argv.push(found.dsc.display().to_string());
    argv
}

/// Copies a file into the chroot before the build; sbuild replaces its own %-word.
fn pipe_into_chroot(file: &Path, inner: impl Fn(&str) -> String) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let (file, inner) = (quote(&file.display().to_string()), quote(&inner(&name)));
    format!("--pre-build-commands=cat {file} | %SBUILD_CHROOT_EXEC sh -c {inner}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sbuild::Sbuild;
    use crate::worker_task::read;

    fn data(more: Value) -> SbuildData {
        let mut data = json!({"input": {"source_artifact": 12}, "build_architecture": "amd64", "environment": 3});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read::<Sbuild>(&data).unwrap()
    }

    fn found() -> Found {
        Found {
            codename: "bookworm".into(),
            chroot: Chroot::Unshare("/images/3/system.tar.xz".into()),
            dsc: "/f/hello_1-1.dsc".into(),
            ..Found::default()
        }
    }

    const CHROOT: [&str; 5] = [
        "--arch=amd64",
        "--dist=bookworm",
        "--chroot-mode=unshare",
        "--chroot=/images/3/system.tar.xz",
        "--chroot-setup-commands=rm -f /etc/resolv.conf",
    ];

    #[test]
    fn plain() {
        let expected = [
            &["sbuild", "--purge-deps=never", "--no-run-lintian", "--arch-any", "--no-arch-all", "--no-source"][..],
            &CHROOT,
            &["--bd-uninstallable-explainer=dose3", "/f/hello_1-1.dsc"],
        ]
        .concat();
        assert_eq!(command(&data(json!({})), &found(), Some("Debusine <noreply@d.example>")), expected);
    }

    #[test]
    fn with_everything() {
        let data = data(json!({
            "build_components": ["source", "any"], "build_profiles": ["nocheck", "cross"], "build_dep_resolver": "aspcud",
            "aspcud_criteria": "-count(down)", "resolve_alternatives": true,
            "binnmu": {"changelog": "Rebuild for x.", "suffix": "+b1", "timestamp": "2024-01-02T00:00:00Z",
                "maintainer": "A <a@b.example>"},
        }));
        let found = Found {
            sources: vec!["/f/extra_repository_0.sources".into(), "/f x/extra_repository_1.sources".into()],
            keys: vec!["/f/extra_apt_key_0.asc".into()],
            extra_packages: vec!["/f/a_1_amd64.deb".into(), "/f/b_1_all.deb".into()],
            ..found()
        };
        let expected = [
            &["sbuild", "--purge-deps=never", "--no-run-lintian", "--arch-any", "--no-arch-all", "--source"][..],
            &CHROOT,
            &[
                "--pre-build-commands=cat /f/extra_repository_0.sources | %SBUILD_CHROOT_EXEC sh -c \
                 'cat > /etc/apt/sources.list.d/extra_repository_0.sources'",
                "--pre-build-commands=cat '/f x/extra_repository_1.sources' | %SBUILD_CHROOT_EXEC sh -c \
                 'cat > /etc/apt/sources.list.d/extra_repository_1.sources'",
                "--pre-build-commands=cat /f/extra_apt_key_0.asc | %SBUILD_CHROOT_EXEC sh -c \
                 'mkdir -p /etc/apt/keyrings && cat > /etc/apt/keyrings/extra_apt_key_0.asc'",
                "--make-binNMU=Rebuild for x.",
                "--append-to-version=+b1",
                "--binNMU=0",
                "--binNMU-timestamp=Tue, 02 Jan 2024 00:00:00 +0000",
                "--maintainer=A <a@b.example>",
                "--profiles=nocheck,cross",
                "--build-dep-resolver=aspcud",
                "--aspcud-criteria=-count(down)",
                "--resolve-alternatives",
                "--bd-uninstallable-explainer=dose3",
                "--extra-package=/f/a_1_amd64.deb",
                "--extra-package=/f/b_1_all.deb",
                "/f/hello_1-1.dsc",
            ],
        ]
        .concat();
        assert_eq!(command(&data, &found, None), expected);
    }

    /// The whole command of `data` in which `middle` stands between the chroot and the end.
    fn in_between(middle: &[&str]) -> Vec<String> {
        let start = ["sbuild", "--purge-deps=never", "--no-run-lintian", "--arch-any", "--no-arch-all", "--no-source"];
        let end = ["--bd-uninstallable-explainer=dose3", "/f/hello_1-1.dsc"];
        [&start[..], &CHROOT, middle, &end].concat().into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn binnmus() {
        let maintainer = Some("Debusine <noreply@d.example>");
        let plain = data(json!({"binnmu": {"changelog": "Rebuild for x.", "suffix": "+b1"}}));
        let expected = in_between(&[
            "--make-binNMU=Rebuild for x.",
            "--append-to-version=+b1",
            "--binNMU=0",
            "--maintainer=Debusine <noreply@d.example>",
        ]);
        assert_eq!(command(&plain, &found(), maintainer), expected);
        let full = json!({"changelog": "x", "suffix": "+b2", "timestamp": "2024-01-02T03:04:05+02:00",
            "maintainer": "A <a@b.example>"});
        let expected = in_between(&[
            "--make-binNMU=x",
            "--append-to-version=+b2",
            "--binNMU=0",
            "--binNMU-timestamp=Tue, 02 Jan 2024 03:04:05 +0200",
            "--maintainer=A <a@b.example>",
        ]);
        assert_eq!(command(&data(json!({"binnmu": full})), &found(), maintainer), expected);
    }

    #[test]
    fn extra_repositories_for_new_and_old_releases() {
        let new = Found { sources: vec!["/f/extra_repository_0.sources".into()], ..found() };
        let sources = "--pre-build-commands=cat /f/extra_repository_0.sources | %SBUILD_CHROOT_EXEC sh -c \
                 'cat > /etc/apt/sources.list.d/extra_repository_0.sources'";
        assert_eq!(command(&data(json!({})), &new, None), in_between(&[sources]));
        let old = Found { keys: vec!["/f/extra_apt_key_0.asc".into()], ..new };
        let key = "--pre-build-commands=cat /f/extra_apt_key_0.asc | %SBUILD_CHROOT_EXEC sh -c \
                 'mkdir -p /etc/apt/keyrings && cat > /etc/apt/keyrings/extra_apt_key_0.asc'";
        assert_eq!(command(&data(json!({})), &old, None), in_between(&[sources, key]));
    }

    #[test]
    fn through_a_virtualization_server() {
        let with = |server, arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let chroot = Chroot::Autopkgtest(VirtServer { server, arguments });
            command(&data(json!({})), &Found { chroot, ..found() }, None)
        };
        let expected = |server: &[&str]| {
            let mut expected = in_between(&[]);
            let start = expected.iter().position(|word| word == CHROOT[2]).unwrap();
            expected.splice(start..start + 3, server.iter().map(|word| (*word).to_owned()));
            expected
        };
        assert_eq!(
            with("incus", &["artifact/3", "--", "--profile", "de%busine"]),
            expected(&[
                "--chroot-mode=autopkgtest",
                "--autopkgtest-virt-server=autopkgtest-virt-incus",
                "--autopkgtest-virt-server-opt=artifact/3",
                "--autopkgtest-virt-server-opt=--",
                "--autopkgtest-virt-server-opt=--profile",
                "--autopkgtest-virt-server-opt=de%%busine",
            ])
        );
        assert_eq!(
            with("incus", &["--vm", "artifact/3", "--", "--profile", "debusine"]),
            expected(&[
                "--chroot-mode=autopkgtest",
                "--autopkgtest-virt-server=autopkgtest-virt-incus",
                "--autopkgtest-virt-server-opt=--vm",
                "--autopkgtest-virt-server-opt=artifact/3",
                "--autopkgtest-virt-server-opt=--",
                "--autopkgtest-virt-server-opt=--profile",
                "--autopkgtest-virt-server-opt=debusine",
            ])
        );
        assert_eq!(
            with("qemu", &["--boot", "efi", "--dpkg-architecture", "amd64", "/images/100%/a%%b.qcow2"]),
            expected(&[
                "--chroot-mode=autopkgtest",
                "--autopkgtest-virt-server=autopkgtest-virt-qemu",
                "--autopkgtest-virt-server-opt=--boot",
                "--autopkgtest-virt-server-opt=efi",
                "--autopkgtest-virt-server-opt=--dpkg-architecture",
                "--autopkgtest-virt-server-opt=amd64",
                "--autopkgtest-virt-server-opt=/images/100%%/a%%%%b.qcow2",
            ])
        );
    }
}
