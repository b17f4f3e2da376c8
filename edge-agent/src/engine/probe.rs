//! The packets of policy tests: what a device sends that asks for a name, and the answers that it got before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::engine::Side;
use edge_ebpf::packet::Mac;

use super::frame::{Ends, FrameSpec, TcpFlags, Transport};
use crate::policy::expectation::{Carried, PolicyTest};
use crate::policy::model::PortProtocol;
use crate::policy::name::Name;
use crate::policy::service::ServicePoint;
use crate::policy::signature::Payload;

const DNS: u16 = 53;
const HTTP: u16 = 80;

/// The test's packet, sent from `port` if its protocol has ports.
pub fn packet(test: &PolicyTest, port: u16) -> FrameSpec {
    let PolicyTest { name: _, side: _, at: _, mac, source, destination, service, carried, learned: _, expect: _ } = test;
    let ends = match (*source, *destination) {
        (Some(IpAddr::V4(source)), IpAddr::V4(destination)) => Ends::V4(source, destination),
        (Some(IpAddr::V6(source)), IpAddr::V6(destination)) => Ends::V6(source, destination),
        // Checked when the policy was loaded: a source is of the destination's family.
        (_, destination) => Ends::to(destination),
    };
    let transport = match (*service, carried) {
        (ServicePoint::Port { protocol: PortProtocol::Tcp, port: destination }, carried) => {
            // Data comes after the handshake.
            let first = *carried == Carried::Nothing;
            let flags = TcpFlags { syn: first, ack: !first, ..TcpFlags::default() };
            Transport::Tcp { source: port, destination, flags, sequence: 1000 + u32::from(!first), acknowledgment: u32::from(!first) }
        }
        (ServicePoint::Port { protocol: PortProtocol::Udp, port: destination }, _) => Transport::Udp { source: port, destination },
        (ServicePoint::Icmp { family: _, kind }, _) => Transport::Icmp { kind, code: 0 },
        (ServicePoint::Protocol(number), _) => Transport::Other(number),
    };
    let payload = match (carried, *service) {
        (Carried::Nothing, _) => Vec::new(),
        (Carried::Payload(Payload(bytes)), _) => bytes.clone(),
        (Carried::Name(name), ServicePoint::Port { protocol: PortProtocol::Udp, .. }) => query(name),
        (Carried::Name(name), ServicePoint::Port { protocol: PortProtocol::Tcp, port: DNS }) => framed(&query(name), 2),
        (Carried::Name(name), ServicePoint::Port { protocol: PortProtocol::Tcp, port: HTTP }) => request(name),
        (Carried::Name(name), _) => client_hello(name),
    };
    FrameSpec { payload, ..FrameSpec::new(device(*mac), ends, transport) }
}

/// What the device, or another one before it, was answered: for each name of the test that has the remote's address.
pub fn answers(test: &PolicyTest) -> Vec<FrameSpec> {
    let PolicyTest { name: _, side, at: _, mac, source, destination, service: _, carried: _, learned, expect: _ } = test;
    let remote = match side {
        Side::Inside => *destination,
        Side::Outside => source.unwrap_or(*destination),
    };
    let ends = match Ends::to(remote) {
        Ends::V4(device, _) => Ends::V4(Ipv4Addr::new(198, 51, 100, 53), device),
        Ends::V6(device, _) => Ends::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53), device),
    };
    let transport = Transport::Udp { source: DNS, destination: 40_000 };
    let spec = |name| FrameSpec { payload: answer(name, remote), ..FrameSpec::new(device(*mac), ends, transport) };
    learned.iter().map(spec).collect()
}

fn device(mac: [u8; 6]) -> Mac {
    let [a, b, c, d, e, f] = mac.map(u64::from);
    Mac(a << 40 | b << 32 | c << 24 | d << 16 | e << 8 | f)
}

/// Record types (RFC 1035 section 3.2.2, RFC 3596 section 2.1) and the class of the Internet.
const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;
/// Recursion desired, of a query; with it, of an answer: response, recursion available (RFC 1035 section 4.1.1).
const QUERY: u16 = 0x0100;
const ANSWER: u16 = 0x8180;
/// Behind a message's header, where the first question's name is.
const FIRST_NAME: u16 = 0xc000 | 12;

/// A query for the name's IPv4 addresses (RFC 1035 section 4.1).
fn query(name: &Name) -> Vec<u8> {
    let mut message = words(&[0x1234, QUERY, 1, 0, 0, 0]);
    question(&mut message, name, A);
    message
}

/// The answer that the name has this address, for five minutes.
fn answer(name: &Name, address: IpAddr) -> Vec<u8> {
    let (kind, address) = match address {
        IpAddr::V4(address) => (A, address.octets().to_vec()),
        IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
    };
    let mut message = words(&[0x1234, ANSWER, 1, 1, 0, 0]);
    question(&mut message, name, kind);
    message.extend(words(&[FIRST_NAME, kind, IN, 0, 300]));
    message.extend(framed(&address, 2));
    message
}

fn question(message: &mut Vec<u8>, name: &Name, kind: u16) {
    for label in name.as_ref().labels() {
        message.extend(framed(label.as_bytes(), 1));
    }
    message.push(0);
    message.extend(words(&[kind, IN]));
}

/// A request for the name's root page (RFC 9112 section 3).
fn request(name: &Name) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes()
}

/// A hello of TLS 1.3 (RFC 8446 section 4.1.2) in one record, with the name (RFC 6066 section 3) and what else clients must say.
fn client_hello(name: &Name) -> Vec<u8> {
    let host = [&[0], &*framed(name.as_ref().as_str().as_bytes(), 2)].concat();
    let extensions = [
        extension(0, &framed(&host, 2)),
        // Versions 1.3 and 1.2; group x25519; signature ECDSA with SHA-256 over P-256.
        extension(43, &framed(&words(&[0x0304, 0x0303]), 1)),
        extension(10, &framed(&words(&[29]), 2)),
        extension(13, &framed(&words(&[0x0403]), 2)),
        extension(51, &framed(&[words(&[29]), framed(&[0x5a; 32], 2)].concat(), 2)),
    ]
    .concat();
    let random = [0x5a; 32];
    let body = [
        &[3, 3],
        &random[..],
        &framed(&[], 1),
        // TLS_AES_128_GCM_SHA256; no compression.
        &framed(&words(&[0x1301]), 2),
        &framed(&[0], 1),
        &framed(&extensions, 2),
    ]
    .concat();
    let message = [&[1], &*framed(&body, 3)].concat();
    [&[22, 3, 1], &*framed(&message, 2)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [words(&[kind]), framed(body, 2)].concat()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// Behind their number in so many bytes, at most eight.
fn framed(bytes: &[u8], size: usize) -> Vec<u8> {
    let number = (bytes.len() as u64).to_be_bytes();
    [number.get(number.len().saturating_sub(size)..).unwrap_or_default(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use edge_ebpf::abi::Verdict;

    use super::*;
    use crate::engine::observe::Observer;
    use crate::policy::expectation::Expectation;
    use crate::policy::model::Family;
    use crate::policy::problem::Place;
    use crate::policy::schema::Placed;

    fn test(destination: &str, service: ServicePoint, carried: Carried) -> PolicyTest {
        PolicyTest {
            name: Placed { place: Place::file(Path::new("p.yaml")), value: "t".to_owned() },
            side: Side::Inside,
            at: None,
            mac: [0x64, 9, 0x80, 0, 0, 1],
            source: None,
            destination: destination.parse().expect("an address"),
            service,
            carried,
            learned: vec!["a.example".parse().expect("a name"), "b.example".parse().expect("a name")],
            expect: Expectation { verdict: Verdict::Pass, rule: None, monitored: None },
        }
    }

    fn port(protocol: PortProtocol, port: u16) -> ServicePoint {
        ServicePoint::Port { protocol, port }
    }

    #[test]
    fn the_name_is_where_the_service_has_it() {
        let name = "Api.Example.com".to_owned();
        let carried = || Carried::Name(name.parse().expect("a name"));
        let name = name.to_lowercase();
        let (tcp, udp) = (PortProtocol::Tcp, PortProtocol::Udp);
        for (service, (kind, key)) in [
            (port(udp, 53), ("dns_query", "name")),
            (port(tcp, 53), ("dns_query", "name")),
            (port(tcp, 80), ("http_request", "host")),
            (port(tcp, 443), ("client_hello", "sni")),
            (port(tcp, 8883), ("client_hello", "sni")),
        ] {
            for destination in ["192.0.2.1", "2001:db8::1"] {
                let seen = Observer::default().frame(&packet(&test(destination, service, carried()), 40_000).build());
                let [(Mac(0x6409_8000_0001), observation)] = seen.as_slice() else { panic!("{service:?} {destination}: {seen:?}") };
                assert_eq!(
                    (observation.kind(), observation.json()[key].as_str()),
                    (kind, Some(name.as_str())),
                    "{service:?} {destination}"
                );
            }
        }
    }

    #[test]
    fn without_a_name_it_is_a_first_packet_or_the_payload() {
        let first = packet(&test("192.0.2.1", port(PortProtocol::Tcp, 443), Carried::Nothing), 40_007);
        let Transport::Tcp { source, destination, flags, .. } = first.transport else { panic!("{first:?}") };
        assert_eq!((source, destination, flags.syn, flags.ack, first.payload.len()), (40_007, 443, true, false, 0));
        let payload = Carried::Payload("c2fe 05".parse().expect("bytes"));
        let data = packet(&test("192.0.2.1", port(PortProtocol::Tcp, 5222), payload.clone()), 40_000);
        let Transport::Tcp { flags, .. } = data.transport else { panic!("{data:?}") };
        assert_eq!((flags.syn, flags.ack, &*data.payload), (false, true, &[0xc2, 0xfe, 5][..]));
        let datagram = packet(&test("192.0.2.1", port(PortProtocol::Udp, 5222), payload), 40_000);
        assert_eq!((datagram.transport, datagram.payload), (Transport::udp(5222), data.payload));
    }

    #[test]
    fn an_answer_has_the_address_for_each_name() {
        let icmp = ServicePoint::Icmp { family: Family::V4, kind: 8 };
        let [first, second] = answers(&test("192.0.2.1", icmp, Carried::Nothing)).try_into().expect("two names");
        let header = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        let question = b"\x01a\x07example\x00\x00\x01\x00\x01";
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 1];
        assert_eq!(first.payload, [&header[..], question, &record].concat());
        assert_eq!(first.transport, Transport::Udp { source: 53, destination: 40_000 });
        assert!(second.payload.windows(10).any(|bytes| bytes == b"\x01b\x07example"));

        let six = PolicyTest {
            side: Side::Outside,
            source: Some("2001:db8::7".parse().expect("an address")),
            ..test("2001:db8::1", icmp, Carried::Nothing)
        };
        let answer = answers(&six).remove(0);
        assert_eq!(answer.payload[answer.payload.len() - 18..], [&[0, 16, 0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7]].concat());
    }
}
