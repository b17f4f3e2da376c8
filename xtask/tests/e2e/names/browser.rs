//! A browser: HTTP/2 with its post-quantum hello, and HTTP/3.

use xtask::lab::Host;
use xtask::lab::names::{ALLOWED, BLOCKED, SHARED_SITE};
use xtask::lab::plan::{PHONE, gateway};
use xtask::lab::set_features;

use super::{BY_NAME, enforce, uninspectable};
use crate::support::chromium;
use crate::support::ledger::{Over, Step};
use crate::support::raw::RawSocket;
use crate::support::rule_packets;
use crate::support::town::Town;

/// Of the page that the servers have.
const SHOWN: &str = "the page was reached";
/// Of every page that the browser makes up in the place of another.
const ERROR: &str = "ERR_";

fn force_quic(name: &str) -> String {
    format!("--origin-to-force-quic-on={name}:443")
}

fn shows(town: &Town, host: &Host, name: &str, options: &[&str]) -> bool {
    town.ledger.take();
    let page = chromium::open(town, host, name, options);
    let is_shown = page.contains(SHOWN);
    assert!(is_shown != page.contains(ERROR), "{} {name}: {page}", host.device.name);
    is_shown
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_browser_shows_an_error_for_the_blocked_name_and_the_page_of_others() {
    if !chromium::is_there() {
        return;
    }
    let town = Town::start();
    let (phone, laptop) = (&town.lab.phone, &town.lab.laptop);
    for (namespace, interface) in [(&phone.namespace, "eth0"), (&town.lab.switch, "uplink0")] {
        set_features(namespace, interface, &[("tso", false), ("gso", false), ("gro", false)]).unwrap();
    }
    let quic = [BLOCKED, ALLOWED].map(force_quic);
    let [quic_blocked, quic_allowed] = [&*quic[0], &*quic[1]];
    // As if an answer from before the filter were still remembered.
    let remembered = format!("--host-resolver-rules=MAP {BLOCKED} {}", SHARED_SITE.ipv4);

    let wire = RawSocket::open(&town.lab.gateway, gateway::INSIDE);
    wire.hold(16 << 20);
    assert!(shows(&town, phone, BLOCKED, &[]));
    assert!(town.ledger.has(phone, Over::Tls, Step::Request, BLOCKED));
    let segments = wire.segments(&PHONE);
    assert!(segments.len() >= 2 && segments.iter().any(|length| *length > 1400), "the hello is longer than a segment: {segments:?}");
    for (name, options, over) in [
        (ALLOWED, &[][..], Over::Tls),
        (BLOCKED, &[&*remembered], Over::Tls),
        (BLOCKED, &[quic_blocked], Over::Quic),
        (ALLOWED, &[quic_allowed], Over::Quic),
    ] {
        assert!(shows(&town, phone, name, options), "{name} {over:?}");
        assert!(town.ledger.has(phone, over, Step::Request, name), "{name} {over:?}");
    }

    let Some(agent) = enforce(&town, &BY_NAME, "") else { return };
    assert!(!shows(&town, phone, BLOCKED, &[]), "the resolver's answer was let through");
    assert_eq!(town.ledger.take(), []);
    let before = rule_packets(&agent, BY_NAME.name);
    assert!(!shows(&town, phone, BLOCKED, &[&*remembered]));
    assert_eq!(town.ledger.take(), []);
    assert!(rule_packets(&agent, BY_NAME.name) > before);
    assert!(shows(&town, phone, ALLOWED, &[]));
    assert!(town.ledger.has(phone, Over::Tls, Step::Request, ALLOWED));
    // It may go on by TCP or show an error; over QUIC it reaches nothing.
    shows(&town, phone, ALLOWED, &[quic_allowed]);
    assert!(town.ledger.take().iter().all(|entry| entry.over != Over::Quic));
    assert!(uninspectable(&agent, "quic", "drop") > 0);

    for (options, over) in [(&[][..], Over::Tls), (&[quic_blocked], Over::Quic)] {
        assert!(shows(&town, laptop, BLOCKED, options), "{over:?}");
        assert!(town.ledger.has(laptop, over, Step::Request, BLOCKED), "{over:?}");
    }
}
