//! What every page must have: headings in order, labels, captions, identifiers that are there once; and no style or script in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex};

use regex::Regex;

/// Compiled once: thousands of pages are looked at.
fn regex(pattern: &str) -> Regex {
    static KNOWN: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Default::default);
    let mut known = KNOWN.lock().unwrap();
    known.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).unwrap()).clone()
}

/// Looks at a whole page.
pub fn check(path: &str, html: &str) {
    let find = |pattern: &str| -> Vec<String> {
        let regex = regex(pattern);
        regex.captures_iter(html).map(|found| found.get(found.len() - 1).unwrap().as_str().to_owned()).collect()
    };
    let levels: Vec<u32> = find(r"<h([1-6])[ >]").iter().map(|level| level.parse().unwrap()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{path}: one h1: {levels:?}");
    assert_eq!(levels[0], 1, "{path}: {levels:?}");
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{path}: a level is left out: {levels:?}");

    let ids = find(r#"[ \n]id="([^"]*)""#);
    let once: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(ids.len(), once.len(), "{path}: an id twice: {ids:?}");
    let labels: BTreeSet<String> = find(r#"<label[^>]* for="([^"]*)""#).into_iter().collect();
    for input in find(r"(<(?:input|select|textarea)[^>]*>)") {
        let Some(id) = attribute(&input, "id") else {
            let in_label = ["type=\"hidden\"", "type=\"checkbox\"", "type=\"radio\""];
            assert!(in_label.iter().any(|kind| input.contains(kind)), "{path}: no label: {input}");
            continue;
        };
        assert!(labels.contains(&id), "{path}: no label for {input}");
    }
    for referred in find(r#"aria-(?:describedby|labelledby)="([^"]*)""#) {
        for id in referred.split(' ') {
            assert!(ids.iter().any(|known| known == id), "{path}: nothing has the id {id}");
        }
    }
    assert_eq!(find("(<table)").len(), find("(<caption)").len(), "{path}: captions");
    assert_eq!(find("(<th )").len(), find(r#"(<th [^>]*scope=)"#).len(), "{path}: scopes of heads");
    assert!(find("(<th>)").is_empty(), "{path}");
    // What stands between quotation marks is no attribute.
    let bare = regex("\"[^\"]*\"").replace_all(html, "\"\"");
    let attribute = regex(r"<[^>]* (?:style|on[a-z]+)=").find(&bare);
    assert_eq!(attribute.map(|found| found.as_str().to_owned()), None, "{path}: a style or a script");
    assert!(find("(<script[^>]*>[^<])").is_empty() && find("(<style)").is_empty(), "{path}: a script or style in it");
    assert!(!html.contains("{{") && !html.contains("{%"), "{path}");
    for form in find(r#"(?s)(<form method="post".*?</form>)"#) {
        assert!(form.contains("csrfmiddlewaretoken"), "{path}: {form}");
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let regex = regex(&format!(r#" {name}="([^"]*)""#));
    Some(regex.captures(tag)?[1].to_owned())
}

/// The part of a page that is its own.
pub fn main(html: &str) -> &str {
    let begin = html.find("<main").unwrap();
    &html[begin..html.find("</main>").unwrap()]
}
