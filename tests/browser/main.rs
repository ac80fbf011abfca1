//! The pages as people use them: a real server and worker, and Debian's Chromium, led by WebDriver.
//!
//! # How to write a story
//!
//! One file per part of the pages, one `#[test]` per story. A story starts a [`house::House`], opens a [`browser::Browser`] at
//! it, and uses words of a user:
//!
//! ```no_run
//! let mut house = House::at_work(); // or: House::new(None) and start_server()
//! person::with_password(&house, "alice");
//! let browser = Browser::of(&house);
//! browser.log_in("alice");
//! browser.go("/debusine/System/");
//! browser.click_link("Work requests");
//! browser.fill("Task", "noop");
//! browser.press("Submit");
//! browser.sees("success"); // waits for it: what comes without a reload, too
//! browser.is_in_order(); // axe in light and dark, nothing too wide for a phone, nothing in the console
//! ```
//!
//! Links, buttons and fields are found by what they are called on the page, as a person or a screen reader finds them; there must
//! be exactly one of that name, or exactly one in [`browser::Browser::within`] a row or region. `Browser::without_javascript(&house)`
//! is the same browser with scripts switched off. A new page goes into the lists of [`pages`], which looks at each page in light and
//! dark and makes pictures of the main ones. What needs an environment or a real build goes to [`farm`], which makes them once.
//!
//! When a story fails, the page that it saw is told, and its picture is in `target/tmp/browser/`.
//!
//! What is needed: `packaging/setup-host tests`.

#[path = "../../crates/usine-tasks/tests/real/fetch.rs"]
mod fetch;
#[path = "../factory/house.rs"]
#[allow(dead_code, reason = "the stories of the factory need other parts of the house")]
mod house;
#[path = "../factory/source.rs"]
#[allow(dead_code, reason = "the stories of the factory need other packages")]
mod source;
#[path = "../client/support.rs"]
#[allow(dead_code, reason = "the stories of the client need more words")]
mod support;

mod account;
mod axe;
mod browser;
mod driver;
mod farm;
mod find;
mod hands;
mod keys;
mod login;
mod pages;
mod person;
mod private;
mod reading;
mod self_test;
mod waiting;
