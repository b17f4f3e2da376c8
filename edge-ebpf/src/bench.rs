//! Programs of the bench, beside the filter's own: the floor, generators that vary a frame before they jump into another program, and the
//! destination look-up alone - ours, and the kernel's prefix trie holding the same.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

#[expect(dead_code, reason = "the filter's own tables and frames, of which the bench needs a part")]
mod program {
    pub mod atomic;
    pub mod clock;
    pub mod constants;
    pub mod devices;
    pub mod frame;
    pub mod in_hand;
    pub mod maps;
    pub mod secret;
    pub mod tables;
}

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, LpmTrie, ProgramArray, lpm_trie::Key},
    programs::XdpContext,
};
use edge_ebpf::{engine::Tables as _, packet::access::FrameMut, reject::Buffer};
use program::{frame, tables::Tables};

/// Of frames that may lie in several buffers.
type Context = frame::Context<false>;

/// Where a generator jumps to: one entry.
#[map]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// What a generator writes into frames, in turn: addresses, or MACs in the high 48 bits.
#[map]
static KEYS: Array<[u64; 2]> = Array::with_max_entries(KEY_COUNT, 0);
const KEY_COUNT: u32 = 1 << 18;
#[map]
static LPM_V4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(1 << 21, NO_PREALLOC);
#[map]
static LPM_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1 << 21, NO_PREALLOC);
/// `BPF_F_NO_PREALLOC`, which the kernel demands of a prefix trie.
const NO_PREALLOC: u32 = 1;

/// Places in a frame without VLAN tags. The destination MAC holds the generator's state: no program looks at it.
const STATE: usize = 0;
const SOURCE_MAC: usize = 6;
const DESTINATION_V4: usize = 14 + 16;
const DESTINATION_V6: usize = 14 + 24;

#[xdp(frags)]
pub fn drop(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

#[xdp(frags)]
pub fn pass(_: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// With live frames on a veth: sends each to the peer.
#[xdp(frags)]
pub fn transmit(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// A destination out of all 2³² but 0.0.0.0, by Marsaglia's xorshift, whose state the address itself is.
#[xdp(frags)]
pub fn vary_v4(context: XdpContext) -> u32 {
    let mut buffer = Context::new(context);
    let mut frame = Buffer::frame(&mut buffer);
    let Some(state) = frame.frame().view::<4>(STATE) else { return xdp_action::XDP_ABORTED };
    let mut next = state.u32::<0>();
    next ^= next << 13;
    next ^= next >> 17;
    next ^= next << 5;
    if set_u32(&mut frame, STATE, next).is_none() || set_u32(&mut frame, DESTINATION_V4, next).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    jump(&buffer)
}

/// The next of the addresses in [`KEYS`] as destination.
#[xdp(frags)]
pub fn vary_v6(context: XdpContext) -> u32 {
    let mut buffer = Context::new(context);
    let mut frame = Buffer::frame(&mut buffer);
    let Some([high, low]) = next_key(&mut frame) else { return xdp_action::XDP_ABORTED };
    let Some(mut destination) = frame.view_mut::<16>(DESTINATION_V6) else { return xdp_action::XDP_ABORTED };
    destination.set_u64::<0>(high);
    destination.set_u64::<8>(low);
    jump(&buffer)
}

/// The next of the MACs in [`KEYS`] as source.
#[xdp(frags)]
pub fn vary_mac(context: XdpContext) -> u32 {
    let mut buffer = Context::new(context);
    let mut frame = Buffer::frame(&mut buffer);
    let Some([high, _]) = next_key(&mut frame) else { return xdp_action::XDP_ABORTED };
    let Some(mut source) = frame.view_mut::<6>(SOURCE_MAC) else { return xdp_action::XDP_ABORTED };
    source.set_u32::<0>((high >> 32) as u32);
    source.set_u16::<4>((high >> 16) as u16);
    jump(&buffer)
}

/// Class of the destination, by the filter's own look-up.
#[xdp(frags)]
pub fn trie_v4(context: XdpContext) -> u32 {
    let context = Context::new(context);
    let Some(destination) = context.frame().view::<4>(DESTINATION_V4) else { return NO_CLASS };
    Tables::<true>.v4_class(destination.u32::<0>()).unwrap_or(NO_CLASS)
}

#[xdp(frags)]
pub fn trie_v6(context: XdpContext) -> u32 {
    let context = Context::new(context);
    let Some(destination) = context.frame().view::<16>(DESTINATION_V6) else { return NO_CLASS };
    Tables::<true>.v6_class([destination.u64::<0>(), destination.u64::<8>()]).unwrap_or(NO_CLASS)
}

/// The same by the kernel's prefix trie.
#[xdp(frags)]
pub fn lpm_v4(context: XdpContext) -> u32 {
    let context = Context::new(context);
    let Some(destination) = context.frame().view::<4>(DESTINATION_V4) else { return NO_CLASS };
    LPM_V4.get(Key::new(32, destination.u32::<0>().to_be_bytes())).copied().unwrap_or(NO_CLASS)
}

#[xdp(frags)]
pub fn lpm_v6(context: XdpContext) -> u32 {
    let context = Context::new(context);
    let Some(destination) = context.frame().view::<16>(DESTINATION_V6) else { return NO_CLASS };
    let address = (u128::from(destination.u64::<0>()) << 64) | u128::from(destination.u64::<8>());
    LPM_V6.get(Key::new(128, address.to_be_bytes())).copied().unwrap_or(NO_CLASS)
}

/// No prefix holds the address.
const NO_CLASS: u32 = u32::MAX;

#[inline(always)]
fn next_key(frame: &mut FrameMut<'_>) -> Option<[u64; 2]> {
    let next = frame.frame().view::<4>(STATE)?.u32::<0>().wrapping_add(1);
    set_u32(frame, STATE, next)?;
    KEYS.get(next & (KEY_COUNT - 1)).copied()
}

#[inline(always)]
fn set_u32(frame: &mut FrameMut<'_>, offset: usize, value: u32) -> Option<()> {
    frame.view_mut::<4>(offset)?.set_u32::<0>(value);
    Some(())
}

#[inline(always)]
fn jump(context: &Context) -> u32 {
    // SAFETY: nothing is left to be dropped; where the target is missing the frame is aborted, which the bench takes for a wrong verdict.
    unsafe { TARGET.tail_call(context.log(), 0) };
    xdp_action::XDP_ABORTED
}

/// The kernel gives GPL-only helpers to programs that say so.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics (the verifier would refuse the loop); the language wants the handler.
    loop {}
}
