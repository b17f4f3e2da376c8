//! Writes a compiled policy set into the maps of a generation that no packet sees yet (the tries' roots, the rows and the services are
//! constants).

use std::os::fd::AsFd;

use edge_ebpf::abi::{Link, MAX_INTERFACES, MAX_RULES, RULE_SLOTS, RateEntry, RuleEntry, TIMELINE_STRETCHES, max_classes, row_size};
use edge_ebpf::name::table::BUCKET;

use super::batch;
use super::error::Error;
use super::nodes;
use super::object::{MAC_NODES, Object, RULES, V4_NODES, V6_NODES};
use super::pod::{Plain, Value};
use super::snapshot::TableUse;
use crate::policy::compile::name_table::NameTable;
use crate::policy::compile::{Compiled, CompiledRule, Timeline};
use crate::policy::model::{RateLimit, RateUnit};

/// Entries of each table of a generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sizes {
    mac_nodes: usize,
    v4_nodes: usize,
    v6_nodes: usize,
    classes: usize,
    /// Words of a row.
    words: usize,
    rules: usize,
    stretches: usize,
    names: usize,
    /// Entries that there is room for in the table of names.
    name_places: usize,
}

impl Sizes {
    /// `names`: the table that was made of the set's names.
    pub fn of(compiled: &Compiled, names: &NameTable) -> Self {
        let Compiled {
            policies: _,
            rules,
            words,
            monitored: _,
            restricting: _,
            has_inbound: _,
            inbound: _,
            pinhole: _,
            timeline,
            mac,
            v4,
            v6,
            services: _,
            nothing: _,
            named: _,
            names: _,
            signed: _,
            signatures: _,
            identity: _,
            pool,
        } = compiled;
        Self {
            mac_nodes: mac.nodes.len(),
            v4_nodes: v4.nodes.len(),
            v6_nodes: v6.nodes.len(),
            classes: pool.len() / row_size(*words),
            words: *words,
            rules: rules.len(),
            stretches: timeline.as_ref().map_or(0, |timeline| timeline.stretches.len()),
            names: names.entries,
            name_places: names.buckets.len() * BUCKET,
        }
    }

    /// The maps to create with as many entries as there are, but one at least: the kernel knows no empty array.
    pub fn entries(&self) -> [(&'static str, u32); 3] {
        let Self { rules, stretches, .. } = *self;
        [(RULES, rules), ("RATES", rules), ("TIMELINE", stretches)]
            .map(|(map, entries)| (map, u32::try_from(entries).unwrap_or(u32::MAX).max(1)))
    }

    /// For the metrics: what is used of what the layouts can hold.
    pub fn uses(&self) -> Vec<TableUse> {
        let Self { mac_nodes, v4_nodes, v6_nodes, classes, words, rules, stretches, names, name_places } = *self;
        let indexed = Link::MAX as usize + 1;
        [
            ("mac_nodes", mac_nodes, indexed),
            ("ipv4_nodes", v4_nodes, indexed),
            ("ipv6_nodes", v6_nodes, indexed),
            ("classes", classes, max_classes(words)),
            ("rules", rules, MAX_RULES),
            ("schedule_stretches", stretches, TIMELINE_STRETCHES),
            ("names", names, name_places),
        ]
        .map(TableUse::of)
        .into()
    }
}

/// The same of the counters, which outlive generations.
pub fn counter_uses(rule_slots: usize, interface_slots: usize) -> [TableUse; 2] {
    [("rule_counters", rule_slots, RULE_SLOTS as usize), ("interface_counters", interface_slots, MAX_INTERFACES)].map(TableUse::of)
}

/// Fills every map of `object` that holds what a generation decides by; `rules` are its [`rule_entries`].
///
/// # Errors
/// If the kernel refuses a value.
pub fn fill(object: &mut Object, compiled: &Compiled, rules: &[RuleEntry]) -> Result<(), Error> {
    let Compiled {
        policies: _,
        rules: _,
        words: _,
        monitored: _,
        restricting: _,
        has_inbound: _,
        inbound: _,
        pinhole: _,
        timeline,
        mac,
        v4,
        v6,
        services: _,
        nothing: _,
        named: _,
        names: _,
        signed: _,
        signatures: _,
        identity: _,
        pool: _,
    } = compiled;
    for (map, trie) in [(MAC_NODES, mac), (V4_NODES, v4), (V6_NODES, v6)] {
        nodes::fill(object.array_data(map)?, map, trie)?;
    }
    if let Some(Timeline { first_minute: _, stretches }) = timeline {
        write(object, "TIMELINE", stretches)?;
    }
    write(object, RULES, rules)?;
    let rates: Vec<RateEntry> = compiled.rules.iter().map(|rule| rule.limit.map_or(RateEntry::default(), rate_entry)).collect();
    write(object, "RATES", &rates)
}

/// By number of the rule; `slots` has a place for each of [`Compiled::counters`].
pub fn rule_entries(compiled: &Compiled, slots: &[u32]) -> Vec<RuleEntry> {
    let (decided, others) = slots.split_at(compiled.rules.len().min(slots.len()));
    let limited = compiled.rules.iter().filter(|rule| rule.limit.is_some()).count();
    let (exceeded, learned) = others.split_at(limited.min(others.len()));
    let (mut exceeded, mut learned) = (exceeded.iter(), learned.iter());
    let entry = |(number, (rule, slot)): (usize, (&CompiledRule, &u32))| {
        let exceeded_slot = if rule.limit.is_some() { exceeded.next() } else { None };
        let learned_slot = if rule.by_learned.is_some() { learned.next() } else { None };
        rule_entry(number, rule, Slots { slot: *slot, exceeded: exceeded_slot.copied(), learned: learned_slot.copied() })
    };
    compiled.rules.iter().zip(decided).enumerate().map(entry).collect()
}

/// Of one rule: where it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    pub slot: u32,
    /// If it has a rate: what exceeds it.
    pub exceeded: Option<u32>,
    /// If it may match by a learned address alone, and is only monitored then.
    pub learned: Option<u32>,
}

/// What the program acts by.
pub fn rule_entry(number: usize, rule: &CompiledRule, Slots { slot, exceeded, learned }: Slots) -> RuleEntry {
    let CompiledRule { policy: _, id: _, action: _, verdict, monitored: _, report, looks_inside: _, limit, by_learned: _ } = rule;
    RuleEntry {
        slot,
        exceeded_slot: exceeded.unwrap_or(slot),
        verdict: *verdict as u8,
        report: u8::from(*report),
        limited: u8::from(limit.is_some()),
        reserved: 0,
        rule: number as u32,
        learned_slot: learned.unwrap_or(slot),
        reserved_too: 0,
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

pub(super) fn write<V: Plain>(object: &mut Object, map: &'static str, values: &[V]) -> Result<(), Error> {
    // Its values are `V`s, which the batch relies on.
    object.array::<V>(map)?;
    if batch::update(object.array_data(map)?.fd().as_fd(), values).is_ok() {
        return Ok(());
    }
    // One by one: the kernel knows no batches, or this tells which value it refuses.
    let mut array = object.array::<V>(map)?;
    (0..).zip(values).try_for_each(|(index, value)| array.set(index, Value::of(value), 0)).map_err(Error::map("fill", map))
}
