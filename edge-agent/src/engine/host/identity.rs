//! Devices known by what they do, over the compiled tables in memory.

use std::collections::HashMap;

use edge_ebpf::abi::identity::{FactKind, HelloKey, HelloParts, MacFacts, SIGNAL_WORDS, SignalSet};
use edge_ebpf::abi::{POOL, row_size};
use edge_ebpf::identity::dhcp::{self, Said};
use edge_ebpf::identity::groups::{self, Membership};
use edge_ebpf::identity::hello::{self, Transport};
use edge_ebpf::identity::syn::{self, ShapeBytes};
use edge_ebpf::identity::user_agent;
use edge_ebpf::name::Span;
use edge_ebpf::packet::access::Frame;
use edge_ebpf::packet::{Family, Fragment, Mac, Packet, protocol};

use crate::identity::ja4::{self, Ja4};
use crate::policy::compile::Compiled;
use crate::policy::compile::identity::{CompiledIdentity, Program};

/// What devices have shown, and the rows that follow.
pub struct Devices<'a> {
    compiled: &'a Compiled,
    identity: &'a CompiledIdentity,
    /// Numbers of sets, by key.
    hellos: HashMap<HelloKey, u32>,
    places: HashMap<Mac, usize>,
    signals: Vec<SignalSet>,
    /// One behind the other.
    rows: Vec<u64>,
}

impl<'a> Devices<'a> {
    /// `None`: devices are known by their MACs alone.
    pub fn new(compiled: &'a Compiled) -> Option<Self> {
        let identity = compiled.identity.as_ref()?;
        let hellos = identity.hellos.iter().copied().collect();
        Some(Self { compiled, identity, hellos, places: HashMap::new(), signals: Vec::new(), rows: Vec::new() })
    }

    /// Whether hellos, requests and queries are read of every device.
    pub fn reads_of_all(&self) -> bool {
        let asked = self.compiled.names.as_ref().is_some_and(|names| names.rules.iter().any(|rules| rules.signals != 0));
        asked || self.has_hellos() || self.start(FactKind::UserAgent) != 0
    }

    fn has_hellos(&self) -> bool {
        let CompiledIdentity { hellos, hashed, .. } = self.identity;
        !hellos.is_empty() || !hashed.is_empty() || self.start(FactKind::Hello) != 0
    }

    /// Whether a signature is a signal.
    pub fn has_shown(&self) -> bool {
        self.compiled.signatures.iter().any(|entry| entry.signals != 0)
    }

    fn start(&self, kind: FactKind) -> u32 {
        u32::from(self.identity.starts[kind as usize])
    }

    /// A slot is the signal's own number here.
    fn add(&self, set: u32, signals: &mut SignalSet) {
        self.add_all(self.identity.set(set), signals);
    }

    fn add_all(&self, numbers: &[u32], signals: &mut SignalSet) {
        for signal in numbers {
            signals[*signal as usize / 64 % SIGNAL_WORDS] |= 1 << (signal % 64);
        }
    }

    fn fact(&self, kind: FactKind, bytes: &[u8], signals: &mut SignalSet) {
        self.add_all(self.identity.signals_of_fact(kind, bytes), signals);
    }

    /// What the headers tell of the device, and a DHCP message.
    pub fn of_headers(&self, frame: &[u8], packet: &Packet) -> SignalSet {
        let mut signals = SignalSet::default();
        if packet.fault.is_some() || packet.family == Family::None || packet.fragment == Fragment::Later {
            return signals;
        }
        let view = Frame::new(frame);
        if packet.protocol == protocol::TCP && packet.segment(&view).opens {
            let mut shape = ShapeBytes([0; 64]);
            let length = syn::read(&view, packet, &mut shape);
            self.fact(FactKind::TcpSyn, &shape.0[..length], &mut signals);
        }
        let (_, port) = packet.ports(&view);
        if packet.protocol == protocol::UDP && matches!(port, dhcp::SERVER | dhcp::SERVER_6) {
            let (start, end) = packet.payload(&view);
            let mut said = Said::default();
            let (read, kinds) = if port == dhcp::SERVER_6 {
                let kinds = [FactKind::Dhcp6Options, FactKind::Dhcp6VendorClass, FactKind::Dhcp6Name];
                (dhcp::read_6(&view, start, end, &mut said), kinds)
            } else {
                let kinds = [FactKind::DhcpParameters, FactKind::DhcpVendorClass, FactKind::DhcpHostName];
                (dhcp::read(&view, start, end, packet.device, &mut said), kinds)
            };
            if read {
                for (kind, span) in kinds.into_iter().zip([said.parameters, said.vendor_class, said.host_name]) {
                    self.fact(kind, part(frame, span), &mut signals);
                }
            }
        }
        signals
    }

    /// What a hello tells whose body lies there.
    pub fn of_hello(&self, bytes: &[u8], Span { start, end }: Span, signals: &mut SignalSet) {
        if !self.has_hellos() {
            return;
        }
        let Some(key) = hello::read(&Frame::new(bytes), start as usize, end as usize, Transport::Tcp) else { return };
        let [first, last] = key.letters.map(u64::to_le_bytes);
        self.fact(FactKind::Hello, &[&first[..], &last[..2]].concat(), signals);
        // As if the agent had seen it before.
        if !self.identity.hashed.is_empty()
            && let Some(ja4) = Ja4::of_hello(part(bytes, Span { start, end }), ja4::Transport::Tcp)
        {
            self.add_all(&self.identity.hashed_signals(&ja4), signals);
        }
        for parts in 1..=HelloKey::ALL_PARTS.0 {
            if let Some(set) = self.hellos.get(&key.asking(HelloParts(parts))) {
                self.add(*set, signals);
            }
        }
    }

    /// What a request tells.
    pub fn of_request(&self, frame: &[u8], payload: (usize, usize), signals: &mut SignalSet) {
        if self.start(FactKind::UserAgent) != 0 {
            let span = user_agent::read(&Frame::new(frame), payload.0, payload.1);
            self.fact(FactKind::UserAgent, part(frame, span), signals);
        }
    }

    /// What a name tells, by its number.
    pub fn of_name(&self, number: u32, signals: &mut SignalSet) {
        let rules = self.compiled.names.as_ref().and_then(|names| names.rules.get(number as usize));
        self.add(rules.filter(|_| number != 0).map_or(0, |rules| rules.signals), signals);
    }

    /// What signatures tell, by their bits.
    pub fn of_signatures(&self, bits: u32, signals: &mut SignalSet) {
        for (_, entry) in (0..).zip(&self.compiled.signatures).filter(|(index, _)| bits >> index & 1 != 0) {
            self.add(u32::from(entry.signals), signals);
        }
    }

    /// Notes the device's signals. `class`: of its MAC.
    pub fn note(&mut self, mac: Mac, class: u32, signals: SignalSet) {
        if signals == SignalSet::default() {
            return;
        }
        let size = row_size(self.compiled.words);
        let place = match self.places.get(&mac) {
            Some(place) => *place,
            None => {
                self.signals.push(SignalSet::default());
                self.rows.resize(self.signals.len() * size, 0);
                self.places.insert(mac, self.signals.len() - 1);
                self.signals.len() - 1
            }
        };
        self.signals[place].iter_mut().zip(signals).for_each(|(word, signals)| *word |= signals);
        let facts = self.identity.macs.get(class as usize).copied().unwrap_or(MacFacts::default());
        let mut membership = Membership::default();
        groups::compute(&Program(self.compiled, self.identity), self.signals[place], &facts, &mut membership, 0);
        self.rows[place * size..][..size].copy_from_slice(&membership.row[..size]);
    }

    /// Where the device's row is; `None`: it has shown nothing.
    pub fn row(&self, mac: Mac) -> Option<u32> {
        let place = self.places.get(&mac)?;
        Some((POOL + place * row_size(self.compiled.words)) as u32)
    }

    /// A word of a row.
    pub fn word(&self, place: u32) -> u64 {
        self.rows[place as usize - POOL]
    }
}

fn part(frame: &[u8], Span { start, end }: Span) -> &[u8] {
    frame.get(start as usize..end as usize).unwrap_or_default()
}
