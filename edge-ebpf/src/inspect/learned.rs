//! Addresses that answers gave for watched names.
//!
//! A table of buckets of four entries, each bucket a cache line: one look-up whatever the table's size. An address has an entry for each name
//! that it was given for, up to four: see [`victim`]. The number of the name is that of one generation; the name itself lies beside the table ([`LearnedName`]), so that
//! a later generation gives the entry its own number when it first meets it: what was learned outlives a swap of policies, and the agent.

use crate::packet::access::{if_less, if_zero, one};

/// An address and the number of a name that it was given for.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LearnedEntry {
    /// Hash of the address; 0: the entry is free, or being written.
    pub tag: u64,
    /// The last second, of the clock since boot, in which it holds.
    pub expires: u32,
    /// Of the name.
    pub number: u16,
    /// The lower half of the number of the generation whose number it is.
    pub generation: u16,
}

pub const WAYS: usize = 4;
pub type LearnedBucket = [LearnedEntry; WAYS];

/// The name of an entry: in DNS wire form, as the answer had it, without compression.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnedName {
    /// What the name is known by, whatever its case.
    pub hash: u64,
    pub wire: [u64; NAME_WORDS],
}
/// 255 bytes, and one more.
pub const NAME_WORDS: usize = 32;

const _: () = {
    assert!(size_of::<LearnedBucket>() == 64);
    assert!(size_of::<LearnedName>() == 264);
};

/// Bucket of an address. `mask`: number of buckets, a power of two, less one.
#[inline(always)]
pub const fn place(tag: u64, mask: u32) -> u32 {
    (tag >> 16) as u32 & mask
}

impl LearnedEntry {
    /// Whether it is anybody's, and its time has not come.
    pub const fn is_live(&self, second: u32) -> bool {
        self.tag != 0 && self.holds(self.tag, second)
    }
    #[inline(always)]
    pub const fn holds(&self, tag: u64, second: u32) -> bool {
        self.tag == tag && second <= self.expires
    }
}

/// Whether any entry is of the address, be it too old.
#[inline(always)]
pub fn has(bucket: &LearnedBucket, tag: u64) -> bool {
    let [a, b, c, d] = bucket;
    a.tag == tag || b.tag == tag || c.tag == tag || d.tag == tag
}

/// The way that a name goes to which the address is not known for yet; [`WAYS`]: none, the bucket says the same without it.
///
/// A free entry or one that is over gives way, else one whose rules another of its address has for as long, else the one that ends first.
/// Without a branch, as in `name::labels`.
#[inline(always)]
pub fn victim(bucket: &LearnedBucket, new: &LearnedEntry, second: u32) -> usize {
    let mut first = usize::MAX >> 1;
    let mut is_new_said = 0;
    for (way, entry) in bucket.iter().enumerate() {
        let mut is_said = entry.is_said_by(new, 1) | entry.is_of_no_rule(new.generation);
        for (other, rival) in bucket.iter().enumerate() {
            if other != way {
                // Of two that end at once, one stays.
                is_said |= entry.is_said_by(rival, u32::from(other < way));
            }
        }
        is_new_said |= new.is_said_by(entry, 1);
        let holds = if_less(second as usize, entry.expires as usize + 1) & 0usize.wrapping_sub(entry.tag as usize & 1);
        let rank = (holds & entry.worth(is_said)) * WAYS + way;
        first = first ^ (first ^ rank) & if_less(rank, first);
    }
    let is_in_vain = is_new_said & if_less(new.worth(is_new_said) * WAYS, first + 1);
    if is_in_vain != 0 { WAYS } else { first & (WAYS - 1) }
}

impl LearnedEntry {
    /// All ones where the other is of the same address and rules, and holds as long: for less than `slack` seconds less.
    #[inline(always)]
    fn is_said_by(&self, other: &Self, slack: u32) -> usize {
        // Tags are odd.
        let differ = (self.tag ^ other.tag) as usize >> 1
            | usize::from(self.number ^ other.number)
            | usize::from(self.generation ^ other.generation);
        if_zero(differ) & if_less(self.expires as usize, other.expires as usize + slack as usize)
    }

    /// All ones where the generation has no rule about the name.
    #[inline(always)]
    fn is_of_no_rule(&self, generation: u16) -> usize {
        if_zero(usize::from(self.number | self.generation ^ generation))
    }

    /// More than any end of what is said by others.
    #[inline(always)]
    fn worth(&self, is_said: usize) -> usize {
        (2 - one(is_said)) << 32 | self.expires as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u64, expires: u32) -> LearnedEntry {
        LearnedEntry { tag, expires, number: 1, generation: 1 }
    }

    const NOW: u32 = 3;

    /// Of name `number` of address 9.
    fn of(number: u16, expires: u32) -> LearnedEntry {
        LearnedEntry { number, ..entry(9, expires) }
    }

    #[test]
    fn what_is_free_or_over_gives_way_before_what_ends_first() {
        let new = of(7, 9);
        assert_eq!(victim(&LearnedBucket::default(), &new, NOW), 0);
        assert_eq!(victim(&[entry(1, 5), entry(3, 4), entry(0, 9), entry(5, 3)], &new, NOW), 2);
        assert_eq!(victim(&[entry(1, 5), entry(3, 4), entry(5, 9), entry(7, 6)], &new, NOW), 1);
        assert_eq!(victim(&[entry(1, 5), entry(3, 4), entry(5, 9), entry(7, 3)], &new, NOW), 3);
        assert_eq!(victim(&[entry(1, 5), entry(3, 2), entry(5, 9), entry(7, 1)], &new, NOW), 1, "all that is over is alike");
        assert_eq!(victim(&[of(7, 5), of(7, 9), entry(0, 0), of(1, 4)], &new, NOW), 2, "what there is room for is kept");
    }

    #[test]
    fn what_another_says_for_as_long_gives_way_before_what_ends_first() {
        assert_eq!(victim(&[of(1, 4), of(2, 9), of(3, 5), of(2, 8)], &of(4, 7), NOW), 3);
        assert_eq!(victim(&[of(1, 4), of(2, 8), of(3, 5), of(2, 8)], &of(4, 7), NOW), 3, "one of two that end at once stays");
        assert_eq!(victim(&[of(1, 4), of(2, 6), of(3, 5), of(4, 8)], &of(2, 7), NOW), 1, "the new one says it");
        assert_eq!(victim(&[of(1, 4), of(0, 9), of(3, 5), of(4, 8)], &of(2, 7), NOW), 1, "no rule is about it");
    }

    #[test]
    fn others_do_not_say_it() {
        let bucket = [of(1, 4), of(2, 9), of(3, 5), LearnedEntry { tag: 11, ..of(2, 8) }];
        assert_eq!(victim(&bucket, &of(4, 7), NOW), 0, "another address");
        let bucket = [of(1, 4), of(2, 9), of(3, 5), LearnedEntry { generation: 2, ..of(2, 8) }];
        assert_eq!(victim(&bucket, &of(4, 7), NOW), 0, "another generation's number");
        let bucket = [of(1, 4), of(2, 9), of(3, 5), LearnedEntry { generation: 2, ..of(0, 8) }];
        assert_eq!(victim(&bucket, &of(4, 7), NOW), 0, "which it had no rule for");
    }

    #[test]
    fn a_name_in_vain_takes_no_place_from_others() {
        let bucket = [of(1, 4), of(2, 9), of(3, 5), of(4, 8)];
        assert_eq!(victim(&bucket, &of(2, 7), NOW), WAYS);
        assert_eq!(victim(&bucket, &of(2, 9), NOW), WAYS);
        assert_eq!(victim(&bucket, &of(2, 10), NOW), 1);
        assert_eq!(victim(&bucket, &LearnedEntry { generation: 2, ..of(2, 7) }, NOW), 0);
    }

    #[test]
    fn an_entry_holds_to_its_last_second() {
        assert!(entry(7, 10).holds(7, 10) && !entry(7, 10).holds(7, 11) && !entry(7, 10).holds(8, 10));
        assert!(entry(7, 10).is_live(10) && !entry(7, 10).is_live(11) && !entry(0, 10).is_live(10));
        assert!(has(&[entry(1, 0), entry(2, 0), entry(3, 0), entry(4, 0)], 4) && !has(&LearnedBucket::default(), 4));
    }
}
