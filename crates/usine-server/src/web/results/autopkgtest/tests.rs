use serde_json::json;

use super::*;

fn data(results: serde_json::Value) -> Autopkgtest {
    serde_json::from_value(json!({
        "results": results, "cmdline": "autopkgtest -- <x>",
        "source_package": {"name": "tiny", "version": "1.0", "url": "http://localhost/x/tiny_1.0.dsc"},
        "architecture": "amd64", "distribution": "debian:bookworm",
    }))
    .unwrap()
}

/// What the summary of the sample says.
fn real() -> Autopkgtest {
    data(json!({
        "odd": {"status": "SKIP", "details": "unknown restriction unknown-thing"},
        "greets": {"status": "PASS", "details": null},
        "complains": {"status": "FAIL", "details": "non-zero exit status 3"},
        "sometimes": {"status": "FAIL", "details": "badpkg"},
    }))
}

fn address() -> Address {
    Address::new("/s/w/artifact/1/", "log")
}

#[test]
fn a_real_log() {
    let text = Text::new(include_bytes!("../fixtures/autopkgtest.txt"));
    let sections = parse(&text, &real());
    let found: Vec<_> = sections
        .iter()
        .map(|section| (section.title.as_str(), section.mark.map(|mark| mark.word), section.is_open, section.seconds))
        .collect();
    assert_eq!(
        found,
        [
            ("Start", None, false, Some(5)),
            ("test bed setup", None, false, Some(14)),
            ("source ../src/tiny_1.0.dsc", None, false, Some(2)),
            ("greets", Some("PASS"), false, Some(27)),
            ("complains", Some("FAIL"), true, Some(10)),
            ("sometimes", Some("FAIL"), true, Some(9)),
            ("summary", None, false, Some(0)),
        ]
    );
    let html = render(&real(), Ok((&text, &address()))).unwrap();
    // What failed comes first, and leads to its section.
    let row = html.find("<a href=\"#section-5\">complains</a>").unwrap();
    assert!(row < html.find("<a href=\"#section-4\">greets</a>").unwrap());
    assert!(html.contains("2 FAIL") && html.contains("1 PASS") && html.contains("unknown restriction unknown-thing"));
    assert!(html.contains("autopkgtest -- &#60;x&#62;"));
    assert!(html.contains("class=\"bad\"><a href=\"#L125\" tabindex=\"-1\">125</a>complains"), "{html}");
}

#[test]
fn a_real_log_of_a_test_bed_that_could_not_be_prepared() {
    let text = Text::new(include_bytes!("../fixtures/autopkgtest-unprepared.txt"));
    let sections = parse(&text, &data(json!({})));
    let last = sections.last().unwrap();
    assert_eq!((last.title.as_str(), last.mark.map(|mark| mark.word), last.is_open), ("greets", Some("error"), true));
}

#[test]
fn over_midnight() {
    let text =
        Text::new(b"autopkgtest [23:59:58]: starting\nautopkgtest [00:00:03]: @@@@@@@@@@@@@@@@@@@@ summary\nx\n");
    let sections = parse(&text, &data(json!({})));
    assert_eq!(sections[0].seconds, Some(5));
}

#[test]
fn without_a_log() {
    let html = render(&real(), Err("This artifact has no file log.")).unwrap();
    assert!(html.contains("complains") && html.contains("This artifact has no file log."), "{html}");
    let html = render(&data(json!({})), Err("x")).unwrap();
    assert!(html.contains("There were no tests."));
}
