//! `setup`, under both names: the dialogue, the enrolment, and the file.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake_server::serve;
use crate::house::House;
use crate::names::CLIENT_CONFIG;

/// A server on which somebody presses a button after a while; the last request.
fn server(outcome: &'static str) -> (String, Arc<Mutex<Value>>) {
    let seen = Arc::new(Mutex::new(Value::Null));
    let noted = seen.clone();
    let address = serve(move |request| {
        assert_eq!(request.line, "POST /api/enroll/");
        *noted.lock().unwrap() = request.body.clone();
        let token = (outcome == "confirm").then(|| "5".repeat(64));
        let decision = json!({"outcome": outcome, "token": token});
        (200, "application/json", format!("\n\n\n{decision}").into_bytes())
    });
    (address, seen)
}

#[test]
fn a_token_is_got_by_enrolment() {
    let (address, seen) = server("confirm");
    let house = House::new(None);
    house.write(CLIENT_CONFIG, "; my servers\n[General]\ndefault-server = other\n\n# the farm\n[server:farm]\n", 0o600);
    let stdin = format!("farm\nurl {address}/api\nscope lab\nworkspace W\ndefault\nsave\n");
    let outcome = house.debusine("setup", &stdin);
    let said = outcome.success();
    let request = seen.lock().unwrap().clone();
    assert_eq!(request.as_object().unwrap().len(), 4, "{request}");
    assert_eq!(request["scope"], "lab");
    let (nonce, words) = (request["nonce"].as_str().unwrap(), request["challenge"].as_str().unwrap());
    assert!(words.split(' ').count() >= 3);
    // The nonce is as long as a hash, and what a test hides.
    assert_eq!(house.redact(nonce), "HASH");
    assert!(said.contains(&format!("{address}/-/enroll/confirm/HASH/\n")), "{said}");
    assert!(said.contains(&format!("words:  {words}\n")), "{said}");
    let key = "5".repeat(64);
    assert_eq!(
        std::fs::read_to_string(house.path().join(CLIENT_CONFIG)).unwrap(),
        format!(
            "; my servers\n[General]\ndefault-server = farm\n\n# the farm\n[server:farm]\napi-url = {address}/api\n\
             scope = lab\ntoken = {key}\ndefault-workspace = W\n"
        )
    );
    assert_eq!(said.matches("HASH").count(), 1, "the token is not shown: {said}");
}

#[test]
fn nothing_is_saved_without_the_users_will() {
    let (address, _) = server("cancel");
    let house = House::new(None);
    let enrol = format!("new\nurl {address}/api\nsave\n");
    for (stdin, code, word) in [
        ("", 3, "nothing was saved"),
        ("9\n\nlocalhost\n", 3, "nothing was saved"),
        ("localhost\nquit\n", 0, "Nothing was saved."),
        (&enrol, 3, "You have cancelled on the page"),
    ] {
        let outcome = house.debusine("setup", stdin);
        assert_eq!(outcome.code, Some(code), "{stdin:?}: {outcome:?}");
        assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains(word), "{stdin:?}: {outcome:?}");
        assert!(!house.path().join(CLIENT_CONFIG).exists(), "{stdin:?}");
    }
    let away = house.debusine("--server away setup", "url http://127.0.0.1:9/api\nsave\n");
    away.assert_failed(3, &["Error connecting to debusine: Cannot connect to http://127.0.0.1:9/api/enroll/"], "away");
    house.debusine("--server a] setup", "").assert_failed(3, &["cannot be the name of a server"], "a name");
}

#[test]
fn a_token_at_hand_needs_no_enrolment() {
    let house = House::new(None);
    house.debusine("--server here setup", "url http://127.0.0.1:9/api\ntoken 0123456789\nsave\n").success();
    let list = house.debusine("work-request list", "");
    list.assert_failed(3, &["Cannot connect to http://127.0.0.1:9/api/1.0/"], "it is the default server now");
    // Our own name writes the same file, and reads it.
    let own = house.run_as("usine", &["setup", "--server", "here"], "scope lab\nsave\n").success();
    assert!(own.contains("Saved [server:here] in HOUSE/.config/debusine/client/config.ini."), "{own}");
    let toml = house.run_as("usine", &["--config-file", "a.toml", "setup"], "");
    toml.assert_failed(3, &["a.toml", "writes debusine's INI files"], "another kind of file");
}
