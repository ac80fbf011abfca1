//! `debusine-admin`: a site is set up with the command lines of the guides, under the old names and the new.

use crate::house::House;
use crate::support::Outcome;

impl House {
    /// `debusine-admin` with this line of arguments.
    fn debusine_admin(&self, line: &str, stdin: &str) -> Outcome {
        let mut command = self.command("debusine-admin", &line.split(' ').collect::<Vec<_>>());
        command.env("USINE_CONFIG", self.path().join("server.toml"));
        self.end_of(command, stdin)
    }
}

/// What a command says that succeeds, and says nothing else.
fn done(house: &House, line: &str) -> String {
    let outcome = house.debusine_admin(line, "");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{line}: {outcome:?}");
    outcome.stdout
}

#[test]
fn a_site_is_set_up_as_the_guides_say() {
    let house = House::new(None);
    assert_eq!(done(&house, "migrate"), "No migrations to apply.\n");
    assert_eq!(done(&house, "check"), "System check identified no issues (0 silenced).\n");
    let made = house.debusine_admin("create_user test-user email@example.com", "");
    assert!(made.stderr.contains("`create_user` is an old name: use `debusine-admin user create`"), "{made:?}");
    assert_eq!(made.success().trim_end_matches('\n').chars().count(), 16);
    assert_eq!(done(&house, "create_token test-user --comment laptop"), "HASH\n", "64 hexadecimal digits");
    for _ in 0..2 {
        for line in [
            "group create debusine/Admins",
            "workspace grant_role debusine/System owner Admins",
            "group members debusine/Admins --add test-user",
            "workspace create debusine/sid Admins --public -v 2",
            "scope create other --with-owners-group",
        ] {
            assert_eq!(done(&house, line), "", "{line}");
        }
    }
    assert_eq!(done(&house, "worker create worker2.example.org"), "HASH\n");
    assert_eq!(
        done(&house, "list_tokens --username test-user --yaml"),
        "- comment: laptop\n  created: TIME\n  enabled: true\n  expires: null\n  hash: HASH\n  user: test-user\n\n"
    );
    assert_eq!(
        done(&house, "workspace list --yaml"),
        "- expiration: Never\n  name: debusine/System\n  public: true\n\
         - expiration: 30\n  name: debusine/sid\n  public: true\n\n"
    );
    assert_eq!(done(&house, "workspace list_roles debusine/System --yaml"), "- group: Admins\n  role: owner\n\n");
    assert_eq!(
        done(&house, "group members debusine/Admins --yaml"),
        "- date_joined: TIME\n  email: email@example.com\n  role: member\n  username: test-user\n\n"
    );
    assert_eq!(done(&house, "workspace revoke_role debusine/System owner Admins"), "");
    assert_eq!(done(&house, "workspace list_roles debusine/System --yaml"), "[]\n\n");
    let table = done(&house, "group list debusine");
    assert!(table.contains("Workspace") && table.contains("Admins") && table.contains('═'), "{table}");
    let info = done(&house, "info");
    assert!(info.contains("DEBUSINE_FQDN") && info.contains("ALLOWED_HOSTS"), "{info}");
}

#[test]
fn old_names_do_the_same_and_say_the_new_ones() {
    let house = House::new(None);
    house.write("metadata.yaml", "provided_tags: [big]\n", 0o644);
    for (old, new) in [
        ("list_users --yaml", "user list --yaml"),
        ("list_workers --yaml", "worker list --yaml"),
        ("manage_user change-email alice a@example.org", "user change-email alice a@example.org"),
        ("manage_worker disable worker-example-org", "worker disable worker-example-org"),
        (
            "edit_worker_metadata --set metadata.yaml worker-example-org",
            "worker edit_metadata --set metadata.yaml worker-example-org",
        ),
    ] {
        let outcome = house.debusine_admin(old, "");
        assert!(outcome.stderr.starts_with("warning: `"), "{outcome:?}");
        assert!(outcome.stderr.contains("is an old name: use `debusine-admin "), "{outcome:?}");
        assert_eq!(outcome.success(), done(&house, new), "{old}");
    }
    let edited = done(&house, "worker edit_metadata --set metadata.yaml worker-example-org");
    assert_eq!(edited, "debusine: metadata set for worker-example-org\n");
}

#[test]
fn work_requests_tokens_and_passwords() {
    let house = House::new(None);
    let created = house.debusine_admin("create_work_request worker noop --created-by alice", "{}\n");
    assert_eq!(created.success(), "---\nwork_request_id: 1\n\n");
    let listed = done(&house, "list_work_requests --yaml");
    assert_eq!(
        listed,
        "- completed_at: null\n  created_at: TIME\n  id: 1\n  result: \"\"\n  started_at: null\n  status: pending\n  \
         worker: null\n\n"
    );
    let changed = house.debusine_admin("changepassword alice", "correct horse\n");
    assert_eq!(changed.success(), "Password changed successfully for user 'alice'\n");
    let made = house.debusine_admin("createsuperuser --username root --email root@example.org", "correct horse\n");
    assert_eq!(made.success(), "Superuser created successfully.\n");
    assert_eq!(done(&house, "clearsessions"), "");

    let kept = house.debusine_admin("delete_tokens --username alice", "n\n").success();
    assert!(kept.ends_with("Would you like to delete them? [yN] "), "{kept}");
    assert_eq!(done(&house, "delete_tokens --username alice --yes"), "");
    assert_eq!(done(&house, "list_tokens --username alice --yaml"), "[]\n\n");
    assert_eq!(done(&house, "delete_tokens --username alice --force"), "There are no tokens to be deleted\n");
}

#[test]
fn faults_have_debusines_texts_and_exit_codes() {
    let house = House::new(None);
    for (line, code, text) in [
        ("frobnicate --all", 1, "Unknown command: 'frobnicate'\n"),
        ("create_token nobody", 3, "CommandError: Cannot create token: \"nobody\" does not exist\n"),
        ("delete_tokens --username nobody", 3, "CommandError: There are no tokens to be deleted\n"),
        ("user change-email nobody a@example.org", 3, "CommandError: Username \"nobody\" not found\n"),
        ("user create alice new@example.org", 3, "CommandError: A user with this username or email already exists\n"),
        ("worker enable nobody", 3, "CommandError: Worker not found\n"),
        (
            "worker disable --worker-type signing worker-example-org",
            4,
            "CommandError: Worker \"worker-example-org\" is of type \"external\", not \"signing\"\n",
        ),
        ("worker edit_metadata --set /nonexistent nobody", 3, "Error: worker \"nobody\" is not registered\n"),
        ("workspace define debusine/sid", 3, "Error: owners_group is required when creating workspace\n"),
        (
            "workspace grant_role debusine/System owner Nobody",
            3,
            "CommandError: Group 'Nobody' not found in scope 'debusine'\n",
        ),
        ("create_work_request worker noop --created-by nobody", 3, "CommandError: User \"nobody\" not found\n"),
        ("create_work_request worker noop --data /nonexistent", 3, "CommandError: Can't read '/nonexistent': "),
        ("create_work_request worker nothing", 3, "CommandError: Failed to create work request: "),
        ("create_collection sid debian:suite", 3, "CommandError: `debusine-admin create_collection` is not there yet"),
        ("shell -c 1", 3, "CommandError: `debusine-admin shell` is not there yet"),
    ] {
        let outcome = house.debusine_admin(line, "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{line}: {outcome:?}");
        assert!(outcome.stderr.starts_with(text), "{line}: {outcome:?}");
    }
    let broken = house.debusine_admin("create_work_request worker noop", "a: [");
    assert!(broken.stderr.starts_with("CommandError: Error parsing YAML: "), "{broken:?}");
    assert_eq!(broken.code, Some(3));
    for line in ["user", "create_token", "workspace grant_role debusine/System", "worker create"] {
        let outcome = house.debusine_admin(line, "");
        assert_eq!(outcome.code, Some(2), "{line}: {outcome:?}");
        assert!(outcome.stderr.contains("Usage: "), "{line}: {outcome:?}");
    }
    for line in ["help", "--help", "help user", "--version"] {
        assert!(!done(&house, line).is_empty(), "{line}");
    }

    house.write("server.toml", "colour = 1\n", 0o600);
    let improper = house.debusine_admin("user list", "");
    assert!(improper.stderr.starts_with("Improperly configured error: "), "{improper:?}");
    assert_eq!(improper.code, Some(3));
}

#[test]
fn a_database_that_is_not_ready_is_told() {
    let house = House::new(None);
    let elsewhere = house.path().join("elsewhere");
    let data = format!("data-directory = {elsewhere:?}\n");
    house.write("server.toml", &data, 0o600);
    let outcome = house.debusine_admin("user list", "");
    outcome.assert_failed(3, &["CommandError: Database error: ", "`debusine-admin migrate` makes it"], "no database");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("usine.db"), "").unwrap();
    for line in ["user list", "check"] {
        let outcome = house.debusine_admin(line, "");
        let words = ["SystemCheckError: Non-applied migration: m2026", "Run \"debusine-admin migrate\""];
        outcome.assert_failed(1, &words, line);
    }
    assert!(house.debusine_admin("migrate", "").success().contains("Applied m2026"));
    assert_eq!(done(&house, "user list --yaml"), "[]\n\n");
}
