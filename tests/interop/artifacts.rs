//! Artifacts: created, imported, shown, related, downloaded.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::{Client, clients, yaml};
use crate::house::assert_same;
use crate::packages;

/// The id in an answer.
fn id_of(answer: &Value) -> i64 {
    answer["artifact_id"].as_i64().unwrap_or_else(|| panic!("{answer:#}"))
}

clients! {
    fn files_come_back_as_they_went(client: &mut Client) {
        let base = client.house.path().join("base");
        client.house.write("base/notes.txt", "hello\n", 0o644);
        client.house.write("base/logs/with space ä.log", &"x\n".repeat(100_000), 0o644);
        client.house.write("base/logs/empty", "", 0o644);
        let names = ["notes.txt", "logs/with space ä.log", "logs/empty"];
        let created = client.try_create_artifact("debusine:test", &base, &names, &["--workspace", "System"]);
        let created = yaml(&created.success());
        assert_eq!(created["result"], "success");
        assert_eq!(created["files_to_upload"], 2, "an empty file need not be uploaded");
        let id = id_of(&created);
        let shown = client.artifact(id);
        assert_eq!((&shown["category"], &shown["workspace"]), (&json!("debusine:test"), &json!("System")));
        assert_eq!((&shown["data"], &shown["files_to_upload"]), (&json!({}), &json!([])));
        for name in names {
            assert_eq!(shown["files"][name]["size"], fs::metadata(base.join(name)).unwrap().len());
        }

        let target = client.house.path().join("target");
        fs::create_dir(&target).unwrap();
        client.download(id, &target, &[]).success();
        for name in names {
            assert_same(&base.join(name), &target.join(name));
        }
        client.download(id, &target, &["--tarball"]).success();
        let tarball = target.join(format!("artifact-{id}.tar.gz"));
        let listed = Command::new("tar").arg("-tzf").arg(&tarball).env("LANG", "C.UTF-8").output().unwrap();
        assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("notes.txt"));

        // The same files are known already.
        let again = yaml(&client.try_create_artifact("debusine:test", &base, &names, &[]).success());
        assert_eq!(again["files_to_upload"], 0);

        // One file is fetched as it is, not in an archive.
        let one = yaml(&client.try_create_artifact("debusine:test", &base, &["notes.txt"], &[]).success());
        let single = client.house.path().join("single");
        fs::create_dir(&single).unwrap();
        client.download(id_of(&one), &single, &[]).success();
        assert_same(&base.join("notes.txt"), &single.join("notes.txt"));
    }

    fn debian_packages_are_imported_and_related(client: &mut Client) {
        let made = packages::make(client.house.path());
        let source = id_of(&client.import(&made.dsc));
        let source = client.artifact(source);
        assert_eq!(source["category"], "debian:source-package");
        let data = &source["data"];
        assert_eq!((&data["name"], &data["version"]), (&json!("tiny"), &json!("1.0")));
        assert_eq!(data["dsc_fields"]["Source"], "tiny");
        let deb = client.artifact(id_of(&client.import(&made.deb)));
        assert_eq!(deb["category"], "debian:binary-package");
        assert_eq!(deb["data"]["deb_fields"]["Package"], "tiny-doc");

        let upload = client.import(&made.changes);
        assert_eq!(upload["extends"], upload["relates_to"]);
        let id = id_of(&upload);
        let parts: Vec<i64> = upload["extends"].as_array().unwrap().iter().map(id_of).collect();
        let mut categories: Vec<Value> = parts.iter().map(|part| client.artifact(*part)["category"].clone()).collect();
        // Older clients import the packages of an architecture together, too.
        categories.retain(|category| category != "debian:binary-packages");
        assert_eq!(categories, ["debian:source-package", "debian:binary-package", "debian:binary-package"]);
        assert_eq!(client.artifact(id)["category"], "debian:upload");
        let ends = |relation: &Value| {
            let end = |key: &str| relation[key].as_i64().unwrap();
            (end("artifact"), end("target"), relation["type"].as_str().unwrap().to_owned())
        };
        let mut from: Vec<_> = client.relations(id, false).iter().map(ends).collect();
        let mut expected: Vec<_> =
            parts.iter().flat_map(|part| ["extends", "relates-to"].map(|kind| (id, *part, kind.to_owned()))).collect();
        from.sort();
        expected.sort();
        assert_eq!(from, expected);
        let to: Vec<_> = client.relations(parts[0], true).iter().map(ends).collect();
        assert!(to.len() == 2 && to.iter().all(|(artifact, target, _)| (*artifact, *target) == (id, parts[0])), "{to:?}");
        assert_eq!(client.relations(parts[0], false), Vec::<Value>::new());
    }
}
