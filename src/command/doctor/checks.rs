//! What is looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::identity::{Account, NEEDED_IDS, account, largest, ranges};
use super::{Finding, WORKER_USER};
use crate::command::admin::{Program, open_existing};
use crate::connection::Connection;
use crate::exit::text_of;
use crate::server_config::ServerOptions;

/// A program that tasks run, the Debian package that has it, and what it is for.
pub struct Tool {
    /// Name of the program.
    pub program: &'static str,
    /// Name of the package.
    pub package: &'static str,
    purpose: &'static str,
}

/// What a worker needs.
pub const TOOLS: [Tool; 7] = [
    Tool { program: "mmdebstrap", package: "mmdebstrap", purpose: "makes the systems that tasks run in" },
    Tool { program: "sbuild", package: "sbuild", purpose: "builds packages" },
    Tool { program: "unshare", package: "util-linux", purpose: "isolates tasks" },
    Tool { program: "newuidmap", package: "uidmap", purpose: "gives tasks ids of their own" },
    Tool { program: "ip", package: "iproute2", purpose: "gives tasks a network of their own" },
    Tool { program: "arch-test", package: "arch-test", purpose: "tells which architectures this machine runs" },
    Tool { program: "dpkg-source", package: "dpkg-dev", purpose: "unpacks source packages" },
];

/// The keys of Debian's archive, and their package.
pub const KEYRING: (&str, &str) = ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring");

/// Below this, builds may fail for want of space.
const LITTLE_SPACE: u64 = 5 << 30;

/// Looks at what a worker needs.
pub fn worker() -> Vec<Finding> {
    let mut findings: Vec<Finding> = TOOLS.iter().map(tool).collect();
    findings.push(keyring());
    findings.extend(sysctls());
    let account = match task_account() {
        Ok(account) => account,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    findings.push(Finding::ok(format!("tasks run as {} ({})", account.name, account.uid)));
    for file in ["/etc/subuid", "/etc/subgid"] {
        findings.push(id_range(file, &account));
    }
    findings.push(namespaces(&account));
    findings.push(passable(&account.home));
    findings.push(temporary_directory(Path::new("/tmp")));
    findings.push(space(Path::new("/tmp")));
    findings.push(space(&account.home));
    findings
}

/// Where a program is. The system directories count even if the caller's PATH lacks them.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0))
}

fn tool(tool: &Tool) -> Finding {
    match find_program(tool.program) {
        Some(path) => Finding::ok(format!("{}: {}", tool.program, path.display())),
        None => Finding::error(
            format!("{} is missing: it {}", tool.program, tool.purpose),
            format!("apt-get install --no-install-recommends {}", tool.package),
        ),
    }
}

fn keyring() -> Finding {
    let (file, package) = KEYRING;
    if Path::new(file).exists() {
        return Finding::ok(format!("{package}: {file}"));
    }
    Finding::error(
        format!("{file} is missing: Debian's packages cannot be verified"),
        format!("apt-get install --no-install-recommends {package}"),
    )
}

/// The kernel's switches for user namespaces; those that it does not have are no hindrance.
fn sysctls() -> Vec<Finding> {
    let value = |name: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    let mut findings = Vec::new();
    for (name, good) in [("kernel.unprivileged_userns_clone", 1), ("user.max_user_namespaces", 15000)] {
        match value(name) {
            None => {}
            Some(0) => findings.push(Finding::error(
                format!("{name} = 0: users may not make namespaces"),
                format!("sysctl -w {name}={good}, and the same in /etc/sysctl.d/"),
            )),
            Some(value) => findings.push(Finding::ok(format!("{name} = {value}"))),
        }
    }
    if value("kernel.apparmor_restrict_unprivileged_userns") == Some(1) {
        findings.push(Finding::warning(
            "kernel.apparmor_restrict_unprivileged_userns = 1: AppArmor may stop tasks",
            "if the namespaces below fail: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ));
    }
    findings
}

/// Who runs tasks: we, or if we are root, the user made for that.
fn task_account() -> Result<Account, Finding> {
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return account(&uid.as_raw().to_string())
            .ok_or_else(|| Finding::error(format!("user id {} has no account", uid.as_raw()), "use another account"));
    }
    account(WORKER_USER).ok_or_else(|| {
        Finding::error(
            format!("there is no user {WORKER_USER}: a worker that is started as root runs tasks as that user"),
            "usine doctor --for worker --fix",
        )
    })
}

fn id_range(file: &str, account: &Account) -> Finding {
    let (name, count) = (&account.name, largest(&ranges(file), account));
    if count >= NEEDED_IDS {
        return Finding::ok(format!("{file}: {name} has {count} ids"));
    }
    let option = if file.ends_with("gid") { "--add-subgids" } else { "--add-subuids" };
    let what = if count == 0 { "no ids".to_owned() } else { format!("only {count} ids, {NEEDED_IDS} are needed") };
    Finding::error(
        format!("{file}: {name} has {what}"),
        format!("as root: usermod {option} FIRST-LAST {name}, or usine doctor --for worker --fix"),
    )
}

/// The real thing: what every task begins with.
fn namespaces(account: &Account) -> Finding {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", &account.name, "--", "unshare"]);
        command
    } else {
        Command::new("unshare")
    };
    command.args(["--map-users=auto", "--map-groups=auto", "--map-root-user", "true"]).current_dir("/");
    match command.output() {
        Ok(output) if output.status.success() => Finding::ok(format!("{} can make user namespaces", account.name)),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let why = text.trim().lines().next_back().unwrap_or("unshare failed").to_owned();
            Finding::error(
                format!("{} cannot make user namespaces: {why}", account.name),
                "see the lines above; in a container, allow nested user namespaces (seccomp, AppArmor, newuidmap set-uid)",
            )
        }
        Err(error) => Finding::error(format!("cannot try to make a user namespace: {error}"), "install util-linux"),
    }
}

/// Ids in a namespace are strangers outside of it: they must be able to pass to the files they need.
fn passable(path: &Path) -> Finding {
    for directory in path.ancestors() {
        match directory.metadata() {
            Ok(facts) if facts.permissions().mode() & 0o001 == 0 => {
                return Finding::error(
                    format!(
                        "{} cannot be passed by others: tasks in namespaces cannot reach their files",
                        directory.display()
                    ),
                    format!("chmod o+x {}", directory.display()),
                );
            }
            Ok(_) => {}
            Err(error) => {
                return Finding::error(format!("{}: {error}", directory.display()), "usine doctor --for worker --fix");
            }
        }
    }
    Finding::ok(format!("{} can be passed", path.display()))
}

fn temporary_directory(path: &Path) -> Finding {
    match path.metadata() {
        Ok(facts) if facts.permissions().mode() & 0o1007 == 0o1007 => {
            Finding::ok(format!("{} is writable for everybody", path.display()))
        }
        Ok(facts) => Finding::error(
            format!("{} has mode {:04o}", path.display(), facts.permissions().mode() & 0o7777),
            format!("chmod 1777 {}", path.display()),
        ),
        Err(error) => {
            Finding::error(format!("{}: {error}", path.display()), format!("mkdir -m 1777 {}", path.display()))
        }
    }
}

fn writable(directory: &Path) -> Finding {
    use rustix::fs::{Access, access};
    match access(directory, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(format!("{} can be written to", directory.display())),
        Err(error) => Finding::error(
            format!("{}: {error}", directory.display()),
            "the account of the server needs this directory: make it, or give it to that account with chown",
        ),
    }
}

fn space(path: &Path) -> Finding {
    let free = match rustix::fs::statvfs(path) {
        Ok(facts) => facts.f_bavail.saturating_mul(facts.f_frsize),
        Err(error) => {
            return Finding::warning(
                format!("{}: the free space is not known: {error}", path.display()),
                "check it with df",
            );
        }
    };
    let what = format!("{}: {} free", path.display(), indicatif::BinaryBytes(free));
    if free >= LITTLE_SPACE {
        return Finding::ok(what);
    }
    Finding::warning(
        what,
        format!("builds need several GiB; at least {} would be good", indicatif::BinaryBytes(LITTLE_SPACE)),
    )
}

/// Looks at what a server needs.
pub async fn server(options: &ServerOptions) -> Vec<Finding> {
    let config = match options.load() {
        Ok(config) => config,
        Err(error) => return vec![Finding::error(text_of(&error), "correct the server's configuration file")],
    };
    let database = match open_existing(Program::Usine, &config.database_url()).await {
        Ok(database) => database,
        Err(error) => {
            let text = error.to_string();
            return vec![Finding::warning(
                text.strip_prefix("CommandError: ").unwrap_or(&text).to_owned(),
                "only the server's machine needs a database",
            )];
        }
    };
    let finding = match database.pending_migrations().await {
        Ok(pending) if pending.is_empty() => Finding::ok("the database answers and its schema is up to date"),
        Ok(pending) => {
            Finding::error(format!("the database lacks migrations: {}", pending.join(", ")), "usine admin migrate")
        }
        Err(error) => {
            Finding::error(format!("the database does not answer: {error}"), "check --database and the account")
        }
    };
    database.close().await;
    vec![finding, writable(&config.data_directory), space(&config.data_directory)]
}

/// Looks at what a client needs, and whether its server knows it.
pub async fn client(connection: &Connection) -> Vec<Finding> {
    let connected = match connection.open() {
        Ok(connected) => connected,
        Err(error) => {
            return vec![Finding::warning(
                format!("no usable configuration of a server: {}", text_of(&error)),
                "`usine admin token create USER` on the server's machine makes a token; then write\n\
                 ~/.config/usine/client.toml:\n\
                 [server.NAME]\n\
                 api-url = \"https://HOST/api\"\n\
                 token = \"TOKEN\"",
            )];
        }
    };
    let config = &connected.config;
    let mut findings =
        vec![Finding::ok(format!("server {}: {} (scope {})", config.name, config.api_url, config.scope))];
    findings.push(match connected.client.whoami().await {
        Ok(whoami) if whoami.auth => Finding::ok(format!("the server knows the token: it is of {}", whoami.user)),
        Ok(_) => Finding::error(
            "the server does not know the token, or it is disabled or expired",
            "make another with `usine admin token create USER`, or enable it with `usine admin token enable TOKEN`",
        ),
        Err(error) => Finding::error(error.to_string(), "check api-url, the network and the server"),
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Level;

    #[test]
    fn closed_directories_are_found() {
        let base = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let inner = base.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(passable(&inner).level, Level::Ok);
        std::fs::set_permissions(base.path().join("a"), std::fs::Permissions::from_mode(0o750)).unwrap();
        let finding = passable(&inner);
        assert_eq!((finding.level, finding.advice), (Level::Error, format!("chmod o+x {}/a", base.path().display())));
        assert_eq!(passable(&base.path().join("none")).level, Level::Error);
        let temporary = temporary_directory(&base.path().join("a"));
        assert!(temporary.what.ends_with("has mode 0750"), "{temporary:?}");
    }

    #[test]
    fn missing_tools_name_their_package() {
        let finding = tool(&Tool { program: "no-such-tool", package: "some-package", purpose: "does things" });
        assert_eq!(finding.level, Level::Error);
        assert!(finding.advice.ends_with(" some-package"));
        assert!(find_program("sh").is_some());
    }

    #[tokio::test]
    async fn a_machine_without_database_need_not_have_one() {
        let database = Some("sqlite:/nonexistent/usine.db".to_owned());
        let findings = server(&ServerOptions { database, ..ServerOptions::default() }).await;
        assert_eq!(findings[0].level, Level::Warning);
        assert!(findings[0].what.contains("/nonexistent/usine.db does not exist"), "{findings:?}");
    }
}
