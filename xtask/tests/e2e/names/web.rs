//! Pages by HTTP/1.1 and HTTP/2, with and without TLS, at the ports that one expects and at others.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use xtask::lab::Host;
use xtask::lab::names::{ALLOWED, APART, BELOW, BLOCKED, LOOKALIKE, site};
use xtask::lab::process::wait_until;

use super::{BY_NAME, enforce, is_reported};
use crate::support::curl::{Fetched, Found, Page, Way};
use crate::support::ledger::{Over, Step};
use crate::support::rule_packets;
use crate::support::town::{NamePolicy, Town};
use crate::support::web::{HTTP, HTTPS};

const NOT_BLOCKED: [&str; 3] = [ALLOWED, LOOKALIKE, APART];
/// Less than a client's patience.
const AT_ONCE: Duration = Duration::from_millis(700);

/// Every way to a name but by a resolver.
fn pages(name: &str) -> Vec<Page<'_>> {
    let ways = [(Way::Http, HTTP), (Way::Https, HTTPS), (Way::Http2, HTTPS)];
    let ways = ways.into_iter().flat_map(|(way, ports)| ports.map(|port| (way, port)));
    let found = |address: IpAddr| [Found::Told(address), Found::ConnectTo(address)];
    ways.flat_map(|(way, port)| site(name).addresses().into_iter().flat_map(found).map(move |found| Page { way, name, port, found }))
        .collect()
}

/// Fetches them all, a few at a time: each that is blocked without a word takes two seconds.
fn fetch(town: &Town, host: &Host, pages: &[Page<'_>]) -> Vec<(Fetched, Duration)> {
    let one = |page: &Page<'_>| page.fetch(host, &town.lab.directory);
    let batch = |pages: &[Page<'_>]| {
        thread::scope(|scope| {
            let running: Vec<_> = pages.iter().map(|page| scope.spawn(move || one(page))).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        })
    };
    pages.chunks(4).flat_map(batch).collect()
}

fn assert_reached(town: &Town, host: &Host, name: &str) {
    let pages = pages(name);
    town.ledger.take();
    for (page, (fetched, _)) in pages.iter().zip(fetch(town, host, &pages)) {
        assert_eq!(fetched, Fetched::Reached, "{} {page:?}", host.device.name);
    }
    for (over, step) in [(Over::Tls, Step::Hello), (Over::Tls, Step::Handshake), (Over::Tls, Step::Request), (Over::Http, Step::Request)] {
        assert!(town.ledger.has(host, over, step, name), "{} {over:?} {step:?} {name}", host.device.name);
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_blocked_name_does_not_reach_its_server_and_others_do_at_the_same_address() {
    let town = Town::start();
    let by_resolver = |name| Page { way: Way::Http2, name, port: 443, found: Found::ByResolver };
    for host in [&town.lab.phone, &town.lab.laptop] {
        for name in [BLOCKED, BELOW].into_iter().chain(NOT_BLOCKED) {
            assert_reached(&town, host, name);
            assert_eq!(by_resolver(name).fetch(host, &town.lab.directory).0, Fetched::Reached, "{} {name}", host.device.name);
        }
    }

    let agent = enforce(&town, &BY_NAME, "");
    for name in [BLOCKED, BELOW] {
        town.ledger.take();
        let before = rule_packets(&agent, BY_NAME.name);
        let pages = pages(name);
        for (page, (fetched, took)) in pages.iter().zip(fetch(&town, &town.lab.phone, &pages)) {
            assert_eq!(fetched, Fetched::Refused, "{page:?}");
            assert!(took < AT_ONCE, "{page:?} took {took:?}");
        }
        assert_eq!(town.ledger.take(), [], "nothing of it reached a server");
        assert!(rule_packets(&agent, BY_NAME.name) >= before + pages.len() as u64);
        // Without the address the phone does not even get so far.
        let (fetched, took) = by_resolver(name).fetch(&town.lab.phone, &town.lab.directory);
        assert_eq!(fetched, Fetched::NoSuchName);
        assert!(took < AT_ONCE, "{name} took {took:?}");
        assert_reached(&town, &town.lab.laptop, name);
    }
    for name in NOT_BLOCKED {
        assert_reached(&town, &town.lab.phone, name);
        assert_eq!(by_resolver(name).fetch(&town.lab.phone, &town.lab.directory).0, Fetched::Reached, "{name}");
    }
    wait_until(Duration::from_secs(5), "the name is reported", || Ok(is_reported(&agent, BLOCKED))).unwrap();
}

/// Dropped, a connection hangs; what is sent again is dropped again.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_dropped_name_gets_no_answer_however_often_it_is_sent_again() {
    let town = Town::start();
    let pages = [pages(BLOCKED), pages(ALLOWED)].concat();
    assert!(fetch(&town, &town.lab.phone, &pages).iter().all(|(fetched, _)| *fetched == Fetched::Reached));

    let policy = NamePolicy { action: "drop", ..BY_NAME };
    let agent = enforce(&town, &policy, "");
    town.ledger.take();
    for (page, (fetched, _)) in pages.iter().zip(fetch(&town, &town.lab.phone, &pages)) {
        let expected = if page.name == BLOCKED { Fetched::TimedOut } else { Fetched::Reached };
        assert_eq!(fetched, expected, "{page:?}");
    }
    assert!(town.ledger.take().iter().all(|entry| entry.name == ALLOWED));
    let blocked = pages.iter().filter(|page| page.name == BLOCKED).count() as u64;
    assert!(rule_packets(&agent, policy.name) > blocked, "segments are sent again");
}
