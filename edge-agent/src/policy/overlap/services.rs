//! What the packets of a rule are of: protocols and ports, and signatures that they show.

use std::fmt;

use edge_ebpf::abi::service;

use super::dimension::Set;
use super::union;
use crate::policy::compile::service_slots;
use crate::policy::model::{PortProtocol, Ranges, ServiceMatch, Signature};
use crate::policy::sets::{covers, first_common};

pub struct Services<'a> {
    /// Places of the service table.
    slots: Ranges<u32>,
    signatures: Vec<&'a Signature>,
}

impl<'a> Services<'a> {
    pub fn of(services: &[ServiceMatch], signatures: &'a [Signature]) -> Self {
        let own = services.iter().filter_map(|service| match service {
            ServiceMatch::Signature(signature) => signatures.get(signature.index()),
            ServiceMatch::Any | ServiceMatch::Protocol(_) | ServiceMatch::Ports { .. } | ServiceMatch::Icmp { .. } => None,
        });
        Self { slots: union(services.iter().map(|service| service_slots(*service))), signatures: own.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.is_empty_on_the_way_in() && self.signatures.is_empty()
    }

    /// Signatures are looked for in what devices send.
    pub fn is_empty_on_the_way_in(&self) -> bool {
        self.slots.is_empty()
    }

    /// Where both have a packet that needs a signature.
    fn common_by_signature(&self, other: &Self) -> Option<Service> {
        let by_ports = |one: &Self, another: &Self| one.signatures.iter().find_map(|own| first_common(&places(own), &another.slots));
        let both = || {
            let mut pairs = self.signatures.iter().flat_map(|own| other.signatures.iter().map(move |signature| (own, signature)));
            pairs.find_map(|(own, signature)| Some(base(own.protocol) + u32::from(own.common(signature)?)))
        };
        let slot = by_ports(self, other).or_else(|| by_ports(other, self)).or_else(both)?;
        Some(Service { slot, by_signature: true })
    }
}

fn base(protocol: PortProtocol) -> u32 {
    match protocol {
        PortProtocol::Tcp => service::TCP as u32,
        PortProtocol::Udp => service::UDP as u32,
    }
}

/// Where the packets go that may show it.
fn places(Signature { policy: _, name: _, protocol, ports, offset: _, bytes: _ }: &Signature) -> Ranges<u32> {
    let base = base(*protocol);
    Ranges::new(ports.iter().map(|(first, last)| (base + u32::from(*first), base + u32::from(*last))).collect())
}

impl Set for Services<'_> {
    type Member = Service;
    fn is_apart_from(&self, other: &Self) -> bool {
        let Self { slots, signatures } = self;
        signatures.is_empty() && other.signatures.is_empty() && slots.is_apart_from(&other.slots)
    }
    fn covers(&self, inner: &Self) -> bool {
        let Self { slots, signatures } = self;
        let held = |signature: &Signature| covers(slots, &places(signature)) || signatures.iter().any(|own| own.covers(signature));
        covers(slots, &inner.slots) && inner.signatures.iter().all(|signature| held(signature))
    }
    fn common(&self, other: &Self) -> Option<Service> {
        let plain = first_common(&self.slots, &other.slots).map(|slot| Service { slot, by_signature: false });
        plain.or_else(|| self.common_by_signature(other))
    }
}

/// One kind of packet.
#[derive(Clone, Copy)]
pub struct Service {
    slot: u32,
    /// One that shows what a rule asks for.
    pub by_signature: bool,
}

/// As policies write it.
impl fmt::Display for Service {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot as usize;
        match slot {
            service::TCP..service::UDP => write!(out, "tcp/{}", slot - service::TCP)?,
            service::UDP..service::ICMP => write!(out, "udp/{}", slot - service::UDP)?,
            service::ICMP..service::ICMPV6 => write!(out, "icmp/{}", slot - service::ICMP)?,
            service::ICMPV6..service::PROTOCOL => write!(out, "icmpv6/{}", slot - service::ICMPV6)?,
            _ => write!(out, "ip/{}", slot - service::PROTOCOL)?,
        }
        if self.by_signature { write!(out, " with that signature") } else { Ok(()) }
    }
}
