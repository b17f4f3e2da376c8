//! The table of devices that have shown a signal, by MAC: two buckets of eight, each a cache line, so that a look-up is one or two loads from
//! memory whatever the table's size.
//!
//! A device is in the one of its two buckets that had more room. Where both are full, one that is in no group gives way to it before one that
//! is, and of those the one that was quiet for the longest time.

use crate::{
    abi::identity::{DEVICE_WAYS, DeviceBucket, DeviceState},
    packet::{Mac, access::if_zero},
};

/// In which generation the row was computed, 1 to 65,534.
#[inline(always)]
pub const fn age(generation: u32) -> u64 {
    (generation % 0xfffe + 1) as u64
}

/// The age of a row that was not computed yet.
pub const NO_AGE: u64 = 0xffff;

/// What stands in a bucket: the MAC, and above it the age of its row.
#[inline(always)]
pub const fn entry(mac: Mac, age: u64) -> u64 {
    mac.0 | age << 48
}

const MAC: u64 = (1 << 48) - 1;

/// The MAC's two buckets, by a hash of it that nobody outside can reckon. `mask`: number of buckets, a power of two, less one.
#[inline(always)]
pub const fn places(hash: u64, mask: u32) -> [u32; 2] {
    let first = (hash >> 32) as u32 & mask;
    let second = hash as u32 & mask;
    // Never the same one twice, where there are two.
    [first, if second == first { (second ^ 1) & mask } else { second }]
}

/// The device's entry and its way; 0: it is not there. Without a branch: the verifier would follow each way.
#[inline(always)]
pub fn find(bucket: &DeviceBucket, mac: Mac) -> (u64, usize) {
    let (mut entry, mut way) = (0, 0);
    for (index, here) in bucket.iter().enumerate() {
        let same = if_zero(((*here ^ mac.0) & MAC) as usize) as u64;
        entry |= here & same;
        way |= index & same as usize;
    }
    (entry, way)
}

/// Whether the row was computed in the generation of `age`.
#[inline(always)]
pub const fn is_current(entry: u64, age: u64) -> bool {
    entry >> 48 == age
}

/// How soon an entry gives way: the lower the sooner. Free ones first, then those in no group, then the others.
#[inline(always)]
pub const fn rank(entry: u64, state: &DeviceState) -> u64 {
    if entry == 0 { 0 } else { 1 | (state.seen as u64) << 1 | if state.known != 0 { 1 << 40 } else { 0 } }
}

/// Index of a device's state and row.
#[inline(always)]
pub const fn index(place: u32, way: usize) -> u32 {
    place * DEVICE_WAYS as u32 + way as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_its_mac_whatever_its_age() {
        let mac = Mac(0x6409_8000_0001);
        let mut bucket = [0; DEVICE_WAYS];
        assert_eq!(find(&bucket, mac).0, 0);
        bucket[5] = entry(mac, 7);
        bucket[6] = entry(Mac(0x6409_8000_0002), 7);
        assert_eq!(find(&bucket, mac), (entry(mac, 7), 5));
        assert!(is_current(find(&bucket, mac).0, 7) && !is_current(find(&bucket, mac).0, 8));
        // An age is never 0, which would be a free entry's.
        assert!((0..200_000).step_by(7).all(|generation| age(generation) != 0 && age(generation) != NO_AGE));
    }

    #[test]
    fn strangers_give_way_before_those_in_a_group() {
        let state = |seen, known| DeviceState { seen, known, ..DeviceState::default() };
        let ranks = [rank(0, &state(9, 1)), rank(1, &state(5, 0)), rank(1, &state(6, 0)), rank(1, &state(1, 1)), rank(1, &state(2, 1))];
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    #[test]
    fn the_two_buckets_differ() {
        assert!((0..1000u64).all(|hash| {
            let [first, second] = places(hash << 32 | hash, 1023);
            first != second
        }));
        assert_eq!(places(0, 0), [0, 0]);
    }
}
