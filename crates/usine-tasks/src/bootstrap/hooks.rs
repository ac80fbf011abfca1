//! Arguments of mmdebstrap(1) that the tasks share.

use std::path::Path;

use super::{Bootstrap, Configuration, OS_RELEASE};

/// A hook that runs when all packages are there: a command, or one of mmdebstrap's own words such as `download`.
pub(crate) fn hook(text: impl AsRef<str>) -> String {
    format!("--customize-hook={}", text.as_ref())
}

/// Copies a file to `target` in the new system.
pub(crate) fn upload(file: &Path, target: &str) -> String {
    hook(format!("upload {} {target}", file.display()))
}

/// Gives the new system its sources and keyrings, and mmdebstrap the keyrings that it needs itself.
pub(crate) fn repositories(bootstrap: &Bootstrap<'_>, made: &Configuration) -> Vec<String> {
    let mut argv = vec![
        hook(r#"cd "$1" && find etc/apt/sources.list.d -type f -delete"#),
        upload(&made.chroot_sources, "/etc/apt/sources.list.d/file.sources"),
        hook(r#"mkdir "$1/etc/apt/keyrings-debusine""#),
    ];
    for keyring in made.keyrings.iter().filter(|keyring| keyring.install) {
        argv.push(upload(&keyring.path, &format!("/etc/apt/keyrings-debusine/{}", keyring.name())));
    }
    argv.extend(made.keyrings.iter().map(|keyring| format!("--keyring={}", keyring.path.display())));
    let packages = bootstrap.repositories.iter().filter_map(|repository| repository.keyring_package.as_ref());
    argv.extend(packages.map(|package| format!("--include={package}")));
    argv.extend(bootstrap.gpgv_command.map(|gpgv| format!(r#"--aptopt=Apt::Key::gpgvcommand "/usr/bin/{gpgv}""#)));
    argv
}

/// Runs the customization script in the new system, if there is one.
pub(crate) fn script(made: &Configuration) -> Vec<String> {
    let Some(script) = &made.script else { return Vec::new() };
    vec![
        upload(script, "/customization_script"),
        hook(r#"chmod 555 "$1/customization_script""#),
        hook(r#"chroot "$1" /customization_script"#),
        hook(r#"rm "$1/customization_script""#),
    ]
}

/// Takes os-release(5) out of the new system.
pub(crate) fn os_release() -> String {
    hook(format!("download /etc/os-release {OS_RELEASE}"))
}
