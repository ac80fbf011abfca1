//! Every page, in light and dark: it is in order. The main ones have their pictures taken (`make screenshots`).

use std::path::Path;

use crate::browser::Browser;
use crate::farm::{Farm, PLACE, artifact, work_request};

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
    for address in ["/", "/-/login/", "/debusine/", PLACE, "/-/status/queue/", "/-/status/workers/", "/-/search/?q=zzz"]
    {
        stranger.go(address);
        stranger.is_in_order();
    }
    stranger.go("/debusine/Nowhere/");
    stranger.sees("There is nothing here, or nothing that you may see.");
    stranger.is_accessible();
    stranger.fits_a_phone();
    let new = format!("{PLACE}work-request/new/");
    for address in [new.clone(), format!("{new}?task=autopkgtest"), format!("{new}?task=mmdebstrap")] {
        farm.alice.go(&address);
        farm.alice.is_in_order();
    }
}

/// A build that runs.
pub fn of_a_running_build(farm: &Farm, id: i64) {
    look_at(&farm.alice, "running", &work_request(id));
    look_at(&farm.alice, "queue", "/-/status/queue/");
    look_at(&farm.alice, "workers", "/-/status/workers/");
}

/// All others.
pub fn of_a_busy_farm(farm: &Farm, numbers: &Numbers) {
    let (alice, house) = (&farm.alice, &farm.house);
    let of = |id, category| house.artifacts(id, category)[0]["id"].as_i64().unwrap();
    let upload = of(numbers.build, "debian:upload");
    let list = format!("{PLACE}work-request/");
    look_at(alice, "home", "/");
    look_at(alice, "scope", "/debusine/");
    look_at(alice, "workspace", PLACE);
    look_at(alice, "work-requests", &list);
    look_at(alice, "failed", &work_request(numbers.failed));
    look_at(alice, "lintian", &artifact(of(numbers.lintian, "debian:lintian")));
    look_at(alice, "package", &format!("{PLACE}package/hello/"));
    look_at(alice, "submit", &format!("{list}new/?task=sbuild&input.source_artifact={upload}"));

    let log = of(numbers.build, "debian:package-build-log");
    let binary = of(numbers.build, "debian:binary-package");
    let name = |id: i64, suffix: &str| {
        let shown = house.json(&["artifact", "show", &id.to_string()]);
        let files = shown["files"].as_object().unwrap();
        files.keys().find(|name| name.ends_with(suffix)).unwrap_or_else(|| panic!("{suffix}: {shown}")).clone()
    };
    let file = |id: i64, suffix: &str| format!("{}file/{}", artifact(id), name(id, suffix));
    for address in [
        format!("{list}?status=completed&result=success&task=sbuild&arch={}", crate::house::architecture()),
        format!("{list}?result=bad&package=nothing"),
        format!("{list}compare/?a={}&b={}", numbers.endless, numbers.heir),
        work_request(numbers.endless),
        work_request(numbers.lintian),
        format!("{PLACE}artifact/"),
        format!("{PLACE}artifact/?category=debian:upload"),
        artifact(upload),
        artifact(log),
        artifact(binary),
        file(log, ".build"),
        file(upload, ".changes"),
        file(binary, ".deb"),
        format!("{PLACE}package/tiny/?task=sbuild"),
        format!("/-/status/workers/{}/", crate::farm::WORKER),
        "/-/search/?q=hel".to_owned(),
    ] {
        alice.go(&address);
        alice.is_in_order();
    }
}

/// Goes to a page, which must be in order, and takes its pictures.
pub fn look_at(browser: &Browser, name: &str, address: &str) {
    browser.go(address);
    assert_eq!(browser.address(), address, "the page itself, and no other");
    browser.is_in_order();
    let picture = |scheme: &str| Path::new(PICTURES).join(format!("{name}-{scheme}.png"));
    browser.light();
    browser.screenshot(&picture("light"));
    browser.dark();
    browser.screenshot(&picture("dark"));
    browser.light();
}
