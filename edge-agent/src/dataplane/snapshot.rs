//! What the kernel holds at one moment, as plain values: metrics, `status` and the lab print from it.

use edge_ebpf::abi::{AnswerResult, Counter, Reason, Verdict};
use serde::Serialize;

/// Role of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Faces the devices.
    Inside,
    /// Faces the upstream.
    Outside,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Inside, Self::Outside];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }
}

/// How the program hangs on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the kernel has made a socket buffer: slower, works everywhere.
    Generic,
}

impl XdpMode {
    pub const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// The word of `ip link set dev … WORD off`.
    pub const fn iproute2(self) -> &'static str {
        match self {
            Self::Native => "xdpdrv",
            Self::Generic => "xdpgeneric",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub generation: u32,
    pub interfaces: Vec<InterfaceSnapshot>,
    pub rules: Vec<RuleSnapshot>,
    /// Packets that could not be inspected, by reason and verdict.
    pub uninspectable: Vec<(Reason, Verdict, Counter)>,
    /// DNS answers on their way to devices, by what became of them.
    pub answers: Vec<(AnswerResult, Counter)>,
    pub tables: Vec<TableUse>,
    /// Reports that were not made: over the limit, or the ring was full. Verdicts do not depend on them.
    pub suppressed_reports: u64,
    /// Packets not copied to the agent because of a limit or a full ring.
    pub suppressed_copies: u64,
}

#[derive(Clone, Debug)]
pub struct InterfaceSnapshot {
    pub name: String,
    pub role: Role,
    /// `None` while the interface does not exist or nothing is attached to it.
    pub mode: Option<XdpMode>,
    /// The generation in force learns addresses from DNS answers, and those that go out here are not read.
    pub lacks_answers: bool,
    /// Indexed by `Verdict as usize`.
    pub verdicts: [Counter; 3],
}

impl InterfaceSnapshot {
    /// Whether all that is in force is so on this interface.
    pub const fn enforcing(&self) -> bool {
        self.mode.is_some() && !self.lacks_answers
    }
}

#[derive(Clone, Debug)]
pub struct RuleSnapshot {
    pub policy: String,
    pub rule: String,
    /// What the rule does: pass, drop, reject, monitor; `would_pass`, `would_drop`, `would_reject` in a policy that only monitors.
    pub action: String,
    /// Part of the generation in force; false for a rule that was removed and whose counts are kept.
    pub active: bool,
    pub counter: Counter,
}

#[derive(Clone, Debug, Serialize)]
pub struct TableUse {
    /// Snake case: `mac_nodes`, `ipv4_nodes`, `ipv6_nodes`, `classes`, `rules`, `names`, `rule_counters`, `fragments`, `learned`, `flows`, …
    pub table: &'static str,
    /// Of `learned`, those whose time has not come; of `fragments` and `flows`, all that were not overwritten, so that it does not fall.
    pub entries: u64,
    pub capacity: u64,
}

impl TableUse {
    pub(super) const fn of((table, entries, capacity): (&'static str, usize, usize)) -> Self {
        Self { table, entries: entries as u64, capacity: capacity as u64 }
    }
}
