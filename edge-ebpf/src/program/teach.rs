//! Notes what the agent has found out beside the packets' way.
//!
//! The program is attached to nothing: the agent runs it on a [`LessonRecord`] in a frame's place. So the tables, which packets change too, are
//! written by this code alone, and a name has the number of the generation whose program it is. Where the kernel runs it a packet may come in
//! between, so its buffers are its own.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_probe_read_kernel, bpf_xdp_load_bytes},
    macros::{map, xdp},
    maps::PerCpuArray,
    programs::XdpContext,
};
use edge_ebpf::{
    abi::{
        EVENT_NAME,
        beside::{LessonKind, LessonRecord, Taught},
    },
    inspect::{
        flow::{self, Flow, state},
        learned::NAME_WORDS,
        secret,
    },
    name::{Walked, labels::Labels, table},
    packet::{Address, access::Held},
};

use super::{constants, devices, learned, maps, names::Table, secret::Secret};

#[map]
static LESSON: PerCpuArray<Lesson> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Lesson {
    record: LessonRecord,
    /// Bytes of the name, and what an address is known to be learned for by.
    length: u64,
    hash: u64,
    labels: Labels,
    /// The name behind [`BEFORE`] bytes.
    text: [u8; TEXT],
}
/// Twice what is used, see [`Held`].
const TEXT: usize = 1024;
/// Bytes before the name.
const BEFORE: usize = 8;

const _: () = assert!(EVENT_NAME == 8 * NAME_WORDS && core::mem::offset_of!(Lesson, text).is_multiple_of(8));

#[inline(always)]
fn lesson<'a>() -> Option<&'a mut Lesson> {
    // SAFETY: a live map value; the agent runs the program once at a time.
    LESSON.get_ptr_mut(0).map(|lesson| unsafe { &mut *lesson })
}

/// Takes a [`LessonRecord`] and returns a [`Taught`].
#[xdp]
pub fn edge_teach(context: XdpContext) -> u32 {
    if !constants::looks_inside() || !load(context.ctx) {
        return Taught::Refused as u32;
    }
    if lesson().is_some_and(|lesson| lesson.record.kind == LessonKind::Signals as u16) {
        return edge_teach_signals();
    }
    if !constants::has_names() {
        return Taught::Refused as u32;
    }
    let number = match lesson() {
        Some(lesson) if lesson.record.named != 0 => {
            let number = edge_teach_name();
            if number != NO_NAME && number != 0 {
                edge_teach_hash();
            }
            number
        }
        _ => 0,
    };
    if number == NO_NAME { Taught::Refused as u32 } else { edge_teach_number(number) }
}

/// Notes a device's signals.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_teach_signals() -> u32 {
    let Some(Lesson { record, .. }) = lesson() else { return Taught::Refused as u32 };
    if !constants::has_identity() {
        return Taught::Unwatched as u32;
    }
    let [a, b, c, d, e, f, g, h, ..] = record.name;
    let ([first, second], [third, fourth]) = (record.source, record.destination);
    devices::prepare(devices::OF_LESSON, [first, second, third, fourth]);
    devices::edge_note_signals(u64::from_le_bytes([a, b, c, d, e, f, g, h]), devices::OF_LESSON);
    Taught::Watched as u32
}

/// In place of a number.
const NO_NAME: u32 = u32::MAX;

#[inline(always)]
fn load(context: *mut xdp_md) -> bool {
    let Some(lesson) = lesson() else { return false };
    let record = &raw mut lesson.record;
    // SAFETY: the record is as long as that.
    unsafe { bpf_xdp_load_bytes(context, 0, record.cast(), size_of::<LessonRecord>() as u32) == 0 }
}

/// Number of the lesson's name, or [`NO_NAME`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_teach_name() -> u32 {
    let Some(Lesson { record, length, hash: _, labels, text }) = lesson() else { return NO_NAME };
    // SAFETY: the text has room for so many bytes behind those before it.
    unsafe { bpf_probe_read_kernel((&raw mut text[BEFORE]).cast(), EVENT_NAME as u32, (&raw const record.name).cast()) };
    let end = BEFORE + EVENT_NAME;
    let walked: Walked = labels.wire(&Held::new(text, end), &Table, BEFORE, end);
    if walked.is_fault() {
        return NO_NAME;
    }
    *length = (walked.end() - BEFORE) as u64;
    table::find(&Table, labels)
}

#[inline(always)]
fn words(text: &mut [u8; TEXT]) -> &mut [u64; NAME_WORDS] {
    // SAFETY: the text has room for so many words behind its first, and is aligned to one.
    unsafe { &mut *(&raw mut text[BEFORE]).cast() }
}

/// Finds out by what an address is known to be learned for the name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_teach_hash() -> u32 {
    if let Some(Lesson { record: _, length, hash, labels: _, text }) = lesson() {
        *hash = learned::fold_name(words(text), *length as usize);
    }
    0
}

/// Notes the lesson, whose name has this number. Returns a [`Taught`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_teach_number(number: u32) -> u32 {
    let Some(Lesson { record, length: _, hash, labels: _, text }) = lesson() else { return Taught::Refused as u32 };
    let watched = if number == 0 { Taught::Unwatched } else { Taught::Watched };
    let done = if record.kind == LessonKind::Flow as u16 {
        note_flow(record, number)
    } else if record.kind == LessonKind::Address as u16 {
        let name = learned::Name { number, hash: *hash, wire: words(text) };
        number == 0 || learned::remember(address(record.destination), record.time_to_live, &name)
    } else {
        false
    };
    if done { watched as u32 } else { Taught::Refused as u32 }
}

#[inline(always)]
fn address([high, low]: [u64; 2]) -> Address {
    Address { high, low }
}

/// Marks the flow with the name, and lets it pass where no rule is about that.
#[inline(always)]
fn note_flow(record: &LessonRecord, number: u32) -> bool {
    let ports = (record.source_port, record.destination_port);
    let hash = secret::flow(&Secret, address(record.source), address(record.destination), ports, record.protocol);
    let Some(bucket) = maps::FLOWS.get_ptr_mut(flow::place(hash, constants::flow_mask())) else { return false };
    // SAFETY: a live map value. Two processors that write one entry at once leave one that is nobody's, see `FlowEntry`.
    let bucket = unsafe { &mut *bucket };
    let known = flow::find(bucket, hash, constants::generation());
    let marked = if number != 0 || known.signatures != 0 { state::MARKED } else { 0 };
    let state = known.state & !state::MARKED | state::KNOWN | marked;
    flow::put(bucket, hash, constants::generation(), Flow { state, number: number as u16, ..known });
    true
}
