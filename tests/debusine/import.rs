//! Importing from a web server.

use std::path::PathBuf;

use crate::fake_server::serve;
use crate::house::House;
use crate::packages;

#[test]
fn a_package_on_a_web_server_is_imported_with_its_files() {
    let mut house = House::new(None);
    house.start_server();
    house.configure_debusine();
    let made = packages::make(house.path());
    let pool: PathBuf = made.dsc.parent().unwrap().to_owned();
    let mirror = serve(move |request| {
        let path = request.line.strip_prefix("GET /pool/").unwrap();
        match std::fs::read(pool.join(path)) {
            Ok(bytes) => (200, "application/octet-stream", bytes),
            Err(_) => (404, "text/plain", b"gone".to_vec()),
        }
    });
    let import =
        |name: &str| house.run_as("debusine", &["artifact", "import-debian", &format!("{mirror}/pool/{name}")], "");
    for (name, artifacts) in [("tiny_1.0.dsc", 1), ("tiny_1.0_multi.changes", 4), ("tiny-doc_1.0_all.deb", 1)] {
        let before = house.json(&["artifact", "list"]).as_array().unwrap().len();
        import(name).success();
        let after = house.json(&["artifact", "list"]).as_array().unwrap().len();
        assert_eq!(after - before, artifacts, "{name}");
    }
    let missing = import("other_1.0.dsc");
    missing.assert_failed(3, &["Not found (", "/pool/other_1.0.dsc", "gone"], "a file that is not there");
    import("..%2fx.dsc").assert_failed(3, &["does not end in the name of a file"], "a name that leads elsewhere");
}
