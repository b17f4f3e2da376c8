//! The shared core over the compiled tables in memory: needs neither root nor BPF.

mod identity;
mod inspector;

use std::{cell::RefCell, collections::HashMap};

use edge_ebpf::{
    abi::{FragmentKey, FragmentVerdict, NameRules, OnUninspectable, POOL, Reason, Row, RuleEntry, Verdict, identity::SignalSet, row_size},
    engine::{self, Cause, Decision, NO_SLOT, Observer, Rows, ShownWords, Shows, Side, Tables},
    inspect::{self, Interest, Showing, shown::ShownRows},
    packet::{
        Family, Fragment, Mac, Packet,
        access::{Frame, FrameMut},
    },
    rate,
    reject::{self, Buffer, dns::Answer},
    trie,
};
use jiff::Timestamp;

use self::identity::Devices;
use self::inspector::{Inspector, Look};
use super::{Engine, EngineError, Outcome, SOME_TIME, nanoseconds};
use crate::config::Conduct;
use crate::dataplane::tables::{Slots, rate_entry, rule_entry};
use crate::policy::{compile::Compiled, model::RuleId};

/// Nanoseconds.
const MINUTE: u64 = 60 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// A generation in memory, and the fragments that it remembers.
pub struct HostEngine<'a> {
    tables: HostTables<'a>,
    inspector: Inspector,
    fragments: HashMap<FragmentKey, FragmentVerdict>,
    /// Until when each bucket is spent, in nanoseconds; by device and rule.
    buckets: HashMap<(Mac, u32), u64>,
    /// Nanoseconds of the Unix epoch.
    now: u64,
}

/// A compiled set lacks an entry that it must have: a defect of the compiler.
#[derive(Debug, thiserror::Error)]
#[error("the compiled tables lack an entry for this frame: a defect, please report it with the policies and the frame")]
pub struct MissingEntry;

impl<'a> HostEngine<'a> {
    /// # Errors
    /// If the names of the set cannot be told apart.
    pub fn new(compiled: &'a Compiled, conduct: impl Into<Conduct>) -> Result<Self, EngineError> {
        let now = nanoseconds(SOME_TIME);
        let tables = HostTables { compiled, conduct: conduct.into(), devices: Devices::new(compiled).map(RefCell::new) };
        let inspector = Inspector::new(compiled)?;
        Ok(Self { tables, inspector, fragments: HashMap::new(), buckets: HashMap::new(), now })
    }

    /// Whole seconds.
    fn second(&self) -> u32 {
        (self.now / SECOND) as u32
    }
}

impl Engine for HostEngine<'_> {
    fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError> {
        self.now = nanoseconds(now);
        Ok(())
    }

    fn answer(&mut self, frame: &[u8]) -> Result<(), EngineError> {
        let Conduct { on_uninspectable: _, dns_reject: _, learned, observes: _ } = self.tables.conduct;
        if self.tables.compiled.names.is_some() {
            self.inspector.learn(frame, learned, self.second());
        }
        Ok(())
    }

    /// Remembers a first fragment, and charges a frame where a rate is.
    fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, EngineError> {
        let view = Frame::new(frame);
        let packet = Packet::parse(&view);
        let second = self.second();
        let Self { tables, inspector, fragments, buckets, now } = self;
        if side == Side::Outside && !tables.has_inbound() {
            // The program then only counts.
            return Ok(Outcome { verdict: Verdict::Pass, rule: None, monitored: Vec::new(), reason: None, reply: None, name: None });
        }
        let looking = tables.look_into(inspector, side, frame, &packet, second)?;
        let mut observer = Recorder {
            compiled: tables.compiled,
            fragments,
            buckets,
            now: *now,
            length: frame.len(),
            monitored: Vec::new(),
            showing: looking.showing,
            rows: looking.rows,
        };
        let Decision { verdict, cause, rule, reason } = engine::decide(side, &view, &packet, tables, &mut observer).ok_or(MissingEntry)?;
        let monitored = observer.monitored;
        let mut name = None;
        if let Some(Read { interest, pieces, name: carried }) = looking.read {
            name = carried;
            let mut look = Look {
                inspector: &mut *inspector,
                frame,
                packet: &packet,
                interest,
                second,
                concerns: &|_| false,
                devices: None,
                note: &|_| {},
                pieces,
            };
            inspect::settle(verdict == Verdict::Pass, &mut look);
        }
        let (rule, reason) = match cause {
            Cause::NoRule => (None, None),
            Cause::Rule => (Some(RuleId(rule.rule)), None),
            Cause::FirstFragment => ((rule.slot != NO_SLOT).then_some(RuleId(rule.slot)), None),
            Cause::Uninspectable => (None, Some(reason)),
        };
        let mut reply = HostFrame { bytes: frame.to_vec() };
        let answered = verdict == Verdict::Reject
            && if looking.showing.is_query() {
                let answer = match reason {
                    Some(Reason::HttpsRecord) => Answer::NoData,
                    _ => Answer::Rejected(tables.conduct.dns_reject),
                };
                reject::dns::answer_query(&mut reply, &packet, &inspector.state().questions, answer)
            } else {
                reject::reply(&mut reply, &packet)
            };
        Ok(Outcome { verdict, rule, monitored, reason, reply: answered.then_some(reply.bytes), name })
    }
}

/// What a packet shows beside its headers.
struct Looking {
    showing: Showing,
    rows: ShownRows,
    /// `None`: it was not looked into.
    read: Option<Read>,
}

struct Read {
    interest: Interest,
    /// Of a hello in several segments or records.
    pieces: Vec<u8>,
    name: Option<String>,
}

struct HostTables<'a> {
    compiled: &'a Compiled,
    conduct: Conduct,
    /// `None`: devices are known by their MACs alone.
    devices: Option<RefCell<Devices<'a>>>,
}

impl HostTables<'_> {
    /// As the program does it before it decides.
    fn look_into(
        &self,
        inspector: &mut Inspector,
        side: Side,
        frame: &[u8],
        packet: &Packet,
        second: u32,
    ) -> Result<Looking, MissingEntry> {
        let mut looking = Looking { showing: Showing::NONE, rows: ShownRows::default(), read: None };
        let is_seen = packet.fault.is_none() && packet.family != Family::None && packet.fragment != Fragment::Later;
        if side == Side::Inside
            && let Some(devices) = &self.devices
        {
            let signals = devices.borrow().of_headers(frame, packet);
            self.note(packet.device, signals)?;
        }
        if !self.has_names() && !self.has_identity() || !is_seen {
            return Ok(looking);
        }
        if side == Side::Outside {
            let source = packet.source(&Frame::new(frame));
            if self.interest(self.row(self.inbound())).names && inspector.look_up_source(source, second) {
                looking.showing = Showing::ONLY_SHOWS;
                looking.rows.note(&inspector.state().shown, self);
            }
            return Ok(looking);
        }
        let interest = self.interest(self.device(packet.device).ok_or(MissingEntry)?);
        if interest.is_none() {
            return Ok(looking);
        }
        let device = || self.device(packet.device).unwrap_or_default();
        let concerns = |number: u32| self.name_rules(number).is_some_and(|rules| self.have_common(device(), self.row(rules.carried)));
        let note = |signals| self.note(packet.device, signals).unwrap_or_default();
        let devices = self.devices.as_ref();
        let mut look = Look { inspector, frame, packet, interest, second, concerns: &concerns, devices, note: &note, pieces: Vec::new() };
        looking.showing = inspect::inspect(&mut look);
        looking.rows.note(&look.state().shown, self);
        let name = look.carried().and_then(|name| name.spelled());
        let Look { pieces, .. } = look;
        looking.read = Some(Read { interest, pieces, name });
        Ok(looking)
    }

    /// Notes what a device has shown.
    fn note(&self, mac: Mac, signals: SignalSet) -> Result<(), MissingEntry> {
        if let Some(devices) = &self.devices {
            devices.borrow_mut().note(mac, self.mac_class(mac).ok_or(MissingEntry)?, signals);
        }
        Ok(())
    }

    /// Whether two rows, the first of a device, have a rule in common.
    fn have_common(&self, one: u32, other: u32) -> bool {
        let Compiled { words, .. } = self.compiled;
        let first = u32::from(*words > 1);
        (first..first + *words as u32).any(|offset| self.device_pool(one + offset) & self.pool(other + offset) != 0)
    }

    /// What the rules of a row ask about.
    fn interest(&self, row: u32) -> Interest {
        let Compiled { named, signed, words, .. } = self.compiled;
        let first = row + u32::from(*words > 1);
        let asks = |rules: &Row| (first..).zip(&rules[..*words]).any(|(place, rules)| self.device_pool(place) & rules != 0);
        let devices = self.devices.as_ref().map(RefCell::borrow);
        let names = asks(named);
        Interest {
            names,
            signatures: asks(signed) || devices.as_ref().is_some_and(|devices| devices.has_shown()),
            reads: names || devices.as_ref().is_some_and(|devices| devices.reads_of_all()),
        }
    }
}

impl Tables for HostTables<'_> {
    fn mac_class(&self, mac: Mac) -> Option<u32> {
        trie::lookup::<48>(&&self.compiled.mac, [mac.0 << 16, 0])
    }
    fn device(&self, mac: Mac) -> Option<u32> {
        let known = self.devices.as_ref().and_then(|devices| devices.borrow().row(mac));
        known.or_else(|| Some(self.row(self.mac_class(mac)?)))
    }
    fn device_pool(&self, place: u32) -> u64 {
        match &self.devices {
            Some(devices) if place as usize >= POOL => devices.borrow().word(place),
            _ => self.pool(place),
        }
    }
    fn v4_class(&self, address: u32) -> Option<u32> {
        trie::lookup_v4(&&self.compiled.v4, address)
    }
    fn v6_class(&self, address: [u64; 2]) -> Option<u32> {
        trie::lookup::<128>(&&self.compiled.v6, address)
    }
    fn service(&self, index: usize) -> u32 {
        u32::from(self.compiled.services[index])
    }
    fn pool(&self, place: u32) -> u64 {
        self.compiled.pool[place as usize]
    }
    fn row(&self, class: u32) -> u32 {
        class * row_size(self.compiled.words) as u32
    }
    /// A rule's slot is its own number here.
    fn rule(&self, rule: u32) -> RuleEntry {
        rule_entry(rule as usize, &self.compiled.rules[rule as usize], Slots { slot: rule, exceeded: None, learned: None })
    }
    fn words(&self) -> usize {
        self.compiled.words
    }
    fn has_monitored(&self) -> bool {
        self.compiled.monitored.iter().any(|&word| word != 0)
    }
    fn has_schedules(&self) -> bool {
        self.compiled.timeline.is_some()
    }
    fn active(&self, minute: u64) -> Option<u32> {
        self.compiled.timeline.as_ref()?.class(minute)
    }
    fn has_inbound(&self) -> bool {
        self.compiled.has_inbound
    }
    fn inbound(&self) -> u32 {
        self.compiled.inbound
    }
    fn pinhole(&self) -> u32 {
        self.compiled.pinhole
    }
    fn monitored(&self, word: usize) -> u64 {
        self.compiled.monitored[word]
    }
    fn restricting(&self, word: usize) -> u64 {
        self.compiled.restricting[word]
    }
    fn on_uninspectable(&self, reason: Reason) -> OnUninspectable {
        self.conduct.on_uninspectable[reason as usize]
    }
    fn has_names(&self) -> bool {
        self.compiled.names.is_some() || !self.compiled.signatures.is_empty()
    }
    fn has_identity(&self) -> bool {
        self.devices.is_some()
    }
    fn named(&self, word: usize) -> u64 {
        self.compiled.named[word]
    }
    fn name_rules(&self, number: u32) -> Option<&NameRules> {
        self.compiled.names.as_ref()?.rules.get(number as usize)
    }
    fn signatures(&self) -> u32 {
        self.compiled.signatures.len() as u32
    }
    fn signature_class(&self, index: u32) -> u32 {
        self.compiled.signatures.get(index as usize).map_or(self.compiled.nothing, |entry| entry.class)
    }
    fn nothing(&self) -> u32 {
        self.compiled.nothing
    }
    fn has_learned_monitored(&self) -> bool {
        self.compiled.names.as_ref().is_some_and(|names| names.has_learned_monitored)
    }
}

struct Recorder<'a> {
    compiled: &'a Compiled,
    buckets: &'a mut HashMap<(Mac, u32), u64>,
    now: u64,
    length: usize,
    fragments: &'a mut HashMap<FragmentKey, FragmentVerdict>,
    monitored: Vec<RuleId>,
    showing: Showing,
    rows: ShownRows,
}

impl Shows for Recorder<'_> {
    fn shown(&self, tables: &impl Tables, offset: u32) -> ShownWords {
        self.rows.words(tables, offset)
    }
}

impl Observer for Recorder<'_> {
    fn first_fragment(&self, key: &FragmentKey) -> Option<FragmentVerdict> {
        self.fragments.get(key).copied()
    }
    fn remember_fragment(&mut self, key: &FragmentKey, verdict: FragmentVerdict) {
        self.fragments.insert(*key, verdict);
    }
    fn minute(&mut self) -> u64 {
        self.now / MINUTE
    }
    fn showing(&mut self, _: &Frame<'_>, _: &Packet, _: u32) -> Showing {
        self.showing
    }
    fn could_match(&mut self, rows: Rows, first: u32, any_service: bool, tables: &impl Tables) -> bool {
        engine::could_match(rows, first, any_service, tables, self)
    }
    fn within_rate(&mut self, packet: &Packet, side: Side, rule: &RuleEntry) -> bool {
        let Some(limit) = self.compiled.rules.get(rule.rule as usize).and_then(|rule| rule.limit) else { return false };
        let now = self.now;
        let device = if side == Side::Inside { packet.device } else { Mac(0) };
        let spent = self.buckets.entry((device, rule.rule)).or_insert(now);
        match rate::charge(&rate_entry(limit), *spent, now, self.length as u32) {
            Some(charged) => {
                *spent = charged;
                true
            }
            None => false,
        }
    }
    fn monitored(&mut self, _: &Frame<'_>, _: &Packet, word: usize, bits: u64, _: u64) {
        self.monitored.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| RuleId(word as u32 * 64 + bit)));
    }
}

/// A frame in a vector, resized as the kernel resizes one.
struct HostFrame {
    bytes: Vec<u8>,
}

impl Buffer for HostFrame {
    fn frame(&mut self) -> FrameMut<'_> {
        FrameMut::new(&mut self.bytes)
    }
    fn grow_head(&mut self, bytes: usize) -> bool {
        self.bytes.splice(0..0, std::iter::repeat_n(0, bytes));
        true
    }
    fn shrink_head(&mut self, bytes: usize) -> bool {
        let there = bytes <= self.bytes.len();
        if there {
            self.bytes.drain(..bytes);
        }
        there
    }
    fn length(&self) -> usize {
        self.bytes.len()
    }
    fn truncate(&mut self, len: usize) -> bool {
        self.bytes.truncate(len);
        true
    }
    fn resize(&mut self, len: usize) -> bool {
        self.bytes.resize(len, 0);
        true
    }
}
