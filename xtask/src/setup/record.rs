//! What set-up found, kept per user: `xtask setup` writes it, the build script of `edge-agent` includes this file and reads it.
//!
//! It is about the machine, not about one checkout, so that it stands in the user's cache and a second clone needs no set-up.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A compiler that can build for the BPF target, and the linker for its LLVM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Toolchain {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub linker: PathBuf,
    /// The compiler has no ready `core` for the BPF target: build it from `rust-src`.
    pub build_std: bool,
    /// What `rustc -vV` printed, in one line: a compiler that was upgraded in place is looked at again.
    pub version: String,
}

impl Toolchain {
    /// `key=value` lines rather than JSON: a build script should not need a parser.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let path = |key: &str| value(key).map(PathBuf::from);
        Ok((|| {
            Some(Self {
                rustc: path("rustc")?,
                cargo: path("cargo")?,
                linker: path("linker")?,
                build_std: value("build_std")? == "true",
                version: value("version")?.to_owned(),
            })
        })())
    }

    /// Nothing is missing that the record names.
    pub fn is_present(&self) -> bool {
        [&self.rustc, &self.cargo, &self.linker].into_iter().all(|path| path.exists())
    }
}

/// Where tools that set-up builds and its record are kept: `$XDG_CACHE_HOME/edge-filter`, or `~/.cache/edge-filter`.
pub fn cache_dir() -> Option<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        _ => env::home_dir()?.join(".cache"),
    };
    Some(cache.join("edge-filter"))
}

/// The record's path.
pub fn record_path() -> Option<PathBuf> {
    Some(cache_dir()?.join("bpf-toolchain"))
}
