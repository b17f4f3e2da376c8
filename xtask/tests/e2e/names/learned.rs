//! Addresses that answers gave for a name: what they are worth, and from when on.

use std::net::IpAddr;

use xtask::lab::Host;
use xtask::lab::names::{ALLOWED, APART, APART_SITE, BLOCKED, LEADS_THROUGH, NEIGHBOUR, NETWORK_SITE, SHARED_SITE};

use super::{BY_NAME, enforce};
use crate::support::curl::{Fetched, Found, Page, Way};
use crate::support::dig::Query;
use crate::support::rule_packets;
use crate::support::town::{NamePolicy, RESOLVERS, Town};

/// Not about DNS, so that the phone's own queries are answered.
const WEB: NamePolicy<'static> = NamePolicy { services: &["tcp/80", "tcp/443"], ..BY_NAME };

/// Fetches a page of a name that no rule is about, from an address.
fn fetch(town: &Town, host: &Host, name: &str, address: IpAddr) -> Fetched {
    Page { way: Way::Https, name, port: 443, found: Found::Told(address) }.fetch(host, &town.lab.directory).0
}

fn ask(host: &Host, resolver: IpAddr, name: &str, kind: &str, address: IpAddr) {
    let reply = Query { resolver, tcp: false, name, kind }.from(host);
    assert!(reply.has(address), "{} {resolver} {name}: {reply:?}", host.device.name);
}

fn assert_all_reached(town: &Town, host: &Host) {
    for (name, site) in [(ALLOWED, SHARED_SITE), (NEIGHBOUR, NETWORK_SITE), (APART, APART_SITE)] {
        for address in site.addresses() {
            assert_eq!(fetch(town, host, name, address), Fetched::Reached, "{} {name} {address}", host.device.name);
        }
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn an_address_is_blocked_from_the_answer_on_that_gave_it_for_a_blocked_name() {
    for resolver in RESOLVERS {
        let town = Town::start();
        let (phone, laptop) = (&town.lab.phone, &town.lab.laptop);
        let [shared_ipv4, shared_ipv6] = SHARED_SITE.addresses();
        let [network_ipv4, network_ipv6] = NETWORK_SITE.addresses();
        for (name, kind, address) in [
            (BLOCKED, "A", shared_ipv4),
            (BLOCKED, "AAAA", shared_ipv6),
            (LEADS_THROUGH, "A", network_ipv4),
            (LEADS_THROUGH, "AAAA", network_ipv6),
        ] {
            ask(phone, resolver, name, kind, address);
        }
        assert_all_reached(&town, phone);

        let agent = enforce(&town, &NamePolicy { learned: "enforce", ..WEB }, "");
        // What was answered before the filter came is not known.
        assert_all_reached(&town, phone);
        ask(phone, resolver, BLOCKED, "A", shared_ipv4);
        assert_eq!(fetch(&town, phone, ALLOWED, shared_ipv4), Fetched::Refused, "{resolver}");
        assert_eq!(fetch(&town, phone, ALLOWED, shared_ipv6), Fetched::Reached, "{resolver}: nobody has asked for it yet");
        ask(phone, resolver, BLOCKED, "AAAA", shared_ipv6);
        assert_eq!(fetch(&town, phone, ALLOWED, shared_ipv6), Fetched::Refused, "{resolver}");

        // The blocked name is only on the way to the address, and another device has asked.
        assert_eq!(fetch(&town, phone, NEIGHBOUR, network_ipv4), Fetched::Reached, "{resolver}");
        ask(laptop, resolver, LEADS_THROUGH, "A", network_ipv4);
        assert_eq!(fetch(&town, phone, NEIGHBOUR, network_ipv4), Fetched::Refused, "{resolver}");

        for address in APART_SITE.addresses() {
            ask(phone, resolver, APART, if address.is_ipv4() { "A" } else { "AAAA" }, address);
            assert_eq!(fetch(&town, phone, APART, address), Fetched::Reached, "{resolver}");
        }
        assert_all_reached(&town, laptop);
        assert!(rule_packets(&agent, WEB.name) >= 3);
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_learned_address_that_is_only_monitored_or_ignored_blocks_nothing_but_the_name() {
    for (learned, is_counted) in [("monitor", true), ("off", false)] {
        let town = Town::start();
        let phone = &town.lab.phone;
        let [address, _] = SHARED_SITE.addresses();
        ask(phone, RESOLVERS[0], BLOCKED, "A", address);
        assert_all_reached(&town, phone);
        assert_eq!(fetch(&town, phone, BLOCKED, address), Fetched::Reached);

        let agent = enforce(&town, &NamePolicy { learned, ..WEB }, "");
        ask(phone, RESOLVERS[0], BLOCKED, "A", address);
        let before = rule_packets(&agent, WEB.name);
        assert_eq!(fetch(&town, phone, ALLOWED, address), Fetched::Reached, "{learned}");
        assert_eq!(rule_packets(&agent, WEB.name) > before, is_counted, "{learned}");
        assert_eq!(fetch(&town, phone, BLOCKED, address), Fetched::Refused, "{learned}");
        assert_eq!(fetch(&town, &town.lab.laptop, BLOCKED, address), Fetched::Reached, "{learned}");
    }
}
