//! The verdict corpus: files that a person can read, each a policy set, frames, and what becomes of them. Every bug found gets a case.
//!
//! A frame is described, or given in hex; `cut` and `patch` then damage it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use edge_agent::engine::Outcome;
use edge_agent::engine::frame::{Ends, FragmentSpec, FrameSpec, TcpFlags, Transport};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Expr, Family, Group, GroupId, Mode, PolicyId,
    PolicyInfo, PortProtocol, Ranges, RateLimit, RateUnit, RemoteSelector, Resolved, Rule, RuleId, Schedule, ScheduleId, ServiceMatch,
    Signal, SignalId,
};
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::packet::Mac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A file of the corpus.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is there for.
    pub about: String,
    /// Policies in order of evaluation.
    pub policies: Vec<PolicyCase>,
    /// Groups of devices: ranges of MACs, or `{all, any, not}` over such, nested at will.
    #[serde(default)]
    pub devices: BTreeMap<String, DeviceCase>,
    /// Destinations: prefixes, or ranges as `first-last`.
    #[serde(default)]
    pub destinations: BTreeMap<String, Vec<String>>,
    /// Verdicts per reason; `drop_if_rule_could_match` where nothing is said.
    #[serde(default)]
    pub uninspectable: BTreeMap<String, String>,
    pub frames: Vec<FrameCase>,
    /// Packets counted by `policy/rule`, after all frames; rules that are not named count nothing.
    pub counters: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyCase {
    pub name: String,
    #[serde(default)]
    pub mode: Option<String>,
    #[serde(default)]
    pub built_in: bool,
    /// The moment from which on it does not hold.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    pub rules: Vec<RuleCase>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleCase {
    pub id: String,
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub services: Vec<String>,
    /// Of an action `rate_limit` also: `rate_limit 10 packets burst 20`, `rate_limit 1000 bytes burst 5000`, each a second.
    pub action: String,
    /// `outbound` where nothing is said.
    #[serde(default)]
    pub direction: Option<String>,
    #[serde(default)]
    pub when: Option<WhenCase>,
}

/// Times of the week.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenCase {
    /// Seven characters, Monday first: `-` for a day that is not meant.
    pub days: String,
    /// Minutes since midnight.
    pub from: u16,
    pub to: u16,
    pub timezone: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeviceCase {
    /// First and last MAC of each range.
    Macs(Vec<[String; 2]>),
    Expression(ExpressionCase),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ExpressionCase {
    All(Vec<DeviceCase>),
    Any(Vec<DeviceCase>),
    Not(Box<DeviceCase>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameCase {
    pub name: String,
    /// From the upstream.
    #[serde(default)]
    pub inbound: bool,
    /// When; the time of the frame before it where nothing is said.
    #[serde(default)]
    pub at: Option<Timestamp>,
    #[serde(default)]
    pub hex: Option<String>,
    #[serde(default)]
    pub mac: Option<String>,
    #[serde(default)]
    pub from: Option<IpAddr>,
    #[serde(default)]
    pub to: Option<IpAddr>,
    #[serde(default)]
    pub service: Option<String>,
    /// TCP flags: any of `S`, `A`, `F`, `R`; `S` where nothing is said.
    #[serde(default)]
    pub flags: Option<String>,
    /// Tags as `8100:7`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// IPv4 options, hex.
    #[serde(default)]
    pub options: Option<String>,
    /// IPv6 extension headers as `60:0000010400000000`: number and bytes, the first of which is replaced by the next header's number.
    #[serde(default)]
    pub extensions: Vec<String>,
    #[serde(default)]
    pub fragment: Option<FragmentCase>,
    /// Bytes of payload.
    #[serde(default)]
    pub payload: usize,
    /// Bytes kept.
    #[serde(default)]
    pub cut: Option<usize>,
    /// Place → byte.
    #[serde(default)]
    pub patch: BTreeMap<usize, u8>,
    pub expect: ExpectCase,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentCase {
    pub id: u32,
    pub offset: u16,
    pub more: bool,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ExpectCase {
    pub verdict: String,
    /// `policy/rule`
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub monitored: Vec<String>,
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether a rejected frame is answered.
    #[serde(default)]
    pub answered: bool,
}

impl ExpectCase {
    /// An outcome in the corpus' own words.
    pub fn of(outcome: &Outcome, set: &Resolved) -> Self {
        let Outcome { verdict, rule, monitored, reason, reply, name: _ } = outcome;
        Self {
            verdict: verdict.name().into(),
            rule: rule.map(|rule| rule_name(set, rule)),
            monitored: monitored.iter().map(|rule| rule_name(set, *rule)).collect(),
            reason: reason.map(|reason| reason.name().into()),
            answered: reply.is_some(),
        }
    }
}

pub fn rule_name(set: &Resolved, rule: RuleId) -> String {
    let rule = &set.rules[rule.index()];
    format!("{}/{}", set.policies[rule.policy.index()].name, rule.id)
}

impl Case {
    pub fn resolved(&self) -> Resolved {
        let mut set = Resolved::default();
        let names: Vec<&String> = self.devices.keys().collect();
        let group_of = |name: &str| names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no device group {name}"));
        for (name, case) in &self.devices {
            let when = expression(case, &mut set.signals);
            set.groups.push(Group { policy: PolicyId(0), name: name.clone(), when });
        }
        let places: Vec<&String> = self.destinations.keys().collect();
        for (name, prefixes) in &self.destinations {
            let sets = vec![Arc::new(addresses(prefixes))];
            set.destinations.push(Destination { policy: PolicyId(0), name: name.clone(), sets, domains: Domains::default() });
        }
        for (index, policy) in self.policies.iter().enumerate() {
            let mode = match policy.mode.as_deref() {
                None | Some("enforce") => Mode::Enforce,
                Some("monitor") => Mode::Monitor,
                Some(other) => panic!("no mode {other}"),
            };
            set.policies.push(PolicyInfo {
                name: policy.name.clone(),
                title: String::new(),
                severity: "low".into(),
                mode,
                priority: index as u32,
                expires: policy.expires.map(Timestamp::as_second),
                built_in: policy.built_in,
            });
            for rule in &policy.rules {
                let action = action(&rule.action);
                let from = |name: &String| match name.as_str() {
                    "all" => DeviceSelector::All,
                    "unknown" => DeviceSelector::Unknown,
                    name => DeviceSelector::Group(GroupId(group_of(name) as u32)),
                };
                let to = |name: &String| match name.as_str() {
                    "any" => RemoteSelector::Any,
                    name => {
                        let place = places.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no destination {name}"));
                        RemoteSelector::Destination(DestinationId(place as u32))
                    }
                };
                set.rules.push(Rule {
                    policy: PolicyId(index as u32),
                    id: rule.id.clone(),
                    from: rule.from.iter().map(from).collect(),
                    to: rule.to.iter().map(to).collect(),
                    services: rule.services.iter().map(|name| service(name)).collect(),
                    direction: match rule.direction.as_deref() {
                        None | Some("outbound") => Direction::Outbound,
                        Some("inbound") => Direction::Inbound,
                        Some("both") => Direction::Both,
                        Some(other) => panic!("no direction {other}"),
                    },
                    when: rule.when.as_ref().map(|when| {
                        set.schedules.push(schedule(when));
                        ScheduleId(set.schedules.len() as u32 - 1)
                    }),
                    action,
                    monitored: action == Action::Monitor || mode == Mode::Monitor,
                    report: action != Action::Pass,
                });
            }
        }
        set
    }

    pub fn on_uninspectable(&self) -> [OnUninspectable; Reason::ALL.len()] {
        for name in self.uninspectable.keys() {
            assert!(Reason::ALL.iter().any(|reason| reason.name() == name), "no reason {name}");
        }
        Reason::ALL.map(|reason| match self.uninspectable.get(reason.name()).map(String::as_str) {
            None | Some("drop_if_rule_could_match") => OnUninspectable::DropIfRuleCouldMatch,
            Some("pass") => OnUninspectable::Pass,
            Some("drop") => OnUninspectable::Drop,
            Some(other) => panic!("no verdict {other}"),
        })
    }
}

impl FrameCase {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.hex {
            Some(hex) => unhex(hex),
            None => self.spec().build(),
        };
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        for (place, byte) in &self.patch {
            bytes[*place] = *byte;
        }
        bytes
    }

    fn spec(&self) -> FrameSpec {
        let to = self.to.expect("a described frame says where `to`");
        let ends = match (self.from, to) {
            (None, to) => Ends::to(to),
            (Some(IpAddr::V4(from)), IpAddr::V4(to)) => Ends::V4(from, to),
            (Some(IpAddr::V6(from)), IpAddr::V6(to)) => Ends::V6(from, to),
            _ => panic!("{}: ends of two families", self.name),
        };
        let mut spec = FrameSpec::new(mac(self.mac.as_deref().expect("a described frame has a `mac`")), ends, self.transport());
        spec.tags = self
            .tags
            .iter()
            .map(|tag| {
                let (kind, id) = tag.split_once(':').expect("a tag as 8100:7");
                (u16::from_str_radix(kind, 16).expect("hex"), id.parse().expect("a number"))
            })
            .collect();
        spec.options = self.options.as_deref().map(unhex).unwrap_or_default();
        spec.extensions = self
            .extensions
            .iter()
            .map(|extension| {
                let (number, bytes) = extension.split_once(':').expect("an extension as 60:hex");
                (number.parse().expect("a number"), unhex(bytes))
            })
            .collect();
        spec.fragment = self.fragment.as_ref().map(|&FragmentCase { id, offset, more }| FragmentSpec { id, offset, more });
        spec.payload = vec![0x61; self.payload];
        spec
    }

    fn transport(&self) -> Transport {
        let service = self.service.as_deref().expect("a described frame has a `service`");
        let (protocol, number) = service.split_once('/').expect("a service as tcp/443");
        let number: u16 = number.parse().expect("a number");
        let flags = self.flags.as_deref().unwrap_or("S");
        match protocol {
            "tcp" => Transport::Tcp {
                source: 40_000,
                destination: number,
                flags: TcpFlags { syn: flags.contains('S'), ack: flags.contains('A'), fin: flags.contains('F'), rst: flags.contains('R') },
                sequence: 1000,
                acknowledgment: 7000,
            },
            "udp" => Transport::Udp { source: 40_000, destination: number },
            "icmp" => Transport::Icmp { kind: number as u8, code: 0 },
            "ip" => Transport::Other(number as u8),
            other => panic!("no protocol {other}"),
        }
    }
}

pub fn mac(text: &str) -> Mac {
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hex")).collect();
    assert_eq!(octets.len(), 6, "a MAC has six octets: {text}");
    Mac(octets.iter().fold(0, |mac, octet| mac << 8 | u64::from(*octet)))
}

fn expression(case: &DeviceCase, signals: &mut Vec<Signal>) -> Expr {
    let parts = |parts: &[DeviceCase], signals: &mut Vec<Signal>| parts.iter().map(|part| expression(part, signals)).collect();
    match case {
        DeviceCase::Macs(ranges) => {
            let ranges = ranges.iter().map(|[first, last]| (mac(first).0, mac(last).0)).collect();
            signals.push(Signal::Mac(Arc::new(Ranges::new(ranges))));
            Expr::Signal(SignalId(signals.len() as u32 - 1))
        }
        DeviceCase::Expression(ExpressionCase::All(all)) => Expr::All(parts(all, signals)),
        DeviceCase::Expression(ExpressionCase::Any(any)) => Expr::Any(parts(any, signals)),
        DeviceCase::Expression(ExpressionCase::Not(part)) => Expr::Not(Box::new(expression(part, signals))),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "hex has two digits a byte");
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")).collect()
}

fn addresses(ranges: &[String]) -> AddressSet {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for range in ranges {
        let ends = match range.split_once('-') {
            Some((first, last)) => (first.parse().expect("an address"), last.parse().expect("an address")),
            None => {
                let prefix: ipnet::IpNet = range.parse().expect("a prefix");
                (prefix.network(), prefix.broadcast())
            }
        };
        match ends {
            (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.into(), last.into())),
            (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.into(), last.into())),
            _ => panic!("{range}: of two families"),
        }
    }
    AddressSet { v4: Ranges::new(v4), v6: Ranges::new(v6) }
}

fn action(text: &str) -> Action {
    if let Some(rate) = text.strip_prefix("rate_limit ") {
        let words: Vec<&str> = rate.split(' ').collect();
        let [per_second, unit, "burst", burst] = words[..] else { panic!("no rate {rate}") };
        let unit = match unit {
            "packets" => RateUnit::Packets,
            "bytes" => RateUnit::Bytes,
            other => panic!("no unit {other}"),
        };
        let number = |text: &str| text.parse().expect("a number");
        return Action::RateLimit(RateLimit { unit, per_second: number(per_second), burst: number(burst) });
    }
    [Action::Pass, Action::Drop, Action::Reject, Action::Monitor]
        .into_iter()
        .find(|action| action.name() == text)
        .unwrap_or_else(|| panic!("no action {text}"))
}

fn schedule(case: &WhenCase) -> Schedule {
    let WhenCase { days, from, to, timezone } = case;
    let days: Vec<bool> = days.chars().map(|day| day != '-').collect();
    Schedule {
        days: days.try_into().expect("seven days"),
        from: *from,
        to: *to,
        timezone: jiff::tz::TimeZone::get(timezone).expect("a time zone"),
    }
}

/// `any`, `tcp/443`, `udp/1-99`, `icmp/8`, `icmpv6/135`, `ip/47`
fn service(text: &str) -> ServiceMatch {
    if text == "any" {
        return ServiceMatch::Any;
    }
    let (protocol, number) = text.split_once('/').expect("a service as tcp/443");
    let (first, last) = number.split_once('-').unwrap_or((number, number));
    let (first, last): (u16, u16) = (first.parse().expect("a number"), last.parse().expect("a number"));
    match protocol {
        "tcp" => ServiceMatch::Ports { protocol: PortProtocol::Tcp, first, last },
        "udp" => ServiceMatch::Ports { protocol: PortProtocol::Udp, first, last },
        "icmp" => ServiceMatch::Icmp { family: Family::V4, kind: first as u8 },
        "icmpv6" => ServiceMatch::Icmp { family: Family::V6, kind: first as u8 },
        "ip" => ServiceMatch::Protocol(first as u8),
        other => panic!("no protocol {other}"),
    }
}
