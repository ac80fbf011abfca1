//! The flat names of older releases without `--yaml`: what the scripts of that time read.

use serde_json::{Value, json};

use crate::house::House;
use crate::packages;

fn data(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn work_requests_have_the_old_shapes() {
    let house = House::at_work();
    house.configure_debusine();
    assert_eq!(house.debusine("list-work-requests", "").success(), "results: []\n");
    let created = house.debusine("create-work-request noop", "result: true\n").success();
    let message = "'Work request registered: URL/debusine/System/work-request/1/'";
    assert_eq!(created.replace('"', "'"), format!("---\nresult: success\nmessage: {message}\nwork_request_id: 1\n"));
    house.wait(1, "success");

    let show = house.debusine("show-work-request 1", "").success();
    insta::assert_snapshot!("old-work-request-show", show);
    assert_eq!(data(&show)["task_data"], json!({"result": true}), "as it was submitted");
    let list = house.debusine("list-work-requests --limit 1", "").success();
    insta::assert_snapshot!("old-work-request-list", list);
    assert_eq!(data(&list)["results"][0]["artifacts"], json!([1]));

    // Times are times, and a text that looks like one stays a text.
    let raw = house.command("debusine", &["show-work-request", "1"]).output().unwrap();
    let raw = String::from_utf8(raw.stdout).unwrap();
    let native = regex::Regex::new(r"(?m)^created_at: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?\+00:00$").unwrap();
    assert!(native.is_match(&raw), "{raw}");
    let whole = regex::Regex::new(r"(?m)^duration: \d+$").unwrap();
    assert!(whole.is_match(&raw), "{raw}");
}

#[test]
fn refusals_of_that_time() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    // Creating something that the server refuses exits with status 0.
    let refused = house.debusine("create-work-request noop", "result: fine\n");
    assert_eq!(refused.code, Some(0), "{refused:?}");
    insta::assert_snapshot!("old-work-request-refused", refused.stdout);
    let nowhere = house.debusine("create-artifact debusine:test --workspace nowhere", "");
    assert_eq!(nowhere.code, Some(0), "{nowhere:?}");
    assert_eq!(data(&nowhere.stdout)["error"]["title"], "Workspace not found");
    // Everything else that fails exits with 3, and says on standard output what the server said.
    let unknown = house.debusine("show-work-request 99", "");
    unknown.assert_failed(3, &[], "an unknown work request");
    let error = json!({"title": "Error", "detail": "No WorkRequest matches the given query."});
    assert_eq!(data(&unknown.stdout), json!({"result": "failure", "error": error}));
    house.debusine("show-artifact 99", "").assert_failed(3, &["result: failure"], "an unknown artifact");

    // The line that ends what was typed comes as soon as it was read.
    let empty = house.debusine("create-work-request noop", "");
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(3), "---\n"));
    assert_eq!(empty.stderr.trim(), "Error: data must be a dictionary. It is empty");
    let list = house.debusine("create-work-request noop --data -", "- a\n");
    assert_eq!((list.code, list.stdout.as_str()), (Some(3), "---\n"));
    assert_eq!(list.stderr.trim(), "Error: data must be a dictionary. It is: list");
    house.debusine("manage-work-request 1", "").assert_failed(3, &["Error: no changes specified"], "no changes");
    assert_eq!(house.json(&["work-request", "list"]), json!([]));
}

#[test]
fn artifacts_have_the_old_shapes() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    for name in ["a.txt", "b/c.log"] {
        house.write(&format!("files/{name}"), "hello\n", 0o644);
    }
    let base = house.path().join("files");
    let arguments =
        ["create-artifact", "debusine:test", "--workspace", "System", "--data", "-", "--upload-base-directory"];
    let arguments = [&arguments[..], &[base.to_str().unwrap(), "--upload", "a.txt", "b/c.log"]].concat();
    insta::assert_snapshot!("old-artifact-create", house.run_as("debusine", &arguments, "{}").success());
    insta::assert_snapshot!("old-artifact-show", house.debusine("show-artifact 1", "").success());

    let target = house.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let download = house.debusine("download-artifact --target-directory target 1", "");
    assert_eq!((download.code, download.stdout.as_str()), (Some(0), ""), "{download:?}");
    assert_eq!(std::fs::read_to_string(target.join("b/c.log")).unwrap(), "hello\n");
    house.debusine("download-artifact --target-directory nowhere 1", "").assert_failed(
        3,
        &["Error: Cannot write to nowhere"],
        "no directory",
    );
}

#[test]
fn uploads_are_imported_as_of_old() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    let made = packages::make(house.path());
    let import = |path: &str| house.run_as("debusine", &["import-debian-artifact", "--workspace", "System", path], "");
    let imported = import(made.changes.to_str().unwrap()).success();
    insta::assert_snapshot!("old-import", imported);
    let relations = house.debusine("show-artifact-relations 1", "").success();
    insta::assert_snapshot!("old-relations", relations);
    let part = data(&imported)["extends"][0]["artifact_id"].to_string();
    let reverse = house.debusine(&format!("show-artifact-relations --reverse {part}"), "").success();
    assert_eq!(data(&reverse).as_array().unwrap().len(), 2, "{reverse}");

    house.write("notes.txt", "hello\n", 0o644);
    let wrong = import("notes.txt");
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    let error = data(&wrong.stdout);
    assert_eq!(error["result"], "failure");
    let text = "Only source packages (.dsc), binary packages (.deb), and source/binary uploads (.changes) can be directly \
                imported with this command.";
    assert!(error["error"].as_str().unwrap().starts_with(text), "{error}");
    let nowhere =
        house.run_as("debusine", &["import-debian-artifact", "--workspace=x", made.deb.to_str().unwrap()], "");
    assert_eq!((nowhere.code, &data(&nowhere.stdout)["error"]["title"]), (Some(3), &json!("Workspace not found")));
}

#[test]
fn the_old_names_change_work_requests() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    house.debusine("create-work-request noop --data {}", "").assert_failed(2, &["can't open '{}'"], "no file");
    house.debusine("create-work-request noop", "{}\n").success();
    let quiet = |line: &str| assert_eq!(house.debusine(line, "").success(), "", "{line}");
    quiet("manage-work-request 1 --set-priority-adjustment -5");
    assert_eq!(house.show(1)["priority_adjustment"], -5);
    quiet("abort-work-request 1");
    assert_eq!(house.status(1), "aborted");
    quiet("retry-work-request 1");
    assert_eq!(house.status(2), "pending");
}

#[test]
fn a_script_may_end_who_listens() {
    let house = House::at_work();
    house.configure_debusine();
    house.write("stop", "#!/bin/sh\necho \"$@\" > heard\nkill $PPID\n", 0o755);
    let arguments = ["on-work-request-completed", "--last-completed-at", "last", "./stop", "-x"];
    let mut listener = house.command("debusine", &arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(listener.stderr.take().unwrap()));
    assert_eq!(said.next().unwrap().unwrap(), "Connected");
    house.noop("success");
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_to_string(house.path().join("heard")).unwrap(), "-x 1 success\n");
}
