//! What a packet of a watched device carries: names, signatures, or what stands in the way of reading them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use edge_ebpf::abi::Reason;

use super::decode::{Load, Service};
use super::facts::{Device, Fact};
use super::flows::{Flow, FlowKey, Flows, Stage, Told};
use super::read::dns::Question;
use super::read::name::{Name, shown};
use super::read::{Reading, dns, quic, tls};
use super::rulebook::Rulebook;
use crate::identity::ja4::{Ja4, Transport};
use crate::policy::model::{Signal, SignatureId, TextKind};

/// DNS and what stands for it.
const DNS: u16 = 53;
/// Types of questions whose answers may have ECH's keys: SVCB, HTTPS (RFC 9460 section 14).
const KEYS: [u16; 2] = [64, 65];

#[derive(Default)]
pub(super) struct Carried {
    /// The device's rules ask for names, before it has shown what the payload says.
    pub named: bool,
    /// The packet's own, and its flow's.
    pub names: Vec<Name>,
    pub signatures: BTreeSet<SignatureId>,
    pub obstacle: Option<Reason>,
    /// It asks for keys, by a query that could be answered.
    pub asks_for_keys: bool,
    /// The name in the packet itself.
    pub shown: Option<String>,
    /// What the payload says of the device.
    pub facts: Vec<Fact>,
    /// `None`: it is not looked into.
    flow: Option<FlowKey>,
    marks: Option<Name>,
    /// Where the flow's stream is, if the packet passes.
    next: Option<Stage>,
}

impl Carried {
    /// Looks into a packet. What no rule of the device asks about, and no device is known by, is not read.
    pub fn of(rulebook: Rulebook<'_>, flows: &mut Flows, device: &Device, ends: (IpAddr, IpAddr), load: &Load<'_>) -> Self {
        let under = |wanted: &dyn Fn(&_) -> bool| rulebook.rules().any(|(_, rule)| wanted(rule) && rulebook.from(rule, Some(device)));
        let (named, signed) = (under(&|rule| rulebook.has_names(rule)), under(&|rule| Rulebook::has_signatures(rule)));
        let of_all = |signal: &Signal| matches!(signal, Signal::Hello(_) | Signal::Asked(_) | Signal::Text(TextKind::UserAgent, _));
        let reads = named || rulebook.has_signals(of_all);
        let reads_signatures = signed || rulebook.has_signals(|signal| matches!(signal, Signal::Signature(_)));
        let mut carried = Self { named, ..Self::default() };
        let port = match load.service {
            Service::Tcp(port) | Service::Udp(port) if reads || reads_signatures => port,
            _ => return carried,
        };
        let key = FlowKey { protocol: load.service.protocol(), ends, ports: (load.source_port, port) };
        carried.flow = Some(key);
        let is_tcp = matches!(load.service, Service::Tcp(_));
        let first_byte = load.sequence.wrapping_add(u32::from(load.syn));
        if is_tcp && load.syn && !load.ack {
            let stage = if reads { Stage::Awaiting(first_byte) } else { Stage::Open };
            flows.insert(key, Flow { stage, ..Flow::default() });
        }
        if reads {
            match (is_tcp, port) {
                (false, DNS) => carried.questions(dns::over_udp(load.payload), true),
                (true, DNS) if !load.payload.is_empty() => carried.questions(dns::over_tcp(load.payload), false),
                (true, DNS) => {}
                (true, _) if !load.payload.is_empty() => {
                    let stage = flows.get(&key).map_or(Stage::Open, |flow| flow.stage.clone());
                    carried.told(stage.read(first_byte, load.payload));
                }
                (true, _) => {}
                // What a flow is known by would be its name, which only the agent's inspection tells.
                (false, _) => carried.obstacle = quic::begins(load.payload).then_some(Reason::Quic),
            }
        }
        if !named {
            carried.obstacle = None;
            carried.asks_for_keys = false;
        }
        if reads_signatures {
            carried.signatures.extend(rulebook.shown(load));
        }
        carried.facts.extend(carried.names.iter().cloned().map(Fact::Asked));
        carried.facts.extend(carried.signatures.iter().copied().map(Fact::Signature));
        carried
    }

    /// Marks the packet's flow with its signatures, and with its name if a rule of the device is about that, now that the device has shown what the
    /// payload says.
    pub fn mark(&mut self, rulebook: Rulebook<'_>, flows: &mut Flows, device: &Device) {
        let Some(key) = self.flow else { return };
        let is_asked = |name: &Name| rulebook.rules().any(|(_, rule)| rulebook.from(rule, Some(device)) && rulebook.is_about(rule, name));
        let marks = self.marks.take().filter(is_asked);
        if marks.is_some() || !self.signatures.is_empty() {
            let flow = flows.entry(key).or_default();
            flow.name = marks.or(flow.name.take());
            flow.signatures.extend(&self.signatures);
        }
        if let Some(flow) = flows.get(&key) {
            self.names.extend(flow.name.clone());
            self.signatures.extend(&flow.signatures);
        }
    }

    pub fn hello(&self) -> Option<&Ja4> {
        self.facts.iter().find_map(|fact| match fact {
            Fact::Hello(ja4) => Some(ja4),
            _ => None,
        })
    }

    fn told(&mut self, told: Told) {
        let Told { name, user_agent, hello, obstacle, next } = told;
        self.shown = name.as_ref().map(shown);
        self.obstacle = obstacle;
        self.next = Some(next);
        self.marks.clone_from(&name);
        self.names.extend(name);
        self.facts.extend(hello.filter(|body| tls::is_short(body)).and_then(|body| Ja4::of_hello(&body, Transport::Tcp)).map(Fact::Hello));
        self.facts.extend(user_agent.map(|value| Fact::Text(TextKind::UserAgent, value)));
    }

    fn questions(&mut self, reading: Reading<Vec<Question>>, answerable: bool) {
        match reading {
            Reading::Other | Reading::Nothing => {}
            Reading::Found(questions) => {
                self.shown = questions.first().map(|question| shown(&question.name));
                self.asks_for_keys = answerable && questions.iter().any(|question| KEYS.contains(&question.kind));
                self.names.extend(questions.into_iter().map(|question| question.name));
            }
            Reading::Incomplete | Reading::Malformed | Reading::TooLong => self.obstacle = Some(Reason::DnsUnreadable),
        }
    }

    /// The packet has passed, so the stream goes on.
    pub fn passed(self, flows: &mut Flows) {
        if let (Some(key), Some(stage)) = (self.flow, self.next) {
            flows.entry(key).or_default().stage = stage;
        }
    }
}
