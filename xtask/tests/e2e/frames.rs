//! Frames of every shape, made by hand and sent over the wire: each to a banned destination, where it must be dropped, and to another,
//! where it must pass.

use std::collections::HashSet;
use std::time::Duration;

use edge_agent::engine::frame::{Ends, FragmentSpec, FrameSpec, Transport};
use edge_ebpf::packet::Mac;
use xtask::lab::agent::Agent;
use xtask::lab::plan::{ELSEWHERE, LAPTOP, PHONE, REPORTING, Server, gateway};
use xtask::lab::{Lab, set_features};

use crate::support::raw::RawSocket;
use crate::support::{PHONE_TO_CHINA, agent_program, with_policy};

const CUSTOMER_TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;
const UDP: u8 = 17;
/// Every fragment but the last carries a multiple of 8 bytes (RFC 791 section 3.2): the UDP header and a marker are 24.
const FIRST_FRAGMENT_WORDS: u16 = 3;

/// Sends frames from a device's place, and sees which of them pass the program on the gateway's inside interface.
struct Wire {
    device: RawSocket,
    gateway: RawSocket,
    next: u64,
}

impl Wire {
    fn open(lab: &Lab) -> Self {
        let device = RawSocket::open(&lab.phone.namespace, "eth0");
        let gateway = RawSocket::open(&lab.gateway, gateway::INSIDE);
        Self { device, gateway, next: 0 }
    }

    /// Sends the frames, marked by their payload, and returns which ones passed.
    fn passed(&mut self, frames: &[FrameSpec]) -> Vec<bool> {
        let mut markers: Vec<_> = frames.iter().map(|frame| self.send(frame)).collect();
        // Frames stay in order on this way: once the last, which nothing bans, has passed, the ones before have or never will.
        let last = self.send(&frame(LAPTOP.mac, Ends::V4(LAPTOP.ipv4, ELSEWHERE.ipv4), Transport::udp(9)));
        let mut seen = HashSet::new();
        while !seen.contains(&last) {
            let received = self.gateway.receive(Duration::from_secs(5)).expect("a frame that nothing bans passes");
            seen.extend(markers.iter().chain([&last]).filter(|marker| received.windows(16).any(|bytes| bytes == **marker)).copied());
        }
        markers.drain(..).map(|marker| seen.contains(&marker)).collect()
    }

    fn send(&mut self, frame: &FrameSpec) -> [u8; 16] {
        self.next += 1;
        let mut marker = *b"end-to-end......";
        marker[8..].copy_from_slice(&self.next.to_be_bytes());
        self.device.send(&FrameSpec { payload: marker.to_vec(), ..frame.clone() }.build());
        marker
    }
}

fn frame(mac: &str, ends: Ends, transport: Transport) -> FrameSpec {
    let mac = mac.split(':').fold(0, |mac, octet| mac << 8 | u64::from_str_radix(octet, 16).unwrap());
    FrameSpec::new(Mac(mac), ends, transport)
}

/// A shape, and the frames that make it up: one, or the fragments of a datagram.
fn shapes(mac: &str, server: Server, id: u32) -> Vec<(&'static str, Vec<FrameSpec>)> {
    let (v4, v6) = (Ends::V4(PHONE.ipv4, server.ipv4), Ends::V6(PHONE.ipv6, server.ipv6));
    // Four no-operation options (RFC 791 section 3.1); each extension header here is 8 bytes of padding (RFC 8200 section 4.2).
    let options = |frame: FrameSpec| FrameSpec { options: vec![1; 4], ..frame };
    let padding = |number: u8| (number, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let chain = |numbers: &[u8], frame: FrameSpec| FrameSpec { extensions: numbers.iter().copied().map(padding).collect(), ..frame };
    let fragments = |ends| {
        let part = |transport, offset, more| {
            let fragment = Some(FragmentSpec { id, offset, more });
            FrameSpec { fragment, ..frame(mac, ends, transport) }
        };
        vec![part(Transport::udp(443), 0, true), part(Transport::Other(UDP), FIRST_FRAGMENT_WORDS, false)]
    };
    vec![
        ("IPv4 TCP", vec![frame(mac, v4, Transport::syn(443))]),
        ("IPv4 UDP", vec![frame(mac, v4, Transport::udp(443))]),
        ("IPv4 ICMP", vec![frame(mac, v4, Transport::Icmp { kind: 8, code: 0 })]),
        ("IPv4 other protocol", vec![frame(mac, v4, Transport::Other(47))]),
        ("IPv4 with options", vec![options(frame(mac, v4, Transport::syn(443)))]),
        ("IPv4 fragments", fragments(v4)),
        ("IPv6 TCP", vec![frame(mac, v6, Transport::syn(443))]),
        ("IPv6 UDP", vec![frame(mac, v6, Transport::udp(443))]),
        ("IPv6 ICMP", vec![frame(mac, v6, Transport::Icmp { kind: 128, code: 0 })]),
        ("IPv6 hop-by-hop and destination options", vec![chain(&[0, 60], frame(mac, v6, Transport::syn(443)))]),
        ("IPv6 fragments", fragments(v6)),
    ]
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn every_shape_is_dropped_on_its_way_to_china_and_passed_elsewhere() {
    let lab = Lab::start().unwrap();
    let mut wire = Wire::open(&lab);
    // All of them pass where nothing filters: otherwise what is dropped below would prove nothing.
    for_all_shapes(&lab, &mut wire, |_| true);
    let _agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &PHONE_TO_CHINA)).unwrap();
    for_all_shapes(&lab, &mut wire, |is_banned| !is_banned);
}

/// Sends every shape under all tags, from both devices to both servers, and checks which passed; `passes` is told what the policy bans.
fn for_all_shapes(lab: &Lab, wire: &mut Wire, passes: impl Fn(bool) -> bool) {
    let tags: [&[(u16, u16)]; 4] = [&[], &[(CUSTOMER_TAG, 7)], &[(SERVICE_TAG, 5)], &[(SERVICE_TAG, 5), (CUSTOMER_TAG, 7)]];
    let ways = [(PHONE.mac, REPORTING, true), (PHONE.mac, ELSEWHERE, false), (LAPTOP.mac, REPORTING, false)];
    let mut id = 0;
    // Tags in the frame, and in the metadata where some drivers put them.
    for in_metadata in [false, true] {
        set_features(&lab.switch, "uplink0", &[("tx-vlan-hw-insert", in_metadata), ("tx-vlan-stag-hw-insert", in_metadata)]).unwrap();
        for (tags, (mac, server, is_banned)) in tags.iter().flat_map(|tags| ways.map(|way| (tags, way))) {
            id += 1;
            for (shape, frames) in shapes(mac, server, id) {
                let tagged: Vec<_> = frames.into_iter().map(|frame| FrameSpec { tags: tags.to_vec(), ..frame }).collect();
                let passed = wire.passed(&tagged);
                assert!(
                    passed.iter().all(|passed| *passed == passes(is_banned)),
                    "{shape}, tags {tags:x?} (in metadata: {in_metadata}), {mac} to {}: passed {passed:?}",
                    server.name
                );
            }
        }
    }
}

/// What cannot be inspected is dropped where a rule could have matched, passed elsewhere, and counted by its reason in both cases.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn what_cannot_be_inspected_is_counted_and_dropped_only_where_a_rule_could_match() {
    let lab = Lab::start().unwrap();
    let agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &PHONE_TO_CHINA)).unwrap();
    let mut wire = Wire::open(&lab);
    let later = |mac, server: Server, id| {
        let fragment = Some(FragmentSpec { id, offset: FIRST_FRAGMENT_WORDS, more: false });
        FrameSpec { fragment, ..frame(mac, Ends::V4(PHONE.ipv4, server.ipv4), Transport::Other(UDP)) }
    };
    let nested = |mac| {
        let frame = frame(mac, Ends::V4(PHONE.ipv4, ELSEWHERE.ipv4), Transport::syn(443));
        FrameSpec { tags: vec![(SERVICE_TAG, 5), (CUSTOMER_TAG, 7), (CUSTOMER_TAG, 8)], ..frame }
    };
    let cases = [
        ("fragment_without_first", later(PHONE.mac, REPORTING, 1), false),
        ("fragment_without_first", later(PHONE.mac, ELSEWHERE, 2), true),
        ("fragment_without_first", later(LAPTOP.mac, REPORTING, 3), true),
        // Where it goes is not known, only whose it is.
        ("nested_tags", nested(PHONE.mac), false),
        ("nested_tags", nested(LAPTOP.mac), true),
    ];
    for (reason, frame, passes) in cases {
        let verdict = if passes { "pass" } else { "drop" };
        let counted = || agent.metrics().unwrap().sum("edge_uninspectable_packets_total", &[("reason", reason), ("verdict", verdict)]);
        let before = counted();
        assert_eq!(wire.passed(std::slice::from_ref(&frame)), [passes], "{reason}: {frame:?}");
        assert_eq!(counted(), before + 1.0, "{reason}, {verdict}: {frame:?}");
    }
}
