//! Reports to the agent: each (rule, device, remote, service) once in an epoch and CPU, within the epoch's budget. The agent begins an
//! epoch every second; when it is gone, reports end by themselves. No clock is read, and a full ring changes nothing but a count.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use edge_ebpf::{
    abi::{Event, REPORT_SEEN, Reason, Verdict},
    engine::NO_SLOT,
    packet::{Family, Packet, access::Frame},
};

use super::{constants, maps};

/// The event under construction: too large to build in registers, and the stack is short.
#[map]
static SCRATCH: PerCpuArray<Event> = PerCpuArray::with_max_entries(1, 0);

/// What is not in the packet.
#[derive(Clone, Copy)]
pub struct Facts {
    /// Counter slot of the rule, or [`NO_SLOT`].
    pub slot: u32,
    pub interface: u32,
    pub length: u32,
    pub verdict: Verdict,
    pub monitored: bool,
    pub reason: Option<Reason>,
}

#[inline(always)]
pub fn report(frame: &Frame<'_>, packet: &Packet, facts: Facts) {
    let Some(budget) = maps::REPORT_BUDGET.get(0) else { return };
    let Some(state) = maps::REPORT_STATE.get_ptr_mut(0) else { return };
    let tag = tag(packet, &facts, budget.epoch);
    // SAFETY: a live map value of this CPU, see `count`; the mask keeps the place inside.
    let suppressed = unsafe {
        let seen = &raw mut (*state).seen[tag as usize & (REPORT_SEEN - 1)];
        if *seen == tag {
            return;
        }
        *seen = tag;
        if (*state).epoch != budget.epoch {
            (*state).epoch = budget.epoch;
            (*state).used = 0;
        }
        (*state).used += 1;
        (*state).used > budget.limit || !send(frame, packet, facts)
    };
    if suppressed {
        // SAFETY: as above.
        unsafe { (*state).suppressed += 1 };
    }
}

/// False: the ring is full.
#[inline(always)]
fn send(frame: &Frame<'_>, packet: &Packet, facts: Facts) -> bool {
    let Some(event) = SCRATCH.get_ptr_mut(0) else { return false };
    // SAFETY: a live map value of this CPU, see `count`.
    let event = unsafe { &mut *event };
    describe(event, frame, packet, facts);
    maps::EVENTS.output::<Event>(&*event, 0).is_ok()
}

#[inline(always)]
fn describe(event: &mut Event, frame: &Frame<'_>, packet: &Packet, facts: Facts) {
    let Facts { slot, interface, length, verdict, monitored, reason } = facts;
    let source = packet.source(frame);
    let (source_port, destination_port) = packet.ports(frame);
    *event = Event {
        source: [source.high, source.low],
        destination: [packet.destination.high, packet.destination.low],
        interface,
        slot,
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
        verdict: verdict as u8,
        monitored: u8::from(monitored),
        reason: reason.map_or(u8::MAX, |reason| reason as u8),
        reserved: 0,
    };
}

/// Mixes what a report is about into 32 bits (multiplications of splitmix64); equal only by a rare accident, which costs a report for the
/// rest of the epoch.
#[inline(always)]
fn tag(packet: &Packet, facts: &Facts, epoch: u32) -> u32 {
    let mut hash =
        packet.device.0 ^ (u64::from(facts.slot) << 40) ^ (packet.service as u64) ^ facts.reason.map_or(0, |reason| reason as u64 + 1);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= packet.destination.high ^ packet.destination.low.rotate_left(32) ^ u64::from(epoch);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)) as u32
}

/// Marks a report that no rule caused.
pub const NONE: u32 = NO_SLOT;
