//! The command lines of debefivm-create(1) and of what turns its image into the artifact's file.

use super::PROGRAM;
use super::data::{DEFAULT_KERNEL, Format, ImageData, SETUP_TESTBED};
use super::overlay::OverlayFile;
use crate::bootstrap::Configuration;
use crate::bootstrap::hooks::{self, hook, upload};

/// The image that is made first, in the working directory.
pub(super) const IMAGE: &str = "system.img";

/// dpkg's database as a hook takes it out of the new system, in the working directory.
pub(super) const DPKG_TAR: &str = "var_lib_dpkg.tar";

/// Program and arguments; `overlay` are the files that were written, and for what.
pub(super) fn command(data: &ImageData, made: &Configuration, overlay: &[OverlayFile]) -> Vec<String> {
    let bootstrap = data.bootstrap();
    let first = bootstrap.repositories.first();
    let mut argv = vec![
        PROGRAM.to_owned(),
        format!("--architecture={}", bootstrap.architecture),
        format!("--release={}", first.map_or("", |repository| &repository.suite)),
        format!("--rootsize={}G", data.root().map_or(0, |partition| partition.size)),
        format!("--output={IMAGE}"),
        "--".to_owned(),
        first.map_or_else(String::new, |repository| repository.mirror.clone()),
        "--verbose".to_owned(),
    ];
    argv.extend(hooks::repositories(&bootstrap, made));
    argv.extend(hooks::script(made));
    if data.is_testbed() {
        argv.push(hook(SETUP_TESTBED));
    }
    argv.extend([hooks::os_release(), hook(format!("tar-out /var/lib/dpkg {DPKG_TAR}"))]);
    for file in overlay {
        argv.push(upload(&file.saved, &format!("/{}", file.target)));
        argv.push(hook(format!(r#"chmod {} "$1/{}""#, file.mode, file.target)));
    }
    argv.extend(bootstrap.variant.iter().map(|variant| format!("--variant={variant}")));
    let kernel = data.disk_image.kernel_package.as_deref().unwrap_or(DEFAULT_KERNEL);
    let packages: Vec<&str> = bootstrap.extra_packages.iter().map(String::as_str).chain([kernel]).collect();
    argv.push(format!("--include={}", packages.join(",")));
    argv.push(made.host_sources.display().to_string());
    argv
}

/// The name of the artifact's file, and the command that makes it of [`IMAGE`].
pub(super) fn conversion(data: &ImageData) -> (String, Vec<String>) {
    let stem = &data.disk_image.filename;
    let (name, words) = match data.disk_image.format {
        Format::Qcow2 => (format!("{stem}.qcow2"), vec!["qemu-img", "convert", "-O", "qcow2", IMAGE]),
        Format::Raw => (format!("{stem}.tar.xz"), vec!["tar", "--create", "--sparse", "--auto-compress", "--file"]),
    };
    let mut argv: Vec<String> = words.into_iter().map(str::to_owned).collect();
    argv.push(name.clone());
    if data.disk_image.format == Format::Raw {
        argv.push(IMAGE.to_owned());
    }
    (name, argv)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::bootstrap::SavedKeyring;
    use crate::simplesystemimagebuild::SimpleSystemImageBuild;
    use crate::worker_task::read;

    fn data(change: impl FnOnce(&mut Value)) -> ImageData {
        let mut data = json!({
            "bootstrap_options": {"architecture": "amd64"},
            "bootstrap_repositories": [
                {"mirror": "https://d.example/debian", "suite": "bookworm"},
                {"mirror": "https://d.example/debian", "suite": "bookworm-updates"},
            ],
            "disk_image": {"format": "raw", "partitions": [{"size": 4, "filesystem": "ext4"}]},
        });
        change(&mut data);
        read::<SimpleSystemImageBuild>(&data).unwrap()
    }

    fn made() -> Configuration {
        Configuration {
            host_sources: "/f/host.sources".into(),
            chroot_sources: "/f/chroot.sources".into(),
            ..Configuration::default()
        }
    }

    const BEGINNING: [&str; 11] = [
        "debefivm-create",
        "--architecture=amd64",
        "--release=bookworm",
        "--rootsize=4G",
        "--output=system.img",
        "--",
        "https://d.example/debian",
        "--verbose",
        r#"--customize-hook=cd "$1" && find etc/apt/sources.list.d -type f -delete"#,
        "--customize-hook=upload /f/chroot.sources /etc/apt/sources.list.d/file.sources",
        r#"--customize-hook=mkdir "$1/etc/apt/keyrings-debusine""#,
    ];
    const OUT: [&str; 2] = [
        "--customize-hook=download /etc/os-release os-release",
        "--customize-hook=tar-out /var/lib/dpkg var_lib_dpkg.tar",
    ];

    #[test]
    fn plain() {
        let end = ["--include=linux-image-generic", "/f/host.sources"];
        assert_eq!(command(&data(|_| {}), &made(), &[]), [&BEGINNING[..], &OUT, &end].concat());
    }

    #[test]
    fn with_everything() {
        let data = data(|data| {
            data["bootstrap_options"]["variant"] = json!("minbase");
            data["bootstrap_options"]["extra_packages"] = json!(["hello", "python3-minimal"]);
            data["bootstrap_options"]["gpgv_command"] = json!("gpgv");
            data["bootstrap_repositories"][1]["keyring_package"] = json!("debian-archive-keyring");
            data["disk_image"]["kernel_package"] = json!("linux-image-cloud-amd64");
        });
        let made = Configuration {
            keyrings: vec![SavedKeyring { path: "/f/keyrings/k.asc".into(), install: true }],
            script: Some("/f/customization_script".into()),
            ..made()
        };
        let overlay = OverlayFile { target: "etc/x", mode: "755", saved: "/f/overlay/etc/x".into() };
        let expected = [
            &BEGINNING[..],
            &[
                "--customize-hook=upload /f/keyrings/k.asc /etc/apt/keyrings-debusine/k.asc",
                "--keyring=/f/keyrings/k.asc",
                "--include=debian-archive-keyring",
                r#"--aptopt=Apt::Key::gpgvcommand "/usr/bin/gpgv""#,
                "--customize-hook=upload /f/customization_script /customization_script",
                r#"--customize-hook=chmod 555 "$1/customization_script""#,
                r#"--customize-hook=chroot "$1" /customization_script"#,
                r#"--customize-hook=rm "$1/customization_script""#,
            ],
            &OUT,
            &[
                "--customize-hook=upload /f/overlay/etc/x /etc/x",
                r#"--customize-hook=chmod 755 "$1/etc/x""#,
                "--variant=minbase",
                "--include=hello,python3-minimal,linux-image-cloud-amd64",
                "/f/host.sources",
            ],
        ]
        .concat();
        assert_eq!(command(&data, &made, &[overlay]), expected);
    }

    #[test]
    fn the_test_bed_is_set_up_from_outside() {
        let data = data(|data| data["customization_script"] = json!(SETUP_TESTBED));
        let argv = command(&data, &made(), &[]);
        let hook = "--customize-hook=/usr/share/autopkgtest/setup-commands/setup-testbed";
        assert_eq!(argv.iter().filter(|word| *word == hook).count(), 1);
        assert!(!argv.iter().any(|word| word.contains("customization_script")));
    }

    #[test]
    fn conversions() {
        let of = |format: &str| {
            let (name, argv) = conversion(&data(|data| data["disk_image"]["format"] = json!(format)));
            (name, argv.join(" "))
        };
        let qcow2 = "qemu-img convert -O qcow2 system.img image.qcow2";
        assert_eq!(of("qcow2"), ("image.qcow2".into(), qcow2.into()));
        let raw = "tar --create --sparse --auto-compress --file image.tar.xz system.img";
        assert_eq!(of("raw"), ("image.tar.xz".into(), raw.into()));
    }
}
