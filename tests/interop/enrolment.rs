//! `setup`: the client asks for a token, and its user confirms that on a page of the server.

use std::fs;

use regex::Regex;

use crate::browser::Browser;
use crate::client::{Client, Program, clients};
use crate::house::{House, until};
use crate::support::SOON;
use crate::tenancy::give_role;

/// What the user types to configure a server of their own.
fn dialogue(client: &Client) -> String {
    let api = format!("{}/api", client.house.url());
    match client.program {
        Program::Usine => format!("mine\nurl {api}\nsave\n"),
        Program::Debian(_) => format!("new\nmine\nurl\n{api}\nsave\n"),
    }
}

/// Runs `setup` in the background: decides on the page as `outcome` says when the client has told its address; gives what
/// the client said, and its configuration.
fn set_up(client: &Client, outcome: &str) -> (String, String) {
    let house: &House = &client.house;
    let password = house.admin(&["user", "create", "bob", "bob@example.org"]);
    give_role(house, "bob", "contributor", "System");
    house.write("dialogue", &dialogue(client), 0o644);
    let path = |name: &str| house.path().join(name);
    let config = path("bob.ini");
    let said = || fs::read_to_string(path("setup.log")).unwrap();
    let file = fs::File::create(path("setup.log")).unwrap();
    let mut command = client.command_with(&config, &["setup"]);
    command.env("COLUMNS", "200").stdin(fs::File::open(path("dialogue")).unwrap());
    let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let address = Regex::new(r"(http://\S+/-/enroll/confirm/[A-Za-z0-9_-]+)").unwrap();
    until("the address of the page", SOON, || address.is_match(&said()) || child.try_wait().unwrap().is_some());
    let text = said();
    let address = &address.captures(&text).unwrap_or_else(|| panic!("no address:\n{text}"))[1];
    let browser = Browser::of(house, "bob", password.trim_end_matches('\n'));
    let page = browser.page(&format!("{address}/"));
    let words =
        Regex::new(r#"class="words">([^<]+)<"#).unwrap().captures(&page).expect("words to compare")[1].to_owned();
    assert!(text.contains(&words), "the client shows the same words: {words}\n{text}");
    browser.submit(&format!("{address}/"), &[("outcome", outcome)]);
    until("the client's end", SOON, || child.try_wait().unwrap().is_some());
    (said(), fs::read_to_string(&config).unwrap_or_default())
}

clients! {
    fn a_confirmed_client_can_work(client: &mut Client) {
        let (said, config) = set_up(client, "confirm");
        assert!(config.contains("[server:mine]") && config.contains("token = "), "{config}\n{said}");
        fs::rename(client.house.path().join("bob.ini"), client.house.path().join("client.ini")).unwrap();
        let id = client.submit("noop", "{}");
        let bob = client.house.admin(&["work-request", "list", "--yaml"]);
        assert!(bob.contains(&format!("id: {id}\n")), "{bob}");
    }

    fn a_refused_client_gets_no_token(client: &mut Client) {
        let (said, config) = set_up(client, "cancel");
        assert!(!config.contains("token = "), "{config}\n{said}");
    }
}
