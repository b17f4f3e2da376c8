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

/// Codes of the browser's errors.
const NO_SUCH_NAME: &str = "ERR_NAME_NOT_RESOLVED";
const CUT_OFF: [&str; 2] = ["ERR_CONNECTION_RESET", "ERR_CONNECTION_CLOSED"];

fn force_quic(name: &str) -> String {
    format!("--origin-to-force-quic-on={name}:443")
}

fn open(town: &Town, host: &Host, name: &str, options: &[&str]) -> Result<(), String> {
    town.ledger.take();
    chromium::open(town, host, name, options)
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
    assert_eq!(open(&town, phone, BLOCKED, &[]), Ok(()));
    assert!(town.ledger.has(phone, Over::Tls, Step::Request, BLOCKED));
    let segments = wire.segments(&PHONE);
    assert!(segments.len() >= 2 && segments.iter().any(|length| *length > 1400), "the hello is longer than a segment: {segments:?}");
    for (name, options, over) in [
        (ALLOWED, &[][..], Over::Tls),
        (BLOCKED, &[&*remembered], Over::Tls),
        (BLOCKED, &[quic_blocked], Over::Quic),
        (ALLOWED, &[quic_allowed], Over::Quic),
    ] {
        assert_eq!(open(&town, phone, name, options), Ok(()), "{name} {over:?}");
        assert!(town.ledger.has(phone, over, Step::Request, name), "{name} {over:?}");
    }
    assert_eq!(open(&town, phone, "nowhere.example", &[]), Err(NO_SUCH_NAME.to_owned()));

    let agent = enforce(&town, &BY_NAME, "");
    assert_eq!(open(&town, phone, BLOCKED, &[]), Err(NO_SUCH_NAME.to_owned()));
    assert_eq!(town.ledger.take(), []);
    let before = rule_packets(&agent, BY_NAME.name);
    let error = open(&town, phone, BLOCKED, &[&*remembered]).unwrap_err();
    assert!(CUT_OFF.contains(&&*error), "{error}");
    assert_eq!(town.ledger.take(), []);
    assert!(rule_packets(&agent, BY_NAME.name) > before);
    assert_eq!(open(&town, phone, ALLOWED, &[]), Ok(()));
    assert!(town.ledger.has(phone, Over::Tls, Step::Request, ALLOWED));
    // It may go on by TCP or show an error; over QUIC it reaches nothing.
    let by_tcp = open(&town, phone, ALLOWED, &[quic_allowed]);
    assert!(town.ledger.take().iter().all(|entry| entry.over != Over::Quic), "{by_tcp:?}");
    assert!(uninspectable(&agent, "quic", "drop") > 0);

    for (options, over) in [(&[][..], Over::Tls), (&[quic_blocked], Over::Quic)] {
        assert_eq!(open(&town, laptop, BLOCKED, options), Ok(()), "{over:?}");
        assert!(town.ledger.has(laptop, over, Step::Request, BLOCKED), "{over:?}");
    }
}
