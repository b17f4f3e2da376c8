//! The management pinhole: rules of a built-in policy that stands before all others, so that no policy can cut an admin off.

use std::net::IpAddr;
use std::sync::Arc;

use super::load::ALWAYS_ALLOW;
use super::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Expr, Family, Group, GroupId, Mode, PolicyId,
    PolicyInfo, PortProtocol, Ranges, RemoteSelector, Rule, ServiceMatch, Signal, SignalId,
};
use super::problem::Place;
use super::resolve::{Own, Resolver};
use crate::config::AlwaysAllow;

/// ICMPv6 types of neighbour discovery: router and neighbour solicitation and advertisement, redirect (RFC 4861 section 4).
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;
/// fe80::/10 (RFC 4291 section 2.5.6): never forwarded, so on an outside interface it is the gateway's own.
const LINK_LOCAL: (u128, u128) = (0xfe80 << 112, (0xfec0 << 112) - 1);

impl Resolver<'_> {
    /// DHCP, neighbour discovery and SSH to the gateway's own addresses, then what the configuration names, a rule for each entry.
    ///
    /// Answers of DHCP servers are let in for the gateway's own client. IPv4's may go to the address that is being leased, which nobody has
    /// yet (RFC 2131 section 4.1), so to any; IPv6's go to the link-local address that the client asked from (RFC 8415 section 17.1).
    pub(super) fn always_allow(&mut self, config: &AlwaysAllow, own_addresses: &[IpAddr]) {
        self.resolved.policies.push(PolicyInfo {
            name: ALWAYS_ALLOW.to_owned(),
            title: "What no policy can cut off".to_owned(),
            severity: "low".to_owned(),
            mode: Mode::Enforce,
            priority: 0,
            expires: None,
            built_in: true,
        });
        let udp = |port| ServiceMatch::Ports { protocol: PortProtocol::Udp, first: port, last: port };
        self.allow("dhcp", None, Allow::Services(vec![udp(67)]));
        self.allow("dhcpv6", None, Allow::Services(vec![udp(547)]));
        let link_local = AddressSet { v6: Ranges::new(vec![LINK_LOCAL]), ..AddressSet::default() };
        self.allow_answers("dhcp-answers", Allow::Services(vec![udp(68)]));
        self.allow_answers("dhcpv6-answers", Allow::Destination(link_local, vec![udp(546)]));
        let kinds = NEIGHBOUR_DISCOVERY.map(|kind| ServiceMatch::Icmp { family: Family::V6, kind });
        self.allow("neighbour-discovery", None, Allow::Services(kinds.collect()));
        if !own_addresses.is_empty() {
            let own = own_addresses.iter().map(|address| (*address).into()).collect();
            let ssh = ServiceMatch::Ports { protocol: PortProtocol::Tcp, first: 22, last: 22 };
            self.allow("ssh-to-gateway", None, Allow::Destination(own, vec![ssh]));
        }
        let AlwaysAllow { prefixes, services, macs } = config;
        for entry in prefixes {
            let set = std::iter::once(entry.value.value).collect();
            self.allow(&format!("prefix:{}", entry.text), Some(&entry.value.place), Allow::Destination(set, vec![ServiceMatch::Any]));
        }
        for entry in services {
            let services = self.services(std::slice::from_ref(&entry.value), &Own::new());
            self.allow(&format!("service:{}", entry.text), Some(&entry.value.place), Allow::Services(services));
        }
        for entry in macs {
            let ranges = Ranges::new(vec![entry.value.value.range()]);
            self.allow(&format!("mac:{}", entry.text), Some(&entry.value.place), Allow::Device(Signal::Mac(Arc::new(ranges))));
        }
    }

    /// On both sides: every rule of the pinhole is asked on the way in, too.
    fn allow(&mut self, id: &str, place: Option<&Place>, what: Allow) {
        self.allow_on_a_way(id, place, what, Direction::Outbound);
    }

    /// On the way in only: devices have no business to answer for a DHCP server.
    fn allow_answers(&mut self, id: &str, what: Allow) {
        self.allow_on_a_way(id, None, what, Direction::Inbound);
    }

    fn allow_on_a_way(&mut self, id: &str, place: Option<&Place>, what: Allow, direction: Direction) {
        let policy = PolicyId(0);
        let (mut from, mut to, mut services) = (DeviceSelector::All, RemoteSelector::Any, vec![ServiceMatch::Any]);
        match what {
            Allow::Services(only) => services = only,
            Allow::Destination(set, only) => {
                services = only;
                to = RemoteSelector::Destination(DestinationId(self.resolved.destinations.len() as u32));
                self.resolved.destinations.push(Destination {
                    policy,
                    name: id.to_owned(),
                    sets: vec![Arc::new(set)],
                    domains: Domains::default(),
                });
            }
            Allow::Device(signal) => {
                from = DeviceSelector::Group(GroupId(self.resolved.groups.len() as u32));
                let signal: SignalId = self.signal(signal);
                self.resolved.groups.push(Group { policy, name: id.to_owned(), when: Expr::Signal(signal) });
            }
        }
        let rule = Rule {
            policy,
            id: id.to_owned(),
            from: vec![from],
            to: vec![to],
            services,
            direction,
            when: None,
            action: Action::Pass,
            monitored: false,
            report: false,
        };
        self.rule(rule, place.cloned());
    }
}

/// The one dimension that an entry restricts, or destination and services for the gateway's own.
enum Allow {
    Services(Vec<ServiceMatch>),
    Destination(AddressSet, Vec<ServiceMatch>),
    Device(Signal),
}
