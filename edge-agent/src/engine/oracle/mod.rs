//! The oracle: naive on purpose. It walks the policy model rule by rule over a packet that its own decoder has read, and shares no table, no
//! mask and no parser with the engines that it judges.

mod carried;
mod decode;
mod facts;
mod flows;
mod learned;
pub mod names;
mod read;
mod rulebook;

use std::collections::HashMap;
use std::net::IpAddr;

use edge_ebpf::abi::{OnUninspectable, Reason, Verdict};
use edge_ebpf::engine::Side;
use edge_ebpf::packet::Mac;
use jiff::Timestamp;

use self::carried::Carried;
use self::decode::{Datagram, Decoded, Load, Service, What};
use self::facts::{Device, Devices};
use self::flows::Flows;
use self::learned::Learned;
use self::read::answer::{self, Answer};
use self::rulebook::{Meeting, Remote, Rulebook, restricts, verdict};
use super::{Engine, EngineError, Outcome, SOME_TIME};
use crate::config::Conduct;
use crate::identity::ja4::Ja4;
use crate::policy::model::{Action, DeviceSelector, GroupId, RateLimit, RateUnit, Resolved, Rule, RuleId, SignatureId};

/// Names of one answer that learn its addresses.
const NAMES_OF_AN_ANSWER: usize = 4;

/// A policy set, and what became of the packets before.
pub struct Oracle<'a> {
    rulebook: Rulebook<'a>,
    conduct: Conduct,
    first_fragments: HashMap<Datagram, (Verdict, Option<RuleId>)>,
    /// Nanoseconds' worth of packets that a device may still send under a rule, and when that was.
    buckets: HashMap<(Option<u64>, RuleId), (u128, Timestamp)>,
    flows: Flows,
    learned: Learned,
    devices: Devices,
    /// What the last frame completed.
    hello: Option<Ja4>,
    now: Timestamp,
}

impl<'a> Oracle<'a> {
    pub fn new(policies: &'a Resolved, conduct: impl Into<Conduct>) -> Self {
        Self {
            rulebook: Rulebook(policies),
            conduct: conduct.into(),
            first_fragments: HashMap::new(),
            buckets: HashMap::new(),
            flows: Flows::new(),
            learned: Learned::default(),
            devices: Devices::default(),
            hello: None,
            now: SOME_TIME,
        }
    }
}

impl Oracle<'_> {
    /// The groups that a device is in, by its MAC and what it has shown so far.
    pub fn groups(&self, device: Mac) -> Vec<GroupId> {
        let device = self.devices.known(device.0);
        (0..self.rulebook.0.groups.len())
            .filter(|group| self.rulebook.in_group(*group, &device))
            .map(|group| GroupId(group as u32))
            .collect()
    }
}

impl Oracle<'_> {
    /// The JA4 of the hello that the last frame completed, where devices are known by such: for engines that have to be told it.
    pub fn hello(&self) -> Option<&Ja4> {
        self.hello.as_ref()
    }
}

impl Engine for Oracle<'_> {
    fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError> {
        self.now = now;
        Ok(())
    }

    fn answer(&mut self, frame: &[u8]) -> Result<(), EngineError> {
        if let What::Whole(load) = decode::decode(frame).what
            && let (Service::Udp(_), 53) = (load.service, load.source_port)
            && let Some(Answer { names, addresses }) = answer::read(load.payload)
        {
            for name in names.iter().filter(|name| self.rulebook.is_watched(name)).take(NAMES_OF_AN_ANSWER) {
                for (address, time_to_live) in &addresses {
                    let now = self.now.as_second();
                    let until = now + i64::from(self.conduct.learned.clamp(*time_to_live));
                    self.learned.learn(*address, name, (now, until), |one, other| self.rulebook.are_alike(one, other));
                }
            }
        }
        Ok(())
    }

    /// The answer to a rejected frame is not its business: `reply` is always `None`.
    fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, EngineError> {
        Ok(self.decide(side, frame))
    }
}

impl Oracle<'_> {
    fn decide(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let rulebook = self.rulebook;
        self.hello = None;
        let inbound = |rule: &Rule| rule.direction.inbound() && rule.from.contains(&DeviceSelector::All) && !rulebook.built_in(rule);
        if side == Side::Outside && !rulebook.rules().any(|(_, rule)| inbound(rule)) {
            // Nobody asks anything of what comes in: it is counted, and not looked at.
            return outcome(Verdict::Pass, None, Vec::new(), None);
        }
        let Decoded { device: mac, source, destination, what } = decode::decode(frame);
        let ends = source.zip(destination);
        let device = self.devices.show(rulebook.0, mac, &[]);
        let packet = match side {
            Side::Inside => Seen { device: Some(&device), remote: destination, ends },
            Side::Outside => Seen { device: None, remote: source, ends },
        };
        match what {
            What::NotIp => outcome(Verdict::Pass, None, Vec::new(), None),
            What::Uninspectable(reason) => self.uninspectable(packet, reason),
            What::Later(datagram) => match self.first_fragments.get(&datagram) {
                Some(&(verdict, rule)) => outcome(verdict, rule, Vec::new(), None),
                None => self.uninspectable(packet, Reason::FragmentWithoutFirst),
            },
            What::Whole(load) => self.look_and_walk(packet, &load, frame.len()),
            What::First(datagram, load) => {
                let outcome = self.look_and_walk(packet, &load, frame.len());
                if !self.through_pinhole(&outcome, side) {
                    self.first_fragments.insert(datagram, (outcome.verdict, outcome.rule));
                }
                outcome
            }
        }
    }

    /// A packet's own facts count for what becomes of it: those of its headers before its rules say what is read, and what is read before they
    /// decide.
    fn look_and_walk(&mut self, packet: Seen<'_>, load: &Load<'_>, length: usize) -> Outcome {
        let (rulebook, policies) = (self.rulebook, self.rulebook.0);
        let (Some(&Device { mac, .. }), Some(ends)) = (packet.device, packet.ends) else {
            return self.walk_and_judge(packet, load.service, &Carried::default(), length);
        };
        let device = self.devices.show(policies, mac, &facts::of_headers(mac, load));
        let mut carried = Carried::of(rulebook, &mut self.flows, &device, ends, load);
        let device = self.devices.show(policies, mac, &carried.facts);
        self.hello = carried.hello().cloned();
        carried.mark(rulebook, &mut self.flows, &device);
        let outcome = self.walk_and_judge(Seen { device: Some(&device), ..packet }, load.service, &carried, length);
        if outcome.verdict == Verdict::Pass {
            carried.passed(&mut self.flows);
        }
        outcome
    }

    fn walk_and_judge(&mut self, packet: Seen<'_>, service: Service, carried: &Carried, length: usize) -> Outcome {
        let decided = self.walk(packet, service, carried, length);
        Outcome { name: carried.shown.clone(), ..self.in_the_way(packet, service, carried, decided) }
    }

    /// What the rules say.
    fn walk(&mut self, packet: Seen<'_>, service: Service, carried: &Carried, length: usize) -> Outcome {
        let rulebook = self.rulebook;
        let shown = |id: SignatureId| carried.signatures.contains(&id);
        if packet.device.is_none() {
            // The pinhole is about where a packet goes, also on the way in.
            let mut pinhole = rulebook.rules().filter(|(_, rule)| rulebook.built_in(rule) && rule.from.contains(&DeviceSelector::All));
            let lets_in = |rule| rulebook.asks(rule, service, &shown) && rulebook.to(rule, packet.ends.map(|(_, destination)| destination));
            if let Some((id, _)) = pinhole.find(|(_, rule)| lets_in(rule)) {
                return outcome(Verdict::Pass, Some(id), Vec::new(), None);
            }
        }
        let remote = packet.remote.filter(|_| carried.named || packet.device.is_none());
        let learned = remote.map_or_else(Vec::new, |remote| self.learned.names(remote, self.now.as_second()));
        let remote = Remote { address: packet.remote, carried: &carried.names, learned: &learned };
        let mut monitored = Vec::new();
        for (id, rule) in rulebook.rules() {
            if !(rulebook.from(rule, packet.device) && rulebook.asks(rule, service, &shown) && rulebook.holds_at(rule, self.now)) {
                continue;
            }
            match rulebook.meets(rule, &remote) {
                Meeting::No => continue,
                Meeting::Yes if !rule.monitored => {}
                Meeting::Yes | Meeting::Monitored => {
                    monitored.push(id);
                    continue;
                }
            }
            let verdict = match rule.action {
                Action::RateLimit(limit) if !self.pay(packet, id, limit, length) => Verdict::Drop,
                action => verdict(action),
            };
            return outcome(verdict, Some(id), monitored, None);
        }
        outcome(Verdict::Pass, None, monitored, None)
    }

    /// What becomes of a packet that the rules let pass although they cannot know all that it carries.
    fn in_the_way(&self, packet: Seen<'_>, service: Service, carried: &Carried, decided: Outcome) -> Outcome {
        let rulebook = self.rulebook;
        if decided.verdict != Verdict::Pass {
            return decided;
        }
        let shown = |id: SignatureId| carried.signatures.contains(&id);
        let could = |asks: &dyn Fn(&Rule) -> bool| {
            rulebook.rules().take_while(|(id, _)| decided.rule.is_none_or(|decider| *id < decider)).any(|(_, rule)| {
                restricts(rule)
                    && rulebook.has_names(rule)
                    && rulebook.from(rule, packet.device)
                    && rulebook.holds_at(rule, self.now)
                    && asks(rule)
            })
        };
        if let Some(reason) = carried.obstacle {
            let drops = match self.conduct.on_uninspectable[reason as usize] {
                OnUninspectable::Pass => false,
                OnUninspectable::Drop => true,
                OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect => could(&|rule| rulebook.asks(rule, service, &shown)),
            };
            return match (drops, decided.rule) {
                (true, _) => outcome(Verdict::Drop, None, decided.monitored, Some(reason)),
                (false, None) => outcome(Verdict::Pass, None, decided.monitored, Some(reason)),
                (false, Some(_)) => decided,
            };
        }
        let strips = self.conduct.on_uninspectable[Reason::HttpsRecord as usize] != OnUninspectable::Pass;
        if carried.asks_for_keys && strips && could(&|_| true) {
            return outcome(Verdict::Reject, None, decided.monitored, Some(Reason::HttpsRecord));
        }
        decided
    }

    /// A bucket of time: it holds a burst's worth, each nanosecond puts one in, and a packet takes out what it costs.
    fn pay(&mut self, packet: Seen<'_>, rule: RuleId, limit: RateLimit, length: usize) -> bool {
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
        let bucket = (packet.device.map(|device| device.mac), rule);
        let (level, since) = *self.buckets.get(&bucket).unwrap_or(&(full, self.now));
        let elapsed = self.now.duration_since(since).unsigned_abs().as_nanos();
        let level = (level + elapsed).min(full);
        let left = level.checked_sub(worth(units));
        self.buckets.insert(bucket, (left.unwrap_or(level), self.now));
        left.is_some()
    }

    /// Such packets are let in without a look at what else they are, so their later fragments are on their own.
    fn through_pinhole(&self, outcome: &Outcome, side: Side) -> bool {
        side == Side::Outside && outcome.rule.is_some_and(|rule| self.rulebook.built_in(&self.rulebook.0.rules[rule.index()]))
    }

    fn uninspectable(&self, packet: Seen<'_>, reason: Reason) -> Outcome {
        // Behind a source route the destination is only the next stop.
        let remote = packet.remote.filter(|_| reason != Reason::SourceRoute || packet.device.is_none());
        let rulebook = self.rulebook;
        let could_match = |rule: &Rule| {
            restricts(rule)
                && rulebook.from(rule, packet.device)
                && (remote.is_none() || rulebook.to(rule, remote))
                && rulebook.holds_at(rule, self.now)
        };
        let verdict = match self.conduct.on_uninspectable[reason as usize] {
            OnUninspectable::Pass => Verdict::Pass,
            OnUninspectable::Drop => Verdict::Drop,
            OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect if rulebook.0.rules.iter().any(could_match) => Verdict::Drop,
            OnUninspectable::DropIfRuleCouldMatch | OnUninspectable::Inspect => Verdict::Pass,
        };
        outcome(verdict, None, Vec::new(), Some(reason))
    }
}

/// What the rules ask about a packet.
#[derive(Clone, Copy)]
struct Seen<'d> {
    /// `None` on its way in: the device is behind the gateway.
    device: Option<&'d Device>,
    remote: Option<IpAddr>,
    /// Source and destination.
    ends: Option<(IpAddr, IpAddr)>,
}

fn outcome(verdict: Verdict, rule: Option<RuleId>, monitored: Vec<RuleId>, reason: Option<Reason>) -> Outcome {
    Outcome { verdict, rule, monitored, reason, reply: None, name: None }
}
