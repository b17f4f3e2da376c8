//! `xtask kernels`: boots Debian's kernels in an emulator and asks each what it makes of the agent's programs.
//!
//! The guest has no disk and no network: a kernel, and one program that loads the object in every combination of features, runs the
//! tests of the engines, and says on the serial port what came of it.

mod archive;
mod findings;
mod initramfs;
mod machine;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::build::{cargo, program, target_dir};
use crate::command::{find_program, workspace};
use crate::setup::{Purpose, install, setup};
use archive::Archive;
use findings::{Row, Table};
use initramfs::Initramfs;
use machine::Machine;

/// A kernel and the Debian suite that has it.
struct Release {
    name: &'static str,
    suite: &'static str,
}

const RELEASES: [Release; 4] = [
    Release { name: "5.10", suite: "bullseye" },
    Release { name: "6.1", suite: "bookworm" },
    Release { name: "6.12", suite: "trixie" },
    Release { name: "newest", suite: "sid" },
];

/// Where the guest finds the tests.
const TESTS: &str = "/engines";

#[derive(clap::Args)]
pub struct Kernels {
    /// Only these of 5.10, 6.1, 6.12 and newest, separated by commas
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Not all combinations of features: each value with the first and with the last of all others
    #[arg(long)]
    each: bool,
    /// Seconds that a kernel may take
    #[arg(long, default_value_t = 3600)]
    limit: u64,
}

impl Kernels {
    pub fn run(&self) -> Result<()> {
        let Self { only, each, limit } = self;
        let releases = chosen(only)?;
        if !cfg!(target_arch = "x86_64") {
            bail!("the machines are emulated for x86-64 programs that are built here: run this on x86-64");
        }
        setup(Purpose::Build)?;
        if find_program("qemu-system-x86_64").is_none() {
            install(&["qemu-system-x86"])?;
        }
        let directory = target_dir()?.join("kernels");
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let initramfs = directory.join("initramfs");
        bundle()?.write(&initramfs)?;

        let archive = Archive::find();
        let mut rows = Vec::new();
        for Release { name, suite } in releases {
            println!("kernels: {name} of Debian {suite}");
            let started = Instant::now();
            let boot = |archive: &Archive| {
                let kernel = archive.kernel(suite)?;
                let console = directory.join(format!("console-{name}"));
                Machine { kernel: &kernel, initramfs: &initramfs, console: &console, each: *each }.run(Duration::from_secs(*limit))
            };
            let findings = archive.as_ref().map_err(|error| anyhow!("{error:#}")).and_then(boot);
            rows.push(Row { name, findings, took: started.elapsed() });
        }
        print!("\n{}", Table { rows: &rows });
        if rows.iter().all(Row::is_good) {
            Ok(())
        } else {
            bail!("not every kernel did everything; the consoles are in {}", directory.display())
        }
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Release>> {
    if let Some(unknown) = only.iter().find(|name| RELEASES.iter().all(|release| release.name != **name)) {
        bail!("there is no kernel `{unknown}`; choose among {}", RELEASES.map(|release| release.name).join(", "));
    }
    Ok(RELEASES.iter().filter(|release| only.is_empty() || only.iter().any(|name| name == release.name)).collect())
}

/// The check, the tests, and what they open when they run.
fn bundle() -> Result<Initramfs> {
    let mut initramfs = Initramfs::default();
    initramfs.program("/init", &program(cargo().args(["build", "--example=kernel_check"]), "kernel_check")?)?;
    initramfs.program(TESTS, &program(cargo().args(["test", "--no-run", "--test=engines"]), "engines")?)?;
    // Tests know their files by where they were built.
    let corpus = workspace().join("edge-agent/tests/corpus");
    for entry in fs::read_dir(&corpus).with_context(|| format!("cannot read {}", corpus.display()))? {
        let path = entry?.path();
        initramfs.file(&path, &path)?;
    }
    Ok(initramfs)
}

/// Where a file goes in the guest.
fn guest_path(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_left_out_by_name() {
        let names = |only: &[&str]| -> Option<Vec<&str>> {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            Some(chosen(&only).ok()?.iter().map(|release| release.name).collect())
        };
        assert_eq!(names(&[]), Some(vec!["5.10", "6.1", "6.12", "newest"]));
        assert_eq!(names(&["6.12", "6.1"]), Some(vec!["6.1", "6.12"]));
        assert_eq!(names(&["6.1", "6.2"]), None, "a kernel that is not tested is not passed over");
    }
}
