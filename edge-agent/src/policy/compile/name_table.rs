//! The table of names, as the kernel program and the engines over host tables look names up in it.

use std::collections::HashMap;

use edge_ebpf::name::hash::{Hash, SEEDS};
use edge_ebpf::name::labels::Labels;
use edge_ebpf::name::table::{BUCKET, NameBucket, NameEntry, places, set_overflow, suffixes};
use edge_ebpf::packet::access::Frame;

/// A name that a rule is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameRows {
    /// In A-labels, without a dot at the end; case does not matter.
    pub name: String,
    /// Row of the name itself. 0 is no rule's.
    pub exact: u32,
    /// Row of every name below it that is not given itself.
    pub below: u32,
}

/// The table as it goes into the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTable {
    /// A power of two of them.
    pub buckets: Vec<NameBucket>,
    /// Entries in use: the names, and those above them.
    pub entries: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameTableError {
    #[error("{name:?} is no domain name: give labels of letters, digits and hyphens with dots between them, at most 253 characters")]
    NotAName { name: String },
    #[error("{name:?} is given twice with different rules: a defect, please report it")]
    Twice { name: String },
    #[error("the name {name:?} cannot be told from another one with these secrets: try again")]
    Collision { name: String },
}

/// Entries for each place: above this, tables that find a place for every entry get rare and slow to build.
const FULLEST: f64 = 0.875;
/// Entries that are moved to make room for one.
const MOVES: usize = 1000;
/// Bytes before a name that is read as text.
const BEFORE: usize = 8;

struct Entry {
    hash: Hash,
    exact: u32,
    below: u32,
    has_children: bool,
    /// Whether it was given, and not only lies above one that was.
    given: bool,
}

impl NameTable {
    /// A table of `names`, and of the names above them, which have the rules of the nearest one above that is given.
    ///
    /// # Errors
    /// If a text is no name; and, which other secrets change, if two names have one hash.
    pub fn build(names: &[NameRows], seeds: &[u64; SEEDS]) -> Result<Self, NameTableError> {
        let entries = entries(names, seeds)?;
        let mut buckets = 1;
        while entries.len() as f64 > FULLEST * (buckets * BUCKET) as f64 {
            buckets *= 2;
        }
        loop {
            if let Some(placed) = place(&entries, buckets) {
                return Ok(Self { buckets: filled(&entries, &placed), entries: entries.len() });
            }
            buckets *= 2;
        }
    }

    /// Number of buckets less one.
    pub fn mask(&self) -> u32 {
        self.buckets.len() as u32 - 1
    }
}

fn entries(names: &[NameRows], seeds: &[u64; SEEDS]) -> Result<Vec<Entry>, NameTableError> {
    let mut hashed = Vec::with_capacity(names.len());
    let mut labels = Labels::default();
    for (index, NameRows { name, .. }) in names.iter().enumerate() {
        let text = [&[0; BEFORE], name.as_bytes()].concat();
        if name.ends_with('.') || labels.text(&Frame::new(&text), seeds, BEFORE, text.len()).is_fault() {
            return Err(NameTableError::NotAName { name: name.clone() });
        }
        hashed.push((labels.count(), index));
    }
    // The shorter ones first: what lies above a name is then known.
    hashed.sort_unstable();
    let mut entries: Vec<Entry> = Vec::with_capacity(names.len());
    let mut known: HashMap<u64, usize> = HashMap::with_capacity(names.len());
    for (count, index) in hashed {
        let NameRows { name, exact, below } = &names[index];
        let text = [&[0; BEFORE], name.as_bytes()].concat();
        labels.text(&Frame::new(&text), seeds, BEFORE, text.len());
        let mut inherited = 0;
        for (depth, hash) in (1..).zip(suffixes(seeds, &labels)) {
            let given = depth == count;
            if hash.tag == 0 {
                return Err(NameTableError::Collision { name: name.clone() });
            }
            let found = known.get(&hash.tag).map(|place| &mut entries[*place]);
            match found {
                Some(entry) if entry.hash != hash => return Err(NameTableError::Collision { name: name.clone() }),
                Some(entry) if given => {
                    if (entry.given, entry.exact, entry.below) != (true, *exact, *below) {
                        return Err(NameTableError::Twice { name: name.clone() });
                    }
                }
                Some(entry) => {
                    entry.has_children = true;
                    inherited = entry.below;
                }
                None => {
                    known.insert(hash.tag, entries.len());
                    let (exact, below) = if given { (*exact, *below) } else { (inherited, inherited) };
                    entries.push(Entry { hash, exact, below, has_children: !given, given });
                }
            }
        }
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
            let Entry { hash, exact, below, has_children, given: _ } = entry;
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
    use std::collections::BTreeMap;

    use edge_ebpf::name::hash::Seeds;
    use edge_ebpf::name::table::{NameStorage, find};
    use proptest::prelude::*;

    use super::*;

    const SECRETS: [u64; SEEDS] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 3, 5, 8];

    struct Host<'a>(&'a NameTable);

    impl Seeds for Host<'_> {
        fn seed(&self, place: usize) -> u64 {
            SECRETS.seed(place)
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
        assert!(!labels.text(&Frame::new(&text), &SECRETS, BEFORE, text.len()).is_fault());
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

    fn given(names: &BTreeMap<String, (u32, u32)>) -> Vec<NameRows> {
        names.iter().map(|(name, (exact, below))| NameRows { name: name.clone(), exact: *exact, below: *below }).collect()
    }

    proptest! {
        #[test]
        fn the_table_says_what_the_list_says(
            names in prop::collection::btree_map("[ab]{1,2}(\\.[abc]{1,2}){0,5}", (0..9u32, 0..9u32), 0..60),
            asked in prop::collection::vec("[abd]{1,2}(\\.[abc]{1,2}){0,6}", 1..60),
        ) {
            let table = NameTable::build(&given(&names), &SECRETS).expect("a table");
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
        let table = NameTable::build(&given(&names), &SECRETS).expect("a table");
        assert_eq!(table.entries, names.len() + 2);
        assert_eq!(table.buckets.len(), 1 << 15);
        for (name, (exact, below)) in &names {
            assert_eq!(row(&table, name), *exact);
            assert_eq!(row(&table, &format!("x.{name}")), *below);
        }
        assert_eq!(row(&table, "name-x.com"), 0);
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        let rows = |name: &str, exact| NameRows { name: name.to_owned(), exact, below: 1 };
        for wrong in ["", "a..b", "a.", ".a"] {
            assert!(matches!(NameTable::build(&[rows(wrong, 1)], &SECRETS), Err(NameTableError::NotAName { .. })), "{wrong:?}");
        }
        assert!(NameTable::build(&[rows("a.b", 1), rows("A.b", 1)], &SECRETS).is_ok());
        assert!(matches!(NameTable::build(&[rows("a.b", 1), rows("A.b", 2)], &SECRETS), Err(NameTableError::Twice { .. })));
        assert_eq!(NameTable::build(&[], &SECRETS).expect("a table").buckets.len(), 1);
    }
}
