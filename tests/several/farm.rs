//! A farm: servers that share a database and a store, a balancer before them, and real workers.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use usine_client::{Client, Options};

use crate::house::{kill, start, until};
use crate::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};
use crate::{balancer, postgres};

/// Longest that anything may take on a machine that does something else besides.
pub const SOON: Duration = Duration::from_secs(60);

/// The shortest that there is.
pub const LEASE: Duration = Duration::from_secs(30);

pub struct Farm {
    directory: TempDir,
    pub runtime: Runtime,
    servers: Vec<(SocketAddr, Option<Child>)>,
    workers: Vec<Option<Child>>,
    pub balancer: SocketAddr,
    pub token: String,
    pub sql: DatabaseConnection,
    database: String,
    store: S3,
}

impl Farm {
    /// So many servers, all running.
    pub fn new(servers: usize) -> Self {
        let directory = tempfile::Builder::new().prefix("usine-test-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let runtime = Runtime::new().unwrap();
        let (database, url) = runtime.block_on(postgres::create_database());
        let sql = runtime.block_on(sea_orm::Database::connect(&url)).unwrap();
        let s3 = S3::start();
        let servers: Vec<_> = (0..servers).map(|_| (free_port(), None)).collect();
        let balancer = balancer::start(servers.iter().map(|(address, _)| *address).collect());
        let mut farm = Self {
            directory,
            runtime,
            servers,
            workers: Vec::new(),
            balancer,
            token: String::new(),
            sql,
            database,
            store: s3,
        };
        farm.write("secret", SECRET_KEY);
        for (number, (address, _)) in farm.servers.iter().enumerate() {
            let config = format!(
                "bind = \"{address}\"\ndata-directory = {:?}\nserver-name = \"{number}\"\ndatabase = {url:?}\nlease = {}\n\
                 upkeep-interval = 2\n[store.s3]\nendpoint = {:?}\nbucket = {BUCKET:?}\naccess-key = {ACCESS_KEY:?}\n\
                 secret-key-file = {:?}\n",
                farm.path().join(format!("data-{number}")),
                LEASE.as_secs(),
                farm.store.endpoint(),
                farm.path().join("secret"),
            );
            farm.write(&format!("server-{number}.toml"), &config);
        }
        farm.admin(&["migrate"]);
        farm.admin(&["user", "create", "alice", "alice@example.org", "--group", "debusine/Owners"]);
        farm.token = farm.admin(&["token", "create", "alice"]).trim().to_owned();
        for number in 0..farm.servers.len() {
            farm.start(number);
        }
        farm
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn config(&self, number: usize) -> String {
        self.path().join(format!("server-{number}.toml")).to_str().unwrap().to_owned()
    }

    pub fn url(&self, number: usize) -> String {
        format!("http://{}", self.servers[number].0)
    }

    pub fn start(&mut self, number: usize) {
        let config = self.config(number);
        let arguments = ["server", "--config", config.as_str()];
        let child = start(&arguments, "listening on", self.path(), &format!("server-{number}.log"));
        self.servers[number].1 = Some(child);
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        kill(&mut self.servers[number].1);
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self, number: usize) {
        let mut child = self.servers[number].1.take().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.log(number));
    }

    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.path().join(format!("server-{number}.log"))).unwrap_or_default()
    }

    /// Which of the running servers leads.
    pub fn leader(&self) -> usize {
        let mut leader = None;
        until("a leader", SOON, || {
            // The last one to say so, of those that run: whoever led before is dead.
            let said = |number: &usize| {
                let log = self.log(*number);
                let life = log.rsplit("listening on").next().unwrap_or_default();
                life.contains("this server leads")
            };
            leader = (0..self.servers.len()).filter(|number| self.servers[*number].1.is_some()).find(said);
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Starts a real worker that comes in through the balancer.
    pub fn start_worker(&mut self) {
        let name = format!("worker-{}", self.workers.len());
        let directory = self.path().join(&name);
        let activation = self.admin(&["worker", "create", &format!("{name}.example.org")]);
        let state = directory.join("state");
        let text = format!("api-url = \"http://{}/api\"\nstate-directory = {state:?}\n", self.balancer);
        self.write(&format!("{name}/worker.toml"), &text);
        self.write(&format!("{name}/activation-token"), activation.trim());
        let arguments = ["worker", "--config-directory", directory.to_str().unwrap()];
        let child = start(&arguments, "connected", self.path(), &format!("{name}.log"));
        self.workers.push(Some(child));
    }

    /// A user's client of one server.
    pub fn client(&self, number: usize) -> Client {
        self.client_of(&self.url(number), &self.token)
    }

    /// A client of some address with some token.
    pub fn client_of(&self, url: &str, token: &str) -> Client {
        Client::new(Options { token: Some(token.to_owned()), ..Options::new(format!("{url}/api")) }).unwrap()
    }

    /// An administrator's command on the first server's machine.
    pub fn admin(&self, arguments: &[&str]) -> String {
        self.run(&[&["admin", "--config", self.config(0).as_str()], arguments].concat())
    }

    /// A user's command, through one server.
    pub fn user(&self, number: usize, arguments: &[&str]) -> String {
        let text = format!(
            "[General]\ndefault-server = test\n[server:test]\napi-url = {}/api\nscope = debusine\ntoken = {}\n",
            self.url(number),
            self.token
        );
        let config = self.write(&format!("client-{number}.ini"), &text);
        self.run(&[&["--config-file", config.to_str().unwrap()], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> String {
        let (success, said) = self.outcome(arguments);
        assert!(success, "{arguments:?}: {said}");
        said
    }

    /// Runs the program to its end: whether it went well, and what it said.
    pub fn outcome(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usine"));
        let output = command.args(arguments).env("HOME", self.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    pub fn try_server(&self, number: usize) -> (bool, String) {
        self.outcome(&["server", "--config", &self.config(number)])
    }

    /// One number from the database.
    pub fn count(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(sea_orm::DbBackend::Postgres, sql);
        let row = self.runtime.block_on(self.sql.query_one_raw(statement)).unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    pub fn execute(&self, sql: &str) {
        self.runtime.block_on(self.sql.execute_unprepared(sql)).unwrap();
    }

    /// Everything is as it should be, also between database and store.
    pub fn check(&self) {
        let said = self.admin(&["check"]);
        assert!(said.contains("no issues"), "{said}");
        let said = self.admin(&["fsck"]);
        assert!(said.contains("0 problem(s) found"), "{said}");
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(kill);
        self.servers.iter_mut().for_each(|(_, child)| kill(child));
        if std::thread::panicking() {
            for number in 0..self.servers.len() {
                eprintln!("--- server {number}\n{}", self.log(number));
            }
            for number in 0..self.workers.len() {
                let log = std::fs::read_to_string(self.path().join(format!("worker-{number}.log")));
                eprintln!("--- worker {number}\n{}", log.unwrap_or_default());
            }
        }
        self.runtime.block_on(postgres::drop_database(&self.database));
    }
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
