//! Entry points.
//!
//! A plain packet is read and decided in one function, since each further call and what it saves and brings back would cost as much as the
//! decision. Any other packet is read in one function, looked into in others, and decided in one more, and what is rare (answers, reports) is in
//! others: the verifier checks each once, and not for each way that leads to it.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::error;
use edge_ebpf::{
    abi::Verdict,
    engine::{self, Cause, NO_SLOT, Side},
    packet::Packet,
    reject::{self, Buffer},
};

use super::{
    constants, copies, count, facts,
    frame::Context,
    in_hand, inspect,
    observer::Kernel,
    report::{self, Arrival},
    tables::Tables,
};

/// Frames from devices.
#[xdp(frags)]
pub fn edge_inside(context: XdpContext) -> u32 {
    // Not plain, or it has to be looked into; or it failed, and will again, where that is logged.
    let action = edge_plain(context.ctx);
    let action = if action >= FAILED && action != REJECTED { edge_any_inside(context.ctx, u32::from(action == DEFERRED)) } else { action };
    if action == REJECTED { edge_answer(context.ctx) } else { action }
}

/// Decides about a plain packet from a device, whose headers need nothing but one look. A function of its own, since what it has on the stack
/// is not there any more while other packets are looked into.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_plain(context: *mut xdp_md) -> u32 {
    let context = Context::<SCATTERED>::new(XdpContext::new(context));
    if let Some(packet) = Packet::plain_v4(&context.frame()) {
        plain(&context, &packet, Tables::<INLINE>)
    } else if let Some(packet) = Packet::plain_v6(&context.frame()) {
        plain(&context, &packet, Tables::<CALLS>)
    } else {
        FAILED
    }
}

/// Frames from the upstream.
#[xdp(frags)]
pub fn edge_outside(context: XdpContext) -> u32 {
    let context = Context::<SCATTERED>::new(context);
    let action = outside(&context, edge_any_outside);
    if action == REJECTED { edge_answer(context.raw()) } else { action }
}

/// As [`edge_inside`], for kernels before 5.18: without frames of several buffers, and without rates.
#[xdp]
pub fn edge_in_linear(context: XdpContext) -> u32 {
    any(context.ctx, edge_decide_in_linear)
}

/// As [`edge_outside`], see [`edge_in_linear`].
#[xdp]
pub fn edge_out_linear(context: XdpContext) -> u32 {
    outside(&Context::<LINEAR>::new(context), edge_any_out_linear)
}

/// What `LINEAR` is for frames that may lie in several buffers.
const SCATTERED: bool = false;
const LINEAR: bool = true;

/// How tables are looked up: in place, or by functions of their own.
const INLINE: bool = true;
const CALLS: bool = false;
/// The packet in hand is what they are looked up for.
const IN_HAND: bool = true;

type Decide = extern "C" fn(*mut xdp_md) -> u32;

/// No XDP actions: an answer is due; the packet is in hand, and to be looked into; it is not plain, or a table lacks an entry that it must have.
const REJECTED: u32 = u32::MAX;
const DEFERRED: u32 = u32::MAX - 1;
const FAILED: u32 = u32::MAX - 2;

/// Reads any packet and puts it in hand. 0: there is no such place, which the kernel rules out.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_parse(context: *mut xdp_md) -> u32 {
    let context = Context::<SCATTERED>::new(XdpContext::new(context));
    u32::from(in_hand::put(&Packet::parse(&context.frame())))
}

/// Decides about the packet in hand.
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

/// Answers the rejected packet in hand.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answer(context: *mut xdp_md) -> u32 {
    let mut context = Context::<SCATTERED>::new(XdpContext::new(context));
    let Some(packet) = in_hand::get() else { return xdp_action::XDP_DROP };
    answer(&mut context, packet)
}

#[inline(always)]
fn plain(context: &Context<SCATTERED>, packet: &Packet, tables: impl engine::Tables) -> u32 {
    // The whole of a plain packet is in the frame's first buffer.
    let arrival = Arrival { context: context.raw(), length: context.linear_length() };
    let mut observer = Kernel { arrival, is_deferred: false };
    match judge::<SCATTERED, true>(context, packet, Side::Inside, tables, &mut observer) {
        Some(Verdict::Pass) => xdp_action::XDP_PASS,
        Some(Verdict::Drop) => xdp_action::XDP_DROP,
        Some(Verdict::Reject) if in_hand::edge_plain_in_hand(context.raw()) != 0 => REJECTED,
        Some(Verdict::Reject) => xdp_action::XDP_DROP,
        None if observer.is_deferred => DEFERRED,
        None => FAILED,
    }
}

#[inline(always)]
fn outside<const LINEAR: bool>(context: &Context<LINEAR>, decide: Decide) -> u32 {
    if !constants::has_inbound() {
        count::interface(constants::interface_slot(context.interface()), Verdict::Pass, context.length() as u64);
        return xdp_action::XDP_PASS;
    }
    decide(context.raw())
}

/// Any frame from a device: reads the packet if it is not in hand, looks into it where a rule is about names, and has it decided about.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_any_inside(context: *mut xdp_md, is_in_hand: u32) -> u32 {
    whole(context, Side::Inside, is_in_hand != 0, edge_decide_inside)
}

/// As [`edge_any_inside`], from the upstream.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_any_outside(context: *mut xdp_md) -> u32 {
    whole(context, Side::Outside, false, edge_decide_outside)
}

/// As [`edge_any_outside`], for kernels before 5.18.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_any_out_linear(context: *mut xdp_md) -> u32 {
    any(context, edge_decide_out_linear)
}

#[inline(always)]
fn whole(context: *mut xdp_md, side: Side, is_in_hand: bool, decide: Decide) -> u32 {
    if !constants::looks_inside() {
        return any(context, decide);
    }
    if !is_in_hand && edge_parse(context) == 0 {
        return xdp_action::XDP_ABORTED;
    }
    if constants::identifies() && matches!(side, Side::Inside) {
        facts::edge_identify(context);
    }
    inspect::look_into(context, side);
    let action = decide(context);
    if matches!(side, Side::Inside) {
        if inspect::settles() {
            inspect::edge_settle(context, u32::from(action == xdp_action::XDP_PASS));
        }
        if action == xdp_action::XDP_DROP && copies::is_wanted() {
            copies::edge_copy_initial(context);
        }
    }
    if action == REJECTED && inspect::is_query() { inspect::edge_answer_query(context) } else { action }
}

/// Reads the packet, and has it decided about.
#[inline(always)]
fn any(context: *mut xdp_md, decide: Decide) -> u32 {
    if edge_parse(context) != 0 { decide(context) } else { xdp_action::XDP_ABORTED }
}

#[inline(always)]
fn decide<const LINEAR: bool>(context: *mut xdp_md, side: Side) -> u32 {
    let mut context = Context::<LINEAR>::new(XdpContext::new(context));
    let Some(packet) = in_hand::get() else { return xdp_action::XDP_ABORTED };
    let known = if LINEAR || !constants::looks_inside() { 0 } else { in_hand::found().map_or(0, |found| found.length) };
    let length = if known == 0 { context.length() as u32 } else { known };
    let arrival = Arrival { context: context.raw(), length };
    let mut observer = Kernel { arrival, is_deferred: false };
    // Before 5.18 nothing is looked into.
    let verdict = if LINEAR {
        judge::<LINEAR, false>(&context, packet, side, Tables::<CALLS>, &mut observer)
    } else {
        judge::<LINEAR, false>(&context, packet, side, Tables::<CALLS, IN_HAND>, &mut observer)
    };
    match verdict {
        Some(Verdict::Pass) => xdp_action::XDP_PASS,
        Some(Verdict::Drop) => xdp_action::XDP_DROP,
        // Before 5.18 there is no call for the length of several buffers, which the other answer makes.
        Some(Verdict::Reject) if LINEAR => answer(&mut context, packet),
        Some(Verdict::Reject) => REJECTED,
        None => {
            error!(context.log(), "generation {}: a class without its node; frame dropped", constants::generation());
            xdp_action::XDP_ABORTED
        }
    }
}

#[inline(always)]
fn answer<const LINEAR: bool>(context: &mut Context<LINEAR>, packet: &Packet) -> u32 {
    if reject::reply(context, packet) { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}

/// Decides, counts and reports. `PLAIN`: the packet is not in hand yet. `None`: a table lacks an entry that it must have; nothing was done.
#[inline(always)]
fn judge<const LINEAR: bool, const PLAIN: bool>(
    context: &Context<LINEAR>,
    packet: &Packet,
    side: Side,
    tables: impl engine::Tables,
    observer: &mut Kernel<LINEAR, PLAIN>,
) -> Option<Verdict> {
    let arrival = observer.arrival;
    let decision = engine::decide(side, &context.frame(), packet, &tables, observer)?;
    let bytes = u64::from(arrival.length);
    count::interface(constants::interface_slot(context.interface()), decision.verdict, bytes);
    match decision.cause {
        Cause::NoRule => {}
        Cause::Rule => {
            count::rule(decision.rule.slot, bytes);
            if decision.rule.report != 0 {
                report::decided::<PLAIN>(packet, arrival, &decision.rule, decision.verdict);
            }
        }
        Cause::FirstFragment => {
            if decision.rule.slot != NO_SLOT {
                count::rule(decision.rule.slot, bytes);
            }
        }
        Cause::Uninspectable => {
            count::uninspectable(decision.reason, decision.verdict, bytes);
            if !LINEAR
                && !PLAIN
                && let Some(found) = in_hand::found()
            {
                found.reason = decision.reason as u32 + 1;
            }
            report::uninspectable::<PLAIN>(packet, arrival, decision.reason, decision.verdict);
        }
    }
    Some(decision.verdict)
}
