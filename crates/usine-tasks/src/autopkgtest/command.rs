//! The command line of autopkgtest(1).

use std::path::{Path, PathBuf};

use super::data::{AutopkgtestData, Timeout};

/// Where autopkgtest leaves what becomes the artifact, below its working directory.
pub(super) const OUTPUT: &str = "artifact-dir";
/// The summary, below its working directory.
pub(super) const SUMMARY: &str = "artifact-dir/summary";
/// The resolver's configuration, which the tarball of an environment has not.
const RESOLVER: &str = "/etc/resolv.conf";

/// What was found out on the worker for the command.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of the environment.
    pub codename: String,
    /// The virtualization server and its arguments.
    pub server: Vec<String>,
    /// Whether the test bed gets the worker's own resolver configuration.
    pub shares_resolver: bool,
    /// Whether this autopkgtest knows a limit of the whole run.
    pub has_global_timeout: bool,
    /// `.sources` files for the test bed.
    pub sources: Vec<PathBuf>,
    /// Keys for the test bed.
    pub keys: Vec<PathBuf>,
    /// Binary packages, then the source package.
    pub targets: Vec<PathBuf>,
}

/// Program and arguments.
pub(super) fn command(data: &AutopkgtestData, found: &Found) -> Vec<String> {
    let mut argv = vec![
        "autopkgtest".to_owned(),
        "--apt-upgrade".to_owned(),
        format!("--output-dir={OUTPUT}"),
        format!("--summary={SUMMARY}"),
        "--no-built-binaries".to_owned(),
    ];
    argv.extend(data.include_tests.iter().map(|test| format!("--test-name={test}")));
    argv.extend(data.exclude_tests.iter().map(|test| format!("--skip-test={test}")));
    if data.debug_level > 0 {
        argv.push(format!("-{}", (0..data.debug_level).map(|_| 'd').collect::<String>()));
    }
    argv.extend(found.sources.iter().map(|file| copy_into(file, "/etc/apt/sources.list.d")));
    argv.extend(found.keys.iter().map(|file| copy_into(file, "/etc/apt/keyrings")));
    if data.use_packages_from_base_repository {
        argv.push(format!("--apt-default-release={}", found.codename));
    }
    let pins = data.pin_packages.iter();
    argv.extend(pins.map(|(release, packages)| format!("--pin-packages={release}={}", packages.join(","))));
    argv.extend(data.extra_environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    argv.push(format!("--needs-internet={}", data.needs_internet));
    argv.extend(timeouts(data.timeout.unwrap_or_default(), found.has_global_timeout));
    if found.shares_resolver {
        argv.push(format!("--copy={RESOLVER}:{RESOLVER}"));
    }
    argv.extend(found.targets.iter().map(|target| target.display().to_string()));
    argv.push("--".to_owned());
    argv.extend(found.server.iter().cloned());
    argv
}

fn copy_into(file: &Path, directory: &str) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("--copy={}:{directory}/{name}", file.display())
}

fn timeouts(timeout: Timeout, has_global: bool) -> impl Iterator<Item = String> {
    let given = [
        ("--timeout", timeout.global.filter(|_| has_global)),
        ("--timeout-factor", timeout.factor),
        ("--timeout-short", timeout.short),
        ("--timeout-install", timeout.install),
        ("--timeout-test", timeout.test),
        ("--timeout-copy", timeout.copy),
        ("--timeout-build", timeout.build),
    ];
    given.into_iter().filter_map(|(option, value)| Some(format!("{option}={}", value?)))
}

/// Whether the worker has a resolver configuration of its own.
pub(super) fn has_resolver() -> bool {
    Path::new(RESOLVER).exists()
}

/// Whether the output of `autopkgtest --help` has `--timeout`, the limit of the whole run. 5.28 (bookworm) has none; there
/// the word would be an ambiguous abbreviation.
pub(super) fn offers_global_timeout(help: &str) -> bool {
    help.split(|c: char| c.is_whitespace() || "[],=".contains(c)).any(|word| word == "--timeout")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::autopkgtest::Autopkgtest;
    use crate::worker_task::read;

    fn data(more: Value) -> AutopkgtestData {
        let mut data = json!({"input": {"source_artifact": 12, "binary_artifacts": [20]}, "build_architecture": "amd64", "environment": 3});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read::<Autopkgtest>(&data).unwrap()
    }

    fn found() -> Found {
        Found {
            codename: "bookworm".into(),
            server: words("unshare --arch amd64 --release bookworm --tarball /images/3/system.tar.xz"),
            shares_resolver: true,
            has_global_timeout: true,
            targets: vec!["/f/hello_1-1_amd64.deb".into(), "/f/hello_1-1.dsc".into()],
            ..Found::default()
        }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn plain() {
        let expected = "autopkgtest --apt-upgrade --output-dir=artifact-dir --summary=artifact-dir/summary \
            --no-built-binaries --needs-internet=run --copy=/etc/resolv.conf:/etc/resolv.conf /f/hello_1-1_amd64.deb \
            /f/hello_1-1.dsc -- unshare --arch amd64 --release bookworm --tarball /images/3/system.tar.xz";
        assert_eq!(command(&data(json!({})), &found()), words(expected));
    }

    #[test]
    fn with_everything() {
        let data = data(json!({
            "include_tests": ["a", "b c"], "exclude_tests": ["d"], "debug_level": 2, "use_packages_from_base_repository": true,
            "pin_packages": {"sid": ["x", "src:y"], "trixie": ["z"]}, "extra_environment": {"A": "1 2", "B": ""},
            "needs_internet": "skip",
            "timeout": {"global": 1, "factor": 2, "short": 3, "install": 4, "test": 5, "copy": 6, "build": 7},
        }));
        let found = Found {
            sources: vec!["/f/extra_repository_0.sources".into(), "/f/extra_repository_1.sources".into()],
            keys: vec!["/f/extra_apt_key_1.asc".into()],
            ..found()
        };
        let expected = [
            "autopkgtest",
            "--apt-upgrade",
            "--output-dir=artifact-dir",
            "--summary=artifact-dir/summary",
            "--no-built-binaries",
            "--test-name=a",
            "--test-name=b c",
            "--skip-test=d",
            "-dd",
            "--copy=/f/extra_repository_0.sources:/etc/apt/sources.list.d/extra_repository_0.sources",
            "--copy=/f/extra_repository_1.sources:/etc/apt/sources.list.d/extra_repository_1.sources",
            "--copy=/f/extra_apt_key_1.asc:/etc/apt/keyrings/extra_apt_key_1.asc",
            "--apt-default-release=bookworm",
            "--pin-packages=sid=x,src:y",
            "--pin-packages=trixie=z",
            "--env=A=1 2",
            "--env=B=",
            "--needs-internet=skip",
            "--timeout=1",
            "--timeout-factor=2",
            "--timeout-short=3",
            "--timeout-install=4",
            "--timeout-test=5",
            "--timeout-copy=6",
            "--timeout-build=7",
            "--copy=/etc/resolv.conf:/etc/resolv.conf",
            "/f/hello_1-1_amd64.deb",
            "/f/hello_1-1.dsc",
            "--",
            "unshare",
            "--arch",
            "amd64",
            "--release",
            "bookworm",
            "--tarball",
            "/images/3/system.tar.xz",
        ];
        assert_eq!(command(&data, &found), expected);
    }

    #[test]
    fn on_incus_and_with_an_autopkgtest_without_a_global_timeout() {
        let found = Found {
            server: words("incus --vm artifact/3 -- --profile debusine"),
            shares_resolver: false,
            has_global_timeout: false,
            targets: vec!["/f/hello_1-1.dsc".into()],
            ..found()
        };
        let data = data(json!({"backend": "incus-vm", "debug_level": 3, "timeout": {"global": 600, "test": 60}}));
        let expected = "autopkgtest --apt-upgrade --output-dir=artifact-dir --summary=artifact-dir/summary \
            --no-built-binaries -ddd --needs-internet=run --timeout-test=60 /f/hello_1-1.dsc \
            -- incus --vm artifact/3 -- --profile debusine";
        assert_eq!(command(&data, &found), words(expected));
    }

    #[test]
    fn the_help_says_whether_there_is_a_global_timeout() {
        let old = "timeout options:\n  --timeout-short T     set short timeout to T seconds (default: 100s)\n  \
            --timeout-factor FACTOR\n";
        assert!(!offers_global_timeout(old));
        assert!(offers_global_timeout(&format!("{old}  --timeout TIMEOUT     Global timeout\n")));
        assert!(offers_global_timeout("usage: autopkgtest [--timeout=T] [-h]"));
    }
}
