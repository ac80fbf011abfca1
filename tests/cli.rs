//! The command line without a server: help, configuration files, input data, usage errors, administration of a fresh
//! database, and the doctor. Stories with a server have files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use assert_cmd::Command;
use tempfile::TempDir;

/// The program, away from the configuration of whoever runs the tests.
struct House {
    home: TempDir,
}

impl House {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs `usine` with these arguments and nothing on standard input; gives exit code, standard output and error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], stdin: &str) -> (i32, String, String) {
        let mut command = Command::cargo_bin("usine").unwrap();
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.home.path());
        // The help shows the values of the environment.
        if !arguments.contains(&"--help") {
            command.env("USINE_DATA_DIRECTORY", self.home.path());
        }
        let output = command.write_stdin(stdin).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(&self.path(""), "HOME/");
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

/// A configuration file for a server that nobody runs.
const CONFIG: &str = "[General]\ndefault-server = local\n\
    [server:local]\napi-url = http://127.0.0.1:9/api\nscope = debusine\ntoken = 0\n";

const DEBUSINE_FILE: &str = ".config/debusine/client/config.ini";

#[test]
fn the_help_teaches() {
    let (code, stdout, _) = House::new().run(&["--help"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(stdout);
}

#[test]
fn without_arguments_the_help_is_a_usage_error() {
    let (code, stdout, stderr) = House::new().run(&[]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("First steps:"), "{stderr}");
}

#[test]
fn every_command_has_help() {
    let house = House::new();
    for command in [
        &["work-request", "create"][..],
        &["work-request", "wait"],
        &["artifact", "import"],
        &["artifact", "download"],
        &["check"],
        &["admin", "worker", "create"],
        &["doctor"],
    ] {
        let (code, stdout, _) = house.run(&[command, &["--help"]].concat());
        assert_eq!(code, 0, "{command:?}");
        insta::assert_snapshot!(command.join("-"), stdout);
    }
    let (code, stdout, _) = house.run(&["--version"]);
    assert_eq!((code, stdout.trim()), (0, concat!("usine ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn configuration_faults_have_debusines_texts() {
    let house = House::new();
    let error = |house: &House, arguments: &[&str]| {
        let (code, stdout, stderr) = house.run(&[arguments, &["work-request", "list"]].concat());
        assert_eq!((code, stdout.as_str()), (3, ""));
        stderr.trim().to_owned()
    };
    assert_eq!(error(&house, &[]), format!("Cannot read HOME/{DEBUSINE_FILE} ."));
    house.write(DEBUSINE_FILE, "[General]\n");
    assert_eq!(
        error(&house, &[]),
        format!(
            "default-server key must exist in [General] in HOME/{DEBUSINE_FILE} . Add it or specify the server in the command line."
        )
    );
    house.write(DEBUSINE_FILE, CONFIG);
    assert_eq!(
        error(&house, &["--server", "elsewhere"]),
        "No Debusine client configuration for 'elsewhere'; run 'debusine setup' to configure it"
    );
    let broken = house.write("broken.ini", "[server:a]\nscope = s\n");
    assert_eq!(
        error(&house, &["--config-file", &broken, "--server", "a"]),
        "Missing required keys in the section [server:a]: api-url, token in HOME/broken.ini ."
    );
    let own = house.write(".config/usine/client.toml", "[server.a]\napi-url = \"http://127.0.0.1:9/api\"\n");
    let missing = error(&house, &[]);
    assert!(missing.contains("missing field `token`"), "{own}: {missing}");
}

#[test]
fn a_server_that_is_away_is_a_known_failure() {
    let house = House::new();
    house.write(DEBUSINE_FILE, CONFIG);
    let (code, stdout, stderr) = house.run(&["work-request", "list"]);
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(stderr.contains("Error connecting to debusine: Cannot connect to http://127.0.0.1:9/api/1.0/"), "{stderr}");
}

#[test]
fn data_are_yaml_mappings() {
    let house = House::new();
    house.write(DEBUSINE_FILE, CONFIG);
    let create = |data: &[&str], stdin: &str| {
        let arguments = [&["work-request", "create", "noop"], data].concat();
        let (code, stdout, stderr) = house.run_with(&arguments, stdin);
        assert_eq!(stdout, "");
        (code, stderr.trim().to_owned())
    };
    assert_eq!(create(&[], "- a\n"), (3, "Error: data must be a dictionary. It is: list".to_owned()));
    let (code, text) = create(&[], "a: [\n");
    assert!(code == 3 && text.starts_with("Error parsing YAML: ") && text.ends_with("Fix the YAML data"), "{text}");
    let empty = house.write("empty.yaml", "");
    assert_eq!(create(&["--data", &empty], ""), (3, "Error: data must be a dictionary. It is empty".to_owned()));
    let (code, text) = create(&["--data", "/nonexistent"], "");
    assert!(code == 2 && text.contains("can't open '/nonexistent': "), "{text}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let house = House::new();
    for line in [
        "frobnicate",
        "work-request",
        "work-request show",
        "work-request show seven",
        "work-request list --colour",
        "work-request unblock 1",
        "work-request unblock 1 --accept --reject",
        "work-request list --yaml --json",
        "artifact create no:such-category",
        "artifact create debusine:test --expire-at tomorrow",
        "admin worker create --worker-type celery host",
    ] {
        let (code, stdout, stderr) = house.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((code, stdout.as_str()), (2, ""), "{line}");
        assert!(stderr.contains("Usage") || stderr.contains("For more information"), "{line}: {stderr}");
    }
}

#[test]
fn local_faults_are_found_before_the_server_is_asked() {
    let house = House::new();
    house.write(DEBUSINE_FILE, CONFIG);
    let text = house.write("notes.txt", "hello\n");
    for (line, message) in [
        ("work-request manage 1", "Error: no changes specified".to_owned()),
        ("artifact download 1 --target-directory /nonexistent", "Error: Cannot write to /nonexistent".to_owned()),
        (
            "work-request on-completed no-such-command",
            "Error: \"no-such-command\" does not exist or is not executable".to_owned(),
        ),
        (
            "artifact create debusine:test --upload /nonexistent",
            "Cannot create artifact: \"/nonexistent\" does not exist".to_owned(),
        ),
        (
            &format!("artifact import {text}"),
            "Only source packages (.dsc), binary packages (.deb), and source/binary uploads (.changes) can be directly \
             imported with this command. HOME/notes.txt is none of them"
                .to_owned(),
        ),
    ] {
        let (code, stdout, stderr) = house.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((code, stdout.as_str(), stderr.trim()), (3, "", message.as_str()), "{line}");
    }
}

#[test]
fn tasks_are_known_without_a_server() {
    let house = House::new();
    let (code, stdout, _) = house.run(&["task", "list", "--yaml"]);
    assert_eq!(code, 0);
    assert!(stdout.contains("- task_type: Worker\n  task_name: sbuild\n"), "{stdout}");
    let (code, stdout, _) = house.run(&["task", "schema", "noop", "--json"]);
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema["type"], "object");
    assert_eq!(house.run(&["task", "schema", "nope"]).0, 3);
}

#[test]
fn an_administrator_sets_up_a_server() {
    let house = House::new();
    let (code, _, stderr) = house.run(&["admin", "user", "list"]);
    assert_eq!(code, 3);
    assert!(stderr.starts_with("CommandError: Database error: HOME/usine.db does not exist."), "{stderr}");
    assert!(!Path::new(&house.path("usine.db")).exists(), "looking makes no database");

    let (code, stdout, _) = house.run(&["admin", "migrate"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("Applied "), "{stdout}");
    assert_eq!(house.run(&["admin", "migrate"]), (0, "No migrations to apply.\n".to_owned(), String::new()));
    let all_well = (0, "System check identified no issues (0 silenced).\n".to_owned(), String::new());
    assert_eq!(house.run(&["admin", "check"]), all_well);

    let (code, password, _) = house.run(&["admin", "user", "create", "alice", "alice@example.org"]);
    assert_eq!((code, password.len()), (0, 17), "16 characters and a new line: {password:?}");
    let (code, _, stderr) = house.run(&["admin", "user", "create", "alice", "other@example.org"]);
    assert_eq!((code, stderr.trim()), (3, "CommandError: A user with this username or email already exists"));
    let (_, users, _) = house.run(&["admin", "user", "list", "--yaml"]);
    assert!(users.starts_with("- date_joined: 20") && users.contains("\n  username: alice\n\n"), "{users}");

    let (code, _, stderr) = house.run(&["admin", "token", "create", "bob"]);
    assert_eq!((code, stderr.trim()), (3, "CommandError: Cannot create token: \"bob\" does not exist"));
    let (code, key, _) = house.run(&["admin", "token", "create", "alice", "--comment", "laptop"]);
    let key = key.trim();
    assert_eq!((code, key.len()), (0, 64));
    let tokens = |house: &House| house.run(&["admin", "token", "list", "--username", "alice", "--yaml"]).1;
    assert!(tokens(&house).contains("comment: laptop\n") && tokens(&house).contains("enabled: true\n"));
    assert_eq!(house.run(&["admin", "token", "disable", key]).0, 0);
    assert!(tokens(&house).contains("enabled: false\n"));
    let (code, stdout, _) = house.run_with(&["admin", "token", "delete", "--token", key], "n\n");
    assert!(code == 0 && stdout.contains("Would you like to delete them? [yN] "), "{stdout}");
    assert!(tokens(&house).contains("comment: laptop\n"), "refused");
    assert_eq!(house.run(&["admin", "token", "delete", "--token", key, "--yes"]).0, 0);
    assert_eq!(tokens(&house), "[]\n\n");
    let (code, _, stderr) = house.run(&["admin", "token", "delete", "--username", "alice"]);
    assert_eq!((code, stderr.trim()), (3, "CommandError: There are no tokens to be deleted"));
    assert_eq!(house.run(&["admin", "token", "delete", "--username", "alice", "--force"]).0, 0);

    assert_eq!(house.run(&["admin", "check"]), all_well);
}

#[test]
fn an_administrator_submits_and_aborts() {
    let house = House::new();
    house.run(&["admin", "migrate"]);
    assert_eq!(house.run(&["admin", "work-request", "list", "--yaml"]).1, "[]\n\n");
    let created = house.run_with(&["admin", "work-request", "create", "worker", "noop"], "result: false\n");
    assert_eq!(created, (0, "---\nwork_request_id: 1\n\n".to_owned(), String::new()));
    let status = || {
        let (_, list, _) = house.run(&["admin", "work-request", "list", "--json"]);
        serde_json::from_str::<serde_json::Value>(&list).unwrap()[0]["status"].clone()
    };
    assert_eq!(status(), "pending");
    assert_eq!(house.run(&["admin", "work-request", "abort", "1"]), (0, String::new(), String::new()));
    assert_eq!(status(), "aborted");
    assert_eq!(house.run(&["admin", "work-request", "abort", "1"]).0, 3, "it has ended");
    let (code, _, stderr) = house.run(&["admin", "work-request", "abort", "2"]);
    assert_eq!((code, stderr.trim()), (3, "CommandError: WorkRequest 2 does not exist"));
    for (arguments, stdin, message) in [
        (&["worker", "nope"][..], "", "CommandError: Failed to create work request: there is no Worker task \"nope\""),
        (&["worker", "noop"], "colour: red", "CommandError: Failed to create work request: "),
        (&["worker", "noop", "--created-by", "bob"], "", "CommandError: User \"bob\" not found"),
        (&["worker", "noop", "--workspace", "x/y"], "", "CommandError: Scope 'x' not found"),
        (&["worker", "noop", "--workspace", "y"], "", "CommandError: Workspace 'y' not found in scope 'debusine'"),
    ] {
        let (code, _, stderr) = house.run_with(&[&["admin", "work-request", "create"], arguments].concat(), stdin);
        assert!(code == 3 && stderr.starts_with(message), "{arguments:?}: {stderr}");
    }
    assert_eq!(house.run(&["admin", "check"]).0, 0);
}

#[test]
fn an_administrator_manages_workers() {
    let house = House::new();
    house.run(&["admin", "migrate"]);
    let (code, key, _) = house.run(&["admin", "worker", "create", "w1.example.org"]);
    assert_eq!((code, key.trim().len()), (0, 64));
    let (_, workers, _) = house.run(&["admin", "worker", "list", "--json"]);
    let workers: serde_json::Value = serde_json::from_str(&workers).unwrap();
    let worker = workers.as_array().unwrap().iter().find(|worker| worker["name"] == "w1-example-org").unwrap();
    assert_eq!(worker["hash"], serde_json::Value::Null);

    let (code, _, stderr) = house.run(&["admin", "worker", "enable", "nobody"]);
    assert_eq!((code, stderr.trim()), (3, "CommandError: Worker not found"));
    let (code, _, stderr) = house.run(&["admin", "worker", "disable", "--worker-type", "signing", "w1-example-org"]);
    assert_eq!(
        (code, stderr.trim()),
        (4, "CommandError: Worker \"w1-example-org\" is of type \"external\", not \"signing\"")
    );
    assert_eq!(house.run(&["admin", "worker", "disable", "w1-example-org"]), (0, String::new(), String::new()));

    let metadata = house.write("metadata.yaml", "provided_tags: [fast]\n");
    let (code, stdout, _) = house.run(&["admin", "worker", "edit_metadata", "--set", &metadata, "w1-example-org"]);
    assert_eq!((code, stdout.as_str()), (0, "usine: metadata set for w1-example-org\n"));
    let empty = house.write("empty.yaml", "");
    let (code, _, stderr) = house.run(&["admin", "worker", "edit-metadata", "--set", &empty, "w1-example-org"]);
    assert_eq!((code, stderr.trim()), (3, "Error: file is empty"));
    let (code, _, stderr) = house.run(&["admin", "worker", "edit-metadata", "--set", &metadata, "nobody"]);
    assert!(code == 3 && stderr.starts_with("Error: worker \"nobody\" is not registered"), "{stderr}");
}

#[test]
fn an_old_schema_is_refused() {
    let house = House::new();
    house.write("usine.db", "");
    let (code, _, stderr) = house.run(&["admin", "user", "list"]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("SystemCheckError: Non-applied migration: "), "{stderr}");
    assert!(stderr.contains("usine admin migrate"), "{stderr}");
}

#[test]
fn the_doctor_looks_at_everything() {
    let house = House::new();
    let (code, stdout, _) = house.run(&["doctor", "--json"]);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    let errors = findings.iter().filter(|finding| finding["level"] == "error").count();
    assert_eq!(code, i32::from(errors > 0));
    for word in ["mmdebstrap", "newuidmap", "usine.db does not exist", "no usable configuration"] {
        assert!(findings.iter().any(|finding| finding["what"].as_str().unwrap().contains(word)), "{word}: {stdout}");
    }
    for finding in &findings {
        let is_well = finding["level"] == "ok";
        assert_eq!(finding["advice"].as_str().unwrap().is_empty(), is_well, "what is not well has advice: {finding}");
    }
}

#[test]
fn the_doctor_looks_at_a_part() {
    let house = House::new();
    house.run(&["admin", "migrate"]);
    let (code, stdout, _) = house.run(&["doctor", "--for", "server"]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.starts_with("Server:\n  ok       the database answers and its schema is up to date\n"), "{stdout}");
    house.write(DEBUSINE_FILE, CONFIG);
    let (code, stdout, _) = house.run(&["doctor", "--for", "client"]);
    assert!(code == 1 && stdout.contains("error    Error connecting to debusine: "), "{stdout}");
}

#[test]
fn the_published_schemas_are_those_of_the_tasks() {
    let house = House::new();
    assert_eq!(house.run(&["task", "schema", "--all", &house.path("schemas")]).0, 0);
    let read = |directory: &Path| -> BTreeMap<String, String> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect()
    };
    let published = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas"));
    let wanted = read(Path::new(&house.path("schemas")));
    let names: BTreeSet<&String> = published.keys().chain(wanted.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| published.get(*name) != wanted.get(*name)).collect();
    assert!(
        stale.is_empty(),
        "docs/schemas is out of date: {stale:?}. Renew it: \
         rm docs/schemas/*; cargo run --bin usine -- task schema --all docs/schemas"
    );
}

#[test]
fn shells_and_man_get_their_files() {
    let house = House::new();
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, _) = house.run(&["completions", shell]);
        assert!(code == 0 && stdout.contains("work-request"), "{shell}");
    }
    for (program, word) in
        [("debusine", "import-debian"), ("debusine-admin", "changepassword"), ("debusine-worker", "log-stderr")]
    {
        let (code, stdout, _) = house.run(&["completions", "bash", "--program", program]);
        assert!(code == 0 && stdout.contains(word), "{program}");
    }
    assert_eq!(house.run(&["man", &house.path("man")]).0, 0);
    for page in [
        "debusine",
        "debusine-work-request-create",
        "debusine-artifact-import-debian",
        "debusine-admin-group-members",
        "debusine-worker",
    ] {
        assert!(Path::new(&house.path(&format!("man/{page}.1"))).exists(), "{page}");
    }
    let page = std::fs::read_to_string(house.path("man/usine-work-request-wait.1")).unwrap();
    assert!(page.contains("timeout"), "{page}");
}
