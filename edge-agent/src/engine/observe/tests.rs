use edge_ebpf::packet::Mac;
use proptest::prelude::*;

use super::*;
use crate::engine::frame::{Ends, FrameSpec, TcpFlags, Transport as Layer};
use crate::quic::made;

mod readers;

const DEVICE: Mac = Mac(0x6409_8000_0001);

fn frame(transport: Layer, payload: &[u8]) -> Vec<u8> {
    let ends = Ends::to([42, 62, 48, 7].into());
    FrameSpec { payload: payload.to_vec(), ..FrameSpec::new(DEVICE, ends, transport) }.build()
}

fn segment(port: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    frame(Layer::Tcp { source: 40_000, destination: port, flags, sequence, acknowledgment: 1 }, payload)
}

fn observed(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Observation> {
    let mut observer = Observer::default();
    frames.into_iter().flat_map(|frame| observer.frame(&frame)).map(|(_, observation)| observation).collect()
}

/// A ClientHello's message, with so many bytes of padding before the name.
fn hello(name: &str, padding: u16) -> Vec<u8> {
    let length = name.len() as u16;
    let numbers = |values: &[u16]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<_>>();
    let named = [numbers(&[0, length + 5, length + 3]), vec![0], numbers(&[length]), name.as_bytes().to_vec()].concat();
    let extensions = [numbers(&[21, padding]), vec![0; padding.into()], named].concat();
    let fixed = [&[3, 3][..], &[5; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let body = [fixed, numbers(&[extensions.len() as u16]), extensions].concat();
    [vec![1, 0], numbers(&[body.len() as u16]), body].concat()
}

fn record(message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Of all those hellos.
fn ja4(transport: ja4::Transport) -> Option<Ja4> {
    Some(Ja4::of_hello(&hello("any.example", 9)[4..], transport).expect("a hello"))
}

fn named(name: &str) -> Observation {
    Observation::ClientHello { sni: Some(name.to_owned()), ja4: ja4(ja4::Transport::Tcp) }
}

proptest! {
    #[test]
    fn a_hello_in_segments_of_any_order(
        (cuts, order) in prop::collection::btree_set(1usize..1700, 0..6)
            .prop_flat_map(|cuts| (Just(cuts.clone()), Just((0..=cuts.len()).collect::<Vec<_>>()).prop_shuffle())),
        start in prop_oneof![Just(1001u32), Just(u32::MAX - 500)],
    ) {
        let message = record(&hello("Connect.rom.miui.com", 1700));
        let bounds: Vec<usize> = [0].into_iter().chain(cuts).chain([message.len()]).collect();
        let syn = Layer::Tcp {
            source: 40_000,
            destination: 4433,
            flags: TcpFlags { syn: true, ..TcpFlags::default() },
            sequence: start.wrapping_sub(1),
            acknowledgment: 0,
        };
        let mut observer = Observer::default();
        observer.frame(&frame(syn, &[]));
        for (turn, place) in order.iter().enumerate() {
            let (from, to) = (bounds[*place], bounds[place + 1]);
            let seen = observer.frame(&segment(4433, start.wrapping_add(from as u32), &message[from..to]));
            let expected = if turn + 1 == order.len() { vec![(DEVICE, named("connect.rom.miui.com"))] } else { vec![] };
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn any_payload_is_read_without_a_panic(
        payload in prop::collection::vec(any::<u8>(), 0..200),
        start in prop::sample::select(vec![&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\x80\x2e\x01\x03\x01", b"\0\x20", b""]),
        port in prop::sample::select(vec![53u16, 67, 80, 443]),
    ) {
        let payload = [start, &payload].concat();
        observed([segment(port, 7, &payload), frame(Layer::udp(port), &payload)]);
    }
}

#[test]
fn both_hellos_of_a_connection_and_an_old_one() {
    let first = record(&hello("one.example", 9));
    let second = [&[20, 3, 3, 0, 1, 1], record(&hello("two.example", 9)).as_slice()].concat();
    let next = 5 + first.len() as u32;
    assert_eq!(observed([segment(443, 5, &first), segment(443, next, &second)]), [named("one.example"), named("two.example")]);
    let old = [&[0x80, 9 + 3 + 16, 1, 3, 1, 0, 3, 0, 0, 0, 16][..], &[7; 19]].concat();
    assert_eq!(observed([segment(443, 5, &old)]), [Observation::ClientHello { sni: None, ja4: None }]);
}

#[test]
fn behind_an_acknowledgement_that_is_padded() {
    let frames = [segment(443, 5, &[0, 0]), segment(443, 5, &record(&hello("one.example", 9)))];
    assert_eq!(observed(frames), [named("one.example")]);
}

#[test]
fn a_hello_in_the_place_of_bytes_that_were_none_is_read_once() {
    let (padding, hello) = ([0, 0], record(&hello("one.example", 9)));
    let again = || segment(443, 5, &hello);
    assert_eq!(observed([segment(443, 5, &padding), again(), again()]), [named("one.example")]);
    // Behind them it is the stream's, and is not told of again either.
    let behind = || segment(443, 7, &hello);
    assert_eq!(observed([segment(443, 5, &padding), behind(), behind()]), [named("one.example")]);
    assert_eq!(observed([again(), segment(443, 5, &padding), again()]), [named("one.example")]);
}

#[test]
fn requests_one_after_the_other_with_their_bodies() {
    let one = "POST /x HTTP/1.1\r\nHost: One.example:8080\r\nContent-Length: 5\r\nUser-Agent: MIUI/1\r\n\r\nGET /";
    let two = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let request = |host: Option<&str>, agent: Option<&str>| Observation::HttpRequest {
        host: host.map(str::to_owned),
        user_agent: agent.map(str::to_owned),
    };
    let expected = [request(Some("one.example:8080"), Some("MIUI/1")), request(None, None)];
    let all = format!("{one}{two}");
    for cut in 1..all.len() {
        let (head, tail) = all.as_bytes().split_at(cut);
        assert_eq!(observed([segment(80, 9, head), segment(80, 9 + cut as u32, tail)]), expected, "{cut}");
    }
    // What is sent twice is read once.
    assert_eq!(observed([segment(80, 9, all.as_bytes()), segment(80, 9, all.as_bytes())]), expected);
}

#[test]
fn queries_over_udp_and_tcp() {
    let message = [&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4][..], b"Ro.t", &[3], b"cOm", &[0, 0, 1, 0, 1]].concat();
    let query = [Observation::DnsQuery { name: "ro\\.t.com".to_owned() }];
    assert_eq!(observed([frame(Layer::udp(53), &message)]), query);
    let tcp = [&[0, message.len() as u8], message.as_slice()].concat();
    assert_eq!(observed([segment(53, 1, &tcp[..9]), segment(53, 10, &tcp[9..])]), query);
    let mut response = message;
    response[2] |= 0x80;
    assert_eq!(observed([frame(Layer::udp(53), &response)]), []);
}

#[test]
fn a_quic_hello() {
    let message = hello("quic.example", 20);
    let packet = made::initial(1, 0, &[9; 8], &[9; 8], 0, &made::crypto(0, &message));
    let expected = Observation::QuicClientHello { sni: Some("quic.example".to_owned()), ja4: ja4(ja4::Transport::Quic) };
    assert_eq!(observed([frame(Layer::udp(8443), &packet)]), [expected]);
}

#[test]
fn a_dhcp_client() {
    let mut message = vec![1, 1, 6, 0];
    message.resize(236, 0);
    message[28..34].copy_from_slice(&[0x64, 9, 0x80, 0, 0, 2]);
    message.extend([
        99, 130, 83, 99, 53, 1, 3, 0, 55, 3, 1, 3, 6, 60, 4, b'a', b'n', b'd', b'r', 12, 5, b'R', b'e', b'd', b'm', b'i', 255, 12, 1, b'x',
    ]);
    let mut observer = Observer::default();
    let expected = Dhcp {
        device: Mac(0x6409_8000_0002),
        message: Some(3),
        params: vec![1, 3, 6],
        vendor_class: Some("andr".to_owned()),
        hostname: Some("Redmi".to_owned()),
    };
    assert_eq!(observer.frame(&frame(Layer::udp(67), &message)), [(expected.device, Observation::Dhcp(expected))]);
}

#[test]
fn the_first_segment_of_a_connection() {
    let seen = observed([frame(Layer::syn(443), &[])]);
    let [Observation::TcpSyn(TcpSyn { ttl: 64, options, mss: None, wscale: None, .. })] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(options.is_empty());
    let segment = |options: &'static [u8]| segment::Tcp { sequence: 0, window: 65_535, flags: 2, options, payload: &[] };
    let bytes = frame(Layer::syn(443), &[]);
    let packet = Segment::read(&bytes).expect("a segment");
    let read = syn::read(&packet, &segment(&[2, 4, 5, 0xb4, 1, 3, 3, 9, 4, 2, 0, 0]));
    assert_eq!((read.options, read.mss, read.wscale), (vec![2, 1, 3, 4, 0, 0], Some(1460), Some(9)));
    let broken = syn::read(&packet, &segment(&[1, 3, 9, 1]));
    assert_eq!((broken.options, broken.wscale), (vec![1, 3], None));
}

#[test]
fn frames_out_of_a_mirror() {
    let inner = segment(443, 5, &record(&hello("one.example", 9)));
    for (port, header) in [(VXLAN, &[8, 0, 0, 0, 0, 0, 7, 0][..]), (GENEVE, &[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4])] {
        let outer =
            FrameSpec { payload: [header, &inner].concat(), ..FrameSpec::new(Mac(7), Ends::to([10, 0, 0, 1].into()), Layer::udp(port)) };
        let mut observer = Observer::default();
        assert_eq!(observer.frame(&outer.build()), [(Mac(7), named("one.example"))], "{port}");
    }
}
