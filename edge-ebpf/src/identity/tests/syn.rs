use crate::identity::syn::{HEAD, NO_SCALE, ShapeBytes, at, multiples, quirk, read};
use crate::packet::{Packet, access::Frame};

/// A first segment over IPv4, as a Linux sends it.
fn segment(options: &[u8]) -> Vec<u8> {
    let length = 40 + options.len() as u8;
    let ip = [0x45, 0, 0, length, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 192, 168, 1, 9, 192, 0, 2, 1];
    let mut tcp = vec![0x9c, 0x40, 1, 0xbb, 1, 2, 3, 4, 0, 0, 0, 0, (5 + options.len() as u8 / 4) << 4, 2, 0xfa, 0xf0, 0, 0, 0, 0];
    tcp.extend(options);
    [ethernet(0x0800).as_slice(), &ip, &tcp].concat()
}

fn segment_6(options: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x60, 0, 0, 0, 0, 20 + options.len() as u8, 6, 57];
    ip.resize(40, 0x20);
    [ethernet(0x86dd).as_slice(), &ip, &segment(options)[34..]].concat()
}

fn ethernet(kind: u16) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 0x64, 9, 0x80, 0, 0, 1][..], &kind.to_be_bytes()].concat()
}

fn shape(frame: &[u8]) -> Vec<u8> {
    let frame = Frame::new(frame);
    let packet = Packet::parse(&frame);
    assert!(packet.fault.is_none());
    let mut shape = ShapeBytes([0; 64]);
    let length = read(&frame, &packet, &mut shape);
    shape.0[..length].to_vec()
}

/// MSS 1460, SACK permitted, timestamps, a blank, scale 7.
const LINUX: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

fn quirks(shape: &[u8]) -> u32 {
    u32::from(shape[at::QUIRKS]) << 16 | u32::from(shape[at::QUIRKS + 1]) << 8 | u32::from(shape[at::QUIRKS + 2])
}

#[test]
fn a_linux() {
    // 64,240 is 44 times 1,460.
    let quirks = (quirk::DF | quirk::ID_NONZERO) as u8;
    let expected = [4, 64, 0, 5, 0xb4, 0xfa, 0xf0, 44, 0, 7, 0, 0, quirks, 0, 5, 0, 2, 4, 8, 1, 3];
    assert_eq!(shape(&segment(&LINUX)), expected);
    let six = [6, 64, 0, 5, 0xb4, 0xfa, 0xf0, 44, 0, 7, 0, 0, 0, 0, 5, 0, 2, 4, 8, 1, 3];
    assert_eq!(shape(&segment_6(&LINUX)), six);
}

#[test]
fn without_options() {
    let bare = shape(&segment(&[]));
    assert_eq!((bare.len(), bare[at::KINDS], bare[at::SCALE], bare[at::MSS], bare[at::OF_MSS]), (HEAD, 0, NO_SCALE, 0, 0));
}

#[test]
fn each_quirk_of_the_headers() {
    for (place, value, expected) in [
        (20, 0x00, quirk::ID_ZERO | quirk::ID_NONZERO | quirk::DF),
        (20, 0xc0, quirk::RESERVED),
        (15, 0x02, quirk::ECN),
        (14 + 20 + 12, 0xa1, quirk::ECN),
        (14 + 20 + 13, 0x42, quirk::ECN),
        (14 + 20 + 13, 0x82, quirk::ECN),
        (14 + 20 + 11, 1, quirk::ACK_NONZERO),
        (14 + 20 + 19, 1, quirk::URGENT_POINTER),
        (14 + 20 + 13, 0x22, quirk::URGENT),
        (14 + 20 + 13, 0x0a, quirk::PUSH),
    ] {
        let plain = segment(&LINUX);
        let mut frame = plain.clone();
        frame[place] = value;
        if place == 20 && value == 0 {
            // May be fragmented, and has no identification.
            frame[18..20].fill(0);
        }
        assert_eq!(quirks(&shape(&frame)) ^ quirks(&shape(&plain)), expected, "{place} {value:x}");
    }
    let mut frame = segment(&LINUX);
    frame[14 + 20 + 4..14 + 20 + 8].fill(0);
    assert!(quirks(&shape(&frame)) & quirk::SEQUENCE_ZERO != 0);
    let mut frame = segment_6(&LINUX);
    frame[17] = 1;
    assert_eq!(quirks(&shape(&frame)), quirk::FLOW);
    frame[15] = 0x10;
    assert_eq!(quirks(&shape(&frame)), quirk::FLOW | quirk::ECN);
}

#[test]
fn each_quirk_of_the_options() {
    let of = |options: &[u8]| {
        let shape = shape(&segment(options));
        (quirks(&shape) & !(quirk::DF | quirk::ID_NONZERO), shape[HEAD..].to_vec())
    };
    let stamps = |own: u8, peer: u8| [1, 1, 8, 10, 0, 0, 0, own, 0, 0, 0, peer];
    assert_eq!(of(&stamps(0, 1)), (quirk::TIMESTAMP_ZERO | quirk::PEER_TIMESTAMP, vec![1, 1, 8]));
    assert_eq!(of(&[3, 3, 15, 0]), (quirk::EXCESSIVE_SCALE, vec![3, 0]));
    assert_eq!(of(&[1, 0, 0, 0]), (0, vec![1, 0, 0, 0]));
    assert_eq!(of(&[0, 1, 2, 3]), (quirk::TRAILING, vec![0, 0, 0, 0]));
    for bad in [[1, 1, 1, 2], [2, 5, 1, 1], [2, 1, 0, 0], [9, 0, 0, 0]] {
        assert_eq!(of(&bad).0, quirk::BAD, "{bad:?}");
    }
    assert_eq!(of(&[1; 40]), (0, vec![1; 40]));
}

#[test]
fn headers_that_are_not_all_there() {
    let frame = segment(&LINUX);
    assert_eq!(shape(&frame[..frame.len() - 1]), [0; 0]);
    let mut short = segment(&[]);
    short[14 + 20 + 12] = 0x40;
    let bytes = Frame::new(&short);
    assert_eq!(read(&bytes, &Packet::parse(&bytes), &mut ShapeBytes([0; 64])), 0);
}

#[test]
fn it_carries_data() {
    let mut frame = segment(&LINUX);
    frame[17] += 3;
    frame.extend([1, 2, 3]);
    assert_eq!(shape(&frame)[at::PAYLOAD], 1);
    // What is behind the packet is none of its.
    frame[17] -= 3;
    assert_eq!(shape(&frame)[at::PAYLOAD], 0);
}

#[test]
fn windows_in_the_ways_of_senders() {
    let plain = |window, mss| multiples(window, mss, false, false, 60);
    assert_eq!([plain(0, 1460), plain(1460, 99), plain(1460, 0)], [(0, 0); 3]);
    assert_eq!(plain(1380 * 47, 1380), (47, 0));
    // Timestamps take twelve bytes of each segment, where there are any.
    assert_eq!([multiples(1368 * 10, 1380, true, false, 60), plain(1368 * 10, 1380)], [(10, 0), (0, 0)]);
    assert_eq!([plain(1460 * 4, 1300), plain(1448 * 4, 1300)], [(4, 0), (4, 0)]);
    assert_eq!([multiples(1440 * 4, 1300, false, true, 80), plain(1440 * 3, 1300)], [(4, 0), (0, 0)]);
    assert_eq!([plain(1340 * 7, 1300), plain(1360 * 7, 1300), plain(1500 * 7, 1300)], [(0, 7); 3]);
    assert_eq!([multiples(1380 * 7, 1300, false, true, 80), multiples(1360 * 7, 1300, false, true, 80)], [(0, 7), (0, 7)]);
    // Too many for a byte.
    assert_eq!(plain(100 * 256, 100), (0, 0));
}
