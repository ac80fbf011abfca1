//! `usine bench`, as short as it can be: that all that was submitted was done once, and that a report comes of it. How fast it
//! went is not looked at.

#[path = "../crates/usine-db/tests/support/postgres.rs"]
mod postgres;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Runs `usine` away from the configuration of whoever runs the tests.
fn usine(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usine"));
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", home).output().unwrap()
}

/// The same, when it must succeed; what it prints.
fn succeeds(home: &Path, arguments: &[&str]) -> String {
    let output = usine(home, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn everything_that_is_submitted_is_done_once() {
    let home = TempDir::new().unwrap();
    let directory = home.path().display().to_string();
    let arguments = ["bench", "throughput", "--workers", "7", "--seconds", "1", "--warm-up", "0.2"];
    let arguments = [&arguments[..], &["--clients", "3", "--keep", "--json", "--directory", &directory]].concat();
    let measures: Value = serde_json::from_str(&succeeds(home.path(), &arguments)).unwrap();
    assert_eq!(measures[0]["what"], "work requests, end to end");
    assert!(measures[0]["value"].as_f64().unwrap() > 0.0, "{measures}");

    // What the bench says of itself is not asked here: the database is.
    let [site] = entries(home.path()).try_into().unwrap();
    let config = site.join("server.toml").display().to_string();
    let check = succeeds(home.path(), &["admin", "check", "--config", &config]);
    assert_eq!(check, "System check identified no issues (0 silenced).\n");
    let workers: Value =
        serde_json::from_str(&succeeds(home.path(), &["admin", "worker", "list", "--config", &config, "--json"]))
            .unwrap();
    assert_eq!(workers.as_array().unwrap().len(), 7);
    let url = format!("sqlite:{}", site.join("data/usine.db").display());
    let count = |what: &str| {
        let sql = format!("SELECT COUNT(*) AS count FROM {what}");
        Runtime::new().unwrap().block_on(async {
            let database = Database::connect(&url).await.unwrap();
            let statement = Statement::from_string(database.get_database_backend(), sql);
            let row = database.query_one_raw(statement).await.unwrap().unwrap();
            row.try_get::<i64>("", "count").unwrap()
        })
    };
    let all = count("work_request");
    assert!(all > 0);
    assert_eq!(count("work_request WHERE status = 'completed' AND result = 'success'"), all);
    assert_eq!(count("attempt"), all, "each was handed out once");
    assert_eq!(count("attempt WHERE outcome = 'reported'"), all);
    assert_eq!(count("event WHERE kind = 'completed'"), all);
}

#[test]
fn a_report_has_all_measurements_on_both_databases() {
    let home = TempDir::new().unwrap();
    let (work, output) = (home.path().join("work"), home.path().join("output"));
    for path in [&work, &output] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(output.join("benchmarks.md"), "# Words\n").unwrap();
    let (name, url) = Runtime::new().unwrap().block_on(postgres::create_database());
    let (work_name, output_name) = (work.display().to_string(), output.display().to_string());
    let arguments = ["bench", "report", "--quick", "--output", &output_name, "--directory", &work_name];
    let arguments = [&arguments[..], &["--database", "sqlite", "--database", &url, "--json"]].concat();
    let printed: Value = serde_json::from_str(&succeeds(home.path(), &arguments)).unwrap();

    let read = |name: &str| std::fs::read_to_string(output.join(name)).unwrap();
    let written: Value = serde_json::from_str(&read("benchmarks.json")).unwrap();
    assert_eq!(written["measures"], printed);
    let page = read("benchmarks.md");
    assert!(page.starts_with("# Words\n\n<!-- generated"), "{page}");
    assert!(read("benchmarks.svg").starts_with("<svg "));
    let measures = printed.as_array().unwrap();
    for stage in ["throughput", "latency", "queue", "api", "bare-database", "transfer", "memory", "start"] {
        let of = |database: &str| -> Vec<(&str, &str)> {
            let found = measures.iter().filter(|measure| measure["stage"] == stage && measure["database"] == database);
            found.map(|measure| (measure["case"].as_str().unwrap(), measure["what"].as_str().unwrap())).collect()
        };
        assert!(!of("SQLite").is_empty(), "{stage}");
        assert_eq!(of("SQLite"), of("PostgreSQL"), "side by side");
    }
    for measure in measures {
        let value = measure["value"].as_f64().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{measure}");
        assert!(page.contains(measure["what"].as_str().unwrap()), "{measure}");
    }
    assert!(page.contains("met)") || page.contains("missed)"), "{page}");
    assert_eq!(entries(&work), Vec::<PathBuf>::new(), "nothing is left");
    Runtime::new().unwrap().block_on(async {
        let connection = Database::connect(&url).await.unwrap();
        let sql = "SELECT COUNT(*) AS count FROM pg_database WHERE datname LIKE 'usine_bench_%'";
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.unwrap().unwrap();
        assert_eq!(row.try_get::<i64>("", "count").unwrap(), 0, "no database is left");
        connection.close().await.unwrap();
        postgres::drop_database(&name).await;
    });
}

#[test]
fn what_cannot_be_measured_is_told() {
    let home = TempDir::new().unwrap();
    for (arguments, code, words) in [
        (&["throughput", "--database", "mysql:x"][..], 2, "use sqlite, or postgres://"),
        (&["throughput", "--directory", "/nonexistent"], 3, "cannot make a directory in /nonexistent"),
        (&["latency", "--rate", "0"], 2, "\"0\" is not a number above 0"),
    ] {
        let output = usine(home.path(), &[&["bench"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}
