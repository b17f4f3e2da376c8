//! Which Rust compiler on this machine can build for the BPF target.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{find_program, output};

/// The target of the kernel program.
pub const BPF_TARGET: &str = "bpfel-unknown-none";

/// A compiler that can build the kernel program.
#[derive(Debug)]
pub struct Compiler {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    /// `core` has to be built from `rust-src`.
    pub build_std: bool,
    pub version: Version,
}

/// What `rustc -vV` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Major and minor number of the release.
    pub release: (u32, u32),
    /// Major number of the LLVM that the compiler is built with: the linker's must be the same.
    pub llvm: u32,
    /// All of it in one line.
    pub text: String,
}

impl Version {
    /// Asks the compiler.
    pub fn of(rustc: &Path) -> Result<Self> {
        let text = output(clean(Command::new(rustc)).arg("-vV"))?;
        Self::parse(&text).with_context(|| format!("cannot read what {} -vV prints:\n{text}", rustc.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let llvm = value("LLVM version")?.split('.').next()?.parse().ok()?;
        Some(Self { release: minor(value("release")?)?, llvm, text: text.lines().collect::<Vec<_>>().join("; ") })
    }
}

/// The best compiler of this machine: one with a ready `core` before one that must build it.
pub fn find() -> Result<Option<Compiler>> {
    let oldest = oldest_release()?;
    let mut with_sources = None;
    for rustc in candidates() {
        let Ok(version) = Version::of(&rustc) else { continue };
        if version.release < oldest {
            continue;
        }
        let Ok(sysroot) = output(clean(Command::new(&rustc)).args(["--print", "sysroot"])) else { continue };
        let sysroot = Path::new(sysroot.trim());
        let Some(cargo) = cargo_of(&rustc, oldest) else { continue };
        if has_core(sysroot) {
            return Ok(Some(Compiler { rustc, cargo, build_std: false, version }));
        }
        if with_sources.is_none() && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
            with_sources = Some(Compiler { rustc, cargo, build_std: true, version });
        }
    }
    Ok(with_sources)
}

/// The workspace's `rust-version`.
fn oldest_release() -> Result<(u32, u32)> {
    minor(env!("CARGO_PKG_RUST_VERSION")).context("rust-version of the workspace is not a version")
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn candidates() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/usr/bin/rustc")];
    let toolchains = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".rustup")));
    if let Some(entries) = toolchains.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) {
        // Newest first only in so far as names sort; any that fits will do.
        let mut rustups: Vec<_> = entries.flatten().map(|entry| entry.path().join("bin/rustc")).collect();
        rustups.sort();
        found.extend(rustups);
    }
    found.extend(find_program("rustc"));
    found.retain(|rustc| rustc.is_file());
    found
}

fn has_core(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(BPF_TARGET).join("lib");
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    fs::read_dir(library).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_core)))
}

/// The cargo beside the compiler, or any recent one.
fn cargo_of(rustc: &Path, oldest: (u32, u32)) -> Option<PathBuf> {
    let beside = rustc.with_file_name("cargo");
    [Some(beside), env::var_os("CARGO").map(PathBuf::from), find_program("cargo")].into_iter().flatten().find(|cargo| {
        // "cargo 1.96.0 (…)"
        let version = output(clean(Command::new(cargo)).arg("--version"));
        version.is_ok_and(|text| text.split(' ').nth(1).and_then(minor) >= Some(oldest))
    })
}

/// Without what cargo and rustup put into our environment: it would make a compiler answer for another toolchain.
pub fn clean(mut command: Command) -> Command {
    for name in
        ["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH"]
    {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_compilers_version() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let version = Version::parse(text).unwrap();
        assert_eq!((version.release, version.llvm), ((1, 97), 22));
        assert!(!version.text.contains('\n'));
        assert_eq!(Version::parse("rustc 1.63.0\n"), None);
    }
}
