//! A small policy set in the model's own words, for tests that are not about YAML.

use std::sync::Arc;

use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Expr, Group, GroupId, Mode, PolicyId, PolicyInfo,
    Ranges, RemoteSelector, Resolved, Rule, ServiceMatch, Signal, SignalId,
};
use edge_ebpf::packet::Mac;

/// 64:09:80:00:00:01
pub const PHONE: Mac = Mac(0x6409_8000_0001);
/// 00:25:90:00:00:01
pub const LAPTOP: Mac = Mac(0x0025_9000_0001);

pub fn policy(name: &str) -> PolicyInfo {
    PolicyInfo {
        name: name.into(),
        title: String::new(),
        severity: "medium".into(),
        mode: Mode::Enforce,
        priority: 100,
        expires: None,
        built_in: false,
    }
}

pub fn rule(id: &str, from: DeviceSelector, to: RemoteSelector, service: ServiceMatch, action: Action) -> Rule {
    Rule {
        policy: PolicyId(0),
        id: id.into(),
        from: vec![from],
        to: vec![to],
        services: vec![service],
        direction: Direction::Outbound,
        when: None,
        action,
        monitored: action == Action::Monitor,
        report: action != Action::Pass,
    }
}

pub fn phones() -> DeviceSelector {
    DeviceSelector::Group(GroupId(0))
}

/// 42.62.48.0/24 and 2001:db8:42::/48
pub fn banned() -> RemoteSelector {
    RemoteSelector::Destination(DestinationId(0))
}

/// The group `phones` (64:09:80), the destination `banned`, and the given rules.
pub fn set_of(rules: Vec<Rule>) -> Resolved {
    let macs = Ranges::new(vec![(0x6409_8000_0000u64, 0x6409_80ff_ffff)]);
    let addresses = AddressSet {
        v4: Ranges::new(vec![(0x2a3e_3000, 0x2a3e_30ff)]),
        v6: Ranges::new(vec![(0x2001_0db8_0042 << 80, (0x2001_0db8_0043 << 80) - 1)]),
    };
    Resolved {
        policies: vec![policy("test")],
        signals: vec![Signal::Mac(Arc::new(macs))],
        groups: vec![Group { policy: PolicyId(0), name: "phones".into(), when: Expr::Signal(SignalId(0)) }],
        schedules: Vec::new(),
        signatures: Vec::new(),
        destinations: vec![Destination {
            policy: PolicyId(0),
            name: "banned".into(),
            sets: vec![Arc::new(addresses)],
            domains: Domains::default(),
        }],
        rules,
    }
}
