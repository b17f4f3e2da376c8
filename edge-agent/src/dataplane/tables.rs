//! Writes a compiled policy set into the maps of a generation that no packet sees yet (the tries' roots and the services are constants). Values are whole nodes of 256 entries, so that
//! half a million prefixes are some ten thousand system calls and not millions.

use edge_ebpf::abi::{Entry, MAX_INTERFACES, MAX_RULES, RULE_SLOTS, RateEntry, RuleEntry, TIMELINE_STRETCHES};

use super::batch;
use super::error::Error;
use super::object::{Object, RULES};
use super::pod::{Plain, Value};
use super::snapshot::TableUse;
use crate::policy::compile::{Compiled, CompiledRule, Timeline, Trie};
use crate::policy::model::{RateLimit, RateUnit};

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
    stretches: usize,
    active_rows: usize,
}

impl Sizes {
    pub fn of(compiled: &Compiled) -> Self {
        let Compiled {
            policies: _,
            rules,
            words: _,
            monitored: _,
            restricting: _,
            inbound: _,
            pinhole: _,
            timeline,
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
            stretches: timeline.as_ref().map_or(0, |timeline| timeline.stretches.len()),
            active_rows: timeline.as_ref().map_or(0, |timeline| timeline.rows.len()),
        }
    }

    /// The maps to create with as many entries as there are, but one at least: the kernel knows no empty array.
    pub fn entries(&self) -> [(&'static str, u32); 12] {
        let Self {
            mac_nodes,
            mac_skips,
            v4_nodes,
            v6_nodes,
            v6_skips,
            device_rows,
            remote_rows,
            service_rows,
            rules,
            stretches,
            active_rows,
        } = *self;
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
            ("RATES", rules),
            ("TIMELINE", stretches),
            ("ACTIVE_ROWS", active_rows),
        ]
        .map(|(map, entries)| (map, u32::try_from(entries).unwrap_or(u32::MAX).max(1)))
    }

    /// For the metrics: what is used of what the layouts can hold.
    pub fn uses(&self, rule_slots: usize, interface_slots: usize) -> Vec<TableUse> {
        let Self {
            mac_nodes,
            mac_skips,
            v4_nodes,
            v6_nodes,
            v6_skips,
            device_rows,
            remote_rows,
            service_rows,
            rules,
            stretches,
            active_rows,
        } = *self;
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
            ("schedule_stretches", stretches, TIMELINE_STRETCHES),
            ("schedule_classes", active_rows, 1 << u16::BITS),
            ("rule_counters", rule_slots, RULE_SLOTS as usize),
            ("interface_counters", interface_slots, MAX_INTERFACES),
        ]
        .map(|(table, entries, capacity)| TableUse { table, entries: entries as u64, capacity: capacity as u64 })
        .into()
    }
}

/// Fills every map of `object`; `slots` has a place for each of [`Compiled::counters`].
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
        inbound: _,
        pinhole: _,
        timeline,
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
    if let Some(Timeline { first_minute: _, stretches, rows }) = timeline {
        write(object, "TIMELINE", stretches)?;
        write(object, "ACTIVE_ROWS", rows)?;
    }
    let (decided, exceeded) = slots.split_at(rules.len().min(slots.len()));
    let mut exceeded = exceeded.iter();
    let mut entries = Vec::with_capacity(rules.len());
    for (number, (rule, slot)) in rules.iter().zip(decided).enumerate() {
        let exceeded_slot = if rule.limit.is_some() { exceeded.next() } else { None };
        entries.push(rule_entry(number, rule, *slot, exceeded_slot.copied().unwrap_or(*slot)));
    }
    write(object, "RULES", &entries)?;
    let rates: Vec<RateEntry> = rules.iter().map(|rule| rule.limit.map_or(RateEntry::default(), rate_entry)).collect();
    write(object, "RATES", &rates)
}

/// What the program acts by.
pub fn rule_entry(number: usize, rule: &CompiledRule, slot: u32, exceeded_slot: u32) -> RuleEntry {
    let CompiledRule { policy: _, id: _, action: _, verdict, monitored: _, report, limit } = rule;
    RuleEntry {
        slot,
        exceeded_slot,
        verdict: *verdict as u8,
        report: u8::from(*report),
        limited: u8::from(limit.is_some()),
        reserved: 0,
        rule: number as u32,
    }
}

/// A rate as the time that a unit costs.
pub fn rate_entry(limit: RateLimit) -> RateEntry {
    const SECOND: u128 = 1_000_000_000;
    let RateLimit { unit, per_second, burst } = limit;
    let per_second = u128::from(per_second.max(1));
    // Rounded up, so that the rate is never exceeded.
    let time_per_unit = (SECOND << 16).div_ceil(per_second);
    let burst = match unit {
        // A packet costs whole nanoseconds.
        RateUnit::Packets => u128::from(burst) * time_per_unit.div_ceil(1 << 16),
        RateUnit::Bytes => (u128::from(burst) * time_per_unit).div_ceil(1 << 16),
    };
    let clamp = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
    RateEntry {
        time_per_unit: clamp(time_per_unit),
        // A burst of a century is no limit that anybody means; the sum with a clock must not wrap.
        burst: clamp(burst).min(1 << 62),
        bytes: u32::from(unit == RateUnit::Bytes),
        reserved: 0,
    }
}

fn write<V: Plain>(object: &mut Object, map: &'static str, values: &[V]) -> Result<(), Error> {
    // Its values are `V`s, which the batch relies on.
    object.array::<V>(map)?;
    if batch::update(object.array_fd(map)?, values).is_ok() {
        return Ok(());
    }
    // One by one: the kernel knows no batches, or this tells which value it refuses.
    let mut array = object.array::<V>(map)?;
    (0..).zip(values).try_for_each(|(index, value)| array.set(index, Value::of(value), 0)).map_err(Error::map("fill", map))
}
