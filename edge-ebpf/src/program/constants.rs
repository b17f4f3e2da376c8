//! What the agent bakes into each generation's program before it is loaded. The kernel freezes these; its verifier then knows the scalars
//! and removes what a policy set does not use, and the tables among them are read without a look-up.

use edge_ebpf::abi::{CLOCK_STANDS, Entry, INTERFACE_HASH, MAX_WORDS, OnUninspectable, ROOT, Reason, Row, Services, service};

/// A value that the agent replaces: reads must not be folded to what the compiler sees here.
#[repr(transparent)]
pub struct Constant<T>(T);

impl<T: Copy> Constant<T> {
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: a reference is valid to read through; volatile only keeps the compiler from knowing the value.
        unsafe { core::ptr::from_ref(&self.0).read_volatile() }
    }
}

impl<T: Copy, const N: usize> Constant<[T; N]> {
    /// `N` is a power of two, or `index` is known to be less.
    #[inline(always)]
    pub fn at(&self, index: usize) -> T {
        let index = if N.is_power_of_two() { index & (N - 1) } else { index };
        let element = self.0.as_ptr().wrapping_add(index);
        // SAFETY: the mask, or the caller's bound that the verifier checks again, keeps the element inside the array.
        unsafe { element.read_volatile() }
    }
}

#[unsafe(no_mangle)]
static GENERATION: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static WORDS: Constant<u32> = Constant(MAX_WORDS as u32);
#[unsafe(no_mangle)]
static HAS_MONITORED: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static HAS_SCHEDULES: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static HAS_INBOUND: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static HAS_RATES: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static CLOCK_SOURCE: Constant<u32> = Constant(0);
/// Minute of the Unix epoch with which the timeline starts.
#[unsafe(no_mangle)]
static FIRST_MINUTE: Constant<u64> = Constant(0);
#[unsafe(no_mangle)]
static INBOUND: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static PINHOLE: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static ON_UNINSPECTABLE: Constant<[u8; 8]> = Constant([OnUninspectable::Drop as u8; 8]);
#[unsafe(no_mangle)]
static MONITORED: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static RESTRICTING: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static INTERFACE_FACTOR: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static INTERFACE_SLOT: Constant<[u8; INTERFACE_HASH]> = Constant([0; INTERFACE_HASH]);
#[unsafe(no_mangle)]
static MAC_ROOT: Constant<[Entry; ROOT]> = Constant([Entry(0); ROOT]);
#[unsafe(no_mangle)]
static V4_ROOT: Constant<[Entry; ROOT]> = Constant([Entry(0); ROOT]);
#[unsafe(no_mangle)]
static V6_ROOT: Constant<[Entry; ROOT]> = Constant([Entry(0); ROOT]);
#[unsafe(no_mangle)]
static SERVICES: Constant<Services> = Constant([0; service::SLOTS]);

#[inline(always)]
pub fn generation() -> u32 {
    GENERATION.get()
}
#[inline(always)]
pub fn words() -> usize {
    WORDS.get() as usize
}
#[inline(always)]
pub fn has_monitored() -> bool {
    HAS_MONITORED.get() != 0
}
#[inline(always)]
pub fn has_schedules() -> bool {
    HAS_SCHEDULES.get() != 0
}
#[inline(always)]
pub fn has_inbound() -> bool {
    HAS_INBOUND.get() != 0
}
#[inline(always)]
pub fn has_rates() -> bool {
    HAS_RATES.get() != 0
}
#[inline(always)]
pub fn clock_stands() -> bool {
    CLOCK_SOURCE.get() == CLOCK_STANDS
}
#[inline(always)]
pub fn first_minute() -> u64 {
    FIRST_MINUTE.get()
}
#[inline(always)]
pub fn inbound(word: usize) -> u64 {
    INBOUND.at(word)
}
#[inline(always)]
pub fn pinhole(word: usize) -> u64 {
    PINHOLE.at(word)
}
#[inline(always)]
pub fn monitored(word: usize) -> u64 {
    MONITORED.at(word)
}
#[inline(always)]
pub fn restricting(word: usize) -> u64 {
    RESTRICTING.at(word)
}
#[inline(always)]
pub fn on_uninspectable(reason: Reason) -> OnUninspectable {
    match ON_UNINSPECTABLE.at(reason as usize) {
        0 => OnUninspectable::Pass,
        2 => OnUninspectable::DropIfRuleCouldMatch,
        _ => OnUninspectable::Drop,
    }
}
/// Slot of an interface among the agent's, by the perfect hash that the agent searched for.
#[inline(always)]
pub fn interface_slot(index: u32) -> u32 {
    const BITS: u32 = INTERFACE_HASH.trailing_zeros();
    u32::from(INTERFACE_SLOT.at((index.wrapping_mul(INTERFACE_FACTOR.get()) >> (32 - BITS)) as usize))
}
#[inline(always)]
pub fn mac_root(first: u16) -> Entry {
    MAC_ROOT.at(usize::from(first))
}
#[inline(always)]
pub fn v4_root(first: u16) -> Entry {
    V4_ROOT.at(usize::from(first))
}
#[inline(always)]
pub fn v6_root(first: u16) -> Entry {
    V6_ROOT.at(usize::from(first))
}
/// Service class; an index beyond the table reads its last place, which no parser produces.
#[inline(always)]
pub fn service_class(index: usize) -> u32 {
    let index = if index < service::SLOTS { index } else { service::SLOTS - 1 };
    u32::from(SERVICES.at(index))
}
