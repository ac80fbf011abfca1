//! What tasks have written and pages show: for `usine-fuzz` (see [`crate::untrusted`]).

use serde::Deserialize;
use serde_json::Value;
use usine_debian::{Compression, Deb, list_tarball};
use usine_model::artifact::{Autopkgtest, PackageBuildLog};

use super::lines::Text;
use super::{
    Address, autopkgtest as of_autopkgtest, blhc as of_blhc, build_log as of_build_log, debdiff as of_debdiff,
};
use super::{file, lintian as of_lintian, package, piuparts as of_piuparts};

/// Nothing but our own markup, and not much more than there was.
fn check(html: &askama::Result<String>, input: &[u8]) {
    let html = html.as_ref().expect("a page");
    let lower = html.to_ascii_lowercase();
    for wrong in ["<script", "<iframe", "<img", "<object", "javascript:\"", "\0", "\x1b"] {
        assert!(!lower.contains(wrong), "{wrong:?} has come through");
    }
    // A line of one byte has a number, a link and what is around it.
    assert!(html.len() <= (256 << 10) + input.len() * 400, "{} bytes make {} of a page", input.len(), html.len());
}

fn address() -> Address {
    Address::new("/debusine/System/artifact/1/", "a")
}

/// The log of a build, with what is said of it in the first line if that is JSON.
pub fn build_log(input: &[u8]) {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let data = serde_json::from_slice::<PackageBuildLog>(line).ok();
    let uninstallable = data.and_then(|data| data.bd_uninstallable);
    check(&of_build_log::render(&Text::new(input), uninstallable.as_ref(), &address()), input);
}

/// `analysis.json`.
pub fn lintian(input: &[u8]) {
    if let Ok(analysis) = of_lintian::parse(input) {
        check(&of_lintian::render(&analysis, &address()), input);
    }
}

/// The data of the artifact in the first line, then the log.
pub fn autopkgtest(input: &[u8]) {
    let (line, log) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len()));
    let data = serde_json::from_slice::<Value>(line).ok().and_then(|data| Autopkgtest::deserialize(data).ok());
    let Some(data) = data else { return };
    check(&of_autopkgtest::render(&data, Ok((&Text::new(log), &address()))), input);
    check(&of_autopkgtest::render(&data, Err("It is not there.")), input);
}

/// The report of blhc.
pub fn blhc(input: &[u8]) {
    check(&of_blhc::render(&Text::new(input), &address()), input);
}

/// The log of piuparts.
pub fn piuparts(input: &[u8]) {
    check(&of_piuparts::render(&Text::new(input), None, &address()), input);
}

/// The differences that debdiff found.
pub fn debdiff(input: &[u8]) {
    check(&of_debdiff::render(&Text::new(input), None, &address()), input);
}

/// A file of any kind, as text, as a diff, and as a log.
pub fn text_file(input: &[u8]) {
    let text = Text::new(input);
    for (is_diff, is_log) in [(false, false), (true, false), (false, true)] {
        check(&file::render(&text, Some(input), is_diff, is_log, "1 byte".to_owned(), &address()), input);
    }
}

/// A package, and a tarball.
pub fn package_page(input: &[u8]) {
    if let Ok((deb, contents)) = Deb::read_all("a.deb", input, input.len() as u64, package::LIMITS) {
        check_list(&package::render(&deb, &contents, 1, &address()));
    }
    for compression in [Compression::None, Compression::Gzip] {
        let contents = list_tarball(input, compression, package::LIMITS);
        check_list(&package::render_tarball(&contents, 1, &address()));
    }
}

/// What was packed is larger than its package: the page has a bound of its own.
fn check_list(html: &askama::Result<String>) {
    check(html, &[0; 8 << 10]);
}
