//! That the browser and its judges can find fault: a judge who never does is none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::browser::Browser;

/// A page that is no good: text nobody can read, a field without a name, wider than a phone, and a script.
const BAD: &str = "data:text/html,<!doctype html><html lang=en><title>before</title><body style='background:white'>\
    <main><h1>Bad</h1><p style='color:%23ccc'>pale<input id=nameless><p style='width:900px;background:white'>wide</main>\
    <script>document.title='after'; console.error('told')</script>";

#[test]
fn faults_are_found() {
    let browser = Browser::open(String::new(), true);
    browser.go(BAD);
    assert_eq!(browser.title(), "after");
    let found: Vec<_> = browser.axe().into_iter().map(|violation| violation.id).collect();
    for rule in ["color-contrast", "label"] {
        assert!(found.iter().any(|id| id == rule), "{found:?}");
    }
    assert!(fails(|| browser.is_accessible()).contains("label (critical)"));
    assert!(fails(|| browser.fits_a_phone()).contains("wide</p>"));
    assert!(fails(|| browser.complains_of_nothing()).contains("told"));
}

#[test]
fn scripts_are_really_switched_off() {
    let browser = Browser::open(String::new(), false);
    browser.go(BAD);
    assert_eq!(browser.title(), "before");
}

#[test]
fn light_is_not_dark() {
    let browser = Browser::open(String::new(), true);
    let prefers_dark = || browser.script("return matchMedia('(prefers-color-scheme: dark)').matches", vec![]);
    browser.go("data:text/html,<title>x</title>");
    browser.dark();
    assert_eq!(prefers_dark(), true);
    browser.light();
    assert_eq!(prefers_dark(), false);
}

#[test]
fn names_find_what_they_name() {
    let browser = Browser::open(String::new(), true);
    browser.go(
        "data:text/html,<label for=a>It's</label><input id=a value=1><label>Around <input value=2></label>\
         <input aria-label=Hidden value=3><label>Kind <select><option>one<option>two</select></label>\
         <table><tr><td>first<td><button>Go</button><tr><td>second<td><button id=g>Go</button></table>\
         <label><input type=checkbox> Box</label><p id=state>off</p>\
         <button style='display:none'>Once</button><button>Once</button><a href='about:blank'>Further</a>\
         <script>g.onclick=()=>document.title='gone';\
         document.querySelector('[type=checkbox]').onclick=e=>setTimeout(()=>state.textContent=e.target.checked,500)</script>",
    );
    assert_eq!(["It's", "Around", "Hidden", "Kind"].map(|label| browser.field(label)), ["1", "2", "3", "one"]);
    browser.fill("Kind", "two");
    browser.fill("It's", "7");
    assert_eq!([browser.field("Kind"), browser.field("It's")], ["two", "7"]);
    browser.press("Once");
    browser.within("second", |row| row.press("Go"));
    assert_eq!(browser.title(), "gone");
    browser.tick("Box");
    browser.sees("true");
    browser.does_not_see("off");
    browser.tick("Box");
    assert_eq!(browser.text_of("#state"), "true", "it stays ticked");
    assert!(browser.has_link("Further") && !browser.has_link("Once"));
    assert!(browser.has_button("Once") && !browser.has_button("Further"));
    browser.reload();
    assert_eq!(browser.field("It's"), "1");
    browser.click_link("Further");
    assert_eq!(browser.address(), "about:blank");
}

/// The message that it fails with.
fn fails(act: impl FnOnce()) -> String {
    let failure = catch_unwind(AssertUnwindSafe(act)).expect_err("it must fail");
    *failure.downcast::<String>().unwrap()
}
