use proptest::prelude::*;

use super::{BEFORE, framed};
use crate::name::Reading;
use crate::name::tls::{Copied, Hello, MAX_EXTENSIONS, Opening, hello, join, locate};
use crate::packet::access::{Frame, Held};

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let length = name.len() as u16;
    extension(0, &[&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name].concat())
}

/// The message, with its header.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = extensions.concat();
    let fixed = [&[3, 3][..], &[0x5a; 32], &[8], &[1; 8], &[0, 4, 0x13, 1, 0x13, 2, 1, 0]].concat();
    let body = [&fixed[..], &(extensions.len() as u16).to_be_bytes(), &extensions].concat();
    [&[1, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat()).collect()
}

struct Seen {
    reading: Reading,
    name: Option<Vec<u8>>,
    alpn: Vec<u8>,
    ech: bool,
}

/// As the kernel program does it.
fn read(payload: &[u8]) -> Seen {
    let bytes = framed(payload);
    let frame = Frame::new(&bytes);
    let located = locate(&frame, BEFORE, bytes.len());
    let mut seen = Hello::default();
    let mut out = [0; 8192];
    let (reading, source) = match located.opening {
        Opening::NotAHello => (Reading::Other, &bytes[..]),
        Opening::Malformed => (Reading::Malformed, &bytes[..]),
        Opening::Incomplete => {
            assert!(located.wanted as usize > payload.len());
            (Reading::Incomplete, &bytes[..])
        }
        Opening::Whole => (hello(&frame, located.body.start as usize, located.body.end as usize, &mut seen), &bytes[..]),
        Opening::Scattered => {
            let joined = join(&frame, BEFORE, bytes.len(), &mut Copied { from: &bytes, to: &mut out });
            let reading = match joined.reading {
                Reading::Name => hello(&Held::new(&out, joined.length), 4, joined.length, &mut seen),
                other => other,
            };
            (reading, &out[..])
        }
    };
    let part = |span: crate::name::Span| source[span.start as usize..span.end as usize].to_vec();
    let name = (reading == Reading::Name).then(|| part(seen.name));
    Seen { reading, name, alpn: part(seen.alpn), ech: seen.ech != 0 }
}

fn padding(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| extension(0x1a1a, &vec![7; number % 5])).collect()
}

#[test]
fn the_name_is_found_wherever_it_stands() {
    for before in [0, 1, 20, MAX_EXTENSIONS - 1] {
        let mut extensions = padding(before);
        extensions.push(server_name(b"Connect.rom.miui.com"));
        let Seen { reading, name, alpn, ech } = read(&records(&message(&extensions), 4000));
        assert_eq!((reading, name.as_deref()), (Reading::Name, Some(&b"Connect.rom.miui.com"[..])), "{before}");
        assert_eq!((alpn.len(), ech), (0, false));
    }
    let mut many = padding(MAX_EXTENSIONS);
    many.push(server_name(b"x.y"));
    assert_eq!(read(&records(&message(&many), 4000)).reading, Reading::TooLong);
    assert_eq!(read(&records(&message(&padding(9)), 4000)).reading, Reading::NoName);
}

#[test]
fn alpn_and_ech_are_seen() {
    let extensions = [extension(16, b"\0\x03\x02h2"), extension(0xfe0d, &[0; 9]), server_name(b"front.example")];
    let Seen { reading, alpn, ech, .. } = read(&records(&message(&extensions), 4000));
    assert_eq!((reading, alpn.as_slice(), ech), (Reading::Name, &b"\x02h2"[..], true));
}

#[test]
fn a_hello_without_extensions_names_nothing() {
    let mut message = message(&[]);
    message.truncate(message.len() - 2);
    message[3] -= 2;
    assert_eq!(read(&records(&message, 4000)).reading, Reading::NoName);
}

#[test]
fn what_contradicts_itself_is_malformed() {
    let right = server_name(b"x.y");
    for (place, value) in [(3, 7), (5, 5), (6, 1), (8, 4), (8, 2)] {
        let mut wrong = right.clone();
        wrong[place] = value;
        let extensions = [wrong, extension(0x1a1a, &[0; 30])];
        assert_eq!(read(&records(&message(&extensions), 4000)).reading, Reading::Malformed, "{place} {value}");
    }
    assert_eq!(read(&records(&message(&[server_name(b"")]), 4000)).reading, Reading::Malformed);
    assert_eq!(read(&records(&message(&[right.clone(), right]), 4000)).reading, Reading::Malformed);
}

#[test]
fn other_payloads_are_no_hello() {
    for payload in [&b"\x17\x03\x03\0\x05hello"[..], b"SSH-2.0-x\r\n", b"\x16\x03\x03\0\x05\x02\0\0\0\0", b"\x16\x02\x03\0\x05\x01", b"G"] {
        assert_eq!(read(payload).reading, Reading::Other);
    }
}

proptest! {
    #[test]
    fn records_of_any_size_hold_the_same(size in 1usize..600, before in 0usize..40) {
        let mut extensions = padding(before);
        extensions.push(server_name(b"connect.rom.miui.com"));
        let whole = message(&extensions);
        let Seen { reading, name, .. } = read(&records(&whole, size));
        if whole.len() / size <= 12 {
            prop_assert_eq!((reading, name.as_deref()), (Reading::Name, Some(&b"connect.rom.miui.com"[..])));
        } else {
            prop_assert!(matches!(reading, Reading::Name | Reading::TooLong));
        }
    }

    #[test]
    fn a_cut_hello_is_incomplete(size in prop_oneof![Just(4000usize), 40usize..200], cut in 1usize..200) {
        let all = records(&message(&[extension(0x1a1a, &[0; 60]), server_name(b"connect.rom.miui.com")]), size);
        prop_assume!(cut < all.len());
        prop_assert_eq!(read(&all[..cut]).reading, Reading::Incomplete);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        tail in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = [records(&message(&[server_name(b"a.b"), extension(16, b"\0\x03\x02h2")]), 4000), tail].concat();
        for (place, value) in changes {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let Seen { reading, name, .. } = read(&bytes);
        prop_assert_eq!(reading == Reading::Name, name.is_some());
    }
}
