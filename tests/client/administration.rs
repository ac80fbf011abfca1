//! What administrators do: tokens on a running server; scopes, workspaces, groups and users of a site.

use serde_json::Value;

use crate::house::House;

#[test]
fn a_disabled_token_is_refused_at_once() {
    let mut house = House::new(None);
    house.start_server();
    let id = house.noop("success").to_string();
    let tokens = house.admin(&["token", "list", "--username", "alice", "--json"]);
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let hash = tokens[0]["hash"].as_str().unwrap();

    house.admin(&["token", "disable", hash]);
    let before: Value = serde_json::from_str(&house.admin(&["work-request", "list", "--json"])).unwrap();
    for arguments in [
        &["work-request", "list"][..],
        &["work-request", "show", &id],
        &["work-request", "create", "noop"],
        &["work-request", "abort", &id],
        &["work-request", "wait", &id],
        &["work-request", "logs", &id],
        &["artifact", "create", "debusine:test"],
    ] {
        let words = ["Error (403): ", "credentials were not provided", "unknown, disabled or expired"];
        house.refuses(arguments, "", &words);
    }
    let after: Value = serde_json::from_str(&house.admin(&["work-request", "list", "--json"])).unwrap();
    assert_eq!(after, before);

    house.admin(&["token", "enable", hash]);
    assert_eq!(house.status(1), "pending");

    // A second token, until it is deleted.
    let key = house.admin(&["token", "create", "alice", "--comment", "laptop"]);
    let config = std::fs::read_to_string(house.path().join("client.ini")).unwrap();
    let old = config.lines().find(|line| line.starts_with("token = ")).unwrap();
    house.write("client.ini", &config.replace(old, &format!("token = {}", key.trim())), 0o600);
    assert_eq!(house.status(1), "pending");
    house.admin(&["token", "delete", "--token", key.trim(), "--yes"]);
    house.refuses(&["work-request", "list"], "", &["unknown, disabled or expired"]);

    // One that was never there.
    house.write("client.ini", &config.replace(old, "token = 0000"), 0o600);
    house.refuses(&["work-request", "list"], "", &["unknown, disabled or expired"]);
    house.admin(&["check"]);
}

/// An administrator's command, as a line.
fn admin(house: &House, line: &str) -> String {
    house.redact(&house.admin(&line.split(' ').collect::<Vec<_>>()))
}

/// One that must fail with exit code 3 and these words.
fn refuses(house: &House, line: &str, words: &[&str]) {
    let outcome = house.try_admin(&line.split(' ').collect::<Vec<_>>(), "");
    outcome.assert_failed(3, &[&["CommandError: "], words].concat(), line);
}

#[test]
fn a_site_is_set_up() {
    let house = House::new(None);
    for line in [
        "scope create kali --with-owners-group --label Kali-Linux --private",
        "scope create kali --icon dragon",
        "group create kali/Builders",
        "workspace define kali/rolling Builders --default-expiration-delay 7",
        "group create kali/rolling/Guests",
        "workspace grant-role kali/rolling viewer Owners",
        "scope grant-role kali observer Builders",
        "workspace inheritance kali/rolling --set debusine/System",
    ] {
        for _ in 0..2 {
            assert_eq!(admin(&house, line), "", "{line}");
        }
    }
    let password = admin(&house, "user create bob bob@example.org --group kali/Builders --group kali/rolling/Guests");
    assert_eq!(password.trim_end().len(), 16, "{password}");
    assert_eq!(admin(&house, "group members kali/rolling/Guests --add bob alice --role admin"), "");

    assert_eq!(
        admin(&house, "scope list --yaml"),
        "- label: Debusine\n  name: debusine\n  public: true\n- label: Kali-Linux\n  name: kali\n  public: false\n\n"
    );
    assert_eq!(
        admin(&house, "scope show kali --yaml"),
        "- backend: Local\n  file_store: Default\n  label: Kali-Linux\n  name: kali\n  public: false\n\n"
    );
    assert_eq!(
        admin(&house, "workspace list --yaml"),
        "- expiration: Never\n  name: debusine/System\n  public: true\n\
         - expiration: 7\n  name: kali/rolling\n  public: false\n\n"
    );
    assert_eq!(
        admin(&house, "workspace list-roles kali/rolling --yaml"),
        "- group: Builders\n  role: owner\n- group: Owners\n  role: viewer\n\n"
    );
    assert_eq!(
        admin(&house, "scope list-roles kali --yaml"),
        "- group: Builders\n  role: observer\n- group: Owners\n  role: owner\n\n"
    );
    let group = |name: &str, workspace: &str, users: i64| {
        format!("- group: {name}\n  scope: kali\n  users: {users}\n  workspace: {workspace}\n")
    };
    let of_scope = group("Builders", "null", 1) + &group("Members", "null", 2) + &group("Owners", "null", 0);
    let all = format!("{of_scope}{}\n", group("Guests", "rolling", 2));
    assert_eq!(admin(&house, "group list kali --yaml"), all);
    assert_eq!(admin(&house, "group list kali --no-workspace --yaml"), of_scope + "\n");
    let member = |name: &str, role: &str| {
        format!("- date_joined: TIME\n  email: {name}@example.org\n  role: {role}\n  username: {name}\n")
    };
    let guests = member("alice", "admin") + &member("bob", "admin") + "\n";
    assert_eq!(admin(&house, "group members kali/rolling/Guests --yaml"), guests);
    assert_eq!(admin(&house, "workspace inheritance kali/rolling --yaml"), "- name: debusine/System\n\n");
    house.admin(&["check"]);
}

#[test]
fn what_is_set_up_changes() {
    let house = House::new(None);
    let members = |group: &str| {
        let list = admin(&house, &format!("group members {group} --json"));
        let list: Vec<Value> = serde_json::from_str(&list).unwrap();
        list.iter().map(|row| format!("{} {}", row["username"], row["role"]).replace('"', "")).collect::<Vec<_>>()
    };
    admin(&house, "user create bob bob@example.org");
    for (line, expected) in [
        ("group create debusine/Team", vec![]),
        ("group members debusine/Team --add bob --role admin", vec!["bob admin"]),
        ("group members debusine/Team --add bob alice", vec!["alice member", "bob admin"]),
        ("group members debusine/Team --set bob", vec!["bob member"]),
        ("group members debusine/Team --remove alice bob", vec![]),
        ("group members debusine/Team --set alice bob", vec!["alice member", "bob member"]),
        ("group members debusine/Members --remove bob", vec!["alice member"]),
        ("group members debusine/Team --set", vec![]),
    ] {
        assert_eq!(admin(&house, line), "", "{line}");
        assert_eq!(members("debusine/Team"), expected, "{line}");
    }
    for line in [
        "group rename debusine/Team Crew",
        "group delete debusine/Crew",
        "group delete debusine/Crew",
        "workspace rename debusine/System Base",
        "workspace define debusine/Base --private",
        "scope rename debusine ours",
        "user change-email bob robert@example.org",
        "user permission grant bob manage_workerpools",
    ] {
        assert_eq!(admin(&house, line), "", "{line}");
    }
    assert_eq!(admin(&house, "workspace list ours --json").matches("ours/Base").count(), 1);
    assert!(admin(&house, "user list").contains("robert@example.org"));
    assert_eq!(admin(&house, "user permission list bob --yaml"), "- permission: manage_workerpools\n\n");
    admin(&house, "user permission revoke bob manage_workerpools");
    assert_eq!(admin(&house, "user permission list bob --yaml"), "[]\n\n");

    let log: Vec<Value> = serde_json::from_str(&admin(&house, "audit-log --json --limit 3")).unwrap();
    let told: Vec<_> =
        log.iter().map(|row| (row["subject"].as_str().unwrap(), row["changes"]["type"].as_str())).collect();
    assert_eq!(told, [("ours", Some("update")), ("debusine/Base", Some("update")), ("debusine/Base", Some("update"))]);
    assert!(log.iter().all(|row| row["actor"] == "_system"), "{log:?}");
    let log: Vec<Value> = serde_json::from_str(&admin(&house, "audit-log ours/Owners --json")).unwrap();
    assert!(log.iter().any(|row| row["changes"]["user"] == "alice"), "{log:?}");
}

#[test]
fn passwords_are_typed_given_or_made_up() {
    let house = House::new(None);
    let set = |text: &str| house.try_admin(&["user", "change-password", "alice"], text);
    set("short\n").assert_failed(3, &["at least 8 characters"], "a short one");
    set("").assert_failed(3, &["the password is empty"], "none");
    assert_eq!(set("correct horse\n").success(), "");
    let random = admin(&house, "user change-password alice --random");
    assert_eq!(random.trim_end().len(), 16, "{random}");
    refuses(&house, "user change-password _system --random", &["Username \"_system\" not found"]);
}

#[test]
fn a_user_who_is_kept_out_is_nobody() {
    let mut house = House::new(None);
    house.start_server();
    house.noop("success");
    admin(&house, "user disable alice");
    let created = house.try_client(&["work-request", "create", "noop"], "");
    assert_eq!(created.code, Some(3), "{created:?}");
    admin(&house, "user enable alice");
    assert_eq!(house.noop("success"), 2);
}

#[test]
fn what_is_not_there_or_not_possible_is_told() {
    let house = House::new(None);
    for (line, words) in [
        ("scope create api", &["New scope would be invalid:\n* name: "][..]),
        ("scope create kali --file-store S3", &["File store 'S3' not found"]),
        ("scope rename nowhere kali", &["Scope 'nowhere' not found"]),
        ("scope rename debusine api", &["Renamed scope would be invalid:\n* name: "]),
        ("workspace list nowhere", &["Scope 'nowhere' not found"]),
        ("workspace list-roles System", &["scope_workspace 'System' should be in the form 'scopename/workspacename'"]),
        ("workspace list-roles debusine/sid", &["Workspace 'sid' not found in scope 'debusine'"]),
        ("workspace define debusine/user Owners", &["New workspace would be invalid:\n* name: "]),
        ("workspace rename debusine/System user", &["Renamed workspace would be invalid:\n* name: "]),
        ("workspace grant-role debusine/System owner Owners Nobody", &["Group 'Nobody' not found in scope 'debusine'"]),
        (
            "workspace grant-role debusine/System king Owners",
            &["Error assigning role: 'king'", "viewer, contributor, owner"],
        ),
        ("workspace inheritance debusine/System --set debusine/System", &["contains the workspace itself"]),
        ("group create debusine", &["argument 'debusine' should be in the form 'scopename[/workspacename]/groupname'"]),
        ("group create debusine/1a", &["Created group would be invalid:\n* name: "]),
        ("group delete debusine/Members", &["the system's own"]),
        ("group rename debusine/Owners Members", &["Renamed group would be invalid:\n* name: "]),
        ("group members debusine/Nobody", &["Group 'Nobody' not found in scope 'debusine'"]),
        ("group members debusine/System/Nobody", &["Group 'Nobody' not found in workspace 'debusine/System'"]),
        ("group members debusine/Owners --add bob carol", &["User 'bob' does not exist\nUser 'carol' does not exist"]),
        ("user create alice new@example.org", &["A user with this username or email already exists"]),
        ("user create bob bob@example.org --group debusine/Nobody", &["Group 'Nobody' not found"]),
        ("user change-email bob bob@example.org", &["Username \"bob\" not found"]),
        ("user change-email alice nowhere", &["Error changing email: "]),
    ] {
        refuses(&house, line, words);
    }
    let outcome = house.try_admin(&["workspace", "define", "debusine/sid"], "");
    outcome.assert_failed(3, &["Error: owners_group is required when creating workspace"], "no owners");
    let users: Value = serde_json::from_str(&admin(&house, "user list --json")).unwrap();
    assert_eq!(users.as_array().unwrap().len(), 1, "nobody is made in vain");
    assert_eq!(admin(&house, "scope list --json").matches("name").count(), 1);
    assert_eq!(admin(&house, "group members debusine/Owners --json").matches("username").count(), 1);
}
