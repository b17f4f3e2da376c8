//! An emulated machine that boots a kernel, runs the check and ends.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::TESTS;
use super::findings::Findings;
use crate::lab::process::Process;

pub struct Machine<'a> {
    pub kernel: &'a Path,
    pub initramfs: &'a Path,
    /// Gets what the guest says.
    pub console: &'a Path,
    pub each: bool,
}

impl Machine<'_> {
    /// Runs it to its end, or to the limit.
    pub fn run(&self, limit: Duration) -> Result<Findings> {
        let Self { kernel, initramfs, console, each } = self;
        let output = File::create(console).with_context(|| format!("cannot write {}", console.display()))?;
        let errors = output.try_clone().context("cannot share the console's file")?;
        // What follows the dashes is for the first process.
        let each = if *each { "--each " } else { "" };
        let arguments = format!("console=ttyS0 quiet panic=-1 reboot=t -- {each}--tests {TESTS}");
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-accel", "tcg", "-smp", "1", "-m", "1024", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
            // Without cmpxchg16b: QEMU 7.2 returns from an interrupt behind it with wrong flags, and 6.12's allocator dies of that.
            .args(["-cpu", "qemu64,-cx16"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &arguments])
            .stdout(output)
            .stderr(errors);
        let mut process = Process::start(&mut command)?;
        let ended = process.wait(limit);
        if ended.is_err() {
            process.kill()?;
        }
        let text = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
        let findings = Findings::read(&String::from_utf8_lossy(&text));
        match findings {
            Some(findings) => Ok(findings),
            None if ended.is_err() => bail!("no answer within {} s; see {}", limit.as_secs(), console.display()),
            None => bail!("the machine ended without an answer; see {}", console.display()),
        }
    }
}
