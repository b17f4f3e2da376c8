//! What becomes of frames of every shape, by every engine: tags, options, extension headers, fragments, and what cannot be inspected.
//! Each case has a phone whose frame is dropped and a laptop whose equal frame passes, so that neither "always" is right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::small_set::{LAPTOP, PHONE, banned, phones, rule, set_of};
use crate::trio::{Engines, WHERE_A_RULE_COULD_MATCH};
use edge_agent::{
    engine::frame::{Ends, FragmentSpec, FrameSpec, TcpFlags, Transport},
    policy::model::{Action, DeviceSelector, PortProtocol, RemoteSelector, Rule, RuleId, ServiceMatch},
};
use edge_ebpf::abi::{OnUninspectable, Reason, Verdict};
use edge_ebpf::packet::{Mac, protocol};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(42, 62, 48, 7));
const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x42, 0, 0, 0, 0, 7));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(42, 62, 49, 0));
const ELSEWHERE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x43, 0, 0, 0, 0, 7));
const HTTPS: ServiceMatch = ServiceMatch::Ports { protocol: PortProtocol::Tcp, first: 443, last: 443 };
const CUSTOMER_TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

fn engines(rules: Vec<Rule>) -> Engines {
    Engines::new(set_of(rules), WHERE_A_RULE_COULD_MATCH)
}

/// The rule that most tests are about.
fn no_https() -> Vec<Rule> {
    vec![rule("no", phones(), banned(), HTTPS, Action::Drop)]
}

fn frame(device: Mac, to: IpAddr) -> FrameSpec {
    FrameSpec::new(device, Ends::to(to), Transport::syn(443))
}

/// `shape` makes a frame of any kind; to the banned server from the phone it is dropped by rule 0, else it passes.
fn holds_for(shape: impl Fn(Mac, IpAddr) -> FrameSpec, banned_to: IpAddr, other: IpAddr) {
    let mut engines = engines(no_https());
    let mut outcome = |device, to| engines.run(&shape(device, to).build());
    let dropped = outcome(PHONE, banned_to);
    assert_eq!((dropped.verdict, dropped.rule, dropped.reason), (Verdict::Drop, Some(RuleId(0)), None));
    for passed in [outcome(LAPTOP, banned_to), outcome(PHONE, other)] {
        assert_eq!((passed.verdict, passed.rule, passed.reason), (Verdict::Pass, None, None));
    }
}

#[test]
fn plain() {
    holds_for(frame, SERVER, ELSEWHERE);
    holds_for(frame, SERVER6, ELSEWHERE6);
}

#[test]
fn under_one_or_two_tags_of_either_kind() {
    for tags in [
        vec![(CUSTOMER_TAG, 7)],
        vec![(SERVICE_TAG, 7)],
        vec![(SERVICE_TAG, 7), (CUSTOMER_TAG, 0xfff)],
        vec![(CUSTOMER_TAG, 7), (CUSTOMER_TAG, 8)],
    ] {
        let tagged = |device, to| FrameSpec { tags: tags.clone(), ..frame(device, to) };
        holds_for(tagged, SERVER, ELSEWHERE);
        holds_for(tagged, SERVER6, ELSEWHERE6);
    }
}

#[test]
fn behind_ipv4_options() {
    // No-operations, a router alert, padding; and the most that a header holds.
    for options in [vec![1, 1, 1, 0], vec![0x94, 4, 0, 0], vec![1; 40], [vec![0x44, 36, 5, 0], vec![0; 32], vec![0; 4]].concat()] {
        holds_for(|device, to| FrameSpec { options: options.clone(), ..frame(device, to) }, SERVER, ELSEWHERE);
    }
}

#[test]
fn behind_ipv6_extension_headers() {
    let padding = |size: usize| {
        let mut header = vec![0, (size / 8 - 1) as u8, 1, (size - 4) as u8];
        header.resize(size, 0);
        header
    };
    let authentication = || [vec![0, 4, 0, 0], vec![0; 20]].concat();
    let used_route = || vec![0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for extensions in [
        vec![(protocol::HOP_BY_HOP, padding(8))],
        vec![(protocol::DESTINATION, padding(256))],
        vec![(protocol::AUTHENTICATION, authentication())],
        vec![(protocol::ROUTING, used_route())],
        vec![
            (protocol::HOP_BY_HOP, padding(8)),
            (protocol::DESTINATION, padding(16)),
            (protocol::ROUTING, used_route()),
            (protocol::AUTHENTICATION, authentication()),
            (protocol::DESTINATION, padding(24)),
        ],
    ] {
        holds_for(|device, to| FrameSpec { extensions: extensions.clone(), ..frame(device, to) }, SERVER6, ELSEWHERE6);
    }
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let atomic = FragmentSpec { id: 9, offset: 0, more: false };
    holds_for(|device, to| FrameSpec { fragment: Some(atomic), ..frame(device, to) }, SERVER6, ELSEWHERE6);
}

#[test]
fn later_fragments_share_the_first_ones_fate() {
    for (to, ports) in [(SERVER, HTTPS), (SERVER6, HTTPS)] {
        let mut engines = engines(vec![rule("no", phones(), banned(), ports, Action::Drop)]);
        for (device, verdict, rule) in [(PHONE, Verdict::Drop, Some(RuleId(0))), (LAPTOP, Verdict::Pass, None)] {
            let part = |offset, more, transport| FrameSpec {
                fragment: Some(FragmentSpec { id: 77, offset, more }),
                payload: vec![0x61; 64],
                ..FrameSpec::new(device, Ends::to(to), transport)
            };
            let first = engines.run(&part(0, true, Transport::syn(443)).build());
            assert_eq!((first.verdict, first.rule), (verdict, rule));
            for (offset, more) in [(8, true), (16, false)] {
                let later = engines.run(&part(offset, more, Transport::Other(protocol::TCP)).build());
                assert_eq!((later.verdict, later.rule, later.reason), (verdict, rule, None));
            }
            // Another datagram between the same ends.
            let mut stray = part(8, false, Transport::Other(protocol::TCP));
            stray.fragment = Some(FragmentSpec { id: 78, offset: 8, more: false });
            let stray = engines.run(&stray.build());
            assert_eq!(stray.reason, Some(Reason::FragmentWithoutFirst));
            assert_eq!(stray.verdict, verdict, "dropped only where the rule could have matched");
        }
    }
}

#[test]
fn a_later_fragment_of_a_passed_datagram_does_not_ride_on_a_dropped_one() {
    let mut engines = engines(no_https());
    for (id, port, verdict) in [(1, 443, Verdict::Drop), (2, 80, Verdict::Pass)] {
        for (offset, transport) in [(0, Transport::syn(port)), (4, Transport::Other(protocol::TCP))] {
            let fragment = Some(FragmentSpec { id, offset, more: offset == 0 });
            let spec = FrameSpec { fragment, payload: vec![0; 16], ..FrameSpec::new(PHONE, Ends::to(SERVER), transport) };
            assert_eq!(engines.run(&spec.build()).verdict, verdict);
        }
    }
}

/// Every cut of every frame is either decided as the whole one or counted as truncated; nothing is passed silently.
#[test]
fn a_cut_frame_is_truncated_or_as_good_as_whole() {
    let mut engines = engines(no_https());
    for to in [SERVER, SERVER6] {
        let whole = FrameSpec { tags: vec![(CUSTOMER_TAG, 3)], payload: vec![0; 9], ..frame(PHONE, to) }.build();
        let headers = whole.len() - 9;
        for length in 0..whole.len() {
            let outcome = engines.run(&whole[..length]);
            if length < headers {
                assert_eq!(outcome.reason, Some(Reason::Truncated), "{length} bytes");
            } else {
                assert_eq!((outcome.reason, outcome.rule), (None, Some(RuleId(0))), "{length} bytes");
            }
            if (14..headers).contains(&length) {
                assert_eq!(outcome.verdict, Verdict::Drop, "{length} bytes");
            }
        }
    }
}

/// Bytes behind the datagram's own length are padding, and no ports are read from them.
#[test]
fn padding_is_not_a_transport_header() {
    let mut engines = engines(no_https());
    let mut v4 = frame(PHONE, SERVER).build();
    v4[16..18].copy_from_slice(&24u16.to_be_bytes());
    let mut v6 = frame(PHONE, SERVER6).build();
    v6[18..20].copy_from_slice(&4u16.to_be_bytes());
    for frame in [v4, v6] {
        assert_eq!(engines.run(&frame).reason, Some(Reason::Truncated));
    }
}

#[test]
fn headers_that_contradict_themselves() {
    let mut engines = engines(no_https());
    let (v4, v6) = (frame(PHONE, SERVER).build(), frame(PHONE, SERVER6).build());
    let change = |frame: &[u8], at: usize, value: u8| {
        let mut frame = frame.to_vec();
        frame[at] = value;
        frame
    };
    for (name, frame) in [
        ("version of IPv4", change(&v4, 14, 0x65)),
        ("header of 16 bytes", change(&v4, 14, 0x44)),
        ("total length below the header's", change(&change(&v4, 16, 0), 17, 19)),
        ("version of IPv6", change(&v6, 14, 0x40)),
        ("data offset of 4 words", change(&v4, 14 + 20 + 12, 0x40)),
    ] {
        assert_eq!(engines.run(&frame).reason, Some(Reason::BadHeader), "{name}");
    }
    let option = |options: Vec<u8>| FrameSpec { options, ..frame(PHONE, SERVER) }.build();
    assert_eq!(engines.run(&option(vec![0x94, 1, 0, 0])).reason, Some(Reason::BadHeader), "an option shorter than its own header");
    assert_eq!(engines.run(&option(vec![0x94, 9, 0, 0])).reason, Some(Reason::BadHeader), "an option longer than the header");
}

#[test]
fn a_source_route_hides_where_the_packet_ends() {
    let mut engines = engines(no_https());
    let loose = |pointer| vec![131, 7, pointer, 42, 62, 48, 7, 0];
    let open = FrameSpec { options: loose(4), ..frame(PHONE, ELSEWHERE) };
    let used = FrameSpec { options: loose(8), ..frame(PHONE, ELSEWHERE) };
    assert_eq!(engines.run(&open.build()).reason, Some(Reason::SourceRoute));
    assert_eq!(engines.run(&open.build()).verdict, Verdict::Drop, "the address in the header is not the last one");
    assert_eq!(engines.run(&used.build()).reason, None);
    let segments_left = |left| vec![(protocol::ROUTING, vec![0, 2, 4, left, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
    let open = FrameSpec { extensions: segments_left(1), ..frame(PHONE, ELSEWHERE6) };
    assert_eq!(engines.run(&open.build()).reason, Some(Reason::SourceRoute));
    assert_eq!(engines.run(&FrameSpec { device: LAPTOP, ..open }.build()).verdict, Verdict::Pass);
}

#[test]
fn an_extension_chain_is_followed_so_far_and_no_further() {
    let mut engines = engines(no_https());
    let chain = |count: usize, size: usize| {
        let mut header = vec![0, (size / 8 - 1) as u8];
        header.resize(size, 0);
        FrameSpec { extensions: vec![(protocol::DESTINATION, header); count], ..frame(PHONE, SERVER6) }.build()
    };
    assert_eq!(engines.run(&chain(8, 8)).rule, Some(RuleId(0)));
    assert_eq!(engines.run(&chain(9, 8)).reason, Some(Reason::ExtensionChain));
    assert_eq!(engines.run(&chain(1, 2048)).rule, Some(RuleId(0)));
    assert_eq!(engines.run(&chain(2, 1032)).reason, Some(Reason::ExtensionChain));
    assert_eq!(engines.run(&chain(2, 1032)).verdict, Verdict::Drop);
}

#[test]
fn a_third_tag_is_not_followed() {
    let mut engines = engines(no_https());
    let nested =
        |device| FrameSpec { tags: vec![(SERVICE_TAG, 1), (CUSTOMER_TAG, 2), (CUSTOMER_TAG, 3)], ..frame(device, ELSEWHERE) }.build();
    let outcome = engines.run(&nested(PHONE));
    assert_eq!((outcome.reason, outcome.verdict), (Some(Reason::NestedTags), Verdict::Drop));
    assert_eq!(engines.run(&nested(LAPTOP)).verdict, Verdict::Pass);
}

#[test]
fn the_uninspectable_gets_the_configured_verdict() {
    let mut engines = engines(no_https());
    let truncated = frame(LAPTOP, ELSEWHERE).build()[..30].to_vec();
    for (configured, verdict) in [(OnUninspectable::Pass, Verdict::Pass), (OnUninspectable::Drop, Verdict::Drop)] {
        let mut per_reason = [OnUninspectable::DropIfRuleCouldMatch; Reason::ALL.len()];
        per_reason[Reason::Truncated as usize] = configured;
        assert_eq!(Engines::new(set_of(no_https()), per_reason).run(&truncated).verdict, verdict);
    }
    assert_eq!(engines.run(&truncated).verdict, Verdict::Pass, "no rule is about the laptop");
}

#[test]
fn what_is_not_ip_passes() {
    let mut everything = engines(vec![rule("all", DeviceSelector::All, RemoteSelector::Any, ServiceMatch::Any, Action::Drop)]);
    let mut arp = vec![0xff; 6];
    arp.extend(PHONE.octets());
    arp.extend([0x08, 0x06, 0, 1]);
    assert_eq!(everything.run(&arp).verdict, Verdict::Pass);
    assert_eq!(everything.run(&frame(LAPTOP, ELSEWHERE).build()).verdict, Verdict::Drop);
}

#[test]
fn the_first_rule_that_is_not_monitored_decides() {
    let any = |id: &str, action| rule(id, phones(), RemoteSelector::Any, ServiceMatch::Any, action);
    // More than a word of rules, with the deciding one in the second.
    let mut rules: Vec<_> = (0..70).map(|index| any(&format!("watch-{index}"), Action::Monitor)).collect();
    rules.push(rule("elsewhere", DeviceSelector::Unknown, RemoteSelector::Any, ServiceMatch::Any, Action::Drop));
    rules.push(any("pass", Action::Pass));
    rules.push(any("watch-later", Action::Monitor));
    rules.push(any("drop", Action::Drop));
    let mut engines = engines(rules);

    let outcome = engines.run(&frame(PHONE, SERVER).build());
    assert_eq!((outcome.verdict, outcome.rule), (Verdict::Pass, Some(RuleId(71))));
    assert_eq!(outcome.monitored, (0..70).map(RuleId).collect::<Vec<_>>());
    let unknown = engines.run(&frame(LAPTOP, SERVER).build());
    assert_eq!((unknown.verdict, unknown.rule, unknown.monitored), (Verdict::Drop, Some(RuleId(70)), vec![]));
}

#[test]
fn services_are_told_apart() {
    let drop = |id, service| rule(id, phones(), RemoteSelector::Any, service, Action::Drop);
    let ports = |protocol, first, last| ServiceMatch::Ports { protocol, first, last };
    let mut engines = engines(vec![
        drop("range", ports(PortProtocol::Tcp, 8000, 8999)),
        drop("dns", ports(PortProtocol::Udp, 53, 53)),
        drop("echo", ServiceMatch::Icmp { family: edge_agent::policy::model::Family::V4, kind: 8 }),
        drop("icmpv6", ServiceMatch::Protocol(protocol::ICMPV6)),
        drop("gre", ServiceMatch::Protocol(47)),
    ]);
    let mut rule_of = |to, transport| engines.run(&FrameSpec::new(PHONE, Ends::to(to), transport).build()).rule.map(|rule| rule.0);
    for (to, transport, rule) in [
        (SERVER, Transport::syn(7999), None),
        (SERVER, Transport::syn(8000), Some(0)),
        (SERVER6, Transport::syn(8999), Some(0)),
        (SERVER, Transport::syn(9000), None),
        (SERVER, Transport::udp(8000), None),
        (SERVER, Transport::udp(53), Some(1)),
        (SERVER, Transport::syn(53), None),
        (SERVER, Transport::Icmp { kind: 8, code: 0 }, Some(2)),
        (SERVER, Transport::Icmp { kind: 0, code: 0 }, None),
        (SERVER6, Transport::Icmp { kind: 128, code: 0 }, Some(3)),
        (SERVER, Transport::Other(47), Some(4)),
        (SERVER6, Transport::Other(47), Some(4)),
        (SERVER, Transport::Other(48), None),
    ] {
        assert_eq!(rule_of(to, transport), rule, "{to} {transport:?}");
    }
}

#[test]
fn a_rejected_packet_with_flags_of_every_kind_is_answered_as_rfc_9293_says() {
    let mut engines = engines(vec![rule("no", phones(), banned(), ServiceMatch::Any, Action::Reject)]);
    let flags = |syn, ack, fin, rst| TcpFlags { syn, ack, fin, rst };
    for to in [SERVER, SERVER6] {
        for (sent, payload, answer) in [
            (flags(true, false, false, false), 0, Some((0, 1001, true))),
            (flags(true, false, false, false), 5, Some((0, 1006, true))),
            (flags(false, true, false, false), 5, Some((7000, 0, false))),
            (flags(false, false, true, false), 3, Some((0, 1004, true))),
            (flags(false, true, false, true), 0, None),
        ] {
            for tags in [vec![], vec![(SERVICE_TAG, 5), (CUSTOMER_TAG, 6)]] {
                let transport = Transport::Tcp { source: 40_000, destination: 443, flags: sent, sequence: 1000, acknowledgment: 7000 };
                let spec = FrameSpec {
                    tags: tags.clone(),
                    payload: vec![0x61; payload],
                    options: if to.is_ipv4() { vec![1; 8] } else { vec![] },
                    ..FrameSpec::new(PHONE, Ends::to(to), transport)
                };
                let outcome = engines.run(&spec.build());
                assert_eq!(outcome.verdict, Verdict::Reject);
                let Some((sequence, acknowledgment, ack)) = answer else {
                    assert_eq!(outcome.reply, None);
                    continue;
                };
                let reply = outcome.reply.expect("an answer");
                let read = etherparse::PacketHeaders::from_ethernet_slice(&reply).expect("a frame");
                assert_eq!(read.link.expect("ethernet").ethernet2().expect("ethernet").destination, PHONE.octets());
                assert_eq!(read.link_exts.len(), tags.len());
                let Some(etherparse::TransportHeader::Tcp(tcp)) = read.transport else { panic!("not TCP") };
                assert_eq!((tcp.source_port, tcp.destination_port, tcp.rst, tcp.ack), (443, 40_000, true, ack));
                assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (sequence, acknowledgment));
                let checksum = match read.net.expect("IP") {
                    etherparse::NetHeaders::Ipv4(ip, _) => {
                        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        assert_eq!(IpAddr::from(ip.source), to);
                        tcp.calc_checksum_ipv4(&ip, &[])
                    }
                    etherparse::NetHeaders::Ipv6(ip, _) => {
                        assert_eq!(IpAddr::from(ip.source), to);
                        tcp.calc_checksum_ipv6(&ip, &[])
                    }
                    other => panic!("not IP: {other:?}"),
                };
                assert_eq!(Ok(tcp.checksum), checksum.map_err(|_| ()));
            }
        }
    }
}

#[test]
fn a_rejected_datagram_is_answered_with_icmp_that_quotes_it() {
    let mut engines = engines(vec![rule("no", phones(), banned(), ServiceMatch::Any, Action::Reject)]);
    for to in [SERVER, SERVER6] {
        for payload in [0, 1, 3, 64, 1000] {
            for tags in [vec![], vec![(CUSTOMER_TAG, 9)]] {
                let spec = FrameSpec {
                    tags: tags.clone(),
                    payload: vec![0x61; payload],
                    ..FrameSpec::new(PHONE, Ends::to(to), Transport::udp(53))
                };
                let frame = spec.build();
                let reply = engines.run(&frame).reply.expect("an answer");
                let read = etherparse::PacketHeaders::from_ethernet_slice(&reply).expect("a frame");
                assert_eq!(read.link_exts.len(), tags.len());
                let quoted = &frame[14 + 4 * tags.len()..];
                let body = read.payload.slice();
                assert!(body.len() >= 28 && quoted.starts_with(body), "quotes the packet from its IP header on");
                match (read.transport.expect("ICMP"), read.net.expect("IP")) {
                    (etherparse::TransportHeader::Icmpv4(icmp), etherparse::NetHeaders::Ipv4(ip, _)) => {
                        assert_eq!(&icmp.to_bytes()[..2], [3, 13]);
                        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                        assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(body));
                    }
                    (etherparse::TransportHeader::Icmpv6(icmp), etherparse::NetHeaders::Ipv6(ip, _)) => {
                        assert_eq!(&icmp.to_bytes()[..2], [1, 1]);
                        assert_eq!(Ok(icmp.checksum), icmp.icmp_type.calc_checksum(ip.source, ip.destination, body).map_err(|_| ()));
                    }
                    other => panic!("not ICMP of the right family: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn errors_groups_and_later_fragments_are_dropped_without_an_answer() {
    let mut engines = engines(vec![rule("no", phones(), RemoteSelector::Any, ServiceMatch::Any, Action::Reject)]);
    let to_group = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
    let to_group6 = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb));
    for (to, transport, answered) in [
        (SERVER, Transport::Icmp { kind: 8, code: 0 }, true),
        (SERVER, Transport::Icmp { kind: 3, code: 1 }, false),
        (SERVER, Transport::Icmp { kind: 11, code: 0 }, false),
        (SERVER6, Transport::Icmp { kind: 128, code: 0 }, true),
        (SERVER6, Transport::Icmp { kind: 1, code: 0 }, false),
        (to_group, Transport::udp(5353), false),
        (to_group6, Transport::udp(5353), false),
    ] {
        let outcome = engines.run(&FrameSpec::new(PHONE, Ends::to(to), transport).build());
        assert_eq!(outcome.verdict, Verdict::Reject);
        assert_eq!(outcome.reply.is_some(), answered, "{to} {transport:?}");
    }
    for offset in [0, 2] {
        let fragment = Some(FragmentSpec { id: 5, offset, more: offset == 0 });
        let spec = FrameSpec { fragment, payload: vec![0; 32], ..FrameSpec::new(PHONE, Ends::to(SERVER), Transport::udp(53)) };
        assert_eq!(engines.run(&spec.build()).reply.is_some(), offset == 0);
    }
}
