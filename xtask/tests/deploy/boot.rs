//! A real systemd starts the agent's unit as it is shipped: its capabilities, system calls and file system suffice, and its order holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::build::agent_path;
use xtask::command::workspace;
use xtask::lab::process::{Process, wait_until};

use crate::tool::scratch;

const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

#[test]
#[ignore = "makes namespaces and mounts, which needs root: ./x test runs it"]
fn the_unit_starts_the_agent_before_the_network_with_three_capabilities() -> Result<()> {
    if !Path::new("/lib/systemd/systemd").exists() {
        println!("skipped: systemd is not installed");
        return Ok(());
    }
    let report = boot()?;
    let said = |key: &str| report.get(key).map_or("nothing", String::as_str);
    let context = format!("{report:#?}");

    ensure!(said("before_network").contains("\"ready\":true"), "the network came before the filter: {context}");
    let capabilities = u64::from_str_radix(said("capabilities"), 16).context("capabilities")?;
    ensure!(capabilities == CAP_NET_ADMIN | CAP_PERFMON | CAP_BPF, "other capabilities: {context}");
    ensure!(said("seccomp") == "2", "system calls are not filtered: {context}");
    ensure!(said("state") == "/usr/share/tor/geoip6", "the state directory is not written to: {context}");
    ensure!(said("reloaded").contains("\"generation\":2"), "no reload: {context}");
    ensure!(said("attached_without_agent") == "yes", "the filter went with the agent: {context}");
    ensure!(said("restarted").contains("\"ready\":true"), "no restart after a kill: {context}");
    ensure!(said("attached_after_stop") == "yes", "the filter went with the service: {context}");
    ensure!(said("attached_after_detach") == "no", "detach left the filter: {context}");
    Ok(())
}

/// What `boot.sh` reports.
fn boot() -> Result<BTreeMap<String, String>> {
    let folder = scratch(&format!("boot-{}", std::process::id()));
    let agent = std::env::var_os("EDGE_AGENT").map_or_else(agent_path, |path| Ok(PathBuf::from(path)))?;
    let script = workspace().join("xtask/tests/deploy/boot.sh");
    let log = fs::File::create(folder.with_extension("log"))?;
    let group = ControlGroup::new()?;
    let mut command = Command::new("sh");
    // Into a control group of our own first, so that the new namespace has it as its root.
    command
        .args(["-c", "echo $$ >\"$0/cgroup.procs\"; exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \"$@\""])
        .arg(&group.path)
        .arg("/bin/sh")
        .args([script.as_path(), folder.as_path(), agent.as_path(), workspace()])
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut process = Process::start(&mut command)?;
    // The folder's tmpfs is in the other mount namespace: seen through the process's child, systemd.
    let mut text = String::new();
    let waited = wait_until(Duration::from_secs(90), "the report is done", || {
        process.check()?;
        text =
            first_child(process.id()).and_then(|child| fs::read_to_string(format!("/proc/{child}/root/report")).ok()).unwrap_or_default();
        Ok(text.ends_with("done=\n"))
    });
    waited.with_context(|| format!("it said {text:?}; {}", fs::read_to_string(folder.with_extension("log")).unwrap_or_default()))?;
    Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn first_child(process: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?.split_whitespace().next()?.parse().ok()
}

/// A control group in the unified hierarchy, for systemd to have as its root.
struct ControlGroup {
    path: PathBuf,
    mounted: PathBuf,
}

impl ControlGroup {
    fn new() -> Result<Self> {
        let mounted = scratch(&format!("cgroup-{}", std::process::id()));
        xtask::command::run(Command::new("mount").args(["-t", "cgroup2", "cgroup2"]).arg(&mounted))?;
        let path = mounted.join(format!("edge-boot-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path, mounted })
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Children before parents; what systemd has left in it dies with its namespace, a moment later.
        let removed = wait_until(Duration::from_secs(5), "the control group is empty", || {
            let _ = Command::new("find").arg(&self.path).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).output();
            Ok(!self.path.exists())
        });
        if let Err(error) = removed {
            eprintln!("{error:#}");
        }
        let _ = Command::new("umount").arg(&self.mounted).status();
    }
}
