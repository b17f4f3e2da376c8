//! Small policy sets, resolved by hand.

use std::net::Ipv4Addr;
use std::sync::Arc;

use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Mode, PolicyId, PolicyInfo, Ranges, RemoteSelector,
    Resolved, Rule, ServiceMatch,
};
use edge_agent::policy::name::NamePattern;

/// One policy `name` with one rule for every device: whatever goes to one of `addresses` is met with `action`.
pub fn to(name: &str, rule: &str, addresses: &[Ipv4Addr], action: Action) -> Compiled {
    one_rule(name, rule, addresses, action, Domains::default())
}

fn one_rule(name: &str, rule: &str, addresses: &[Ipv4Addr], action: Action, domains: Domains) -> Compiled {
    let ranges = addresses.iter().map(|address| (u32::from(*address), u32::from(*address))).collect();
    let set = AddressSet { v4: Ranges::new(ranges), v6: Ranges::default() };
    let there = RemoteSelector::Destination(DestinationId(0));
    let to = match (addresses.is_empty(), domains.sets.is_empty()) {
        (true, true) => vec![RemoteSelector::Any],
        (true, false) => vec![RemoteSelector::Any, there],
        (false, _) => vec![there],
    };
    let resolved = Resolved {
        policies: vec![PolicyInfo {
            name: name.to_owned(),
            title: String::new(),
            severity: "low".to_owned(),
            mode: Mode::Enforce,
            priority: 100,
            built_in: false,
            expires: None,
        }],
        signals: vec![],
        groups: vec![],
        destinations: vec![Destination { policy: PolicyId(0), name: "there".to_owned(), sets: vec![Arc::new(set)], domains }],
        schedules: Vec::new(),
        signatures: Vec::new(),
        rules: vec![Rule {
            policy: PolicyId(0),
            id: rule.to_owned(),
            from: vec![DeviceSelector::All],
            to,
            services: vec![ServiceMatch::Any],
            direction: Direction::Outbound,
            when: None,
            action,
            monitored: action == Action::Monitor,
            report: false,
        }],
    };
    compile(&resolved, jiff::Timestamp::UNIX_EPOCH).expect("one rule compiles")
}

/// The same for every address.
pub fn all(name: &str, action: Action) -> Compiled {
    to(name, "all", &[], action)
}

/// The same, and it is about a name: so that DNS answers are read.
pub fn all_named(name: &str, action: Action) -> Compiled {
    let pattern: NamePattern = "watched.example".parse().expect("a name");
    let domains = Domains { sets: vec![Arc::new([pattern].into_iter().collect())], ..Domains::default() };
    one_rule(name, "all", &[], action, domains)
}
