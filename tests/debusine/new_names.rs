//! Today's names, and the older ones with `--yaml`: what people see and programs read.

use serde_json::{Value, json};

use crate::house::House;
use crate::support::keys;

fn data(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn work_requests_have_todays_shapes() {
    let house = House::at_work();
    house.configure_debusine();
    assert_eq!(house.debusine("work-request list --yaml", "").success(), "[]\n");
    let created = house.debusine("work-request create noop --yaml -w System", "result: success\n").success();
    assert!(created.starts_with("---\nlinks:\n"), "{created}");
    house.wait(1, "success");
    let created = data(&created);
    let shown = house.debusine("work-request show 1 --yaml", "").success();
    insta::assert_snapshot!("work-request-show", shown);
    let shown = data(&shown);
    assert_eq!(keys(&shown), keys(&created));
    assert_eq!(keys(&shown).last(), Some(&"token"), "nothing that debusine's client does not have");

    // Another spelling, the same output.
    assert_eq!(data(&house.debusine("show-work-request --yaml 1", "").success()), shown);
    let list = data(&house.debusine("list-work-requests --yaml --limit 5", "").success());
    assert_eq!((keys(&list[0]), &list[0]["artifacts"]), (keys(&created), &json!([1])));

    let people = house.debusine("work-request create noop", "").success();
    assert!(people.starts_with("Work request started:\n\n") && people.contains("ID:   #2 URL/"), "{people}");
    assert!(house.debusine("work-request show 1", "").success().contains("Status:   completed success"));
    assert!(house.debusine("work-request list", "").success().contains("#1 │ Worker noop"));
}

#[test]
fn what_the_server_says_is_printed_with_its_title() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    let nowhere = house.debusine("work-request create noop -w nowhere", "");
    assert_eq!(nowhere.code, Some(3), "{nowhere:?}");
    assert_eq!(nowhere.stdout, "Error: Workspace not found\nWorkspace nowhere not found in scope debusine\n");
    let unknown = house.debusine("work-request show 99", "");
    assert_eq!(
        (unknown.code, unknown.stdout.as_str()),
        (Some(3), "Error: Error\nNo WorkRequest matches the given query.\n")
    );
    let wrong = house.debusine("work-request create noop", "result: fine\n");
    assert_eq!(wrong.code, Some(3), "{wrong:?}");
    insta::assert_snapshot!("refused", wrong.stdout);
    for line in ["work-request create noop --yaml", "create-work-request noop --yaml"] {
        let wrong = house.debusine(line, "result: fine\n");
        assert_eq!(wrong.code, Some(3), "{line}: {wrong:?}");
        assert_eq!(data(&wrong.stdout)["error"]["title"], "Cannot create work request", "{line}");
    }
    // The workspace of the section's name, as in debusine.
    let text = std::fs::read_to_string(house.path().join("client.ini")).unwrap();
    let text = text.replace("[server:test]", "[server:localhost]");
    house.write("localhost.ini", &text, 0o600);
    let create = ["--config-file", "localhost.ini", "--server", "localhost", "work-request", "create", "noop"];
    let playground = house.run_as("debusine", &create, "");
    playground.assert_failed(3, &["Workspace Playground not found in scope debusine"], "the known server's workspace");
}

#[test]
fn artifacts_have_todays_shapes() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    house.write("a.txt", "hello\n", 0o644);
    house.write("d.yaml", "{}\n", 0o644);
    let created = house.debusine("artifact create debusine:test --data d.yaml --upload a.txt", "").success();
    insta::assert_snapshot!("artifact-create", created);
    let piped = house.debusine("artifact create debusine:test --data - --expire-at 2027-01-31", "{}").success();
    assert!(piped.starts_with("---\nresult: success\n"), "{piped}");
    insta::assert_snapshot!("artifact-show", house.debusine("artifact show 1", "").success());
    assert_eq!(house.debusine("artifact show-relations 1", "").success(), "[]\n");
    house.debusine("artifact download 1 --tarball", "").success();
    assert!(house.path().join("artifact-1.tar.gz").exists());
}
