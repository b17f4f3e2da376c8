//! Policies, and what their rules are about.

use std::sync::Arc;

use edge_agent::policy::model::{
    Action, Destination, DestinationId, DeviceSelector, Direction, Domains, Group, GroupId, Learned, Mode, PolicyId, PolicyInfo,
    RemoteSelector, Resolved, Rule, RuleId, Schedule, ScheduleId, ServiceMatch, Signature, SignatureId,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Case;
use super::words::{self, action, addresses};

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
    /// Also `signature NAME`.
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

/// Prefixes, or ranges as `first-last`; or with names.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum DestinationCase {
    Prefixes(Vec<String>),
    Named(NamedCase),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedCase {
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Patterns, as policies write them.
    pub domains: Vec<String>,
    /// `off`, `monitor`, or `enforce` where nothing is said.
    #[serde(default)]
    pub learned: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureCase {
    pub protocol: String,
    pub ports: Vec<String>,
    #[serde(default)]
    pub offset: u16,
    /// Hex, with `??` for any byte.
    pub bytes: String,
}

impl Case {
    pub fn resolved(&self) -> Resolved {
        let mut set = Resolved::default();
        let owner = PolicyId(self.policies.iter().position(|policy| !policy.built_in).unwrap_or(0) as u32);
        let names: Vec<&String> = self.devices.keys().collect();
        let group_of = |name: &str| names.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no device group {name}"));
        let signature_of = |name: &str| {
            let place = self.signatures.keys().position(|known| known == name).unwrap_or_else(|| panic!("no signature {name}"));
            SignatureId(place as u32)
        };
        for (name, case) in &self.devices {
            let when = case.expression(&mut set.signals, &signature_of);
            let of_owner = |owner: &String| {
                let place = self.policies.iter().position(|policy| policy.name == *owner);
                PolicyId(place.unwrap_or_else(|| panic!("no policy {owner}")) as u32)
            };
            set.groups.push(Group { policy: self.owners.get(name).map_or(owner, of_owner), name: name.clone(), when });
        }
        let places: Vec<&String> = self.destinations.keys().collect();
        set.destinations = self.destinations.iter().map(|(name, case)| destination(name, case)).collect();
        set.signatures = self.signatures.iter().map(|(name, case)| signature(name, case)).collect();
        let service = |text: &String| match text.strip_prefix("signature ") {
            None => words::service(text),
            Some(name) => ServiceMatch::Signature(signature_of(name)),
        };
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
                    services: rule.services.iter().map(service).collect(),
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
}

pub fn rule_name(set: &Resolved, rule: RuleId) -> String {
    let rule = &set.rules[rule.index()];
    format!("{}/{}", set.policies[rule.policy.index()].name, rule.id)
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

fn destination(name: &str, case: &DestinationCase) -> Destination {
    let (prefixes, domains) = match case {
        DestinationCase::Prefixes(prefixes) => (prefixes, Domains::default()),
        DestinationCase::Named(NamedCase { prefixes, domains, learned }) => {
            let patterns = domains.iter().map(|pattern| pattern.parse().unwrap_or_else(|fault| panic!("{pattern}: {fault:?}")));
            let learned = match learned.as_deref() {
                Some("off") => Learned::Off,
                Some("monitor") => Learned::Monitor,
                None | Some("enforce") => Learned::Enforce,
                Some(other) => panic!("no way of learning {other}"),
            };
            (prefixes, Domains { sets: vec![Arc::new(patterns.collect())], learned })
        }
    };
    Destination { policy: PolicyId(0), name: name.to_owned(), sets: vec![Arc::new(addresses(prefixes))], domains }
}

fn signature(name: &str, case: &SignatureCase) -> Signature {
    let SignatureCase { protocol, ports, offset, bytes } = case;
    Signature {
        policy: PolicyId(0),
        name: name.to_owned(),
        protocol: words::port_protocol(protocol),
        ports: ports.iter().map(|ports| words::ports(ports)).collect(),
        offset: *offset,
        bytes: words::pattern(bytes),
    }
}
