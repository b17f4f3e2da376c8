//! Builds the tries that [`edge_ebpf::trie`] walks. Equal nodes are shared: most of a country's small prefixes make the same few patterns.

use std::hash::{BuildHasher, Hash};

use edge_ebpf::{
    abi::{Entry, FANOUT, Node, ROOT, Skip},
    trie::Storage,
};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table};

/// A trie as the maps hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trie {
    pub root: Box<[Entry; ROOT]>,
    pub nodes: Vec<Node>,
    pub skips: Vec<Skip>,
}

impl Storage for Trie {
    fn root(&self, first: u16) -> Option<Entry> {
        self.root.get(usize::from(first)).copied()
    }
    fn node(&self, index: u32, slot: u8) -> Option<Entry> {
        Some(self.nodes.get(index as usize)?[usize::from(slot)])
    }
    fn skip(&self, index: u32) -> Option<&Skip> {
        self.skips.get(index as usize)
    }
}

/// A key as the highest bits of 128.
type Key = u128;

impl Trie {
    /// Of segments that start at the given numbers of `bits` bits, the first at 0, and reach to the next one's start. `skipping`: runs of
    /// bits without a branch are skipped, which IPv4's three levels do not need.
    pub fn build<T: Into<u128>>(segments: Vec<(T, u32)>, bits: u32, skipping: bool) -> Self {
        // A MAC is a number of 48 bits in 64: a set that reaches the last one ends outside the space.
        let inside = |start: &Key| bits == 128 || start >> bits == 0;
        let segments: Vec<(Key, u32)> = segments
            .into_iter()
            .map(|(start, class)| (start.into(), class))
            .filter(|(start, _)| inside(start))
            .map(|(start, class)| (start << (128 - bits), class))
            .collect();
        let mut builder = Builder { skipping, ..Builder::default() };
        let mut rest = segments.as_slice();
        let mut root = vec![Entry::default(); ROOT];
        for (first, entry) in root.iter_mut().enumerate() {
            let first = (first as Key) << 112;
            let last = first | (Key::MAX >> 16);
            *entry = builder.region(take(&mut rest, last), first, 2);
        }
        Self {
            root: root.into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("sized above")),
            nodes: builder.nodes.values,
            skips: builder.skips.values,
        }
    }
}

/// The segments up to the one that holds `last`; `rest` goes on with the one that holds the number after it.
fn take<'a>(rest: &mut &'a [(Key, u32)], last: Key) -> &'a [(Key, u32)] {
    // A region rarely holds more than a few, so a scan beats a search.
    let count = rest.iter().skip(1).take_while(|(start, _)| *start <= last).count() + 1;
    let region = &rest[..count];
    let ends_here = rest.get(count).is_none_or(|(start, _)| last.checked_add(1).is_some_and(|next| *start == next));
    *rest = &rest[if ends_here { count.min(rest.len() - 1) } else { count - 1 }..];
    region
}

#[derive(Default)]
struct Builder {
    skipping: bool,
    nodes: Interner<Node>,
    skips: Interner<Skip>,
}

impl Builder {
    /// The entry for the keys that share the first `depth` bytes of `first`. The first segment may have begun before it.
    fn region(&mut self, segments: &[(Key, u32)], first: Key, depth: u32) -> Entry {
        if let [(_, class)] = segments {
            return Entry::class(*class);
        }
        if self.skipping
            && let Some(entry) = self.skip(segments, depth)
        {
            return entry;
        }
        let mut node = [Entry::default(); FANOUT];
        let mut rest = segments;
        for (slot, entry) in node.iter_mut().enumerate() {
            let first = first | ((slot as Key) << (120 - depth * 8));
            let last = first | Key::MAX.unbounded_shr(depth * 8 + 8);
            *entry = self.region(take(&mut rest, last), first, depth + 1);
        }
        Entry::node(self.nodes.intern(node))
    }

    /// A skip, where everything but one block of this region has the same class.
    fn skip(&mut self, segments: &[(Key, u32)], depth: u32) -> Option<Entry> {
        let [(_, before), inner @ .., (after, after_class)] = segments else { return None };
        if before != after_class || inner.is_empty() {
            return None;
        }
        let (low, high) = (inner[0].0, after - 1);
        let common = (low ^ high).leading_zeros();
        let whole_block = inner.len() == 1 && low.trailing_zeros() + common >= 128 && (!high).trailing_zeros() + common >= 128;
        let bytes = common / 8 - depth;
        let (bits, next, bytes) = if whole_block {
            (common, Entry::class(inner[0].1), 0)
        } else if bytes >= 1 {
            let bits = (depth + bytes) * 8;
            let (block, block_end) = (low & high_bits(bits), low | !high_bits(bits));
            // What surrounds the block is not in it where the inner segments fill it to the edge.
            let from = usize::from(low == block);
            let to = segments.len() - usize::from(high == block_end);
            (bits, self.region(&segments[from..to], block, depth + bytes), bytes)
        } else {
            return None;
        };
        let mask = high_bits(bits) << (depth * 8);
        let value = (low << (depth * 8)) & mask;
        let halves = |key: Key| [(key >> 64) as u64, key as u64];
        let skip = Skip { mask: halves(mask), value: halves(value), next, miss: Entry::class(*before), bytes, reserved: 0 };
        Some(Entry::skip(self.skips.intern(skip)))
    }
}

/// The highest `bits` bits set.
fn high_bits(bits: u32) -> Key {
    if bits == 0 { 0 } else { Key::MAX << (128 - bits) }
}

/// Each distinct value once. The table holds numbers only: a node is a kilobyte.
struct Interner<T> {
    values: Vec<T>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    fn intern(&mut self, value: T) -> u32 {
        let Self { values, numbers, hasher } = self;
        let is_same = |number: &u32| values[*number as usize] == value;
        match numbers.entry(hasher.hash_one(&value), is_same, |number| hasher.hash_one(&values[*number as usize])) {
            hash_table::Entry::Occupied(known) => *known.get(),
            hash_table::Entry::Vacant(place) => {
                let number = values.len() as u32;
                place.insert(number);
                values.push(value);
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::trie::{lookup, lookup_v4};
    use proptest::prelude::*;

    use super::*;

    /// Segments out of prefixes of the given space, later ones painted over earlier ones.
    fn paint(prefixes: &[(u128, u32, u32)], bits: u32) -> Vec<(u128, u32)> {
        let end = |start: u128, length: u32| start | (high_bits(128 - bits + length) ^ Key::MAX);
        let class_at = |number: u128| {
            prefixes
                .iter()
                .rev()
                .find(|(start, length, _)| start & !(end(0, *length)) <= number && number <= end(*start, *length))
                .map_or(0, |(_, _, class)| *class)
        };
        let mut starts = vec![0];
        for &(start, length, _) in prefixes {
            starts.push(start & !(end(0, length)));
            let after = end(start, length).wrapping_add(1);
            if after < (if bits == 128 { u128::MAX } else { 1 << bits }) {
                starts.push(after);
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let mut segments: Vec<(u128, u32)> = starts.into_iter().map(|start| (start, class_at(start))).collect();
        segments.dedup_by_key(|(_, class)| *class);
        segments
    }

    fn prefixes(bits: u32) -> impl Strategy<Value = Vec<(u128, u32, u32)>> {
        let mask = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
        // Few distinct first bytes and low bits, so that prefixes meet, nest and share their nodes.
        let number = (0u128..3, any::<u128>(), 0u32..5).prop_map(move |(top, rest, shape)| {
            let number = match shape {
                0 => rest,
                1 => rest & 3,
                2 => 0,
                3 => rest & (0xff << 16),
                _ => mask,
            };
            ((top << (bits - 8)) | (number & (mask >> 8))) & mask
        });
        prop::collection::vec((number, 0..=bits, 1u32..6), 0..24)
    }

    fn expected(segments: &[(u128, u32)], number: u128) -> u32 {
        segments[segments.partition_point(|(start, _)| *start <= number) - 1].1
    }

    fn probes(segments: &[(u128, u32)], bits: u32) -> Vec<u128> {
        let mask = if bits == 128 { u128::MAX } else { (1 << bits) - 1 };
        segments.iter().flat_map(|(start, _)| [start.wrapping_sub(1) & mask, *start, (start + 1) & mask]).chain([0, mask]).collect()
    }

    proptest! {
        #[test]
        fn ipv4_look_ups_find_the_segment(prefixes in prefixes(32)) {
            let segments = paint(&prefixes, 32);
            let trie = Trie::build(segments.clone(), 32, false);
            prop_assert!(trie.skips.is_empty());
            for number in probes(&segments, 32) {
                prop_assert_eq!(lookup_v4(&trie, number as u32), Some(expected(&segments, number)), "{:x}", number);
            }
        }

        #[test]
        fn mac_look_ups_find_the_segment(prefixes in prefixes(48)) {
            let segments = paint(&prefixes, 48);
            let trie = Trie::build(segments.clone(), 48, true);
            for number in probes(&segments, 48) {
                prop_assert_eq!(lookup::<6>(&trie, [(number as u64) << 16, 0]), Some(expected(&segments, number)), "{:x}", number);
            }
        }

        #[test]
        fn ipv6_look_ups_find_the_segment(prefixes in prefixes(128)) {
            let segments = paint(&prefixes, 128);
            let trie = Trie::build(segments.clone(), 128, true);
            for number in probes(&segments, 128) {
                let key = [(number >> 64) as u64, number as u64];
                prop_assert_eq!(lookup::<16>(&trie, key), Some(expected(&segments, number)), "{:x}", number);
            }
        }
    }

    /// Found by the differential test: the class before the block leaked into its first node.
    #[test]
    fn segments_that_fill_a_skipped_block_to_its_edges_stay_alone_in_it() {
        let segments: Vec<(u128, u32)> = vec![(0, 0), (0x6409_8000_0000, 1), (0x6409_8080_0000, 2), (0x6409_8100_0000, 0)];
        let trie = Trie::build(segments.clone(), 48, true);
        for number in probes(&segments, 48) {
            assert_eq!(lookup::<6>(&trie, [(number as u64) << 16, 0]), Some(expected(&segments, number)), "{number:x}");
        }
    }

    /// Found by the differential test: the border behind the last MAC wrapped round to the first one.
    #[test]
    fn a_set_may_reach_the_last_mac() {
        let segments: Vec<(u64, u32)> = vec![(0, 0), (0xff00_0000_0000, 1), (1 << 48, 0)];
        let trie = Trie::build(segments, 48, true);
        for (number, class) in [(0u64, 0), (0xfeff_ffff_ffff, 0), (0xff00_0000_0000, 1), (0xffff_ffff_ffff, 1)] {
            assert_eq!(lookup::<6>(&trie, [number << 16, 0]), Some(class), "{number:x}");
        }
    }

    #[test]
    fn a_host_route_costs_a_skip_and_no_node() {
        let trie = Trie::build(vec![(0u128, 0), (0x2001_0db8 << 96 | 1, 1), (0x2001_0db8 << 96 | 2, 0)], 128, true);
        assert_eq!((trie.nodes.len(), trie.skips.len()), (0, 1));
    }
}
