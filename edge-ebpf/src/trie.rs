//! Longest-prefix classes in arrays: a root over the key's first 16 bits, then nodes over 8 bits each, with runs of bits without a branch
//! skipped. A look-up costs two or three loads on real tables, whatever their size.

use crate::abi::{Entry, Skip};

/// Where a trie's entries lie.
pub trait Storage {
    /// Entry of the root for the key's first 16 bits.
    fn root(&self, first: u16) -> Option<Entry>;
    fn node(&self, index: u32, slot: u8) -> Option<Entry>;
    fn skip(&self, index: u32) -> Option<&Skip>;
}

/// Class of an IPv4 address: 16-8-8, without skips.
#[inline(always)]
pub fn lookup_v4(trie: &impl Storage, address: u32) -> Option<u32> {
    let mut entry = trie.root((address >> 16) as u16)?;
    if !entry.is_class() {
        entry = trie.node(entry.index(), (address >> 8) as u8)?;
        if !entry.is_class() {
            entry = trie.node(entry.index(), address as u8)?;
        }
    }
    Some(entry.index())
}

/// Class of a left-aligned key of `BYTES` bytes: 6 for a MAC, 16 for an IPv6 address.
#[inline(always)]
pub fn lookup<const BYTES: usize>(trie: &impl Storage, key: [u64; 2]) -> Option<u32> {
    let [mut high, mut low] = key;
    let mut entry = trie.root((high >> 48) as u16)?;
    (high, low) = shift::<BYTES>(high, low, 2);
    // Each step that is not the last one consumes at least one byte.
    for _ in 0..BYTES - 1 {
        if entry.is_class() {
            return Some(entry.index());
        }
        if entry.is_node() {
            entry = trie.node(entry.index(), (high >> 56) as u8)?;
            (high, low) = shift::<BYTES>(high, low, 1);
        } else {
            let skip = trie.skip(entry.index())?;
            if high & skip.mask[0] != skip.value[0] || (BYTES > 8 && low & skip.mask[1] != skip.value[1]) {
                return Some(skip.miss.index());
            }
            entry = skip.next;
            (high, low) = shift::<BYTES>(high, low, skip.bytes);
        }
    }
    if entry.is_class() { Some(entry.index()) } else { None }
}

/// The key less its first `bytes`.
#[inline(always)]
fn shift<const BYTES: usize>(high: u64, low: u64, bytes: u32) -> (u64, u64) {
    let bits = bytes * 8;
    if BYTES <= 8 {
        (high.unbounded_shl(bits), 0)
    } else if bits >= 64 {
        (low.unbounded_shl(bits - 64), 0)
    } else {
        ((high.unbounded_shl(bits)) | low.unbounded_shr(64 - bits), low.unbounded_shl(bits))
    }
}
