//! ClientHellos in several segments, in several TLS records, and out of order.

use std::net::SocketAddr;

use xtask::command::output;
use xtask::lab::names::{ALLOWED, BLOCKED, SHARED_SITE};
use xtask::lab::plan::{PHONE, gateway};
use xtask::lab::{Host, set_features};

use super::{BY_NAME, enforce, uninspectable};
use crate::support::hello::{Cut, Handshake, Shaken};
use crate::support::ledger::{Over, Step};
use crate::support::raw::RawSocket;
use crate::support::rule_packets;
use crate::support::town::Town;

/// More than one segment at an MTU of 1500, and not more than the filter keeps of a hello: as with a post-quantum key share.
const LONG: usize = 1800;
/// More than it keeps.
const TOO_LONG: usize = 6000;
/// Less than a segment, in a few records.
const SCATTERED: usize = 900;

/// Every way to cut, with the padding that it is for.
const CUTS: [(usize, Cut); 11] = [
    (0, Cut::Whole),
    (LONG, Cut::Whole),
    (0, Cut::Segments(1)),
    (0, Cut::Segments(100)),
    (LONG, Cut::Segments(700)),
    (0, Cut::Records(16)),
    (0, Cut::Records(64)),
    (SCATTERED, Cut::Records(500)),
    (LONG, Cut::Records(1000)),
    (0, Cut::RecordsApart(50)),
    (SCATTERED, Cut::RecordsApart(700)),
];

/// Hellos that no client sends, of which the filter cannot tell the name: one larger than what it keeps, and two in more records than the
/// 32 that it puts together.
const UNREADABLE: [(usize, Cut); 3] = [(TOO_LONG, Cut::Whole), (0, Cut::Records(3)), (SCATTERED, Cut::Records(1))];

fn handshakes(name: &str, port: u16) -> impl Iterator<Item = Handshake<'_>> {
    let to = SHARED_SITE.addresses().map(|address| SocketAddr::new(address, port));
    CUTS.into_iter().flat_map(move |(padding, cut)| to.map(|to| Handshake { name, to, padding, cut }))
}

/// Segments leave the phone as they are on a wire, none larger than the MTU.
fn town_without_offloads() -> Town {
    let town = Town::start();
    for (namespace, interface) in [(&town.lab.phone.namespace, "eth0"), (&town.lab.laptop.namespace, "eth0"), (&town.lab.switch, "uplink0")]
    {
        set_features(namespace, interface, &[("tso", false), ("gso", false), ("gro", false)]).unwrap();
    }
    town
}

fn assert_completes(town: &Town, host: &Host, handshake: &Handshake<'_>) {
    town.ledger.take();
    assert_eq!(handshake.from(host, &town.lab.directory), Shaken::Complete, "{} {handshake:?}", host.device.name);
    town.ledger.wait(host, Over::Tls, Step::Handshake, handshake.name);
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn however_a_hello_is_cut_its_name_is_found() {
    let town = town_without_offloads();
    let (phone, laptop) = (&town.lab.phone, &town.lab.laptop);
    let wire = RawSocket::open(&town.lab.gateway, gateway::INSIDE);
    let long = Handshake { name: BLOCKED, to: (SHARED_SITE.ipv4, 443).into(), padding: LONG, cut: Cut::Whole };
    assert_completes(&town, phone, &long);
    let segments = wire.segments(&PHONE);
    assert!(segments.len() >= 2 && segments[0] > 1400 && segments[0] < 1500, "TCP has cut the hello itself: {segments:?}");
    let unreadable = UNREADABLE.map(|(padding, cut)| Handshake { name: ALLOWED, padding, cut, ..long });
    for handshake in handshakes(BLOCKED, 443).chain(handshakes(ALLOWED, 7443)).chain(unreadable) {
        assert_completes(&town, phone, &handshake);
    }

    let agent = enforce(&town, &BY_NAME, "");
    for handshake in handshakes(BLOCKED, 443).chain(handshakes(BLOCKED, 7443)) {
        town.ledger.take();
        let before = rule_packets(&agent, BY_NAME.name);
        assert_eq!(handshake.from(phone, &town.lab.directory), Shaken::Refused, "{handshake:?}");
        assert!(!town.ledger.has(phone, Over::Tls, Step::Hello, BLOCKED), "{handshake:?}: the hello reached the server");
        assert!(rule_packets(&agent, BY_NAME.name) > before, "{handshake:?}: by another reason than the rule");
    }
    for handshake in handshakes(ALLOWED, 443).chain(handshakes(ALLOWED, 7443)) {
        assert_completes(&town, phone, &handshake);
    }
    for handshake in handshakes(BLOCKED, 443) {
        assert_completes(&town, laptop, &handshake);
    }

    for handshake in unreadable {
        town.ledger.take();
        let before = uninspectable(&agent, "tls_unreadable", "drop");
        assert_eq!(handshake.from(phone, &town.lab.directory), Shaken::TimedOut, "{handshake:?}");
        assert!(!town.ledger.has(phone, Over::Tls, Step::Hello, ALLOWED), "{handshake:?}: the hello reached the server");
        assert!(uninspectable(&agent, "tls_unreadable", "drop") > before, "{handshake:?}");
        assert_completes(&town, laptop, &handshake);
    }
}

/// What comes too early is not let through unread; who sends it again in order is served.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_hello_whose_second_part_comes_first_does_not_slip_through() {
    let town = town_without_offloads();
    let phone = &town.lab.phone;
    let swapped = |name| {
        let to = SHARED_SITE.addresses().map(|address| SocketAddr::new(address, 443));
        // Within the record's header, within the message's, and before the name.
        [3, 7, 60].into_iter().flat_map(move |at| to.map(|to| Handshake { name, to, padding: 0, cut: Cut::Swapped(at) }))
    };
    let wire = RawSocket::open(&town.lab.gateway, gateway::INSIDE);
    for handshake in swapped(BLOCKED).chain(swapped(ALLOWED)) {
        assert_completes(&town, phone, &handshake);
        let (segments, Cut::Swapped(at)) = (wire.segments(&PHONE), handshake.cut) else { unreachable!() };
        assert!(segments[0] == segments[2] && segments[1] == at, "{handshake:?}: in this order on the wire: {segments:?}");
    }

    let agent = enforce(&town, &BY_NAME, "");
    for handshake in swapped(BLOCKED) {
        town.ledger.take();
        let before = uninspectable(&agent, "out_of_order", "drop");
        assert_eq!(handshake.from(phone, &town.lab.directory), Shaken::Refused, "{handshake:?}");
        assert!(!town.ledger.has(phone, Over::Tls, Step::Hello, BLOCKED), "{handshake:?}: the hello reached the server");
        assert!(uninspectable(&agent, "out_of_order", "drop") > before, "{handshake:?}");
    }
    for handshake in swapped(ALLOWED) {
        assert_completes(&town, phone, &handshake);
    }
}

/// OpenSSL's own client, with a post-quantum key share where it has one, and as many bytes of protocols where not.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn openssl_with_a_long_hello_is_kept_from_the_blocked_name() {
    let town = town_without_offloads();
    let post_quantum = output(town.lab.phone.command("openssl").args(["list", "-tls-groups"])).is_ok_and(|groups| groups.contains(GROUP));
    let protocols: Vec<_> = (0..60).map(|number| format!("padding/{number:024}")).chain(["http/1.1".to_owned()]).collect();
    let connects = |host: &Host, name: &str| {
        town.ledger.take();
        let mut command = host.command("timeout");
        command.args(["5", "openssl", "s_client", "-brief", "-verify_return_error", "-servername", name, "-CAfile"]);
        command.arg(Host::trusted(&town.lab.directory)).args(["-connect", &format!("{}:443", SHARED_SITE.ipv4)]);
        if post_quantum {
            command.args(["-groups", &format!("{GROUP}:X25519")]);
        } else {
            command.args(["-alpn", &protocols.join(",")]);
        }
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains("CONNECTION ESTABLISHED")
    };
    let wire = RawSocket::open(&town.lab.gateway, gateway::INSIDE);
    assert!(connects(&town.lab.phone, BLOCKED));
    let segments = wire.segments(&PHONE);
    assert!(segments.len() >= 2 && segments[0] > 1400, "the hello is longer than a segment: {segments:?}");
    assert!(connects(&town.lab.phone, ALLOWED));

    let _agent = enforce(&town, &BY_NAME, "");
    assert!(!connects(&town.lab.phone, BLOCKED));
    assert!(!town.ledger.has(&town.lab.phone, Over::Tls, Step::Hello, BLOCKED));
    assert!(connects(&town.lab.phone, ALLOWED));
    assert!(connects(&town.lab.laptop, BLOCKED));
}

/// X25519 with ML-KEM-768 (OpenSSL 3.5 and later): 1,216 bytes.
const GROUP: &str = "X25519MLKEM768";
