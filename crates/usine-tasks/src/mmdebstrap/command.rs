//! The command line of mmdebstrap(1).

use crate::bootstrap::hooks::{self, hook};
use crate::bootstrap::{Bootstrap, Configuration};

/// The name of the tarball in the working directory.
pub(super) const TARBALL: &str = "system.tar.xz";

/// The file in the working directory that says whether the system has an init: then it is `0`.
pub(super) const TEST_INIT: &str = "test-sbin-init";

/// Program and arguments; `timeout` is in seconds.
pub(super) fn command(bootstrap: &Bootstrap<'_>, made: &Configuration, timeout: u32) -> Vec<String> {
    let mut argv = vec![
        "mmdebstrap".to_owned(),
        format!("--aptopt=Acquire::http::timeout={timeout}"),
        format!("--aptopt=Acquire::https::timeout={timeout}"),
        "--mode=unshare".to_owned(),
        "--format=tar".to_owned(),
        format!("--architectures={}", bootstrap.architecture),
        "--verbose".to_owned(),
    ];
    argv.extend(hooks::repositories(bootstrap, made));
    argv.extend([
        hooks::os_release(),
        hook("copy-out /var/lib/dpkg var_lib_dpkg"),
        hook(r#"rm -f "$1/etc/hostname""#),
        hook(r#"test -h "$1/etc/resolv.conf" || rm -f "$1/etc/resolv.conf""#),
        "--skip=chroot/start-stop-daemon".to_owned(),
    ]);
    argv.extend(hooks::script(made));
    argv.extend([
        hook(r#"(test -x "$1/sbin/init" || test -h "$1/sbin/init") ; echo $? > "$1/test_sbin_init""#),
        hook(format!("download test_sbin_init {TEST_INIT}")),
        hook(r#"rm "$1/test_sbin_init""#),
    ]);
    argv.extend(bootstrap.variant.iter().map(|variant| format!("--variant={variant}")));
    if !bootstrap.extra_packages.is_empty() {
        argv.push(format!("--include={}", bootstrap.extra_packages.join(",")));
    }
    // The empty words are the suite and the mirror: both are in the sources file.
    argv.extend([String::new(), TARBALL.to_owned(), String::new(), made.host_sources.display().to_string()]);
    argv
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::bootstrap::SavedKeyring;
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

    fn made() -> Configuration {
        Configuration {
            host_sources: "/f/host.sources".into(),
            chroot_sources: "/f/chroot.sources".into(),
            ..Configuration::default()
        }
    }

    #[test]
    fn plain() {
        let data = json!({
            "bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [{"mirror": "https://d.example/debian", "suite": "bookworm", "components": ["main"]}],
        });
        let expected = [&BEGINNING[..], &MIDDLE, &INIT, &END].concat();
        assert_eq!(command(&read::<Mmdebstrap>(&data).unwrap().bootstrap(), &made(), 30), expected);
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
        let made = Configuration {
            keyrings: vec![saved("keyring-repo-a.asc", true), saved("keyring-repo-b.gpg", false)],
            script: Some("/f/customization_script".into()),
            ..made()
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
        assert_eq!(command(&read::<Mmdebstrap>(&data).unwrap().bootstrap(), &made, 30), expected);
    }
}
