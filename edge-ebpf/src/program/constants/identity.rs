//! What devices are known by.

use edge_ebpf::abi::identity::{FACT_KINDS, FactKind};

use super::Constant;

/// Whether devices are known by more than their MACs.
#[unsafe(no_mangle)]
static HAS_IDENTITY: Constant<u32> = Constant(1);
/// Whether the agent is told what is new of devices.
#[unsafe(no_mangle)]
static OBSERVES: Constant<u32> = Constant(1);
/// Whether a signal is about names, or about signatures.
#[unsafe(no_mangle)]
static HAS_ASKED: Constant<u32> = Constant(1);
#[unsafe(no_mangle)]
static HAS_SHOWN: Constant<u32> = Constant(1);
/// By kind of fact: the state that its bytes are walked from; 0: none is about it.
#[unsafe(no_mangle)]
static FACT_STARTS: Constant<[u16; FACT_KINDS]> = Constant([1; FACT_KINDS]);
/// Bit `p`: a signal is about a hello's parts `p`.
#[unsafe(no_mangle)]
static HELLO_SHAPES: Constant<u32> = Constant(u8::MAX as u32);
/// Number of buckets of the table of devices, less one.
#[unsafe(no_mangle)]
static DEVICE_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static GROUP_OP_COUNT: Constant<u32> = Constant(0);
/// Class of the rules for devices in no group.
#[unsafe(no_mangle)]
static UNKNOWN: Constant<u32> = Constant(0);

/// Whether packets are looked into for what they tell of their devices.
#[inline(always)]
pub fn identifies() -> bool {
    has_identity() || observes()
}
#[inline(always)]
pub fn observes() -> bool {
    OBSERVES.get() != 0
}
#[inline(always)]
pub fn has_identity() -> bool {
    HAS_IDENTITY.get() != 0
}
#[inline(always)]
pub fn has_asked() -> bool {
    HAS_ASKED.get() != 0
}
#[inline(always)]
pub fn has_shown() -> bool {
    HAS_SHOWN.get() != 0
}
#[inline(always)]
pub fn fact_start(kind: FactKind) -> u32 {
    u32::from(FACT_STARTS.at(kind as usize))
}
/// The same, of a kind's number.
#[inline(always)]
pub fn fact_start_of(kind: u32) -> u32 {
    u32::from(FACT_STARTS.at(kind as usize))
}
#[inline(always)]
pub fn hello_shapes() -> u32 {
    HELLO_SHAPES.get()
}
/// Whether a signal is about hellos.
#[inline(always)]
pub fn has_hellos() -> bool {
    HELLO_SHAPES.get() != 0 || fact_start(FactKind::Hello) != 0 || observes()
}
/// Whether anybody wants to know such a fact.
#[inline(always)]
pub fn wants(kind: FactKind) -> bool {
    fact_start(kind) != 0 || observes()
}
/// Whether hellos, requests and queries are read of every device.
#[inline(always)]
pub fn reads_of_all() -> bool {
    has_asked() || has_hellos() || wants(FactKind::UserAgent)
}
#[inline(always)]
pub fn device_mask() -> u32 {
    DEVICE_MASK.get()
}
#[inline(always)]
pub fn group_ops() -> u32 {
    GROUP_OP_COUNT.get()
}
#[inline(always)]
pub fn unknown() -> u32 {
    UNKNOWN.get()
}
