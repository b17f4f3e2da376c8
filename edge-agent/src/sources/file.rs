//! One data file: its bytes, where it is from, and whether it is still the same.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::packed;

/// A data file is not usable. `way_out` names the package or the key to set.
#[derive(thiserror::Error, Debug)]
pub enum SourceError {
    #[error("cannot read {what} from {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, way_out: &'static str, source: io::Error },
    #[error("{}:{line}: this is not {expected}", path.display())]
    Format { path: PathBuf, line: usize, expected: &'static str, way_out: &'static str },
    #[error("{} does not give {what}: {problem}", path.display())]
    Database { path: PathBuf, what: &'static str, problem: String, way_out: &'static str },
    #[error("no file of {what} is configured")]
    NotConfigured { what: &'static str, way_out: &'static str },
    #[error("{} has {found} entries, and had {before} when it was last used", path.display())]
    Shrunk { path: PathBuf, found: usize, before: usize },
}

impl SourceError {
    /// What to do about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Read { way_out, .. }
            | Self::Format { way_out, .. }
            | Self::Database { way_out, .. }
            | Self::NotConfigured { way_out, .. } => way_out,
            Self::Shrunk { .. } => "restore the file, or run `edge-agent reload --accept-shrink` if it is right",
        }
    }
}

/// Where data is from.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Provenance {
    pub path: PathBuf,
    /// Lines that hold data.
    pub entries: usize,
    /// Last modification, in seconds since 1970; negative before.
    pub modified: i64,
    /// SHA-256 of the file as it is stored, in hexadecimal digits.
    pub sha256: String,
    /// All of the above is of the content that the file had when it was last used: it lost too much since, and has so many entries now.
    pub shrunk_to: Option<usize>,
    #[serde(skip)]
    pub(super) stamp: Stamp,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), modified: metadata.modified().ok() }
    }
}

/// What was made of files, and which files those were.
pub struct Cached<T> {
    pub value: T,
    pub files: Vec<Provenance>,
}

impl<T> Cached<T> {
    /// Whether reading again would give the same. A file whose content was not taken is asked for it each time.
    pub fn is_current(&self) -> bool {
        self.files
            .iter()
            .all(|file| file.shrunk_to.is_none() && std::fs::metadata(&file.path).is_ok_and(|metadata| Stamp::of(&metadata) == file.stamp))
    }
}

/// A file's bytes, unpacked if they are gzip, zstd or xz.
///
/// # Errors
/// [`SourceError::Read`] with `what` and `way_out`.
pub fn read(path: &Path, what: &'static str, way_out: &'static str) -> Result<(Vec<u8>, Provenance), SourceError> {
    contents(path).map_err(|source| SourceError::Read { what, path: path.to_owned(), way_out, source })
}

fn contents(path: &Path) -> io::Result<(Vec<u8>, Provenance)> {
    let mut file = File::open(path)?;
    // Of the open file, so that it is that of the bytes even if the path gets a new file meanwhile.
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let sha256 = hexadecimal(&Sha256::digest(&bytes));
    if let Some(plain) = packed::unpack(&bytes)? {
        bytes = plain;
    }
    let stamp = Stamp::of(&metadata);
    Ok((bytes, Provenance { path: path.to_owned(), entries: 0, modified: metadata.mtime(), sha256, shrunk_to: None, stamp }))
}

/// A file's bytes as they are stored, if they still have this hash.
pub(super) fn stored(path: &Path, sha256: &str) -> Option<Vec<u8>> {
    std::fs::read(path).ok().filter(|bytes| hexadecimal(&Sha256::digest(bytes)) == sha256)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
