//! Reads a [`Snapshot`] from what is pinned; the counters go on while it is read.

use std::collections::HashSet;
use std::path::Path;

use aya::maps::{Array, HashMap, Map, PerCpuArray};
use edge_ebpf::abi::beside::CopyState;
use edge_ebpf::abi::identity::{DEVICE_WAYS, DeviceBucket};
use edge_ebpf::abi::{AnswerResult, Counter, FragmentKey, FragmentVerdict, MAX_FRAGMENTS, Reason, ReportState, RuleEntry, Verdict};

use super::attach::answers;
use super::attach::link::{self, LinkFacts};
use super::counters::{Counters, RuleKey, VERDICTS, total};
use super::error::Error;
use super::interfaces::Interface;
use super::object::{ANSWERS, COPY_STATE, DEVICES, FRAGMENTS, INTERFACE_COUNTERS, REPORT_STATE, RULE_COUNTERS, RULES, UNINSPECTABLE};
use super::pins::{LinkName, Pins};
use super::pod::{Plain, Value};
use super::snapshot::{InterfaceSnapshot, Role, RuleSnapshot, Snapshot, TableUse, XdpMode};
use super::tables::Sizes;

/// What a snapshot is read with, beside the counters.
pub struct View<'a> {
    pub pins: &'a Pins,
    pub counters: &'a Counters,
    pub generation: u32,
    pub interfaces: &'a [Hanging],
    /// Slots of the rules in force.
    pub active: &'a HashSet<u32>,
    /// Of the tables in force, if this process filled them.
    pub sizes: &'a Sizes,
}

/// How our programs hang on an interface.
#[derive(Debug)]
pub struct Hanging {
    name: LinkName,
    mode: Option<XdpMode>,
    lacks_answers: bool,
}

impl Hanging {
    /// Before anybody has looked.
    pub const fn nowhere(name: LinkName) -> Self {
        Self { name, mode: None, lacks_answers: false }
    }

    /// `interface`: none if there is none of this name. `answers`: indices of those that have the program for DNS answers, if such a
    /// program is in force.
    pub fn of(name: LinkName, interface: Option<&Interface>, links: &[LinkFacts], answers: Option<&HashSet<u32>>) -> Self {
        let mode = interface.and_then(|interface| attached_mode(interface, links));
        let has_answers = |answers: &HashSet<u32>| interface.is_some_and(|interface| answers.contains(&interface.index));
        let lacks_answers = name.role == Role::Inside && answers.is_some_and(|answers| !has_answers(answers));
        Self { name, mode, lacks_answers }
    }

    /// Whether it has all that it should.
    pub const fn complete(&self) -> bool {
        self.mode.is_some() && !self.lacks_answers
    }
}

impl View<'_> {
    /// # Errors
    /// If the maps cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            generation: self.generation,
            interfaces: self.interfaces()?,
            rules: self.rules()?,
            uninspectable: self.uninspectable()?,
            answers: self.answers()?,
            tables: self.tables()?,
            suppressed_reports: self.suppressed()?,
            suppressed_copies: self.suppressed_copies()?,
        })
    }

    fn interfaces(&self) -> Result<Vec<InterfaceSnapshot>, Error> {
        let counters = self.counters.counters(INTERFACE_COUNTERS)?;
        let read = |hanging: &Hanging| {
            let Hanging { name: LinkName { role, interface }, mode, lacks_answers } = hanging;
            let mut verdicts = [Counter::default(); VERDICTS];
            if let Some(slot) = self.counters.interfaces.slot(interface) {
                for (verdict, counter) in (0..).zip(&mut verdicts) {
                    *counter = total(&counters, slot * VERDICTS as u32 + verdict, INTERFACE_COUNTERS)?;
                }
            }
            Ok(InterfaceSnapshot { name: interface.clone(), role: *role, mode: *mode, lacks_answers: *lacks_answers, verdicts })
        };
        self.interfaces.iter().map(read).collect()
    }

    fn rules(&self) -> Result<Vec<RuleSnapshot>, Error> {
        let counters = self.counters.counters(RULE_COUNTERS)?;
        let read = |(slot, key): (u32, &RuleKey)| {
            let RuleKey { policy, rule, action } = key.clone();
            let counter = total(&counters, slot, RULE_COUNTERS)?;
            Ok(RuleSnapshot { policy, rule, action, active: self.active.contains(&slot), counter })
        };
        self.counters.rules.owned().map(read).collect()
    }

    fn uninspectable(&self) -> Result<Vec<(Reason, Verdict, Counter)>, Error> {
        let counters = self.counters.counters(UNINSPECTABLE)?;
        let places = Reason::ALL.into_iter().flat_map(|reason| Verdict::ALL.map(|verdict| (reason, verdict)));
        places
            .map(|(reason, verdict)| {
                let index = (reason as usize * VERDICTS + verdict as usize) as u32;
                Ok((reason, verdict, total(&counters, index, UNINSPECTABLE)?))
            })
            .collect()
    }

    fn answers(&self) -> Result<Vec<(AnswerResult, Counter)>, Error> {
        // What was pinned before there was the map has read no answers.
        if !self.pins.has_map(ANSWERS) {
            return Ok(AnswerResult::ALL.map(|result| (result, Counter::default())).into());
        }
        let counters = self.counters.counters(ANSWERS)?;
        AnswerResult::ALL.into_iter().map(|result| Ok((result, total(&counters, result as u32, ANSWERS)?))).collect()
    }

    fn tables(&self) -> Result<Vec<TableUse>, Error> {
        let mut tables = self.sizes.uses(self.counters.rules.owned().count(), self.counters.interfaces.owned().count());
        tables.push(self.remembered::<FragmentKey, FragmentVerdict>("fragments", FRAGMENTS, MAX_FRAGMENTS)?);
        tables.extend(self.devices()?);
        Ok(tables)
    }

    /// `None`: what was pinned before there was the table.
    fn devices(&self) -> Result<Option<TableUse>, Error> {
        if !self.pins.has_map(DEVICES) {
            return Ok(None);
        }
        let map = self.pins.open_map(DEVICES)?;
        let buckets = map.info().map_err(Error::map("look at", DEVICES))?.max_entries();
        // Kernels without batches have no use of the table either.
        let entries = super::batch::read::<DeviceBucket>(&map, buckets).unwrap_or_default();
        let entries = entries.iter().flatten().filter(|entry| **entry != 0).count() as u64;
        // Two places for each device that it was made for, see `identity::buckets`.
        Ok(Some(TableUse { table: "devices", entries, capacity: u64::from(buckets) * DEVICE_WAYS as u64 / 2 }))
    }

    /// Of a map that forgets by itself. Counted by walking the keys: where one goes while it is stood on, the kernel begins anew, so that
    /// it is bounded, and then only a close guess.
    fn remembered<K: Plain, V: Plain>(&self, table: &'static str, name: &'static str, capacity: u32) -> Result<TableUse, Error> {
        let map: HashMap<_, Value<K>, Value<V>> =
            Map::LruHashMap(self.pins.open_map(name)?).try_into().map_err(Error::map("open", name))?;
        let entries = map.keys().take(capacity as usize).filter(Result::is_ok).count() as u64;
        Ok(TableUse { table, entries, capacity: u64::from(capacity) })
    }

    fn suppressed(&self) -> Result<u64, Error> {
        let map: PerCpuArray<_, Value<ReportState>> =
            Map::PerCpuArray(self.pins.open_map(REPORT_STATE)?).try_into().map_err(Error::map("open", REPORT_STATE))?;
        let states = map.get(&0, 0).map_err(Error::map("read", REPORT_STATE))?;
        Ok(states.iter().map(|Value(state)| state.suppressed).sum())
    }

    fn suppressed_copies(&self) -> Result<u64, Error> {
        // As with answers.
        if !self.pins.has_map(COPY_STATE) {
            return Ok(0);
        }
        let map: PerCpuArray<_, Value<CopyState>> =
            Map::PerCpuArray(self.pins.open_map(COPY_STATE)?).try_into().map_err(Error::map("open", COPY_STATE))?;
        let states = map.get(&0, 0).map_err(Error::map("read", COPY_STATE))?;
        Ok(states.iter().map(|Value(state)| state.suppressed).sum())
    }
}

/// What an agent left at `root` that does not run, as it hangs on `interfaces`. Nothing, if there are no pins.
///
/// # Errors
/// If the pins are another version's, or cannot be read.
pub fn without_agent(root: &Path, interfaces: &[Interface]) -> Result<Snapshot, Error> {
    let pins = Pins::at(root);
    let generation = pins.stamp()?.map_or(0, |stamp| stamp.generation);
    if generation == 0 {
        return Ok(Snapshot {
            generation,
            interfaces: Vec::new(),
            rules: Vec::new(),
            uninspectable: Vec::new(),
            answers: Vec::new(),
            tables: Vec::new(),
            suppressed_reports: 0,
            suppressed_copies: 0,
        });
    }
    let answers = if answers::noted(&pins)? { Some(answers::hung(&pins)?) } else { None };
    let look = |name: LinkName| {
        let link = link::facts(&pins.link(&name))?;
        let interface = interfaces.iter().find(|interface| interface.index == link.index);
        Ok(Hanging::of(name, interface, &[link], answers.as_ref()))
    };
    let interfaces: Vec<_> = pins.links()?.into_iter().map(look).collect::<Result<_, Error>>()?;
    let (counters, active) = (Counters::open(&pins)?, slots_in_force(&pins)?);
    View { pins: &pins, counters: &counters, generation, interfaces: &interfaces, active: &active, sizes: &Sizes::default() }.snapshot()
}

/// How one of our XDP programs hangs on an interface; `None` if none of `links` holds what is on it.
fn attached_mode(interface: &Interface, links: &[LinkFacts]) -> Option<XdpMode> {
    let program = interface.xdp?;
    links.iter().any(|link| link.index == interface.index && link.program == program.id).then_some(program.mode)
}

/// The counter slots of the rules in force, whoever put them there; none if nothing is.
pub fn slots_in_force(pins: &Pins) -> Result<HashSet<u32>, Error> {
    if !pins.has_map(RULES) {
        return Ok(HashSet::new());
    }
    let map: Array<_, Value<RuleEntry>> = Map::Array(pins.open_map(RULES)?).try_into().map_err(Error::map("open", RULES))?;
    map.iter().map(|entry| entry.map(|Value(rule)| rule.slot)).collect::<Result<_, _>>().map_err(Error::map("read", RULES))
}
