//! Artifacts: imported from Debian's files, created, listed, shown, downloaded.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::house::{House, architecture, assert_same};
use crate::packages;
use crate::support::{ids, keys};

#[test]
fn debian_packages_are_imported() {
    let mut house = House::new(None);
    house.start_server();
    let made = packages::make(house.path());
    let import = |file: &Path| house.json(&["artifact", "import", file.to_str().unwrap()]);
    let show = |id: &Value| house.json(&["artifact", "show", &id.to_string()]);

    let source = import(&made.dsc);
    assert_eq!(keys(&source), ["result", "message", "artifact_id"]);
    assert_eq!(source["result"], "success");
    let url = format!("New artifact created: {}/debusine/System/artifact/1/", house.url());
    assert_eq!(source["message"], json!(url));
    let source = show(&source["artifact_id"]);
    assert_eq!(source["category"], "debian:source-package");
    let data = &source["data"];
    assert_eq!((&data["name"], &data["version"], &data["type"]), (&json!("tiny"), &json!("1.0"), &json!("dpkg")));
    assert_eq!(data["dsc_fields"]["Source"], "tiny");
    assert_eq!(keys(&source["files"]), ["tiny_1.0.dsc", "tiny_1.0.tar.xz"]);
    assert_eq!(source["files_to_upload"], json!([]), "all files have come");

    // As with debusine's address of a local file.
    let deb = house.json(&["artifact", "import-debian", &format!("file://{}", made.deb.display())]);
    let deb = show(&deb["artifact_id"]);
    assert_eq!(deb["category"], "debian:binary-package");
    assert_eq!(deb["data"]["srcpkg_name"], "tiny");
    assert_eq!(deb["data"]["deb_fields"]["Package"], "tiny-doc");
    assert_eq!(keys(&deb["files"]), ["tiny-doc_1.0_all.deb"]);

    let upload = import(&made.changes);
    assert_eq!(keys(&upload), ["result", "message", "artifact_id", "extends", "relates_to"]);
    assert_eq!(upload["extends"], upload["relates_to"]);
    let parts: Vec<&Value> = upload["extends"].as_array().unwrap().iter().map(|part| &part["artifact_id"]).collect();
    let categories: Vec<String> = parts.iter().map(|id| show(id)["category"].as_str().unwrap().to_owned()).collect();
    assert_eq!(categories, ["debian:source-package", "debian:binary-package", "debian:binary-package"]);
    let id = &upload["artifact_id"];
    let upload = show(id);
    assert_eq!(upload["category"], "debian:upload");
    let architectures = upload["data"]["changes_fields"]["Architecture"].as_str().unwrap();
    let mut architectures: Vec<&str> = architectures.split(' ').collect();
    let own = architecture();
    let mut expected = ["all", &own, "source"];
    architectures.sort_unstable();
    expected.sort_unstable();
    assert_eq!(architectures, expected);
    assert!(upload["files"].as_object().unwrap().contains_key("tiny_1.0_multi.changes"));

    let relations = |arguments: &[&str]| {
        let text = house.client(&[&["artifact", "show-relations"], arguments].concat());
        let list: Vec<Value> = serde_saphyr::from_str(&text).unwrap();
        list.iter().map(|one| (one["artifact"].clone(), one["target"].clone(), one["type"].clone())).collect::<Vec<_>>()
    };
    let expected: Vec<_> = parts
        .iter()
        .flat_map(|part| ["extends", "relates-to"].map(|kind| (id.clone(), (*part).clone(), json!(kind))))
        .collect();
    assert_eq!(relations(&[&id.to_string()]), expected);
    assert_eq!(relations(&["--reverse", &parts[1].to_string()]), expected[2..4]);

    assert_eq!(ids(&house.json(&["artifact", "list"])), [6, 5, 4, 3, 2, 1]);
    assert_eq!(ids(&house.json(&["artifact", "list", "--limit", "2"])), [6, 5]);
    assert_eq!(ids(&house.json(&["artifact", "list", "--category", "debian:upload"])), [3]);
    let table = house.client(&["artifact", "list"]);
    assert!(table.contains("#3 │ debian:upload         │ System    │"), "{table}");

    // The same again is another artifact of the same files.
    let again = import(&made.dsc);
    assert_eq!(
        show(&again["artifact_id"])["files"]["tiny_1.0.dsc"]["checksums"],
        source["files"]["tiny_1.0.dsc"]["checksums"]
    );
    house.admin(&["check"]);
}

#[test]
fn files_come_back_as_they_went() {
    let mut house = House::new(None);
    house.start_server();
    let base = house.path().join("base");
    house.write("base/notes.txt", "hello\n", 0o644);
    house.write("base/logs/empty", "", 0o644);
    house.write("base/logs/with space ä.log", "x\n", 0o644);
    let base_text = base.to_str().unwrap();
    let names = ["logs/empty", "logs/with space ä.log", "notes.txt"];
    let create =
        ["artifact", "create", "debusine:test", "--data", "-", "--upload-base-directory", base_text, "--upload"];
    let created = house.client_with(&[&create[..], &names].concat(), "any: thing\n");
    let created: Value = serde_saphyr::from_str(&created).unwrap();
    assert_eq!(keys(&created), ["result", "message", "artifact_id", "files_to_upload", "expire_at"]);
    assert_eq!(created["files_to_upload"], 2, "an empty file need not be uploaded");
    let id = created["artifact_id"].to_string();
    let shown = house.json(&["artifact", "show", &id]);
    assert_eq!(shown["data"], json!({"any": "thing"}));
    assert_eq!(keys(&shown["files"]), names);

    let target = house.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let download = |more: &[&str]| {
        let target = ["artifact", "download", &id, "--target-directory", target.to_str().unwrap()];
        house.try_client(&[&target[..], more].concat(), "")
    };
    assert_eq!(download(&[]).success(), "", "the log goes to standard error");
    for name in names {
        assert_same(&base.join(name), &target.join(name));
    }
    // Again: what is there stays, what is missing comes, what differs is not overwritten.
    std::fs::remove_file(target.join("logs/empty")).unwrap();
    let again = download(&[]);
    assert!(again.stderr.contains("notes.txt is there already"), "{again:?}");
    again.success();
    assert!(target.join("logs/empty").exists());
    house.write("target/notes.txt", "mine\n", 0o644);
    std::fs::remove_file(target.join("logs/empty")).unwrap();
    download(&[]).assert_failed(
        3,
        &["notes.txt is there already, with another content; not overwritten"],
        "another content",
    );
    assert_eq!(std::fs::read_to_string(target.join("notes.txt")).unwrap(), "mine\n");
    assert!(!target.join("logs/empty").exists(), "nothing is downloaded then");

    assert_eq!(download(&["--tarball"]).success(), "");
    let tarball = target.join(format!("artifact-{id}.tar.gz"));
    let unpacked = house.path().join("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(&unpacked).status().unwrap();
    assert!(tar.success());
    for name in names {
        assert_same(&base.join(name), &unpacked.join(name));
    }
    download(&["--tarball"]).assert_failed(3, &["Cannot write ", "artifact-1.tar.gz", "exists"], "a second tarball");

    for wrong in ["/nonexistent", base.join("notes.txt").to_str().unwrap()] {
        let words = format!("Error: Cannot write to {wrong}");
        house.refuses(&["artifact", "download", &id, "--target-directory", wrong], "", &[&words]);
    }
    house.refuses(&["artifact", "download", "99"], "", &["Error (404): No Artifact matches the given query."]);
    let expiring = house.try_client(&["artifact", "create", "debusine:test", "--expire-at", "2030-01-01"], "");
    assert!(expiring.stderr.contains("warning: the server does not follow --expire-at"), "{expiring:?}");
    house.admin(&["check"]);
}
