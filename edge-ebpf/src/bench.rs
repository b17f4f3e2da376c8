//! Programs of the bench, beside the filter's own: the floor, generators that vary a frame before they jump into another program, and the
//! destination look-up alone - ours, and the kernel's prefix trie holding the same.
#![no_std]
#![no_main]

#[expect(dead_code, reason = "the filter's own tables and frames, of which the bench needs a part")]
mod program {
    pub mod answers;
    pub mod constants;
    pub mod frame;
    pub mod in_hand;
    pub mod maps;
    pub mod names;
    pub mod tables;
}

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    helpers::generated::bpf_xdp_load_bytes,
    macros::{map, xdp},
    maps::{Array, LpmTrie, ProgramArray, lpm_trie::Key},
    programs::XdpContext,
};
use edge_ebpf::{
    engine::Tables as _,
    name::{
        Reading, Span,
        answer::{MAX_MESSAGE, MAX_TARGETS},
    },
    packet::{Packet, access::FrameMut},
    reject::Buffer,
};
use program::{answers, frame, in_hand, names, tables::Tables};

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

/// Reads and looks up the name in an untagged IPv4 frame without options. Returns its row, or [`NO_NAME`] and the kind of reading.
#[xdp(frags)]
pub fn name_dns(context: XdpContext) -> u32 {
    named(&context, UDP_PAYLOAD, names::edge_name_dns, |state| state.questions.rows[0])
}

#[xdp(frags)]
pub fn name_dns_tcp(context: XdpContext) -> u32 {
    named(&context, TCP_PAYLOAD, names::edge_name_dns_tcp, |state| state.questions.rows[0])
}

#[xdp(frags)]
pub fn name_tls(context: XdpContext) -> u32 {
    named(&context, TCP_PAYLOAD, names::edge_name_tls, |state| state.row)
}

#[xdp(frags)]
pub fn name_http(context: XdpContext) -> u32 {
    named(&context, TCP_PAYLOAD, names::edge_name_http, |state| state.row)
}

const UDP_PAYLOAD: usize = 14 + 20 + 8;
const TCP_PAYLOAD: usize = 14 + 20 + 20;
const NO_NAME: u32 = 1 << 31;

#[inline(always)]
fn named(context: &XdpContext, payload: usize, read: extern "C" fn(*mut xdp_md) -> u32, row: fn(&names::State) -> u32) -> u32 {
    let Some(state) = names::state() else { return xdp_action::XDP_ABORTED };
    state.payload = Span::new(payload, context.data_end() - context.data());
    let reading = read(context.ctx);
    if reading == Reading::Name as u32 { row(state) } else { NO_NAME | reading }
}

/// Reads the answer in an untagged IPv4 frame without options. Returns the row of its first name, how many names and addresses it has, in
/// bytes from the high one on; or [`NO_NAME`] and the kind of reading.
#[xdp(frags)]
pub fn name_answer(context: XdpContext) -> u32 {
    let length = (context.data_end() - context.data()).wrapping_sub(UDP_PAYLOAD);
    if length == 0 || length > MAX_MESSAGE {
        return NO_NAME;
    }
    let Some(state) = answers::state() else { return xdp_action::XDP_ABORTED };
    let message = state.held.as_mut_ptr().wrapping_add(answers::BEFORE);
    // SAFETY: the context is the kernel's, and there is room for `length` bytes.
    let loaded = unsafe { bpf_xdp_load_bytes(context.ctx, UDP_PAYLOAD as u32, message.cast(), length as u32) };
    if loaded != 0 {
        return NO_NAME;
    }
    state.length = length as u32;
    let reading = answers::edge_answer_walk();
    if reading != Reading::Name as u32 {
        return NO_NAME | reading;
    }
    let mut first = 0;
    for index in 0..=MAX_TARGETS {
        if index >= state.answer.names() {
            break;
        }
        let row = answers::edge_answer_name(index as u64);
        if row == answers::NO_NAME {
            return NO_NAME | Reading::Malformed as u32;
        }
        if index == 0 {
            first = row;
        }
    }
    first << 16 | (state.answer.names() as u32) << 8 | state.answer.addresses() as u32
}

/// Answers the query in the frame by DNS. The kind of answer is the destination MAC's last byte.
#[xdp(frags)]
pub fn reply_dns(context: XdpContext) -> u32 {
    let Some(state) = names::state() else { return xdp_action::XDP_ABORTED };
    let frame = Context::new(XdpContext::new(context.ctx));
    let packet = Packet::parse(&frame.frame());
    if !in_hand::put(&packet) {
        return xdp_action::XDP_ABORTED;
    }
    let Some(kind) = frame.frame().view::<6>(0) else { return xdp_action::XDP_ABORTED };
    let kind = kind.u8::<5>();
    state.payload = Span::new(packet.transport + 8, context.data_end() - context.data());
    if names::edge_name_dns(context.ctx) != Reading::Name as u32 {
        return xdp_action::XDP_ABORTED;
    }
    answers::edge_reject_query(context.ctx, kind.into())
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
