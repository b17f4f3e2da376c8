//! One generation's tables, as the engine asks for them.

use aya_ebpf::maps::Array;
use edge_ebpf::{
    abi::{Entry, Node, OnUninspectable, Reason, Row, RuleEntry, STRETCH, Skip, TIMELINE_STRETCHES},
    engine,
    trie::Storage,
};

use super::{constants, maps};

pub struct Tables;

struct MacTrie;
struct V4Trie;
struct V6Trie;

#[inline(always)]
fn entry(nodes: &Array<Node>, index: u32, slot: u8) -> Option<Entry> {
    Some(nodes.get(index)?[usize::from(slot)])
}

impl Storage for MacTrie {
    #[inline(always)]
    fn root(&self, first: u16) -> Option<Entry> {
        Some(constants::mac_root(first))
    }
    #[inline(always)]
    fn node(&self, index: u32, slot: u8) -> Option<Entry> {
        entry(&maps::MAC_NODES, index, slot)
    }
    #[inline(always)]
    fn skip(&self, index: u32) -> Option<&Skip> {
        maps::MAC_SKIPS.get(index)
    }
}

impl Storage for V4Trie {
    #[inline(always)]
    fn root(&self, first: u16) -> Option<Entry> {
        Some(constants::v4_root(first))
    }
    #[inline(always)]
    fn node(&self, index: u32, slot: u8) -> Option<Entry> {
        entry(&maps::V4_NODES, index, slot)
    }
    #[inline(always)]
    fn skip(&self, _: u32) -> Option<&Skip> {
        None
    }
}

impl Storage for V6Trie {
    #[inline(always)]
    fn root(&self, first: u16) -> Option<Entry> {
        Some(constants::v6_root(first))
    }
    #[inline(always)]
    fn node(&self, index: u32, slot: u8) -> Option<Entry> {
        entry(&maps::V6_NODES, index, slot)
    }
    #[inline(always)]
    fn skip(&self, index: u32) -> Option<&Skip> {
        maps::V6_SKIPS.get(index)
    }
}

impl engine::Tables for Tables {
    #[inline(always)]
    fn mac(&self) -> &impl Storage {
        &MacTrie
    }
    #[inline(always)]
    fn v4(&self) -> &impl Storage {
        &V4Trie
    }
    #[inline(always)]
    fn v6(&self) -> &impl Storage {
        &V6Trie
    }
    #[inline(always)]
    fn service(&self, index: usize) -> u32 {
        constants::service_class(index)
    }
    #[inline(always)]
    fn device_row(&self, class: u32) -> Option<&Row> {
        maps::DEVICE_ROWS.get(class)
    }
    #[inline(always)]
    fn remote_row(&self, class: u32) -> Option<&Row> {
        maps::REMOTE_ROWS.get(class)
    }
    #[inline(always)]
    fn service_row(&self, class: u32) -> Option<&Row> {
        maps::SERVICE_ROWS.get(class)
    }
    #[inline(always)]
    fn rule(&self, rule: u32) -> Option<RuleEntry> {
        maps::RULES.get(rule).copied()
    }
    #[inline(always)]
    fn words(&self) -> usize {
        constants::words()
    }
    #[inline(always)]
    fn has_monitored(&self) -> bool {
        constants::has_monitored()
    }
    #[inline(always)]
    fn has_schedules(&self) -> bool {
        constants::has_schedules()
    }
    #[inline(always)]
    fn active_row(&self, minute: u64) -> Option<&Row> {
        // Before the timeline its first minute holds, behind it the last one.
        let first = constants::first_minute();
        let after = minute.saturating_sub(first);
        let last = (TIMELINE_STRETCHES * STRETCH - 1) as u64;
        let place = if after > last { last } else { after } as usize;
        let stretch = maps::TIMELINE.get((place / STRETCH) as u32)?;
        maps::ACTIVE_ROWS.get(u32::from(stretch[place % STRETCH]))
    }
    #[inline(always)]
    fn has_inbound(&self) -> bool {
        constants::has_inbound()
    }
    #[inline(always)]
    fn inbound(&self, word: usize) -> u64 {
        constants::inbound(word)
    }
    #[inline(always)]
    fn pinhole(&self, word: usize) -> u64 {
        constants::pinhole(word)
    }
    #[inline(always)]
    fn monitored(&self, word: usize) -> u64 {
        constants::monitored(word)
    }
    #[inline(always)]
    fn restricting(&self, word: usize) -> u64 {
        constants::restricting(word)
    }
    #[inline(always)]
    fn on_uninspectable(&self, reason: Reason) -> OnUninspectable {
        constants::on_uninspectable(reason)
    }
}
