//! What sbuild's log says: how the build ended, why build dependencies could not be installed, where the chroot was.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use usine_model::artifact::Dose3Report;

use crate::run::newest_file;

/// The ending of its name.
pub(super) const SUFFIX: &str = ".build";
/// Longest line that is looked at, in bytes; the rest of a longer one counts as a line of its own.
const MAX_LINE: u64 = 64 * 1024;
/// Longest report of dose3 that is read, in bytes.
const MAX_REPORT: usize = 4 * 1024 * 1024;
/// sbuild unpacks the chroot at the very beginning, before anything of the package can write to the log.
const HEADER_LINES: usize = 200;

/// What was found in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BuildLog {
    /// The last `Status: …` line, whole.
    pub status: Option<String>,
    /// The report of dose-distcheck, if it could be read.
    pub dose3: Option<Dose3Report>,
    /// The temporary directory of the chroot, which sbuild 0.85 makes in `/tmp` whatever `TMPDIR` says.
    pub chroot: Option<PathBuf>,
}

/// The newest regular file `*.build` in `directory`: sbuild also makes a link with a shorter name.
pub(super) fn find(directory: &Path) -> io::Result<Option<PathBuf>> {
    newest_file(directory, SUFFIX)
}

/// Reads a log.
pub(super) fn read(path: &Path) -> io::Result<BuildLog> {
    parse(BufReader::new(File::open(path)?))
}

fn parse(mut log: impl BufRead) -> io::Result<BuildLog> {
    let mut found = BuildLog::default();
    let mut report: Option<String> = None;
    let mut previous_is_solving = false;
    let mut number = 0;
    let mut bytes = Vec::new();
    while (&mut log).take(MAX_LINE).read_until(b'\n', &mut bytes)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches(['\n', '\r']);
        number += 1;
        if line.starts_with("Status: ") {
            found.status = Some(line.to_owned());
        }
        if number <= HEADER_LINES && found.chroot.is_none() {
            found.chroot = chroot_in(line);
        }
        if previous_is_solving && line.starts_with("output-version") {
            report = Some(String::new());
        }
        previous_is_solving = line == "(I)Dose_applications: Solving...";
        if let Some(text) = &mut report {
            if line.starts_with("+----") {
                found.dose3 = dose3(text);
                report = None;
            } else if text.len() + line.len() < MAX_REPORT {
                text.push_str(line);
                text.push('\n');
            } else {
                report = None;
            }
        }
        bytes.clear();
    }
    Ok(found)
}

/// `Unpacking /…/system.tar.xz to /tmp/tmp.sbuild.AbCdEfGhIj...`; newer releases may begin their messages with `I: `.
fn chroot_in(line: &str) -> Option<PathBuf> {
    let rest = line.strip_prefix("I: ").unwrap_or(line).strip_prefix("Unpacking ")?;
    let (_, target) = rest.rsplit_once(" to ")?;
    let target = target.trim_end_matches('.');
    let random = target.strip_prefix("/tmp/tmp.sbuild.")?;
    let is_random = !random.is_empty() && random.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_random.then(|| PathBuf::from(target))
}

/// A report that does not fit is none.
fn dose3(text: &str) -> Option<Dose3Report> {
    serde_saphyr::from_str(text).inspect_err(|error| tracing::debug!(%error, "unreadable dose3 report")).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use usine_model::artifact::{Dose3Reason, Dose3Status};

    use super::*;

    const SAMPLE: &str = include_str!("../../tests/samples/dose3.build");

    #[test]
    fn the_report_of_a_missing_dependency() {
        let log = parse(SAMPLE.as_bytes()).unwrap();
        assert_eq!(log.status.as_deref(), Some("Status: given-back"));
        let report = log.dose3.unwrap();
        assert_eq!((report.output_version.as_str(), report.native_architecture.as_deref()), ("1.2", Some("amd64")));
        assert_eq!((report.total_packages, report.broken_packages), (63442, 1));
        let package = &report.report[0];
        assert_eq!(
            (package.package.as_str(), package.status),
            ("sbuild-build-depends-main-dummy", Dose3Status::Broken)
        );
        // Not 1.1: versions are text.
        assert_eq!(package.version, "1.10");
        let Dose3Reason::Missing(missing) = &package.reasons[0] else { panic!("{:?}", package.reasons) };
        assert_eq!(missing.pkg.unsat_dependency.as_deref(), Some("nonexistent-foo:amd64 (>= 1)"));
    }

    #[test]
    fn no_report_without_its_first_line_or_with_a_strange_one() {
        let strange = SAMPLE.replace("output-version:", "output_version:");
        assert_eq!(parse(strange.as_bytes()).unwrap().dose3, None);
        let odd = SAMPLE.replace("status: broken", "status: odd");
        assert_eq!(parse(odd.as_bytes()).unwrap().dose3, None);
        let cut = SAMPLE.split("+----").next().unwrap();
        assert_eq!(parse(cut.as_bytes()).unwrap().dose3, None);
    }

    #[test]
    fn the_last_status_counts_and_bytes_are_only_bytes() {
        let log = parse(&b"Status: successful\n\xff\xfe caf\xe9\n Status: x\nStatus: attempted\n"[..]).unwrap();
        assert_eq!(log.status.as_deref(), Some("Status: attempted"));
    }

    #[test]
    fn the_chroot_is_named_at_the_beginning_only() {
        let line = "Unpacking /x/system.tar.xz to /tmp/tmp.sbuild.AbCdEfGhIj...\n";
        assert_eq!(parse(line.as_bytes()).unwrap().chroot, Some("/tmp/tmp.sbuild.AbCdEfGhIj".into()));
        let late = format!("{}{line}", "\n".repeat(HEADER_LINES));
        assert_eq!(parse(late.as_bytes()).unwrap().chroot, None);
        for other in ["/tmp/tmp.sbuild.x/../../etc", "/etc", "/tmp/tmp.sbuild."] {
            assert_eq!(chroot_in(&format!("I: Unpacking x to {other}...")), None, "{other}");
        }
    }

    #[test]
    fn the_newest_regular_log_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(find(directory.path()).unwrap(), None);
        let old = directory.path().join("b.build");
        let new = directory.path().join("a.build");
        for (path, seconds) in [(&old, 1_000), (&new, 2_000)] {
            let file = File::create(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        }
        symlink(&old, directory.path().join("c.build")).unwrap();
        assert_eq!(find(directory.path()).unwrap(), Some(new));
    }
}
