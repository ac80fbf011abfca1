//! A private workspace: to others it is not there, nor is anything in it.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::house::House;
use crate::person;

/// Words that nobody else may read.
const SECRETS: [&str; 3] = ["Cellar", "hush", "secrets.txt"];

const CELLAR: &str = "/debusine/Cellar/";

#[test]
fn a_private_workspace_is_not_there_for_others() {
    let mut house = House::new(None);
    house.start_server();
    house.admin(&["workspace", "create", "debusine/Cellar", "Owners", "--private"]);
    person::with_password(&house, "alice");
    person::newcomer(&house, "bob");
    let data = json!({
        "bootstrap_options": {"architecture": "amd64"},
        "bootstrap_repositories": [{"mirror": "https://deb.example.org/debian", "suite": "hush", "components": ["main"]}],
    });
    let words = ["work-request", "create", "mmdebstrap", "--workspace", "Cellar", "--json", "--data", "-"];
    let row: Value = serde_json::from_str(&house.client_with(&words, &data.to_string())).unwrap();
    let id = row["id"].as_i64().unwrap();
    house.write("secrets.txt", "hush\n", 0o644);
    let file = house.path().join("secrets.txt");
    let words = ["artifact", "create", "debusine:test", "--workspace", "Cellar", "--upload", file.to_str().unwrap()];
    let artifact = house.json(&words)["artifact_id"].as_i64().unwrap();

    let alice = Browser::of(&house);
    alice.log_in("alice");
    let addresses = is_there_for_its_owner(&alice, id, artifact);
    let (stranger, bob) = (Browser::of(&house), Browser::of(&house));
    bob.log_in("bob");
    for other in [&stranger, &bob] {
        is_not_there(other, &addresses);
        is_on_no_list(other, id);
    }
    assert!(stranger.has_link("Log in"));

    // Who is let in sees it; who is thrown out does not.
    house.admin(&["group", "create", "debusine/Friends"]);
    house.admin(&["workspace", "grant-role", "debusine/Cellar", "viewer", "Friends"]);
    house.admin(&["group", "members", "debusine/Friends", "--set", "bob"]);
    bob.go(CELLAR);
    bob.sees("hush");
    assert!(!bob.has_link("Upload a package") && !bob.has_link("New work request"), "a viewer looks");
    bob.go(&format!("{CELLAR}work-request/{id}/"));
    assert!(!bob.has_button("Abort"));
    bob.is_in_order();
    house.admin(&["workspace", "revoke-role", "debusine/Cellar", "viewer", "Friends"]);
    is_not_there(&bob, &addresses);
}

/// All its pages, and where changes are told.
fn is_there_for_its_owner(alice: &Browser, id: i64, artifact: i64) -> Vec<String> {
    let work_request = format!("{CELLAR}work-request/{id}/");
    let artifact = format!("{CELLAR}artifact/{artifact}/");
    let mut addresses = Vec::new();
    for address in [
        CELLAR.to_owned(),
        format!("{CELLAR}work-request/"),
        work_request.clone(),
        format!("{work_request}?log=1"),
        format!("{CELLAR}artifact/"),
        artifact.clone(),
        format!("{artifact}file/secrets.txt"),
        format!("{CELLAR}package/hush/"),
    ] {
        alice.go(&address);
        assert_eq!(alice.address(), address);
        alice.sees("Cellar");
        alice.complains_of_nothing();
        let live = alice.script("return document.body.dataset.live?.split('?')[0]", vec![]);
        addresses.extend(live.as_str().map(str::to_owned));
        addresses.push(address);
    }
    addresses.push(format!("{artifact}raw/secrets.txt"));
    addresses.push(format!("{artifact}download/"));
    addresses.push(format!("{artifact}download/secrets.txt"));
    addresses.push(format!("{work_request}log/lines/?from=1&count=10"));
    addresses.sort_unstable();
    addresses.dedup();
    for address in &addresses {
        assert_eq!(alice.status_of(address), 200, "{address}");
    }
    addresses.push(format!("{work_request}log/events/"));
    addresses.push(format!("{work_request}log/download/"));
    alice.go("/-/search/?q=hush");
    assert_eq!(alice.address(), format!("{CELLAR}package/hush/"));
    addresses
}

/// Others are told the same as about what has never been there.
fn is_not_there(other: &Browser, addresses: &[String]) {
    // A page of the house, so that scripts may ask it.
    other.go("/debusine/");
    for address in addresses {
        assert_eq!(other.status_of(address), 404, "{address}");
    }
    for address in addresses.iter().filter(|address| address.starts_with(CELLAR) && !address.contains("/log/")) {
        let nowhere = address.replace("Cellar", "Nowhere");
        other.go(&nowhere);
        let nothing = other.text_of("main").replace("Nowhere", "Cellar");
        assert!(nothing.starts_with("Not found\n"), "{nothing}");
        other.go(address);
        assert_eq!(other.address(), *address);
        assert_eq!(other.text_of("main"), nothing, "{address}");
        assert_eq!(other.title(), "Not found · usine", "{address}");
    }
    other.is_accessible();
    other.fits_a_phone();
    other.forget_complaints();
}

/// No list, search or page of status has a word of it.
fn is_on_no_list(other: &Browser, id: i64) {
    for address in [
        "/".to_owned(),
        "/debusine/".to_owned(),
        "/debusine/System/".to_owned(),
        "/debusine/System/work-request/".to_owned(),
        "/debusine/System/artifact/".to_owned(),
        "/-/status/queue/".to_owned(),
        "/-/status/workers/".to_owned(),
        "/-/search/?q=hus".to_owned(),
        "/-/search/?q=Cell".to_owned(),
        format!("/-/search/?q=%23{id}"),
    ] {
        other.go(&address);
        assert_eq!(other.address(), address, "no way leads there");
        let text = other.script("return document.querySelector('main').textContent", vec![]);
        for secret in SECRETS {
            assert!(!text.as_str().unwrap().contains(secret), "{secret} on {}", other.page());
        }
        other.complains_of_nothing();
    }
}
