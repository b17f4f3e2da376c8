//! A lab's own folder, with a BPF file system of its own in it: nothing a lab pins can meet what an installed agent pinned.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::namespace::NAMES;
use crate::command::output;

const LABS: &str = "/run/edge-lab";
const PREFIX: &str = "edge-lab-";

/// What tells one lab from every other: its process and a number within it.
#[derive(Clone, Copy, Debug)]
pub struct LabId {
    process: u32,
    number: u32,
}

impl LabId {
    /// A new one.
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { process: std::process::id(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The name of a host's network namespace.
    pub fn namespace(self, host: &str) -> String {
        let Self { process, number } = self;
        format!("{PREFIX}{process}-{number}-{host}")
    }

    fn directory(self) -> PathBuf {
        let Self { process, number } = self;
        Path::new(LABS).join(format!("{process}-{number}"))
    }
}

/// The folder; removed when dropped.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn new(id: LabId) -> Result<Self> {
        let this = Self { path: id.directory() };
        let bpf = this.bpf();
        fs::create_dir_all(&bpf).with_context(|| format!("cannot create {}", bpf.display()))?;
        mount_bpf(&bpf).with_context(|| format!("cannot mount a BPF file system at {}", bpf.display()))?;
        Ok(this)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mount point of the BPF file system.
    pub fn bpf(&self) -> PathBuf {
        self.path.join("bpf")
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes what labs of processes that are no more have left: processes, namespaces, mounts, files.
pub fn remove_leftovers() {
    for name in entries(Path::new(NAMES)) {
        if name.strip_prefix(PREFIX).is_some_and(is_left_over)
            && let Err(error) = remove_namespace(&name)
        {
            eprintln!("lab: {error:#}");
        }
    }
    for name in entries(Path::new(LABS)) {
        if is_left_over(&name) {
            remove(&Path::new(LABS).join(name));
        }
    }
}

/// With what still runs in it: a program that changed its user does not die with the process that started it (prctl(2)).
fn remove_namespace(name: &str) -> Result<()> {
    for process in output(Command::new("ip").args(["netns", "pids", name]))?.lines() {
        let process = process.trim().parse().with_context(|| format!("ip netns pids printed {process}"))?;
        // SAFETY: takes two numbers. That the process has ended by now is as good.
        unsafe { libc::kill(process, libc::SIGKILL) };
    }
    output(Command::new("ip").args(["netns", "delete", name])).map(drop)
}

/// Whether the process at the head of a name (`PID-…`) is gone, or a zombie.
fn is_left_over(name: &str) -> bool {
    let Some(id) = name.split('-').next().and_then(|id| id.parse::<u32>().ok()) else { return false };
    match fs::read_to_string(format!("/proc/{id}/stat")) {
        // proc_pid_stat(5): the state follows the name, which is in parentheses and may itself hold any character.
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z')),
        Err(_) => true,
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn remove(directory: &Path) {
    let bpf = directory.join("bpf");
    if bpf.exists()
        && let Err(error) = unmount(&bpf)
        && error.raw_os_error() != Some(libc::EINVAL)
    {
        eprintln!("lab: cannot unmount {}: {error}", bpf.display());
        return;
    }
    if let Err(error) = fs::remove_dir_all(directory) {
        eprintln!("lab: cannot remove {}: {error}", directory.display());
    }
}

fn mount_bpf(at: &Path) -> io::Result<()> {
    let target = CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: three strings that end in NUL, and no data.
    match unsafe { libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, c"mode=0700".as_ptr().cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `EINVAL`: nothing is mounted there.
fn unmount(at: &Path) -> io::Result<()> {
    let target = CString::new(at.as_os_str().as_bytes())?;
    // SAFETY: a string that ends in NUL.
    match unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_left_over() {
        assert!(!is_left_over(&format!("{}-0-phone", std::process::id())));
        // Above the kernel's limit of 2^22.
        assert!(is_left_over("4194305-0-phone"));
        assert!(!is_left_over("phone-0"), "a name that is not ours");
    }
}
