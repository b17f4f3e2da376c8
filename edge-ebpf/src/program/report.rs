//! Reports to the agent: each (rule, device, remote, service) once in an epoch and CPU, within the epoch's budget. The agent begins an
//! epoch every second; when it is gone, reports end by themselves. No clock is read, and a full ring changes nothing but a count.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, macros::map, maps::PerCpuArray};
use edge_ebpf::{
    abi::{Event, REPORT_SEEN, Reason, RuleEntry, Verdict},
    engine::NO_SLOT,
    packet::{Family, Packet, access::Frame},
};

use super::{constants, count, maps};

/// The agent empties the ring by its clock: no report costs an interrupt.
const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// The event under construction: too large to build in registers, and the stack is short.
#[map]
static SCRATCH: PerCpuArray<Event> = PerCpuArray::with_max_entries(1, 0);

/// What is not in the packet, and the same for all its reports.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub interface: u32,
    pub length: u32,
}

/// Reports the rule that decided.
#[inline(always)]
pub fn decided(frame: &Frame<'_>, packet: &Packet, arrival: Arrival, slot: u32, verdict: Verdict) {
    report(frame, packet, arrival, slot, verdict, None);
}

/// Reports a packet that cannot be inspected.
#[inline(always)]
pub fn uninspectable(frame: &Frame<'_>, packet: &Packet, arrival: Arrival, reason: Reason, verdict: Verdict) {
    report(frame, packet, arrival, NO_SLOT, verdict, Some(reason));
}

#[inline(always)]
fn report(frame: &Frame<'_>, packet: &Packet, arrival: Arrival, slot: u32, verdict: Verdict, reason: Option<Reason>) {
    let subject = subject(packet) ^ reason.map_or(0, |reason| reason as u64 + 1);
    let admission = admit(subject, slot);
    if matches!(admission, Admission::Seen) {
        return;
    }
    let sent = matches!(admission, Admission::New)
        && match SCRATCH.get_ptr_mut(0) {
            Some(event) => {
                // SAFETY: a live map value of this CPU, see `count`.
                let event = unsafe { &mut *event };
                describe(event, frame, packet, arrival);
                event.slot = slot;
                event.verdict = verdict as u8;
                event.reason = reason.map_or(u8::MAX, |reason| reason as u8);
                maps::EVENTS.output::<Event>(&*event, NO_WAKEUP).is_ok()
            }
            None => false,
        };
    if !sent {
        suppressed();
    }
}

/// Counts and reports the monitored rules of one word.
#[inline(always)]
pub fn monitored(frame: &Frame<'_>, packet: &Packet, arrival: Arrival, word: usize, bits: u64) {
    let Some(event) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: a live map value of this CPU, see `count`.
    let event = unsafe { &mut *event };
    describe(event, frame, packet, arrival);
    event.monitored = 1;
    edge_monitored(word as u64, bits, subject(packet));
}

/// The loop over a word's bits, as a function that the verifier checks once, and not at each word for every way there. The packet stands
/// in [`SCRATCH`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_monitored(word: u64, bits: u64, subject: u64) -> u64 {
    let Some(event) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: a live map value of this CPU, see `count`.
    let event = unsafe { &mut *event };
    let mut bits = bits;
    for _ in 0..u64::BITS {
        if bits == 0 {
            break;
        }
        let rule = word as u32 * u64::BITS + bits.trailing_zeros();
        bits &= bits - 1;
        let Some(&RuleEntry { slot, exceeded_slot: _, verdict, report, limited: _, reserved: _, rule: _ }) = maps::RULES.get(rule) else {
            break;
        };
        count::rule(slot, u64::from(event.length));
        if report == 0 {
            continue;
        }
        let sent = match admit(subject, slot) {
            Admission::Seen => continue,
            Admission::New => {
                event.slot = slot;
                event.verdict = verdict;
                maps::EVENTS.output::<Event>(&*event, NO_WAKEUP).is_ok()
            }
            Admission::OverBudget => false,
        };
        if !sent {
            suppressed();
        }
    }
    bits
}

enum Admission {
    /// Reported before in this epoch.
    Seen,
    New,
    OverBudget,
}

#[inline(always)]
fn admit(subject: u64, slot: u32) -> Admission {
    let Some(budget) = maps::REPORT_BUDGET.get(0) else { return Admission::OverBudget };
    let Some(state) = maps::REPORT_STATE.get_ptr_mut(0) else { return Admission::OverBudget };
    let tag = mix(subject ^ (u64::from(slot) << 32) ^ u64::from(budget.epoch)) as u32;
    // SAFETY: a live map value of this CPU, see `count`; the mask keeps the place inside.
    unsafe {
        let seen = &raw mut (*state).seen[tag as usize & (REPORT_SEEN - 1)];
        if *seen == tag {
            return Admission::Seen;
        }
        *seen = tag;
        if (*state).epoch != budget.epoch {
            (*state).epoch = budget.epoch;
            (*state).used = 0;
        }
        (*state).used += 1;
        if (*state).used > budget.limit { Admission::OverBudget } else { Admission::New }
    }
}

#[inline(always)]
fn suppressed() {
    if let Some(state) = maps::REPORT_STATE.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU, see `count`.
        unsafe { (*state).suppressed += 1 };
    }
}

/// Everything but what the rule or the reason adds.
#[inline(always)]
fn describe(event: &mut Event, frame: &Frame<'_>, packet: &Packet, arrival: Arrival) {
    let Arrival { interface, length } = arrival;
    let source = packet.source(frame);
    let (source_port, destination_port) = packet.ports(frame);
    *event = Event {
        source: [source.high, source.low],
        destination: [packet.destination.high, packet.destination.low],
        interface,
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
        reason: u8::MAX,
        reserved: 0,
    };
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
