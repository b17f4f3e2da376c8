//! DNS answers in the kernel: what they teach, and those that the program gives itself. Each step is a function of its own, see `names`.
//!
//! What goes in and out of them is in [`ANSWERS`], a value of this CPU.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::map,
    maps::PerCpuArray,
    programs::XdpContext,
};
use edge_ebpf::{
    abi::DnsReject,
    name::{
        Reading, Span,
        answer::{self, MAX_MESSAGE},
        labels::{Labels, UNPACKED},
        table,
    },
    packet::access::Held,
    reject,
};

use super::{frame::Context, in_hand, names, names::Table};

/// What [`Held`] needs for the longest message and [`BEFORE`].
const HELD: usize = 4 * MAX_MESSAGE;
/// Bytes before the message.
pub const BEFORE: usize = 8;
/// In place of a row: what is there is no name.
pub const NO_NAME: u32 = u32::MAX;

/// What the steps leave to each other.
#[repr(C)]
pub struct State {
    /// Of the message: set by the caller, who has copied it.
    pub length: u32,
    /// Of the name that was read last.
    pub name_length: u32,
    pub answer: answer::Answer,
    labels: Labels,
    /// The name that was read last, without pointers.
    pub name: [u8; UNPACKED],
    /// The message behind [`BEFORE`] other bytes.
    pub held: [u8; HELD],
}

#[map]
static ANSWERS: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state. `None`: the kernel rules that out.
#[inline(always)]
pub fn state<'a>() -> Option<&'a mut State> {
    // SAFETY: a live map value; programs of this CPU that run one after the other are its only users.
    ANSWERS.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

/// A [`Reading`] of the message as an answer; what it is about is in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answer_walk() -> u32 {
    let Some(State { length, answer, held, .. }) = state() else { return Reading::Malformed as u32 };
    let end = BEFORE + *length as usize;
    answer::walk(&Held::new(held, end), Span::new(BEFORE, end), answer) as u32
}

/// Reads one of the answer's names into the state. Returns its row, or [`NO_NAME`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answer_name(index: u64) -> u32 {
    let Some(State { length, name_length, answer, labels, name, held }) = state() else { return NO_NAME };
    let end = BEFORE + *length as usize;
    let at = answer.name(index as usize);
    let unpacked = labels.unpack(&Held::new(held, end), &Table, Span::new(BEFORE, end), at, name);
    *name_length = unpacked as u32;
    if unpacked == 0 { NO_NAME } else { table::find(&Table, labels) }
}

/// Answers the query in hand, whose questions are in the state of `names`, by [`DnsReject`], or without data. Returns an action.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_reject_query(context: *mut xdp_md, kind: u64) -> u32 {
    let mut context = Context::<false>::new(XdpContext::new(context));
    let (Some(packet), Some(names)) = (in_hand::get(), names::state()) else { return xdp_action::XDP_DROP };
    let answer = match kind {
        0 => reject::dns::Answer::Rejected(DnsReject::NxDomain),
        1 => reject::dns::Answer::Rejected(DnsReject::Refused),
        2 => reject::dns::Answer::Rejected(DnsReject::NullAddress),
        _ => reject::dns::Answer::NoData,
    };
    let answered = reject::dns::answer_query(&mut context, packet, &names.questions, answer);
    if answered { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}
