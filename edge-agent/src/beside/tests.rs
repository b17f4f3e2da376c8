use std::net::{IpAddr, Ipv4Addr};

use edge_ebpf::name::quic::version::V1;
use edge_ebpf::packet::{Address, Mac, protocol};

use super::*;
use crate::dataplane::pod::bytes_of;
use crate::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use crate::engine::message;
use crate::quic::made;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

fn frame(transport: Transport, payload: &[u8]) -> Vec<u8> {
    FrameSpec { payload: payload.to_vec(), ..FrameSpec::new(Mac(0x6409_8000_0001), Ends::to(SERVER), transport) }.build()
}

/// As the kernel has it, with so many of the frame's bytes.
fn record(kind: u32, frame: &[u8], kept: usize) -> Vec<u8> {
    let header = CopyHeader { kind, generation: 1, length: frame.len() as u32, reserved: 0 };
    [bytes_of(&header), &frame[..kept]].concat()
}

fn read(reader: &mut Reader, kind: CopyKind, frame: &[u8]) -> Finding {
    let read = reader.read(&record(kind as u32, frame, frame.len()), &Conduct::default(), Instant::now());
    assert_eq!(read.as_ref().map(|(kind, _)| *kind), Some(kind));
    read.expect("a record").1
}

fn initial(ech: bool) -> Vec<u8> {
    let hello = message::Hello { server_name: Some(b"Connect.miui.com"), ech, padding: None, record: None }.build().split_off(5);
    made::initial(V1, 0, &[7; 8], &[7; 8], 0, &made::crypto(0, &hello))
}

fn segment(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    frame(Transport::Tcp { source: 53, destination: 40_000, flags, sequence, acknowledgment: 1 }, payload)
}

fn answer(name: &str) -> Vec<u8> {
    message::Answer { name, aliases: Vec::new(), addresses: vec![SERVER], time_to_live: 60, code: 0 }.build()
}

fn learned(name: &str) -> Answer {
    let address = Address { high: 0xcb00_7105_0000_0000, low: 0 };
    Answer { names: WireName::of_text(name.as_bytes()).into_iter().collect(), addresses: vec![(address, 60)] }
}

#[test]
fn an_initial_tells_its_flow_as_the_device_sends() {
    let found = read(&mut Reader::default(), CopyKind::Initial, &frame(Transport::udp(443), &initial(false)));
    let flow = Flow {
        source: Address { high: 0xc000_020a_0000_0000, low: 0 },
        destination: Address { high: 0xcb00_7105_0000_0000, low: 0 },
        source_port: 40_000,
        destination_port: 443,
        protocol: protocol::UDP,
    };
    assert_eq!(found, Finding::Flow { flow, name: WireName::of_text(b"connect.miui.com") });
}

#[test]
fn a_front_is_told_only_where_fronts_pass() {
    let frame = frame(Transport::udp(443), &initial(true));
    let read = |ech| {
        let mut conduct = Conduct::default();
        conduct.on_uninspectable[Reason::Ech as usize] = ech;
        Reader::default().read(&record(0, &frame, frame.len()), &conduct, Instant::now()).map(|(_, finding)| finding)
    };
    assert!(matches!(read(OnUninspectable::Pass), Some(Finding::Flow { .. })));
    assert_eq!(read(OnUninspectable::DropIfRuleCouldMatch), Some(Finding::Unreadable));
}

#[test]
fn answers_over_tcp_in_several_segments_and_several_in_one() {
    let mut reader = Reader::default();
    let stream = message::over_tcp(&[answer("a.miui.com"), answer("b.miui.com"), message::query(&[("c.d", 1)])]);
    let (first, rest) = stream.split_at(20);
    assert_eq!(read(&mut reader, CopyKind::AnswerOverTcp, &segment(9, first)), Finding::Incomplete);
    assert_eq!(
        read(&mut reader, CopyKind::AnswerOverTcp, &segment(29, rest)),
        Finding::Answers(vec![learned("a.miui.com"), learned("b.miui.com")])
    );
}

#[test]
fn a_segment_that_was_cut_ends_its_stream() {
    let mut reader = Reader::default();
    let stream = message::over_tcp(&[answer("a.miui.com"), answer("b.miui.com")]);
    let whole = segment(9, &stream);
    let cut = record(CopyKind::AnswerOverTcp as u32, &whole, whole.len() - 5);
    let found = reader.read(&cut, &Conduct::default(), Instant::now()).map(|(_, finding)| finding);
    assert_eq!(found, Some(Finding::Answers(vec![learned("a.miui.com")])));
    let next = message::over_tcp(&[answer("c.miui.com")]);
    let next = segment(9 + stream.len() as u32, &next);
    assert_eq!(read(&mut reader, CopyKind::AnswerOverTcp, &next), Finding::Answers(vec![learned("c.miui.com")]));
}

#[test]
fn a_long_answer_over_udp() {
    let aliases = vec!["a.b"; 20];
    let message = message::Answer { name: "miui.com", aliases, addresses: vec![SERVER], time_to_live: 60, code: 0 }.build();
    let Finding::Answers(answers) =
        read(&mut Reader::default(), CopyKind::LongAnswer, &frame(Transport::Udp { source: 53, destination: 9 }, &message))
    else {
        panic!("no answer")
    };
    assert_eq!(answers.iter().map(|answer| (answer.names.len(), answer.addresses.len())).collect::<Vec<_>>(), [(21, 1)]);
}

#[test]
fn what_the_kernel_never_sends() {
    let mut reader = Reader::default();
    let conduct = Conduct::default();
    for wrong in [&[][..], &[0; 15], &record(9, &[0; 60], 60)] {
        assert_eq!(reader.read(wrong, &conduct, Instant::now()), None);
    }
    for kind in [CopyKind::Initial, CopyKind::AnswerOverTcp, CopyKind::LongAnswer, CopyKind::Hello] {
        assert_eq!(read(&mut reader, kind, &[0; 7]), Finding::Unreadable);
        assert_eq!(read(&mut reader, kind, &[]), Finding::Unreadable);
    }
}
