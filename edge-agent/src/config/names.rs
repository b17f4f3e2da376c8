//! The section `names` of `agent.yaml`: what becomes of names that are hidden, and how much is remembered of those that are not.

use std::str::FromStr;

use edge_ebpf::abi::{DnsReject, OnUninspectable, Reason};

use super::{Conduct, Decoder, TimeToLive};
use crate::policy::problem::{Fault, Problems};
use crate::policy::schema::{Placed, parsed};

/// Entries that tables of the kernel are made for, at the least.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableSizes {
    /// Addresses that answers gave, each for one name.
    pub learned: u32,
    /// Connections of which something is remembered.
    pub flows: u32,
    /// Devices that have shown what a group asks for.
    pub devices: u32,
}

impl Default for TableSizes {
    fn default() -> Self {
        Self { learned: 65_536, flows: 65_536, devices: 16_384 }
    }
}

/// Of each of the [`TableSizes`]: fewer forget what was just learned, more take gigabytes.
pub(super) const LEAST: i64 = 1024;
pub(super) const MOST: i64 = 1 << 22;

/// Reasons that have a key of their own under `names`; the others have one under `uninspectable`.
pub(super) const REASONS: [Reason; 3] = [Reason::Quic, Reason::Ech, Reason::HttpsRecord];

/// A time as text: `90s`, `30m`, `1h`, `7d`.
pub(super) struct Seconds(pub u32);

impl FromStr for Seconds {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
        let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
        let seconds = found.and_then(|(number, unit)| number.parse::<u32>().ok()?.checked_mul(unit));
        seconds
            .filter(|seconds| (1..=MOST_SECONDS).contains(&i64::from(*seconds)))
            .map(Self)
            .ok_or_else(|| Fault::new(format!("`{text}` is not a time"), "seconds, or such as `90s`, `30m`, `1h` or `7d`; at most a year"))
    }
}

/// A year: who has the address then is another.
pub(super) const MOST_SECONDS: i64 = 365 * 86_400;

pub(super) fn decode_names(at: &Decoder<'_>, conduct: &mut Conduct, tables: &mut TableSizes, problems: &mut Problems) {
    let Conduct { on_uninspectable, dns_reject, learned: TimeToLive { min, max }, observes: _ } = conduct;
    let mut set = |reason: Reason, to: OnUninspectable| on_uninspectable[reason as usize] = to;
    match at.text("names.quic") {
        Some("block") => set(Reason::Quic, OnUninspectable::DropIfRuleCouldMatch),
        Some("pass") => set(Reason::Quic, OnUninspectable::Pass),
        Some("inspect") => set(Reason::Quic, OnUninspectable::Inspect),
        _ => {}
    }
    let hidden = match at.text("names.ech") {
        Some("pass") => Some((OnUninspectable::Pass, OnUninspectable::Pass)),
        Some("strip") => Some((OnUninspectable::Pass, OnUninspectable::DropIfRuleCouldMatch)),
        Some("block") => Some((OnUninspectable::DropIfRuleCouldMatch, OnUninspectable::Pass)),
        _ => None,
    };
    if let Some((hello, keys)) = hidden {
        set(Reason::Ech, hello);
        set(Reason::HttpsRecord, keys);
    }
    match at.text("names.dns_reject") {
        Some("nxdomain") => *dns_reject = DnsReject::NxDomain,
        Some("refused") => *dns_reject = DnsReject::Refused,
        Some("null_address") => *dns_reject = DnsReject::NullAddress,
        _ => {}
    }
    let TableSizes { learned, flows, devices: _ } = tables;
    for (key, size) in [("names.learned.capacity", learned), ("names.flows", flows)] {
        *size = at.node(key).and_then(|node| node.integer()).unwrap_or(*size);
    }
    for (key, seconds) in [("names.learned.min_ttl", &mut *min), ("names.learned.max_ttl", &mut *max)] {
        let Some(node) = at.node(key) else { continue };
        let given = node.integer().or_else(|| parsed::<Seconds>(node, problems).map(|Placed { value: Seconds(seconds), .. }| seconds));
        *seconds = given.unwrap_or(*seconds);
    }
    if min > max
        && let Some(node) = at.node("names.learned.max_ttl").or(at.node("names.learned.min_ttl"))
    {
        problems
            .error(&node.place, format!("the longest time, {max} seconds, is shorter than the shortest, {min} seconds"))
            .hint("raise `max_ttl`, or lower `min_ttl`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("1s", 1), ("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("365d", 31_536_000)] {
            assert_eq!(text.parse::<Seconds>().map(|Seconds(seconds)| seconds), Ok(seconds));
        }
        for wrong in ["", "s", "1", "0s", "-1s", "1.5h", "1 h", "1w", "366d", "4294967295d"] {
            assert!(wrong.parse::<Seconds>().is_err(), "{wrong}");
        }
    }
}
