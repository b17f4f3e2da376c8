//! Small policy sets, resolved by hand.

use std::net::Ipv4Addr;
use std::sync::Arc;

use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Mode, PolicyId, PolicyInfo, Ranges, RemoteSelector,
    Resolved, Rule, ServiceMatch,
};

/// One policy `name` with one rule for every device: whatever goes to one of `addresses` is met with `action`.
pub fn to(name: &str, rule: &str, addresses: &[Ipv4Addr], action: Action) -> Compiled {
    let ranges = addresses.iter().map(|address| (u32::from(*address), u32::from(*address))).collect();
    let set = AddressSet { v4: Ranges::new(ranges), v6: Ranges::default() };
    let to = if addresses.is_empty() { RemoteSelector::Any } else { RemoteSelector::Destination(DestinationId(0)) };
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
        destinations: vec![Destination {
            policy: PolicyId(0),
            name: "there".to_owned(),
            sets: vec![Arc::new(set)],
            domains: Domains::default(),
        }],
        schedules: Vec::new(),
        signatures: Vec::new(),
        rules: vec![Rule {
            policy: PolicyId(0),
            id: rule.to_owned(),
            from: vec![DeviceSelector::All],
            to: vec![to],
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
