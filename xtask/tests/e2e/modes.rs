//! Native XDP, and what happens where a driver has none.

use xtask::lab::Lab;
use xtask::lab::agent::{Agent, Settings};
use xtask::lab::client::{Family, Outcome, Protocol, Try};
use xtask::lab::plan::{ELSEWHERE, REPORTING, gateway};

use crate::support::{PHONE_TO_CHINA, agent_program, with_policy};

/// A bridge device, whose driver has no XDP of its own: many a gateway's `br-lan`.
const BRIDGE: &str = "br-lan";

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn generic_mode_is_used_only_where_it_is_allowed() {
    let lab = Lab::start().unwrap();
    lab.gateway
        .ip(&[
            &format!("link add {BRIDGE} type bridge forward_delay 0"),
            &format!("addr flush dev {}", gateway::INSIDE),
            &format!("link set {} master {BRIDGE}", gateway::INSIDE),
            &format!("addr add {}/24 dev {BRIDGE}", gateway::INSIDE_IPV4),
            &format!("addr add {}/64 dev {BRIDGE}", gateway::INSIDE_IPV6),
            &format!("link set {BRIDGE} up"),
        ])
        .unwrap();
    let native = Settings { inside: vec![BRIDGE.to_owned()], ..with_policy(&lab, &PHONE_TO_CHINA) };

    let said = Agent::refused(&lab, &agent_program(), &native).unwrap();
    assert!(said.contains(BRIDGE) && said.contains("native_or_generic"), "{said}");
    // Nothing half done: neither interface is filtered.
    let banned = Try { protocol: Protocol::Http, server: REPORTING, family: Family::Ipv4 };
    assert_eq!(banned.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached);

    let generic = Settings { more: "xdp: {mode: native_or_generic}\n".to_owned(), ..native };
    let agent = Agent::start(&lab, &agent_program(), &generic).unwrap();
    let metrics = agent.metrics().unwrap();
    let mode = |interface, mode| metrics.sum("edge_interface_xdp_mode", &[("interface", interface), ("mode", mode)]);
    assert_eq!([mode(BRIDGE, "generic"), mode(BRIDGE, "native")], [1.0, 0.0]);
    assert_eq!([mode(gateway::OUTSIDE, "generic"), mode(gateway::OUTSIDE, "native")], [0.0, 1.0]);
    for family in [Family::Ipv4, Family::Ipv6] {
        for protocol in [Protocol::Http, Protocol::Https] {
            let banned = Try { protocol, family, ..banned };
            assert_eq!(banned.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::TimedOut);
            assert_eq!(banned.from(&lab.laptop, &lab.directory).unwrap().outcome, Outcome::Reached);
            let open = Try { server: ELSEWHERE, ..banned };
            assert_eq!(open.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached);
        }
    }
}
