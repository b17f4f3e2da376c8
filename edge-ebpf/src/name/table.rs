//! The table of names: buckets of four entries, each name in one of two of them, and with it every name above it, so that a look-up goes
//! from the top-level label inward and ends at the first label that leads nowhere.
//!
//! A bucket is a cache line. A look-up of one label reads the second bucket only where the first one says that it overflowed.

use super::{
    hash::{Hash, Seeds},
    labels::{Labels, MAX_LABELS},
};
use crate::turns::{Turn, take};

/// A name, or a name above some.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct NameEntry {
    /// 0 in an entry that is free: no name has this tag.
    pub tag: u64,
    /// Row of the name itself; the top bit says that there are names below it in the table.
    exact: u32,
    /// Row of the names below it that are not in the table; the top bit of a bucket's first entry says that the bucket overflowed.
    below: u32,
}

const FLAG: u32 = 1 << 31;

impl NameEntry {
    /// Largest number of a row.
    pub const MAX_ROW: u32 = FLAG - 1;

    pub const fn new(tag: u64, exact: u32, below: u32, has_children: bool) -> Self {
        let children = if has_children { FLAG } else { 0 };
        Self { tag, exact: (exact & Self::MAX_ROW) | children, below: below & Self::MAX_ROW }
    }
    pub const fn is_free(&self) -> bool {
        self.tag == 0
    }
    pub const fn exact(&self) -> u32 {
        self.exact & Self::MAX_ROW
    }
    pub const fn below(&self) -> u32 {
        self.below & Self::MAX_ROW
    }
    pub const fn has_children(&self) -> bool {
        self.exact & FLAG != 0
    }
}

/// Entries that lie together, in one cache line.
pub const BUCKET: usize = 4;
pub type NameBucket = [NameEntry; BUCKET];

const _: () = {
    assert!(size_of::<NameEntry>() == 16);
    assert!(size_of::<NameBucket>() == 64);
};

/// Says of a bucket that an entry is in its second bucket because there was no room in this one; or that none is.
pub const fn set_overflow(bucket: &mut NameBucket, overflow: bool) {
    bucket[0].below = bucket[0].below() | if overflow { FLAG } else { 0 };
}

const fn overflows(bucket: &NameBucket) -> bool {
    bucket[0].below & FLAG != 0
}

/// The two buckets that an entry may be in; they may be the same. `mask` is the number of buckets, a power of two, less one.
#[inline(always)]
pub const fn places(hash: Hash, mask: u32) -> [u32; 2] {
    [hash.place as u32 & mask, (hash.place >> 32) as u32 & mask]
}

/// Where a table lies.
pub trait NameStorage: Seeds {
    fn bucket(&self, index: u32) -> Option<&NameBucket>;
    /// Number of buckets, a power of two, less one.
    fn mask(&self) -> u32;
}

/// Row of the name: its own, or that of the names below the longest name in the table that it is below. 0: neither.
#[inline(always)]
pub fn find(table: &impl NameStorage, labels: &Labels) -> u32 {
    let left = labels.count();
    if left == 0 {
        return 0;
    }
    // Nothing is known of a hash.
    let noise = labels.hash(0).tag;
    let find = Find { table, labels, hash: Hash::root(table), left, row: 0 };
    take::<{ MAX_LABELS + 1 }, _>(find, 0, noise).1.row
}

struct Find<'a, T> {
    table: &'a T,
    labels: &'a Labels,
    hash: Hash,
    /// Labels to go, one at least.
    left: usize,
    row: u32,
}

impl<T: NameStorage> Turn for Find<'_, T> {
    const FIRST: usize = 8;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        self.left -= 1;
        self.hash = self.hash.below(self.labels.hash(self.left));
        let Some(entry) = entry(self.table, self.hash) else { return Some(0) };
        self.row = if self.left == 0 { entry.exact() } else { entry.below() };
        if self.left == 0 || !entry.has_children() { Some(0) } else { None }
    }
}

/// Hashes of a name's suffixes, from its top-level label to the whole name.
pub fn suffixes(seeds: &impl Seeds, labels: &Labels) -> impl Iterator<Item = Hash> {
    (0..labels.count()).rev().scan(Hash::root(seeds), |hash, index| {
        *hash = hash.below(labels.hash(index));
        Some(*hash)
    })
}

#[inline(always)]
fn entry(table: &impl NameStorage, hash: Hash) -> Option<NameEntry> {
    let [first, second] = places(hash, table.mask());
    let bucket = table.bucket(first)?;
    if let Some(entry) = search(bucket, hash.tag) {
        return Some(entry);
    }
    if !overflows(bucket) {
        return None;
    }
    search(table.bucket(second)?, hash.tag)
}

#[inline(always)]
fn search(bucket: &NameBucket, tag: u64) -> Option<NameEntry> {
    let [a, b, c, d] = bucket;
    if a.tag == tag {
        return Some(*a);
    }
    if b.tag == tag {
        return Some(*b);
    }
    if c.tag == tag {
        return Some(*c);
    }
    if d.tag == tag {
        return Some(*d);
    }
    None
}
