//! Writes a compiled policy set into the maps of a generation that no packet sees yet (the tries' roots and the services are constants). Values are whole nodes of 256 entries, so that
//! half a million prefixes are some ten thousand system calls and not millions.

use edge_ebpf::abi::{Entry, MAX_INTERFACES, MAX_RULES, RULE_SLOTS, RuleEntry};

use super::error::Error;
use super::object::{Object, RULES};
use super::pod::{Plain, Value};
use super::snapshot::TableUse;
use crate::policy::compile::{Compiled, CompiledRule, Trie};

/// Entries of each table of a generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    mac_nodes: usize,
    mac_skips: usize,
    v4_nodes: usize,
    v6_nodes: usize,
    v6_skips: usize,
    device_rows: usize,
    remote_rows: usize,
    service_rows: usize,
    rules: usize,
}

impl Sizes {
    pub fn of(compiled: &Compiled) -> Self {
        let Compiled {
            policies: _,
            rules,
            words: _,
            monitored: _,
            restricting: _,
            mac,
            v4,
            v6,
            services: _,
            device_rows,
            remote_rows,
            service_rows,
        } = compiled;
        Self {
            mac_nodes: mac.nodes.len(),
            mac_skips: mac.skips.len(),
            v4_nodes: v4.nodes.len(),
            v6_nodes: v6.nodes.len(),
            v6_skips: v6.skips.len(),
            device_rows: device_rows.len(),
            remote_rows: remote_rows.len(),
            service_rows: service_rows.len(),
            rules: rules.len(),
        }
    }

    /// The maps to create with as many entries as there are, but one at least: the kernel knows no empty array.
    pub fn entries(&self) -> [(&'static str, u32); 9] {
        let Self { mac_nodes, mac_skips, v4_nodes, v6_nodes, v6_skips, device_rows, remote_rows, service_rows, rules } = *self;
        [
            ("MAC_NODES", mac_nodes),
            ("MAC_SKIPS", mac_skips),
            ("V4_NODES", v4_nodes),
            ("V6_NODES", v6_nodes),
            ("V6_SKIPS", v6_skips),
            ("DEVICE_ROWS", device_rows),
            ("REMOTE_ROWS", remote_rows),
            ("SERVICE_ROWS", service_rows),
            (RULES, rules),
        ]
        .map(|(map, entries)| (map, u32::try_from(entries).unwrap_or(u32::MAX).max(1)))
    }

    /// For the metrics: what is used of what the layouts can hold.
    pub fn uses(&self, rule_slots: usize, interface_slots: usize) -> Vec<TableUse> {
        let Self { mac_nodes, mac_skips, v4_nodes, v6_nodes, v6_skips, device_rows, remote_rows, service_rows, rules } = *self;
        let indexed = Entry::MAX as usize + 1;
        [
            ("mac_nodes", mac_nodes, indexed),
            ("mac_skips", mac_skips, indexed),
            ("ipv4_nodes", v4_nodes, indexed),
            ("ipv6_nodes", v6_nodes, indexed),
            ("ipv6_skips", v6_skips, indexed),
            ("device_classes", device_rows, indexed),
            ("remote_classes", remote_rows, indexed),
            ("service_classes", service_rows, 1 << u16::BITS),
            ("rules", rules, MAX_RULES),
            ("rule_counters", rule_slots, RULE_SLOTS as usize),
            ("interface_counters", interface_slots, MAX_INTERFACES),
        ]
        .map(|(table, entries, capacity)| TableUse { table, entries: entries as u64, capacity: capacity as u64 })
        .into()
    }
}

/// Fills every map of `object`; `slots` has the counter slot of each rule.
///
/// # Errors
/// If the kernel refuses a value.
pub fn fill(object: &mut Object, compiled: &Compiled, slots: &[u32]) -> Result<(), Error> {
    let Compiled {
        policies: _,
        rules,
        words: _,
        monitored: _,
        restricting: _,
        mac,
        v4,
        v6,
        services: _,
        device_rows,
        remote_rows,
        service_rows,
    } = compiled;
    let Trie { root: _, nodes: mac_nodes, skips: mac_skips } = mac;
    // Without skips: an IPv4 address is used up after the root and two nodes.
    let Trie { root: _, nodes: v4_nodes, skips: _ } = v4;
    let Trie { root: _, nodes: v6_nodes, skips: v6_skips } = v6;
    write(object, "MAC_NODES", mac_nodes)?;
    write(object, "MAC_SKIPS", mac_skips)?;
    write(object, "V4_NODES", v4_nodes)?;
    write(object, "V6_NODES", v6_nodes)?;
    write(object, "V6_SKIPS", v6_skips)?;
    write(object, "DEVICE_ROWS", device_rows)?;
    write(object, "REMOTE_ROWS", remote_rows)?;
    write(object, "SERVICE_ROWS", service_rows)?;
    let rules: Vec<RuleEntry> = rules.iter().zip(slots).map(|(rule, slot)| rule_entry(rule, *slot)).collect();
    write(object, RULES, &rules)
}

fn rule_entry(rule: &CompiledRule, slot: u32) -> RuleEntry {
    let CompiledRule { policy: _, id: _, action: _, verdict, monitored: _, report } = rule;
    RuleEntry { slot, verdict: *verdict as u8, report: u8::from(*report), reserved: [0; 2] }
}

fn write<V: Plain>(object: &mut Object, map: &'static str, values: &[V]) -> Result<(), Error> {
    let mut array = object.array::<V>(map)?;
    (0..).zip(values).try_for_each(|(index, value)| array.set(index, Value::of(value), 0)).map_err(Error::map("fill", map))
}
