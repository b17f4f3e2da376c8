//! The status as the control socket tells it, and `edge-agent status --json` prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use edge_ebpf::abi::{Counter, Verdict};
use serde::{Deserialize, Serialize};

use crate::agent::status::{Failure, PolicyStatus, SourceStatus, Status};
use crate::dataplane::snapshot::{InterfaceSnapshot, RuleSnapshot, Snapshot, TableUse};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusReport {
    /// An agent runs; else only what it left in the kernel is reported.
    pub agent: bool,
    pub version: String,
    /// Any interface is filtered.
    pub enforcing: bool,
    /// The policies that are configured now are in force on every configured interface.
    pub ready: bool,
    pub generation: u32,
    /// Seconds since the epoch.
    pub loaded_at: Option<u64>,
    pub interfaces: Vec<InterfaceReport>,
    /// Names of the policies in force, in order.
    pub policies: Vec<String>,
    /// Those that are in force, or have counted something.
    pub rules: Vec<RuleReport>,
    pub uninspectable: Vec<UninspectableReport>,
    /// DNS answers on their way to devices, by what became of them; those that came.
    #[serde(default)]
    pub answers: BTreeMap<String, Count>,
    #[serde(default)]
    pub tables: Vec<TableReport>,
    pub warnings: Vec<String>,
    /// The data files that the policies in force were resolved with.
    pub sources: Vec<SourceReport>,
    /// Devices that the agent knows.
    #[serde(default)]
    pub devices: u64,
    /// Why the last attempt to load changed nothing.
    pub last_failure: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceReport {
    pub name: String,
    pub role: String,
    /// `native` or `generic`; none while nothing is attached.
    pub mode: Option<String>,
    /// DNS answers that go out there should be read, and are not.
    pub lacks_answers: bool,
    /// By verdict.
    pub verdicts: BTreeMap<String, Count>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RuleReport {
    pub policy: String,
    pub rule: String,
    pub action: String,
    pub active: bool,
    #[serde(flatten)]
    pub count: Count,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceReport {
    /// What it says: `vendors`, `countries`, `services`, `prefix_list` or `domain_list`.
    pub source: String,
    pub file: PathBuf,
    pub entries: u64,
    /// Seconds since the epoch.
    pub modified: Option<u64>,
    pub sha256: String,
    /// Older than `sources.max_age`.
    pub stale: bool,
    /// Entries that the file has now: too few, so that its former content, which the rest tells of, is in force.
    pub shrunk_to: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UninspectableReport {
    pub reason: String,
    pub verdict: String,
    #[serde(flatten)]
    pub count: Count,
}

/// As `edge_table_entries` and `edge_table_capacity`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableReport {
    pub table: String,
    pub entries: u64,
    pub capacity: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl From<Counter> for Count {
    fn from(Counter { packets, bytes }: Counter) -> Self {
        Self { packets, bytes }
    }
}

impl From<&Status> for StatusReport {
    fn from(status: &Status) -> Self {
        let Status {
            version,
            schema: _,
            started_at: _,
            generation,
            loaded_at,
            ready,
            policies,
            warnings,
            sources,
            load_failures: _,
            last_failure,
            devices,
            snapshot,
        } = status;
        Self {
            agent: true,
            version: (*version).to_owned(),
            ready: *ready,
            generation: *generation,
            loaded_at: loaded_at.and_then(seconds),
            policies: policies.iter().map(|PolicyStatus { name, .. }| name.clone()).collect(),
            warnings: warnings.clone(),
            sources: sources.iter().map(|source| SourceReport::at(source, SystemTime::now())).collect(),
            devices: devices.known,
            last_failure: last_failure.as_ref().map(|Failure { problems, .. }| problems.clone()),
            ..Self::without_agent(snapshot)
        }
    }
}

impl StatusReport {
    /// What is in the kernel, whoever put it there.
    pub fn without_agent(snapshot: &Snapshot) -> Self {
        let Snapshot { generation, interfaces, rules, uninspectable, answers, tables, suppressed_reports: _, suppressed_copies: _ } =
            snapshot;
        Self {
            agent: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            enforcing: interfaces.iter().any(|interface| interface.mode.is_some()),
            ready: false,
            generation: *generation,
            loaded_at: None,
            interfaces: interfaces.iter().map(InterfaceReport::from).collect(),
            policies: Vec::new(),
            rules: rules.iter().filter(|rule| rule.active || rule.counter.packets > 0).map(RuleReport::from).collect(),
            uninspectable: uninspectable
                .iter()
                .filter(|(_, _, counter)| counter.packets > 0)
                .map(|(reason, verdict, counter)| UninspectableReport {
                    reason: reason.name().to_owned(),
                    verdict: verdict.name().to_owned(),
                    count: (*counter).into(),
                })
                .collect(),
            answers: answers
                .iter()
                .filter(|(_, counter)| counter.packets > 0)
                .map(|(result, counter)| (result.name().to_owned(), (*counter).into()))
                .collect(),
            tables: tables.iter().map(TableReport::from).collect(),
            warnings: Vec::new(),
            sources: Vec::new(),
            devices: 0,
            last_failure: None,
        }
    }
}

impl SourceReport {
    fn at(source: &SourceStatus, now: SystemTime) -> Self {
        let SourceStatus { name, file, entries, modified, sha256, stale_from: _, shrunk_to } = source;
        Self {
            source: name.clone(),
            file: file.clone(),
            entries: *entries,
            modified: modified.and_then(seconds),
            sha256: sha256.clone(),
            stale: source.is_stale(now),
            shrunk_to: *shrunk_to,
        }
    }
}

impl From<&InterfaceSnapshot> for InterfaceReport {
    fn from(InterfaceSnapshot { name, role, mode, lacks_answers, verdicts }: &InterfaceSnapshot) -> Self {
        Self {
            name: name.clone(),
            role: role.name().to_owned(),
            mode: mode.map(|mode| mode.name().to_owned()),
            lacks_answers: *lacks_answers,
            verdicts: Verdict::ALL.iter().zip(verdicts).map(|(verdict, counter)| (verdict.name().to_owned(), (*counter).into())).collect(),
        }
    }
}

impl From<&TableUse> for TableReport {
    fn from(TableUse { table, entries, capacity }: &TableUse) -> Self {
        Self { table: (*table).to_owned(), entries: *entries, capacity: *capacity }
    }
}

impl From<&RuleSnapshot> for RuleReport {
    fn from(RuleSnapshot { policy, rule, action, active, counter }: &RuleSnapshot) -> Self {
        Self { policy: policy.clone(), rule: rule.clone(), action: action.clone(), active: *active, count: (*counter).into() }
    }
}

fn seconds(at: SystemTime) -> Option<u64> {
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
