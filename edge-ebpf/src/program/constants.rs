//! What the agent bakes into each generation's program before it is loaded. The kernel freezes these; its verifier then knows the scalars
//! and removes what a policy set does not use, and the tables among them are read without a look-up.

mod identity;

use edge_ebpf::{
    abi::{
        CLOCK_STANDS, DnsReject, INTERFACE_HASH, Link, MAX_RULES, MAX_SIGNATURES, MAX_WORDS, OnUninspectable, POOL, Pool, ROOT, Reason,
        Row, RuleEntry, Services, SignatureEntry, service,
    },
    inspect::secret::SECRETS,
    name::hash::SEEDS,
};

pub use identity::*;

/// A value that the agent replaces: reads must not be folded to what the compiler sees here.
#[repr(transparent)]
pub struct Constant<T>(pub T);

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
        // SAFETY: `element` points into the array.
        unsafe { self.element(index).read_volatile() }
    }

    #[inline(always)]
    fn element(&self, index: usize) -> *const T {
        // The mask, or the caller's bound that the verifier checks again, keeps the element inside the array.
        let index = if N.is_power_of_two() { index & (N - 1) } else { index };
        self.0.as_ptr().wrapping_add(index)
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
/// Whether a rule is about names; how many signatures there are.
#[unsafe(no_mangle)]
static HAS_NAMES: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static HAS_LEARNED_MONITORED: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static SIGNATURE_COUNT: Constant<u32> = Constant(MAX_SIGNATURES as u32);
#[unsafe(no_mangle)]
static NAMED: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static SIGNED: Constant<Row> = Constant([0; MAX_WORDS]);
/// The first word of a row with the rules of both: the rules themselves, or which of their groups are not empty.
#[unsafe(no_mangle)]
static WATCHING: Constant<u64> = Constant(0);
#[unsafe(no_mangle)]
static NOTHING: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static SIGNATURES: Constant<[SignatureEntry; MAX_SIGNATURES]> = Constant([NO_SIGNATURE; MAX_SIGNATURES]);
const NO_SIGNATURE: SignatureEntry = SignatureEntry {
    value: [0; 2],
    mask: [0; 2],
    class: 0,
    offset: 0,
    length: 0,
    first_port: 0,
    last_port: 0,
    protocol: 0,
    reserved: 0,
    signals: 0,
};
#[unsafe(no_mangle)]
static NAME_SEEDS: Constant<[u64; SEEDS]> = Constant([0; SEEDS]);
/// Numbers of buckets of the tables of names, flows and learned addresses, less one.
#[unsafe(no_mangle)]
static NAME_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static FLOW_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static LEARNED_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static SECRET_NUMBERS: Constant<[u64; SECRETS]> = Constant([0; SECRETS]);
/// Bounds of an answer's time to live, in seconds.
#[unsafe(no_mangle)]
static MIN_TTL: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static MAX_TTL: Constant<u32> = Constant(u32::MAX);
#[unsafe(no_mangle)]
static DNS_REJECT: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static CLOCK_SOURCE: Constant<u32> = Constant(0);
/// Minute of the Unix epoch with which the timeline starts.
#[unsafe(no_mangle)]
static FIRST_MINUTE: Constant<u64> = Constant(0);
#[unsafe(no_mangle)]
static INBOUND: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static PINHOLE: Constant<u32> = Constant(0);
/// Words of a row.
#[unsafe(no_mangle)]
static ROW_SIZE: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static ROWS: Constant<Pool> = Constant([0; POOL]);
#[unsafe(no_mangle)]
static RULE_ENTRIES: Constant<[RuleEntry; MAX_RULES]> = Constant([NO_RULE; MAX_RULES]);
const NO_RULE: RuleEntry =
    RuleEntry { slot: 0, exceeded_slot: 0, verdict: 0, report: 0, limited: 0, reserved: 0, rule: 0, learned_slot: 0, reserved_too: 0 };
#[unsafe(no_mangle)]
static ON_UNINSPECTABLE: Constant<[u8; 16]> = Constant([OnUninspectable::Drop as u8; 16]);
#[unsafe(no_mangle)]
static MONITORED: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static RESTRICTING: Constant<Row> = Constant([0; MAX_WORDS]);
#[unsafe(no_mangle)]
static INTERFACE_FACTOR: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static INTERFACE_SLOT: Constant<[u8; INTERFACE_HASH]> = Constant([0; INTERFACE_HASH]);
/// Of the maps of nodes: entries of a value, less one; a power of two less one.
#[unsafe(no_mangle)]
static MAC_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static V4_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static V6_MASK: Constant<u32> = Constant(0);
/// Of the same: whether they have more values than one.
#[unsafe(no_mangle)]
static MAC_MANY: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static V4_MANY: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static V6_MANY: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static MAC_ROOT: Constant<[Link; ROOT]> = Constant([Link(0); ROOT]);
#[unsafe(no_mangle)]
static V4_ROOT: Constant<[Link; ROOT]> = Constant([Link(0); ROOT]);
#[unsafe(no_mangle)]
static V6_ROOT: Constant<[Link; ROOT]> = Constant([Link(0); ROOT]);
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
/// Whether anything but headers is looked at.
#[inline(always)]
pub fn has_names() -> bool {
    HAS_NAMES.get() != 0 || SIGNATURE_COUNT.get() != 0
}
/// Whether packets may have to be looked into at all.
#[inline(always)]
pub fn looks_inside() -> bool {
    has_names() || identifies()
}
#[inline(always)]
pub fn row_size() -> u32 {
    ROW_SIZE.get()
}
/// The set of signals of a signature.
#[inline(always)]
pub fn signature_signals(index: u32) -> u32 {
    let entry = SIGNATURES.element(index as usize);
    // SAFETY: `element` points into the array.
    u32::from(unsafe { (&raw const (*entry).signals).read_volatile() })
}
#[inline(always)]
pub fn has_named_rules() -> bool {
    HAS_NAMES.get() != 0
}
#[inline(always)]
pub fn has_learned_monitored() -> bool {
    HAS_LEARNED_MONITORED.get() != 0
}
#[inline(always)]
pub fn signature_count() -> u32 {
    SIGNATURE_COUNT.get()
}
#[inline(always)]
pub fn named(word: usize) -> u64 {
    NAMED.at(word)
}
#[inline(always)]
pub fn signed(word: usize) -> u64 {
    SIGNED.at(word)
}
#[inline(always)]
pub fn watching() -> u64 {
    WATCHING.get()
}
#[inline(always)]
pub fn nothing() -> u32 {
    NOTHING.get()
}
/// Field by field, as [`rule`].
#[inline(always)]
pub fn signature(index: u32) -> SignatureEntry {
    let entry = SIGNATURES.element(index as usize);
    // SAFETY: `element` points into the array.
    unsafe {
        SignatureEntry {
            value: [(&raw const (*entry).value[0]).read_volatile(), (&raw const (*entry).value[1]).read_volatile()],
            mask: [(&raw const (*entry).mask[0]).read_volatile(), (&raw const (*entry).mask[1]).read_volatile()],
            class: (&raw const (*entry).class).read_volatile(),
            offset: (&raw const (*entry).offset).read_volatile(),
            length: (&raw const (*entry).length).read_volatile(),
            first_port: (&raw const (*entry).first_port).read_volatile(),
            last_port: (&raw const (*entry).last_port).read_volatile(),
            protocol: (&raw const (*entry).protocol).read_volatile(),
            reserved: 0,
            signals: 0,
        }
    }
}
#[inline(always)]
pub fn signature_class(index: u32) -> u32 {
    let entry = SIGNATURES.element(index as usize);
    // SAFETY: `element` points into the array.
    unsafe { (&raw const (*entry).class).read_volatile() }
}
#[inline(always)]
pub fn name_seed(place: usize) -> u64 {
    NAME_SEEDS.at(place)
}
#[inline(always)]
pub fn name_mask() -> u32 {
    NAME_MASK.get()
}
#[inline(always)]
pub fn flow_mask() -> u32 {
    FLOW_MASK.get()
}
#[inline(always)]
pub fn learned_mask() -> u32 {
    LEARNED_MASK.get()
}
#[inline(always)]
pub fn secret(place: usize) -> u64 {
    SECRET_NUMBERS.at(place)
}
/// What an answer's time to live counts as, in seconds.
#[inline(always)]
pub fn time_to_live(seconds: u32) -> u32 {
    let seconds = if seconds < MIN_TTL.get() { MIN_TTL.get() } else { seconds };
    if seconds > MAX_TTL.get() { MAX_TTL.get() } else { seconds }
}
#[inline(always)]
pub fn dns_reject() -> DnsReject {
    match DNS_REJECT.get() {
        1 => DnsReject::Refused,
        2 => DnsReject::NullAddress,
        _ => DnsReject::NxDomain,
    }
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
pub fn inbound() -> u32 {
    INBOUND.get()
}
#[inline(always)]
pub fn pinhole() -> u32 {
    PINHOLE.get()
}
/// Where the row of a class begins.
#[inline(always)]
pub fn row(class: u32) -> u32 {
    class * ROW_SIZE.get()
}
#[inline(always)]
pub fn pool(place: u32) -> u64 {
    ROWS.at(place as usize)
}
/// Field by field: a volatile read of the whole would be one of bytes.
#[inline(always)]
pub fn rule(rule: u32) -> RuleEntry {
    let entry = RULE_ENTRIES.element(rule as usize);
    // SAFETY: `element` points into the array.
    unsafe {
        RuleEntry {
            slot: (&raw const (*entry).slot).read_volatile(),
            exceeded_slot: (&raw const (*entry).exceeded_slot).read_volatile(),
            verdict: (&raw const (*entry).verdict).read_volatile(),
            report: (&raw const (*entry).report).read_volatile(),
            limited: (&raw const (*entry).limited).read_volatile(),
            reserved: 0,
            rule,
            learned_slot: (&raw const (*entry).learned_slot).read_volatile(),
            reserved_too: 0,
        }
    }
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
        3 => OnUninspectable::Inspect,
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
pub fn mac_root(first: u16) -> Link {
    MAC_ROOT.at(usize::from(first))
}
#[inline(always)]
pub fn v4_root(first: u16) -> Link {
    V4_ROOT.at(usize::from(first))
}
#[inline(always)]
pub fn v6_root(first: u16) -> Link {
    V6_ROOT.at(usize::from(first))
}
/// How a map of nodes is laid out: entries of a value less one, and whether there are more values than one.
#[inline(always)]
pub fn mac_nodes() -> (u32, bool) {
    (MAC_MASK.get(), MAC_MANY.get() != 0)
}
#[inline(always)]
pub fn v4_nodes() -> (u32, bool) {
    (V4_MASK.get(), V4_MANY.get() != 0)
}
#[inline(always)]
pub fn v6_nodes() -> (u32, bool) {
    (V6_MASK.get(), V6_MANY.get() != 0)
}
/// Service class; an index beyond the table reads its last place, which no parser produces.
#[inline(always)]
pub fn service_class(index: usize) -> u32 {
    let index = if index < service::SLOTS { index } else { service::SLOTS - 1 };
    u32::from(SERVICES.at(index))
}
