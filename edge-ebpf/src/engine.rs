//! The decision: what becomes of a frame, and why. Maps, counters and reports are the caller's, behind two traits; the kernel program
//! implements them over BPF maps, the agent over vectors.

use crate::{
    abi::{FragmentKey, FragmentVerdict, MAX_WORDS, OnUninspectable, Reason, Row, RuleEntry, Verdict},
    packet::{
        Address, Family, Fragment, Mac, Packet,
        access::{Frame, forget},
    },
    trie::{self, Storage},
};

/// One generation's tables. A `None` where the compiler put an entry is a defect, and ends the decision.
pub trait Tables {
    fn mac(&self) -> &impl Storage;
    fn v4(&self) -> &impl Storage;
    fn v6(&self) -> &impl Storage;
    /// Service class of an index of [`crate::abi::service`].
    fn service(&self, index: usize) -> u32;
    fn device_row(&self, class: u32) -> Option<&Row>;
    fn remote_row(&self, class: u32) -> Option<&Row>;
    fn service_row(&self, class: u32) -> Option<&Row>;
    fn rule(&self, rule: u32) -> Option<RuleEntry>;
    /// Words of a row in use.
    fn words(&self) -> usize;
    /// Whether any bit of [`Self::monitored`] is set.
    fn has_monitored(&self) -> bool;
    /// Whether rules hold at some times only.
    fn has_schedules(&self) -> bool;
    /// The rules that hold in this minute of the Unix epoch.
    fn active_row(&self, minute: u64) -> Option<&Row>;
    /// Whether any rule is about what comes in on outside interfaces.
    fn has_inbound(&self) -> bool;
    /// Word of the rules for what comes in on outside interfaces, whichever device it goes to.
    fn inbound(&self, word: usize) -> u64;
    /// Word of the rules that no policy overrides, among those.
    fn pinhole(&self, word: usize) -> u64;
    /// Word of the rules that only monitor.
    fn monitored(&self, word: usize) -> u64;
    /// Word of the rules that keep a packet from passing.
    fn restricting(&self, word: usize) -> u64;
    fn on_uninspectable(&self, reason: Reason) -> OnUninspectable;
}

/// What the engine remembers and tells while it decides.
pub trait Observer {
    fn first_fragment(&self, key: &FragmentKey) -> Option<FragmentVerdict>;
    fn remember_fragment(&mut self, key: &FragmentKey, verdict: FragmentVerdict);
    /// The packet matched these monitored rules: bit `b` of `bits` is rule `64 * word + b`.
    fn monitored(&mut self, frame: &Frame<'_>, packet: &Packet, word: usize, bits: u64);
    /// Minutes since the Unix epoch.
    fn minute(&mut self) -> u64;
    /// Whether the packet is within the rule's rate; then it has been paid for.
    fn within_rate(&mut self, packet: &Packet, side: Side, rule: &RuleEntry) -> bool;
}

/// Where a frame came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// From a device: its MAC is the source, the remote is the destination.
    Inside,
    /// From the upstream: the remote is the source, and the device is not known.
    Outside,
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// No rule wants anything of it.
    NoRule,
    /// A rule decided, see [`Decision::rule`].
    Rule,
    /// A later fragment, which shares its first one's fate; [`Decision::rule`] has only the slot, or [`NO_SLOT`].
    FirstFragment,
    /// See [`Decision::reason`].
    Uninspectable,
}

/// Flat, with a value in each field whatever the cause: a payload that exists in some variants only is a register that the kernel's
/// verifier finds unset on the other ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    pub cause: Cause,
    pub rule: RuleEntry,
    pub reason: Reason,
}

impl Decision {
    const NO_RULE: Self = Self {
        verdict: Verdict::Pass,
        cause: Cause::NoRule,
        rule: RuleEntry { slot: NO_SLOT, exceeded_slot: NO_SLOT, verdict: 0, report: 0, limited: 0, reserved: 0, rule: 0 },
        reason: Reason::Truncated,
    };

    #[inline(always)]
    const fn by_rule(verdict: Verdict, rule: RuleEntry) -> Self {
        Self { verdict, cause: Cause::Rule, rule, ..Self::NO_RULE }
    }

    #[inline(always)]
    const fn as_first_fragment(first: FragmentVerdict) -> Self {
        let rule = RuleEntry { slot: first.slot, ..Self::NO_RULE.rule };
        Self { verdict: Verdict::from_u8(first.verdict), cause: Cause::FirstFragment, rule, ..Self::NO_RULE }
    }

    #[inline(always)]
    const fn uninspectable(verdict: Verdict, reason: Reason) -> Self {
        Self { verdict, cause: Cause::Uninspectable, reason, ..Self::NO_RULE }
    }
}

/// Marks a fragment whose first one no rule decided.
pub const NO_SLOT: u32 = u32::MAX;

/// Decides about `packet`, read from `frame`, which came in on `side`. `None`: a table lacks an entry that it must have.
#[inline(always)]
pub fn decide(side: Side, frame: &Frame<'_>, packet: &Packet, tables: &impl Tables, observer: &mut impl Observer) -> Option<Decision> {
    if let Some(reason) = packet.fault {
        return uninspectable(side, frame, packet, reason, tables, observer);
    }
    if matches!(packet.family, Family::None) {
        return Some(Decision::NO_RULE);
    }
    if matches!(packet.fragment, Fragment::Later) {
        return match observer.first_fragment(&fragment_key(frame, packet)) {
            Some(first) => Some(Decision::as_first_fragment(first)),
            None => uninspectable(side, frame, packet, Reason::FragmentWithoutFirst, tables, observer),
        };
    }
    let service = tables.service_row(tables.service(packet.service))?;
    let mut decision = Decision::NO_RULE;
    if matches!(side, Side::Outside)
        && let Some(rule) = in_pinhole(packet, service, tables)?
    {
        return Some(Decision::by_rule(Verdict::Pass, rule));
    }
    let device = rows_of_device(side, packet, tables)?;
    let remote = tables.remote_row(remote_class(packet.family, remote(side, frame, packet), tables)?)?;
    let active = active(tables, observer)?;
    let mut first = None;
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        let hits = device.word(tables, word) & remote[word] & service[word] & active.map_or(u64::MAX, |active| active[word]);
        let monitored = if tables.has_monitored() { hits & tables.monitored(word) } else { 0 };
        let deciding = hits & !monitored;
        if monitored != 0 {
            let before = if deciding == 0 { monitored } else { monitored & (lowest(deciding) - 1) };
            if before != 0 {
                observer.monitored(frame, packet, word, before);
            }
        }
        if deciding != 0 {
            // What follows is the same whichever word it was found in: the verifier need not follow it for each.
            first = Some(forget(word * 64 + deciding.trailing_zeros() as usize, deciding));
            break;
        }
    }
    if let Some(first) = first {
        let mut rule = tables.rule(first as u32)?;
        let mut verdict = Verdict::from_u8(rule.verdict);
        if rule.limited != 0 && !observer.within_rate(packet, side, &rule) {
            verdict = Verdict::Drop;
            rule.slot = rule.exceeded_slot;
        }
        decision = Decision::by_rule(verdict, rule);
    }
    if matches!(packet.fragment, Fragment::First) {
        let verdict = FragmentVerdict { slot: decision.rule.slot, verdict: decision.verdict as u8, reserved: [0; 3] };
        observer.remember_fragment(&fragment_key(frame, packet), verdict);
    }
    Some(decision)
}

/// The lowest set bit, alone.
#[inline(always)]
const fn lowest(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

#[inline(always)]
pub fn device_class(device: Mac, tables: &impl Tables) -> Option<u32> {
    trie::lookup::<6>(tables.mac(), [device.0 << 16, 0])
}

#[inline(always)]
pub fn remote_class(family: Family, remote: Address, tables: &impl Tables) -> Option<u32> {
    if matches!(family, Family::V4) {
        trie::lookup_v4(tables.v4(), (remote.high >> 32) as u32)
    } else {
        trie::lookup::<16>(tables.v6(), [remote.high, remote.low])
    }
}

/// The rules that a device satisfies, or those for whichever device there is behind an outside interface.
#[derive(Clone, Copy)]
enum DeviceRows<'a> {
    Known(&'a Row),
    Inbound,
}

impl DeviceRows<'_> {
    #[inline(always)]
    fn word(self, tables: &impl Tables, word: usize) -> u64 {
        match self {
            Self::Known(row) => row[word],
            Self::Inbound => tables.inbound(word),
        }
    }
}

#[inline(always)]
fn rows_of_device<'a>(side: Side, packet: &Packet, tables: &'a impl Tables) -> Option<DeviceRows<'a>> {
    match side {
        Side::Inside => Some(DeviceRows::Known(tables.device_row(device_class(packet.device, tables)?)?)),
        Side::Outside => Some(DeviceRows::Inbound),
    }
}

#[inline(always)]
fn remote(side: Side, frame: &Frame<'_>, packet: &Packet) -> Address {
    match side {
        Side::Inside => packet.destination,
        Side::Outside => packet.source(frame),
    }
}

/// The rule of the management pinhole that lets this packet from the outside in: those rules are about where a packet goes, on both sides.
#[inline(always)]
fn in_pinhole(packet: &Packet, service: &Row, tables: &impl Tables) -> Option<Option<RuleEntry>> {
    let destination = tables.remote_row(remote_class(packet.family, packet.destination, tables)?)?;
    for (word, wanted) in service.iter().enumerate().take(tables.words()) {
        let hits = wanted & destination[word] & tables.pinhole(word);
        if hits != 0 {
            return Some(Some(tables.rule(word as u32 * 64 + hits.trailing_zeros())?));
        }
    }
    Some(None)
}

/// The rules that hold now; `None` within: all do.
#[inline(always)]
fn active<'a>(tables: &'a impl Tables, observer: &mut impl Observer) -> Option<Option<&'a Row>> {
    if tables.has_schedules() { Some(Some(tables.active_row(observer.minute())?)) } else { Some(None) }
}

/// The configured verdict, which may depend on whether a restricting rule could have matched what is known.
#[inline(always)]
fn uninspectable(
    side: Side,
    frame: &Frame<'_>,
    packet: &Packet,
    reason: Reason,
    tables: &impl Tables,
    observer: &mut impl Observer,
) -> Option<Decision> {
    let verdict = match tables.on_uninspectable(reason) {
        OnUninspectable::Pass => Verdict::Pass,
        OnUninspectable::Drop => Verdict::Drop,
        OnUninspectable::DropIfRuleCouldMatch => {
            let device = rows_of_device(side, packet, tables)?;
            let active = active(tables, observer)?;
            let could = |word: usize| device.word(tables, word) & tables.restricting(word) & active.map_or(u64::MAX, |active| active[word]);
            // A source route's destination is not where the packet ends, so it says nothing.
            let next_stop_only = matches!(reason, Reason::SourceRoute) && matches!(side, Side::Inside);
            let remote_known = !matches!(packet.family, Family::None) && !next_stop_only;
            let mut could_match = 0;
            for word in 0..MAX_WORDS {
                if word >= tables.words() {
                    break;
                }
                could_match |= could(word);
            }
            if could_match != 0 && remote_known {
                let remote = tables.remote_row(remote_class(packet.family, remote(side, frame, packet), tables)?)?;
                could_match = 0;
                for (word, known) in remote.iter().enumerate().take(tables.words()) {
                    could_match |= known & could(word);
                }
            }
            if could_match == 0 { Verdict::Pass } else { Verdict::Drop }
        }
    };
    Some(Decision::uninspectable(verdict, reason))
}

#[inline(always)]
fn fragment_key(frame: &Frame<'_>, packet: &Packet) -> FragmentKey {
    let v4 = matches!(packet.family, Family::V4);
    let source = packet.source(frame);
    FragmentKey {
        source: [source.high, source.low],
        destination: [packet.destination.high, packet.destination.low],
        id: packet.id,
        family: if v4 { 4 } else { 6 },
        // IPv6 has no protocol in a later fragment that all senders agree on, and its identification is unique without it.
        protocol: if v4 { u16::from(packet.protocol) } else { 0 },
    }
}
