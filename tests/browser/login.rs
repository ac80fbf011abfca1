//! Logging in.

use crate::browser::Browser;
use crate::house::House;
use crate::person;

/// A house that nobody works in, whose user has a password.
fn house() -> House {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    house
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_works() {
    let house = house();
    logs_in(&Browser::of(&house));
}

#[test]
fn without_javascript_it_is_the_same() {
    let house = house();
    logs_in(&Browser::without_javascript(&house));
}

fn logs_in(browser: &Browser) {
    browser.go("/-/login/");
    browser.fill("User name", "alice");
    browser.fill("Password", "a wrong one");
    browser.press("Log in");
    browser.sees("Please enter a correct name and password.");
    assert!(browser.cookie("sessionid").is_none());
    assert_eq!(browser.field("User name"), "alice", "it need not be typed again");
    assert_eq!(browser.field("Password"), "");
    browser.log_in("alice");
}

#[test]
fn the_page_is_in_order_with_an_error_too() {
    let house = house();
    let browser = Browser::of(&house);
    browser.go("/-/login/");
    browser.is_in_order();
    browser.fill("User name", "alice");
    browser.fill("Password", "a wrong one");
    browser.press("Log in");
    browser.sees("Please enter a correct name and password.");
    browser.is_in_order();
}

#[test]
fn who_is_kept_out_is_told_no_more_than_others() {
    let house = house();
    person::newcomer(&house, "bob");
    let browser = Browser::of(&house);
    browser.log_in("bob");
    house.admin(&["user", "disable", "bob"]);
    let other = Browser::of(&house);
    other.go("/-/login/");
    other.fill("User name", "bob");
    other.fill("Password", &person::password_of("bob"));
    other.press("Log in");
    other.sees("Please enter a correct name and password.");
}
