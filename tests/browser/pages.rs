//! The main pages, each in light and dark: they are in order, and have their pictures taken (`make screenshots`).

use std::path::Path;

use crate::browser::Browser;
use crate::house::House;
use crate::person;

/// Where pictures go: `NAME-light.png` and `NAME-dark.png`.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots");

#[test]
fn pictures() {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    let browser = Browser::of(&house);
    look_at(&browser, "login", "/-/login/");
}

/// Goes to a page, which must be in order, and takes its pictures.
fn look_at(browser: &Browser, name: &str, address: &str) {
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
