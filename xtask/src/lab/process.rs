//! A child process that ends with its value.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::signal;
use crate::command::shown;

/// A running program; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts the command with nothing on its standard input.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = shown(command);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a chance to tidy up.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().and_then(|()| self.child.wait()).with_context(|| format!("cannot kill {}", self.name))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let id = self.id().try_into().context("a process id that is none")?;
        // SAFETY: takes two numbers; the process is our child and not yet waited for, so that its number is its own.
        match unsafe { libc::kill(id, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).with_context(|| format!("cannot send signal {signal} to {}", self.name)),
        }
    }

    /// Waits until it ends.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        wait_until(limit, &format!("{} has ended", self.name), || {
            status = self.child.try_wait().context("cannot wait for a child")?;
            Ok(status.is_some())
        })?;
        status.context("a process that ended without a status")
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait().context("cannot wait for a child")? {
            Some(status) => bail!("{} has ended ({status})", self.name),
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again, for at most `limit`, until the condition holds. `what` is what was waited for, for the error.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        if condition()? {
            return Ok(());
        }
        if signal::is_interrupted() {
            bail!("interrupted while waiting until {what}");
        }
        if Instant::now() > end {
            bail!("waited {} s in vain until {what}", limit.as_secs_f32());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
