//! Values that are one text.

use std::net::IpAddr;

use edge_agent::policy::model::{Action, AddressSet, Family, Ja4Part, Ja4Pattern, PortProtocol, Ranges, RateLimit, RateUnit, ServiceMatch};
use edge_ebpf::packet::Mac;

pub fn mac(text: &str) -> Mac {
    let octets: Vec<u8> = text.split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hex")).collect();
    assert_eq!(octets.len(), 6, "a MAC has six octets: {text}");
    Mac(octets.iter().fold(0, |mac, octet| mac << 8 | u64::from(*octet)))
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "hex has two digits a byte");
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")).collect()
}

pub(super) fn addresses(ranges: &[String]) -> AddressSet {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for range in ranges {
        let ends = match range.split_once('-') {
            Some((first, last)) => (first.parse().expect("an address"), last.parse().expect("an address")),
            None => {
                let prefix: ipnet::IpNet = range.parse().expect("a prefix");
                (prefix.network(), prefix.broadcast())
            }
        };
        match ends {
            (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.into(), last.into())),
            (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.into(), last.into())),
            _ => panic!("{range}: of two families"),
        }
    }
    AddressSet { v4: Ranges::new(v4), v6: Ranges::new(v6) }
}

pub(super) fn action(text: &str) -> Action {
    if let Some(rate) = text.strip_prefix("rate_limit ") {
        let words: Vec<&str> = rate.split(' ').collect();
        let [per_second, unit, "burst", burst] = words[..] else { panic!("no rate {rate}") };
        let unit = match unit {
            "packets" => RateUnit::Packets,
            "bytes" => RateUnit::Bytes,
            other => panic!("no unit {other}"),
        };
        let number = |text: &str| text.parse().expect("a number");
        return Action::RateLimit(RateLimit { unit, per_second: number(per_second), burst: number(burst) });
    }
    [Action::Pass, Action::Drop, Action::Reject, Action::Monitor]
        .into_iter()
        .find(|action| action.name() == text)
        .unwrap_or_else(|| panic!("no action {text}"))
}

/// `any`, `tcp/443`, `udp/1-99`, `icmp/8`, `icmpv6/135`, `ip/47`
pub(super) fn service(text: &str) -> ServiceMatch {
    if text == "any" {
        return ServiceMatch::Any;
    }
    let (protocol, number) = text.split_once('/').expect("a service as tcp/443");
    let (first, last) = number.split_once('-').unwrap_or((number, number));
    let (first, last): (u16, u16) = (first.parse().expect("a number"), last.parse().expect("a number"));
    match protocol {
        "tcp" => ServiceMatch::Ports { protocol: PortProtocol::Tcp, first, last },
        "udp" => ServiceMatch::Ports { protocol: PortProtocol::Udp, first, last },
        "icmp" => ServiceMatch::Icmp { family: Family::V4, kind: first as u8 },
        "icmpv6" => ServiceMatch::Icmp { family: Family::V6, kind: first as u8 },
        "ip" => ServiceMatch::Protocol(first as u8),
        other => panic!("no protocol {other}"),
    }
}

/// `t13d1516h2_8daaf6152771_*`: `?` for any letter, `*` for any part, or what is hashed in a hash's place.
pub(super) fn ja4(text: &str) -> Ja4Pattern {
    let parts: Vec<&str> = text.splitn(3, '_').collect();
    let [letters, ciphers, extensions] = parts[..] else { panic!("no JA4 {text}") };
    let part = |text: &str| match text {
        "*" => None,
        _ if text.len() == 12 => Some(Ja4Part::Hash(unhex(text).try_into().expect("six bytes"))),
        _ => Some(Ja4Part::Raw(text.to_owned())),
    };
    let letters: Vec<Option<u8>> = letters.bytes().map(|letter| (letter != b'?').then_some(letter)).collect();
    Ja4Pattern { letters: letters.try_into().expect("ten letters"), ciphers: part(ciphers), extensions: part(extensions) }
}

/// `tcp` or `udp`
pub(super) fn port_protocol(text: &str) -> PortProtocol {
    match text {
        "tcp" => PortProtocol::Tcp,
        "udp" => PortProtocol::Udp,
        other => panic!("no protocol with ports {other}"),
    }
}

/// `443` or `1-99`
pub(super) fn ports(text: &str) -> (u16, u16) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (first.parse().expect("a port"), last.parse().expect("a port"))
}

/// Hex, with `??` for any byte.
pub(super) fn pattern(text: &str) -> Vec<Option<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "hex has two digits a byte");
    let bytes = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    bytes.map(|pair| (pair != "??").then(|| u8::from_str_radix(pair, 16).expect("hex"))).collect()
}
