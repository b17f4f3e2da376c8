//! Names of services become ports, or signatures.

use std::collections::HashMap;
use std::path::Path;

use edge_ebpf::abi::MAX_SIGNATURES;

use super::Resolver;
use crate::policy::model::{Direction, PolicyId, PortProtocol, ServiceMatch, Signature, SignatureId};
use crate::policy::problem::{Place, nearest, suggest};
use crate::policy::schema::{Placed, Policy};
use crate::policy::service::Service;
use crate::policy::signature::{self, Pattern};

/// A policy's own services, by name.
pub(in crate::policy) type Own<'a> = HashMap<&'a str, SignatureId>;

impl Resolver<'_> {
    /// The policy's signatures. Where the services file has such a name too, it means the signature in this policy.
    pub(super) fn signatures<'a>(&mut self, id: PolicyId, policy: &'a Policy) -> Own<'a> {
        let mut own = Own::new();
        for signature in &policy.signatures {
            let Placed { place, value } = &signature.name;
            if self.sources.services().is_ok_and(|names| !names.get(value).is_empty()) {
                self.problems
                    .warning(place, format!("`{value}` is in the services file, too: in this policy it is this signature"))
                    .hint("choose another name, so that nobody takes one for the other");
            }
            let id = self.push_signature(id, signature);
            own.insert(value, id);
        }
        own
    }

    /// The id of a signature by which devices are known, the same for equal ones.
    pub(super) fn signal_signature(&mut self, id: PolicyId, signature: &signature::Signature) -> SignatureId {
        let key = signature::Signature { name: Placed { place: Place::file(Path::new("")), value: String::new() }, ..signature.clone() };
        if let Some((_, known)) = self.signal_signatures.iter().find(|(known, _)| *known == key) {
            return *known;
        }
        let id = self.push_signature(id, signature);
        self.signal_signatures.push((key, id));
        id
    }

    fn push_signature(&mut self, policy: PolicyId, signature: &signature::Signature) -> SignatureId {
        let signature::Signature { name: Placed { place, value }, protocol, ports, offset, bytes: Pattern(bytes) } = signature;
        let id = SignatureId(self.resolved.signatures.len() as u32);
        let port = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        self.resolved.signatures.push(Signature {
            policy,
            name: value.clone(),
            protocol: *protocol,
            ports: ports.iter().map(|(first, last)| (port(*first), port(*last))).collect(),
            offset: *offset,
            bytes: bytes.clone(),
        });
        let before = self.signature_entries;
        self.signature_entries += ports.len();
        if before <= MAX_SIGNATURES && self.signature_entries > MAX_SIGNATURES {
            self.problems
                .error(place, format!("`{value}` is a signature too many: one set has up to {MAX_SIGNATURES}, one for each range of ports"))
                .hint("leave `ports` away or join their ranges, or remove signatures from this or another policy");
        }
        id
    }

    pub(in crate::policy) fn services(&mut self, services: &[Placed<Service>], own: &Own<'_>) -> Vec<ServiceMatch> {
        let mut matches = Vec::new();
        for service in services {
            match &service.value {
                Service::Match(service) => matches.push(*service),
                Service::Name { protocol: None, name } if own.contains_key(name.as_str()) => {
                    matches.extend(own.get(name.as_str()).copied().map(ServiceMatch::Signature));
                }
                Service::Name { protocol, name } => self.named_service(service, *protocol, name, own, &mut matches),
            }
        }
        matches
    }

    fn named_service(
        &mut self,
        Placed { place, value: _ }: &Placed<Service>,
        protocol: Option<PortProtocol>,
        name: &str,
        own: &Own<'_>,
        matches: &mut Vec<ServiceMatch>,
    ) {
        let names = match self.sources.services() {
            Ok(names) => names,
            Err(error) => {
                self.unusable(place, &error);
                return;
            }
        };
        let before = matches.len();
        matches.extend(
            names.get(name).iter().filter(|(of, _)| protocol.is_none_or(|only| only == *of)).map(|(protocol, port)| ServiceMatch::Ports {
                protocol: *protocol,
                first: *port,
                last: *port,
            }),
        );
        if matches.len() == before {
            let hint = if own.contains_key(name) {
                suggest(name, [name])
            } else {
                match nearest(name, names.names().chain(own.keys().copied())) {
                    Some(near) if near != name => format!("did you mean `{near}`? or write the port: `tcp/443`"),
                    _ => "write the protocol and port: `tcp/443`".to_owned(),
                }
            };
            self.problems.error(place, format!("no service is named `{name}`")).hint(hint);
        }
    }

    /// Signatures are looked for in what devices send.
    pub(super) fn check_signatures_on_the_way(
        &mut self,
        services: &[Placed<Service>],
        direction: Option<&Placed<Direction>>,
        own: &Own<'_>,
    ) {
        let Some(direction) = direction.filter(|direction| direction.value.inbound()) else { return };
        let shown = services.iter().filter(|service| match &service.value {
            Service::Name { protocol: None, name } => own.contains_key(name.as_str()),
            Service::Name { protocol: Some(_), .. } | Service::Match(_) => false,
        });
        // Where there is nothing else, the rule as a whole is warned of.
        if direction.value == Direction::Inbound && shown.clone().count() == services.len() {
            return;
        }
        for Placed { place, .. } in shown {
            self.problems
                .warning(place, "inbound packets never show it: signatures are looked for in what devices send")
                .related(&direction.place, "the rule is about inbound packets")
                .hint("name ports for them, or make it an outbound rule");
        }
    }
}

#[cfg(test)]
mod tests;
