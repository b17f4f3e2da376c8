//! The oracle: naive on purpose. It walks the policy model rule by rule over a packet that its own decoder has read, and shares no table, no
//! mask and no parser with the engines that it judges.

mod decode;

use std::collections::HashMap;
use std::net::IpAddr;

use edge_ebpf::abi::{OnUninspectable, Reason, Verdict};

use self::decode::{Datagram, Decoded, Service, What};
use super::Outcome;
use crate::policy::model::{
    Action, AddressSet, DeviceSelector, Family, PortProtocol, RemoteSelector, Resolved, Rule, RuleId, ServiceMatch, Signal,
};

/// A policy set, and what became of the first fragments.
pub struct Oracle<'a> {
    policies: &'a Resolved,
    on_uninspectable: [OnUninspectable; Reason::ALL.len()],
    first_fragments: HashMap<Datagram, (Verdict, Option<RuleId>)>,
}

impl<'a> Oracle<'a> {
    /// `on_uninspectable` by `Reason as usize`.
    pub fn new(policies: &'a Resolved, on_uninspectable: [OnUninspectable; Reason::ALL.len()]) -> Self {
        Self { policies, on_uninspectable, first_fragments: HashMap::new() }
    }

    /// Decides about a frame. The answer to a rejected one is not its business: `reply` is always `None`.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        let Decoded { device, remote, what } = decode::decode(frame);
        match what {
            What::NotIp => outcome(Verdict::Pass, None, Vec::new(), None),
            What::Uninspectable(reason) => self.uninspectable(device, remote, reason),
            What::Later(datagram) => match self.first_fragments.get(&datagram) {
                Some(&(verdict, rule)) => outcome(verdict, rule, Vec::new(), None),
                None => self.uninspectable(device, remote, Reason::FragmentWithoutFirst),
            },
            What::Whole(service) => self.walk(device, remote, service),
            What::First(datagram, service) => {
                let outcome = self.walk(device, remote, service);
                self.first_fragments.insert(datagram, (outcome.verdict, outcome.rule));
                outcome
            }
        }
    }

    fn walk(&self, device: u64, remote: Option<IpAddr>, service: Service) -> Outcome {
        let mut monitored = Vec::new();
        for (index, rule) in self.policies.rules.iter().enumerate() {
            let id = RuleId(index as u32);
            let matches = self.from(rule, device) && self.to(rule, remote) && rule.services.iter().any(|wanted| asks(*wanted, service));
            if !matches {
                continue;
            }
            if rule.monitored {
                monitored.push(id);
                continue;
            }
            return outcome(verdict(rule.action), Some(id), monitored, None);
        }
        outcome(Verdict::Pass, None, monitored, None)
    }

    fn uninspectable(&self, device: u64, remote: Option<IpAddr>, reason: Reason) -> Outcome {
        let could_match = |rule: &Rule| {
            !rule.monitored
                && verdict(rule.action) != Verdict::Pass
                && self.from(rule, device)
                && (remote.is_none() || self.to(rule, remote))
        };
        let verdict = match self.on_uninspectable[reason as usize] {
            OnUninspectable::Pass => Verdict::Pass,
            OnUninspectable::Drop => Verdict::Drop,
            OnUninspectable::DropIfRuleCouldMatch if self.policies.rules.iter().any(could_match) => Verdict::Drop,
            OnUninspectable::DropIfRuleCouldMatch => Verdict::Pass,
        };
        outcome(verdict, None, Vec::new(), Some(reason))
    }

    fn from(&self, rule: &Rule, device: u64) -> bool {
        rule.from.iter().any(|selector| match selector {
            DeviceSelector::All => true,
            DeviceSelector::Group(group) => self.in_group(group.index(), device),
            DeviceSelector::Unknown => !(0..self.policies.groups.len()).any(|group| {
                let policy = self.policies.groups[group].policy;
                !self.policies.policies[policy.index()].built_in && self.in_group(group, device)
            }),
        })
    }

    fn in_group(&self, group: usize, device: u64) -> bool {
        self.policies.groups[group].when.holds(&|signal| match &self.policies.signals[signal.index()] {
            Signal::Mac(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&device)),
        })
    }

    fn to(&self, rule: &Rule, remote: Option<IpAddr>) -> bool {
        rule.to.iter().any(|selector| match selector {
            RemoteSelector::Any => true,
            RemoteSelector::Destination(destination) => {
                remote.is_some_and(|remote| self.policies.destinations[destination.index()].sets.iter().any(|set| holds(set, remote)))
            }
        })
    }
}

/// By bisection: a country has thousands of ranges, and the oracle is asked millions of times.
fn holds(set: &AddressSet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => set.v4.contains(address.into()),
        IpAddr::V6(address) => set.v6.contains(address.into()),
    }
}

fn asks(wanted: ServiceMatch, service: Service) -> bool {
    match wanted {
        ServiceMatch::Any => true,
        ServiceMatch::Protocol(number) => service.protocol() == number,
        ServiceMatch::Ports { protocol: PortProtocol::Tcp, first, last } => {
            matches!(service, Service::Tcp(port) if (first..=last).contains(&port))
        }
        ServiceMatch::Ports { protocol: PortProtocol::Udp, first, last } => {
            matches!(service, Service::Udp(port) if (first..=last).contains(&port))
        }
        ServiceMatch::Icmp { family: Family::V4, kind } => service == Service::Icmp(kind),
        ServiceMatch::Icmp { family: Family::V6, kind } => service == Service::Icmpv6(kind),
    }
}

fn verdict(action: Action) -> Verdict {
    match action {
        Action::Pass | Action::Monitor => Verdict::Pass,
        Action::Drop => Verdict::Drop,
        Action::Reject => Verdict::Reject,
    }
}

fn outcome(verdict: Verdict, rule: Option<RuleId>, monitored: Vec<RuleId>, reason: Option<Reason>) -> Outcome {
    Outcome { verdict, rule, monitored, reason, reply: None }
}
