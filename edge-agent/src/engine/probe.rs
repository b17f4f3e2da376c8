//! The packets of policy tests: what a device sends that asks for a name, and the answers that it got before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::engine::Side;
use edge_ebpf::packet::Mac;

use super::frame::{Ends, FrameSpec, TcpFlags, Transport};
use super::message::{self, Answer, Hello, kind};
use super::shown;
use crate::policy::expectation::{Carried, PolicyTest};
use crate::policy::model::PortProtocol;
use crate::policy::name::Name;
use crate::policy::service::ServicePoint;
use crate::policy::signature::Payload;

const DNS: u16 = 53;
const HTTP: u16 = 80;
/// Of an answer, in seconds.
const TIME_TO_LIVE: u32 = 300;

/// The test's packet, sent from `port` if its protocol has ports.
pub fn packet(test: &PolicyTest, port: u16) -> FrameSpec {
    let PolicyTest { name: _, side: _, at: _, mac, source, destination, service, carried, learned: _, shows: _, expect: _ } = test;
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
        (Carried::Name(name), ServicePoint::Port { protocol: PortProtocol::Tcp, port: DNS }) => message::over_tcp(&[query(name)]),
        (Carried::Name(name), ServicePoint::Port { protocol: PortProtocol::Tcp, port: HTTP }) => {
            message::request("GET", "/", Some(name.as_ref().as_str()))
        }
        (Carried::Name(name), _) => Hello { server_name: Some(name.as_ref().as_str().as_bytes()), ..Hello::default() }.build(),
    };
    FrameSpec { payload, ..FrameSpec::new(device(*mac), ends, transport) }
}

/// What the device, or another one before it, was answered: for each name of the test that has the remote's address.
pub fn answers(test: &PolicyTest) -> Vec<FrameSpec> {
    let PolicyTest { name: _, side, at: _, mac, source, destination, service: _, carried: _, learned, shows: _, expect: _ } = test;
    let remote = match side {
        Side::Inside => *destination,
        Side::Outside => source.unwrap_or(*destination),
    };
    let ends = match Ends::to(remote) {
        Ends::V4(device, _) => Ends::V4(Ipv4Addr::new(198, 51, 100, 53), device),
        Ends::V6(device, _) => Ends::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53), device),
    };
    let transport = Transport::Udp { source: DNS, destination: 40_000 };
    let answer = |name: &Name| {
        let name = name.as_ref().as_str();
        Answer { name, aliases: Vec::new(), addresses: vec![remote], time_to_live: TIME_TO_LIVE, code: 0 }.build()
    };
    let spec = |name| FrameSpec { payload: answer(name), ..FrameSpec::new(device(*mac), ends, transport) };
    learned.iter().map(spec).collect()
}

/// What the device shows before.
pub fn shown(test: &PolicyTest, port: u16) -> Vec<Vec<u8>> {
    shown::frames(device(test.mac), &test.shows, port)
}

/// For the name's IPv4 addresses.
fn query(name: &Name) -> Vec<u8> {
    message::query(&[(name.as_ref().as_str(), kind::A)])
}

fn device(mac: [u8; 6]) -> Mac {
    let [a, b, c, d, e, f] = mac.map(u64::from);
    Mac(a << 40 | b << 32 | c << 24 | d << 16 | e << 8 | f)
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
            shows: Vec::new(),
            expect: Expectation { verdict: Some(Verdict::Pass), rule: None, monitored: None, matches: None },
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
        let header = [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
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
