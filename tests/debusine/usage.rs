//! Command lines that are wrong, configurations that are wrong, and what is said without any server.

use crate::house::House;
use crate::names::CLIENT_CONFIG;

/// A configuration file for a server that nobody runs.
const NOBODY: &str = "[General]\ndefault-server = local\n\
    [server:local]\napi-url = http://127.0.0.1:9/api\nscope = debusine\ntoken = 0\n";

#[test]
fn wrong_usage_is_exit_code_2() {
    let house = House::new(None);
    for line in [
        "frobnicate",
        "work-request",
        "work-request show",
        "work-request show seven",
        "work-request list --colour",
        "work-request list --limit many",
        "work-request list --server x",
        "work-request create",
        "artifact create no:such-category",
        "artifact create debusine:test --expire-at tomorrow",
        "artifact show-relations",
        "show-work-request seven",
        "create-artifact no:such-category",
        "-d colour work-request list",
    ] {
        let outcome = house.debusine(line, "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{line}");
        assert!(outcome.stderr.contains("Usage: debusine"), "{line}: {}", outcome.stderr);
    }
    house.write(CLIENT_CONFIG, NOBODY, 0o600);
    let missing = house.debusine("work-request create noop --data /nonexistent", "");
    missing.assert_failed(2, &["error: can't open '/nonexistent': "], "a file that is not there");
    let worker = house.run_as("debusine-worker", &["--log-level", "loud"], "");
    worker.assert_failed(2, &["is not one of DEBUG", "--log-level"], "an unknown level");
}

#[test]
fn the_version_is_read_as_one_of_debusines() {
    let house = House::new(None);
    for program in ["debusine", "debusine-worker"] {
        let version = house.run_as(program, &["--version"], "").success();
        assert_eq!(version, format!("{program} 0.16.2+usine{}\n", env!("CARGO_PKG_VERSION")));
    }
    let version = format!("0.16.2+usine{}", env!("CARGO_PKG_VERSION"));
    for (relation, other) in [("ge", "0.16.2"), ("gt", "0.16.1"), ("lt", "0.16.3")] {
        let compared =
            std::process::Command::new("dpkg").args(["--compare-versions", &version, relation, other]).status();
        assert!(compared.unwrap().success(), "{version} {relation} {other}");
    }
}

#[test]
fn the_help_has_todays_names() {
    let house = House::new(None);
    insta::assert_snapshot!(house.debusine("--help", "").success());
    insta::assert_snapshot!("artifact-create-help", house.debusine("artifact create --help", "").success());
    assert!(house.debusine("create-artifact --help", "").success().contains("--upload-base-directory"));
}

#[test]
fn debusine_reads_debusines_configuration_and_no_other() {
    let house = House::new(None);
    house.write(
        ".config/usine/client.toml",
        "[server.a]\napi-url = \"http://127.0.0.1:9/api\"\ntoken = \"1\"\n",
        0o600,
    );
    let list = ["work-request", "list"];
    let error = |arguments: &[&str]| {
        let outcome = house.run_as("debusine", &[arguments, &list].concat(), "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
        outcome.stderr.trim().to_owned()
    };
    assert_eq!(error(&[]), format!("Cannot read HOUSE/{CLIENT_CONFIG} ."));
    house.write(CLIENT_CONFIG, NOBODY, 0o600);
    assert!(error(&[]).starts_with("Error connecting to debusine: Cannot connect to http://127.0.0.1:9/api/1.0/"));
    assert_eq!(
        error(&["--server", "far"]),
        "No Debusine client configuration for 'far'; run 'debusine setup' to configure it"
    );
    assert!(error(&["--server=127.0.0.1/debusine"]).starts_with("Error connecting to debusine: "));
    let mut named = house.command("debusine", &list);
    let output = named.env("DEBUSINE_SERVER_NAME", "far").env("USINE_URL", "http://127.0.0.1:9/api").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("configuration for 'far'"), "{output:?}");
}

#[test]
fn what_is_not_there_yet_says_so() {
    let house = House::new(None);
    for (line, name) in [
        ("workflow start NAME --workspace System --data -", "workflow"),
        ("workflow list --limit 3 --yaml", "workflow"),
        ("workflow-template create update_environments NAME", "workflow-template"),
        ("collection list -w System", "collection"),
        ("collection relation edit a@b c --set", "collection"),
        ("asset list --work-request 1", "asset"),
        ("task-config pull --workdir .", "task-config"),
        ("archive suite create x", "archive"),
        ("work-request sign 3 -- -k 123", "work-request sign"),
        ("provide-signature --local-file x.changes 3", "work-request sign"),
        ("create-workflow NAME", "workflow"),
        ("create-workflow-template NAME update_environments", "workflow-template"),
        ("create-asset debusine:signing-key", "asset"),
        ("list-assets --id 1", "asset"),
        ("task-config-pull", "task-config"),
        ("task-config-push --force", "task-config"),
    ] {
        house.write(CLIENT_CONFIG, NOBODY, 0o600);
        let outcome = house.debusine(line, "");
        outcome.assert_failed(3, &[&format!("Error: `debusine {name}` is not there yet")], line);
        assert_eq!(outcome.stdout, "", "{line}");
    }
}
