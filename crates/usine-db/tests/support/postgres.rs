//! A PostgreSQL cluster for tests: in a temporary directory, on a socket in it, gone when the test process is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use sea_orm::ConnectionTrait;
use url::Url;

/// Names a database in which other databases can be made, as `postgres://user@host/postgres`.
pub const URL_VARIABLE: &str = "USINE_TEST_POSTGRES_URL";

const MISSING: &str = "tests need PostgreSQL: run `apt-get install postgresql`, or `make test`, \
                       or set USINE_TEST_POSTGRES_URL";

/// Runs the server as its child and ends both it and its directory when standard input ends, which happens when the test
/// process is gone, however it went.
const GUARD: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=400 -c fsync=off \
    -c synchronous_commit=off -c full_page_writes=off >"$2/log" 2>&1 </dev/null &
server=$!
read -r _
kill -QUIT $server
wait $server
rm -rf "$2"
"#;

/// Makes an empty database; its name and its URL.
pub async fn create_database() -> (String, String) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!("usine_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    administer(&[&format!("DROP DATABASE IF EXISTS {name}"), &format!("CREATE DATABASE {name}")]).await;
    let mut url = cluster().clone();
    url.set_path(&name);
    (name, url.into())
}

/// Removes a database, also while somebody is connected.
pub async fn drop_database(name: &str) {
    administer(&[&format!("DROP DATABASE {name} WITH (FORCE)")]).await;
}

async fn administer(statements: &[&str]) {
    let url = cluster();
    let connection = sea_orm::Database::connect(url.as_str())
        .await
        .unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"));
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.close().await.unwrap();
}

fn cluster() -> &'static Url {
    // The guard's standard input stays open as long as this process lives.
    static CLUSTER: OnceLock<(Url, Option<Child>)> = OnceLock::new();
    let (url, _) = CLUSTER.get_or_init(|| match std::env::var(URL_VARIABLE) {
        Ok(url) => (url.parse().unwrap_or_else(|error| panic!("{URL_VARIABLE}: {error}")), None),
        Err(_) => {
            let (url, guard) = start();
            (url, Some(guard))
        }
    });
    url
}

fn start() -> (Url, Child) {
    let binaries = binaries();
    let owner = owner();
    let directory = tempfile::Builder::new().prefix("usine-test-").tempdir().unwrap().keep();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    if let Some((user, group)) = owner {
        chown(&directory, Some(user), Some(group)).unwrap();
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(&directory);
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        command
    };

    let output = command(&binaries.join("initdb"))
        .args(["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .output()
        .unwrap();
    assert!(output.status.success(), "initdb failed: {}", text(&output));

    let guard = command(Path::new("/bin/sh"))
        .args(["-c", GUARD, "sh"])
        .args([&binaries, &directory])
        .stdin(Stdio::piped())
        // Not the terminal's Ctrl-C, which would end the guard before it has cleaned up.
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until_ready(&binaries, &directory);

    let socket = directory.to_str().unwrap().replace('%', "%25").replace('/', "%2F");
    (format!("postgres://postgres@{socket}/postgres").parse().unwrap(), guard)
}

/// The newest installed version.
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap_or_else(|_| panic!("{MISSING}"));
    versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let binaries = path.join("bin");
            binaries.join("initdb").exists().then_some((version, binaries))
        })
        .max()
        .map(|(_, binaries)| binaries)
        .unwrap_or_else(|| panic!("{MISSING}"))
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package makes.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        text(&output).trim().parse().unwrap_or_else(|_| panic!("{MISSING}"))
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn wait_until_ready(binaries: &Path, directory: &Path) {
    for _ in 0..600 {
        let ready = Command::new(binaries.join("pg_isready")).arg("-qh").arg(directory).status().unwrap();
        if ready.success() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    panic!("PostgreSQL did not start within 30 s: {log}");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
