//! What the program needs to know devices by what they do: the automaton of facts, the groups' program, and the table of devices.

use std::collections::HashSet;

use aya::EbpfLoader;
use aya::maps::{Array, HashMap, Map, MapData};
use edge_ebpf::abi::identity::{
    DEVICE_WAYS, DeviceState, FACT_KINDS, FactState, GroupOp, HelloKey, MAX_HELLO_KEYS, MAX_SIGNALS, MacFacts, SignalSet,
};
use edge_ebpf::abi::row_size;
use edge_ebpf::packet::Mac;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::object::{DEVICE_ROWS, DEVICE_STATES, DEVICES, FACT_STATES, GROUP_OPS, HELLO_KEYS, MAC_FACTS, Object, SIGNAL_SETS, Sharing};
use super::pins::Pins;
use super::pod::Value;
use super::signal_slots::{self, Owner};
use super::tables::write;
use super::teach::Lesson;
use crate::config::TableSizes;
use crate::policy::compile::Compiled;
use crate::policy::compile::identity::CompiledIdentity;

/// The constants that the loader borrows until it has loaded, and the values of the maps.
pub struct Identifying<'a> {
    identity: Option<&'a CompiledIdentity>,
    slots: Slots,
    has_identity: u32,
    observes: u32,
    has_asked: u32,
    has_shown: u32,
    starts: [u16; FACT_KINDS],
    shapes: u32,
    buckets: u32,
    device_mask: u32,
    row_size: u32,
    ops: u32,
    unknown: u32,
}

/// Which bit of a device each signal is.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// By number of the signal.
    slots: Vec<u32>,
    /// Slots that were another signal's.
    reused: HashSet<u32>,
}

impl Slots {
    /// The set of these signals, by number.
    pub fn set(&self, signals: &[u32]) -> SignalSet {
        let mut set = SignalSet::default();
        for slot in signals.iter().filter_map(|signal| self.slots.get(*signal as usize)) {
            set[*slot as usize / 64] |= 1 << (slot % 64);
        }
        set
    }

    /// The signals of the set, by number.
    pub fn numbers(&self, set: &SignalSet) -> impl Iterator<Item = u32> {
        let has = |slot: &u32| set.get(*slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0);
        (0..).zip(&self.slots).filter(move |(_, slot)| has(slot)).map(|(number, _)| number)
    }
}

/// A device, and the signals that it has shown, by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub device: Mac,
    pub signals: Vec<u32>,
}

/// What is to be told of devices so that the pinned tables have their signals, in the slots of a generation.
///
/// # Errors
/// If the tables cannot be read.
pub fn lessons(pins: &Pins, slots: &Slots, shown: &[Shown]) -> Result<Vec<Lesson>, Error> {
    let states = if shown.is_empty() { Vec::new() } else { states(pins)? };
    let known: std::collections::HashMap<u64, SignalSet> = states.into_iter().map(|state| (state.mac, state.signals)).collect();
    let lesson = |Shown { device, signals }: &Shown| {
        let signals = slots.set(signals);
        let has = known.get(&device.0).copied().unwrap_or_default();
        let lacks = signals.iter().zip(has).any(|(signals, has)| signals & !has != 0);
        lacks.then_some(Lesson::Signals { device: *device, signals })
    };
    Ok(shown.iter().filter_map(lesson).collect())
}

/// What the pinned tables say of each device.
///
/// # Errors
/// If they cannot be read.
pub fn states(pins: &Pins) -> Result<Vec<DeviceState>, Error> {
    if !pins.has_map(DEVICE_STATES) {
        return Ok(Vec::new());
    }
    let map = pins.open_map(DEVICE_STATES)?;
    let entries = map.info().map_err(Error::map("look at", DEVICE_STATES))?.max_entries();
    let mut states = match super::batch::read::<DeviceState>(&map, entries) {
        Ok(states) => states,
        Err(_) => {
            let array: Array<_, Value<DeviceState>> = Map::Array(map).try_into().map_err(Error::map("open", DEVICE_STATES))?;
            let states = array.iter().map(|state| state.map(|Value(state)| state));
            states.collect::<Result<_, _>>().map_err(Error::map("read", DEVICE_STATES))?
        }
    };
    // A place that is free, or about to be another device's.
    states.retain(|state| state.mac != 0 && state.mac >> 48 == 0);
    Ok(states)
}

impl<'a> Identifying<'a> {
    /// # Errors
    /// If the pins cannot be read or written, or there is no room for the signals.
    pub fn new(compiled: &'a Compiled, generation: u32, sizes: TableSizes, observes: bool, sharing: Sharing<'_>) -> Result<Self, Error> {
        let identity = compiled.identity.as_ref();
        let signals = identity.map_or(&[][..], |identity| &identity.signals);
        let owners: Vec<Owner> = signals.iter().map(|text| Sha256::digest(text.as_bytes()).into()).collect();
        let slots = match sharing {
            Sharing::Pinned(pins) if identity.is_some() => {
                let (slots, reused) = signal_slots::allot(pins, &owners, generation)?;
                Slots { slots, reused }
            }
            _ => Slots { slots: (0..owners.len() as u32).collect(), reused: HashSet::new() },
        };
        let shown = compiled.signatures.iter().any(|entry| entry.signals != 0);
        let asked = compiled.names.as_ref().is_some_and(|names| names.rules.iter().any(|rules| rules.signals != 0));
        let buckets = buckets(sizes, sharing)?;
        // A hello whose JA4 is known as a hash is found by all its parts once the agent knows it.
        let hashed = identity.is_some_and(|identity| !identity.hashed.is_empty());
        let shapes = identity.map_or(&[][..], |identity| &identity.hellos).iter().map(|(key, _)| 1 << key.parts().0);
        Ok(Self {
            identity,
            slots,
            has_identity: u32::from(identity.is_some()),
            observes: u32::from(observes),
            has_asked: u32::from(asked),
            has_shown: u32::from(shown),
            starts: identity.map_or([0; FACT_KINDS], |identity| identity.starts),
            shapes: shapes.fold(if hashed { 1 << HelloKey::ALL_PARTS.0 } else { 0 }, |shapes: u32, shape: u32| shapes | shape),
            buckets,
            device_mask: buckets - 1,
            row_size: row_size(compiled.words) as u32,
            ops: identity.map_or(0, |identity| identity.ops.len() as u32),
            unknown: identity.map_or(0, |identity| identity.unknown),
        })
    }

    /// Tells the loader.
    pub fn specialise(&'a self, loader: &mut EbpfLoader<'a>) {
        let Self {
            identity,
            slots: _,
            has_identity,
            observes,
            has_asked,
            has_shown,
            starts,
            shapes,
            buckets,
            device_mask,
            row_size,
            ops,
            unknown,
        } = self;
        let entries = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let [states, sets, macs] = match identity {
            Some(identity) => [identity.states.len(), identity.sets.len(), identity.macs.len()],
            None => [0; 3],
        };
        let places = *buckets * DEVICE_WAYS as u32;
        let rows = if *has_identity == 0 { 1 } else { places * row_size };
        loader
            .override_global("HAS_IDENTITY", has_identity, true)
            .override_global("OBSERVES", observes, true)
            .override_global("HAS_ASKED", has_asked, true)
            .override_global("HAS_SHOWN", has_shown, true)
            .override_global("FACT_STARTS", starts, true)
            .override_global("HELLO_SHAPES", shapes, true)
            .override_global("DEVICE_MASK", device_mask, true)
            .override_global("GROUP_OP_COUNT", ops, true)
            .override_global("UNKNOWN", unknown, true)
            .map_max_entries(DEVICES, *buckets)
            .map_max_entries(DEVICE_STATES, places)
            .map_max_entries(DEVICE_ROWS, rows)
            .map_max_entries(FACT_STATES, entries(states))
            .map_max_entries(SIGNAL_SETS, entries(sets))
            .map_max_entries(GROUP_OPS, (*ops).max(1))
            .map_max_entries(MAC_FACTS, entries(macs))
            .map_max_entries(HELLO_KEYS, MAX_HELLO_KEYS);
    }

    /// Fills the tables of the generation, and takes reused slots from the devices that had the signals before.
    ///
    /// # Errors
    /// If the kernel refuses a value.
    pub fn fill(&self, object: &mut Object) -> Result<(), Error> {
        let Some(CompiledIdentity { signals: _, numbers: _, sets, states, starts: _, hellos, hashed: _, macs, ops, unknown: _ }) =
            self.identity
        else {
            return Ok(());
        };
        let sets: Vec<SignalSet> = sets.iter().map(|set| self.slots.set(set)).collect();
        let ops: Vec<u32> = ops.iter().map(|op| self.slotted(*op).0).collect();
        write::<FactState>(object, FACT_STATES, states)?;
        write::<SignalSet>(object, SIGNAL_SETS, &sets)?;
        write::<u32>(object, GROUP_OPS, &ops)?;
        write::<MacFacts>(object, MAC_FACTS, macs)?;
        for (key, set) in hellos {
            know_hello(object, *key, sets.get(*set as usize).copied().unwrap_or_default())?;
        }
        if self.slots.reused.is_empty() { Ok(()) } else { self.take_reused(object) }
    }

    /// For what is found out later.
    pub fn slots(&self) -> Slots {
        self.slots.clone()
    }

    fn slotted(&self, op: GroupOp) -> GroupOp {
        if op.kind() != GroupOp::SIGNAL {
            return op;
        }
        GroupOp::signal(self.slots.slots.get(op.argument() as usize).copied().unwrap_or(MAX_SIGNALS as u32 - 1))
    }

    fn take_reused(&self, object: &mut Object) -> Result<(), Error> {
        let mut reused = SignalSet::default();
        for slot in &self.slots.reused {
            reused[*slot as usize / 64] |= 1 << (slot % 64);
        }
        let mut states = object.array::<DeviceState>(DEVICE_STATES)?;
        for index in 0..self.buckets * DEVICE_WAYS as u32 {
            let Value(mut state) = states.get(&index, 0).map_err(Error::map("read", DEVICE_STATES))?;
            if state.signals.iter().zip(reused).all(|(signals, reused)| signals & reused == 0) {
                continue;
            }
            state.signals.iter_mut().zip(reused).for_each(|(signals, reused)| *signals &= !reused);
            states.set(index, Value(state), 0).map_err(Error::map("write", DEVICE_STATES))?;
        }
        Ok(())
    }
}

/// Has the program of `object` know hellos with this key by these signals.
///
/// # Errors
/// If the kernel refuses it: there are too many.
pub fn know_hello(object: &mut Object, key: HelloKey, signals: SignalSet) -> Result<(), Error> {
    let mut keys: HashMap<&mut MapData, Value<HelloKey>, Value<SignalSet>> = object.hash(HELLO_KEYS)?;
    keys.insert(Value(key), Value(signals), 0).map_err(Error::map("write", HELLO_KEYS))
}

/// Buckets of the table of devices: twice as many places as devices, so that the two buckets of one are not full by chance.
fn buckets(TableSizes { devices, .. }: TableSizes, sharing: Sharing<'_>) -> Result<u32, Error> {
    let wanted = (devices * 2 / DEVICE_WAYS as u32).next_power_of_two();
    let Sharing::Pinned(pins) = sharing else { return Ok(wanted) };
    if !pins.has_map(DEVICES) {
        return Ok(wanted);
    }
    let pinned = pins.open_map(DEVICES)?.info().map_err(Error::map("look at", DEVICES))?.max_entries();
    if pinned != wanted {
        tracing::warn!(
            table = DEVICES,
            devices = u64::from(pinned) * DEVICE_WAYS as u64 / 2,
            "keeps the size that it was made with, not the configured one; to change it, `edge-agent detach` and start the agent"
        );
    }
    Ok(pinned)
}
