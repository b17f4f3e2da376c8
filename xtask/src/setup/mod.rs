//! `xtask setup`: finds, or installs, what the other commands need. Idempotent, and quick when nothing is missing.

mod compiler;
mod linker;
mod packages;
mod record;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

pub use compiler::{BPF_TARGET, clean};
use compiler::{Compiler, Version};
pub use packages::{Purpose, install, is_offered};
pub use record::{Toolchain, cache_dir};

/// Brings the machine to where the purpose can be served, and returns the toolchain of the kernel program.
pub fn setup(purpose: Purpose) -> Result<Toolchain> {
    let toolchain = bpf_toolchain()?;
    if purpose > Purpose::Build {
        packages::provide(purpose)?;
    }
    Ok(toolchain)
}

/// The recorded toolchain while it is still there and the same, else a newly found one.
fn bpf_toolchain() -> Result<Toolchain> {
    let record = record::record_path().context("neither XDG_CACHE_HOME nor HOME is set: set one of them, tools are kept there")?;
    let recorded = Toolchain::read(&record).with_context(|| format!("cannot read {}", record.display()))?;
    if let Some(toolchain) = recorded.filter(Toolchain::is_present)
        && Version::of(&toolchain.rustc).is_ok_and(|version| version.text == toolchain.version)
    {
        return Ok(toolchain);
    }
    let cache = record.parent().context("the cache has no directory")?;
    let compiler = provide_compiler()?;
    let linker = provide_linker(&compiler, cache)?;
    let Compiler { rustc, cargo, build_std, version: Version { text: version, .. } } = compiler;
    let toolchain = Toolchain { rustc, cargo, linker, build_std, version };
    write(&toolchain, &record)?;
    println!("setup: kernel program is built by {} and {}", toolchain.rustc.display(), toolchain.linker.display());
    Ok(toolchain)
}

fn provide_compiler() -> Result<Compiler> {
    if let Some(compiler) = compiler::find()?
        && !compiler.build_std
    {
        return Ok(compiler);
    }
    // Debian's own compiler with its ready `core` is preferred to building `core`: that is slower, and downloads.
    let installed = install_compiler();
    match (compiler::find()?, installed) {
        (Some(compiler), _) => Ok(compiler),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => bail!("the packages are installed, but no compiler for {BPF_TARGET} is to be found: is /usr/bin/rustc diverted?"),
    }
    .context("no Rust compiler here can build for the BPF target (with rustup, `rustup component add rust-src` makes it able to)")
}

fn install_compiler() -> Result<()> {
    // In stable releases the compiler that Firefox needs, in the security suite; in sid the compiler itself.
    const FLAVOURS: [[&str; 3]; 2] = [["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"], ["rustc", "cargo", "libstd-rust-dev-bpf"]];
    let offered = || FLAVOURS.iter().find(|[.., core]| is_offered(core));
    let found = match offered() {
        Some(flavour) => Some(flavour),
        None => {
            packages::update()?;
            offered()
        }
    };
    let Some(flavour) = found else {
        bail!(
            "no package libstd-rust-web-dev-bpf is on offer: on Debian 12 and 13, add the security suite to the apt sources \
             (the suite bookworm-security of Debian's debian-security archive, component main)"
        );
    };
    install(flavour)
}

fn provide_linker(compiler: &Compiler, cache: &Path) -> Result<std::path::PathBuf> {
    if let Some(linker) = linker::find(compiler, cache) {
        return Ok(linker);
    }
    let llvm = compiler.version.llvm;
    let prefix = match linker::llvm_prefix(llvm) {
        Some(prefix) => prefix,
        None => {
            let package = format!("llvm-{llvm}-dev");
            install(&[&package]).with_context(|| {
                format!("bpf-linker for LLVM {llvm} must be built, for which LLVM's development files are missing; or put a bpf-linker for LLVM {llvm} into PATH")
            })?;
            linker::llvm_prefix(llvm).with_context(|| format!("{package} is installed, but there is no llvm-config-{llvm}"))?
        }
    };
    linker::build(compiler, &prefix, cache)
}

/// Whole or not at all: a build may be reading it.
fn write(toolchain: &Toolchain, path: &Path) -> Result<()> {
    let Toolchain { rustc, cargo, linker, build_std, version } = toolchain;
    let (rustc, cargo, linker) = (rustc.display(), cargo.display(), linker.display());
    let text = format!("rustc={rustc}\ncargo={cargo}\nlinker={linker}\nbuild_std={build_std}\nversion={version}\n");
    let partial = path.with_extension("partial");
    fs::write(&partial, text).and_then(|()| fs::rename(&partial, path)).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let path = std::env::temp_dir().join(format!("edge-record-{}", std::process::id()));
        let toolchain = Toolchain {
            rustc: "/usr/bin/rustc".into(),
            cargo: "/usr/bin/cargo".into(),
            linker: "/opt/a = b/bpf-linker".into(),
            build_std: true,
            version: "rustc 1.96.0; LLVM version: 22.1.8".into(),
        };
        write(&toolchain, &path).unwrap();
        assert_eq!(Toolchain::read(&path).unwrap(), Some(toolchain));
        fs::write(&path, "rustc=/usr/bin/rustc\n").unwrap();
        assert_eq!(Toolchain::read(&path).unwrap(), None, "a record that lacks a key is none");
        fs::remove_file(&path).unwrap();
        assert_eq!(Toolchain::read(&path).unwrap(), None);
    }
}
