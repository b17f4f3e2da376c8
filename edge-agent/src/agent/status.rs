//! What the agent knows of itself and of the kernel at one moment: `/metrics`, `/readyz` and `edge-agent status` print from it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::dataplane::snapshot::Snapshot;

/// Makes a [`Status`] of the moment; each call reads the kernel's counters.
pub type StatusSource = Arc<dyn Fn() -> Result<Status, StatusError> + Send + Sync>;

/// The kernel's maps cannot be read, so there is nothing true to tell.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the kernel's counters: {0}")]
pub struct StatusError(#[source] pub Box<dyn Error + Send + Sync>);

#[derive(Clone, Debug)]
pub struct Status {
    /// Version of this agent's package.
    pub version: &'static str,
    /// Version of the layouts of what is pinned, `abi::SCHEMA`.
    pub schema: u32,
    /// When this process started.
    pub started_at: SystemTime,
    /// The generation in force; 0 if none ever was.
    pub generation: u32,
    /// When this process put the generation in force; `None` while it only watches one that another process loaded.
    pub loaded_at: Option<SystemTime>,
    /// The policies that are configured now are in force on every configured interface.
    pub ready: bool,
    /// In order of evaluation; empty while the process only watches another's generation.
    pub policies: Vec<PolicyStatus>,
    /// What `check` warns of in the policies in force, rendered.
    pub warnings: Vec<String>,
    /// The data files that the policies in force were resolved with.
    pub sources: Vec<SourceStatus>,
    /// Attempts to load that left the generation in force as it was, since the start of this process; every stage is in it.
    pub load_failures: BTreeMap<Stage, u64>,
    /// The last of them, gone once a later attempt has succeeded.
    pub last_failure: Option<Failure>,
    pub devices: DeviceCounts,
    pub snapshot: Snapshot,
}

/// What the agent knows of devices.
#[derive(Clone, Debug, Default)]
pub struct DeviceCounts {
    pub known: u64,
    /// How often a device showed what contradicts what it was known by, by kind of fact.
    pub changes: Vec<(&'static str, u64)>,
}

/// A step of putting policies in force.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Reading and checking the YAML.
    Load,
    /// Turning names of vendors, countries and lists into numbers.
    Resolve,
    /// Making tables.
    Compile,
    /// Filling maps, loading programs, replacing links.
    Swap,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Load, Self::Resolve, Self::Compile, Self::Swap];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Resolve => "resolve",
            Self::Compile => "compile",
            Self::Swap => "swap",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub at: SystemTime,
    pub stage: Stage,
    /// As the log shows it: each problem with its place and hint.
    pub problems: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct PolicyStatus {
    pub name: String,
    pub title: String,
    pub severity: String,
    /// `enforce` or `monitor`.
    pub mode: &'static str,
    pub priority: u32,
    /// From then on none of its rules holds.
    pub expires: Option<SystemTime>,
    /// From then on it is due for review.
    pub review_by: Option<SystemTime>,
    /// From then on devices should have stopped what its rules are about.
    pub stop_by: Option<SystemTime>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceStatus {
    /// What it says: `vendors`, `countries`, `services`, or a list's name.
    pub name: String,
    pub file: PathBuf,
    /// Entries read from the file.
    pub entries: u64,
    /// The file's modification time, if the file system keeps one.
    pub modified: Option<SystemTime>,
    /// Of the file as it is stored, in hexadecimal digits.
    pub sha256: String,
    /// From this moment on the file is too old.
    pub stale_from: Option<SystemTime>,
    /// Entries that the file has now, which are so few that all of the above is of its former content, which is in force.
    pub shrunk_to: Option<u64>,
}

impl SourceStatus {
    pub fn is_stale(&self, now: SystemTime) -> bool {
        self.stale_from.is_some_and(|from| from <= now)
    }
}
