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
    // Only executors that tasks of ours can use: an offer that ends in failures helps nobody.
    if ["unshare", "ip"].iter().all(|tool| which(path, tool).is_some()) {
        provided.insert(tags::executor("unshare"));
    }
    provided
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
    let Some(program) = which(path, tool) else { return Vec::new() };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", path).stdin(Stdio::null()).stderr(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
