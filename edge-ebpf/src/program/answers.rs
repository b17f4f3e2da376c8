//! DNS answers on their way to devices teach what addresses watched names have, before a device can use one.
//!
//! The program hangs on the egress of inside interfaces, so that answers of the gateway's own resolver count as well as those that are
//! forwarded. It lets everything go on. Each step is a function of its own, see `names`.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::bpf_skb_load_bytes,
    macros::{classifier, map},
    maps::PerCpuArray,
    programs::TcContext,
};
use edge_ebpf::{
    abi::{AnswerResult, beside::CopyKind},
    bits::lowest_number,
    inspect::{DNS_PORT, learned::NAME_WORDS},
    name::{
        Reading, Span,
        answer::{self, Given, MAX_MESSAGE, MAX_TARGETS},
        labels::{Labels, UNPACKED},
        table,
    },
    packet::{
        Fragment, Packet,
        access::{Frame, Held, bounded},
        protocol,
    },
};

use super::{copies, count, learned, names::Table};

/// `TC_ACT_UNSPEC` of `linux/pkt_cls.h`: whoever comes next decides.
const GO_ON: i32 = -1;

/// What [`Held`] needs for the longest message and [`BEFORE`].
const HELD: usize = 4 * MAX_MESSAGE;
/// Bytes before the message.
const BEFORE: usize = 8;
/// In place of a number: what is there is no name.
const NO_NAME: u32 = u32::MAX;
/// Watched names that one answer teaches.
const MAX_WATCHED: usize = 4;

/// What the steps leave to each other.
#[repr(C)]
struct State {
    /// Of the message.
    length: u32,
    /// Of the name that was read last.
    name_length: u32,
    /// Its number, and its place among the answer's names.
    number: u32,
    index: u32,
    answer: answer::Answer,
    labels: Labels,
    watched: u64,
    /// Of the name that was read last, whatever its case.
    hash: u64,
    /// The name that was read last, without pointers.
    name: [u8; UNPACKED],
    /// The message behind [`BEFORE`] other bytes.
    held: [u8; HELD],
}

#[map]
static ANSWER: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state. `None`: the kernel rules that out.
#[inline(always)]
fn state<'a>() -> Option<&'a mut State> {
    // SAFETY: a live map value; programs of this CPU that run one after the other are its only users.
    ANSWER.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

/// Frames towards devices.
#[classifier]
pub fn edge_answers(context: TcContext) -> i32 {
    let frame = linear(&context);
    // Most are plain, and no answers.
    let plain = if let Some(packet) = Packet::plain_v4(&frame) { Some(packet) } else { Packet::plain_v6(&frame) };
    let is_other = match plain {
        Some(packet) => packet.ports(&frame).0 != DNS_PORT,
        None => false,
    };
    if !is_other {
        edge_answers_read(context.skb.skb);
    }
    GO_ON
}

#[inline(always)]
fn linear(context: &TcContext) -> Frame<'_> {
    // SAFETY: the kernel gives these as the bounds of the linear part; nothing resizes it while the frame is borrowed.
    unsafe { Frame::from_raw(context.data(), context.data_end()) }
}

/// Finds the DNS message in the frame, and learns from it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_read(skb: *mut __sk_buff) -> u32 {
    let context = TcContext::new(skb);
    let frame = linear(&context);
    let packet = Packet::parse(&frame);
    if packet.fault.is_some() || !matches!(packet.fragment, Fragment::Whole) || packet.ports(&frame).0 != DNS_PORT {
        return 0;
    }
    let length = context.len();
    let (start, end) = packet.payload_within(&frame, length as usize);
    if start >= end {
        return 0;
    }
    let result = if packet.protocol == protocol::TCP {
        AnswerResult::Tcp
    } else if end - start > MAX_MESSAGE {
        AnswerResult::TooLong
    } else {
        match edge_answers_load(skb, start as u64, (end - start) as u64) {
            0 => AnswerResult::Malformed,
            _ => match Reading::from_u32(edge_answers_walk()) {
                Reading::Name => match edge_answers_teach() {
                    TAUGHT => AnswerResult::Learned,
                    NOT_READ => AnswerResult::Malformed,
                    _ => AnswerResult::Nothing,
                },
                Reading::NoName => AnswerResult::Nothing,
                // A query of the gateway's, or an error.
                Reading::Other => return 0,
                Reading::TooLong => AnswerResult::TooLong,
                Reading::Malformed | Reading::Incomplete => AnswerResult::Malformed,
            },
        }
    };
    count::answer(result, u64::from(length));
    match result {
        AnswerResult::Tcp => copies::edge_copy_answer(skb, CopyKind::AnswerOverTcp as u64),
        AnswerResult::TooLong => copies::edge_copy_answer(skb, CopyKind::LongAnswer as u64),
        AnswerResult::Learned | AnswerResult::Nothing | AnswerResult::Malformed => 0,
    }
}

/// Copies the message to the state. 0: it is not all there.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_load(skb: *mut __sk_buff, start: u64, length: u64) -> u32 {
    let Some(state) = state() else { return 0 };
    let length = bounded::<{ MAX_MESSAGE - 1 }>(length as usize - 1) + 1;
    state.length = length as u32;
    let message = &raw mut state.held[BEFORE];
    // SAFETY: the context is the kernel's, and there is room for `length` bytes.
    u32::from(unsafe { bpf_skb_load_bytes(skb.cast(), start as u32, message.cast(), length as u32) } == 0)
}

/// A [`Reading`] of the message as an answer; what it is about is in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_walk() -> u32 {
    let Some(State { length, answer, held, .. }) = state() else { return Reading::Malformed as u32 };
    let end = BEFORE + *length as usize;
    answer::walk(&Held::new(held, end), Span::new(BEFORE, end), answer) as u32
}

/// What became of the names: [`edge_answers_teach`].
const NOT_WATCHED: u32 = 0;
const TAUGHT: u32 = 1;
const NOT_READ: u32 = 2;

/// Gives every address of the answer to each of its names that is watched. Nothing is taught before all names are read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_teach() -> u32 {
    set_watched(0);
    for index in 0..=MAX_TARGETS {
        if index >= names() {
            break;
        }
        match name(index as u64) {
            NO_NAME => return NOT_READ,
            0 => {}
            _ => set_watched(watched() | 1 << index),
        }
    }
    if watched() == 0 {
        return NOT_WATCHED;
    }
    for _ in 0..MAX_WATCHED {
        let left = watched();
        if left == 0 {
            break;
        }
        let index = lowest_number(left);
        set_watched(left & (left - 1));
        // Mostly it is the one that was read last.
        let read = state().is_some_and(|state| u64::from(state.index) == u64::from(index));
        if !read {
            name(u64::from(index));
        }
        edge_answers_learn();
    }
    TAUGHT
}

/// Bits of the names that are watched: in the state, where the verifier does not follow each combination of them.
#[inline(always)]
fn watched() -> u64 {
    state().map_or(0, |state| state.watched)
}

#[inline(always)]
fn set_watched(bits: u64) {
    if let Some(state) = state() {
        state.watched = bits;
    }
}

#[inline(always)]
fn names() -> usize {
    state().map_or(0, |state| state.answer.names())
}

/// Reads one of the answer's names into the state. Returns its number, or [`NO_NAME`].
#[inline(always)]
fn name(index: u64) -> u32 {
    if edge_answers_name(index) == 0 { NO_NAME } else { edge_answers_number() }
}

/// Reads one of the answer's names into the state. 0: it is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_name(index: u64) -> u32 {
    let Some(State { length, name_length, index: last, answer, labels, name, held, .. }) = state() else { return 0 };
    let end = BEFORE + *length as usize;
    let at = answer.name(index as usize);
    let unpacked = labels.unpack(&Held::new(held, end), &Table, Span::new(BEFORE, end), at, name);
    (*name_length, *last) = (unpacked as u32, index as u32);
    *name_length
}

/// Number of the name that was read last.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_number() -> u32 {
    let Some(State { number, labels, .. }) = state() else { return NO_NAME };
    *number = table::find(&Table, labels);
    *number
}

/// Learns the answer's addresses for the name in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_learn() -> u32 {
    let Some(state) = state() else { return 0 };
    state.hash = learned::fold_name(words(&mut state.name), state.name_length as usize);
    for index in 0..answer::MAX_ADDRESSES {
        if index >= state.answer.addresses() {
            break;
        }
        edge_answers_learn_one(index as u64);
    }
    0
}

#[inline(always)]
fn words(name: &mut [u8; UNPACKED]) -> &mut [u64; NAME_WORDS] {
    // SAFETY: the name has room for so many words, and lies behind one.
    unsafe { &mut *(&raw mut *name).cast() }
}

/// Learns one address. 0: there is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answers_learn_one(index: u64) -> u32 {
    let Some(state) = state() else { return 0 };
    let end = BEFORE + state.length as usize;
    let Some(Given { family: _, address, ttl }) = state.answer.address(&Held::new(&state.held, end), index as usize) else { return 0 };
    let (number, hash) = (state.number, state.hash);
    u32::from(learned::remember(address, ttl, &learned::Name { number, hash, wire: words(&mut state.name) }))
}

const _: () = assert!(UNPACKED >= 8 * NAME_WORDS && core::mem::offset_of!(State, name).is_multiple_of(8));
