//! The decision: what becomes of a frame, and why. Maps, counters and reports are the caller's, behind two traits; the kernel program
//! implements them over BPF maps, the agent over vectors.

use crate::{
    abi::{FragmentKey, FragmentVerdict, GROUP, MAX_WORDS, OnUninspectable, Reason, RuleEntry, Verdict},
    bits::{lowest, lowest_number},
    packet::{
        Address, Family, Fragment, Mac, Packet,
        access::{Frame, forget},
    },
};

/// One generation's tables. A class is the number of its row in the pool, see [`crate::abi::POOL`]. A trie's `None` where the compiler put
/// an entry is a defect, and ends the decision.
pub trait Tables {
    /// Class of a device.
    fn mac_class(&self, mac: Mac) -> Option<u32>;
    /// Class of a remote.
    fn v4_class(&self, address: u32) -> Option<u32>;
    /// Class of a remote, whose address is a high and a low half.
    fn v6_class(&self, address: [u64; 2]) -> Option<u32>;
    /// Service class of an index of [`crate::abi::service`].
    fn service(&self, index: usize) -> u32;
    /// A word of the pool of rows.
    fn pool(&self, place: u32) -> u64;
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
    let service = tables.row(tables.service(packet.service));
    if matches!(side, Side::Outside)
        && let Some(rule) = in_pinhole(packet, service, tables)?
    {
        return Some(Decision::by_rule(Verdict::Pass, rule));
    }
    let device = device_row(side, packet, tables)?;
    let remote = remote_row(packet.family, remote(side, frame, packet), tables)?;
    let rows = Rows { device, remote, service, active: active(tables, observer)? };
    let mut decision = Decision::NO_RULE;
    if let Some(first) = first_rule(rows, frame, packet, tables, observer) {
        let mut rule = tables.rule(first);
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

/// The first rule that decides; those before it that only monitor are told to the observer.
#[inline(always)]
fn first_rule(rows: Rows, frame: &Frame<'_>, packet: &Packet, tables: &impl Tables, observer: &mut impl Observer) -> Option<u32> {
    if tables.words() == 1 {
        let deciding = deciding(rows, 0, frame, packet, tables, observer);
        return if deciding == 0 { None } else { Some(lowest_number(deciding)) };
    }
    let mut summary = rows.summary(tables);
    for _ in 0..MAX_WORDS {
        if summary == 0 {
            break;
        }
        let word = (lowest_number(summary) as usize / GROUPS) & (MAX_WORDS - 1);
        // Without this word's groups: those before them are done.
        summary &= !(((1 << GROUPS) - 1) << (word * GROUPS));
        let deciding = deciding(rows, word, frame, packet, tables, observer);
        if deciding != 0 {
            // What follows is the same whichever word it was found in: the verifier need not follow it for each.
            return Some(forget(word * 64 + lowest_number(deciding) as usize, deciding) as u32);
        }
    }
    None
}

/// The rules of a word that match and decide.
#[inline(always)]
fn deciding(rows: Rows, word: usize, frame: &Frame<'_>, packet: &Packet, tables: &impl Tables, observer: &mut impl Observer) -> u64 {
    let hits = rows.word(tables, word);
    let monitored = if tables.has_monitored() { hits & tables.monitored(word) } else { 0 };
    let deciding = hits & !monitored;
    if monitored != 0 {
        let before = if deciding == 0 { monitored } else { monitored & (lowest(deciding) - 1) };
        if before != 0 {
            observer.monitored(frame, packet, word, before);
        }
    }
    deciding
}

/// Where the rows are whose AND is what a packet satisfies.
#[derive(Clone, Copy)]
struct Rows {
    device: u32,
    remote: u32,
    service: u32,
    /// The rules that hold now; `None`: all do.
    active: Option<u32>,
}

impl Rows {
    /// In which words the AND may have a bit, where more than one is in use.
    #[inline(always)]
    fn summary(self, tables: &impl Tables) -> u64 {
        self.all(tables, 0)
    }

    #[inline(always)]
    fn word(self, tables: &impl Tables, word: usize) -> u64 {
        self.all(tables, word_offset(tables, word))
    }

    #[inline(always)]
    fn all(self, tables: &impl Tables, offset: u32) -> u64 {
        let Self { device, remote, service, active } = self;
        let all = tables.pool(device + offset) & tables.pool(remote + offset) & tables.pool(service + offset);
        match active {
            Some(active) => all & tables.pool(active + offset),
            None => all,
        }
    }
}

/// Groups of rules in a word that the summary tells apart.
const GROUPS: usize = 64 / GROUP;

/// Where a row has this word.
#[inline(always)]
fn word_offset(tables: &impl Tables, word: usize) -> u32 {
    if tables.words() == 1 { 0 } else { word as u32 + 1 }
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
        Side::Inside => Some(tables.row(tables.mac_class(packet.device)?)),
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
    let rows = Rows { device: tables.row(tables.pinhole()), remote: destination, service, active: None };
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        let hits = rows.word(tables, word);
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
        OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect => {
            // A source route's destination is not where the packet ends, so it says nothing.
            let next_stop_only = matches!(reason, Reason::SourceRoute) && matches!(side, Side::Inside);
            let remote_known = !matches!(packet.family, Family::None) && !next_stop_only;
            let device = device_row(side, packet, tables)?;
            let active = active(tables, observer)?;
            // What is not known may be anything: the row of the device stands for it too.
            let mut could_match = restricting(Rows { device, remote: device, service: device, active }, tables);
            if could_match != 0 && remote_known {
                let remote = remote_row(packet.family, remote(side, frame, packet), tables)?;
                could_match = restricting(Rows { device, remote, service: device, active }, tables);
            }
            if could_match == 0 { Verdict::Pass } else { Verdict::Drop }
        }
    };
    Some(Decision::uninspectable(verdict, reason))
}

/// Not zero where a rule of these rows keeps a packet from passing.
#[inline(always)]
fn restricting(rows: Rows, tables: &impl Tables) -> u64 {
    let mut any = 0;
    for word in 0..MAX_WORDS {
        if word >= tables.words() {
            break;
        }
        any |= rows.word(tables, word) & tables.restricting(word);
    }
    any
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
