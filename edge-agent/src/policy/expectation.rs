//! A policy's tests: one packet each, and what must become of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::abi::Verdict;
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use super::mac::MacPrefix;
use super::model::{Family, PortProtocol};
use super::name::{Name, NameError};
use super::problem::{Fault, Place, Problems};
use super::schema::{Placed, list, one_or_many, parsed};
use super::service::ServicePoint;
use super::shown::{Shown, decode_shown};
use super::signature::Payload;
use super::yaml::Node;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTest {
    pub name: Placed<String>,
    /// Where it comes in.
    pub side: Side,
    /// When it comes; `None`: now.
    pub at: Option<Timestamp>,
    /// The device, or the upstream's router.
    pub mac: [u8; 6],
    /// The sender's address; any of the destination's family will do if it is not named.
    pub source: Option<IpAddr>,
    pub destination: IpAddr,
    pub service: ServicePoint,
    pub carried: Carried,
    /// Names for which an answer gave the remote's address before.
    pub learned: Vec<Name>,
    /// What the device has shown before.
    pub shows: Vec<Shown>,
    pub expect: Expectation,
}

/// What the packet says beside its headers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carried {
    Nothing,
    /// In a DNS query to port 53, an HTTP request to port 80, a ClientHello to other ports of TCP.
    Name(Name),
    Payload(Payload),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// Not asked for if `None`.
    pub verdict: Option<Verdict>,
    /// The rule that decides; not asked for if `None`.
    pub rule: Option<Placed<RuleName>>,
    /// All rules that count the packet and do not decide, in order; not asked for if `None`.
    pub monitored: Option<Vec<Placed<RuleName>>>,
    /// Rules that decide or count, and maybe others do; empty: no rule of the test's policy does; not asked for if `None`.
    pub matches: Option<Vec<Placed<RuleName>>>,
}

/// A rule as a test names it: `rule` of its own policy, or `policy/rule`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleName {
    /// `None`: the test's own.
    pub policy: Option<String>,
    pub rule: String,
}

/// Of an inbound packet, where a test names none: one for documentation (RFC 7042 section 2.1.2).
const ROUTER: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x53, 0x01];

pub(super) fn decode_test(node: &Node, problems: &mut Problems) -> Option<PolicyTest> {
    let (from, to, expect) = (node.get("from")?, node.get("to")?, node.get("expect")?);
    let side = if node.get("direction").and_then(Node::text) == Some("inbound") { Side::Outside } else { Side::Inside };
    check_sender(side, from, problems)?;
    let mac = match from.get("mac") {
        Some(node) => mac(node, problems),
        None => Some(ROUTER),
    };
    let at = node.get("at").and_then(|node| time(node, problems));
    let source = from.get("address").and_then(|node| address(node, problems));
    let service = to.get("service").and_then(|node| parsed(node, problems));
    let carried = carried(side, to, service.as_ref(), problems);
    let learned = learned(side, from, to, problems);
    let shows = decode_shown(side, from.get("shows"), problems);
    let destination = match to.get("address") {
        Some(node) => address(node, problems).map(|address| address.value),
        None if to.get("name").is_some() || to.get("learned").is_some() => Some(some_address(source.as_ref())),
        None => {
            problems
                .error(&to.place, "the key `address` is missing")
                .hint("where it goes, `address: 192.0.2.1`, or `name: www.example.com`");
            None
        }
    };
    let name = node.get("name")?;
    let test = PolicyTest {
        name: Placed { place: name.place.clone(), value: name.text()?.to_owned() },
        side,
        at,
        mac: mac?,
        source: source.as_ref().map(|source| source.value),
        destination: destination?,
        service: service.as_ref()?.value,
        carried: carried?,
        learned: learned?,
        shows: shows?,
        expect: expectation(expect, problems)?,
    };
    check_families(&test, source.map(|source| source.place).as_ref(), &service?.place, problems);
    Some(test)
}

/// Some address for documentation (RFC 5737, RFC 3849), of the sender's family.
fn some_address(source: Option<&Placed<IpAddr>>) -> IpAddr {
    match source {
        Some(Placed { value: IpAddr::V6(_), .. }) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        _ => Ipv4Addr::new(203, 0, 113, 1).into(),
    }
}

/// `None` if something in it is wrong.
fn carried(side: Side, to: &Node, service: Option<&Placed<ServicePoint>>, problems: &mut Problems) -> Option<Carried> {
    let (name, payload) = (to.get("name"), to.get("payload"));
    let Some(node) = name.or(payload) else { return Some(Carried::Nothing) };
    if side == Side::Outside {
        problems.error(&node.place, "what an inbound packet carries is not looked at").hint("remove it, or make it an outbound test");
        return None;
    }
    if let (Some(name), Some(payload)) = (name, payload) {
        problems
            .error(&payload.place, "the packet carries a name and a payload")
            .related(&name.place, "the name is here")
            .hint("write one of them: the name makes a payload of its own");
        return None;
    }
    let Placed { place, value: service } = service?;
    match (service, name) {
        (ServicePoint::Port { protocol: PortProtocol::Udp, port: 443 }, Some(_)) => {
            problems
                .error(place, "the name in a QUIC packet is encrypted")
                .hint("write `tcp/443`; what becomes of QUIC says `names.quic` in agent.yaml");
            None
        }
        (ServicePoint::Port { protocol: PortProtocol::Udp, port }, Some(_)) if *port != 53 => {
            problems.error(place, "over UDP only DNS queries carry a name").hint("write `udp/53`, or a port of tcp");
            None
        }
        (ServicePoint::Icmp { .. } | ServicePoint::Protocol(_), _) => {
            problems.error(place, "only packets of tcp and udp are looked into").hint("such as `tcp/443` or `udp/53`");
            None
        }
        (ServicePoint::Port { .. }, Some(name)) => Some(Carried::Name(host(name, problems)?)),
        (ServicePoint::Port { .. }, None) => Some(Carried::Payload(parsed(node, problems)?.value)),
    }
}

/// The names of the remote, which is the target of an outbound packet and the sender of an inbound one.
fn learned(side: Side, from: &Node, to: &Node, problems: &mut Problems) -> Option<Vec<Name>> {
    let (own, other, hint) = match side {
        Side::Inside => (to, from, "the address of an outbound packet's target is learned: put it under `to`"),
        Side::Outside => (from, to, "the address of an inbound packet's sender is learned: put it under `from`"),
    };
    if let Some(node) = other.get("learned") {
        problems.error(&node.place, "the address of a device is not learned").hint(hint);
        return None;
    }
    one_or_many(own.get("learned")).map(|node| host(node, problems)).collect()
}

pub(super) fn host(node: &Node, problems: &mut Problems) -> Option<Name> {
    let text = node.text()?;
    let fault = |error: NameError| Fault::new(format!("`{text}` is not a name: {error}"), error.way_out());
    problems.take(&node.place, text.parse().map_err(fault))
}

/// A device is known by its MAC, a remote by its address.
fn check_sender(side: Side, from: &Node, problems: &mut Problems) -> Option<()> {
    let (key, hint) = match side {
        Side::Inside => ("mac", "the device's whole MAC: `from: {mac: \"64:09:80:00:00:01\"}`"),
        Side::Outside => ("address", "where the inbound packet comes from: `from: {address: 203.0.113.7}`"),
    };
    if from.get(key).is_none() {
        problems.error(&from.place, format!("the key `{key}` is missing")).hint(hint);
        return None;
    }
    Some(())
}

fn time(node: &Node, problems: &mut Problems) -> Option<Timestamp> {
    let text = node.text()?;
    let fault =
        || Fault::new(format!("`{text}` is not a time"), "date, time and offset: `2014-10-24T12:00:00Z`, `2014-10-24T17:30:00+05:30`");
    problems.take(&node.place, text.parse().map_err(|_| fault()))
}

fn expectation(node: &Node, problems: &mut Problems) -> Option<Expectation> {
    let rules = |key| node.get(key).map(|rules| list(Some(rules)).filter_map(rule_name).collect());
    let (monitored, matches) = (rules("monitored"), rules("matches"));
    let verdict = match node.get("verdict") {
        Some(node) => Some(verdict(node.text()?)?),
        None if matches.is_some() => None,
        None => {
            problems
                .error(&node.place, "the key `verdict` is missing")
                .hint("`verdict: drop`; or `matches: [RULE]`, which holds in both modes of the policy");
            return None;
        }
    };
    Some(Expectation { verdict, rule: node.get("rule").and_then(rule_name), monitored, matches })
}

fn verdict(word: &str) -> Option<Verdict> {
    Verdict::ALL.into_iter().find(|verdict| verdict.name() == word)
}

fn mac(node: &Node, problems: &mut Problems) -> Option<[u8; 6]> {
    let address = parsed::<MacPrefix>(node, problems)?.value.address();
    if address.is_none() {
        problems.error(&node.place, "a test's device has one MAC, this is a prefix").hint("write all six bytes, without a length");
    }
    address
}

fn address(node: &Node, problems: &mut Problems) -> Option<Placed<IpAddr>> {
    let text = node.text()?;
    let Ok(value) = text.parse() else {
        problems.error(&node.place, format!("`{text}` is not an address")).hint("such as `192.0.2.1` or `2001:db8::1`");
        return None;
    };
    Some(Placed { place: node.place.clone(), value })
}

fn rule_name(node: &Node) -> Option<Placed<RuleName>> {
    let (policy, rule) = match node.text()?.split_once('/') {
        Some((policy, rule)) => (Some(policy.to_owned()), rule),
        None => (None, node.text()?),
    };
    Some(Placed { place: node.place.clone(), value: RuleName { policy, rule: rule.to_owned() } })
}

fn check_families(test: &PolicyTest, source: Option<&Place>, service: &Place, problems: &mut Problems) {
    let PolicyTest { destination, .. } = test;
    if let (Some(address), Some(place)) = (test.source, source)
        && address.is_ipv4() != destination.is_ipv4()
    {
        problems.error(place, format!("{address} cannot talk to {destination}")).hint("both addresses are IPv4, or both IPv6");
    }
    if let ServicePoint::Icmp { family, .. } = test.service
        && destination.is_ipv4() != (family == Family::V4)
    {
        problems.error(service, format!("this ICMP is not the one of {destination}")).hint("`icmp/…` goes to IPv4, `icmpv6/…` to IPv6");
    }
}
