//! What the host engine remembers of flows and answers, and how it reads names: the library's steps over vectors.

use std::cell::RefCell;
use std::collections::HashMap;

use edge_ebpf::abi::SignatureEntry;
use edge_ebpf::abi::identity::SignalSet;
use edge_ebpf::inspect::flow::{self, Flow, FlowBucket};
use edge_ebpf::inspect::learned::{self, LearnedBucket, LearnedEntry};
use edge_ebpf::inspect::secret;
use edge_ebpf::inspect::{Carried, DNS_PORT, Interest, KEPT, Memory, Read, Showing, Shown, State, Steps, signature};
use edge_ebpf::name::answer::{self, Answer, Given, MAX_MESSAGE};
use edge_ebpf::name::dns::{self, Transport};
use edge_ebpf::name::hash::Seeds;
use edge_ebpf::name::labels::{Labels, UNPACKED};
use edge_ebpf::name::table::{self, NameBucket, NameStorage};
use edge_ebpf::name::tls::{self, Copied, Opening};
use edge_ebpf::name::{Here, Reading, Span, http};
use edge_ebpf::packet::access::{Frame, Held};
use edge_ebpf::packet::{Address, Fragment, Packet, protocol};

use super::identity::Devices;
use crate::config::TimeToLive;
use crate::dataplane::names::Secrets;
use crate::policy::compile::Compiled;
use crate::policy::compile::name_table::{NameTable, NameTableError};
use crate::policy::spelling;

const BUCKETS: usize = 1 << 14;
/// There is but one.
const GENERATION: u32 = 1;
/// Watched names that one answer teaches.
const WATCHED: usize = 4;
/// Bytes before what is read.
const BEFORE: usize = 8;
/// Twice a page, see [`Held`].
const BYTES: usize = 8192;

/// The names of a policy set as they are looked up, and what was seen so far.
pub struct Inspector {
    table: Table,
    signatures: Vec<SignatureEntry>,
    flows: Vec<FlowBucket>,
    kept: HashMap<u64, Vec<u8>>,
    learned: Vec<LearnedBucket>,
    names: HashMap<(u32, usize), Vec<u8>>,
    state: State,
}

struct Table(NameTable);

impl Seeds for Table {
    fn seed(&self, place: usize) -> u64 {
        self.0.seeds[place]
    }
}

impl NameStorage for Table {
    fn bucket(&self, index: u32) -> Option<&NameBucket> {
        self.0.buckets.get(index as usize)
    }
    fn mask(&self) -> u32 {
        self.0.mask()
    }
}

impl Table {
    /// Number of the name that stands there as text; `None`: it is none.
    fn number_of_text(&self, bytes: &[u8]) -> Option<u32> {
        let text = [&[0; BEFORE], bytes].concat();
        let mut labels = Labels::default();
        let walked = labels.text(&Frame::new(&text), self, BEFORE, text.len());
        (!walked.is_fault()).then(|| table::find(self, &labels))
    }
}

/// A packet that is looked into.
pub struct Look<'a, 'c> {
    pub inspector: &'a mut Inspector,
    pub frame: &'a [u8],
    pub packet: &'a Packet,
    pub interest: Interest,
    /// Seconds.
    pub second: u32,
    /// Whether a rule of the device is about the name of this number.
    pub concerns: &'a dyn Fn(u32) -> bool,
    /// `None`: devices are known by their MACs alone.
    pub devices: Option<&'a RefCell<Devices<'c>>>,
    /// Notes signals of the device.
    pub note: &'a dyn Fn(SignalSet),
    /// The bytes that a hello was read of, where it was in pieces.
    pub pieces: Vec<u8>,
}

impl Inspector {
    /// # Errors
    /// If the names cannot be told apart.
    pub fn new(compiled: &Compiled) -> Result<Self, NameTableError> {
        let table = match &compiled.names {
            Some(names) => NameTable::build(|| names.names.iter(), &Secrets::KNOWN.names)?,
            None => NameTable::empty(),
        };
        Ok(Self {
            table: Table(table),
            signatures: compiled.signatures.clone(),
            flows: vec![FlowBucket::default(); BUCKETS],
            kept: HashMap::new(),
            learned: vec![LearnedBucket::default(); BUCKETS],
            names: HashMap::new(),
            state: State::default(),
        })
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// As [`Self::look_up`], for a packet that is not looked into further.
    pub fn look_up_source(&mut self, address: Address, second: u32) -> bool {
        self.state.shown = Shown::default();
        self.look_up(address, second)
    }

    /// Learns from a frame on its way to a device.
    pub fn learn(&mut self, frame: &[u8], time_to_live: TimeToLive, second: u32) {
        let view = Frame::new(frame);
        let packet = Packet::parse(&view);
        if packet.fault.is_some()
            || packet.fragment != Fragment::Whole
            || packet.protocol != protocol::UDP
            || packet.ports(&view).0 != DNS_PORT
        {
            return;
        }
        let (start, end) = packet.payload(&view);
        if start >= end || end - start > MAX_MESSAGE {
            return;
        }
        // As the program reads it: behind so many bytes, at the beginning of a buffer.
        let mut held = Box::new([0; 4 * MAX_MESSAGE]);
        let length = end - start;
        held[BEFORE..BEFORE + length].copy_from_slice(&frame[start..end]);
        let message = Span::new(BEFORE, BEFORE + length);
        let bytes = Held::new(&held, BEFORE + length);
        let mut answer = Answer::default();
        if answer::walk(&bytes, message, &mut answer) != Reading::Name {
            return;
        }
        let mut names = Vec::new();
        for index in 0..answer.names() {
            let mut labels = Labels::default();
            let mut wire = [0; UNPACKED];
            let length = labels.unpack(&bytes, &self.table, message, answer.name(index), &mut wire);
            if length == 0 {
                return;
            }
            names.push((table::find(&self.table, &labels), wire[..length].to_ascii_lowercase()));
        }
        for (number, name) in names.into_iter().filter(|(number, _)| *number != 0).take(WATCHED) {
            let given = (0..answer.addresses()).filter_map(|index| answer.address(&bytes, index));
            for Given { family: _, address, ttl } in given {
                self.learn_one(number, &name, address, (second, second.saturating_add(time_to_live.clamp(ttl))));
            }
        }
    }

    /// From one second to another.
    fn learn_one(&mut self, number: u32, name: &[u8], address: Address, (second, expires): (u32, u32)) {
        let tag = secret::address(&Secrets::KNOWN.tables, address);
        let place = learned::place(tag, BUCKETS as u32 - 1);
        let Self { learned, names, .. } = self;
        let bucket = &mut learned[place as usize];
        let known = (0..learned::WAYS).find(|way| bucket[*way].tag == tag && names.get(&(place, *way)).is_some_and(|known| known == name));
        if let Some(way) = known {
            bucket[way].expires = bucket[way].expires.max(expires);
            return;
        }
        let new = LearnedEntry { tag, expires, number: number as u16, generation: GENERATION as u16 };
        let way = learned::victim(bucket, &new, second);
        if way < learned::WAYS {
            names.insert((place, way), name.to_vec());
            bucket[way] = new;
        }
    }

    /// Numbers of the names that the address was learned for, into the state. Whether there is any.
    pub fn look_up(&mut self, address: Address, second: u32) -> bool {
        let tag = secret::address(&Secrets::KNOWN.tables, address);
        let bucket = &self.learned[learned::place(tag, BUCKETS as u32 - 1) as usize];
        let mut any = 0;
        for (entry, number) in bucket.iter().zip(&mut self.state.shown.learned) {
            *number = if entry.holds(tag, second) { u32::from(entry.number) } else { 0 };
            any |= *number;
        }
        any != 0
    }
}

impl Look<'_, '_> {
    pub fn state(&self) -> &State {
        &self.inspector.state
    }

    /// The name that the packet carries, as its bytes are: labels in DNS wire form, or text.
    pub fn carried(&self) -> Option<CarriedName> {
        let State { questions, hello, host, carried, .. } = &self.inspector.state;
        let part = |bytes: &[u8], Span { start, end }: Span| bytes.get(start as usize..end as usize).map(<[u8]>::to_vec);
        let source = if self.pieces.is_empty() { self.frame } else { &self.pieces };
        match *carried {
            carried if carried == Carried::Question as u32 => part(self.frame, questions.first).map(CarriedName::Wire),
            carried if carried == Carried::Hello as u32 => part(source, hello.name).map(CarriedName::Text),
            carried if carried == Carried::Request as u32 => part(self.frame, *host).map(CarriedName::Text),
            _ => None,
        }
    }

    fn payload(&self) -> (usize, usize) {
        let Span { start, end } = self.inspector.state.payload;
        (start as usize, end as usize)
    }

    /// Reads the hello whose bytes are these, behind [`BEFORE`] others.
    fn pieces(&mut self, bytes: Vec<u8>) -> Reading {
        let end = bytes.len();
        let frame = Frame::new(&bytes);
        let located = tls::locate(&frame, BEFORE, end);
        let (reading, bytes) = match located.opening {
            Opening::NotAHello => return Reading::Other,
            Opening::Malformed => return Reading::Malformed,
            Opening::Incomplete => {
                self.inspector.state.wanted = located.wanted;
                self.pieces = bytes;
                return Reading::Incomplete;
            }
            Opening::Whole => {
                let Span { start, end } = located.body;
                (self.inspector.state.body, self.inspector.state.in_pieces) = (located.body, 1);
                (tls::hello(&frame, start as usize, end as usize, &mut self.inspector.state.hello), bytes)
            }
            Opening::Scattered => {
                let mut joined = [0; BYTES];
                let read = tls::join(&frame, BEFORE, end, &mut Copied { from: &bytes, to: &mut joined[BEFORE..] });
                match read.reading {
                    Reading::Name => {}
                    Reading::Incomplete => {
                        self.inspector.state.wanted = read.wanted;
                        self.pieces = bytes;
                        return Reading::Incomplete;
                    }
                    _ => return Reading::TooLong,
                }
                let end = BEFORE + read.length;
                (self.inspector.state.body, self.inspector.state.in_pieces) = (Span::new(BEFORE + 4, end), 1);
                (tls::hello(&Held::new(&joined, end), BEFORE + 4, end, &mut self.inspector.state.hello), joined[..end].to_vec())
            }
        };
        let reading = self.named(reading, &bytes);
        self.pieces = bytes;
        reading
    }

    fn named(&mut self, reading: Reading, bytes: &[u8]) -> Reading {
        let Span { start, end } = self.inspector.state.hello.name;
        match reading {
            Reading::Name => match bytes.get(start as usize..end as usize).and_then(|name| self.inspector.table.number_of_text(name)) {
                Some(number) => {
                    self.inspector.state.number = number;
                    Reading::Name
                }
                None => Reading::TooLong,
            },
            Reading::NoName => Reading::NoName,
            _ => Reading::TooLong,
        }
    }

    /// The payload, as far as there is room, behind what is kept.
    fn appended(&self, kept: &[u8]) -> Vec<u8> {
        let (start, end) = self.payload();
        let payload = &self.frame[start..end];
        let room = KEPT.saturating_sub(kept.len());
        [&[0; BEFORE], kept, &payload[..payload.len().min(room)]].concat()
    }
}

/// As it is in the packet.
pub enum CarriedName {
    /// With type and class behind it.
    Wire(Vec<u8>),
    Text(Vec<u8>),
}

impl CarriedName {
    /// `None`: it is no name.
    pub fn spelled(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(spelling::of_text(text)),
            Self::Wire(wire) => spelling::of_wire(wire),
        }
    }
}

impl Steps for Look<'_, '_> {
    fn begin(&mut self) -> Read {
        let (frame, packet, interest) = (Frame::new(self.frame), self.packet, self.interest);
        edge_ebpf::inspect::begin(&frame, packet, interest, self)
    }
    fn dns(&mut self, transport: Transport) -> Reading {
        let (start, end) = self.payload();
        let frame = Frame::new(self.frame);
        let Inspector { table, state, .. } = &mut *self.inspector;
        let mut labels = Labels::default();
        let mut names = Here { bytes: &frame, table, labels: &mut labels };
        dns::query(&frame, &mut names, transport, start, end, &mut state.questions)
    }
    fn tls(&mut self) -> Reading {
        let (start, end) = self.payload();
        let frame = Frame::new(self.frame);
        let located = tls::locate(&frame, start, end);
        match located.opening {
            Opening::NotAHello => Reading::Other,
            Opening::Malformed => Reading::Malformed,
            Opening::Incomplete => {
                self.inspector.state.wanted = located.wanted;
                Reading::Incomplete
            }
            Opening::Scattered => self.pieces(self.appended(&[])),
            Opening::Whole => {
                let Span { start, end } = located.body;
                (self.inspector.state.body, self.inspector.state.in_pieces) = (located.body, 0);
                let reading = tls::hello(&frame, start as usize, end as usize, &mut self.inspector.state.hello);
                self.named(reading, self.frame)
            }
        }
    }
    fn tls_appended(&mut self) -> Reading {
        let kept = self.inspector.kept.get(&self.inspector.state.flow_hash).cloned().unwrap_or_default();
        self.pieces(self.appended(&kept))
    }
    fn http(&mut self) -> Reading {
        let (start, end) = self.payload();
        let Inspector { table, state, .. } = &mut *self.inspector;
        let reading = http::request(&Frame::new(self.frame), start, end, &mut state.host);
        if reading != Reading::Name {
            return reading;
        }
        let Span { start, end } = state.host;
        match table.number_of_text(&self.frame[start as usize..end as usize]) {
            Some(number) => {
                state.number = number;
                Reading::Name
            }
            None => Reading::Malformed,
        }
    }
    fn identify(&mut self, read: Read, reading: Reading) {
        let Some(devices) = self.devices else { return };
        let devices = devices.borrow();
        let mut signals = SignalSet::default();
        let state = &self.inspector.state;
        match read {
            Read::DnsOverUdp | Read::DnsOverTcp if reading == Reading::Name => {
                state.questions.rows.iter().take(state.questions.count as usize).for_each(|number| devices.of_name(*number, &mut signals));
            }
            Read::Segment | Read::Appended | Read::Request if reading == Reading::Name => devices.of_name(state.number, &mut signals),
            _ => {}
        }
        if matches!(reading, Reading::Name | Reading::NoName) {
            match read {
                Read::Segment | Read::Appended => {
                    let bytes = if state.in_pieces != 0 { &self.pieces } else { self.frame };
                    devices.of_hello(bytes, state.body, &mut signals);
                }
                Read::Request => devices.of_request(self.frame, self.payload(), &mut signals),
                _ => {}
            }
        }
        devices.of_signatures(state.shown.signatures, &mut signals);
        drop(devices);
        (self.note)(signals);
    }
    fn finish(&mut self, read: Read, reading: Reading) -> Showing {
        let concerns = reading == Reading::Name && (self.concerns)(self.inspector.state.number);
        edge_ebpf::inspect::finish(&mut self.inspector.state, read, reading, concerns)
    }
}

impl Memory for Look<'_, '_> {
    fn with<R: Default>(&mut self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.inspector.state)
    }
    fn flow_hash(&self, frame: &Frame<'_>, packet: &Packet) -> u64 {
        secret::flow(&Secrets::KNOWN.tables, packet.source(frame), packet.destination, packet.ports(frame), packet.protocol)
    }
    fn flow(&self, hash: u64) -> Flow {
        flow::find(&self.inspector.flows[flow::place(hash, BUCKETS as u32 - 1) as usize], hash, GENERATION)
    }
    fn put_flow(&mut self, hash: u64, flow: Flow) {
        flow::put(&mut self.inspector.flows[flow::place(hash, BUCKETS as u32 - 1) as usize], hash, GENERATION, flow);
    }
    fn learned(&mut self, packet: &Packet) -> bool {
        self.inspector.look_up(packet.destination, self.second)
    }
    fn signatures(&mut self) -> u32 {
        let frame = Frame::new(self.frame);
        let (start, end) = self.payload();
        let (_, port) = self.packet.ports(&frame);
        let shows = |entry: &SignatureEntry| {
            entry.protocol == self.packet.protocol
                && (entry.first_port..=entry.last_port).contains(&port)
                && signature::shows(&frame, start, end, entry)
        };
        (0..).zip(&self.inspector.signatures).filter(|(_, entry)| shows(entry)).fold(0, |bits, (index, _)| bits | 1 << index)
    }
    fn kept(&self, hash: u64) -> u32 {
        self.inspector.kept.get(&hash).map_or(0, |kept| kept.len() as u32)
    }
    fn keep(&mut self) {
        let hash = self.inspector.state.flow_hash;
        let bytes = if self.inspector.state.kept == 0 { self.appended(&[]) } else { std::mem::take(&mut self.pieces) };
        self.inspector.kept.insert(hash, bytes[BEFORE..].to_vec());
    }
    fn forget_kept(&mut self, hash: u64) {
        self.inspector.kept.remove(&hash);
    }
}
