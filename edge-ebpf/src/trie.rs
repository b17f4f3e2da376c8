//! Longest-prefix classes in arrays: a root over the key's first 16 bits, then nodes over 4 bits each, with runs of bits without a branch
//! skipped.
//!
//! What a look-up costs on a large table is the memory that it misses: so nodes are small and their entries two bytes, which name other nodes
//! of the same block only. A link leads to a block.

use crate::{
    abi::{Entry, FANOUT, Link, Skip},
    packet::access::forget,
};

/// Where a trie's links and entries lie.
pub trait Storage {
    type Nodes: Nodes;
    /// Link of the root for the key's first 16 bits.
    fn root(&self, first: u16) -> Link;
    fn nodes(&self) -> Option<Self::Nodes>;
}

/// The nodes as entries, see [`crate::abi::Node`].
pub trait Nodes {
    fn entry(&self, place: u32) -> Option<Entry>;
    /// The 32 bits at an even place.
    fn word(&self, place: u32) -> Option<u32>;
    /// The 64 bits at a place that four divides.
    fn number(&self, place: u32) -> Option<u64>;
}

const STRIDE: u32 = FANOUT.trailing_zeros();

/// Class of an IPv4 address, whose trie is one block for each link of the root, without skips.
#[inline(always)]
pub fn lookup_v4(trie: &impl Storage, address: u32) -> Option<u32> {
    let link = trie.root((address >> 16) as u16);
    if link.is_class() {
        return Some(link.value());
    }
    let nodes = trie.nodes()?;
    let mut entry = Entry::node(0);
    for shift in [12, 8, 4, 0] {
        entry = nodes.entry((link.place() + entry.place()) | ((address >> shift) & (FANOUT as u32 - 1)))?;
        if entry.is_class() {
            return Some(entry.value());
        }
    }
    None
}

/// Class of a left-aligned key of `BITS` bits: 48 for a MAC, 128 for an IPv6 address.
#[inline(always)]
pub fn lookup<const BITS: u32>(trie: &impl Storage, [high, low]: [u64; 2]) -> Option<u32> {
    let link = trie.root((high >> 48) as u16);
    if link.is_class() {
        return Some(link.value());
    }
    let nodes = trie.nodes()?;
    let (mut block, mut entry) = (link.place(), link.first());
    let (mut high, mut low) = shift::<BITS>(high, low, 16);
    // What the verifier knows of the rest depends on the way there: forgotten, so that it follows what comes after but once.
    for _ in 0..steps(BITS) {
        let place = block + entry.place();
        if entry.is_node() {
            entry = nodes.entry(place | (high >> (64 - STRIDE)) as u32)?;
            (high, low) = shift::<BITS>(high, low, STRIDE);
            low = forget(low as usize, high) as u64;
            if entry.is_class() {
                return Some(entry.value());
            }
        } else {
            let differs = (high & nodes.number(place + Skip::MASK)?) ^ nodes.number(place + Skip::VALUE)?;
            let differs_low =
                if BITS > 64 { (low & nodes.number(place + Skip::MASK + 4)?) ^ nodes.number(place + Skip::VALUE + 4)? } else { 0 };
            if differs | differs_low != 0 {
                return nodes.word(place + Skip::MISS);
            }
            let link = Link(nodes.word(place + Skip::NEXT)?);
            if link.is_class() {
                return Some(link.value());
            }
            (high, low) = shift::<BITS>(high, low, nodes.word(place + Skip::NIBBLES)? * STRIDE);
            (block, entry) = (link.place(), Entry(forget(usize::from(link.first().0), high) as u16));
        }
    }
    None
}

/// Nodes and skips that a look-up of `bits` bits passes, at the most: each node consumes a stride, and so does each skip that does not only
/// lead to another block, as [`FAR_LINKS`] of them may.
pub const fn steps(bits: u32) -> u32 {
    (bits - 16) / STRIDE + FAR_LINKS
}
/// Skips of nothing on the way to one class.
pub const FAR_LINKS: u32 = 4;

/// The key less its first `bits`.
#[inline(always)]
fn shift<const BITS: u32>(high: u64, low: u64, bits: u32) -> (u64, u64) {
    if BITS <= 64 {
        (high.unbounded_shl(bits), 0)
    } else if bits >= 64 {
        (low.unbounded_shl(bits - 64), 0)
    } else {
        ((high.unbounded_shl(bits)) | low.unbounded_shr(64 - bits), low.unbounded_shl(bits))
    }
}
