//! Addresses that answers gave for watched names.
//!
//! A table of buckets of four entries, each bucket a cache line: one look-up whatever the table's size. An address has an entry for each name
//! that it was given for. The number of the name is that of one generation; the name itself lies beside the table ([`LearnedName`]), so that
//! a later generation gives the entry its own number when it first meets it: what was learned outlives a swap of policies, and the agent.

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

/// The entry that gives way: a free one, else the one that ends first.
#[inline(always)]
pub fn victim(bucket: &LearnedBucket) -> usize {
    let age = |entry: &LearnedEntry| if entry.tag == 0 { 0 } else { entry.expires };
    let [a, b, c, d] = bucket;
    let (first, first_age) = if age(b) < age(a) { (1, age(b)) } else { (0, age(a)) };
    let (second, second_age) = if age(d) < age(c) { (3, age(d)) } else { (2, age(c)) };
    if second_age < first_age { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tag: u64, expires: u32) -> LearnedEntry {
        LearnedEntry { tag, expires, number: 1, generation: 1 }
    }

    #[test]
    fn a_free_entry_gives_way_before_the_one_that_ends_first() {
        assert_eq!(victim(&[entry(1, 5), entry(2, 4), entry(0, 9), entry(3, 1)]), 2);
        assert_eq!(victim(&[entry(1, 5), entry(2, 4), entry(4, 9), entry(3, 6)]), 1);
        assert_eq!(victim(&[entry(1, 5), entry(2, 4), entry(4, 9), entry(3, 3)]), 3);
        assert_eq!(victim(&LearnedBucket::default()), 0);
    }

    #[test]
    fn an_entry_holds_to_its_last_second() {
        assert!(entry(7, 10).holds(7, 10) && !entry(7, 10).holds(7, 11) && !entry(7, 10).holds(8, 10));
        assert!(entry(7, 10).is_live(10) && !entry(7, 10).is_live(11) && !entry(0, 10).is_live(10));
        assert!(has(&[entry(1, 0), entry(2, 0), entry(3, 0), entry(4, 0)], 4) && !has(&LearnedBucket::default(), 4));
    }
}
