//! A policy's tests: one packet each, and what must become of it.

use std::net::IpAddr;

use edge_ebpf::abi::Verdict;
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use super::mac::MacPrefix;
use super::model::Family;
use super::problem::{Fault, Place, Problems};
use super::schema::{Placed, list, parsed};
use super::service::ServicePoint;
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
    pub expect: Expectation,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectation {
    pub verdict: Verdict,
    /// The rule that decides; not asked for if `None`.
    pub rule: Option<Placed<RuleName>>,
    /// All rules that count the packet and do not decide, in order; not asked for if `None`.
    pub monitored: Option<Vec<Placed<RuleName>>>,
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
    let destination = to.get("address").and_then(|node| address(node, problems));
    let service = to.get("service").and_then(|node| parsed(node, problems));
    let name = node.get("name")?;
    let test = PolicyTest {
        name: Placed { place: name.place.clone(), value: name.text()?.to_owned() },
        side,
        at,
        mac: mac?,
        source: source.as_ref().map(|source| source.value),
        destination: destination?.value,
        service: service.as_ref()?.value,
        expect: Expectation {
            verdict: verdict(expect.get("verdict")?.text()?)?,
            rule: expect.get("rule").and_then(rule_name),
            monitored: expect.get("monitored").map(|rules| list(Some(rules)).filter_map(rule_name).collect()),
        },
    };
    check_families(&test, source.map(|source| source.place).as_ref(), &service?.place, problems);
    Some(test)
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
