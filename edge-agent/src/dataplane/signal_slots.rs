//! Which signal owns which bit of a device: for as long as the pinned tables live, so that what a device has shown outlives a swap of policies.

use std::collections::HashSet;

use aya::maps::{Array, Map, MapData};
use edge_ebpf::abi::identity::MAX_SIGNALS;

use super::error::Error;
use super::object::SIGNAL_KEYS;
use super::pins::Pins;
use super::pod::Value;
use super::slots::Slots;

/// Digest of a signal's text.
pub type Owner = [u8; 32];

/// An owner, and the last generation that wanted the slot, in four bytes behind it; zeros: nobody's.
type Entry = [u8; 36];

/// The slot of each signal, and those of them that were another's. Slots that the generation in force may use keep their owners.
///
/// # Errors
/// If the pins cannot be read or written, or there are not enough slots.
pub fn allot(pins: &Pins, wanted: &[Owner], generation: u32) -> Result<(Vec<u32>, HashSet<u32>), Error> {
    let mut map = open(pins)?;
    let entries: Vec<Entry> =
        map.iter().map(|value| value.map(|Value(entry)| entry)).collect::<Result<_, _>>().map_err(Error::map("read", SIGNAL_KEYS))?;
    let (owners, in_use) = owners(&entries, generation);
    let slots = Slots::new(owners.clone());
    let allocation = slots.allocate(wanted, &in_use).map_err(|_| Error::TooMany {
        what: "signals of devices, with those of the policies in force,",
        count: wanted.len(),
        limit: MAX_SIGNALS,
        way_out: "use fewer in one step",
    })?;
    for (slot, owner) in allocation.slots.iter().zip(wanted) {
        let mut entry: Entry = [0; 36];
        entry[..32].copy_from_slice(owner);
        entry[32..].copy_from_slice(&generation.to_ne_bytes());
        map.set(*slot, Value(entry), 0).map_err(Error::map("write", SIGNAL_KEYS))?;
    }
    let reused = allocation.fresh.iter().map(|(slot, _)| *slot).filter(|slot| owners.get(*slot as usize).is_some_and(Option::is_some));
    Ok((allocation.slots.clone(), reused.collect()))
}

/// Owners by slot, and the slots that a generation before this one wanted last: one of those is in force.
fn owners(entries: &[Entry], generation: u32) -> (Vec<Option<Owner>>, HashSet<u32>) {
    let mut in_use = HashSet::new();
    let owners = (0..)
        .zip(entries)
        .map(|(slot, entry)| {
            let (owner, last) = entry.split_first_chunk::<32>()?;
            let last = u32::from_ne_bytes(last.try_into().ok()?);
            if *entry == [0; 36] {
                return None;
            }
            // A generation that was tried and not put in force has the number of the next try.
            if generation.wrapping_sub(last) <= 1 {
                in_use.insert(slot);
            }
            Some(*owner)
        })
        .collect();
    (owners, in_use)
}

/// An array that only the agent uses.
fn open(pins: &Pins) -> Result<Array<MapData, Value<Entry>>, Error> {
    if !pins.has_map(SIGNAL_KEYS) {
        let map: Array<MapData, Value<Entry>> = Array::create(MAX_SIGNALS as u32, 0).map_err(Error::map("create", SIGNAL_KEYS))?;
        let path = pins.map(SIGNAL_KEYS);
        map.pin(&path).map_err(|error| Error::io("pin", path)(std::io::Error::other(error)))?;
    }
    Map::Array(pins.open_map(SIGNAL_KEYS)?).try_into().map_err(Error::map("open", SIGNAL_KEYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_the_generation_in_force_and_of_a_failed_try_are_in_use() {
        let entry = |owner: u8, last: u32| {
            let mut entry: Entry = [owner; 36];
            entry[32..].copy_from_slice(&last.to_ne_bytes());
            entry
        };
        let (owners, in_use) = owners(&[entry(1, 7), entry(2, 6), [0; 36], entry(3, 5)], 7);
        assert_eq!(owners, [Some([1; 32]), Some([2; 32]), None, Some([3; 32])]);
        assert_eq!(in_use, HashSet::from([0, 1]));
    }
}
