//! Both readings of what devices are known by.

use edge_ebpf::identity::hello::{self, Transport};
use edge_ebpf::identity::syn::{ShapeBytes, at, read};
use edge_ebpf::identity::{dhcp as library_dhcp, syn, user_agent};
use edge_ebpf::packet::{Mac, Packet};

use super::super::dhcp::{self, Said};
use super::super::syn::Shape;
use super::*;
use crate::engine::fact::{self, Opening as Segment, extension};
use crate::engine::frame::{Ends, FrameSpec, Transport as Carries};
use crate::engine::oracle::decode::{What, decode};
use crate::identity::ja4::{self, Ja4};
use crate::policy::model::Family;

const DEVICE: Mac = Mac(0x6409_8000_0001);

fn said_alike(message: &[u8]) -> Result<(), TestCaseError> {
    let bytes = framed(message);
    let frame = Frame::new(&bytes);
    let part = |span: Span| (!span.is_empty()).then(|| bytes[span.start as usize..span.end as usize].to_vec());
    let said = |there: bool, said: library_dhcp::Said| {
        there.then(|| Said { parameters: part(said.parameters), vendor_class: part(said.vendor_class), host_name: part(said.host_name) })
    };
    let mut seen = library_dhcp::Said::default();
    let there = library_dhcp::read(&frame, BEFORE, bytes.len(), DEVICE, &mut seen);
    prop_assert_eq!(dhcp::over_4(message, DEVICE.0), said(there, seen), "{:02x?}", message);
    let there = library_dhcp::read_6(&frame, BEFORE, bytes.len(), &mut seen);
    prop_assert_eq!(dhcp::over_6(message), said(there, seen), "{:02x?}", message);
    Ok(())
}

fn shapes_are_alike(frame: &[u8]) -> Result<(), TestCaseError> {
    let view = Frame::new(frame);
    let packet = Packet::parse(&view);
    let load = match decode(frame).what {
        What::Whole(load) | What::First(_, load) if packet.protocol == 6 => load,
        _ => return Ok(()),
    };
    let mut bytes = ShapeBytes([0; 64]);
    let length = read(&view, &packet, &mut bytes);
    let half = |place: usize| u16::from_be_bytes([bytes.0[place], bytes.0[place + 1]]);
    let times = |place: usize| (bytes.0[place] != 0).then_some(bytes.0[place]);
    let shape = (length > 0).then(|| Shape {
        family: if bytes.0[at::VERSION] == 4 { Family::V4 } else { Family::V6 },
        ttl: bytes.0[at::TTL],
        ip_options: bytes.0[at::IP_OPTIONS],
        mss: half(at::MSS),
        window: half(at::WINDOW),
        of_mss: times(at::OF_MSS),
        of_mtu: times(at::OF_MTU),
        scale: (bytes.0[at::SCALE] != syn::NO_SCALE).then_some(bytes.0[at::SCALE]),
        options: bytes.0[syn::HEAD..length].to_vec(),
        quirks: u32::from(bytes.0[at::QUIRKS]) << 16 | u32::from(half(at::QUIRKS + 1)),
        payload: bytes.0[at::PAYLOAD] != 0,
    });
    prop_assert_eq!(super::super::syn::shape(load.ip, load.transport, !load.payload.is_empty()), shape, "{:02x?}", frame);
    Ok(())
}

fn user_agents_are_alike(payload: &[u8]) -> Result<(), TestCaseError> {
    if !matches!(http::request(payload), Reading::Found(_) | Reading::Nothing) {
        return Ok(());
    }
    let bytes = framed(payload);
    let Span { start, end } = user_agent::read(&Frame::new(&bytes), BEFORE, bytes.len());
    let value = bytes[start as usize..end as usize].split(|byte| matches!(byte, b'\r' | b'\n')).next();
    let seen = value.filter(|_| start < end);
    prop_assert_eq!(http::user_agent(payload), seen, "{}", String::from_utf8_lossy(payload));
    Ok(())
}

fn greetings_are_alike(payload: &[u8]) -> Result<(), TestCaseError> {
    let Opening::Hello(_, body) = opening(payload) else { return Ok(()) };
    // What lies behind it is no part of it.
    for behind in [&[][..], &[0; 64], &[1; 64]] {
        let bytes = [framed(&body), behind.to_vec()].concat();
        let key = hello::read(&Frame::new(&bytes), BEFORE, BEFORE + body.len(), Transport::Tcp);
        let own = Ja4::of_hello(&body, ja4::Transport::Tcp).filter(|_| super::super::tls::is_short(&body));
        prop_assert_eq!(own.map(|ja4| ja4.key()), key, "{:02x?}", body);
    }
    Ok(())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..6), "[a-z*]{1,20}".prop_map(String::into_bytes)]
}

fn clients() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![0u8, 12, 53, 55, 60, 61, 255]);
    let kind = prop::sample::select(vec![1u8, 3, 8, 2, 4]);
    (kind, prop::collection::vec((number, value()), 0..6), prop_oneof![Just(0usize), 120..130usize]).prop_map(|(kind, options, pads)| {
        let pad = vec![(0, &[][..]); pads];
        let options: Vec<(u8, &[u8])> = options.iter().map(|(number, value)| (*number, value.as_slice())).collect();
        fact::dhcp(DEVICE, &[&[(53, &[kind][..])], &pad[..], &options].concat())
    })
}

fn clients_6() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![1u16, 6, 16, 39]);
    let class = value().prop_map(|text| [&[0, 0, 1, 55], &(text.len() as u16).to_be_bytes()[..], &text].concat());
    (0u8..13, prop::collection::vec((number, prop_oneof![value(), class]), 0..6)).prop_map(|(kind, options)| {
        fact::dhcp6(kind, &options.iter().map(|(number, value)| (*number, value.as_slice())).collect::<Vec<_>>())
    })
}

fn segments() -> impl Strategy<Value = Vec<u8>> {
    let option = prop::sample::select(vec![
        &[2, 4, 5, 0xb4][..],
        &[2, 4, 0, 100],
        &[3, 3, 7],
        &[3, 3, 255],
        &[4, 2],
        &[8, 10, 0, 0, 0, 9, 0, 0, 0, 0],
        &[8, 10, 0, 0, 0, 0, 0, 0, 0, 1],
        &[1],
        &[0],
        &[5, 1],
    ]);
    let options = prop::collection::vec(option, 0..6).prop_map(|options| {
        let mut options = options.concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        options
    });
    let window = prop::sample::select(vec![0u16, 1460, 14600, 29200, 65535, 1448, 14480, 15000, 100, 880, 4500]);
    (any::<bool>(), options, window, any::<[u8; 4]>(), any::<u16>()).prop_map(|(v6, options, window, bytes, half)| {
        let to = if v6 { "2001:db8::1" } else { "192.0.2.1" }.parse().expect("an address");
        let [time_to_live, service, flags, bits] = bytes;
        let segment = Segment {
            time_to_live,
            window,
            options,
            id: half & 3,
            fragment_bits: bits & 6,
            service,
            flow_label: u32::from(half & 1),
            flags: flags & 0xe8,
            urgent: half & 4,
        };
        segment.build(&FrameSpec::new(DEVICE, Ends::to(to), Carries::syn(443)))
    })
}

fn greetings() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![Just(0x1301u16), Just(0x1a1a), Just(0x0403), Just(0x0304), any::<u16>()];
    let list = || prop::collection::vec(number(), 0..5);
    let kind = prop_oneof![Just(13u16), Just(16), Just(43), Just(0x2a2a), any::<u16>()];
    (list(), list(), list(), prop::collection::vec((kind, value()), 0..3), "[a-z]{0,3}").prop_map(
        |(ciphers, algorithms, versions, others, protocol)| {
            let own = [
                (extension::SIGNATURE_ALGORITHMS, extension::signature_algorithms(&algorithms)),
                (extension::SUPPORTED_VERSIONS, extension::supported_versions(&versions)),
                (extension::ALPN, extension::alpn(&[protocol.as_bytes()])),
            ];
            fact::hello(0x0303, &ciphers, &[&own[..], &others].concat(), None)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn clients_say_it_alike(four in damaged(clients()), six in damaged(clients_6())) {
        said_alike(&four)?;
        said_alike(&six)?;
    }

    #[test]
    fn first_segments_are_alike(frame in damaged(segments())) {
        shapes_are_alike(&frame)?;
    }

    #[test]
    fn requests_name_their_agents_alike(request in requests(), value in value(), further in requests()) {
        user_agents_are_alike(&request)?;
        let request = fact::with_user_agent(request, &value);
        user_agents_are_alike(&request)?;
        user_agents_are_alike(&[request, further].concat())?;
    }

    #[test]
    fn hellos_have_one_key(hello in damaged(greetings())) {
        greetings_are_alike(&hello)?;
    }
}

#[test]
fn a_user_agent_is_read_alike_around_the_last_step() {
    for first in [1760, 1768, 1776, 1784, 1792] {
        for count in 0..8 {
            for end in ["User-Agent: a\r\n\r\n", "uSER-aGENT:", "User-Agent: ", "User-Agent:\r\n\r\n", "\r\nUser-Agent: a"] {
                let request = format!("GET http://a.b/{} HTTP/1.1\r\n{}{end}", "a".repeat(first - 24), "A:\r\n".repeat(count));
                user_agents_are_alike(request.as_bytes()).unwrap();
            }
        }
    }
}

#[test]
fn a_hello_has_a_key_up_to_its_limits() {
    for count in (60..70).chain(250..260) {
        let many: Vec<u16> = (0x0100..0x0100 + count).collect();
        greetings_are_alike(&fact::hello(0x0303, &many, &[], None)).unwrap();
        greetings_are_alike(&fact::hello(0x0303, &[0x1301], &[(13, extension::signature_algorithms(&many))], None)).unwrap();
    }
}
