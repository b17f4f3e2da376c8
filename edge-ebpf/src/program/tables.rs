//! One generation's tables, as the engine asks for them.

use aya_ebpf::maps::Array;
use edge_ebpf::{
    abi::{Entry, Link, NODES_BITS, NameRules, Node, OnUninspectable, Reason, RuleEntry, STRETCH, TIMELINE_STRETCHES},
    engine,
    packet::Mac,
    trie::{self, Nodes, Storage},
};

use super::{constants, devices, in_hand, maps};

/// `INLINE`: look-ups in place, on the way of the most packets, where a call costs more than it is worth. `IN_HAND`: for the packet in hand.
pub struct Tables<const INLINE: bool, const IN_HAND: bool = false>;

struct MacTrie;
struct V4Trie;
struct V6Trie;

macro_rules! storage {
    ($($trie:ident: $root:ident, $layout:ident, $map:ident;)*) => {$(
        impl Storage for $trie {
            type Nodes = MapNodes;
            #[inline(always)]
            fn root(&self, first: u16) -> Link {
                constants::$root(first)
            }
            #[inline(always)]
            fn nodes(&self) -> Option<MapNodes> {
                MapNodes::of(&maps::$map, constants::$layout())
            }
        }
    )*};
}
storage! {
    MacTrie: mac_root, mac_nodes, MAC_NODES;
    V4Trie: v4_root, v4_nodes, V4_NODES;
    V6Trie: v6_root, v6_nodes, V6_NODES;
}

/// Nodes in the values of an array. Mostly they all are in its first one, which is then looked up once and not at each step.
struct MapNodes {
    map: &'static Array<Node>,
    first: *const u16,
    mask: u32,
    many: bool,
}

impl MapNodes {
    #[inline(always)]
    fn of(map: &'static Array<Node>, (mask, many): (u32, bool)) -> Option<Self> {
        Some(Self { map, first: map.get_ptr(0)?.cast(), mask, many })
    }

    #[inline(always)]
    fn at(&self, place: u32, mask: u32) -> Option<*const u16> {
        let value = if self.many { self.map.get_ptr(place >> NODES_BITS)?.cast() } else { self.first };
        Some(value.wrapping_add((place & mask) as usize))
    }
}

impl Nodes for MapNodes {
    #[inline(always)]
    fn entry(&self, place: u32) -> Option<Entry> {
        // SAFETY: a value has `mask + 1` entries, which the verifier checks again, for it knows the constant.
        Some(Entry(unsafe { self.at(place, self.mask)?.read() }))
    }

    #[inline(always)]
    fn word(&self, place: u32) -> Option<u32> {
        // SAFETY: as above, and the place is even: values are aligned to eight bytes.
        Some(unsafe { self.at(place, self.mask & !1)?.cast::<u32>().read() })
    }

    #[inline(always)]
    fn number(&self, place: u32) -> Option<u64> {
        // SAFETY: as above, and four divides the place.
        Some(unsafe { self.at(place, self.mask & !3)?.cast::<u64>().read() })
    }
}

/// What the look-ups that are functions say where a table lacks an entry.
pub const NO_CLASS: u32 = u32::MAX;

/// A look-up as a function of its own, which the verifier checks once and not wherever it is wanted.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_mac_class(mac: u64) -> u32 {
    mac_class(Mac(mac)).unwrap_or(NO_CLASS)
}

/// As [`edge_mac_class`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_v4_class(address: u32) -> u32 {
    v4_class(address).unwrap_or(NO_CLASS)
}

/// As [`edge_mac_class`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_v6_class(high: u64, low: u64) -> u32 {
    trie::lookup::<128>(&V6Trie, [high, low]).unwrap_or(NO_CLASS)
}

#[inline(always)]
fn mac_class(mac: Mac) -> Option<u32> {
    trie::lookup::<48>(&MacTrie, [mac.0 << 16, 0])
}

#[inline(always)]
fn v4_class(address: u32) -> Option<u32> {
    trie::lookup_v4(&V4Trie, address)
}

#[inline(always)]
fn found(class: u32) -> Option<u32> {
    if class == NO_CLASS { None } else { Some(class) }
}

impl<const INLINE: bool, const IN_HAND: bool> engine::Tables for Tables<INLINE, IN_HAND> {
    #[inline(always)]
    fn mac_class(&self, mac: Mac) -> Option<u32> {
        if INLINE { mac_class(mac) } else { found(edge_mac_class(mac.0)) }
    }
    #[inline(always)]
    fn device(&self, mac: Mac) -> Option<u32> {
        // A packet that is not plain was looked into before.
        if IN_HAND && constants::looks_inside() {
            return found(in_hand::found()?.device);
        }
        if constants::has_identity() {
            let place = devices::row_of(mac);
            if place == devices::OUTDATED {
                return None;
            }
            if place != devices::NO_ROW {
                return Some(place);
            }
        }
        Some(constants::row(self.mac_class(mac)?))
    }
    #[inline(always)]
    fn v4_class(&self, address: u32) -> Option<u32> {
        if INLINE { v4_class(address) } else { found(edge_v4_class(address)) }
    }
    #[inline(always)]
    fn v6_class(&self, [high, low]: [u64; 2]) -> Option<u32> {
        found(edge_v6_class(high, low))
    }
    #[inline(always)]
    fn service(&self, index: usize) -> u32 {
        constants::service_class(index)
    }
    #[inline(always)]
    fn pool(&self, place: u32) -> u64 {
        constants::pool(place)
    }
    #[inline(always)]
    fn device_pool(&self, place: u32) -> u64 {
        devices::device_word(place)
    }
    #[inline(always)]
    fn row(&self, class: u32) -> u32 {
        constants::row(class)
    }
    #[inline(always)]
    fn rule(&self, rule: u32) -> RuleEntry {
        constants::rule(rule)
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
    fn active(&self, minute: u64) -> Option<u32> {
        // Before the timeline its first minute holds, behind it the last one.
        let first = constants::first_minute();
        let after = minute.saturating_sub(first);
        let last = (TIMELINE_STRETCHES * STRETCH - 1) as u64;
        let place = if after > last { last } else { after } as usize;
        let stretch = maps::TIMELINE.get((place / STRETCH) as u32)?;
        Some(u32::from(stretch[place % STRETCH]))
    }
    #[inline(always)]
    fn has_inbound(&self) -> bool {
        constants::has_inbound()
    }
    #[inline(always)]
    fn inbound(&self) -> u32 {
        constants::inbound()
    }
    #[inline(always)]
    fn pinhole(&self) -> u32 {
        constants::pinhole()
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
    #[inline(always)]
    fn has_names(&self) -> bool {
        constants::has_names()
    }
    #[inline(always)]
    fn has_identity(&self) -> bool {
        constants::identifies()
    }
    #[inline(always)]
    fn named(&self, word: usize) -> u64 {
        constants::named(word)
    }
    #[inline(always)]
    fn name_rules(&self, number: u32) -> Option<&NameRules> {
        maps::NAME_RULES.get(number)
    }
    #[inline(always)]
    fn signatures(&self) -> u32 {
        constants::signature_count()
    }
    #[inline(always)]
    fn signature_class(&self, index: u32) -> u32 {
        constants::signature_class(index)
    }
    #[inline(always)]
    fn nothing(&self) -> u32 {
        constants::nothing()
    }
    #[inline(always)]
    fn has_learned_monitored(&self) -> bool {
        constants::has_learned_monitored()
    }
}
