//! Services as policies write them: `tcp/443`, `tcp/8000-8999`, `icmp/8`, `ip/47`, `gre`, `https`, `any`.

use std::str::FromStr;

use super::model::{Family, PortProtocol, ServiceMatch};
use super::problem::Fault;

/// A service as it is written; names are looked up when policies are resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Service {
    Match(ServiceMatch),
    /// A name of the services file, for one protocol or for all those that it lists.
    Name {
        protocol: Option<PortProtocol>,
        name: String,
    },
}

/// The service of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServicePoint {
    Port { protocol: PortProtocol, port: u16 },
    Icmp { family: Family, kind: u8 },
    Protocol(u8),
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Protocols that have a name here: those of the IANA registry that cross gateways today.
const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", TCP),
    ("udp", UDP),
    ("icmp", ICMP),
    ("icmpv6", ICMPV6),
    ("igmp", 2),
    ("ipip", 4),
    ("ipv6", 41),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("sctp", 132),
    ("udplite", 136),
];
const EXAMPLES: &str = "such as `tcp/443`, `udp/53`, `tcp/8000-8999`, `icmp/8`, `ip/47`, `gre`, `https` or `any`";

impl FromStr for Service {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::new(format!("`{text}` is not a service: {why}"), EXAMPLES);
        let Some((protocol, rest)) = text.split_once('/') else {
            if text == "any" {
                return Ok(Self::Match(ServiceMatch::Any));
            }
            if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == text) {
                return Ok(Self::Match(ServiceMatch::Protocol(*number)));
            }
            return if is_name(text) {
                Ok(Self::Name { protocol: None, name: text.to_owned() })
            } else {
                Err(wrong("a number needs its protocol, and a name has a letter, no blanks"))
            };
        };
        let kind = || rest.parse::<u8>().map_err(|_| wrong("what follows the `/` is not from 0 to 255"));
        match protocol {
            "tcp" => ports(PortProtocol::Tcp, rest).ok_or_else(|| wrong("no port, range of ports or name after the `/`")),
            "udp" => ports(PortProtocol::Udp, rest).ok_or_else(|| wrong("no port, range of ports or name after the `/`")),
            "icmp" => Ok(Self::Match(ServiceMatch::Icmp { family: Family::V4, kind: kind()? })),
            "icmpv6" => Ok(Self::Match(ServiceMatch::Icmp { family: Family::V6, kind: kind()? })),
            "ip" => Ok(Self::Match(ServiceMatch::Protocol(kind()?))),
            _ if PROTOCOLS.iter().any(|(name, _)| *name == protocol) => {
                Err(Fault::new(format!("`{text}` is not a service: only tcp and udp have ports here"), format!("write `{protocol}`")))
            }
            _ => Err(wrong("before the `/` stands tcp, udp, icmp, icmpv6 or ip")),
        }
    }
}

/// A port, a range of ports, or a name.
fn ports(protocol: PortProtocol, text: &str) -> Option<Service> {
    if is_name(text) {
        return Some(Service::Name { protocol: Some(protocol), name: text.to_owned() });
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(Service::Match(ServiceMatch::Ports { protocol, first, last }))
}

/// Names of services have at least one letter (RFC 6335 section 5.1; files also have `_`, `+` and `.`).
fn is_name(text: &str) -> bool {
    text.len() < 64
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte))
}

impl FromStr for ServicePoint {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text.parse()? {
            Service::Match(ServiceMatch::Ports { protocol, first, last }) if first == last => Ok(Self::Port { protocol, port: first }),
            Service::Match(ServiceMatch::Icmp { family, kind }) => Ok(Self::Icmp { family, kind }),
            Service::Match(ServiceMatch::Protocol(protocol)) if ![TCP, UDP, ICMP, ICMPV6].contains(&protocol) => {
                Ok(Self::Protocol(protocol))
            }
            _ => {
                let hint = "such as `tcp/443`, `udp/53`, `icmp/8`, `icmpv6/128` or `ip/47`";
                Err(Fault::new(format!("`{text}` is more than one kind of packet"), hint))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_what_it_says() {
        let ports = |protocol, first, last| Service::Match(ServiceMatch::Ports { protocol, first, last });
        let name = |protocol, name: &str| Service::Name { protocol, name: name.to_owned() };
        for (text, expected) in [
            ("any", Service::Match(ServiceMatch::Any)),
            ("tcp", Service::Match(ServiceMatch::Protocol(6))),
            ("icmp", Service::Match(ServiceMatch::Protocol(1))),
            ("esp", Service::Match(ServiceMatch::Protocol(50))),
            ("ip/47", Service::Match(ServiceMatch::Protocol(47))),
            ("tcp/443", ports(PortProtocol::Tcp, 443, 443)),
            ("udp/8000-8999", ports(PortProtocol::Udp, 8000, 8999)),
            ("icmp/8", Service::Match(ServiceMatch::Icmp { family: Family::V4, kind: 8 })),
            ("icmpv6/135", Service::Match(ServiceMatch::Icmp { family: Family::V6, kind: 135 })),
            ("https", name(None, "https")),
            ("tcp/https", name(Some(PortProtocol::Tcp), "https")),
            ("udp/z39.50", name(Some(PortProtocol::Udp), "z39.50")),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_service_is_refused() {
        for text in ["", "443", "tcp/", "tcp/65536", "tcp/9-1", "tcp/+1", "tcp/1-", "icmp/256", "ip/tcp", "sctp/80", "foo/1", "TCP 443"] {
            assert!(text.parse::<Service>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_point_is_one_kind_of_packet() {
        assert_eq!("udp/53".parse(), Ok(ServicePoint::Port { protocol: PortProtocol::Udp, port: 53 }));
        assert_eq!("gre".parse(), Ok(ServicePoint::Protocol(47)));
        for text in ["any", "tcp", "tcp/1-2", "icmp", "ip/6", "https"] {
            assert!(text.parse::<ServicePoint>().is_err(), "{text}");
        }
    }
}
