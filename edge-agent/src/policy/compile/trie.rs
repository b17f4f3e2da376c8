//! Builds the tries that [`edge_ebpf::trie`] walks. Within a block equal nodes are shared, and equal blocks are one: most of a country's
//! small prefixes make the same few patterns.

use edge_ebpf::{
    abi::{Entry, FANOUT, Link, Node, ROOT, Skip},
    trie::{FAR_LINKS, Nodes, Storage},
};
use hashbrown::HashMap;

/// A trie as the maps hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trie {
    pub root: Box<[Link; ROOT]>,
    /// Block after block, with skips in the places of two nodes each.
    pub nodes: Vec<Node>,
}

impl<'a> Storage for &'a Trie {
    type Nodes = TrieNodes<'a>;
    fn root(&self, first: u16) -> Link {
        self.root[usize::from(first)]
    }
    fn nodes(&self) -> Option<TrieNodes<'a>> {
        Some(TrieNodes(self.nodes.as_flattened()))
    }
}

/// The entries of a trie's nodes.
pub struct TrieNodes<'a>(&'a [u16]);

impl TrieNodes<'_> {
    fn bytes<const N: usize>(&self, place: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (pair, entry) in bytes.chunks_exact_mut(2).zip(self.0.get(place as usize..place as usize + N / 2)?) {
            pair.copy_from_slice(&entry.to_ne_bytes());
        }
        Some(bytes)
    }
}

impl Nodes for TrieNodes<'_> {
    fn entry(&self, place: u32) -> Option<Entry> {
        self.0.get(place as usize).copied().map(Entry)
    }
    fn word(&self, place: u32) -> Option<u32> {
        self.bytes(place).map(u32::from_ne_bytes)
    }
    fn number(&self, place: u32) -> Option<u64> {
        self.bytes(place).map(u64::from_ne_bytes)
    }
}

/// The two nodes that a skip lies in.
fn skip_nodes(skip: Skip) -> [Node; 2] {
    let Skip { mask, value, next, miss, nibbles, reserved } = skip;
    let mut words = [0u32; 16];
    let numbers = [mask[0], mask[1], value[0], value[1]].map(u64::to_ne_bytes);
    for (word, bytes) in words.iter_mut().zip(numbers.as_flattened().as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words[8..11].copy_from_slice(&[next.0, miss, nibbles]);
    words[11..].copy_from_slice(&reserved);
    let mut nodes = [[0; FANOUT]; 2];
    let entries = words.map(u32::to_ne_bytes);
    for (entry, bytes) in nodes.as_flattened_mut().iter_mut().zip(entries.as_flattened().as_chunks().0) {
        *entry = u16::from_ne_bytes(*bytes);
    }
    nodes
}

/// A key as the highest bits of 128.
type Key = u128;

impl Trie {
    /// Of segments that start at the given numbers of `bits` bits, the first at 0, and reach to the next one's start. `skipping`: runs of
    /// bits without a branch are skipped, which IPv4's three levels do not need.
    ///
    /// `None`: they are so dense in one place that a look-up would take more steps than the program makes.
    pub fn build<T: Into<u128>>(segments: Vec<(T, u32)>, bits: u32, skipping: bool) -> Option<Self> {
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
        let mut root = vec![Link::default(); ROOT];
        for (first, link) in root.iter_mut().enumerate() {
            let first = (first as Key) << 112;
            let last = first | (Key::MAX >> 16);
            *link = builder.link(take(&mut rest, last), first, 4);
        }
        let root = root.into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("sized above"));
        (!builder.too_dense && builder.nodes.len() <= Link::MAX as usize).then_some(Self { root, nodes: builder.nodes })
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
    /// Links out of a full block that the region at hand is behind, and whether they ever were too many.
    far_links: u32,
    too_dense: bool,
    nodes: Vec<Node>,
    /// Where each block begins.
    blocks: HashMap<Vec<Node>, u32>,
}

/// Nodes that name each other, each distinct one once; the first is where links lead.
#[derive(Default)]
struct Block {
    values: Vec<Node>,
    nodes: HashMap<Node, u16>,
    skips: HashMap<[Node; 2], u16>,
}

impl Block {
    fn intern_node(&mut self, node: Node) -> Entry {
        let Self { values, nodes, skips: _ } = self;
        Entry::node(*nodes.entry(node).or_insert_with(|| {
            values.push(node);
            (values.len() - 1) as u16
        }))
    }

    fn intern_skip(&mut self, skip: Skip) -> Entry {
        let Self { values, nodes: _, skips } = self;
        Entry::skip(*skips.entry(skip_nodes(skip)).or_insert_with_key(|skip| {
            values.extend_from_slice(skip);
            (values.len() - skip.len()) as u16
        }))
    }
}

/// A block that has as many nodes takes no more but those of the regions that it is in the middle of: at each of 28 depths up to 16 links to
/// other blocks.
const FULL: usize = Entry::MAX as usize - 28 * 16 * 2;

impl Builder {
    /// The link for the keys that share the first `depth` nibbles of `first`. The first segment may have begun before it.
    fn link(&mut self, segments: &[(Key, u32)], first: Key, depth: u32) -> Link {
        if let [(_, class)] = segments {
            return Link::class(*class);
        }
        let mut block = Block::default();
        let skip = if self.skipping { self.skip(segments, depth) } else { None };
        match skip {
            Some(skip) => {
                block.values.extend(skip_nodes(skip));
                Link::skip(self.place(block))
            }
            None => {
                // The first place is its own, whatever nodes come up below it.
                block.values.push([0; FANOUT]);
                block.values[0] = self.node(&mut block, segments, first, depth);
                Link::node(self.place(block))
            }
        }
    }

    /// Index of the block's first node.
    fn place(&mut self, block: Block) -> u32 {
        let Block { values: nodes, .. } = block;
        if let Some(&index) = self.blocks.get(&nodes) {
            return index;
        }
        let index = self.nodes.len() as u32;
        self.nodes.extend_from_slice(&nodes);
        self.blocks.insert(nodes, index);
        index
    }

    /// The entry for a region within a block, as for [`Self::link`].
    fn entry(&mut self, block: &mut Block, segments: &[(Key, u32)], first: Key, depth: u32) -> Entry {
        if let [(_, class)] = segments {
            return Entry::class(*class as u16);
        }
        if self.skipping
            && let Some(skip) = self.skip(segments, depth)
        {
            return block.intern_skip(skip);
        }
        if block.values.len() >= FULL {
            // A skip of nothing leads to a block of its own.
            self.far_links += 1;
            self.too_dense |= self.far_links > FAR_LINKS;
            let next = self.link(segments, first, depth);
            self.far_links -= 1;
            return block.intern_skip(Skip { next, ..Skip::default() });
        }
        let node = self.node(block, segments, first, depth);
        block.intern_node(node)
    }

    fn node(&mut self, block: &mut Block, segments: &[(Key, u32)], first: Key, depth: u32) -> Node {
        let mut node = [0; FANOUT];
        let mut rest = segments;
        for (slot, entry) in node.iter_mut().enumerate() {
            let first = first | ((slot as Key) << (124 - depth * 4));
            let last = first | Key::MAX.unbounded_shr(depth * 4 + 4);
            *entry = self.entry(block, take(&mut rest, last), first, depth + 1).0;
        }
        node
    }

    /// A skip, where everything but one block of this region has the same class.
    fn skip(&mut self, segments: &[(Key, u32)], depth: u32) -> Option<Skip> {
        let [(_, before), inner @ .., (after, after_class)] = segments else { return None };
        if before != after_class || inner.is_empty() {
            return None;
        }
        let (low, high) = (inner[0].0, after - 1);
        let common = (low ^ high).leading_zeros();
        let whole_block = inner.len() == 1 && low.trailing_zeros() + common >= 128 && (!high).trailing_zeros() + common >= 128;
        let nibbles = common / 4 - depth;
        let (bits, next, nibbles) = if whole_block {
            (common, Link::class(inner[0].1), 0)
        } else if nibbles >= 1 {
            let bits = (depth + nibbles) * 4;
            let (block, block_end) = (low & high_bits(bits), low | !high_bits(bits));
            // What surrounds the block is not in it where the inner segments fill it to the edge.
            let from = usize::from(low == block);
            let to = segments.len() - usize::from(high == block_end);
            (bits, self.link(&segments[from..to], block, depth + nibbles), nibbles)
        } else {
            return None;
        };
        let mask = high_bits(bits) << (depth * 4);
        let value = (low << (depth * 4)) & mask;
        let halves = |key: Key| [(key >> 64) as u64, key as u64];
        Some(Skip { mask: halves(mask), value: halves(value), next, miss: *before, nibbles, reserved: [0; 5] })
    }
}

/// The highest `bits` bits set.
fn high_bits(bits: u32) -> Key {
    if bits == 0 { 0 } else { Key::MAX << (128 - bits) }
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
            let trie = Trie::build(segments.clone(), 32, false).expect("few");
            for number in probes(&segments, 32) {
                prop_assert_eq!(lookup_v4(&&trie, number as u32), Some(expected(&segments, number)), "{:x}", number);
            }
        }

        #[test]
        fn mac_look_ups_find_the_segment(prefixes in prefixes(48)) {
            let segments = paint(&prefixes, 48);
            let trie = Trie::build(segments.clone(), 48, true).expect("few");
            for number in probes(&segments, 48) {
                prop_assert_eq!(lookup::<48>(&&trie, [(number as u64) << 16, 0]), Some(expected(&segments, number)), "{:x}", number);
            }
        }

        #[test]
        fn ipv6_look_ups_find_the_segment(prefixes in prefixes(128)) {
            let segments = paint(&prefixes, 128);
            let trie = Trie::build(segments.clone(), 128, true).expect("few");
            for number in probes(&segments, 128) {
                let key = [(number >> 64) as u64, number as u64];
                prop_assert_eq!(lookup::<128>(&&trie, key), Some(expected(&segments, number)), "{:x}", number);
            }
        }
    }

    /// Found by the differential test: the class before the block leaked into its first node.
    #[test]
    fn segments_that_fill_a_skipped_block_to_its_edges_stay_alone_in_it() {
        let segments: Vec<(u128, u32)> = vec![(0, 0), (0x6409_8000_0000, 1), (0x6409_8080_0000, 2), (0x6409_8100_0000, 0)];
        let trie = Trie::build(segments.clone(), 48, true).expect("few");
        for number in probes(&segments, 48) {
            assert_eq!(lookup::<48>(&&trie, [(number as u64) << 16, 0]), Some(expected(&segments, number)), "{number:x}");
        }
    }

    /// Found by the differential test: the border behind the last MAC wrapped round to the first one.
    #[test]
    fn a_set_may_reach_the_last_mac() {
        let segments: Vec<(u64, u32)> = vec![(0, 0), (0xff00_0000_0000, 1), (1 << 48, 0)];
        let trie = Trie::build(segments, 48, true).expect("few");
        for (number, class) in [(0u64, 0), (0xfeff_ffff_ffff, 0), (0xff00_0000_0000, 1), (0xffff_ffff_ffff, 1)] {
            assert_eq!(lookup::<48>(&&trie, [number << 16, 0]), Some(class), "{number:x}");
        }
    }

    /// More nodes than a block names, all below one link of the root.
    #[test]
    fn a_full_block_links_to_others() {
        let mut random = fastrand::Rng::with_seed(1);
        let segments: Vec<(u128, u32)> = (0..400_000).map(|number| ((0x2001_0db8 << 96) | number << 77, random.u32(..5))).collect();
        let segments: Vec<(u128, u32)> = std::iter::once((0, 7)).chain(segments).collect();
        let trie = Trie::build(segments.clone(), 128, true).expect("few");
        assert!(trie.nodes.len() > Entry::MAX as usize, "{}", trie.nodes.len());
        for number in probes(&segments, 128) {
            let key = [(number >> 64) as u64, number as u64];
            assert_eq!(lookup::<128>(&&trie, key), Some(expected(&segments, number)), "{number:x}");
        }
    }

    #[test]
    fn a_host_route_costs_one_skip() {
        let trie = Trie::build(vec![(0u128, 0), (0x2001_0db8 << 96 | 1, 1), (0x2001_0db8 << 96 | 2, 0)], 128, true).expect("few");
        assert_eq!(trie.nodes.len(), 2);
    }
}
