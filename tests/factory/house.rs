//! A factory of processes: a server, a worker, the client's commands, each as a user would start them.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
const USINE: &str = env!("CARGO_BIN_EXE_usine");

/// Longest that a real build may take here.
const BUILD: Duration = Duration::from_secs(900);

/// A factory under one directory.
pub struct House {
    directory: TempDir,
    pub server: Option<Child>,
    pub worker: Option<Child>,
    port: u16,
}

impl House {
    /// Configuration, user and worker of a new factory; nothing runs yet.
    pub fn new(database: Option<&str>) -> Self {
        // Not in a private directory: tasks run as other users, who must be able to walk down to it.
        let directory = tempfile::Builder::new().prefix("usine-test-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let house = Self { directory, server: None, worker: None, port };
        let data = house.path().join("server");
        let database = database.map(|url| format!("database = {url:?}\n")).unwrap_or_default();
        let config = format!(
            "bind = \"127.0.0.1:{port}\"\ndata-directory = {data:?}\nlease = 60\nupkeep-interval = 2\n{database}"
        );
        house.write("server.toml", &config, 0o600);
        std::fs::create_dir(&data).unwrap();
        house.admin(&["migrate"]);
        house.admin(&["user", "create", "alice", "alice@example.org", "--group", "debusine/Owners"]);
        let token = house.admin(&["token", "create", "alice"]);
        let client = format!(
            "[General]\ndefault-server = test\n[server:test]\napi-url = {}/api\nscope = debusine\ntoken = {}\n",
            house.url(),
            token.trim()
        );
        house.write("client.ini", &client, 0o600);
        let worker = format!(
            "api-url = \"{}/api\"\nstate-directory = {:?}\n[environment]\nXZ_OPT = \"-0\"\n",
            house.url(),
            house.path().join("state")
        );
        house.write("worker/worker.toml", &worker, 0o644);
        let activation = house.admin(&["worker", "create", "worker.example.org"]);
        house.write("worker/activation-token", activation.trim(), 0o600);
        house
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// Starts the server and waits until it listens.
    pub fn start_server(&mut self) {
        let config = self.path().join("server.toml");
        self.server =
            Some(start(&["server", "--config", config.to_str().unwrap()], "listening on", self.path(), "server.log"));
    }

    /// Starts the worker and waits until the server has taken it.
    pub fn start_worker(&mut self) {
        let directory = self.path().join("worker");
        let arguments = ["worker", "--config-directory", directory.to_str().unwrap()];
        self.worker = Some(start(&arguments, "connected", self.path(), "worker.log"));
    }

    pub fn kill_server(&mut self) {
        kill(&mut self.server);
    }

    pub fn kill_worker(&mut self) {
        kill(&mut self.worker);
    }

    /// Where the worker keeps what it has not delivered.
    pub fn spool(&self) -> PathBuf {
        self.path().join("state/spool")
    }

    /// An administrator's command.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let config = self.path().join("server.toml");
        let mut all = vec!["admin", "--config", config.to_str().unwrap()];
        all.extend(arguments);
        self.run(&all, "")
    }

    /// A user's command.
    pub fn client(&self, arguments: &[&str]) -> String {
        self.client_with(arguments, "")
    }

    /// A user's command that may fail: its exit code, standard output and standard error.
    pub fn user(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let config = self.path().join("client.ini");
        let all = [&["--config-file", config.to_str().unwrap()], arguments].concat();
        self.outcome(&all, "")
    }

    pub fn client_with(&self, arguments: &[&str], stdin: &str) -> String {
        let config = self.path().join("client.ini");
        let mut all = vec!["--config-file", config.to_str().unwrap()];
        all.extend(arguments);
        self.run(&all, stdin)
    }

    /// A user's command whose answer is JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.client(&all)).unwrap()
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> String {
        let (code, stdout, stderr) = self.outcome(arguments, stdin);
        assert_eq!(code, Some(0), "{arguments:?}:\n{stdout}{stderr}");
        stdout
    }

    /// Runs the program to its end: exit code (none if a signal ended it), standard output, standard error.
    pub fn outcome(&self, arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
        let mut command = Command::new(USINE);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.env("HOME", self.path()).spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Submits a work request.
    pub fn submit(&self, task: &str, data: &Value) -> i64 {
        let answer = self.client_with(&["work-request", "create", task, "--json", "--data", "-"], &data.to_string());
        let json: Value = serde_json::from_str(&answer).unwrap();
        json["id"].as_i64().unwrap()
    }

    pub fn status(&self, id: i64) -> String {
        self.show(id)["status"].as_str().unwrap().to_owned()
    }

    pub fn show(&self, id: i64) -> Value {
        self.json(&["work-request", "show", &id.to_string()])
    }

    /// Attempts, history, errors.
    pub fn details(&self, id: i64) -> Value {
        self.show(id)["details"].clone()
    }

    /// Waits for the end, which must be as the story wants it; shows the logs otherwise.
    pub fn wait(&self, id: i64, result: &str) {
        let begin = Instant::now();
        loop {
            let row = self.show(id);
            if matches!(row["status"].as_str(), Some("completed" | "aborted")) {
                if row["result"] == result {
                    return;
                }
                let log = self.client(&["work-request", "logs", &id.to_string()]);
                panic!("work request {id}: {row:#}\n{log}\n{}", self.logs());
            }
            assert!(begin.elapsed() < BUILD, "work request {id} does not end: {row:#}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until the live log of a running work request has some text.
    pub fn wait_for_log(&self, id: i64, text: &str) {
        until(&format!("{text:?} in the live log"), BUILD, || {
            let row = self.show(id);
            assert!(!matches!(row["status"].as_str(), Some("completed" | "aborted")), "{row:#}\n{}", self.logs());
            row["status"] == "running" && self.client(&["work-request", "logs", &id.to_string()]).contains(text)
        });
    }

    /// What a work request made, of one category.
    pub fn artifacts(&self, id: i64, category: &str) -> Vec<Value> {
        let id = id.to_string();
        let list = self.json(&["artifact", "list", "--work-request", &id, "--category", category]);
        list.as_array().unwrap().clone()
    }

    /// Resident memory of server and worker now, in KiB. From now on [`House::peak_memory`] counts.
    pub fn memory(&self) -> [u64; 2] {
        self.processes().map(|id| {
            // Takes the peak back to what is now: proc(5).
            std::fs::write(format!("/proc/{id}/clear_refs"), "5").unwrap();
            memory(id, "VmRSS:")
        })
    }

    /// Most resident memory that server and worker have had since [`House::memory`], in KiB.
    pub fn peak_memory(&self) -> [u64; 2] {
        self.processes().map(|id| memory(id, "VmHWM:"))
    }

    fn processes(&self) -> [u32; 2] {
        [&self.server, &self.worker].map(|child| child.as_ref().unwrap().id())
    }

    /// Schema, invariants and store are in order.
    pub fn check(&mut self) {
        self.admin(&["check"]);
    }

    pub fn logs(&self) -> String {
        let read = |name| std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        format!("--- server\n{}--- worker\n{}", read("server.log"), read("worker.log"))
    }
}

fn memory(process: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
    line.strip_suffix(" kB").unwrap().parse().unwrap()
}

impl Drop for House {
    fn drop(&mut self) {
        kill(&mut self.worker);
        kill(&mut self.server);
    }
}

/// Starts the program, and waits until it says that it is ready. What it says goes to a log.
pub fn start(arguments: &[&str], ready: &str, directory: &Path, log: &str) -> Child {
    let mut child = Command::new(USINE).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = std::fs::File::options().create(true).append(true).open(directory.join(log)).unwrap();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        writeln!(log, "{line}").unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains(ready) {
            std::thread::spawn(move || {
                for line in lines.map_while(Result::ok) {
                    // The directory may be gone before the process is.
                    let _ = writeln!(log, "{line}");
                }
            });
            return child;
        }
    }
    let status = child.wait().unwrap();
    panic!("{arguments:?} ended, {status}:\n{said}");
}

/// `kill -9`.
pub fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Waits for something.
pub fn until(what: &str, longest: Duration, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < longest, "waited for {what}, in vain");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Both files have the same content.
pub fn assert_same(one: &Path, other: &Path) {
    let same = Command::new("cmp").args([one, other]).status().unwrap();
    assert!(same.success(), "{} and {} differ", one.display(), other.display());
}

/// The architecture of this machine.
pub fn architecture() -> String {
    output("dpkg", &["--print-architecture"]).trim().to_owned()
}

/// The mirror that this machine uses itself.
pub fn mirror() -> String {
    let arguments = [
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
        "Codename: bookworm",
        "Component: main",
        "Origin: Debian",
    ];
    let sites = output("apt-get", &arguments);
    sites.lines().next().expect("apt knows a mirror of bookworm: run apt-get update").to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
