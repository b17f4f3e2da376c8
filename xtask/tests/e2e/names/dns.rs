//! Queries for names, over UDP and TCP, through the gateway and to a resolver on it.

use std::net::IpAddr;
use std::time::Duration;

use xtask::lab::Host;
use xtask::lab::names::{ALLOWED, APART, BELOW, BLOCKED, LEADS_AWAY, LEADS_THROUGH, LOOKALIKE, NEIGHBOUR, SHARED_SITE, site};
use xtask::lab::process::wait_until;

use super::{BY_NAME, enforce, is_reported, uninspectable};
use crate::support::dig::{Query, Reply};
use crate::support::rule_packets;
use crate::support::town::{RESOLVERS, Town};

const IN_THE_DOMAIN: [&str; 3] = [BLOCKED, BELOW, LEADS_AWAY];
/// An alias that leads through the domain is not of it: the query carries only its own name.
const ELSEWHERE: [&str; 5] = [ALLOWED, LOOKALIKE, APART, LEADS_THROUGH, NEIGHBOUR];
/// An answer that the filter makes up has no way to go.
const AT_ONCE: Duration = Duration::from_millis(50);

fn resolves(host: &Host, resolver: IpAddr, tcp: bool, name: &str) -> bool {
    let site = site(&name.to_lowercase());
    Query { resolver, tcp, name, kind: "A" }.from(host).has(site.ipv4)
        && Query { resolver, tcp, name, kind: "AAAA" }.from(host).has(site.ipv6)
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_query_for_a_blocked_name_is_answered_at_once_that_there_is_none() {
    let town = Town::start();
    let lab = &town.lab;
    for (resolver, tcp) in RESOLVERS.iter().flat_map(|resolver| [(*resolver, false), (*resolver, true)]) {
        for name in IN_THE_DOMAIN.into_iter().chain(ELSEWHERE) {
            assert!(resolves(&lab.phone, resolver, tcp, name), "phone, {resolver}, TCP: {tcp}, {name}");
        }
        assert!(resolves(&lab.laptop, resolver, tcp, BLOCKED), "laptop, {resolver}, TCP: {tcp}");
        let nowhere = Query { resolver, tcp, name: "nowhere.example", kind: "A" }.from(&lab.phone);
        assert!(matches!(&nowhere, Reply::Answer { status, .. } if status == "NXDOMAIN"), "{nowhere:?}");
    }

    let agent = enforce(&town, &BY_NAME, "");
    for resolver in RESOLVERS {
        // Case is none of a name's (RFC 4343).
        for name in IN_THE_DOMAIN.into_iter().chain(["bLOCKED.eXAMPLE"]) {
            for kind in ["A", "AAAA", "TXT", "HTTPS"] {
                let before = rule_packets(&agent, BY_NAME.name);
                match (Query { resolver, tcp: false, name, kind }).from(&lab.phone) {
                    Reply::Answer { status, records, took } => {
                        assert_eq!((&*status, &*records), ("NXDOMAIN", &[][..]), "{resolver} {name} {kind}");
                        assert!(took < AT_ONCE, "{resolver} {name} {kind} took {took:?}");
                    }
                    Reply::None => panic!("{resolver} {name} {kind}: no answer"),
                }
                assert_eq!(rule_packets(&agent, BY_NAME.name), before + 1, "{resolver} {name} {kind}: one packet was needed");
            }
            assert_eq!((Query { resolver, tcp: true, name, kind: "A" }).from(&lab.phone), Reply::None, "{resolver} {name} over TCP");
            for tcp in [false, true] {
                assert!(resolves(&lab.laptop, resolver, tcp, name), "laptop, {resolver}, TCP: {tcp}, {name}");
            }
        }
        for (name, tcp) in ELSEWHERE.iter().flat_map(|name| [(name, false), (name, true)]) {
            assert!(resolves(&lab.phone, resolver, tcp, name), "phone, {resolver}, TCP: {tcp}, {name}");
        }
    }
    wait_until(Duration::from_secs(5), "the name is reported", || Ok(is_reported(&agent, BLOCKED))).unwrap();
}

/// Without the keys that such a record holds, a client cannot hide the name in its ClientHello.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn where_ech_is_stripped_no_keys_are_given_to_a_watched_device() {
    let town = Town::start();
    let query = |resolver, kind| Query { resolver, tcp: false, name: ALLOWED, kind };
    let has_keys = |reply: &Reply| reply.has("1 . alpn=\"h2\"");
    for (host, resolver) in [&town.lab.phone, &town.lab.laptop].into_iter().flat_map(|host| RESOLVERS.map(|resolver| (host, resolver))) {
        let reply = query(resolver, "HTTPS").from(host);
        assert!(has_keys(&reply), "{} {resolver}: {reply:?}", host.device.name);
    }

    let agent = enforce(&town, &BY_NAME, ECH_STRIPPED);
    for resolver in RESOLVERS {
        let before = uninspectable(&agent, "https_record", "reject");
        match query(resolver, "HTTPS").from(&town.lab.phone) {
            Reply::Answer { status, records, .. } => assert_eq!((&*status, &*records), ("NOERROR", &[][..]), "{resolver}"),
            Reply::None => panic!("{resolver}: no answer"),
        }
        assert_eq!(uninspectable(&agent, "https_record", "reject"), before + 1, "{resolver}");
        assert!(query(resolver, "A").from(&town.lab.phone).has(SHARED_SITE.ipv4), "{resolver}");
        assert!(has_keys(&query(resolver, "HTTPS").from(&town.lab.laptop)), "{resolver}");
    }
}

/// How `agent.yaml` says so.
const ECH_STRIPPED: &str = "names: {ech: strip}\n";
