//! Every page, in light and dark: it is in order. The main ones have their pictures taken (`make screenshots`).

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::browser::Browser;
use crate::farm::{Farm, PLACE, WORKER, artifact, work_request};
use crate::house::architecture;

/// Where pictures go: `NAME-light.png` and `NAME-dark.png`.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots");

/// What has been done on the farm.
pub struct Numbers {
    /// The build of hello.
    pub build: i64,
    /// What lintian says about it.
    pub lintian: i64,
    /// The build that was aborted, and the one that took its place.
    pub endless: i64,
    pub heir: i64,
    /// The build that failed.
    pub failed: i64,
}

/// What can be looked at while the first work request runs.
pub fn of_a_quiet_farm(farm: &Farm) {
    let stranger = Browser::of(&farm.house);
    all_of(
        &stranger,
        &["/", "/-/login/", "/debusine/", PLACE, "/-/status/queue/", "/-/status/workers/", "/-/search/?q=zzz"],
    );
    stranger.go("/debusine/Nowhere/");
    stranger.sees("There is nothing here, or nothing that you may see.");
    stranger.is_accessible();
    stranger.fits_a_phone();
    stranger.forget_complaints();
    let new = format!("{PLACE}work-request/new/");
    all_of(&farm.alice, &[&new, &format!("{new}?task=autopkgtest"), &format!("{new}?task=mmdebstrap")]);
}

/// A build that runs.
pub fn of_a_running_build(farm: &Farm, id: i64) {
    look_at_all(
        &farm.alice,
        &[
            ("running", &work_request(id)),
            ("queue", "/-/status/queue/"),
            ("workers", "/-/status/workers/"),
            ("", &format!("/-/status/workers/{WORKER}/")),
        ],
    );
}

/// All others.
pub fn of_a_busy_farm(farm: &Farm, numbers: &Numbers) {
    let house = &farm.house;
    let of = |id, category| house.artifacts(id, category)[0]["id"].as_i64().unwrap();
    let upload = of(numbers.build, "debian:upload");
    let list = format!("{PLACE}work-request/");
    look_at_all(
        &farm.alice,
        &[
            ("home", "/"),
            ("scope", "/debusine/"),
            ("workspace", PLACE),
            ("work-requests", &list),
            ("failed", &work_request(numbers.failed)),
            ("lintian", &artifact(of(numbers.lintian, "debian:lintian"))),
            ("package", &format!("{PLACE}package/hello/")),
            ("submit", &format!("{list}new/?task=sbuild&input.source_artifact={upload}")),
        ],
    );

    let log = of(numbers.build, "debian:package-build-log");
    let binary = of(numbers.build, "debian:binary-package");
    let file = |id: i64, suffix: &str| {
        let shown = house.json(&["artifact", "show", &id.to_string()]);
        let mut names = shown["files"].as_object().unwrap().keys();
        let name = names.find(|name| name.ends_with(suffix)).unwrap_or_else(|| panic!("{suffix}: {shown}"));
        format!("{}file/{name}", artifact(id))
    };
    all_of(
        &farm.alice,
        &[
            &format!("{list}?status=completed&result=success&task=sbuild&arch={}", architecture()),
            &format!("{list}?result=bad&package=nothing"),
            &format!("{list}compare/?a={}&b={}", numbers.endless, numbers.heir),
            &work_request(numbers.build),
            &work_request(numbers.endless),
            &work_request(numbers.lintian),
            &format!("{PLACE}artifact/"),
            &format!("{PLACE}artifact/?category=debian:upload"),
            &artifact(upload),
            &artifact(log),
            &artifact(binary),
            &file(log, ".build"),
            &file(upload, ".changes"),
            &file(binary, ".deb"),
            &format!("{PLACE}package/tiny/?task=sbuild"),
            "/-/search/?q=hel",
        ],
    );
}

/// All of these pages are in order.
pub fn all_of(browser: &Browser, addresses: &[&str]) {
    let named: Vec<_> = addresses.iter().map(|address| ("", *address)).collect();
    look_at_all(browser, &named);
}

/// Looks at all of these pages, whatever is found on one of them; those with a name have their pictures taken.
pub fn look_at_all(browser: &Browser, pages: &[(&str, &str)]) {
    let look =
        |(name, address): &(&str, &str)| catch_unwind(AssertUnwindSafe(|| look_at(browser, name, address))).err();
    // Each has told of itself; one is enough to fail.
    if let Some(fault) = pages.iter().filter_map(look).last() {
        resume_unwind(fault);
    }
}

/// Goes to a page, which must be in order, and takes its pictures if it has a name.
fn look_at(browser: &Browser, name: &str, address: &str) {
    browser.go(address);
    assert_eq!(browser.address(), address, "the page itself, and no other");
    if !name.is_empty() {
        let picture = |scheme: &str| Path::new(PICTURES).join(format!("{name}-{scheme}.png"));
        browser.light();
        browser.screenshot(&picture("light"));
        browser.dark();
        browser.screenshot(&picture("dark"));
    }
    browser.is_in_order();
}
