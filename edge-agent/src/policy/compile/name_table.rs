//! The table of names, as the kernel program and the engines over host tables look names up in it.

use std::collections::HashSet;

use edge_ebpf::inspect::secret::mix;
use edge_ebpf::name::hash::{Hash, SEEDS};
use edge_ebpf::name::labels::Labels;
use edge_ebpf::name::table::{BUCKET, NameBucket, NameEntry, places, set_overflow, suffixes};
use edge_ebpf::packet::access::Frame;

use super::names::StoredName;

/// The table as it goes into the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTable {
    /// A power of two of them.
    pub buckets: Vec<NameBucket>,
    /// Entries in use: the names, and those above them.
    pub entries: usize,
    /// What its hashes are made with.
    pub seeds: [u64; SEEDS],
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameTableError {
    #[error("the name {name:?} cannot be read as the program reads it: a defect, please report it")]
    NotAName { name: String },
    #[error("the name {name:?} cannot be told from another one: a defect, please report it")]
    Collision { name: String },
}

/// Entries for each place: above this, tables that find a place for every entry get rare and slow to build.
const FULLEST: f64 = 0.875;
/// Entries that are moved to make room for one.
const MOVES: usize = 1000;
/// Seeds that are tried. One in tens of millions gives two of a million names one hash.
const ATTEMPTS: u64 = 4;
/// Bytes before a name that is read as text.
const BEFORE: usize = 8;

struct Entry {
    hash: Hash,
    exact: u32,
    below: u32,
    has_children: bool,
}

impl NameTable {
    /// A table of `names`, among which every name above one of them is, too. Its seeds are `seeds`, or others that follow from them if two names
    /// have one hash with those.
    ///
    /// # Errors
    /// If the names are not told apart whatever the seeds are.
    pub fn build<'a, I: ExactSizeIterator<Item = StoredName<'a>>>(
        names: impl Fn() -> I,
        seeds: &[u64; SEEDS],
    ) -> Result<Self, NameTableError> {
        let mut last = *seeds;
        for attempt in 1..ATTEMPTS {
            match Self::with_seeds(names(), &last) {
                Err(NameTableError::Collision { name }) => tracing::debug!(name, "has another's hash; other seeds are tried"),
                done => return done,
            }
            last = following(seeds, attempt);
        }
        Self::with_seeds(names(), &last)
    }

    fn with_seeds<'a>(names: impl ExactSizeIterator<Item = StoredName<'a>>, seeds: &[u64; SEEDS]) -> Result<Self, NameTableError> {
        let entries = entries(names, seeds)?;
        let mut buckets = 1;
        while entries.len() as f64 > FULLEST * (buckets * BUCKET) as f64 {
            buckets *= 2;
        }
        loop {
            if let Some(placed) = place(&entries, buckets) {
                return Ok(Self { buckets: filled(&entries, &placed), entries: entries.len(), seeds: *seeds });
            }
            buckets *= 2;
        }
    }

    /// Without a name.
    pub fn empty() -> Self {
        Self { buckets: vec![NameBucket::default()], entries: 0, seeds: [0; SEEDS] }
    }

    /// Number of buckets less one.
    pub fn mask(&self) -> u32 {
        self.buckets.len() as u32 - 1
    }
}

/// As secret as `seeds`, and different for each attempt.
fn following(seeds: &[u64; SEEDS], attempt: u64) -> [u64; SEEDS] {
    let mut number = attempt * SEEDS as u64;
    seeds.map(|seed| {
        number += 1;
        mix(seed ^ mix(number))
    })
}

fn entries<'a>(names: impl ExactSizeIterator<Item = StoredName<'a>>, seeds: &[u64; SEEDS]) -> Result<Vec<Entry>, NameTableError> {
    let mut entries: Vec<Entry> = Vec::with_capacity(names.len());
    let mut known: HashSet<u64> = HashSet::with_capacity(names.len());
    let mut labels = Labels::default();
    let mut text = vec![0; BEFORE];
    for StoredName { name, exact, below, has_children } in names {
        text.truncate(BEFORE);
        text.extend(name.as_str().bytes());
        if labels.text(&Frame::new(&text), seeds, BEFORE, text.len()).is_fault() {
            return Err(NameTableError::NotAName { name: name.to_string() });
        }
        let Some(hash) = suffixes(seeds, &labels).last() else { continue };
        if hash.tag == 0 || !known.insert(hash.tag) {
            return Err(NameTableError::Collision { name: name.to_string() });
        }
        entries.push(Entry { hash, exact, below, has_children });
    }
    Ok(entries)
}

/// Which entry lies where; `None`: there is no room for one of them.
fn place(entries: &[Entry], buckets: usize) -> Option<Vec<[Option<u32>; BUCKET]>> {
    let mask = (buckets - 1) as u32;
    let mut placed = vec![[None; BUCKET]; buckets];
    for index in 0..entries.len() as u32 {
        let mut moving = index;
        let mut from = None;
        let mut moves = 0;
        loop {
            let [first, second] = places(entries[moving as usize].hash, mask);
            // One that had to leave a bucket goes to its other one.
            let choices = match from {
                None => [first, second],
                Some(from) if from == first => [second, second],
                Some(_) => [first, first],
            };
            let room = |bucket: u32| Some((bucket as usize, placed[bucket as usize].iter().position(Option::is_none)?));
            if let Some((bucket, slot)) = choices.into_iter().find_map(room) {
                placed[bucket][slot] = Some(moving);
                break;
            }
            moves += 1;
            if moves > MOVES {
                return None;
            }
            // Another slot in each round, so that no two entries push each other out for ever.
            let bucket = choices[1];
            let slot = &mut placed[bucket as usize][(moves + moving as usize) % BUCKET];
            if let Some(pushed) = slot.replace(moving) {
                moving = pushed;
            }
            from = Some(bucket);
        }
    }
    Some(placed)
}

fn filled(entries: &[Entry], placed: &[[Option<u32>; BUCKET]]) -> Vec<NameBucket> {
    let mask = (placed.len() - 1) as u32;
    let mut overflows = vec![false; placed.len()];
    let mut buckets: Vec<NameBucket> = vec![NameBucket::default(); placed.len()];
    for (index, (bucket, slots)) in (0..).zip(buckets.iter_mut().zip(placed)) {
        for (slot, entry) in bucket.iter_mut().zip(slots) {
            let Some(entry) = entry.and_then(|entry| entries.get(entry as usize)) else { continue };
            let Entry { hash, exact, below, has_children } = entry;
            *slot = NameEntry::new(hash.tag, *exact, *below, *has_children);
            let [first, _] = places(*hash, mask);
            if first != index {
                overflows[first as usize] = true;
            }
        }
    }
    for (bucket, overflow) in buckets.iter_mut().zip(overflows) {
        set_overflow(bucket, overflow);
    }
    buckets
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use edge_ebpf::name::hash::Seeds;
    use edge_ebpf::name::table::{NameStorage, find};
    use proptest::prelude::*;

    use super::*;
    use crate::policy::name::NameRef;

    const SECRETS: [u64; SEEDS] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 3, 5, 8];

    struct Host<'a>(&'a NameTable);

    impl Seeds for Host<'_> {
        fn seed(&self, place: usize) -> u64 {
            self.0.seeds.seed(place)
        }
    }

    impl NameStorage for Host<'_> {
        fn bucket(&self, index: u32) -> Option<&NameBucket> {
            self.0.buckets.get(index as usize)
        }
        fn mask(&self) -> u32 {
            self.0.mask()
        }
    }

    fn row(table: &NameTable, name: &str) -> u32 {
        let text = [&[0; BEFORE], name.as_bytes()].concat();
        let mut labels = Labels::default();
        assert!(!labels.text(&Frame::new(&text), &Host(table), BEFORE, text.len()).is_fault());
        find(&Host(table), &labels)
    }

    /// What the table is to say, by walking up from the name.
    fn plain(names: &BTreeMap<String, (u32, u32)>, name: &str) -> u32 {
        if let Some((exact, _)) = names.get(name) {
            return *exact;
        }
        let above = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]);
        above.filter_map(|above| names.get(above)).map(|(_, below)| *below).next().unwrap_or(0)
    }

    /// (name, exact, below, has_children) of all of them, and of those above.
    fn stored(names: &BTreeMap<String, (u32, u32)>) -> Vec<(String, u32, u32, bool)> {
        let above = |name: &str| name.match_indices('.').map(|(dot, _)| name[dot + 1..].to_owned()).collect::<Vec<_>>();
        let parents: BTreeSet<String> = names.keys().flat_map(|name| above(name)).collect();
        let all: BTreeSet<&String> = names.keys().chain(&parents).collect();
        let below = |name: &String| names.get(name).map_or_else(|| plain(names, name), |(_, below)| *below);
        all.into_iter().map(|name| (name.clone(), plain(names, name), below(name), parents.contains(name))).collect()
    }

    fn table(names: &[(String, u32, u32, bool)]) -> Result<NameTable, NameTableError> {
        NameTable::build(|| names_of(names), &SECRETS)
    }

    fn names_of(names: &[(String, u32, u32, bool)]) -> impl ExactSizeIterator<Item = StoredName<'_>> {
        names.iter().map(|&(ref name, exact, below, has_children)| {
            let name = NameRef::of_canonical(name);
            StoredName { name, exact, below, has_children }
        })
    }

    proptest! {
        #[test]
        fn the_table_says_what_the_list_says(
            names in prop::collection::btree_map("[ab]{1,2}(\\.[abc]{1,2}){0,5}", (0..9u32, 0..9u32), 0..60),
            asked in prop::collection::vec("[abd]{1,2}(\\.[abc]{1,2}){0,6}", 1..60),
        ) {
            let table = table(&stored(&names)).expect("a table");
            for name in asked.iter().chain(names.keys()) {
                prop_assert_eq!(row(&table, name), plain(&names, name), "{}", name);
            }
        }
    }

    #[test]
    fn a_full_table_finds_every_name() {
        // With their two top-level names they fill seven eighths of 2¹⁵ buckets.
        let count = (FULLEST * (BUCKET << 15) as f64) as u32 - 2;
        let names: BTreeMap<String, (u32, u32)> =
            (0..count).map(|number| (format!("name-{number}.{}", ["com", "org"][number as usize % 2]), (number + 1, number + 2))).collect();
        let table = table(&stored(&names)).expect("a table");
        assert_eq!(table.entries, names.len() + 2);
        assert_eq!(table.buckets.len(), 1 << 15);
        for (name, (exact, below)) in &names {
            assert_eq!(row(&table, name), *exact);
            assert_eq!(row(&table, &format!("x.{name}")), *below);
        }
        assert_eq!(row(&table, "name-x.com"), 0);
    }

    #[test]
    fn names_of_one_hash_are_told_apart_by_other_seeds() {
        // With a seed of equal halves a word's halves may be swapped.
        let alike = [0x5_0000_0005, 0x7_0000_0007, 1, 2, 3, 4];
        let names =
            stored(&[("abcdefgh.example", (1, 2)), ("efghabcd.example", (3, 4))].map(|(name, rows)| (name.to_owned(), rows)).into());
        assert!(matches!(NameTable::with_seeds(names_of(&names), &alike), Err(NameTableError::Collision { .. })));
        let table = NameTable::build(|| names_of(&names), &alike).expect("others are tried");
        assert_ne!(table.seeds, alike);
        for (name, expected) in
            [("abcdefgh.example", 1), ("x.abcdefgh.example", 2), ("efghabcd.example", 3), ("x.efghabcd.example", 4), ("example", 0)]
        {
            assert_eq!(row(&table, name), expected, "{name}");
        }
        assert_eq!(NameTable::build(|| names_of(&names), &SECRETS).expect("told apart").seeds, SECRETS, "the first that do");
        assert_ne!(following(&alike, 1), following(&alike, 2));
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        let one = |name: &str| (name.to_owned(), 1, 1, false);
        for wrong in ["", "a..b", ".a"] {
            assert!(matches!(table(&[one(wrong)]), Err(NameTableError::NotAName { .. })), "{wrong:?}");
        }
        assert!(matches!(table(&[one("a.b"), one("A.b")]), Err(NameTableError::Collision { .. })));
        assert_eq!(table(&[]).expect("a table").buckets.len(), 1);
        assert_eq!(row(&NameTable::empty(), "a.b"), 0);
    }
}
