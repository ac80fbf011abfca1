//! Making, showing and listing artifacts.

use serde_json::{Value, json};

use crate::app::stories;
use crate::server::{TestServer, Words, of, sha256};

stories! {
    async fn an_artifact_is_answered_as_the_client_expects_it(server: TestServer) {
        let made = server.artifact(&[("dir/b.deb", b"bbb"), ("a.dsc", b"aaaa"), ("empty", b"")]).await;
        let id = &made["id"];
        let page = format!("/debusine/System/artifact/{id}/");
        assert_eq!(made["url"], page);
        assert_eq!((&made["scope"], &made["workspace"]), (&json!("debusine"), &json!("System")));
        assert_eq!((&made["category"], &made["data"]), (&json!("debusine:test"), &json!({})));
        assert_eq!(made["created_at"], "2026-03-01T10:20:30.123456Z");
        assert_eq!(made["expire_at"], Value::Null);
        assert_eq!(made["files_to_upload"], json!(["a.dsc", "dir/b.deb"]), "empty files never");
        let tarball = made["download_tar_gz_url"].as_str().unwrap();
        assert!(tarball.starts_with("http://") && tarball.ends_with(&format!("{page}download/?archive=tar.gz")));
        assert_eq!(made["links"]["self"], format!("/api/1.0/artifact/{id}/"));
        assert_eq!(made["links"]["webui_self"], page);
        assert_eq!(made["links"]["download_tar_gz"]["type"], "application/tar+gzip");
        let paths: Vec<_> = made["files"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["a.dsc", "dir/b.deb", "empty"]);
        let file = &made["files"]["dir/b.deb"];
        assert_eq!((&file["size"], &file["type"]), (&json!(3), &json!("file")));
        assert_eq!(file["checksums"], json!({"sha256": sha256(b"bbb")}));
        assert_eq!(file["content_type"], "text/plain; charset=utf-8");
        assert!(file["url"].as_str().unwrap().ends_with(&format!("{page}download/dir/b.deb")));

        // Anybody may look: the workspace is public.
        for path in [format!("artifact/{id}/"), format!("artifact/System/{id}/")] {
            let shown = server.get(&format!("/api/1.0/{path}")).answers(200).await;
            assert_eq!(shown, made, "{path}");
        }
        let https = server.get(&format!("/api/1.0/artifact/{id}/")).header("x-forwarded-proto", "https").answers(200).await;
        assert!(https["download_tar_gz_url"].as_str().unwrap().starts_with("https://"));
        server.stop().await;
    }

    async fn what_is_not_there_is_not_found(server: TestServer) {
        for path in ["artifact/1/", "artifact/x/", "artifact/System/1/", "artifact/99999999999999999999/"] {
            let title = server.get(&format!("/api/1.0/{path}")).refused(404).await;
            assert_eq!(title, "No Artifact matches the given query.", "{path}");
        }
        let title = server.get("/api/1.0/artifact/Nowhere/1/").refused(404).await;
        assert_eq!(title, "Workspace not found | Workspace Nowhere not found in scope debusine");
        server.stop().await;
    }

    async fn wrong_requests_are_refused_with_the_reason(server: TestServer) {
        let file = |change: fn(&mut Value)| {
            let mut body = of(&[("a", b"x")]);
            change(&mut body["files"]["a"]);
            body
        };
        let with = |key: &str, value: Value| {
            let mut body = of(&[("a", b"x")]);
            body[key] = value;
            body
        };
        for (body, status, expected) in [
            (with("category", json!("x:y")), 400, "Error | x:y: invalid artifact category"),
            (with("category", json!("debian:upload")), 400, "Error | {\"data\":[\"invalid artifact data: "),
            (with("data", json!([])), 400, "Error | {\"data\":[\"data must be a dictionary\"]}"),
            (with("workspace", json!("Nowhere")), 404, "Workspace not found"),
            (
                with("files", json!({"../a": of(&[("a", b"x")])["files"]["a"]})),
                400,
                "Cannot deserialize artifact | {\"files\"",
            ),
            (with("files", json!(null)), 400, "Cannot deserialize artifact | {\"files\""),
            (with("expiration_delay", json!("soon")), 400, "Cannot deserialize artifact | {\"expiration_delay\""),
            (file(|file| file["type"] = json!("link")), 400, "Cannot deserialize artifact | {\"files\""),
            (file(|file| file["size"] = json!(-1)), 400, "Cannot deserialize artifact | {\"files.a.size\""),
            (file(|file| file["size"] = json!(u64::MAX)), 400, "Cannot deserialize artifact | {\"files\""),
            (file(|file| file["checksums"]["sha256"] = json!("ab")), 400, "Cannot deserialize artifact | {\"files\""),
            (file(|file| file["content_type"] = json!("a\nb")), 400, "Cannot deserialize artifact | {\"files\""),
            (
                json!({"category": "debusine:test"}),
                400,
                "Cannot deserialize artifact | {\"files\":[\"This field is required.\"]}",
            ),
            (
                with("work_request", json!(1)),
                403,
                "work_request field can only be used by a request with a token from a Worker",
            ),
        ] {
            let title = server.post("/api/1.0/artifact/", body.clone()).key(&server.alice).refused(status).await;
            assert!(title.starts_with(expected), "{body}: {title}");
        }
        let title = server.post("/api/1.0/artifact/", of(&[])).refused(403).await;
        assert_eq!(title, "Error | Authentication credentials were not provided.");
        let text = server.post("/api/1.0/artifact/", of(&[])).key(&server.alice).body("{").refused(400).await;
        assert!(text.starts_with("Error | JSON parse error - "), "{text}");

        assert_eq!(server.get("/api/usine/1.0/artifact/").answers(200).await, json!([]), "nothing is left behind");
        server.stop().await;
    }

    async fn files_must_fit_the_category(server: TestServer) {
        let build_id = "0123456789abcdef0123456789abcdef01234567";
        let changes = json!({"Source": "a", "Version": "1", "Architecture": "source", "Files": [{"name": "a_1.dsc"}]});
        let upload = json!({"type": "dpkg", "changes_fields": changes});
        let dsc = json!({"Source": "a", "Files": [{"name": "a_1.tar.xz"}]});
        let package = |dsc_fields| json!({"name": "a", "version": "1", "type": "dpkg", "dsc_fields": dsc_fields});
        let binary = json!({"srcpkg_name": "a", "srcpkg_version": "1", "deb_fields": {}, "deb_control_files": []});
        let log = json!({"source": "a", "version": "1", "filename": "a.build"});
        let index = json!({"path": "main/source/Sources.xz"});
        let body = |category: &str, data: &Value, files: &[&str]| {
            let files: Vec<(&str, &[u8])> = files.iter().map(|path| (*path, &b"x"[..])).collect();
            let mut body = of(&files);
            body["category"] = json!(category);
            body["data"] = data.clone();
            body
        };
        for (category, data, files, expected) in [
            ("debian:source-package", &package(dsc.clone()), &["a_1.tar.xz"][..], "Expecting 1 .dsc file in ['a_1.tar.xz']"),
            ("debian:source-package", &package(dsc.clone()), &["a_1.dsc", "b"], "listed in the .dsc must match. Files: ['b']"),
            ("debian:upload", &upload, &["a.changes", "a_1.dsc", "b"], "must match. Files: ['a_1.dsc', 'b'] Listed: ['a_1.dsc']"),
            ("debian:binary-package", &binary, &["a_1_all.ddeb"], "Invalid filename: \\\"a_1_all.ddeb\\\""),
            ("debian:binary-package", &binary, &[], "Must have exactly one file"),
            ("debian:package-build-log", &log, &["a.build", "b.build"], "Expected number of files: 1 Actual: 2"),
            ("debian:debug-symbols", &json!({"build_ids": [build_id]}), &["x"], "Files: ['x'] Listed: ['0123"),
            ("debian:repository-index", &index, &["Sources"], "Expected file name: \\\"Sources.xz\\\""),
            ("debian:blhc", &json!({}), &["blhc.log"], "Files required: ['blhc.txt'] Actual: ['blhc.log']"),
            ("debusine:signing-input", &json!({}), &[], "Expected at least one file"),
        ] {
            let request = server.post("/api/1.0/artifact/", body(category, data, files)).key(&server.alice);
            let title = request.refused(400).await;
            assert!(title.starts_with("Cannot deserialize artifact | {\"files\":[\""), "{category} {files:?}: {title}");
            assert!(title.contains(expected), "{category} {files:?}: {title}");
        }
        assert_eq!(server.get("/api/usine/1.0/artifact/").answers(200).await, json!([]), "nothing is left behind");

        // Names are enough: the content comes later, and what the data do not say is not known.
        for (category, data, files) in [
            ("debian:source-package", &package(dsc), &["a_1.dsc", "a_1.tar.xz"][..]),
            ("debian:source-package", &package(json!({})), &["b_1.dsc", "b_1.tar.xz"]),
            ("debian:upload", &upload, &["a.changes", "a_1.dsc"]),
            ("debian:binary-package", &binary, &["a_1_all.udeb"]),
            ("debian:package-build-log", &log, &["a.build"]),
            ("debian:debug-symbols", &json!({"build_ids": [build_id]}), &[build_id]),
            ("debian:repository-index", &index, &["Sources.xz"]),
            ("debian:repository-index", &json!({}), &["Release"]),
            ("debian:blhc", &json!({}), &["blhc.txt"]),
            ("debusine:signing-input", &json!({}), &["a/boot/a.efi"]),
            ("debusine:work-request-debug-logs", &json!({}), &["cmd-output.log", "stages.log"]),
            ("debusine:test", &json!({}), &["anything", "at/all.dsc"]),
        ] {
            let made = server.post("/api/1.0/artifact/", body(category, data, files)).key(&server.alice).answers(201).await;
            let mut paths: Vec<_> = made["files_to_upload"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
            paths.sort_unstable();
            assert_eq!(paths, files, "{category}");
        }
        server.stop().await;
    }

    async fn a_work_request_makes_artifacts_in_its_own_name(server: TestServer) {
        let (id, key) = server.running(&[]).await;
        let (other, _) = server.running(&[]).await;
        let by = |work_request: Value| {
            let mut body = of(&[("log", b"text")]);
            body["work_request"] = work_request;
            server.post("/api/1.0/artifact/", body).key(&key)
        };
        let made = by(json!(id)).answers(201).await;
        server.upload(made["id"].as_i64().unwrap(), &[("log", b"text")], &key).await;
        assert_eq!(by(json!(999)).refused(400).await, "WorkRequest 999 does not exist");
        assert_eq!(by(json!(other)).refused(403).await, "Work request mismatch in POST data.");
        assert!(by(json!(null)).refused(403).await.starts_with("If work_request field is empty the WorkRequest must be"));

        let shown = server.get(&format!("/api/1.0/work-request/{id}/")).key(&server.alice).answers(200).await;
        assert_eq!(shown["artifacts"], json!([made["id"]]));
        server.stop().await;
    }

    async fn a_work_request_sees_its_inputs_and_what_it_made(server: TestServer) {
        let input = server.complete_artifact(&[("input", b"input")]).await;
        let foreign = server.complete_artifact(&[("foreign", b"foreign")]).await;
        let (id, key) = server.running(&[input]).await;
        let mut body = of(&[("own", b"own")]);
        body["work_request"] = json!(id);
        let own = server.post("/api/1.0/artifact/", body).key(&key).answers(201).await["id"].as_i64().unwrap();

        for seen in [input, own] {
            server.get(&format!("/api/1.0/artifact/{seen}/")).key(&key).answers(200).await;
            server.get(&format!("/api/1.0/artifact/System/{seen}/")).key(&key).answers(200).await;
        }
        server.get(&format!("/api/1.0/artifact/{foreign}/")).key(&key).refused(404).await;
        server.get(&format!("/debusine/System/artifact/{input}/download/input")).key(&key).sent(200).await;
        server.get(&format!("/debusine/System/artifact/{foreign}/download/foreign")).key(&key).sent(403).await;
        let listed = server.get("/api/usine/1.0/artifact/").key(&key).answers(200).await;
        assert_eq!(listed.as_array().unwrap().len(), 1, "only its own: {listed}");
        server.stop().await;
    }

    async fn known_content_needs_no_upload(server: TestServer) {
        server.complete_artifact(&[("a", b"known"), ("b", b"other")]).await;
        let again = server.artifact(&[("x", b"known"), ("y", b"new")]).await;
        assert_eq!(again["files_to_upload"], json!(["y"]));
        let fetched = server.get(again["files"]["x"]["url"].as_str().unwrap()).sent(200).await;
        assert_eq!(fetched.text().await.unwrap(), "known");
        server.stop().await;
    }

    async fn artifacts_expire_when_they_are_told_to(server: TestServer) {
        let mut body = of(&[]);
        body["expiration_delay"] = json!("P1D");
        let made = server.post("/api/1.0/artifact/", body).key(&server.alice).answers(201).await;
        assert_eq!(made["expire_at"], "2026-03-02T10:20:30.123456Z");
        server.stop().await;
    }

    async fn artifacts_are_listed_newest_first(server: TestServer) {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(server.artifact(&[("a", b"x")]).await["id"].as_i64().unwrap());
        }
        let list = async |query: &str| {
            let listed = server.get(&format!("/api/usine/1.0/artifact/?{query}")).answers(200).await;
            listed.as_array().unwrap().iter().map(|artifact| artifact["id"].as_i64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(list("").await, [ids[2], ids[1], ids[0]]);
        assert_eq!(list("category=&workspace=&work_request=&limit=2").await, [ids[2], ids[1]]);
        assert_eq!(list(&format!("before={}", ids[1])).await, [ids[0]]);
        assert_eq!(list("category=debusine:test&workspace=System").await.len(), 3);
        assert!(list("category=debian:upload").await.is_empty());
        assert!(list("work_request=1").await.is_empty());
        for wrong in ["category=x", "limit=many", "work_request=x"] {
            server.get(&format!("/api/usine/1.0/artifact/?{wrong}")).refused(400).await;
        }
        server.get("/api/usine/1.0/artifact/?workspace=Nowhere").refused(404).await;
        server.stop().await;
    }
}
