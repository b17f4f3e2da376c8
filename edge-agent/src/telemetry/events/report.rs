//! An event with the names that its numbers stand for.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use edge_ebpf::abi::{Event, Evidence, Reason, Verdict};
use edge_ebpf::packet::protocol;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dataplane::counters::RuleKey;

/// What the numbers in events mean in the generation in force.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By slot in the table of rule counters. Slots keep their rule over generations.
    pub rules: HashMap<u32, RuleKey>,
    /// By interface index.
    pub interfaces: HashMap<u32, String>,
}

/// One packet that a rule matched, or that could not be inspected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// When the agent read it.
    pub at: Timestamp,
    /// The rule; `None` for an uninspectable packet, or if the rule is of a generation whose names are gone.
    pub rule: Option<RuleKey>,
    /// Why the packet could not be inspected.
    pub reason: Option<String>,
    /// What the rule matched by: `address`, `name`, `learned`, `signature` or `flow`.
    pub evidence: String,
    /// The name that the packet or its flow carries, or that its address was learned for.
    pub name: Option<String>,
    /// What became of the packet.
    pub verdict: String,
    /// The rule only counted; the verdict is another's.
    pub monitored: bool,
    /// The device's MAC.
    pub device: String,
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    /// 0 where the protocol has no ports, as is the other.
    pub source_port: u16,
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Its name, or `#7` if it has gone.
    pub interface: String,
    /// Bytes of the frame.
    pub length: u32,
    pub generation: u32,
}

impl Report {
    pub(super) fn new(event: &Event, name: Option<String>, names: &Names, at: Timestamp) -> Self {
        let Event {
            source,
            destination,
            interface,
            slot,
            length,
            generation,
            device,
            source_port,
            destination_port,
            family,
            protocol,
            verdict,
            monitored,
            reason,
            evidence,
        } = *event;
        Self {
            at,
            rule: names.rules.get(&slot).cloned(),
            reason: Reason::ALL.into_iter().find(|known| *known as u8 == reason).map(|reason| reason.name().to_owned()),
            // Another version's is shown as the least that is known.
            evidence: Evidence::from_u8(evidence).unwrap_or(Evidence::Address).name().to_owned(),
            name,
            verdict: Verdict::from_u8(verdict).name().to_owned(),
            monitored: monitored != 0,
            device: mac(device),
            source: address(family, source),
            destination: address(family, destination),
            source_port,
            destination_port,
            protocol,
            interface: names.interfaces.get(&interface).cloned().unwrap_or_else(|| format!("#{interface}")),
            length,
            generation,
        }
    }

    /// One line of the structured log, under the target `edge::match`.
    pub(super) fn log(&self) {
        let Self {
            at: _,
            rule,
            reason,
            evidence,
            name,
            verdict,
            monitored,
            device,
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            interface,
            length,
            generation,
        } = self;
        // `Option` fields that are `None` are left out of the line.
        let own = |of: fn(&RuleKey) -> &str| rule.as_ref().map(of);
        tracing::info!(
            target: "edge::match",
            policy = own(|rule| &rule.policy),
            rule = own(|rule| &rule.rule),
            action = own(|rule| &rule.action),
            reason,
            evidence,
            name,
            verdict,
            monitored,
            device,
            source = source.map(tracing::field::display),
            source_port,
            destination = destination.map(tracing::field::display),
            destination_port,
            protocol,
            interface,
            length,
            generation,
        );
    }
}

/// One line for people: when, who, where to, what became of it, and by which rule.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            rule,
            reason,
            evidence,
            name,
            verdict,
            monitored,
            device,
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            interface,
            length: _,
            generation: _,
        } = self;
        let end = |address: &Option<IpAddr>, port: u16| match address {
            Some(address) if port == 0 => address.to_string(),
            Some(address) => SocketAddr::new(*address, port).to_string(),
            None => "?".to_owned(),
        };
        let (source, destination) = (end(source, *source_port), end(destination, *destination_port));
        let protocol = match *protocol {
            protocol::TCP => "tcp".to_owned(),
            protocol::UDP => "udp".to_owned(),
            protocol::ICMP | protocol::ICMPV6 => "icmp".to_owned(),
            number => format!("ip/{number}"),
        };
        let verdict = if *monitored { "monitor" } else { verdict.as_str() };
        let cause = match (rule, reason) {
            (Some(RuleKey { policy, rule, action: _ }), _) => format!("{policy}/{rule}"),
            (None, Some(reason)) => format!("uninspectable: {reason}"),
            (None, None) => "a rule that is gone".to_owned(),
        };
        write!(out, "{at:.0}  {interface}  {device}  {protocol}  {source} -> {destination}  {verdict}  {cause}")?;
        match (evidence.as_str(), name) {
            ("address", None) => Ok(()),
            ("learned", Some(name)) => write!(out, " (learned for {name})"),
            ("flow", Some(name)) => write!(out, " (flow of {name})"),
            ("signature", Some(name)) => write!(out, " (signature, name {name})"),
            (_, Some(name)) => write!(out, " (name {name})"),
            (evidence, None) => write!(out, " ({evidence})"),
        }
    }
}

fn mac([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// `None` where the packet was not parsed as far as its addresses.
fn address(family: u8, [high, low]: [u64; 2]) -> Option<IpAddr> {
    match family {
        4 => Some(Ipv4Addr::from((high >> 32) as u32).into()),
        6 => Some(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn event() -> Event {
        Event {
            source: [u64::from(u32::from(Ipv4Addr::new(192, 0, 2, 10))) << 32, 0],
            destination: [u64::from(u32::from(Ipv4Addr::new(42, 62, 48, 7))) << 32, 0],
            interface: 3,
            slot: 17,
            length: 74,
            generation: 2,
            device: [0x64, 0x09, 0x80, 0, 0, 1],
            source_port: 40_000,
            destination_port: 443,
            family: 4,
            protocol: 6,
            verdict: Verdict::Drop as u8,
            monitored: 0,
            reason: 255,
            evidence: 0,
        }
    }

    fn names() -> Names {
        let rule = RuleKey { policy: "iaf-xiaomi".into(), rule: "no-reporting".into(), action: "drop".into() };
        Names { rules: [(17, rule)].into(), interfaces: [(3, "lan0".into())].into() }
    }

    #[test]
    fn numbers_become_names() {
        let report = Report::new(&event(), None, &names(), Timestamp::UNIX_EPOCH);
        assert_eq!(report.rule, names().rules.get(&17).cloned());
        assert_eq!(report.interface, "lan0");
        assert_eq!(report.device, "64:09:80:00:00:01");
        assert_eq!(report.source, Some("192.0.2.10".parse().expect("an address")));
        assert_eq!(report.destination, Some("42.62.48.7".parse().expect("an address")));
        assert_eq!((report.verdict.as_str(), report.reason), ("drop", None));
    }

    #[test]
    fn ipv6_and_what_could_not_be_parsed() {
        let six = Event { family: 6, source: [0x2001_0db8_0000_0000, 0x10], ..event() };
        assert_eq!(Report::new(&six, None, &names(), Timestamp::UNIX_EPOCH).source, Some("2001:db8::10".parse().expect("an address")));

        let cut = Event { family: 0, slot: u32::MAX, reason: Reason::Truncated as u8, interface: 9, ..event() };
        let report = Report::new(&cut, None, &names(), Timestamp::UNIX_EPOCH);
        assert_eq!((report.source, report.rule, report.reason.as_deref()), (None, None, Some("truncated")));
        assert_eq!(report.interface, "#9", "an interface that has gone keeps its number");
    }

    #[test]
    fn a_line_says_who_where_what_and_why() {
        let line = |event: Event| Report::new(&event, None, &names(), Timestamp::UNIX_EPOCH).to_string();
        assert_eq!(
            line(event()),
            "1970-01-01T00:00:00Z  lan0  64:09:80:00:00:01  tcp  192.0.2.10:40000 -> 42.62.48.7:443  drop  iaf-xiaomi/no-reporting"
        );
        let watched = Event { monitored: 1, verdict: Verdict::Pass as u8, source_port: 0, destination_port: 0, protocol: 1, ..event() };
        assert!(line(watched).ends_with("icmp  192.0.2.10 -> 42.62.48.7  monitor  iaf-xiaomi/no-reporting"), "{}", line(watched));
        let cut = Event { family: 0, slot: u32::MAX, reason: Reason::NestedTags as u8, protocol: 0, ..event() };
        assert!(line(cut).ends_with("ip/0  ? -> ?  drop  uninspectable: nested_tags"), "{}", line(cut));
    }

    #[test]
    fn a_line_ends_with_what_the_rule_matched_by() {
        let cause = |evidence: u8, name: Option<&str>| {
            let report = Report::new(&Event { evidence, ..event() }, name.map(str::to_owned), &names(), Timestamp::UNIX_EPOCH);
            report.to_string().split_once("drop  iaf-xiaomi/no-reporting").expect("the rule").1.to_owned()
        };
        let name = Some("api.example.com");
        for (evidence, with_name, without) in [
            (Evidence::Address, " (name api.example.com)", ""),
            (Evidence::Name, " (name api.example.com)", " (name)"),
            (Evidence::Learned, " (learned for api.example.com)", " (learned)"),
            (Evidence::Signature, " (signature, name api.example.com)", " (signature)"),
            (Evidence::Flow, " (flow of api.example.com)", " (flow)"),
        ] {
            assert_eq!((cause(evidence as u8, name).as_str(), cause(evidence as u8, None).as_str()), (with_name, without));
        }
        assert_eq!(cause(99, None), "", "another version's");
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_log_line_carries_each_field() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let report = Report::new(
            &Event { evidence: Evidence::Learned as u8, ..event() },
            Some("api.example.com".to_owned()),
            &names(),
            Timestamp::UNIX_EPOCH,
        );
        tracing::subscriber::with_default(subscriber, || report.log());

        let bytes = buffer.0.lock().expect("no writer panicked").clone();
        let line: serde_json::Value = serde_json::from_slice(&bytes).expect("one JSON object");
        assert_eq!(line["target"], "edge::match");
        assert_eq!(
            line["fields"],
            serde_json::json!({
                "policy": "iaf-xiaomi", "rule": "no-reporting", "action": "drop", "evidence": "learned", "name": "api.example.com",
                "verdict": "drop", "monitored": false,
                "device": "64:09:80:00:00:01", "source": "192.0.2.10", "source_port": 40_000, "destination": "42.62.48.7",
                "destination_port": 443, "protocol": 6, "interface": "lan0", "length": 74, "generation": 2,
            })
        );
    }
}
