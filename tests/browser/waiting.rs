//! Why something does not run, in words; and that the words go when it runs.

use crate::browser::Browser;
use crate::house::House;
use crate::person;

#[test]
fn why_it_does_not_run_is_told_until_it_runs() {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    let alice = Browser::of(&house);
    alice.log_in("alice");
    alice.go("/debusine/System/work-request/new/?task=noop");
    let id = alice.submits();
    assert!(alice.heading().contains("pending"), "{}", alice.heading());
    alice.within("Why it is not running", |why| {
        assert!(why.has("1 worker could run it but is not connected."), "{}", why.text());
        assert!(why.has("worker-example-org"), "{}", why.text());
    });
    alice.is_in_order();
    let list = Browser::of(&house);
    list.go("/debusine/System/work-request/?status=open");
    list.remember_page();
    list.within(&format!("#{id}"), |row| assert!(row.has("pending"), "{}", row.text()));
    let queue = Browser::of(&house);
    queue.go("/-/status/queue/");
    queue.within("noop", |row| assert!(row.text().contains('1'), "{}", row.text()));
    queue.is_in_order();

    house.start_worker();
    alice.eventually("the end", || alice.heading().contains("success"));
    alice.does_not_see("Why it is not running");
    alice.eventually("the end of the log", || alice.text_of("[data-log-status]") == "Finished");
    alice.sees("Cleaning up");
    list.sees("0 work requests");
    list.is_remembered_page();
    for browser in [&alice, &list, &queue] {
        browser.complains_of_nothing();
    }
}

#[test]
fn a_lower_priority_can_be_given_while_it_waits() {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    let alice = Browser::of(&house);
    alice.log_in("alice");
    alice.go("/debusine/System/work-request/new/?task=noop");
    let id = alice.submits();
    alice.fill("Priority adjustment (0 or less)", "-5");
    alice.press("Change");
    alice.eventually("the new priority", || house.show(id)["priority_adjustment"] == -5);
    alice.sees("-5");
    alice.press("Abort");
    alice.agree("Abort #");
    alice.eventually("the end", || alice.heading().contains("aborted"));
    alice.press("Retry");
    alice.agree("Retry #");
    alice.sees("takes the place");
    alice.complains_of_nothing();
}
