//! A pair in the corpus' own words.

mod device;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use edge_agent::engine::{Engine, oracle::Oracle};
use edge_agent::policy::model::{
    Action, Destination, DestinationId, DeviceSelector, Domains, Family, GroupId, PortProtocol, RateLimit, RateUnit, RemoteSelector,
    Resolved, Rule, Schedule, ServiceMatch, Signature,
};
use edge_agent::policy::name::{NamePattern, NameRef, NameScope};
use edge_ebpf::abi::{DnsReject, OnUninspectable, Reason};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use crate::corpus_case;
use crate::corpus_case::frame::{ExpectCase, FrameCase};
use crate::corpus_case::payload::PayloadCase;
use crate::corpus_case::policy::{DestinationCase, NamedCase, PolicyCase, RuleCase, SignatureCase, WhenCase, rule_name};
use crate::frames::{Arrival, Way};
use crate::policies::Case;

/// As a file of the corpus; what is expected is what the oracle says, which knows of no answers.
pub fn describe(case: &Case, frames: &[Arrival]) -> anyhow::Result<corpus_case::Case> {
    let Case { policies: set, conduct } = case;
    let mut oracle = Oracle::new(set, *conduct);
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    let mut described = Vec::new();
    for (index, arrival) in frames.iter().enumerate() {
        oracle.set_time(Timestamp::from_second(arrival.at)?)?;
        let Way::In(side) = arrival.way else {
            oracle.answer(&arrival.frame)?;
            described.push(frame_case(format!("frame {index}"), arrival, None));
            continue;
        };
        let outcome = oracle.run_on(side, &arrival.frame)?;
        for rule in outcome.rule.iter().chain(&outcome.monitored) {
            *counters.entry(rule_name(set, *rule)).or_default() += 1;
        }
        described.push(frame_case(format!("frame {index}"), arrival, Some(ExpectCase::of(&outcome, set))));
    }
    let policies = set
        .policies
        .iter()
        .enumerate()
        .map(|(index, policy)| PolicyCase {
            name: policy.name.clone(),
            expires: policy.expires.and_then(|expires| Timestamp::from_second(expires).ok()),
            mode: Some(format!("{:?}", policy.mode).to_lowercase()),
            built_in: policy.built_in,
            rules: set.rules.iter().filter(|rule| rule.policy.index() == index).map(|rule| describe_rule(set, rule)).collect(),
        })
        .collect();
    Ok(corpus_case::Case {
        about: "Found by ./x differential; say here what was wrong.".into(),
        policies,
        devices: used(&set.groups, |group| is_group_used(set, group))
            .map(|group| (group.name.clone(), device::describe(set, &group.when)))
            .collect(),
        owners: set.groups.iter().map(|group| (group.name.clone(), set.policies[group.policy.index()].name.clone())).collect(),
        destinations: used(&set.destinations, |place| {
            set.rules.iter().any(|rule| rule.to.contains(&RemoteSelector::Destination(DestinationId(place))))
        })
        .map(|destination| (destination.name.clone(), describe_destination(destination)))
        .collect(),
        // Groups may be about those that no rule is about.
        signatures: set.signatures.iter().map(|signature| (signature.name.clone(), describe_signature(signature))).collect(),
        uninspectable: verdicts(&conduct.on_uninspectable),
        dns_reject: Some(
            match conduct.dns_reject {
                DnsReject::NxDomain => "nxdomain",
                DnsReject::Refused => "refused",
                DnsReject::NullAddress => "null_address",
            }
            .into(),
        ),
        learned: Some([conduct.learned.min, conduct.learned.max]),
        frames: described,
        counters,
    })
}

fn used<T>(all: &[T], is_used: impl Fn(u32) -> bool) -> impl Iterator<Item = &T> {
    (0..).zip(all).filter(move |(place, _)| is_used(*place)).map(|(_, one)| one)
}

/// Unknown is a device that is in no group.
fn is_group_used(set: &Resolved, place: u32) -> bool {
    let is_meant = |selector: &_| [DeviceSelector::Unknown, DeviceSelector::Group(GroupId(place))].contains(selector);
    set.rules.iter().any(|rule| rule.from.iter().any(is_meant))
}

fn describe_rule(set: &Resolved, rule: &Rule) -> RuleCase {
    let from = rule.from.iter().map(|selector| match selector {
        DeviceSelector::All => "all".into(),
        DeviceSelector::Unknown => "unknown".into(),
        DeviceSelector::Group(group) => set.groups[group.index()].name.clone(),
    });
    let to = rule.to.iter().map(|selector| match selector {
        RemoteSelector::Any => "any".into(),
        RemoteSelector::Destination(destination) => set.destinations[destination.index()].name.clone(),
    });
    let services = rule.services.iter().map(|service| match *service {
        ServiceMatch::Any => "any".into(),
        ServiceMatch::Protocol(number) => format!("ip/{number}"),
        ServiceMatch::Ports { protocol: PortProtocol::Tcp, first, last } => format!("tcp/{first}-{last}"),
        ServiceMatch::Ports { protocol: PortProtocol::Udp, first, last } => format!("udp/{first}-{last}"),
        ServiceMatch::Icmp { family: Family::V4, kind } => format!("icmp/{kind}"),
        ServiceMatch::Icmp { family: Family::V6, kind } => format!("icmpv6/{kind}"),
        ServiceMatch::Signature(id) => format!("signature {}", set.signatures[id.index()].name),
    });
    RuleCase {
        id: rule.id.clone(),
        from: from.collect(),
        to: to.collect(),
        services: services.collect(),
        action: match rule.action {
            Action::RateLimit(RateLimit { unit: RateUnit::Packets, per_second, burst }) => {
                format!("rate_limit {per_second} packets burst {burst}")
            }
            Action::RateLimit(RateLimit { unit: RateUnit::Bytes, per_second, burst }) => {
                format!("rate_limit {per_second} bytes burst {burst}")
            }
            action => action.name().into(),
        },
        direction: Some(format!("{:?}", rule.direction).to_lowercase()),
        when: rule.when.map(|schedule| {
            let Schedule { days, from, to, timezone } = &set.schedules[schedule.index()];
            WhenCase {
                days: "MTWTFSS".chars().zip(days).map(|(day, wanted)| if *wanted { day } else { '-' }).collect(),
                from: *from,
                to: *to,
                timezone: timezone.iana_name().unwrap_or("UTC").into(),
            }
        }),
    }
}

fn describe_destination(destination: &Destination) -> DestinationCase {
    let Destination { policy: _, name: _, sets, domains: Domains { sets: names, learned } } = destination;
    let ranges = sets.iter().flat_map(|set| {
        let v4 = set.v4.iter().map(|&(first, last)| format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(last)));
        let v6 = set.v6.iter().map(|&(first, last)| format!("{}-{}", Ipv6Addr::from(first), Ipv6Addr::from(last)));
        v4.chain(v6)
    });
    let prefixes = ranges.collect();
    if names.is_empty() {
        return DestinationCase::Prefixes(prefixes);
    }
    DestinationCase::Named(NamedCase {
        prefixes,
        domains: names.iter().flat_map(|set| set.iter().map(pattern)).collect(),
        learned: Some(format!("{learned:?}").to_lowercase()),
    })
}

fn pattern((name, scope): (NameRef<'_>, NameScope)) -> String {
    NamePattern { name: name.to_name(), scope }.to_string()
}

fn describe_signature(signature: &Signature) -> SignatureCase {
    let Signature { policy: _, name: _, protocol, ports, offset, bytes } = signature;
    SignatureCase {
        protocol: format!("{protocol:?}").to_lowercase(),
        ports: ports.iter().map(|(first, last)| format!("{first}-{last}")).collect(),
        offset: *offset,
        bytes: bytes.iter().map(|byte| byte.map_or("??".into(), |byte| format!("{byte:02x}"))).collect(),
    }
}

/// By reason's name, as the corpus has them.
fn verdicts(on_uninspectable: &[OnUninspectable; Reason::ALL.len()]) -> BTreeMap<String, String> {
    let name = |verdict| match verdict {
        OnUninspectable::Pass => "pass",
        OnUninspectable::Drop => "drop",
        OnUninspectable::DropIfRuleCouldMatch => "drop_if_rule_could_match",
        OnUninspectable::Inspect => "inspect",
    };
    Reason::ALL.into_iter().zip(on_uninspectable).map(|(reason, verdict)| (reason.name().into(), name(*verdict).into())).collect()
}

/// In hex.
fn frame_case(name: String, arrival: &Arrival, expect: Option<ExpectCase>) -> FrameCase {
    FrameCase {
        name,
        inbound: arrival.way == Way::In(Side::Outside),
        towards_device: arrival.way == Way::TowardsDevice,
        at: Timestamp::from_second(arrival.at).ok(),
        hex: Some(arrival.frame.iter().map(|byte| format!("{byte:02x}")).collect()),
        mac: None,
        from: None,
        to: None,
        service: None,
        source: None,
        flags: None,
        sequence: None,
        opening: None,
        tags: Vec::new(),
        options: None,
        extensions: Vec::new(),
        fragment: None,
        payload: PayloadCase::default(),
        answer: None,
        cut: None,
        patch: BTreeMap::new(),
        expect,
    }
}
