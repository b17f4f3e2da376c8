//! What data files were when they were last in force, in the agent's state directory: `sources.json`, and their contents in `sources/`,
//! each named by its SHA-256.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, Provenance};

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    used: BTreeMap<PathBuf, Used>,
}

/// A file's content that was in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Used {
    pub sha256: String,
    pub entries: usize,
    pub modified: i64,
}

/// What was in force cannot be kept; it is remembered until the agent ends.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to {}: {source}; make it writable, or change `state.directory` in agent.yaml", path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    source: io::Error,
}

impl Store {
    /// What an earlier agent left there. Notes that cannot be read are as good as none: every file is new then.
    pub fn open(directory: &Path) -> Self {
        let notes = directory.join(NOTES);
        let used = match fs::read(&notes) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(file = %notes.display(), %error, "not readable: data files are taken as they are");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(file = %notes.display(), %error, "not readable: data files are taken as they are");
                BTreeMap::new()
            }
        };
        Self { directory: directory.to_owned(), used }
    }

    /// What this file was when it was last in force.
    pub fn last(&self, path: &Path) -> Option<&Used> {
        self.used.get(path)
    }

    /// Where its content is; whoever reads it checks its hash.
    pub fn content(&self, Used { sha256, .. }: &Used) -> Option<PathBuf> {
        Some(self.directory.join(CONTENTS).join(sha256)).filter(|path| path.exists())
    }

    /// These are in force now.
    pub fn note<'a>(&mut self, files: impl Iterator<Item = &'a Provenance>) -> Result<(), StoreError> {
        let mut changed = false;
        for Provenance { path, entries, modified, sha256, .. } in files {
            let used = Used { sha256: sha256.clone(), entries: *entries, modified: *modified };
            changed |= self.used.get(path) != Some(&used) || self.content(&used).is_none();
            self.used.insert(path.clone(), used);
        }
        if changed {
            self.write().map_err(|source| StoreError { path: self.directory.clone(), source })?;
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let contents = self.directory.join(CONTENTS);
        DirBuilder::new().recursive(true).mode(0o700).create(&contents)?;
        for (path, used) in self.used.iter().filter(|(_, used)| self.content(used).is_none()) {
            // A file that has changed since it was read, or is gone, will be read again and noted then.
            if let Some(bytes) = file::stored(path, &used.sha256) {
                replace(&contents.join(&used.sha256), &bytes)?;
            }
        }
        replace(&self.directory.join(NOTES), &serde_json::to_vec(&self.used)?)?;
        let needed: HashSet<&str> = self.used.values().map(|used| used.sha256.as_str()).collect();
        for entry in fs::read_dir(&contents)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| needed.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

const NOTES: &str = "sources.json";
const CONTENTS: &str = "sources";

/// A reader sees the old content or the new one. What a power cut leaves half written fails its hash, or is no JSON.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}
