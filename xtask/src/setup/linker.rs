//! `bpf-linker` for one compiler's LLVM.
//!
//! It reads the compiler's bitcode, so that its LLVM must be the compiler's. It is therefore found or built per LLVM version, and kept in
//! the user's cache under a name that says which one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::compiler::{BPF_TARGET, Compiler, clean};
use crate::command::{find_program, output, run};

/// The release that is built where none is found. LLVM versions that it can be built for: 21 to 23.
const RELEASE: &str = "0.13.0";

/// Finds a linker that works with the compiler: the cached one, else one in `PATH`.
pub fn find(compiler: &Compiler, cache: &Path) -> Option<PathBuf> {
    let cached = root(compiler.version.llvm, cache).join("bin/bpf-linker");
    let candidates = std::iter::once(cached).filter(|path| path.is_file()).chain(find_program("bpf-linker"));
    candidates.into_iter().find(|linker| links(compiler, linker, cache))
}

/// Builds the linker into the cache, against an LLVM whose libraries lie under `llvm_prefix`.
pub fn build(compiler: &Compiler, llvm_prefix: &Path, cache: &Path) -> Result<PathBuf> {
    let llvm = compiler.version.llvm;
    let root = root(llvm, cache);
    println!("setup: building bpf-linker {RELEASE} for LLVM {llvm} (once, one to two minutes)");
    // cargo sets CARGO_* for us; the inner cargo must not take this project's settings for its own, so it starts elsewhere.
    let build_dir = cache.join("build");
    fs::create_dir_all(&build_dir).with_context(|| format!("cannot create {}", build_dir.display()))?;
    run(clean(Command::new(&compiler.cargo))
        .args(["install", "--quiet", "bpf-linker", "--locked", "--no-default-features", "--version", RELEASE])
        .arg(format!("--features=llvm-{llvm}"))
        .arg("--root")
        .arg(&root)
        .env("RUSTC", &compiler.rustc)
        .env("LLVM_PREFIX", llvm_prefix)
        .env("CARGO_TARGET_DIR", build_dir.join("target"))
        .current_dir(&build_dir))
    .context("bpf-linker cannot be built")?;
    fs::remove_dir_all(&build_dir).with_context(|| format!("cannot remove {}", build_dir.display()))?;
    Ok(root.join("bin/bpf-linker"))
}

/// The prefix of the LLVM development files, found by its `llvm-config`.
pub fn llvm_prefix(llvm: u32) -> Option<PathBuf> {
    let named = env::var_os("LLVM_PREFIX").map(|prefix| Path::new(&prefix).join("bin/llvm-config"));
    let candidates = [named, find_program(&format!("llvm-config-{llvm}")), find_program("llvm-config")];
    candidates.into_iter().flatten().find_map(|config| {
        let version = output(Command::new(&config).arg("--version")).ok()?;
        let matches = version.split('.').next()?.parse() == Ok(llvm);
        let prefix = matches.then(|| output(Command::new(&config).arg("--prefix")).ok())??;
        Some(PathBuf::from(prefix.trim()))
    })
}

fn root(llvm: u32, cache: &Path) -> PathBuf {
    cache.join(format!("bpf-linker-{RELEASE}-llvm-{llvm}"))
}

/// Asks by doing: a linker does not tell its LLVM's version.
fn links(compiler: &Compiler, linker: &Path, cache: &Path) -> bool {
    let probe = "#![no_std]\n#![no_main]\n#[unsafe(no_mangle)] pub extern \"C\" fn probe() -> u32 { 2 }\n\
                 #[panic_handler] fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n";
    // A compiler that must build `core` cannot compile the probe; there the build itself will tell.
    if compiler.build_std {
        return true;
    }
    let source = cache.join(format!("probe-{}.rs", std::process::id()));
    let object = source.with_extension("o");
    let linked = fs::create_dir_all(cache).is_ok()
        && fs::write(&source, probe).is_ok()
        && output(
            clean(Command::new(&compiler.rustc))
                .args(["--edition=2024", "--target", BPF_TARGET, "--crate-type=bin", "-Copt-level=3", "-Clto=fat", "-Cpanic=abort"])
                .arg(format!("-Clinker={}", linker.display()))
                .arg("-o")
                .arg(&object)
                .arg(&source)
                .env("RUSTC_BOOTSTRAP", "1"),
        )
        .is_ok();
    // Nothing depends on the two files being gone.
    let _ = fs::remove_file(&source);
    let _ = fs::remove_file(&object);
    linked
}
