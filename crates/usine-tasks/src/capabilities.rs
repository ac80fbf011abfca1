//! What this machine can do: the dynamic metadata that a worker reports, tags included.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Access, access};
use serde_json::{Map, Value};
use usine_model::tags::{self, Tags};
use usine_model::work_request::TaskType;
use usine_model::worker::WorkerType;

use crate::simplesystemimagebuild::{PROGRAM, SimpleSystemImageBuild};
use crate::worker_task::WorkerTask;
use crate::{find, registered};

/// Tools whose presence is a tag: `worker:cap:TOOL`.
const TOOLS: [&str; 6] = ["autopkgtest", PROGRAM, "debsign", "mmdebstrap", "sbsign", "sbuild"];

/// The dynamic metadata of an external worker. Blocks: it runs dpkg(1) and arch-test(1).
pub fn detect(worker_version: &str) -> Map<String, Value> {
    detect_on(&std::env::var("PATH").unwrap_or_default(), worker_version)
}

/// The same with tools from `path`, written like `PATH`.
pub fn detect_on(path: &str, worker_version: &str) -> Map<String, Value> {
    let native = lines(path, "dpkg", &["--print-architecture"]).into_iter().next();
    let mut architectures = lines(path, "arch-test", &["-n"]);
    architectures.extend(native.clone());
    architectures.sort();
    architectures.dedup();
    let mut metadata = Map::new();
    let mut set = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    if let Ok(count) = std::thread::available_parallelism() {
        set("system:cpu_count", count.get().into());
    }
    let memory = rustix::system::sysinfo();
    set("system:total_physical_memory", memory.totalram.saturating_mul(u64::from(memory.mem_unit)).into());
    set("system:worker_type", WorkerType::External.to_string().into());
    set("system:worker_version", worker_version.into());
    if let Some(native) = native {
        set("system:native_architecture", native.into());
    }
    let provided: Vec<String> = provided_tags(path, &architectures).into_iter().collect();
    set("system:architectures", architectures.into());
    set("provided_tags", provided.into());
    metadata
}

fn provided_tags(path: &str, architectures: &[String]) -> Tags {
    let mut provided = Tags::from([tags::worker_type(WorkerType::External)]);
    provided.extend(architectures.iter().map(|architecture| tags::build_arch(architecture)));
    provided.extend(TOOLS.iter().filter(|tool| which(path, tool).is_some()).map(|tool| tags::capability(tool)));
    // The server cannot ask for this program (workers of the reference do not tell): without it the task is not offered.
    let is_possible = |name: &&str| *name != SimpleSystemImageBuild::NAME || which(path, PROGRAM).is_some();
    for name in registered(TaskType::Worker).into_iter().filter(is_possible) {
        let version = find(TaskType::Worker, name).map_or(1, |task| task.version());
        provided.insert(tags::task_version(TaskType::Worker, name, version));
    }
    provided.extend(executors(path, Path::new("/dev/kvm")).into_iter().map(tags::executor));
    provided
}

/// The executors that work here, as far as can be told without starting something.
fn executors(path: &str, kvm: &Path) -> Vec<&'static str> {
    let all_there = |tools: &[&str]| tools.iter().all(|tool| which(path, tool).is_some());
    let mut found = Vec::new();
    if all_there(&["unshare", "ip"]) {
        found.push("unshare");
    }
    if all_there(&["incus", "autopkgtest-virt-incus"]) {
        let drivers = incus_drivers(&output(path, "incus", &["info"]).unwrap_or_default());
        let offers = [("lxc", "incus-lxc"), ("qemu", "incus-vm")];
        found
            .extend(offers.iter().filter(|(driver, _)| drivers.iter().any(|has| has == driver)).map(|(_, name)| *name));
    }
    let emulator = format!("qemu-system-{}", rustix::system::uname().machine().to_string_lossy());
    if all_there(&[&emulator]) && access(kvm, Access::WRITE_OK).is_ok() {
        found.push("qemu");
    }
    found
}

/// `environment.driver` of incus-info(1), as in `lxc | qemu`.
fn incus_drivers(info: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Info {
        environment: Environment,
    }
    #[derive(serde::Deserialize)]
    struct Environment {
        #[serde(default)]
        driver: String,
    }
    match serde_saphyr::from_str::<Info>(info) {
        Ok(info) => info.environment.driver.split('|').map(|driver| driver.trim().to_owned()).collect(),
        Err(_) => Vec::new(),
    }
}

/// The executable of that name in the first directory of `path` that has one.
pub(crate) fn which(path: &str, name: &str) -> Option<PathBuf> {
    let is_executable = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join(name))
        .find(is_executable)
}

/// The lines that a tool prints; none if it is not there or fails.
fn lines(path: &str, tool: &str, arguments: &[&str]) -> Vec<String> {
    let text = output(path, tool, arguments).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// What a tool prints; `None` if it is not there or fails.
fn output(path: &str, tool: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(which(path, tool)?);
    command.args(arguments).env_clear().env("PATH", path).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn executors_are_offered_where_all_that_they_need_is_there() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().display().to_string();
        let kvm = root.path().join("kvm");
        let tool = |name: &str, script: &str| {
            let file = root.path().join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        };
        assert!(executors(&path, &kvm).is_empty());
        tool("unshare", "");
        assert!(executors(&path, &kvm).is_empty());
        tool("ip", "");
        assert_eq!(executors(&path, &kvm), ["unshare"]);
        let info = |driver: &str| {
            tool(
                "incus",
                &format!("[ $1 = info ] && printf 'config: {{}}\\nenvironment:\\n  driver: {driver}\\n  x: y\\n'"),
            );
        };
        info("lxc | qemu");
        assert_eq!(executors(&path, &kvm), ["unshare"], "autopkgtest-virt-incus is missing");
        tool("autopkgtest-virt-incus", "");
        assert_eq!(executors(&path, &kvm), ["unshare", "incus-lxc", "incus-vm"]);
        info("lxc");
        assert_eq!(executors(&path, &kvm), ["unshare", "incus-lxc"]);
        tool("incus", "echo no daemon >&2; exit 1");
        assert_eq!(executors(&path, &kvm), ["unshare"]);
        tool(&format!("qemu-system-{}", rustix::system::uname().machine().to_string_lossy()), "");
        assert_eq!(executors(&path, &kvm), ["unshare"], "there is no device");
        fs::write(&kvm, "").unwrap();
        assert_eq!(executors(&path, &kvm), ["unshare", "qemu"]);
    }
}
