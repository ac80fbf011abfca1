//! The command line of sbuild(1) with a chroot in user namespaces.

use std::path::{Path, PathBuf};

use super::data::{BuildComponent, SbuildData};
use crate::run::quote;

/// What was found out on the worker for the command.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of the environment.
    pub codename: String,
    /// The environment's tarball.
    pub tarball: PathBuf,
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
        "--chroot-mode=unshare".to_owned(),
        format!("--chroot={}", found.tarball.display()),
        "--chroot-setup-commands=rm -f /etc/resolv.conf".to_owned(),
    ];
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
            tarball: "/images/3/system.tar.xz".into(),
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
            "build_components": ["source", "all"], "build_profiles": ["nocheck", "cross"], "build_dep_resolver": "aspcud",
            "aspcud_criteria": "-count(down)", "resolve_alternatives": true,
        }));
        let found = Found {
            sources: vec!["/f/extra_repository_0.sources".into(), "/f x/extra_repository_1.sources".into()],
            keys: vec!["/f/extra_apt_key_0.asc".into()],
            extra_packages: vec!["/f/a_1_amd64.deb".into(), "/f/b_1_all.deb".into()],
            ..found()
        };
        let expected = [
            &["sbuild", "--purge-deps=never", "--no-run-lintian", "--no-arch-any", "--arch-all", "--source"][..],
            &CHROOT,
            &[
                "--pre-build-commands=cat /f/extra_repository_0.sources | %SBUILD_CHROOT_EXEC sh -c \
                 'cat > /etc/apt/sources.list.d/extra_repository_0.sources'",
                "--pre-build-commands=cat '/f x/extra_repository_1.sources' | %SBUILD_CHROOT_EXEC sh -c \
                 'cat > /etc/apt/sources.list.d/extra_repository_1.sources'",
                "--pre-build-commands=cat /f/extra_apt_key_0.asc | %SBUILD_CHROOT_EXEC sh -c \
                 'mkdir -p /etc/apt/keyrings && cat > /etc/apt/keyrings/extra_apt_key_0.asc'",
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

    #[test]
    fn binnmus() {
        let part = |binnmu: Value| -> Vec<String> {
            let argv = command(&data(json!({"binnmu": binnmu})), &found(), Some("Debusine <noreply@d.example>"));
            argv.into_iter()
                .filter(|word| {
                    word.to_lowercase().contains("nmu") || word.contains("tainer") || word.contains("append")
                })
                .collect()
        };
        assert_eq!(
            part(json!({"changelog": "Rebuild for x.", "suffix": "+b1"})),
            [
                "--make-binNMU=Rebuild for x.",
                "--append-to-version=+b1",
                "--binNMU=0",
                "--maintainer=Debusine <noreply@d.example>"
            ]
        );
        assert_eq!(
            part(
                json!({"changelog": "x", "suffix": "+b1", "timestamp": "2024-01-02T00:00:00Z", "maintainer": "A <a@b.example>"})
            ),
            [
                "--make-binNMU=x",
                "--append-to-version=+b1",
                "--binNMU=0",
                "--binNMU-timestamp=Tue, 02 Jan 2024 00:00:00 +0000",
                "--maintainer=A <a@b.example>",
            ]
        );
    }
}
