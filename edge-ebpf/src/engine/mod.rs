//! The decision: what becomes of a frame, and why. Maps, counters and reports are the caller's, behind two traits; the kernel program
//! implements them over BPF maps, the agent over vectors.

mod rows;
mod uninspectable;

use crate::{
    abi::{FragmentKey, FragmentVerdict, MAX_WORDS, NameRules, OnUninspectable, Reason, RuleEntry, Verdict},
    bits::lowest_number,
    inspect::Showing,
    packet::{Address, Family, Fragment, Mac, Packet, access::Frame},
};
pub use rows::{Rows, word_offset};
pub use uninspectable::could_match;
use uninspectable::{obstructed, uninspectable};

/// One generation's tables. A class is the number of its row in the pool, see [`crate::abi::POOL`]. A trie's `None` where the compiler put
/// an entry is a defect, and ends the decision.
pub trait Tables {
    /// Class of a device.
    fn mac_class(&self, mac: Mac) -> Option<u32>;
    /// Where the row of a device is.
    fn device(&self, mac: Mac) -> Option<u32> {
        Some(self.row(self.mac_class(mac)?))
    }
    /// Class of a remote.
    fn v4_class(&self, address: u32) -> Option<u32>;
    /// Class of a remote, whose address is a high and a low half.
    fn v6_class(&self, address: [u64; 2]) -> Option<u32>;
    /// Service class of an index of [`crate::abi::service`].
    fn service(&self, index: usize) -> u32;
    /// A word of the pool of rows.
    fn pool(&self, place: u32) -> u64;
    /// A word of a device's row, which lies elsewhere where it was computed from the device's signals: such places are beyond [`crate::abi::POOL`].
    fn device_pool(&self, place: u32) -> u64 {
        self.pool(place)
    }
    /// Where the row of a class begins in it.
    fn row(&self, class: u32) -> u32;
    fn rule(&self, rule: u32) -> RuleEntry;
    /// Words of a row in use.
    fn words(&self) -> usize;
    /// Whether any bit of [`Self::monitored`] is set.
    fn has_monitored(&self) -> bool;
    /// Whether rules hold at some times only.
    fn has_schedules(&self) -> bool;
    /// Class of the rules that hold in this minute of the Unix epoch.
    fn active(&self, minute: u64) -> Option<u32>;
    /// Whether any rule is about what comes in on outside interfaces.
    fn has_inbound(&self) -> bool;
    /// Class of the rules for what comes in on outside interfaces, whichever device it goes to.
    fn inbound(&self) -> u32;
    /// Class of the rules that no policy overrides, among those.
    fn pinhole(&self) -> u32;
    /// Word of the rules that only monitor.
    fn monitored(&self, word: usize) -> u64;
    /// Word of the rules that keep a packet from passing.
    fn restricting(&self, word: usize) -> u64;
    /// Whether any rule is about names, or about signatures.
    fn has_names(&self) -> bool;
    /// Whether devices are known by more than their MACs, so that packets are looked into for that.
    fn has_identity(&self) -> bool;
    /// Word of the rules that are about names.
    fn named(&self, word: usize) -> u64;
    /// Classes of the rules of a name, by its number. `None`: there is no such number.
    fn name_rules(&self, number: u32) -> Option<&NameRules>;
    /// How many signatures there are, at most [`crate::abi::MAX_SIGNATURES`].
    fn signatures(&self) -> u32;
    /// Class of the rules that ask for a signature.
    fn signature_class(&self, index: u32) -> u32;
    /// Class of no rule.
    fn nothing(&self) -> u32;
    /// Whether a rule is only counted where it matches by nothing but a learned address.
    fn has_learned_monitored(&self) -> bool;
    fn on_uninspectable(&self, reason: Reason) -> OnUninspectable;
}

/// What a packet shows beside its headers.
pub trait Shows {
    /// The words at `offset` of its rows. Asked only where [`Showing::shows`].
    fn shown(&self, tables: &impl Tables, offset: u32) -> ShownWords;
}

/// What the engine remembers and tells while it decides.
pub trait Observer: Shows {
    fn first_fragment(&self, key: &FragmentKey) -> Option<FragmentVerdict>;
    fn remember_fragment(&mut self, key: &FragmentKey, verdict: FragmentVerdict);
    /// The packet matched these rules that then are only counted: bit `b` of `bits` is rule `64 * word + b`. Those of `by_learned` are so
    /// because nothing but a learned address matched.
    fn monitored(&mut self, frame: &Frame<'_>, packet: &Packet, word: usize, bits: u64, by_learned: u64);
    /// Minutes since the Unix epoch.
    fn minute(&mut self) -> u64;
    /// What the packet shows beside its headers, for the device whose row is at `device`. Asked only where a rule is about names.
    fn showing(&mut self, frame: &Frame<'_>, packet: &Packet, device: u32) -> Showing;
    /// As [`could_match`].
    fn could_match(&mut self, rows: Rows, first: u32, any_service: bool, tables: &impl Tables) -> bool;
    /// Whether the packet is within the rule's rate; then it has been paid for.
    fn within_rate(&mut self, packet: &Packet, side: Side, rule: &RuleEntry) -> bool;
}

/// Rules that match by what a packet shows beside its headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShownWords {
    /// By its remote: a name that it carries, or that its address was learned for.
    pub remote: u64,
    /// By its remote, for rules that then are only counted.
    pub monitored: u64,
    /// By its service: a signature.
    pub service: u64,
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
        rule: RuleEntry {
            slot: NO_SLOT,
            exceeded_slot: NO_SLOT,
            verdict: 0,
            report: 0,
            limited: 0,
            reserved: 0,
            rule: 0,
            learned_slot: NO_SLOT,
            reserved_too: 0,
        },
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
    let service = tables.row(tables.service(packet.service));
    if matches!(side, Side::Outside)
        && let Some(rule) = in_pinhole(packet, service, tables)?
    {
        return Some(Decision::by_rule(Verdict::Pass, rule));
    }
    let device = device_row(side, packet, tables)?;
    let looks_inside = tables.has_names() || tables.has_identity();
    let showing = if looks_inside { observer.showing(frame, packet, device) } else { Showing::NONE };
    if showing.is_deferred() {
        return None;
    }
    let remote = remote_row(packet.family, remote(side, frame, packet), tables)?;
    let rows = Rows { device, remote, service, active: active(tables, observer)?, shows: showing.shows() };
    let mut decision = Decision::NO_RULE;
    let first = rows::first_rule(rows, frame, packet, tables, observer);
    if let Some(first) = first {
        let mut rule = tables.rule(first);
        let mut verdict = Verdict::from_u8(rule.verdict);
        if rule.limited != 0 && !observer.within_rate(packet, side, &rule) {
            verdict = Verdict::Drop;
            rule.slot = rule.exceeded_slot;
        }
        decision = Decision::by_rule(verdict, rule);
    }
    if tables.has_names() && matches!(decision.verdict, Verdict::Pass) {
        decision = obstructed(decision, showing, rows, first, tables, observer);
    }
    if matches!(packet.fragment, Fragment::First) {
        let verdict = FragmentVerdict { slot: decision.rule.slot, verdict: decision.verdict as u8, reserved: [0; 3] };
        observer.remember_fragment(&fragment_key(frame, packet), verdict);
    }
    Some(decision)
}

/// Where the row of a remote is.
#[inline(always)]
fn remote_row(family: Family, Address { high, low }: Address, tables: &impl Tables) -> Option<u32> {
    let class = if matches!(family, Family::V4) { tables.v4_class((high >> 32) as u32) } else { tables.v6_class([high, low]) };
    Some(tables.row(class?))
}

/// Where the row is of the rules that a device satisfies, or of those for whichever device there is behind an outside interface.
#[inline(always)]
fn device_row(side: Side, packet: &Packet, tables: &impl Tables) -> Option<u32> {
    match side {
        Side::Inside => tables.device(packet.device),
        Side::Outside => Some(tables.row(tables.inbound())),
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
fn in_pinhole(packet: &Packet, service: u32, tables: &impl Tables) -> Option<Option<RuleEntry>> {
    let destination = remote_row(packet.family, packet.destination, tables)?;
    let rows = Rows { device: tables.row(tables.pinhole()), remote: destination, service, active: None, shows: false };
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        let hits = rows.plain_word(tables, word);
        if hits != 0 {
            return Some(Some(tables.rule(word as u32 * 64 + lowest_number(hits))));
        }
    }
    Some(None)
}

/// Where the row is of the rules that hold now; `None` within: all do.
#[inline(always)]
fn active(tables: &impl Tables, observer: &mut impl Observer) -> Option<Option<u32>> {
    if tables.has_schedules() { Some(Some(tables.row(tables.active(observer.minute())?))) } else { Some(None) }
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
