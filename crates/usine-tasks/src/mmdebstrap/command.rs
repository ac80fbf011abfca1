//! The command line of mmdebstrap(1).

use std::path::{Path, PathBuf};

use super::data::MmdebstrapData;

/// The name of the tarball in the working directory.
pub(super) const TARBALL: &str = "system.tar.xz";

/// A keyring that was downloaded for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedKeyring {
    pub path: PathBuf,
    pub install: bool,
}

impl SavedKeyring {
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The files that were made for the command.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Repositories for bootstrapping.
    pub host_sources: PathBuf,
    /// Repositories of the new system.
    pub chroot_sources: PathBuf,
    pub keyrings: Vec<SavedKeyring>,
    pub script: Option<PathBuf>,
}

/// Program and arguments; `timeout` is in seconds.
pub(super) fn command(data: &MmdebstrapData, files: &Files, timeout: u32) -> Vec<String> {
    let options = &data.bootstrap_options;
    let hook = |text: String| format!("--customize-hook={text}");
    let upload = |file: &Path, target: &str| hook(format!("upload {} {target}", file.display()));
    let mut argv = vec![
        "mmdebstrap".to_owned(),
        format!("--aptopt=Acquire::http::timeout={timeout}"),
        format!("--aptopt=Acquire::https::timeout={timeout}"),
        "--mode=unshare".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={}", options.architecture),
        "--verbose".to_owned(),
        hook(r#"cd "$1" && find etc/apt/sources.list.d -type f -delete"#.to_owned()),
        upload(&files.chroot_sources, "/etc/apt/sources.list.d/file.sources"),
        hook(r#"mkdir "$1/etc/apt/keyrings-debusine""#.to_owned()),
    ];
    for keyring in files.keyrings.iter().filter(|keyring| keyring.install) {
        argv.push(upload(&keyring.path, &format!("/etc/apt/keyrings-debusine/{}", keyring.name())));
    }
    argv.extend(files.keyrings.iter().map(|keyring| format!("--keyring={}", keyring.path.display())));
    let packages = data.bootstrap_repositories.iter().filter_map(|repository| repository.keyring_package.as_ref());
    argv.extend(packages.map(|package| format!("--include={package}")));
    if let Some(gpgv) = options.gpgv_command {
        argv.push(format!(r#"--aptopt=Apt::Key::gpgvcommand "/usr/bin/{gpgv}""#));
    }
    argv.extend([
        hook("download /etc/os-release os-release".to_owned()),
        hook("copy-out /var/lib/dpkg var_lib_dpkg".to_owned()),
        hook(r#"rm -f "$1/etc/hostname""#.to_owned()),
        hook(r#"test -h "$1/etc/resolv.conf" || rm -f "$1/etc/resolv.conf""#.to_owned()),
        "--skip=chroot/start-stop-daemon".to_owned(),
    ]);
    if let Some(script) = &files.script {
        argv.extend([
            upload(script, "/customization_script"),
            hook(r#"chmod 555 "$1/customization_script""#.to_owned()),
            hook(r#"chroot "$1" /customization_script"#.to_owned()),
            hook(r#"rm "$1/customization_script""#.to_owned()),
        ]);
    }
    argv.extend([
        hook(r#"(test -x "$1/sbin/init" || test -h "$1/sbin/init") ; echo $? > "$1/test_sbin_init""#.to_owned()),
        hook("download test_sbin_init test-sbin-init".to_owned()),
        hook(r#"rm "$1/test_sbin_init""#.to_owned()),
    ]);
    argv.extend(options.variant.map(|variant| format!("--variant={variant}")));
    if !options.extra_packages.is_empty() {
        argv.push(format!("--include={}", options.extra_packages.join(",")));
    }
    // The empty words are the suite and the mirror: both are in the sources file.
    argv.extend([String::new(), TARBALL.to_owned(), String::new(), files.host_sources.display().to_string()]);
    argv
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mmdebstrap::Mmdebstrap;
    use crate::worker_task::read;

    const BEGINNING: [&str; 10] = [
        "mmdebstrap",
        "--aptopt=Acquire::http::timeout=30",
        "--aptopt=Acquire::https::timeout=30",
        "--mode=unshare",
        "--format=tar",
        "--architectures=amd64",
        "--verbose",
        r#"--customize-hook=cd "$1" && find etc/apt/sources.list.d -type f -delete"#,
        "--customize-hook=upload /f/chroot.sources /etc/apt/sources.list.d/file.sources",
        r#"--customize-hook=mkdir "$1/etc/apt/keyrings-debusine""#,
    ];
    const MIDDLE: [&str; 5] = [
        "--customize-hook=download /etc/os-release os-release",
        "--customize-hook=copy-out /var/lib/dpkg var_lib_dpkg",
        r#"--customize-hook=rm -f "$1/etc/hostname""#,
        r#"--customize-hook=test -h "$1/etc/resolv.conf" || rm -f "$1/etc/resolv.conf""#,
        "--skip=chroot/start-stop-daemon",
    ];
    const INIT: [&str; 3] = [
        r#"--customize-hook=(test -x "$1/sbin/init" || test -h "$1/sbin/init") ; echo $? > "$1/test_sbin_init""#,
        "--customize-hook=download test_sbin_init test-sbin-init",
        r#"--customize-hook=rm "$1/test_sbin_init""#,
    ];
    const END: [&str; 4] = ["", "system.tar.xz", "", "/f/host.sources"];

    fn files() -> Files {
        Files { host_sources: "/f/host.sources".into(), chroot_sources: "/f/chroot.sources".into(), ..Files::default() }
    }

    #[test]
    fn plain() {
        let data = json!({
            "bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "bookworm", "components": ["main"]}],
        });
        let expected = [&BEGINNING[..], &MIDDLE, &INIT, &END].concat();
        assert_eq!(command(&read::<Mmdebstrap>(&data).unwrap(), &files(), 30), expected);
    }

    #[test]
    fn with_everything() {
        let keyring = json!({"url": "https://d.example/a.asc", "install": true});
        let data = json!({
            "bootstrap_options": {"architecture": "amd64", "variant": "-", "extra_packages": ["hello", "python3"],
                "use_signed_by": false, "gpgv_command": "gpgv-sq"},
            "bootstrap_repositories": [
                {"mirror": "https://d.example/debian", "suite": "bookworm", "check_signature_with": "external",
                 "keyring": keyring, "keyring_package": "debian-archive-keyring"},
                {"mirror": "https://e.example/debian", "suite": "bookworm", "check_signature_with": "external",
                 "keyring": {"url": "https://e.example/b.gpg"}},
            ],
            "customization_script": "#!/bin/sh\n",
        });
        let saved = |name: &str, install| SavedKeyring { path: Path::new("/f/keyrings").join(name), install };
        let files = Files {
            keyrings: vec![saved("keyring-repo-a.asc", true), saved("keyring-repo-b.gpg", false)],
            script: Some("/f/customization_script".into()),
            ..files()
        };
        let expected = [
            &BEGINNING[..],
            &[
                "--customize-hook=upload /f/keyrings/keyring-repo-a.asc /etc/apt/keyrings-debusine/keyring-repo-a.asc",
                "--keyring=/f/keyrings/keyring-repo-a.asc",
                "--keyring=/f/keyrings/keyring-repo-b.gpg",
                "--include=debian-archive-keyring",
                r#"--aptopt=Apt::Key::gpgvcommand "/usr/bin/gpgv-sq""#,
            ],
            &MIDDLE,
            &[
                "--customize-hook=upload /f/customization_script /customization_script",
                r#"--customize-hook=chmod 555 "$1/customization_script""#,
                r#"--customize-hook=chroot "$1" /customization_script"#,
                r#"--customize-hook=rm "$1/customization_script""#,
            ],
            &INIT,
            &["--variant=-", "--include=hello,python3"],
            &END,
        ]
        .concat();
        assert_eq!(command(&read::<Mmdebstrap>(&data).unwrap(), &files, 30), expected);
    }
}
