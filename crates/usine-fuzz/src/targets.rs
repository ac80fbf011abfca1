//! The list of targets, and what must hold of each.

mod debian;
mod files;
mod model;
mod wire;

use crate::Target;

/// Every reader there is. A new one gets a line here and a directory in `corpus/`.
pub const TARGETS: &[Target] = &[
    // what is uploaded
    Target::new("control", debian::control),
    Target::new("dsc", debian::dsc),
    Target::new("changes", debian::changes),
    Target::new("deb", debian::deb).unpacking(),
    Target::new("tarball", debian::tarball).unpacking(),
    Target::new("version", debian::version),
    Target::new("names-of-debian", debian::names),
    Target::new("local-artifacts", debian::local_artifacts),
    // what requests say
    Target::new("artifact-data", model::artifact_data),
    Target::new("artifact-path", model::artifact_path),
    Target::new("lookup", model::lookup),
    Target::new("names", model::names),
    Target::new("worker-metadata", model::worker_metadata),
    Target::new("task-data", model::task_data),
    Target::new("bodies", wire::bodies),
    Target::new("messages", wire::messages),
    Target::new("ranges", wire::ranges),
    Target::new("times", wire::times),
    Target::new("json-body", wire::json_body),
    Target::new("request", wire::request),
    Target::new("forms", wire::forms),
    Target::new("multipart", wire::multipart),
    Target::new("markdown", wire::markdown),
    // what pages look into
    Target::new("build-log", wire::build_log),
    Target::new("lintian", wire::lintian),
    Target::new("autopkgtest", wire::autopkgtest),
    Target::new("blhc", wire::blhc),
    Target::new("piuparts", wire::piuparts),
    Target::new("debdiff", wire::debdiff),
    Target::new("text-file", wire::text_file),
    Target::new("package-page", wire::package_page).unpacking(),
    Target::new("live-log", wire::live_log),
    // what administrators and users write
    Target::new("server-configuration", files::server),
    Target::new("worker-configuration", files::worker),
    Target::new("client-configuration", files::client),
];

/// The bytes as text, as far as they are.
fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

/// The first line, and the rest.
fn two(input: &[u8]) -> (String, &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (text(&input[..end]).into_owned(), input.get(end + 1..).unwrap_or_default())
}

/// A directory of its own for one run.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for temporary files")
}

/// Nothing but these lies beside a directory that something was unpacked to.
fn assert_only(directory: &std::path::Path, names: &[&str]) {
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, names, "something was written outside of its directory");
}
