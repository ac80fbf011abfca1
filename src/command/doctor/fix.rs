//! `usine doctor --fix`: what an administrator would type. Each step is printed before it is done; what is well is left
//! alone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::WORKER_USER;
use super::checks::{KEYRING, TOOLS, find_program};
use super::identity::{NEEDED_IDS, account, first_free, largest, ranges};
use crate::exit::failure;

/// Home of the worker's user.
const HOME: &str = "/var/lib/usine-worker";

/// Makes this machine fit for a worker.
pub fn worker() -> anyhow::Result<()> {
    install(&missing_packages())?;
    make_user()?;
    add_ranges()?;
    open_home()
}

fn missing_packages() -> Vec<&'static str> {
    let tools = TOOLS.iter().filter(|tool| find_program(tool.program).is_none()).map(|tool| tool.package);
    let (keys, package) = KEYRING;
    tools.chain((!Path::new(keys).exists()).then_some(package)).collect()
}

/// First with the lists that are there: an update takes time and the network.
fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut command = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
    command.extend(packages);
    if has_lists() && run(&command).is_ok() {
        return Ok(());
    }
    run(&["apt-get", "update"])?;
    run(&command)
}

fn has_lists() -> bool {
    let lists = std::fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

/// Not a system user: only others get ranges of subordinate ids from useradd(8).
fn make_user() -> anyhow::Result<()> {
    if account(WORKER_USER).is_some() {
        return Ok(());
    }
    run(&["useradd", "--create-home", "--home-dir", HOME, "--shell", "/usr/sbin/nologin", WORKER_USER])
}

fn add_ranges() -> anyhow::Result<()> {
    let account = account(WORKER_USER).ok_or_else(|| failure(format!("the user {WORKER_USER} was not made")))?;
    let lists = ["/etc/subuid", "/etc/subgid"].map(ranges);
    let first = first_free(&lists);
    let range = format!("{first}-{}", first + NEEDED_IDS - 1);
    for (list, option) in lists.iter().zip(["--add-subuids", "--add-subgids"]) {
        if largest(list, &account) < NEEDED_IDS {
            run(&["usermod", option, &range, WORKER_USER])?;
        }
    }
    Ok(())
}

/// Ids in a namespace are strangers outside of it, and must be able to pass.
fn open_home() -> anyhow::Result<()> {
    let account = account(WORKER_USER).ok_or_else(|| failure(format!("the user {WORKER_USER} was not made")))?;
    let home = account.home;
    let mode = home.metadata().with_context(|| format!("{}", home.display()))?.permissions().mode();
    if mode & 0o001 == 0 {
        run(&["chmod", "0755", &home.display().to_string()])?;
    }
    Ok(())
}

/// Runs a command in the open: its output goes to standard error, standard output is for the findings.
fn run(command: &[&str]) -> anyhow::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    eprintln!("+ {}", command.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(std::process::Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if status.success() { Ok(()) } else { Err(failure(format!("{program} failed: {status}"))) }
}
