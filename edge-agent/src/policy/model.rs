//! A resolved policy set: facts only (ranges of addresses, MACs, services), in the order in which the rules are asked.
//!
//! `load` makes it from YAML and the data sources, `compile` turns it into tables, the engines of the tests read it as it is.

mod signal;

use std::sync::Arc;

pub use self::signal::{Glob, Ja4Part, Ja4Pattern, OptionKind, Signal, SynPattern, SynWindow, TextKind};
use super::name_set::NameSet;

/// Index newtypes, so that a group is never taken for a destination.
macro_rules! index {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}
index! {
    /// Index into [`Resolved::policies`].
    PolicyId,
    /// Index into [`Resolved::signals`].
    SignalId,
    /// Index into [`Resolved::groups`].
    GroupId,
    /// Index into [`Resolved::destinations`].
    DestinationId,
    /// Index into [`Resolved::schedules`].
    ScheduleId,
    /// Index into [`Resolved::signatures`].
    SignatureId,
    /// Index into [`Resolved::rules`]: its place in the order of evaluation, and its bit in a row.
    RuleId,
}

/// Everything that one generation decides by.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// In order of evaluation: the built-in `always-allow` first, then by (priority, name).
    pub policies: Vec<PolicyInfo>,
    pub signals: Vec<Signal>,
    pub groups: Vec<Group>,
    pub destinations: Vec<Destination>,
    pub schedules: Vec<Schedule>,
    pub signatures: Vec<Signature>,
    /// In order of evaluation; the first one that matches and is not monitored decides.
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct PolicyInfo {
    pub name: String,
    pub title: String,
    /// Free text of the advisory: low, medium, high, critical.
    pub severity: String,
    pub mode: Mode,
    pub priority: u32,
    /// From this moment on, in seconds of the Unix epoch, none of its rules holds.
    pub expires: Option<i64>,
    /// The agent's own `always-allow`: its groups do not make a device known.
    pub built_in: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Enforce,
    /// Every rule counts as `monitor`.
    Monitor,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub policy: PolicyId,
    pub name: String,
    pub when: Expr,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expr {
    Signal(SignalId),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
}

impl Expr {
    /// Whether it holds for a device with exactly the signals that `has` says.
    pub fn holds(&self, has: &impl Fn(SignalId) -> bool) -> bool {
        match self {
            Self::Signal(signal) => has(*signal),
            Self::All(parts) => parts.iter().all(|part| part.holds(has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has)),
            Self::Not(part) => !part.holds(has),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Destination {
    pub policy: PolicyId,
    pub name: String,
    /// The union of these; shared, since many policies name the same country.
    pub sets: Vec<Arc<AddressSet>>,
    pub domains: Domains,
}

/// What a destination names by domain.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domains {
    /// The union of these; shared, since many policies use the same list.
    pub sets: Vec<Arc<NameSet>>,
    pub learned: Learned,
}

/// What an address is worth that an answer gave for one of the names: other names may share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Learned {
    /// Nothing: only packets that carry the name match.
    Off,
    /// Matches by it are counted and reported, and do not decide.
    Monitor,
    /// As much as the name.
    #[default]
    Enforce,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct AddressSet {
    pub v4: Ranges<u32>,
    pub v6: Ranges<u128>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub policy: PolicyId,
    pub id: String,
    pub from: Vec<DeviceSelector>,
    pub to: Vec<RemoteSelector>,
    pub services: Vec<ServiceMatch>,
    pub direction: Direction,
    /// When it holds; always where nothing is said.
    pub when: Option<ScheduleId>,
    /// As written; what it does also depends on the policy's mode, see [`Rule::monitored`].
    pub action: Action,
    /// The action is `monitor`, or the policy's mode is.
    pub monitored: bool,
    /// Matches are reported as events. False only for the built-in `always-allow` and for `pass`.
    pub report: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeviceSelector {
    All,
    /// In no group of any policy that is not built in.
    Unknown,
    Group(GroupId),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RemoteSelector {
    Any,
    Destination(DestinationId),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ServiceMatch {
    Any,
    /// Every packet of this protocol number, whatever its port or type.
    Protocol(u8),
    /// Destination ports, inclusive.
    Ports {
        protocol: PortProtocol,
        first: u16,
        last: u16,
    },
    /// One ICMP (4) or ICMPv6 (6) type.
    Icmp {
        family: Family,
        kind: u8,
    },
    /// The payload shows it.
    Signature(SignatureId),
}

/// Bytes at one place of the payload, by which a service is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    pub policy: PolicyId,
    pub name: String,
    pub protocol: PortProtocol,
    /// Destination ports, inclusive ranges; at least one.
    pub ports: Vec<(u16, u16)>,
    /// Of the first byte from the payload's start; at most [`edge_ebpf::abi::MAX_SIGNATURE_OFFSET`].
    pub offset: u16,
    /// At least one byte and at most [`edge_ebpf::abi::MAX_SIGNATURE_BYTES`]; `None` stands for any.
    pub bytes: Vec<Option<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortProtocol {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    Pass,
    Drop,
    Reject,
    Monitor,
    RateLimit(RateLimit),
}

/// Packets pass up to a rate for each device; what exceeds it is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RateLimit {
    pub unit: RateUnit,
    /// At least 1.
    pub per_second: u64,
    /// Units that may come at once; at least 1.
    pub burst: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RateUnit {
    Packets,
    /// Of the whole frame.
    Bytes,
}

/// Which way the packets go that a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Direction {
    /// From devices, on inside interfaces: the remote is where they go.
    #[default]
    Outbound,
    /// From the upstream, on outside interfaces: the remote is where they come from, and the device is not known there.
    Inbound,
    Both,
}

impl Direction {
    pub fn outbound(self) -> bool {
        matches!(self, Self::Outbound | Self::Both)
    }
    pub fn inbound(self) -> bool {
        matches!(self, Self::Inbound | Self::Both)
    }
}

/// Times of the week, by the clock of one place.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// Monday first: the days on which the window begins.
    pub days: [bool; 7],
    /// Minutes since midnight, below 1,440.
    pub from: u16,
    /// Minutes since midnight, at most 1,440; not later than `from` means on the next day.
    pub to: u16,
    pub timezone: jiff::tz::TimeZone,
}

impl Schedule {
    /// For each minute of a week that begins on Monday, whether it holds by the clock of that place.
    pub fn week(&self) -> Vec<bool> {
        const DAY: usize = 24 * 60;
        let Self { days, from, to, timezone: _ } = self;
        let (from, to) = (usize::from(*from), usize::from(*to));
        let length = if from < to { to - from } else { DAY - from + to };
        let mut week = vec![false; 7 * DAY];
        for (day, _) in days.iter().enumerate().filter(|(_, wanted)| **wanted) {
            for minute in day * DAY + from..day * DAY + from + length {
                week[minute % (7 * DAY)] = true;
            }
        }
        week
    }

    /// Whether the clock at that place shows a time within the window.
    pub fn holds(&self, at: jiff::Timestamp) -> bool {
        let local = at.to_zoned(self.timezone.clone());
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let yesterday = (today + 6) % 7;
        if self.from < self.to {
            self.days[today] && (self.from..self.to).contains(&minute)
        } else {
            (self.days[today] && minute >= self.from) || (self.days[yesterday] && minute < self.to)
        }
    }
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Monitor => "monitor",
            Self::RateLimit(_) => "rate_limit",
        }
    }
}

/// Sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ranges<T>(Vec<(T, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// An unsigned number that an address is.
pub trait Number: Copy + Ord {
    /// The next number, or `None` after the last one.
    fn successor(self) -> Option<Self>;
}
macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn successor(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )*};
}
number!(u32, u64, u128);

impl<T: Number> Ranges<T> {
    /// Sorts and merges.
    ///
    /// # Panics
    /// If a range ends before it starts.
    pub fn new(mut ranges: Vec<(T, T)>) -> Self {
        assert!(ranges.iter().all(|(first, last)| first <= last), "a range ends before it starts");
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if end.successor().is_none_or(|next| first <= next) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        Self(merged)
    }
    pub fn contains(&self, number: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && number <= self.0[after - 1].1
    }
}

impl<T> Ranges<T> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(T, T)> {
        self.0.iter()
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_overlaps_and_neighbours_and_keep_gaps() {
        let ranges = Ranges::new(vec![(10u32, 20), (0, 3), (21, 30), (15, 18), (40, u32::MAX)]);
        assert_eq!(ranges.iter().copied().collect::<Vec<_>>(), [(0, 3), (10, 30), (40, u32::MAX)]);
        for (number, inside) in [(0, true), (3, true), (4, false), (9, false), (30, true), (31, false), (u32::MAX, true)] {
            assert_eq!(ranges.contains(number), inside, "{number}");
        }
    }

    #[test]
    fn an_expression_holds_by_its_signals() {
        let (a, b) = (SignalId(0), SignalId(1));
        let only_a = Expr::All(vec![Expr::Signal(a), Expr::Not(Box::new(Expr::Signal(b)))]);
        assert!(only_a.holds(&|signal| signal == a));
        assert!(!only_a.holds(&|_| true));
        assert!(!Expr::Any(vec![]).holds(&|_| true));
        assert!(Expr::All(vec![]).holds(&|_| false));
    }
}
