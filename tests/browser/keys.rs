//! Keys, filters in the address, colours: what makes a day with the pages shorter. With work that does nothing.

use crate::browser::Browser;
use crate::house::House;
use crate::person;

const LIST: &str = "/debusine/System/work-request/";

#[test]
fn a_day_at_the_keyboard() {
    let house = House::at_work();
    person::with_password(&house, "alice");
    let ids: Vec<i64> = ["success", "failure", "success", "error"].map(|result| house.noop(result)).into();
    for id in &ids {
        house.wait_code(*id);
    }
    let alice = Browser::of(&house);
    alice.log_in("alice");
    goes_through_rows(&alice, &ids);
    searches_by_keys(&alice, ids[1]);
    keeps_filters_in_the_address(&alice, &house, &ids);
    keeps_its_colours(&alice);
    logs_out(&alice);
}

fn goes_through_rows(alice: &Browser, ids: &[i64]) {
    alice.go(LIST);
    let number = |at: usize| format!("#{}", ids[at]);
    for (key, at) in [("j", 3), ("j", 2), ("k", 3), ("k", 3), ("j", 2), ("j", 1), ("j", 0), ("j", 0), ("k", 1)] {
        alice.type_keys(key);
        assert_eq!(alice.focus(), number(at), "after {key}");
    }
    alice.enter();
    alice.eventually("the second one", || alice.address() == format!("{LIST}{}/", ids[1]));
    alice.type_keys("gw");
    alice.eventually("the list", || alice.address() == LIST);

    alice.type_keys("?");
    alice.sees("Next and previous row");
    alice.sees("Search packages, work requests, workers, workspaces");
    alice.is_accessible();
    alice.press("Close");
    alice.does_not_see("Next and previous row");
    alice.type_keys("?");
    alice.sees("Next and previous row");
    alice.escape();
    alice.does_not_see("Next and previous row");

    // What is written into a field is no key.
    alice.type_keys("gq");
    alice.eventually("the queue", || alice.address() == "/-/status/queue/");
    alice.type_keys("/gw?");
    assert_eq!(alice.focus(), "q");
    assert_eq!(alice.field("Search packages, work requests, workers, workspaces"), "gw?");
    assert_eq!(alice.address(), "/-/status/queue/");
    alice.complains_of_nothing();
}

fn searches_by_keys(alice: &Browser, id: i64) {
    alice.go(LIST);
    alice.type_keys("/");
    alice.type_keys(&format!("#{id}"));
    alice.enter();
    alice.eventually("that one", || alice.address() == format!("{LIST}{id}/"));
    alice.type_keys("/worker-ex");
    alice.enter();
    alice.sees("Search for “worker-ex”");
    alice.click_link("worker-example-org");
    assert!(alice.heading().contains("idle"), "{}", alice.heading());
    alice.type_keys("/nothing at all");
    alice.enter();
    alice.sees("Nothing that you may see begins so.");
    alice.type_keys("/");
    alice.escape();
    assert_eq!(alice.focus(), "", "Escape leaves the field");
    alice.complains_of_nothing();
}

fn keeps_filters_in_the_address(alice: &Browser, house: &House, ids: &[i64]) {
    alice.go(LIST);
    alice.fill("Result", "failure");
    alice.eventually("the list of failures", || alice.address().contains("result=failure"));
    let has_only = |shown: &[i64]| {
        for id in ids {
            assert_eq!(alice.has_link(&format!("#{id}")), shown.contains(id), "#{id} on {}", alice.page());
        }
    };
    has_only(&[ids[1]]);
    alice.fill("By", "alice");
    alice.enter();
    alice.eventually("both filters", || alice.address().contains("by=alice"));
    let address = alice.address();
    assert!(address.contains("result=failure"), "{address}");
    alice.reload();
    assert_eq!([alice.field("Result"), alice.field("By")], ["failure", "alice"]);
    has_only(&[ids[1]]);

    // It is somebody else's bookmark, and it grows by itself.
    let other = Browser::of(house);
    other.go(&address);
    assert_eq!(other.field("Result"), "failure");
    other.remember_page();
    let (more, fine) = (house.noop("failure"), house.noop("success"));
    other.eventually("one more", || other.has_link(&format!("#{more}")));
    other.sees("2 work requests");
    house.wait_code(fine);
    assert!(!other.has_link(&format!("#{fine}")));
    other.is_remembered_page();
    other.complains_of_nothing();

    alice.click_link("By: alice ✕: take this filter away");
    assert!(!alice.address().contains("by="), "{}", alice.address());
    alice.click_link("Result: failure ✕: take this filter away");
    for id in ids {
        assert!(alice.has_link(&format!("#{id}")), "#{id} on {}", alice.page());
    }
    // What the filter does not know is told and ignored.
    alice.go(&format!("{LIST}?status=sleeping"));
    alice.sees("it is ignored");
    alice.is_in_order();
}

fn keeps_its_colours(alice: &Browser) {
    let back = || alice.script("return getComputedStyle(document.body).backgroundColor", vec![]);
    alice.go(LIST);
    let light = back();
    alice.press("dark");
    alice.eventually("dark colours", || back() != light);
    assert_eq!(alice.address(), LIST, "one stays where one is");
    alice.is_accessible();
    alice.reload();
    assert_ne!(back(), light);
    alice.press("light");
    alice.eventually("light colours", || back() == light);
    alice.dark();
    assert_eq!(back(), light, "what was chosen goes before what the browser says");
    alice.is_accessible();
    alice.press("auto");
    alice.eventually("the browser's dark colours", || back() != light);
    alice.light();
    alice.complains_of_nothing();
}

fn logs_out(alice: &Browser) {
    alice.press("Log out");
    alice.eventually("nobody", || alice.has_link("Log in"));
    assert!(alice.cookie("sessionid").is_none());
    alice.is_in_order();
    alice.go("/debusine/System/artifact/new/");
    assert!(alice.address().starts_with("/-/login/?next="), "{}", alice.address());
    alice.fill("User name", "alice");
    alice.fill("Password", &person::password_of("alice"));
    alice.press("Log in");
    alice.eventually("where one wanted to go", || alice.address() == "/debusine/System/artifact/new/");
}
