//! A network namespace as a value: made by `new`, gone with everything in it when dropped.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::command::{find_program, output};

/// Where `ip netns` keeps the names.
pub(super) const NAMES: &str = "/run/netns";

/// A named network namespace. The name makes it reachable for a person too: `ip netns exec NAME curl …`.
pub struct Namespace {
    name: String,
    handle: Arc<OwnedFd>,
}

impl Namespace {
    pub fn new(name: String) -> Result<Self> {
        output(Command::new("ip").args(["netns", "add", &name]))?;
        let path = Path::new(NAMES).join(&name);
        let handle = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let this = Self { name, handle: Arc::new(handle.into()) };
        this.ip(&["link set lo up"])?;
        // An address is in use at once, not after a second's look for duplicates.
        this.sysctl(&[("ipv6/conf/default/accept_dad", "0"), ("ipv6/conf/default/dad_transmits", "0")])?;
        Ok(this)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in here, once for each line of arguments. (`ip -n` would do more than we need: it mounts, which fails in a chroot.)
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        for line in lines {
            output(self.command("ip").args(line.split_whitespace()))?;
        }
        Ok(())
    }

    /// Sets kernel parameters below `/proc/sys/net`, as (path, value).
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in settings {
                let path = Path::new("/proc/sys/net").join(name);
                std::fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// A command that runs in here, in a process group of its own (Ctrl-C is ours to handle), and dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let found = program.to_str().and_then(find_program).unwrap_or_else(|| PathBuf::from(program));
        let handle = Arc::clone(&self.handle);
        let mut command = Command::new(found);
        command.process_group(0);
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                enter(&handle)?;
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            })
        };
        command
    }

    /// Runs the function in here, on a thread of its own. Sockets that it opens stay in here wherever they are used.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let in_here = || {
            enter(&self.handle).with_context(|| format!("cannot enter the namespace {}", self.name))?;
            function()
        };
        thread::scope(|scope| scope.spawn(in_here).join()).map_err(|_| anyhow!("a thread in {} panicked", self.name))?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = output(Command::new("ip").args(["netns", "delete", &self.name])) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Moves the calling thread.
fn enter(handle: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the call takes nothing else.
    match unsafe { libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
