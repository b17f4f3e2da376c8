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
    macros::{classifier, map, xdp},
    maps::{Array, LpmTrie, ProgramArray, lpm_trie::Key},
    programs::{TcContext, XdpContext},
};
use edge_ebpf::{engine::Tables as _, packet::access::FrameMut, reject::Buffer};
use program::{constants::Constant, frame, tables::Tables};

/// Of frames that may lie in several buffers.
type Context = frame::Context<false>;

/// Where a generator jumps to: one entry.
#[map]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// What a generator writes into frames, in turn: addresses, or MACs in the high 48 bits.
#[map]
static KEYS: Array<[u64; 2]> = Array::with_max_entries(KEY_COUNT, 0);
const KEY_COUNT: u32 = 1 << 18;
/// Where the generator of frames towards devices jumps to.
#[map]
static TARGET_TC: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// What a generator writes where names are, in turn: as many as the bench says before it loads them.
#[map]
static BLOCKS: Array<[u64; BLOCK_WORDS]> = Array::with_max_entries(1, 0);
const BLOCK_WORDS: usize = 8;
/// Number of blocks, a power of two, less one; and where in the frame they go.
#[unsafe(no_mangle)]
static BLOCK_MASK: Constant<u32> = Constant(0);
#[unsafe(no_mangle)]
static BLOCK_AT: Constant<u32> = Constant(0);
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
const SOURCE_PORT_V4: usize = 14 + 20;

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

/// The next of the [`BLOCKS`], in a flow of its own.
#[xdp(frags)]
pub fn vary_block(context: XdpContext) -> u32 {
    let mut buffer = Context::new(context);
    let mut frame = Buffer::frame(&mut buffer);
    let Some(number) = next_block(&mut frame) else { return xdp_action::XDP_ABORTED };
    let Some(mut port) = frame.view_mut::<2>(SOURCE_PORT_V4) else { return xdp_action::XDP_ABORTED };
    port.set_u16::<0>(number as u16);
    jump(&buffer)
}

/// The next of the [`BLOCKS`], towards a device.
#[classifier]
pub fn vary_block_tc(context: TcContext) -> i32 {
    // SAFETY: the kernel gives these as the bounds of the linear part, which the program may write; nothing resizes it meanwhile.
    let mut frame = unsafe { FrameMut::from_raw(context.data(), context.data_end()) };
    if next_block(&mut frame).is_some() {
        // SAFETY: as in `jump`.
        unsafe { TARGET_TC.tail_call(&context, 0) };
    }
    TC_ABORTED
}

#[classifier]
pub fn go_on(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// `linux/pkt_cls.h`: whoever comes next decides; and what no program returns.
const TC_ACT_UNSPEC: i32 = -1;
const TC_ABORTED: i32 = 1000;

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

/// Writes the next block, and returns its number.
#[inline(always)]
fn next_block(frame: &mut FrameMut<'_>) -> Option<u32> {
    let next = frame.frame().view::<4>(STATE)?.u32::<0>().wrapping_add(1);
    set_u32(frame, STATE, next)?;
    let number = next & BLOCK_MASK.get();
    let [a, b, c, d, e, f, g, h] = BLOCKS.get(number)?;
    let mut place = frame.view_mut::<{ 8 * BLOCK_WORDS }>(BLOCK_AT.get() as usize)?;
    place.set_u64::<0>(*a);
    place.set_u64::<8>(*b);
    place.set_u64::<16>(*c);
    place.set_u64::<24>(*d);
    place.set_u64::<32>(*e);
    place.set_u64::<40>(*f);
    place.set_u64::<48>(*g);
    place.set_u64::<56>(*h);
    Some(number)
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
