//! Builds the kernel program for its own target and hands its path to the agent, which embeds it.

#[path = "../xtask/src/setup/record.rs"]
mod record;

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use record::Toolchain;

const TARGET: &str = "bpfel-unknown-none";

fn main() {
    match build() {
        Ok(objects) => {
            println!("cargo::rustc-env=EDGE_EBPF_OBJECT={}", objects.join("edge-ebpf").display());
            if bench() {
                println!("cargo::rustc-env=EDGE_BENCH_OBJECT={}", objects.join("edge-bench").display());
            }
        }
        // `error` fails the build and shows these lines alone, where an exit code would show all that this script printed.
        Err(message) => message.lines().for_each(|line| println!("cargo::error={line}")),
    }
}

/// Whether the programs of the bench are wanted too.
fn bench() -> bool {
    env::var_os("CARGO_FEATURE_BENCH").is_some()
}

/// Builds the objects and returns their folder.
fn build() -> Result<PathBuf, String> {
    let program = Path::new("../edge-ebpf");
    let workspace = [program, Path::new("../Cargo.toml"), Path::new("../Cargo.lock"), Path::new("../xtask/src/setup/record.rs")];
    for input in workspace {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    println!("cargo::rerun-if-env-changed=XDG_CACHE_HOME");
    let toolchain = toolchain()?;
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let Output { status, stderr, .. } =
        cargo(&toolchain, program, &out_dir)?.output().map_err(|error| format!("cannot start {}: {error}", toolchain.cargo.display()))?;
    if !status.success() {
        return Err(format!("the kernel program cannot be built:\n{}", String::from_utf8_lossy(&stderr)));
    }
    Ok(out_dir.join(TARGET).join("bpf"))
}

fn toolchain() -> Result<Toolchain, String> {
    let missing = || "the toolchain of the kernel program is not set up: run `cargo xtask setup`";
    let path = record::record_path().ok_or_else(missing)?;
    println!("cargo::rerun-if-changed={}", path.display());
    let toolchain = Toolchain::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(toolchain.filter(Toolchain::is_present).ok_or_else(missing)?)
}

fn cargo(toolchain: &Toolchain, program: &Path, out_dir: &Path) -> Result<Command, String> {
    let Toolchain { rustc, cargo, linker, build_std, version: _ } = toolchain;
    let mut command = Command::new(cargo);
    // What cargo set for this script is about the agent and its compiler: another toolchain, clippy in the compiler's place, flags.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let about_the_agent = name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_MAKEFLAGS" && !is_network_setting(&name);
        if about_the_agent || name.starts_with("RUST") && name != "RUSTUP_HOME" || name == "LD_LIBRARY_PATH" {
            command.env_remove(&*name);
        }
    }
    // aya-ebpf needs to know whose registers a probe would see; the linker makes the types' BTF out of the debug information.
    let flags = [
        format!("-Clinker={}", linker.display()),
        "-Clink-arg=--btf".to_owned(),
        format!("--cfg=bpf_target_arch=\"{}\"", variable("CARGO_CFG_TARGET_ARCH")?),
    ];
    command
        .args(["build", "--quiet", "--package=edge-ebpf", "--profile=bpf", "--bin=edge-ebpf", "--features=program"])
        .args(["--target", TARGET])
        .arg("--manifest-path")
        .arg(program.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(out_dir)
        .env("RUSTC", rustc)
        // The BPF target is not a stable one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    if bench() {
        command.args(["--bin=edge-bench", "--features=bench"]);
    }
    if *build_std {
        command.arg("-Zbuild-std=core");
    }
    Ok(command)
}

/// Settings of the user, not of the build that this script is part of.
fn is_network_setting(name: &str) -> bool {
    ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"].iter().any(|prefix| name.starts_with(prefix))
}

fn variable(name: &str) -> Result<String, String> {
    let explain = |error: &dyn Display| format!("cargo did not set {name} for the build script ({error})");
    env::var(name).map_err(|error| explain(&error))
}
