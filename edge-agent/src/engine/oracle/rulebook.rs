//! What the rules say, asked one by one.

use std::net::IpAddr;

use edge_ebpf::abi::Verdict;
use jiff::Timestamp;

use super::decode::{Load, Service};
use super::facts::Device;
use super::names::names_of;
use super::read::name::Name;
use crate::policy::model::{
    Action, AddressSet, Destination, DeviceSelector, Family, Learned, PortProtocol, RemoteSelector, Resolved, Rule, RuleId, ServiceMatch,
    Signal, Signature, SignatureId,
};

/// The policies, and what can be said of a rule without a packet's history.
#[derive(Clone, Copy)]
pub(super) struct Rulebook<'a>(pub &'a Resolved);

/// How a packet's remote meets a rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meeting {
    No,
    /// The rule then only counts and reports.
    Monitored,
    Yes,
}

/// By what a packet's remote may meet a rule.
pub(super) struct Remote<'a> {
    pub address: Option<IpAddr>,
    /// Names that the packet carries, or its flow is marked with.
    pub carried: &'a [Name],
    /// Names that answers gave the address for.
    pub learned: &'a [Name],
}

impl<'a> Rulebook<'a> {
    pub fn rules(self) -> impl Iterator<Item = (RuleId, &'a Rule)> {
        (0..).map(RuleId).zip(&self.0.rules)
    }

    pub fn built_in(self, rule: &Rule) -> bool {
        self.0.policies[rule.policy.index()].built_in
    }

    pub fn holds_at(self, rule: &Rule, now: Timestamp) -> bool {
        let minute = now.as_second().div_euclid(60) * 60;
        let expired = self.0.policies[rule.policy.index()].expires.is_some_and(|expires| minute >= expires);
        !expired
            && rule.when.is_none_or(|schedule| Timestamp::from_second(minute).is_ok_and(|at| self.0.schedules[schedule.index()].holds(at)))
    }

    /// `device` is `None` for what comes from the outside.
    pub fn from(self, rule: &Rule, device: Option<&Device>) -> bool {
        let Some(device) = device else {
            return rule.direction.inbound() && rule.from.contains(&DeviceSelector::All) && !self.built_in(rule);
        };
        rule.direction.outbound()
            && rule.from.iter().any(|selector| match selector {
                DeviceSelector::All => true,
                DeviceSelector::Group(group) => self.in_group(group.index(), device),
                DeviceSelector::Unknown => !(0..self.0.groups.len()).any(|group| {
                    let policy = self.0.groups[group].policy;
                    !self.0.policies[policy.index()].built_in && self.in_group(group, device)
                }),
            })
    }

    pub fn in_group(self, group: usize, device: &Device) -> bool {
        self.0.groups[group].when.holds(&|id| match &self.0.signals[id.index()] {
            Signal::Mac(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&device.mac)),
            _ => device.signals.contains(&id),
        })
    }

    /// Whether devices are known by such signals.
    pub fn has_signals(self, wanted: impl Fn(&Signal) -> bool) -> bool {
        self.0.signals.iter().any(wanted)
    }

    /// Whether the rule is about an address, whatever its names.
    pub fn to(self, rule: &Rule, address: Option<IpAddr>) -> bool {
        self.meets(rule, &Remote { address, carried: &[], learned: &[] }) == Meeting::Yes
    }

    pub fn meets(self, rule: &Rule, remote: &Remote<'_>) -> Meeting {
        let Remote { address, carried, learned } = remote;
        let meeting = |selector: &RemoteSelector| match selector {
            RemoteSelector::Any => Meeting::Yes,
            RemoteSelector::Destination(destination) => {
                let destination = &self.0.destinations[destination.index()];
                let by_address = address.is_some_and(|address| destination.sets.iter().any(|set| holds(set, address)));
                if by_address || carried.iter().any(|name| names_of(destination, name)) {
                    return Meeting::Yes;
                }
                match destination.domains.learned {
                    Learned::Off => Meeting::No,
                    _ if !learned.iter().any(|name| names_of(destination, name)) => Meeting::No,
                    Learned::Monitor => Meeting::Monitored,
                    Learned::Enforce => Meeting::Yes,
                }
            }
        };
        rule.to.iter().map(meeting).max().unwrap_or(Meeting::No)
    }

    fn destinations(self, rule: &'a Rule) -> impl Iterator<Item = &'a Destination> {
        rule.to.iter().filter_map(move |selector| match selector {
            RemoteSelector::Any => None,
            RemoteSelector::Destination(destination) => Some(&self.0.destinations[destination.index()]),
        })
    }

    /// Whether the rule names anything.
    pub fn has_names(self, rule: &'a Rule) -> bool {
        self.destinations(rule).any(|destination| destination.domains.sets.iter().any(|set| !set.is_empty()))
    }

    /// Whether the rule names this.
    pub fn is_about(self, rule: &'a Rule, name: &Name) -> bool {
        self.destinations(rule).any(|destination| names_of(destination, name))
    }

    /// Whether any rule does.
    pub fn is_watched(self, name: &Name) -> bool {
        self.0.rules.iter().any(|rule| self.is_about(rule, name))
    }

    /// Whether two names have the same rules, be they carried or learned.
    pub fn are_alike(self, one: &Name, other: &Name) -> bool {
        self.0.rules.iter().all(|rule| {
            let worth = |name| {
                let named = self.destinations(rule).filter(move |destination| names_of(destination, name));
                named.map(|destination| match destination.domains.learned {
                    Learned::Off => Meeting::No,
                    Learned::Monitor => Meeting::Monitored,
                    Learned::Enforce => Meeting::Yes,
                })
            };
            worth(one).max() == worth(other).max()
        })
    }

    pub fn has_signatures(rule: &Rule) -> bool {
        rule.services.iter().any(|service| matches!(service, ServiceMatch::Signature(_)))
    }

    /// The signatures that a packet's own payload shows.
    pub fn shown(self, load: &Load<'_>) -> impl Iterator<Item = SignatureId> {
        (0..).map(SignatureId).zip(&self.0.signatures).filter(|(_, signature)| shows(signature, load)).map(|(id, _)| id)
    }

    /// Whether the rule is about such a service. `shown`: the signatures of the packet, or of its flow.
    pub fn asks(self, rule: &Rule, service: Service, shown: &impl Fn(SignatureId) -> bool) -> bool {
        rule.services.iter().any(|wanted| match *wanted {
            ServiceMatch::Any => true,
            ServiceMatch::Protocol(number) => service.protocol() == number,
            ServiceMatch::Ports { protocol, first, last } => port_of(service, protocol).is_some_and(|port| (first..=last).contains(&port)),
            ServiceMatch::Icmp { family: Family::V4, kind } => service == Service::Icmp(kind),
            ServiceMatch::Icmp { family: Family::V6, kind } => service == Service::Icmpv6(kind),
            ServiceMatch::Signature(id) => shown(id),
        })
    }
}

fn port_of(service: Service, protocol: PortProtocol) -> Option<u16> {
    match (service, protocol) {
        (Service::Tcp(port), PortProtocol::Tcp) | (Service::Udp(port), PortProtocol::Udp) => Some(port),
        _ => None,
    }
}

fn shows(signature: &Signature, load: &Load<'_>) -> bool {
    let Signature { policy: _, name: _, protocol, ports, offset, bytes } = signature;
    let to_it = port_of(load.service, *protocol).is_some_and(|port| ports.iter().any(|(first, last)| (*first..=*last).contains(&port)));
    let there = load.payload.get(usize::from(*offset)..).filter(|there| there.len() >= bytes.len());
    to_it && there.is_some_and(|there| there.iter().zip(bytes).all(|(byte, wanted)| wanted.is_none_or(|wanted| wanted == *byte)))
}

/// By bisection: a country has thousands of ranges, and the oracle is asked millions of times.
fn holds(set: &AddressSet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => set.v4.contains(address.into()),
        IpAddr::V6(address) => set.v6.contains(address.into()),
    }
}

/// Whether what the rule decides is not always a pass.
pub(super) fn restricts(rule: &Rule) -> bool {
    !rule.monitored && verdict(rule.action) != Verdict::Pass
}

pub(super) fn verdict(action: Action) -> Verdict {
    match action {
        Action::Pass | Action::Monitor | Action::RateLimit(_) => Verdict::Pass,
        Action::Drop => Verdict::Drop,
        Action::Reject => Verdict::Reject,
    }
}
