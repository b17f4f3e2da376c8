//! HTTP/3, whose ClientHello is encrypted: where a rule could be about it, it is not let through unread.

use std::net::SocketAddr;

use xtask::lab::names::{ALLOWED, APART, BLOCKED, site};

use super::{BY_NAME, enforce, uninspectable};
use crate::support::ledger::{Over, Step};
use crate::support::quic::is_reached;
use crate::support::town::{NamePolicy, Town};
use crate::support::web::QUIC;

fn ways(name: &str) -> impl Iterator<Item = SocketAddr> {
    site(name).addresses().into_iter().flat_map(|address| QUIC.map(|port| SocketAddr::new(address, port)))
}

fn assert_all_reached(town: &Town) {
    for host in [&town.lab.phone, &town.lab.laptop] {
        town.ledger.take();
        for name in [BLOCKED, ALLOWED, APART] {
            for to in ways(name) {
                assert!(is_reached(town, host, name, to), "{} {name} {to}", host.device.name);
            }
            assert!(town.ledger.has(host, Over::Quic, Step::Request, name), "{} {name}", host.device.name);
        }
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_watched_device_has_no_quic_where_a_rule_could_match() {
    let town = Town::start();
    assert_all_reached(&town);

    let agent = enforce(&town, &BY_NAME, "");
    // Which name it is about cannot be told: a browser goes on by TCP, where it can.
    for name in [BLOCKED, ALLOWED, APART] {
        town.ledger.take();
        for to in ways(name) {
            let before = uninspectable(&agent, "quic", "drop");
            assert!(!is_reached(&town, &town.lab.phone, name, to), "{name} {to}");
            assert!(uninspectable(&agent, "quic", "drop") > before, "{name} {to}");
        }
        assert_eq!(town.ledger.take(), [], "{name}: no hello reached a server");
        for to in ways(name) {
            assert!(is_reached(&town, &town.lab.laptop, name, to), "{name} {to}");
        }
        assert!(town.ledger.has(&town.lab.laptop, Over::Quic, Step::Request, name));
    }
    assert_eq!(uninspectable(&agent, "quic", "pass"), 0, "the laptop's is nobody's concern");
}

/// No rule about names holds for QUIC's ports and protocol, or `agent.yaml` lets it through: it passes, and is counted.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn quic_passes_and_is_counted_where_no_rule_could_match_or_it_is_allowed() {
    for (services, more) in [(&["tcp/443"][..], ""), (&["any"], "names: {quic: pass}\n")] {
        let town = Town::start();
        assert_all_reached(&town);
        let agent = enforce(&town, &NamePolicy { services, ..BY_NAME }, more);
        assert_all_reached(&town);
        assert!(uninspectable(&agent, "quic", "pass") > 0, "{services:?} {more}");
        assert_eq!(uninspectable(&agent, "quic", "drop"), 0, "{services:?} {more}");
    }
}
