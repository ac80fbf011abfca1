//! Reading without JavaScript: the same pages, with all that they have.

use crate::browser::Browser;
use crate::farm::{Farm, PLACE, WORKER, artifact, work_request};
use crate::pages::Numbers;

/// A build that runs: the lines so far, and more when it is loaded anew.
pub fn of_a_running_build(farm: &Farm, id: i64) {
    let browser = Browser::without_javascript(&farm.house);
    browser.go(&work_request(id));
    assert!(browser.heading().contains("running"), "{}", browser.page());
    browser.sees("the build sleeps");
    assert_eq!(browser.text_of("[data-log-status]"), "Running");
}

/// From the first page to a line of a file, by links only.
pub fn without_javascript(farm: &Farm, numbers: &Numbers) {
    let browser = &Browser::without_javascript(&farm.house);
    browser.go("/");
    browser.sees("Log in to submit.");
    browser.within("debusine", |row| row.click_link("System"));
    assert_eq!(browser.address(), PLACE);
    browser.sees("Failed last");
    filters_a_list(browser, numbers);
    reads_a_log(browser, numbers.build);
    reads_a_file(farm, browser, numbers.build);
    browser.go(&work_request(numbers.lintian));
    browser.sees("All that lintian said");

    browser.go("/");
    browser.click_link("Queue");
    browser.sees("By architecture and task");
    browser.within("mmdebstrap", |row| assert!(row.has("0"), "{}", row.text()));
    browser.click_link("Workers");
    browser.within(WORKER, |row| row.click_link(WORKER));
    browser.sees("Registered");
    browser.within("lintian hello", |row| assert!(row.has("success"), "{}", row.text()));

    // Exactly one package of this name: it is shown at once. A part of it is a list.
    browser.fill("Search packages, work requests, workers, workspaces", "hello");
    browser.press("Search");
    assert_eq!(browser.address(), format!("{PLACE}package/hello/"));
    browser.sees("1 of 1 succeeded");
    browser.fill("Search packages, work requests, workers, workspaces", "hell");
    browser.press("Search");
    browser.click_link("hello");
    assert_eq!(browser.address(), format!("{PLACE}package/hello/"));
    browser.fill("Search packages, work requests, workers, workspaces", &format!("#{}", numbers.build));
    browser.press("Search");
    assert_eq!(browser.address(), work_request(numbers.build));
    browser.complains_of_nothing();
}

fn filters_a_list(browser: &Browser, numbers: &Numbers) {
    browser.within("Site", |site| site.click_link("Work requests"));
    browser.fill("Result", "failure");
    browser.fill("Task", "sbuild");
    browser.press("Filter");
    let address = browser.address();
    assert!(address.contains("result=failure") && address.contains("task=sbuild"), "{address}");
    browser.sees("1 work request");
    assert!(browser.has_link(&format!("#{}", numbers.failed)));
    assert!(!browser.has_link(&format!("#{}", numbers.build)));
    browser.reload();
    assert_eq!([browser.field("Result"), browser.field("Task")], ["failure", "sbuild"]);
    browser.click_link("Result: failure ✕: take this filter away");
    browser.within(&format!("#{}", numbers.build), |row| row.click_link(&format!("#{}", numbers.build)));
    assert_eq!(browser.address(), work_request(numbers.build));
}

/// The last lines, earlier ones, and the way back.
fn reads_a_log(browser: &Browser, build: i64) {
    assert_eq!(browser.text_of("[data-log-status]"), "Finished");
    let log = || browser.text_of(".log-static");
    let range = || {
        let text = log();
        let words: Vec<_> = text.split([' ', '.', '\n']).collect();
        let after =
            |word: &str| words[words.iter().position(|found| *found == word).unwrap() + 1].parse::<u64>().unwrap();
        (after("Lines"), after("to"), after("of"))
    };
    let (first, last, all) = range();
    assert!(first > 1 && last == all, "{first} to {last} of {all}");
    assert!(log().contains("Cleaning up") || log().contains("dpkg"), "{}", log());
    browser.click_link("Earlier");
    let address = browser.address();
    assert!(address.starts_with(&format!("{}?log=", work_request(build))), "{address}");
    let earlier = range();
    assert!(earlier.0 < first && earlier.1 > earlier.0, "{earlier:?}");
    browser.click_link(&earlier.0.to_string());
    assert!(browser.address().ends_with(&format!("#log-{}", earlier.0)));
    browser.click_link("Later");
    assert!(range().1 > earlier.1);
}

fn reads_a_file(farm: &Farm, browser: &Browser, build: i64) {
    browser.go(&work_request(build));
    let log = farm.house.artifacts(build, "debian:package-build-log")[0]["id"].as_i64().unwrap();
    browser.within("debian:package-build-log", |row| row.click_link(&log.to_string()));
    assert_eq!(browser.address(), artifact(log));
    browser.sees("Whole log");
    browser.click_link("Whole log");
    browser.click_link("3");
    assert!(browser.address().contains("/file/") && browser.address().ends_with("#L3"), "{}", browser.address());
    browser.sees("sbuild");
    assert_eq!(browser.count("#L3"), 1);
}
