//! What a packet of a watched device carries: names, signatures, or what stands in the way of reading them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use edge_ebpf::abi::Reason;

use super::decode::{Load, Service};
use super::flows::{Flow, FlowKey, Flows, Stage, Told};
use super::read::dns::Question;
use super::read::name::{Name, shown};
use super::read::{Reading, dns, quic};
use super::rulebook::Rulebook;
use crate::policy::model::{ServiceMatch, SignatureId};

/// DNS and what stands for it.
const DNS: u16 = 53;
/// Types of questions whose answers may have ECH's keys: SVCB, HTTPS (RFC 9460 section 14).
const KEYS: [u16; 2] = [64, 65];

#[derive(Default)]
pub(super) struct Carried {
    /// The packet's own, and its flow's.
    pub names: Vec<Name>,
    pub signatures: BTreeSet<SignatureId>,
    pub obstacle: Option<Reason>,
    /// It asks for keys, by a query that could be answered.
    pub asks_for_keys: bool,
    /// The name in the packet itself.
    pub shown: Option<String>,
    /// Where the flow's stream is, if the packet passes.
    next: Option<(FlowKey, Stage)>,
}

impl Carried {
    /// Looks into a packet, and marks its flow. A device that no rule watches carries nothing.
    pub fn of(rulebook: Rulebook<'_>, flows: &mut Flows, device: u64, ends: (IpAddr, IpAddr), load: &Load<'_>) -> Self {
        let mut carried = Self::default();
        let under = |wanted: &dyn Fn(&_) -> bool| rulebook.rules().any(|(_, rule)| wanted(rule) && rulebook.from(rule, Some(device)));
        let (named, signed) = (under(&|rule| rulebook.has_names(rule)), under(&|rule| Rulebook::has_signatures(rule)));
        let port = match load.service {
            Service::Tcp(port) | Service::Udp(port) if named || signed => port,
            _ => return carried,
        };
        let key = FlowKey { protocol: load.service.protocol(), ends, ports: (load.source_port, port) };
        let is_tcp = matches!(load.service, Service::Tcp(_));
        let first_byte = load.sequence.wrapping_add(u32::from(load.syn));
        if is_tcp && load.syn && !load.ack {
            flows.insert(key, Flow { stage: Stage::Awaiting(first_byte), ..Flow::default() });
        }
        let mut marks = None;
        if named {
            match (is_tcp, port) {
                (false, DNS) => carried.questions(dns::over_udp(load.payload), true),
                (true, DNS) if !load.payload.is_empty() => carried.questions(dns::over_tcp(load.payload), false),
                (true, DNS) => {}
                (true, _) if !load.payload.is_empty() => {
                    let stage = flows.get(&key).map_or(Stage::Open, |flow| flow.stage.clone());
                    let Told { name, obstacle, next } = stage.read(first_byte, load.payload);
                    carried.shown = name.as_ref().map(shown);
                    carried.obstacle = obstacle;
                    carried.next = Some((key, next));
                    marks = name.clone();
                    carried.names.extend(name);
                }
                (true, _) => {}
                // What a flow is known by would be its name, which only the agent's inspection tells.
                (false, _) => carried.obstacle = quic::begins(load.payload).then_some(Reason::Quic),
            }
        }
        if signed {
            carried.signatures.extend(rulebook.shown(load));
        }
        let of_device = || rulebook.rules().filter(|(_, rule)| rulebook.from(rule, Some(device))).map(|(_, rule)| rule);
        let marks = marks.filter(|name| of_device().any(|rule| rulebook.is_about(rule, name)));
        let asked = |id| of_device().any(|rule| rule.services.contains(&ServiceMatch::Signature(id)));
        let signatures: Vec<SignatureId> = carried.signatures.iter().copied().filter(|id| asked(*id)).collect();
        if marks.is_some() || !signatures.is_empty() {
            let flow = flows.entry(key).or_default();
            flow.name = marks.or(flow.name.take());
            flow.signatures.extend(signatures);
        }
        if let Some(flow) = flows.get(&key) {
            carried.names.extend(flow.name.clone());
            carried.signatures.extend(&flow.signatures);
        }
        carried
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
        if let Some((key, stage)) = self.next {
            flows.entry(key).or_default().stage = stage;
        }
    }
}
