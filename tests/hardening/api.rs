//! The API against what is published of it: schemathesis makes requests from the OpenAPI document, good ones and bad ones, and judges
//! the answers. `USINE_API_SECONDS` says for how long (12 for each of three requesters).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{assert_serves, house_with, key};

/// Where packaging/setup-host puts it.
fn schemathesis() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    assert!(path.exists(), "{} is not there: run packaging/setup-host tests", path.display());
    path
}

/// What must hold of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance,unsupported_method,allow_header_conformance";

/// Names of what there is, for one who knows it: most of what is made up is not found.
const KNOWN: &str = "[parameters]\n\"header.x-debusine-scope\" = \"debusine\"\n\"path.workspace\" = \"System\"\n\
    \"path.id\" = 2\n\"path.name\" = \"noop\"\n\"path.path\" = \"notes\"\n";

#[test]
fn the_api_is_what_is_published() {
    let seconds = std::env::var("USINE_API_SECONDS").unwrap_or_else(|_| "12".to_owned());
    let mut house = house_with("");
    house.start_server();
    // Something that requests can be about.
    house.write("notes", "notes\n", 0o644);
    for _ in 0..3 {
        house.client(&[
            "artifact",
            "create",
            "debusine:test",
            "--upload",
            house.path().join("notes").to_str().unwrap(),
        ]);
        house.submit("noop", &json!({}));
    }
    house.start_worker();
    house.wait(1, "success");
    let worker = std::fs::read_to_string(house.path().join("worker/token")).unwrap();
    house.write("known.toml", KNOWN, 0o644);
    house.write("anything.toml", "", 0o644);
    for (who, key, knows) in [
        ("user who knows", key(&house), "known"),
        ("user", key(&house), "anything"),
        ("worker", worker.trim().to_owned(), "anything"),
    ] {
        let path = |name: &str| house.path().join(format!("{knows}.{name}"));
        let status = Command::new(schemathesis())
            .args([
                "--config-file",
                path("toml").to_str().unwrap(),
                "run",
                &format!("{}/api/openapi.json", house.url()),
            ])
            .args(["--max-time", &seconds, "--header", &format!("Token: {key}"), "--workers", "2", "--seed", "1"])
            .args(["--checks", CHECKS, "--suppress-health-check", "all"])
            // A client that waits for its user waits.
            .args(["--exclude-path", "/api/enroll/", "--no-color"])
            .current_dir(house.path())
            .env("HOME", house.path())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(path("out")).unwrap())
            .stderr(std::fs::File::create(path("err")).unwrap())
            .status()
            .unwrap();
        let said = ["out", "err"].map(|name| std::fs::read_to_string(path(name)).unwrap()).concat();
        assert!(status.success(), "as a {who}: {status}\n{said}\n{}", house.logs());
        println!("as a {who}:\n{said}");
    }
    assert_serves(&house, "after all that");
    assert!(!house.logs().contains("panicked"), "{}", house.logs());
    house.check();
}

/// The document can be had without a token, and is the one that the documentation has.
#[test]
fn the_document_is_published() {
    let mut house = house_with("");
    house.start_server();
    let answer = crate::raw::exchange(&house, "GET /api/openapi.json HTTP/1.1\r\nHost: h\r\n");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let served: Value = serde_json::from_str(&answer.body).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_default()).unwrap_or_default();
    if served != kept && std::env::var_os("USINE_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&served).unwrap() + "\n").unwrap();
        return;
    }
    assert!(
        served == kept,
        "the API has changed: USINE_WRITE_OPENAPI=1 cargo test --workspace --test hardening document"
    );
}
