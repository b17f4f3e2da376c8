//! Entry points.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::{map, xdp},
    maps::PerCpuArray,
    programs::XdpContext,
};
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

/// What the headers said, on its way from an entry point to the decision.
#[map]
static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);

/// Frames from devices.
#[xdp(frags)]
pub fn edge_inside(context: XdpContext) -> u32 {
    match edge_decide_plain(context.ctx) {
        NOT_PLAIN => inside::<SCATTERED>(context, edge_decide_inside),
        action => action,
    }
}

/// Frames from the upstream.
#[xdp(frags)]
pub fn edge_outside(context: XdpContext) -> u32 {
    outside::<SCATTERED>(context, edge_decide_outside)
}

/// As [`edge_inside`], for kernels before 5.18: without frames of several buffers, and without rates.
#[xdp]
pub fn edge_in_linear(context: XdpContext) -> u32 {
    inside::<LINEAR>(context, edge_decide_in_linear)
}

/// As [`edge_outside`], see [`edge_in_linear`].
#[xdp]
pub fn edge_out_linear(context: XdpContext) -> u32 {
    outside::<LINEAR>(context, edge_decide_out_linear)
}

/// What `LINEAR` is for frames that may lie in several buffers.
const SCATTERED: bool = false;
const LINEAR: bool = true;

type Decide = extern "C" fn(*mut xdp_md) -> u32;

/// A function that the verifier checks by itself, once: inlined, it would be followed anew for every way through the headers, and the two
/// together are beyond its limit.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_decide_inside(context: *mut xdp_md) -> u32 {
    decide::<SCATTERED>(context, Side::Inside)
}

/// As [`edge_decide_inside`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_decide_outside(context: *mut xdp_md) -> u32 {
    decide::<SCATTERED>(context, Side::Outside)
}

/// As [`edge_decide_inside`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_decide_in_linear(context: *mut xdp_md) -> u32 {
    decide::<LINEAR>(context, Side::Inside)
}

/// As [`edge_decide_inside`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_decide_out_linear(context: *mut xdp_md) -> u32 {
    decide::<LINEAR>(context, Side::Outside)
}

/// What becomes of a plain packet, or [`NOT_PLAIN`]. With a decision of its own, which is short because so much of the packet is constant;
/// a function of its own, because the stacks of the other way leave no room for its.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_decide_plain(context: *mut xdp_md) -> u32 {
    let context = Context::<SCATTERED>::new(XdpContext::new(context));
    let Some(packet) = Packet::plain_v4(&context.frame()) else { return NOT_PLAIN };
    match judge(&context, &packet, Side::Inside) {
        Some(Verdict::Pass) => xdp_action::XDP_PASS,
        Some(Verdict::Drop) => xdp_action::XDP_DROP,
        Some(Verdict::Reject) => edge_answer_plain(context.raw()),
        None => xdp_action::XDP_ABORTED,
    }
}

/// No XDP action.
const NOT_PLAIN: u32 = u32::MAX;

/// Answers a rejected plain packet: rare, long, and so by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answer_plain(context: *mut xdp_md) -> u32 {
    let mut context = Context::<SCATTERED>::new(XdpContext::new(context));
    match Packet::plain_v4(&context.frame()) {
        Some(packet) => answer(&mut context, &packet),
        None => xdp_action::XDP_DROP,
    }
}

#[inline(always)]
fn inside<const LINEAR: bool>(context: XdpContext, decide: Decide) -> u32 {
    let context = Context::<LINEAR>::new(context);
    if parse(&context) { decide(context.raw()) } else { xdp_action::XDP_ABORTED }
}

#[inline(always)]
fn outside<const LINEAR: bool>(context: XdpContext, decide: Decide) -> u32 {
    let context = Context::<LINEAR>::new(context);
    if !constants::has_inbound() {
        count::interface(constants::interface_slot(context.interface()), Verdict::Pass, context.length() as u64);
        return xdp_action::XDP_PASS;
    }
    if parse(&context) { decide(context.raw()) } else { xdp_action::XDP_ABORTED }
}

/// Leaves the packet in [`PACKET`]. False: there is no such place, which the kernel rules out.
#[inline(always)]
fn parse<const LINEAR: bool>(context: &Context<LINEAR>) -> bool {
    let Some(packet) = PACKET.get_ptr_mut(0) else { return false };
    // SAFETY: a live map value of this CPU, see `count`.
    unsafe { packet.write(Packet::parse(&context.frame())) };
    true
}

#[inline(always)]
fn decide<const LINEAR: bool>(context: *mut xdp_md, side: Side) -> u32 {
    let mut context = Context::<LINEAR>::new(XdpContext::new(context));
    let Some(packet) = PACKET.get_ptr(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a live map value of this CPU, written by `parse` for this very frame.
    let packet = unsafe { &*packet };
    match judge(&context, packet, side) {
        Some(Verdict::Pass) => xdp_action::XDP_PASS,
        Some(Verdict::Drop) => xdp_action::XDP_DROP,
        Some(Verdict::Reject) => answer(&mut context, packet),
        None => xdp_action::XDP_ABORTED,
    }
}

#[inline(always)]
fn answer<const LINEAR: bool>(context: &mut Context<LINEAR>, packet: &Packet) -> u32 {
    if reject::reply(context, packet) { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}

/// Decides, counts and reports. `None`: a table lacks an entry that it must have.
#[inline(always)]
fn judge<const LINEAR: bool>(context: &Context<LINEAR>, packet: &Packet, side: Side) -> Option<Verdict> {
    let length = context.length() as u32;
    let interface = context.interface();
    let frame = context.frame();
    let arrival = Arrival { interface, length };
    let mut observer = Kernel::<LINEAR> { arrival };
    let Some(decision) = engine::decide(side, &frame, packet, &Tables, &mut observer) else {
        error!(context.log(), "generation {}: a class without its row; frame dropped", constants::generation());
        return None;
    };
    let bytes = u64::from(length);
    count::interface(constants::interface_slot(interface), decision.verdict, bytes);
    match decision.cause {
        Cause::NoRule => {}
        Cause::Rule => {
            count::rule(decision.rule.slot, bytes);
            if decision.rule.report != 0 {
                report::decided(&frame, packet, arrival, decision.rule.slot, decision.verdict);
            }
        }
        Cause::FirstFragment => {
            if decision.rule.slot != NO_SLOT {
                count::rule(decision.rule.slot, bytes);
            }
        }
        Cause::Uninspectable => {
            count::uninspectable(decision.reason, decision.verdict, bytes);
            report::uninspectable(&frame, packet, arrival, decision.reason, decision.verdict);
        }
    }
    Some(decision.verdict)
}

struct Kernel<const LINEAR: bool> {
    arrival: Arrival,
}

impl<const LINEAR: bool> Observer for Kernel<LINEAR> {
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
        // Where the agent refuses rates, their code must not even be there: before 5.12 kernels do not know its instructions.
        if LINEAR || !constants::has_rates() {
            return true;
        }
        let device = if matches!(side, Side::Inside) { packet.device } else { Mac(0) };
        buckets::within_rate(device, rule, self.arrival.length)
    }
}
