//! Reports to the agent: each (rule, device, remote, service) once in an epoch and CPU, within the epoch's budget. The agent begins an
//! epoch every second; when it is gone, reports end by themselves. No clock is read, and a full ring changes nothing but a count.

use aya_ebpf::{
    bindings::{BPF_RB_NO_WAKEUP, xdp_md},
    helpers::generated::bpf_xdp_load_bytes,
    macros::map,
    maps::PerCpuArray,
    programs::XdpContext,
};
use edge_ebpf::{
    abi::{EVENT_NAME, EVENT_NAME_IS_TEXT, Event, Evidence, MAX_RULES, REPORT_SEEN, Reason, RuleEntry, Verdict},
    bits::{lowest, lowest_number},
    engine::NO_SLOT,
    inspect::{Carried, State, learned::NAME_WORDS},
    name::Span,
    packet::{Family, Packet, access::bounded},
};

use super::{constants, count, frame::Context, in_hand, inspect, learned, maps, names};

/// The agent empties the ring by its clock: no report costs an interrupt.
const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// The event under construction: too large to build in registers, and the stack is short.
#[map]
static SCRATCH: PerCpuArray<NamedEvent> = PerCpuArray::with_max_entries(1, 0);

/// As long as the longest.
#[repr(C)]
struct NamedEvent {
    event: Event,
    name: [u8; EVENT_NAME],
}

/// What is not in the packet, and the same for all its reports.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub context: *mut xdp_md,
    /// Of the frame, in bytes.
    pub length: u32,
}

/// Reports the rule that decided. `PLAIN`: the packet is not in hand yet.
#[inline(always)]
pub fn decided<const PLAIN: bool>(packet: &Packet, arrival: Arrival, rule: &RuleEntry, verdict: Verdict) {
    report::<PLAIN>(packet, arrival, rule.slot, rule.rule << 16 | u32::from(NO_REASON) << 8 | verdict as u32, 0);
}

/// Reports a packet that cannot be inspected.
#[inline(always)]
pub fn uninspectable<const PLAIN: bool>(packet: &Packet, arrival: Arrival, reason: Reason, verdict: Verdict) {
    report::<PLAIN>(packet, arrival, NO_SLOT, (MAX_RULES as u32) << 16 | (reason as u32) << 8 | verdict as u32, reason as u64 + 1);
}

/// In an event that is not about an uninspectable packet.
const NO_REASON: u8 = u8::MAX;

#[inline(always)]
fn report<const PLAIN: bool>(packet: &Packet, arrival: Arrival, slot: u32, what: u32, salt: u64) {
    let Arrival { context, length } = arrival;
    if is_due(subject(packet) ^ salt, slot) && (!PLAIN || in_hand::edge_plain_in_hand(context) != 0) {
        edge_report(context, slot, what, length);
    }
}

/// Counts and reports the monitored rules of one word.
#[inline(always)]
pub fn monitored<const PLAIN: bool>(packet: &Packet, arrival: Arrival, word: usize, bits: u64, by_learned: u64) {
    let Arrival { context, length } = arrival;
    let subject = subject(packet);
    let due = if PLAIN && bits == lowest(bits) {
        // Mostly it is one rule, and a call would cost more than counting it.
        if is_monitored_due(word as u64, lowest_number(bits), subject, length.into(), false) { bits } else { 0 }
    } else {
        edge_monitored(word as u64, bits, subject, length.into(), by_learned)
    };
    if due != 0 && (!PLAIN || in_hand::edge_plain_in_hand(context) != 0) {
        edge_report_monitored(context, word as u64, due, u64::from(length), by_learned);
    }
}

/// Counts the rules of a word's bits, and returns those whose reports are due.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_monitored(word: u64, bits: u64, subject: u64, length: u64, by_learned: u64) -> u64 {
    let (mut bits, mut due) = (bits, 0);
    for _ in 0..u64::BITS {
        if bits == 0 {
            break;
        }
        let bit = lowest_number(bits);
        bits &= bits - 1;
        if is_monitored_due(word, bit, subject, length, by_learned >> bit & 1 != 0) {
            due |= 1 << bit;
        }
    }
    due
}

/// Counts one rule of a word, and says whether its report is due.
#[inline(always)]
fn is_monitored_due(word: u64, bit: u32, subject: u64, length: u64, by_learned: bool) -> bool {
    let rule = constants::rule(word as u32 * u64::BITS + bit);
    let slot = if by_learned { rule.learned_slot } else { rule.slot };
    count::rule(slot, length);
    rule.report != 0 && is_due(subject, slot)
}

/// Reports the packet in hand for the monitored rules of a word's bits.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_report_monitored(context: *mut xdp_md, word: u64, bits: u64, length: u64, by_learned: u64) -> u64 {
    let Some(event) = describe(context, length as u32) else { return 0 };
    event.monitored = 1;
    let mut bits = bits;
    for _ in 0..u64::BITS {
        if bits == 0 {
            break;
        }
        let bit = lowest_number(bits);
        let rule = constants::rule(word as u32 * u64::BITS + bit);
        bits &= bits - 1;
        event.slot = if by_learned >> bit & 1 != 0 { rule.learned_slot } else { rule.slot };
        event.verdict = rule.verdict;
        send(context, event, rule.rule);
    }
    bits
}

/// Reports the packet in hand. `what`: the verdict, the reason or [`NO_REASON`] above it, and the rule above that.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_report(context: *mut xdp_md, slot: u32, what: u32, length: u32) -> u32 {
    if let Some(event) = describe(context, length) {
        event.slot = slot;
        event.verdict = what as u8;
        event.reason = (what >> 8) as u8;
        send(context, event, what >> 16);
    }
    0
}

/// Sends the event under construction, with the name that the rule matched by.
#[inline(always)]
fn send(context: *mut xdp_md, event: &mut Event, rule: u32) {
    event.evidence = 0;
    let named = constants::has_names() && edge_report_name(context, rule) != 0;
    let sent = match (named, SCRATCH.get(0)) {
        (true, Some(whole)) => maps::EVENTS.output::<NamedEvent>(whole, NO_WAKEUP),
        _ => maps::EVENTS.output::<Event>(event, NO_WAKEUP),
    };
    if sent.is_err()
        && let Some(state) = maps::REPORT_STATE.get_ptr_mut(0)
    {
        // SAFETY: a live map value of this CPU, see `count`.
        unsafe { (*state).suppressed += 1 };
    }
}

/// Tells the event under construction by what the rule matched the packet in hand. 0: there is no name to tell.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_report_name(context: *mut xdp_md, rule: u32) -> u32 {
    let (Some(event), Some(buffers)) = (SCRATCH.get_ptr_mut(0), names::buffers()) else { return 0 };
    if in_hand::found().is_none_or(|found| found.inspected == 0 && found.showing == 0) {
        return 0;
    }
    // SAFETY: a live map value of this CPU, see `count`.
    let NamedEvent { event, name } = unsafe { &mut *event };
    let (ground, way) = inspect::ground(rule);
    event.evidence = ground as u8;
    let State { carried, questions, payload: _, .. } = &buffers.state;
    if *carried == Carried::Question as u32 {
        // Type and class are behind the name.
        let Span { start, end } = questions.first;
        let length = bounded::<{ EVENT_NAME - 1 }>((end - start) as usize - 4 - 1) + 1;
        *name = [0; EVENT_NAME];
        // SAFETY: the name has room for that many bytes, and the kernel checks the frame's bounds.
        return u32::from(unsafe { bpf_xdp_load_bytes(context, start, (&raw mut *name).cast(), length as u32) } == 0);
    }
    if *carried != Carried::Nothing as u32 {
        event.evidence |= EVENT_NAME_IS_TEXT;
        buffers.text(name);
        return 1;
    }
    if matches!(ground, Evidence::Learned)
        && let Some(learned) = learned::name(way)
    {
        // SAFETY: as large as the name.
        unsafe { (&raw mut *name).cast::<[u64; NAME_WORDS]>().write_unaligned(*learned) };
        return 1;
    }
    0
}

/// Whether this was not reported before in this epoch, and the budget has room for it; where it has none, that is counted.
#[inline(always)]
fn is_due(subject: u64, slot: u32) -> bool {
    let Some(budget) = maps::REPORT_BUDGET.get(0) else { return false };
    let Some(state) = maps::REPORT_STATE.get_ptr_mut(0) else { return false };
    let tag = mix(subject ^ (u64::from(slot) << 32) ^ u64::from(budget.epoch)) as u32;
    // SAFETY: a live map value of this CPU, see `count`; the mask keeps the place inside.
    unsafe {
        let seen = &raw mut (*state).seen[tag as usize & (REPORT_SEEN - 1)];
        if *seen == tag {
            return false;
        }
        *seen = tag;
        if (*state).epoch != budget.epoch {
            (*state).epoch = budget.epoch;
            (*state).used = 0;
        }
        (*state).used += 1;
        let due = (*state).used <= budget.limit;
        if !due {
            (*state).suppressed += 1;
        }
        due
    }
}

/// The event under construction, with everything but what the rule or the reason adds.
#[inline(always)]
fn describe<'a>(context: *mut xdp_md, length: u32) -> Option<&'a mut Event> {
    let packet = in_hand::get()?;
    let event = SCRATCH.get_ptr_mut(0)?;
    let context = Context::<true>::new(XdpContext::new(context));
    let frame = context.frame();
    let source = packet.source(&frame);
    let (source_port, destination_port) = packet.ports(&frame);
    // SAFETY: a live map value of this CPU, see `count`.
    let event = unsafe { &mut (*event).event };
    *event = Event {
        source: [source.high, source.low],
        destination: [packet.destination.high, packet.destination.low],
        interface: context.interface(),
        slot: NO_SLOT,
        length,
        generation: constants::generation(),
        device: packet.device.octets(),
        source_port,
        destination_port,
        family: match packet.family {
            Family::None => 0,
            Family::V4 => 4,
            Family::V6 => 6,
        },
        protocol: packet.protocol,
        verdict: 0,
        monitored: 0,
        reason: NO_REASON,
        evidence: Evidence::Address as u8,
    };
    Some(event)
}

/// Device, remote and service in 64 bits. Two that share them by accident cost one of them its report for the rest of the epoch.
#[inline(always)]
fn subject(packet: &Packet) -> u64 {
    mix(packet.device.0 ^ ((packet.service as u64) << 40)) ^ packet.destination.high ^ packet.destination.low.rotate_left(32)
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014), without its last multiplication.
#[inline(always)]
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value ^ (value >> 27)
}
