//! Entry points.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use aya_log_ebpf::error;
use edge_ebpf::{
    abi::{FragmentKey, FragmentVerdict, RuleEntry, Verdict},
    engine::{self, Cause, NO_SLOT, Observer, Side},
    packet::{Mac, Packet, access::Frame},
    reject::{self, Buffer},
};

use super::{
    buckets, clock, constants, count,
    frame::Context,
    maps,
    report::{self, Arrival},
    tables::Tables,
};

/// Frames from devices.
#[xdp(frags)]
pub fn edge_inside(context: XdpContext) -> u32 {
    filter(context, Side::Inside)
}

/// Frames from the upstream.
#[xdp(frags)]
pub fn edge_outside(context: XdpContext) -> u32 {
    if !constants::has_inbound() {
        let context = Context::new(context);
        count::interface(constants::interface_slot(context.interface()), Verdict::Pass, context.length() as u64);
        return xdp_action::XDP_PASS;
    }
    filter(context, Side::Outside)
}

#[inline(always)]
fn filter(context: XdpContext, side: Side) -> u32 {
    let mut context = Context::new(context);
    let length = context.length() as u32;
    let interface = context.interface();
    let frame = context.frame();
    let packet = Packet::parse(&frame);
    let arrival = Arrival { interface, length };
    let mut observer = Kernel { arrival };
    let Some(decision) = engine::decide(side, &frame, &packet, &Tables, &mut observer) else {
        error!(context.log(), "generation {}: a class without its row; frame dropped", constants::generation());
        return xdp_action::XDP_ABORTED;
    };
    let bytes = u64::from(length);
    count::interface(constants::interface_slot(interface), decision.verdict, bytes);
    match decision.cause {
        Cause::NoRule => {}
        Cause::Rule(rule) => {
            count::rule(rule.slot, bytes);
            if rule.report != 0 {
                report::decided(&frame, &packet, arrival, rule.slot, decision.verdict);
            }
        }
        Cause::FirstFragment(first) => {
            if first.slot != NO_SLOT {
                count::rule(first.slot, bytes);
            }
        }
        Cause::Uninspectable(reason) => {
            count::uninspectable(reason, decision.verdict, bytes);
            report::uninspectable(&frame, &packet, arrival, reason, decision.verdict);
        }
    }
    match decision.verdict {
        Verdict::Pass => xdp_action::XDP_PASS,
        Verdict::Drop => xdp_action::XDP_DROP,
        Verdict::Reject => {
            if reject::reply(&mut context, &packet) {
                xdp_action::XDP_TX
            } else {
                xdp_action::XDP_DROP
            }
        }
    }
}

struct Kernel {
    arrival: Arrival,
}

impl Observer for Kernel {
    #[inline(always)]
    fn first_fragment(&self, key: &FragmentKey) -> Option<FragmentVerdict> {
        // SAFETY: the value is read at once; a concurrent write can only be of another datagram with the same key, which shares its fate.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&mut self, key: &FragmentKey, verdict: FragmentVerdict) {
        // A full table evicts the oldest. Where even that fails, later fragments are uninspectable, which is counted.
        let _ = maps::FRAGMENTS.insert(key, verdict, 0);
    }

    #[inline(always)]
    fn monitored(&mut self, frame: &Frame<'_>, packet: &Packet, word: usize, bits: u64) {
        report::monitored(frame, packet, self.arrival, word, bits);
    }

    #[inline(always)]
    fn minute(&mut self) -> u64 {
        clock::minute()
    }

    #[inline(always)]
    fn within_rate(&mut self, packet: &Packet, side: Side, rule: &RuleEntry) -> bool {
        if !constants::has_rates() {
            return true;
        }
        let device = if matches!(side, Side::Inside) { packet.device } else { Mac(0) };
        buckets::within_rate(device, rule, self.arrival.length)
    }
}
