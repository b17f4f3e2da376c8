//! How full the tables are that remember what packets showed, and forget by themselves.

use std::io;

use aya::maps::{HashMap, Map};
use edge_ebpf::abi::identity::DEVICE_WAYS;
use edge_ebpf::abi::{FragmentKey, FragmentVerdict, MAX_FRAGMENTS};
use edge_ebpf::inspect::flow::{self, FlowEntry};
use edge_ebpf::inspect::learned::{self, LearnedEntry};

use super::batch;
use super::clock;
use super::error::Error;
use super::object::{DEVICES, FLOWS, FRAGMENTS, LEARNED};
use super::pins::Pins;
use super::pod::{Plain, Value};
use super::snapshot::TableUse;

/// Buckets that are looked at for one scrape, so that a large table costs no more than one of the default size.
const SAMPLE: u32 = 1 << 14;
/// Those that are read at once.
const RUN: u32 = 1 << 10;

/// Of the pinned ones.
///
/// # Errors
/// If they cannot be read.
pub fn uses(pins: &Pins) -> Result<Vec<TableUse>, Error> {
    let second = clock::second();
    let fragments = Some(fragments(pins)?);
    let learned = buckets::<LearnedEntry, { learned::WAYS }>(pins, ("learned", LEARNED), |entry| entry.is_live(second))?;
    let flows = buckets::<FlowEntry, { flow::WAYS }>(pins, ("flows", FLOWS), |entry| !entry.is_free())?;
    // Two places for each device that it was made for, see `identity::buckets`.
    let devices = buckets::<u64, { DEVICE_WAYS }>(pins, ("devices", DEVICES), |entry| *entry != 0)?;
    let devices = devices.map(|devices| TableUse { capacity: devices.capacity / 2, ..devices });
    Ok([fragments, learned, flows, devices].into_iter().flatten().collect())
}

/// Counted by walking the keys: where one goes while it is stood on, the kernel begins anew, so that it is bounded, and then only a close
/// guess.
fn fragments(pins: &Pins) -> Result<TableUse, Error> {
    let map: HashMap<_, Value<FragmentKey>, Value<FragmentVerdict>> =
        Map::LruHashMap(pins.open_map(FRAGMENTS)?).try_into().map_err(Error::map("open", FRAGMENTS))?;
    let entries = map.keys().take(MAX_FRAGMENTS as usize).filter(Result::is_ok).count();
    Ok(TableUse::of(("fragments", entries, MAX_FRAGMENTS as usize)))
}

/// Of a table of buckets; `None` if what is pinned is older than the table.
fn buckets<E: Plain + Default, const WAYS: usize>(
    pins: &Pins,
    (table, map): (&'static str, &'static str),
    in_use: impl Fn(&E) -> bool,
) -> Result<Option<TableUse>, Error> {
    if !pins.has_map(map) {
        return Ok(None);
    }
    let array = pins.open_map(map)?;
    let buckets = array.info().map_err(Error::map("look at", map))?.max_entries();
    let mut run = Vec::new();
    let read = |first, length| {
        run.resize(length as usize, [E::default(); WAYS]);
        batch::look_up(&array, first, &mut run)?;
        Ok(run.iter().flatten().filter(|entry| in_use(entry)).count())
    };
    let entries = estimate(buckets, read).map_err(Error::io("read", pins.map(map)))?;
    Ok(Some(TableUse::of((table, entries, buckets as usize * WAYS))))
}

/// Entries in use of a table with so many buckets, a power of two. `read` counts those in a run of them. Of more than [`SAMPLE`] buckets runs
/// from all over the table stand for the rest: a place is a hash, so any of them is as good.
fn estimate(buckets: u32, mut read: impl FnMut(u32, u32) -> io::Result<usize>) -> io::Result<usize> {
    let length = buckets.min(RUN);
    let runs = buckets.min(SAMPLE) / length.max(1);
    let apart = buckets / runs.max(1);
    let found = (0..runs).map(|run| read(run * apart, length)).sum::<io::Result<usize>>()?;
    Ok(found * (apart / length.max(1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The estimate of a table of which every bucket has one entry in use where `used` says so, and how many buckets were read for it.
    fn estimated(buckets: u32, used: impl Fn(u32) -> bool) -> (usize, u32) {
        let mut read = 0;
        let entries = estimate(buckets, |first, length| {
            assert!(first + length <= buckets, "it ends before {first} + {length}");
            read += length;
            Ok((first..first + length).filter(|bucket| used(*bucket)).count())
        });
        (entries.expect("nothing fails"), read)
    }

    #[test]
    fn a_table_of_the_default_size_is_counted_to_the_last_entry() {
        for bits in 0..=14 {
            let buckets = 1 << bits;
            assert_eq!(estimated(buckets, |bucket| bucket + 1 == buckets), (1, buckets));
            assert_eq!(estimated(buckets, |_| true), (buckets as usize, buckets));
        }
    }

    #[test]
    fn a_larger_table_costs_no_more_and_is_told_nearly() {
        for bits in 15..=20 {
            let buckets = 1 << bits;
            assert_eq!(estimated(buckets, |_| true), (buckets as usize, SAMPLE));
            assert_eq!(estimated(buckets, |_| false), (0, SAMPLE));
            let (third, read) = estimated(buckets, |bucket| bucket.wrapping_mul(0x9e37_79b9) < u32::MAX / 3);
            let expected = buckets as usize / 3;
            assert!(read == SAMPLE && third.abs_diff(expected) < expected / 20, "{third} of {buckets}");
            // What lies in one half alone counts as much as what does in the other.
            assert_eq!(estimated(buckets, |bucket| bucket < buckets / 2), estimated(buckets, |bucket| bucket >= buckets / 2));
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_count() {
        assert!(estimate(4, |_, _| Err(io::Error::other("gone"))).is_err());
    }
}
