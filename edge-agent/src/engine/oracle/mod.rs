//! The oracle: naive on purpose. It walks the policy model rule by rule over a packet that its own decoder has read, and shares no table, no
//! mask and no parser with the engines that it judges.

mod decode;
pub mod names;

use std::collections::HashMap;
use std::net::IpAddr;

use edge_ebpf::abi::{OnUninspectable, Reason, Verdict};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use self::decode::{Datagram, Decoded, Service, What};
use super::{Engine, EngineError, Outcome, SOME_TIME};
use crate::config::Conduct;
use crate::policy::model::{
    Action, AddressSet, DeviceSelector, Family, PortProtocol, RateLimit, RateUnit, RemoteSelector, Resolved, Rule, RuleId, ServiceMatch,
    Signal,
};

/// A policy set, and what became of the first fragments.
pub struct Oracle<'a> {
    policies: &'a Resolved,
    conduct: Conduct,
    first_fragments: HashMap<Datagram, (Verdict, Option<RuleId>)>,
    /// Nanoseconds' worth of packets that a device may still send under a rule, and when that was.
    buckets: HashMap<(Option<u64>, RuleId), (u128, Timestamp)>,
    now: Timestamp,
}

impl<'a> Oracle<'a> {
    pub fn new(policies: &'a Resolved, conduct: impl Into<Conduct>) -> Self {
        Self { policies, conduct: conduct.into(), first_fragments: HashMap::new(), buckets: HashMap::new(), now: SOME_TIME }
    }
}

impl Engine for Oracle<'_> {
    fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError> {
        self.now = now;
        Ok(())
    }

    fn answer(&mut self, _frame: &[u8]) -> Result<(), EngineError> {
        Ok(())
    }

    /// The answer to a rejected frame is not its business: `reply` is always `None`.
    fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, EngineError> {
        Ok(self.decide(side, frame))
    }
}

impl Oracle<'_> {
    fn decide(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let inbound = |rule: &Rule| rule.direction.inbound() && rule.from.contains(&DeviceSelector::All) && !self.built_in(rule);
        if side == Side::Outside && !self.policies.rules.iter().any(inbound) {
            // Nobody asks anything of what comes in: it is counted, and not looked at.
            return outcome(Verdict::Pass, None, Vec::new(), None);
        }
        let Decoded { device, source, destination, what } = decode::decode(frame);
        let packet = match side {
            Side::Inside => Seen { device: Some(device), remote: destination, destination },
            Side::Outside => Seen { device: None, remote: source, destination },
        };
        match what {
            What::NotIp => outcome(Verdict::Pass, None, Vec::new(), None),
            What::Uninspectable(reason) => self.uninspectable(packet, reason),
            What::Later(datagram) => match self.first_fragments.get(&datagram) {
                Some(&(verdict, rule)) => outcome(verdict, rule, Vec::new(), None),
                None => self.uninspectable(packet, Reason::FragmentWithoutFirst),
            },
            What::Whole(service) => self.walk(packet, service, frame.len()),
            What::First(datagram, service) => {
                let outcome = self.walk(packet, service, frame.len());
                if !self.through_pinhole(&outcome, side) {
                    self.first_fragments.insert(datagram, (outcome.verdict, outcome.rule));
                }
                outcome
            }
        }
    }

    fn walk(&mut self, packet: Seen, service: Service, length: usize) -> Outcome {
        let policies = self.policies;
        let rules = || (0..).map(RuleId).zip(&policies.rules);
        let asked = |rule: &Rule| rule.services.iter().any(|wanted| asks(*wanted, service));
        if packet.device.is_none() {
            // The pinhole is about where a packet goes, also on the way in.
            let mut pinhole = rules().filter(|(_, rule)| self.built_in(rule) && rule.from.contains(&DeviceSelector::All));
            if let Some((id, _)) = pinhole.find(|(_, rule)| asked(rule) && self.to(rule, packet.destination)) {
                return outcome(Verdict::Pass, Some(id), Vec::new(), None);
            }
        }
        let mut monitored = Vec::new();
        for (id, rule) in rules() {
            if !(self.from(rule, packet) && self.to(rule, packet.remote) && asked(rule) && self.holds_now(rule)) {
                continue;
            }
            if rule.monitored {
                monitored.push(id);
                continue;
            }
            let verdict = match rule.action {
                Action::RateLimit(limit) if !self.pay(packet, id, limit, length) => Verdict::Drop,
                action => verdict(action),
            };
            return outcome(verdict, Some(id), monitored, None);
        }
        outcome(Verdict::Pass, None, monitored, None)
    }

    /// A bucket of time: it holds a burst's worth, each nanosecond puts one in, and a packet takes out what it costs.
    fn pay(&mut self, packet: Seen, rule: RuleId, limit: RateLimit, length: usize) -> bool {
        const SECOND: u128 = 1_000_000_000;
        let RateLimit { unit, per_second, burst } = limit;
        let units = match unit {
            RateUnit::Packets => 1,
            RateUnit::Bytes => length as u128,
        };
        let worth = |units: u128| (units * SECOND).div_ceil(u128::from(per_second));
        let full = match unit {
            RateUnit::Packets => u128::from(burst) * worth(1),
            RateUnit::Bytes => worth(u128::from(burst)),
        };
        let (level, since) = *self.buckets.get(&(packet.device, rule)).unwrap_or(&(full, self.now));
        let elapsed = self.now.duration_since(since).unsigned_abs().as_nanos();
        let level = (level + elapsed).min(full);
        let left = level.checked_sub(worth(units));
        self.buckets.insert((packet.device, rule), (left.unwrap_or(level), self.now));
        left.is_some()
    }

    /// Such packets are let in without a look at what else they are, so their later fragments are on their own.
    fn through_pinhole(&self, outcome: &Outcome, side: Side) -> bool {
        side == Side::Outside && outcome.rule.is_some_and(|rule| self.built_in(&self.policies.rules[rule.index()]))
    }

    fn uninspectable(&self, packet: Seen, reason: Reason) -> Outcome {
        // Behind a source route the destination is only the next stop.
        let remote = packet.remote.filter(|_| reason != Reason::SourceRoute || packet.device.is_none());
        let could_match = |rule: &Rule| {
            !rule.monitored
                && verdict(rule.action) != Verdict::Pass
                && self.from(rule, packet)
                && (remote.is_none() || self.to(rule, remote))
                && self.holds_now(rule)
        };
        let verdict = match self.conduct.on_uninspectable[reason as usize] {
            OnUninspectable::Pass => Verdict::Pass,
            OnUninspectable::Drop => Verdict::Drop,
            OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect if self.policies.rules.iter().any(could_match) => {
                Verdict::Drop
            }
            OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect => Verdict::Pass,
        };
        outcome(verdict, None, Vec::new(), Some(reason))
    }

    fn built_in(&self, rule: &Rule) -> bool {
        self.policies.policies[rule.policy.index()].built_in
    }

    fn holds_now(&self, rule: &Rule) -> bool {
        let minute = self.now.as_second().div_euclid(60) * 60;
        let expired = self.policies.policies[rule.policy.index()].expires.is_some_and(|expires| minute >= expires);
        !expired
            && rule
                .when
                .is_none_or(|schedule| Timestamp::from_second(minute).is_ok_and(|at| self.policies.schedules[schedule.index()].holds(at)))
    }

    fn from(&self, rule: &Rule, packet: Seen) -> bool {
        let Some(device) = packet.device else {
            return rule.direction.inbound() && rule.from.contains(&DeviceSelector::All) && !self.built_in(rule);
        };
        rule.direction.outbound()
            && rule.from.iter().any(|selector| match selector {
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

/// What the rules ask about a packet.
#[derive(Clone, Copy)]
struct Seen {
    /// `None` on its way in: the device is behind the gateway.
    device: Option<u64>,
    remote: Option<IpAddr>,
    destination: Option<IpAddr>,
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
        ServiceMatch::Signature(_) => false,
    }
}

fn verdict(action: Action) -> Verdict {
    match action {
        Action::Pass | Action::Monitor | Action::RateLimit(_) => Verdict::Pass,
        Action::Drop => Verdict::Drop,
        Action::Reject => Verdict::Reject,
    }
}

fn outcome(verdict: Verdict, rule: Option<RuleId>, monitored: Vec<RuleId>, reason: Option<Reason>) -> Outcome {
    Outcome { verdict, rule, monitored, reason, reply: None, name: None }
}
