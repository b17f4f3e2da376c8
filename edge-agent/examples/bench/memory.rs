//! What a cache miss costs here, and how many a look-up can have.

use std::cell::Cell;
use std::time::Instant;

use edge_agent::policy::compile::Trie;
use edge_ebpf::abi::{Entry, Link};
use edge_ebpf::packet::Mac;
use edge_ebpf::trie::{self, Nodes, Storage};

use crate::sets::Random;

const LINE: usize = 64;

/// ns of a load whose address the load before it gave, all over `bytes` of memory: one cycle through every cache line, in random order.
pub fn latency(bytes: usize) -> f64 {
    let lines = (bytes / LINE).max(2);
    let mut order: Vec<u32> = (0..lines as u32).collect();
    let mut random = Random(3);
    // Sattolo's shuffle makes one cycle.
    for index in (1..lines).rev() {
        order.swap(index, random.next() as usize % index);
    }
    let mut memory = vec![[0u32; LINE / 4]; lines];
    for (line, next) in order.iter().enumerate() {
        memory[line][0] = *next;
    }
    let mut at = 0;
    let loads = lines.clamp(1 << 16, 1 << 21);
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..loads {
            at = memory[at as usize][0];
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / loads as f64);
    }
    std::hint::black_box(at);
    best
}

pub fn table_bytes(trie: &Trie) -> usize {
    size_of_val(trie.root.as_ref()) + size_of_val(trie.nodes.as_slice())
}

/// Nodes and skips, one after the other, that a look-up reads on average beyond the root.
pub fn loads(trie: &Trie, macs: &[Mac]) -> f64 {
    let counting = Counting { trie, loads: Cell::new(0) };
    for mac in macs {
        std::hint::black_box(trie::lookup::<48>(&&counting, [mac.0 << 16, 0]));
    }
    counting.loads.get() as f64 / macs.len() as f64
}

struct Counting<'a> {
    trie: &'a Trie,
    loads: Cell<usize>,
}

impl<'a> Storage for &'a Counting<'a> {
    type Nodes = Self;
    fn root(&self, first: u16) -> Link {
        Storage::root(&self.trie, first)
    }
    fn nodes(&self) -> Option<Self> {
        Some(self)
    }
}

impl Nodes for &Counting<'_> {
    fn entry(&self, place: u32) -> Option<Entry> {
        self.loads.set(self.loads.get() + 1);
        Storage::nodes(&self.trie)?.entry(place)
    }
    /// Read once of each skip that does not match, as its link is of each that does; the rest of it is in the same cache line or the next.
    fn word(&self, place: u32) -> Option<u32> {
        self.loads.set(self.loads.get() + 1);
        Storage::nodes(&self.trie)?.word(place)
    }
    fn number(&self, place: u32) -> Option<u64> {
        Storage::nodes(&self.trie)?.number(place)
    }
}
