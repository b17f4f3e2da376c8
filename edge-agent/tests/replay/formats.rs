//! What is read of captures of every format and link layer, of frames that were cut, and of files that are damaged.

use std::borrow::Cow;

use edge_agent::engine::capture::{Capture, CaptureError, Captured, NotReplayed, read};
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_ebpf::packet::Mac;
use proptest::prelude::*;

use crate::writer::{Order, Pcapng, Record, kind, link, option, pcap};

/// The start of an IPv4 packet.
const PACKET: [u8; 4] = [0x45, 1, 2, 3];

fn capture(bytes: &[u8]) -> Result<Capture, CaptureError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("a file");
    read(file.path())
}

/// The frames of a whole capture.
fn frames(bytes: &[u8]) -> Vec<Captured> {
    let Capture { frames, breaks_off } = capture(bytes).expect("a capture");
    assert!(!breaks_off);
    frames
}

fn bytes(captured: &Captured) -> Result<Vec<u8>, NotReplayed> {
    captured.frame().map(Cow::into_owned)
}

/// An Ethernet frame of IPv4, from this MAC.
fn ethernet(mac: [u8; 6]) -> Vec<u8> {
    [&[0; 6], mac.as_slice(), &[8, 0], &PACKET].concat()
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_time_resolutions() {
    for order in Order::BOTH {
        for (nanoseconds, times) in [
            (false, ["2014-10-24T12:00:00.5Z", "2014-10-24T12:00:01.000001Z"]),
            (true, ["2014-10-24T12:00:00.0005Z", "2014-10-24T12:00:01.000000001Z"]),
        ] {
            let records =
                [Record { fraction: 500_000, ..Record::whole(0, vec![7; 20]) }, Record { fraction: 1, ..Record::whole(1, vec![8; 1600]) }];
            let seen = frames(&pcap(order, nanoseconds, link::ETHERNET.into(), &records));
            assert_eq!(seen.iter().map(|frame| frame.at.to_string()).collect::<Vec<_>>(), times, "{order:?}");
            assert_eq!(seen.iter().map(bytes).collect::<Vec<_>>(), records.map(|record| Ok(record.data)), "{order:?}");
        }
    }
}

#[test]
fn each_link_layer_becomes_ethernet() {
    let none = [0; 6];
    let mac = [0x64, 9, 0x80, 0, 0, 1];
    let cooked_v1 = |length: u8| [&[0, 0, 0, 1, 0, length], mac.as_slice(), &[0, 0, 8, 0]].concat();
    let cooked_v2 = |length: u8| [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, length], mac.as_slice(), &[0, 0]].concat();
    let tagged = [&[0; 6], mac.as_slice(), &[0x81, 0, 0, 7, 8, 0], &PACKET].concat();
    for (link, header, frame) in [
        (link::ETHERNET, ethernet(mac)[..14].to_vec(), Ok(ethernet(mac))),
        (link::RAW_IP, vec![], Ok(ethernet(none))),
        (12, vec![], Ok(ethernet(none))),
        (14, vec![], Ok(ethernet(none))),
        (228, vec![], Ok(ethernet(none))),
        (link::LOOPBACK, vec![2, 0, 0, 0], Ok(ethernet(none))),
        (link::OPENBSD_LOOPBACK, vec![0, 0, 0, 2], Ok(ethernet(none))),
        (link::COOKED_V1, cooked_v1(6), Ok(ethernet(mac))),
        // Of a tunnel, which has no MACs.
        (link::COOKED_V1, cooked_v1(0), Ok(ethernet(none))),
        (link::COOKED_V1, [&cooked_v1(6)[..14], &[0x81, 0, 0, 7, 8, 0]].concat(), Ok(tagged)),
        (link::COOKED_V2, cooked_v2(6), Ok(ethernet(mac))),
        (link::COOKED_V2, cooked_v2(4), Ok(ethernet(none))),
        (link::WIFI, vec![], Err(NotReplayed::LinkType(105))),
    ] {
        let data = [header, PACKET.to_vec()].concat();
        let [captured] = &frames(&pcap(Order::Little, false, link.into(), &[Record::whole(0, data)]))[..] else { panic!("one frame") };
        assert_eq!(bytes(captured), frame, "link type {link}");
    }
    // How long a frame's check sequence is stands above the link type.
    let [captured] = &frames(&pcap(Order::Big, false, 0x4400_0000, &[Record::whole(0, [&[2, 0, 0, 0], PACKET.as_slice()].concat())]))[..]
    else {
        panic!("one frame")
    };
    assert_eq!(bytes(captured), Ok(ethernet(none)));
}

#[test]
fn a_frame_without_a_whole_link_layer_or_an_ip_version_is_told_of() {
    for (link, data, why) in [
        (link::ETHERNET, vec![0; 13], NotReplayed::Short),
        (link::RAW_IP, vec![], NotReplayed::Short),
        (link::RAW_IP, vec![0x55], NotReplayed::NotIp),
        (link::LOOPBACK, vec![2, 0, 0], NotReplayed::Short),
        (link::LOOPBACK, vec![2, 0, 0, 0], NotReplayed::Short),
        (link::COOKED_V1, vec![0; 15], NotReplayed::Short),
        (link::COOKED_V2, vec![0; 19], NotReplayed::Short),
    ] {
        let [captured] = &frames(&pcap(Order::Little, false, link.into(), &[Record::whole(0, data)]))[..] else { panic!("one frame") };
        assert_eq!(bytes(captured), Err(why), "link type {link}");
    }
}

/// Three interfaces, the second in 1/1024 seconds, the third in nanoseconds and an hour ahead.
fn several_interfaces(order: Order) -> Vec<u8> {
    let mut file = Pcapng::new(order);
    file.block(kind::LOCAL, b"what nobody else knows");
    file.interface(link::ETHERNET, 0, &[(option::NAME, b"eth0")]);
    file.interface(link::RAW_IP, 0, &[(option::NAME, b"tun0"), (option::TIME_RESOLUTION, &[0x80 | 10])]);
    file.interface(link::COOKED_V2, 0, &[(option::TIME_OFFSET, &order.i64(3600)), (option::TIME_RESOLUTION, &[9])]);
    file.packet(0, 1_414_152_000_500_000, &ethernet([1; 6]), 18);
    file.block(kind::NAMES, &[0; 4]);
    file.packet(1, (1_414_152_001 << 10) + 256, &PACKET, 4);
    let cooked = [&[8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6], [2; 6].as_slice(), &[0, 0], &PACKET].concat();
    file.packet(2, 1_414_152_002_000_000_003, &cooked, cooked.len());
    file.packet(3, 0, &ethernet([3; 6]), 18);
    file.simple_packet(&ethernet([4; 6]), 18);
    file.block(kind::STATISTICS, &[0; 12]);
    file.bytes
}

#[test]
fn pcapng_has_interfaces_of_their_own_link_layers_and_clocks() {
    for order in Order::BOTH {
        let seen = frames(&several_interfaces(order));
        let expected = [
            ("2014-10-24T12:00:00.5Z", Ok(ethernet([1; 6]))),
            ("2014-10-24T12:00:01.25Z", Ok(ethernet([0; 6]))),
            ("2014-10-24T13:00:02.000000003Z", Ok(ethernet([2; 6]))),
            ("1970-01-01T00:00:00Z", Err(NotReplayed::NoInterface)),
            ("1970-01-01T00:00:00Z", Ok(ethernet([4; 6]))),
        ];
        let seen: Vec<_> = seen.iter().map(|captured| (captured.at.to_string(), bytes(captured))).collect();
        assert_eq!(seen, expected.map(|(at, frame)| (at.to_owned(), frame)), "{order:?}");
    }
}

#[test]
fn a_section_of_pcapng_has_its_own_interfaces_and_byte_order() {
    let mut file = Pcapng::new(Order::Little);
    file.interface(link::ETHERNET, 0, &[]);
    file.packet(0, 1, &ethernet([1; 6]), 18);
    file.section(Order::Big);
    file.packet(0, 1, &ethernet([2; 6]), 18);
    file.interface(link::RAW_IP, 0, &[]);
    file.packet(0, 1, &PACKET, 4);
    let seen = frames(&file.bytes);
    let expected = [Ok(ethernet([1; 6])), Err(NotReplayed::NoInterface), Ok(ethernet([0; 6]))];
    assert_eq!(seen.iter().map(bytes).collect::<Vec<_>>(), expected);
}

/// A TCP segment to port 443 with 100 bytes of payload: Ethernet, IPv4 and TCP headers are 54 bytes of it.
fn segment() -> Vec<u8> {
    let ends = Ends::V4([10, 0, 0, 7].into(), [203, 0, 113, 7].into());
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    let transport = Transport::Tcp { source: 40_000, destination: 443, flags, sequence: 1, acknowledgment: 1 };
    let mut spec = FrameSpec::new(Mac(0x6409_8000_0001), ends, transport);
    spec.payload = vec![0x17; 100];
    spec.build()
}

#[test]
fn a_cut_frame_has_its_full_length_if_its_headers_are_whole() {
    let whole = segment();
    for bytes_left in 14..=whole.len() {
        let record = Record::whole(0, whole.clone()).cut(bytes_left);
        let [captured] = &frames(&pcap(Order::Little, false, link::ETHERNET.into(), &[record]))[..] else { panic!("one frame") };
        assert_eq!(captured.is_cut(), bytes_left < whole.len());
        let expected = match bytes_left {
            ..54 => Err(NotReplayed::CutHeaders),
            _ => Ok([&whole[..bytes_left], &vec![0; whole.len() - bytes_left]].concat()),
        };
        assert_eq!(bytes(captured), expected, "{bytes_left} bytes");
    }
}

#[test]
fn a_packet_that_was_too_short_on_the_wire_is_judged_although_it_is_cut() {
    // IP announces 30 bytes, which end within the TCP header; the frame is padded on the wire.
    let mut whole = segment();
    whole.truncate(60);
    whole[17] = 30;
    let record = Record::whole(0, whole.clone()).cut(50);
    let [captured] = &frames(&pcap(Order::Little, false, link::ETHERNET.into(), &[record]))[..] else { panic!("one frame") };
    assert_eq!(bytes(captured).map(|frame| frame.len()), Ok(60));
}

#[test]
fn a_length_that_no_frame_has_is_not_believed() {
    let record = Record { original: u32::MAX as usize, ..Record::whole(0, segment()) };
    let [captured] = &frames(&pcap(Order::Little, false, link::ETHERNET.into(), &[record]))[..] else { panic!("one frame") };
    assert!(captured.is_cut());
    assert!(bytes(captured).is_ok_and(|frame| frame.len() < 66_000));
}

#[test]
fn pcapng_tells_of_cut_frames_in_both_kinds_of_packets() {
    let whole = segment();
    let mut file = Pcapng::new(Order::Little);
    file.interface(link::ETHERNET, 57, &[]);
    file.packet(0, 1, &whole[..57], whole.len());
    // Its captured length is the interface's; up to the next multiple of 4 there is padding, which is none of the frame.
    let mut padded = whole[..57].to_vec();
    padded.extend([0xee; 3]);
    file.simple_packet(&padded, whole.len());
    let expected = [&whole[..57], &vec![0; whole.len() - 57]].concat();
    for captured in frames(&file.bytes) {
        assert!(captured.is_cut());
        assert_eq!(bytes(&captured), Ok(expected.clone()));
    }
}

/// Wherever the file ends, the frames before are there, and it is told whether something is missing.
#[test]
fn a_file_that_is_cut_has_the_frames_before() {
    let records: Vec<Record> = (0..3).map(|second| Record::whole(second, vec![second as u8; 20])).collect();
    let classic = |count: usize| pcap(Order::Little, false, link::ETHERNET.into(), &records[..count]);
    let next_generation = |count: usize| {
        let mut file = Pcapng::new(Order::Big);
        file.interface(link::ETHERNET, 0, &[]);
        records[..count].iter().for_each(|record| file.packet(0, record.seconds.into(), &record.data, record.original));
        file.bytes
    };
    for (ends, first_block) in [
        ([0, 1, 2, 3].map(|count| classic(count).len()), classic(0).len()),
        ([0, 1, 2, 3].map(|count| next_generation(count).len()), Pcapng::new(Order::Big).bytes.len()),
    ] {
        let whole = if first_block == 24 { classic(3) } else { next_generation(3) };
        assert_eq!(whole.len(), ends[3]);
        for length in first_block..=whole.len() {
            let complete = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
            let between = ends.contains(&length) || length == first_block;
            match capture(&whole[..length]) {
                Ok(Capture { frames, breaks_off }) => {
                    assert_eq!((frames.len(), breaks_off), (complete, !between), "{length} of {} bytes", whole.len());
                }
                Err(error) => assert!(complete == 0 && !between, "{length} of {} bytes: {error}", whole.len()),
            }
        }
    }
}

/// More than is read at once.
#[test]
fn a_large_block_is_read() {
    let mut file = Pcapng::new(Order::Little);
    file.interface(link::ETHERNET, 0, &[]);
    file.block(kind::LOCAL, &vec![1; 300_000]);
    file.packet(0, 1, &ethernet([1; 6]), 18);
    assert_eq!(frames(&file.bytes).iter().map(bytes).collect::<Vec<_>>(), [Ok(ethernet([1; 6]))]);
}

#[test]
fn another_file_is_no_capture() {
    for other in [b"kind: Policy, which is not a capture at all".as_slice(), b"", &[0; 200]] {
        assert!(matches!(capture(other), Err(CaptureError::Format { .. })));
    }
    assert!(matches!(read(std::path::Path::new("/nonexistent/capture")), Err(CaptureError::Open { .. })));
}

#[test]
fn a_block_that_says_it_is_shorter_than_its_header_is_an_error() {
    for order in Order::BOTH {
        for length in 0..12 {
            let mut file = Pcapng::new(order);
            file.interface(link::ETHERNET, 0, &[]);
            let place = file.bytes.len();
            file.block(kind::LOCAL, &[0; 4]);
            file.bytes[place + 4..place + 8].copy_from_slice(&order.u32(length));
            assert!(matches!(capture(&file.bytes), Err(CaptureError::Format { .. })), "{order:?} {length}");
        }
    }
}

proptest! {
    /// Damage is an error, or costs frames: nothing worse, and no frame is longer than one can be.
    #[test]
    fn damage_does_no_harm(big in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut file = several_interfaces(if big { Order::Big } else { Order::Little });
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Ok(Capture { frames, .. }) = capture(&file) {
            prop_assert!(frames.len() < file.len() / 12);
            for frame in frames.iter().filter_map(|captured| captured.frame().ok()) {
                prop_assert!((14..66_000).contains(&frame.len()));
            }
        }
    }
}
