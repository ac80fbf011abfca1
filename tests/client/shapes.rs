//! What programs read: YAML and JSON of the client, in the keys of Debian's client.

use serde_json::Value;

use crate::house::House;
use crate::support::keys;

#[test]
fn programs_read_work_requests_and_artifacts() {
    let house = House::at_work();
    let created = house.client_with(&["work-request", "create", "noop", "--yaml"], "result: error\n");
    assert!(created.starts_with("---\n"), "data and output may be on one terminal: {created}");
    assert_eq!(house.wait_code(1), 12);
    let shown = house.client(&["work-request", "show", "1", "--yaml"]);
    insta::assert_snapshot!("work-request-show", house.redact(&shown));
    let from_yaml: Value = serde_saphyr::from_str(&shown).unwrap();
    assert_eq!(from_yaml, house.show(1), "YAML and JSON say the same");
    let created: Value = serde_saphyr::from_str(&created).unwrap();
    assert_eq!(keys(&created), keys(&from_yaml)[..keys(&created).len()]);
    assert_eq!(keys(&from_yaml).last(), Some(&"details"));

    let list = house.json(&["work-request", "list"]);
    assert_eq!(keys(&list[0]), keys(&created));
    assert_eq!(list[0]["artifacts"], serde_json::json!([1]), "in lists they are numbers");
    let listed: Value = serde_saphyr::from_str(&house.client(&["work-request", "list", "--yaml"])).unwrap();
    assert_eq!(listed, list);

    let artifact = house.client(&["artifact", "show", "1"]);
    assert_eq!(serde_saphyr::from_str::<Value>(&artifact).unwrap(), from_yaml["artifacts"][0]);
    assert_eq!(house.json(&["artifact", "list", "--work-request", "1"])[0], from_yaml["artifacts"][0]);

    // Errors of the server are in the format asked for, on standard output.
    let refused = house.try_client(&["work-request", "create", "noop", "--yaml"], "result: fine\n");
    assert_eq!(refused.code, Some(3));
    insta::assert_snapshot!("refused", refused.stdout);
    let json = house.try_client(&["work-request", "create", "noop", "--json"], "result: fine\n");
    assert_eq!(
        serde_json::from_str::<Value>(&json.stdout).unwrap(),
        serde_saphyr::from_str::<Value>(&refused.stdout).unwrap()
    );
}
