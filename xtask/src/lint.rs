//! `xtask lint`: formatting and clippy, warnings denied.

use std::process::Command;

use anyhow::{Result, bail};

use crate::build::cargo;
use crate::command::{run, workspace};
use crate::setup::{BPF_TARGET, Purpose, Toolchain, clean, install, is_offered, setup};

/// Denies what the formatter or clippy would change, in the host's crates and in the kernel program for its own target.
pub fn lint() -> Result<()> {
    let toolchain = setup(Purpose::Build)?;
    provide_tools(&toolchain)?;
    run(cargo().args(["fmt", "--all", "--", "--check"]))?;
    // The kernel program's own target cannot be checked for the host; its library can.
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--features=edge-agent/bench", "--", "--deny=warnings"]))?;
    run(clippy_for_bpf(&toolchain).args(["--package=edge-ebpf", "--bins", "--features=program,bench", "--", "--deny=warnings"]))
}

/// Clippy beside the compiler of the kernel program: `cargo clippy` would take the first in `PATH`, of another compiler.
fn clippy_for_bpf(toolchain: &Toolchain) -> Command {
    let Toolchain { rustc, cargo, linker: _, build_std, version: _ } = toolchain;
    let mut command = clean(Command::new(rustc.with_file_name("cargo-clippy")));
    command
        .args(["clippy", "--target", BPF_TARGET])
        .current_dir(workspace())
        .env("CARGO", cargo)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH));
    if *build_std {
        command.arg("-Zbuild-std=core");
    }
    command
}

/// Debian keeps the formatter and clippy in packages of their own; rustup's default profile brings both.
fn provide_tools(toolchain: &Toolchain) -> Result<()> {
    let works = |command: &mut Command| command.arg("--version").output().is_ok_and(|output| output.status.success());
    let has_formatter = works(cargo().arg("fmt"));
    let has_clippy = works(cargo().arg("clippy")) && works(&mut clean(Command::new(toolchain.rustc.with_file_name("cargo-clippy"))));
    if has_formatter && has_clippy {
        return Ok(());
    }
    const FLAVOURS: [[&str; 2]; 2] = [["rustfmt-web", "rust-web-clippy"], ["rustfmt", "rust-clippy"]];
    match FLAVOURS.iter().find(|[formatter, _]| is_offered(formatter)) {
        Some(flavour) => install(flavour),
        None => bail!("rustfmt or clippy is missing: rustup component add rustfmt clippy"),
    }
}
