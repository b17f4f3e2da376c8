//! The agent's own rules, as it makes them: what still comes in under a policy that drops everything, on both sides, by every engine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_agent::config::{AlwaysAllow, SourceFiles};
use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::policy::load::load;
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_ebpf::abi::Verdict;
use edge_ebpf::engine::Side::{self, Inside, Outside};
use jiff::civil::date;

use crate::corpus_case::policy::rule_name;
use crate::small_set::PHONE;
use crate::trio::{Engines, WHERE_A_RULE_COULD_MATCH};

const BAN: &str = "
apiVersion: edge/v1
kind: Policy
metadata: {name: ban}
spec:
  rules: [{id: nothing, from: all, direction: both, action: drop}]
";
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const LEASED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));
const EVERYBODY: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

#[test]
fn under_a_ban_of_everything_the_gateway_keeps_its_lease_and_its_admin() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ban.yaml"), BAN).expect("a file");
    let loaded = load(&[folder.path().to_owned()], date(2026, 1, 15));
    let resolution =
        resolve(loaded, &AlwaysAllow::default(), &[GATEWAY], &mut Sources::new(SourceFiles::default())).expect("a right policy");
    let set = resolution.resolved;
    let mut engines = Engines::new(set.clone(), WHERE_A_RULE_COULD_MATCH);
    let router_advertisement = Transport::Icmp { kind: 134, code: 0 };
    let cases: [(Side, IpAddr, Transport, Option<&str>); 18] = [
        (Outside, EVERYBODY, Transport::udp(68), Some("dhcp-answers")),
        (Outside, LEASED, Transport::udp(68), Some("dhcp-answers")),
        (Outside, LEASED, Transport::udp(69), None),
        (Outside, LEASED, Transport::syn(68), None),
        (Outside, LINK_LOCAL, Transport::udp(546), Some("dhcpv6-answers")),
        (Outside, LINK_LOCAL, Transport::udp(545), None),
        (Outside, GLOBAL, Transport::udp(546), None),
        (Outside, GLOBAL, router_advertisement, Some("neighbour-discovery")),
        (Outside, GATEWAY, Transport::syn(22), Some("ssh-to-gateway")),
        (Outside, LEASED, Transport::syn(22), None),
        (Inside, EVERYBODY, Transport::udp(67), Some("dhcp")),
        (Inside, LINK_LOCAL, Transport::udp(547), Some("dhcpv6")),
        (Inside, LINK_LOCAL, router_advertisement, Some("neighbour-discovery")),
        (Inside, GATEWAY, Transport::syn(22), Some("ssh-to-gateway")),
        // Devices are not the gateway's DHCP servers.
        (Inside, EVERYBODY, Transport::udp(68), None),
        (Inside, LEASED, Transport::udp(68), None),
        (Inside, LINK_LOCAL, Transport::udp(546), None),
        (Inside, LEASED, Transport::syn(22), None),
    ];
    for (side, to, transport, allowed) in cases {
        let outcome = engines.run_on(side, &FrameSpec::new(PHONE, Ends::to(to), transport).build());
        let expected = match allowed {
            Some(rule) => (Verdict::Pass, Some(format!("always-allow/{rule}"))),
            None => (Verdict::Drop, Some("ban/nothing".to_owned())),
        };
        assert_eq!((outcome.verdict, outcome.rule.map(|rule| rule_name(&set, rule))), expected, "{side:?} {to} {transport:?}");
    }
}
