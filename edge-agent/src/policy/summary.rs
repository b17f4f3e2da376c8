//! How large a resolved set is.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::model::{Expr, PolicyId, Ranges, Resolved, Signal};

/// Sizes of a resolved set, the built-in policy left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    pub policies: usize,
    pub rules: usize,
    /// Fewest CIDR prefixes that make all distinct sets of addresses.
    pub ipv4_prefixes: u64,
    pub ipv6_prefixes: u64,
    /// Fewest prefixes that make all distinct sets of MACs.
    pub mac_prefixes: u64,
    /// Patterns of names in all distinct sets.
    pub names: usize,
    /// What services and devices are known by in the payload.
    pub signatures: usize,
    /// What devices are known by beside their MACs.
    pub signals: usize,
}

impl Summary {
    pub fn of(resolved: &Resolved) -> Self {
        let Resolved { policies, signals, groups, destinations, schedules: _, signatures, rules } = resolved;
        let own = |policy: PolicyId| !policies[policy.index()].built_in;
        // A country is one set, however many policies name it.
        let mut seen = HashSet::new();
        let sets = destinations.iter().filter(|destination| own(destination.policy)).flat_map(|destination| &destination.sets);
        let (mut ipv4_prefixes, mut ipv6_prefixes) = (0, 0);
        for set in sets.filter(|set| seen.insert(Arc::as_ptr(set))) {
            ipv4_prefixes += prefixes(&set.v4);
            ipv6_prefixes += prefixes(&set.v6);
        }
        let mut seen = HashSet::new();
        let sets = destinations.iter().filter(|destination| own(destination.policy)).flat_map(|destination| &destination.domains.sets);
        let names = sets.filter(|set| seen.insert(Arc::as_ptr(set))).map(|set| set.len()).sum();
        let mut named = HashSet::new();
        groups.iter().filter(|group| own(group.policy)).for_each(|group| collect_signals(&group.when, &mut named));
        let shown = signals.iter().enumerate().filter(|(index, signal)| named.contains(index) && signal.macs().is_none()).count();
        let macs = signals.iter().enumerate().filter(|(index, _)| named.contains(index)).map(|(_, signal)| signal);
        let mac_prefixes = macs.filter_map(Signal::macs).map(prefixes).sum();
        Self {
            policies: policies.iter().filter(|policy| !policy.built_in).count(),
            rules: rules.iter().filter(|rule| own(rule.policy)).count(),
            ipv4_prefixes,
            ipv6_prefixes,
            mac_prefixes,
            names,
            signatures: signatures.len(),
            signals: shown,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policies, rules, ipv4_prefixes, ipv6_prefixes, mac_prefixes, names, signatures, signals } = self;
        write!(out, "policies: {policies}, rules: {rules}, IPv4 prefixes: {ipv4_prefixes}, ")?;
        write!(
            out,
            "IPv6 prefixes: {ipv6_prefixes}, MAC prefixes: {mac_prefixes}, names: {names}, signatures: {signatures}, signals: {signals}"
        )
    }
}

fn collect_signals(expression: &Expr, found: &mut HashSet<usize>) {
    match expression {
        Expr::Signal(signal) => {
            found.insert(signal.index());
        }
        Expr::Any(parts) | Expr::All(parts) => parts.iter().for_each(|part| collect_signals(part, found)),
        Expr::Not(part) => collect_signals(part, found),
    }
}

/// Fewest prefixes that make up the ranges.
fn prefixes<T: Copy + Into<u128>>(ranges: &Ranges<T>) -> u64 {
    ranges.iter().map(|(first, last)| prefixes_of_range((*first).into(), (*last).into())).sum()
}

fn prefixes_of_range(mut first: u128, last: u128) -> u64 {
    let mut count = 0;
    loop {
        count += 1;
        // The largest aligned block that begins here and does not go beyond the end.
        let end_of_block = |bits: u32| first | u128::MAX.checked_shr(128 - bits).unwrap_or(0);
        let end = (0..=first.trailing_zeros()).rev().map(end_of_block).find(|end| *end <= last).unwrap_or(last);
        if end == last {
            return count;
        }
        first = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_counted() {
        for (first, last, expected) in [
            (0, 255, 1),
            (0, u128::MAX, 1),
            (0, u128::MAX - 1, 128),
            (1, 1, 1),
            (1, 6, 4),
            (0, 0, 1),
            (256, 1023, 2),
            (u128::MAX, u128::MAX, 1),
        ] {
            assert_eq!(prefixes_of_range(first, last), expected, "{first}-{last}");
        }
    }
}
