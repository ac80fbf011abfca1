//! One's tokens: made, used by a program, switched off, deleted. Nobody else sees them.

use crate::browser::Browser;
use crate::house::House;
use crate::support::Outcome;
use crate::{pages, person};

const TOKENS: &str = "/-/user/alice/token/";

#[test]
fn a_token_is_made_used_and_deleted() {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    person::newcomer(&house, "bob");
    let alice = Browser::of(&house);
    alice.log_in("alice");
    alice.click_link("alice");
    assert_eq!(alice.address(), "/-/user/alice/");
    alice.is_in_order();
    alice.within("E-mail", |facts| facts.click_link("1"));
    assert_eq!(alice.address(), TOKENS);

    let (token, key) = makes_one(&alice);
    assert_eq!(list_with(&house, &key).code, Some(0), "a program may use it");
    others_do_not_see_it(&house, &token);

    // Switched off and on.
    pages::look_at_all(&alice, &[("tokens", TOKENS)]);
    alice.within("of the laptop", |row| assert!(row.has("yes") && !row.has("never\nnever"), "{}", row.text()));
    alice.click_link(&format!("Edit token {token}"));
    assert_eq!(alice.field("Comment (optional)"), "of the laptop");
    alice.untick("Enabled");
    alice.is_in_order();
    alice.press("Save");
    alice.sees(&format!("Token {token} is saved."));
    assert_ne!(list_with(&house, &key).code, Some(0), "a program may not use it");
    alice.click_link(&format!("Edit token {token}"));
    alice.tick("Enabled");
    alice.press("Save");
    alice.sees("is saved");
    assert_eq!(list_with(&house, &key).code, Some(0));

    // Deleted, after a question.
    alice.click_link(&format!("Delete token {token}"));
    alice.sees("It does not come back.");
    alice.is_in_order();
    alice.click_link("Cancel");
    assert_eq!(alice.address(), TOKENS);
    alice.click_link(&format!("Delete token {token}"));
    alice.press("Delete");
    alice.eventually("the list", || alice.address() == TOKENS);
    alice.does_not_see("of the laptop");
    assert_ne!(list_with(&house, &key).code, Some(0));
    alice.complains_of_nothing();
    house.admin(&["check"]);
}

/// The key is shown when it is asked for, and once.
fn makes_one(alice: &Browser) -> (String, String) {
    alice.click_link("New token");
    alice.is_in_order();
    alice.fill("Comment (optional)", "of the laptop");
    alice.press("Make the token");
    alice.sees("The token is made.");
    let token = alice.address().strip_prefix(TOKENS).unwrap().trim_end_matches('/').to_owned();
    alice.is_in_order();
    let key = alice.script("return document.querySelector('#key').textContent", vec![]).as_str().unwrap().to_owned();
    assert!(key.len() >= 32, "{key}");
    alice.does_not_see(&key);
    alice.press("Show the key");
    alice.sees(&key);
    alice.press("Show the configuration");
    alice.sees(&format!("token = {key}"));
    alice.is_accessible();
    alice.press("Copy the key");
    alice.sees("Copied");
    alice.reload();
    alice.sees("Its key was shown when it was made");
    let all = alice.script("return document.documentElement.outerHTML", vec![]);
    assert!(!all.as_str().unwrap().contains(&key), "it is gone");
    (token, key)
}

/// What a program with the key of a token is told.
fn list_with(house: &House, key: &str) -> Outcome {
    let text = format!(
        "[General]\ndefault-server = test\n[server:test]\napi-url = {}/api\nscope = debusine\ntoken = {key}\n",
        house.url()
    );
    house.write("laptop.ini", &text, 0o600);
    let file = house.path().join("laptop.ini");
    house.try_usine(&["--config-file", file.to_str().unwrap(), "work-request", "list", "--json"], "")
}

fn others_do_not_see_it(house: &House, token: &str) {
    let (bob, stranger) = (Browser::of(house), Browser::of(house));
    bob.log_in("bob");
    for address in [TOKENS.to_owned(), format!("{TOKENS}{token}/"), format!("{TOKENS}{token}/delete/")] {
        bob.go(&address);
        bob.does_not_see("of the laptop");
        assert!(!bob.has_button("Delete"), "{}", bob.page());
        assert!(bob.heading().contains("Not"), "{}", bob.page());
        stranger.go(&address);
        assert!(stranger.address().starts_with("/-/login/?next="), "{}", stranger.address());
    }
    bob.go(&format!("/-/user/bob/token/{token}/"));
    bob.does_not_see("of the laptop");
}

#[test]
fn the_pages_of_people_and_places_are_in_order() {
    let mut house = House::new(None);
    house.start_server();
    person::with_password(&house, "alice");
    person::newcomer(&house, "bob");
    house.admin(&["group", "create", "debusine/Builders"]);
    house.admin(&["group", "members", "debusine/Builders", "--add", "bob"]);
    house.admin(&["workspace", "grant-role", "debusine/System", "viewer", "Builders"]);
    let alice = Browser::of(&house);
    alice.log_in("alice");
    let link = |page: &str, part: &str| {
        alice.go(page);
        let address = alice.script(
            "return document.querySelector(`main a[href*='${arguments[0]}']`)?.getAttribute('href')",
            vec![part.into()],
        );
        address.as_str().unwrap_or_else(|| panic!("{page} has no link to {part}:\n{}", alice.page())).to_owned()
    };
    let set = link("/debusine/System/roles/add/", "/roles/set/");
    let delete = link("/debusine/System/roles/", "/roles/delete/");
    pages::all_of(
        &alice,
        &[
            "/-/user/alice/groups/",
            "/debusine/-/members/",
            "/debusine/-/members/bob/remove/",
            "/debusine/-/groups/",
            "/debusine/-/groups/-/create/",
            "/debusine/-/groups/Builders/",
            "/debusine/-/groups/Builders/audit-log/",
            "/debusine/-/groups/Builders/edit/bob/",
            "/debusine/-/groups/Builders/remove/bob/",
            "/debusine/-/groups/Builders/delete/",
            "/debusine/-/roles/",
            "/debusine/-/roles/add/",
            "/debusine/System/configure/",
            "/debusine/System/inheritance/",
            "/debusine/System/roles/",
            "/debusine/System/roles/add/",
            &set,
            &delete,
            "/debusine/System/groups/",
            "/debusine/System/groups/-/create/",
            "/debusine/System/artifact/new/",
        ],
    );
}
