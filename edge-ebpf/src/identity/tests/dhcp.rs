use super::{BEFORE, framed};
use crate::identity::dhcp::{MAX_OPTIONS, Said, read, read_6};
use crate::name::Span;
use crate::packet::{Mac, access::Frame};

const DEVICE: Mac = Mac(0x6409_8000_0001);

fn message(options: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 3];
    message.resize(236, 0);
    message[28..34].copy_from_slice(&[0x64, 9, 0x80, 0, 0, 1]);
    message.extend([99, 130, 83, 99]);
    message.extend(options.concat());
    message
}

/// What was said: parameters, class, name.
type Values = Option<[Vec<u8>; 3]>;

fn values(bytes: &[u8], is_one: bool, said: Said) -> Values {
    let value = |span: Span| if span.is_empty() { Vec::new() } else { bytes[span.start as usize..span.end as usize].to_vec() };
    is_one.then(|| [value(said.parameters), value(said.vendor_class), value(said.host_name)])
}

fn said(message: &[u8]) -> Values {
    let bytes = framed(message);
    let mut said = Said::default();
    let is_one = read(&Frame::new(&bytes), BEFORE, BEFORE + message.len(), DEVICE, &mut said);
    values(&bytes, is_one, said)
}

fn said_6(message: &[u8]) -> Values {
    let bytes = framed(message);
    let mut said = Said::default();
    let is_one = read_6(&Frame::new(&bytes), BEFORE, BEFORE + message.len(), &mut said);
    values(&bytes, is_one, said)
}

const DISCOVER: &[u8] = &[53, 1, 1];

fn three(parameters: &[u8], class: &[u8], name: &[u8]) -> Values {
    Some([parameters.to_vec(), class.to_vec(), name.to_vec()])
}

#[test]
fn options_in_any_order() {
    let options = [DISCOVER, &[0, 0, 61, 2, 1, 2], b"\x3c\x03abc", &[55, 2, 1, 3], b"\x0c\x05Redmi", &[255], b"\x0c\x01x"];
    assert_eq!(said(&message(&options)), three(&[1, 3], b"abc", b"Redmi"));
    assert_eq!(said(&message(&[b"\x0c\x01a", DISCOVER, b"\x0c\x02bc"])), three(b"", b"", b"bc"), "the last one counts");
    assert_eq!(said(&message(&[b"\x0c\x01a", DISCOVER, b"\x0c\x00"])), three(b"", b"", b""), "and may be empty");
    assert_eq!(said(&message(&[DISCOVER, b"\x0c\x05Redm"])), three(b"", b"", b""), "one that is cut is none");
    assert_eq!(said(&message(&[DISCOVER, &[12]])), three(b"", b"", b""));
}

#[test]
fn messages_that_say_nothing_of_the_client() {
    for kind in 0..=9u8 {
        assert_eq!(said(&message(&[&[53, 1, kind]])).is_some(), matches!(kind, 1 | 3 | 8), "{kind}");
    }
    assert_eq!(said(&message(&[])), None);
    assert_eq!(said(&message(&[&[53, 0], &[1, 1, 9]])), None, "its number is not there");
    assert_eq!(said(&message(&[DISCOVER, &[53, 1, 5]])), None, "the last one counts");
    let good = message(&[DISCOVER]);
    for (place, value) in [(0, 2), (1, 6), (2, 16), (28, 0), (33, 2), (236, 0), (239, 0)] {
        let mut other = good.clone();
        other[place] = value;
        assert_eq!(said(&other), None, "{place}");
    }
    assert_eq!(said(&good[..239]), None);
}

#[test]
fn as_many_options_as_are_read() {
    let behind = |count: usize| message(&[DISCOVER, &vec![0; count - 1], b"\x0c\x01a"]);
    assert_eq!(said(&behind(MAX_OPTIONS - 1)), three(b"", b"", b"a"));
    assert_eq!(said(&behind(MAX_OPTIONS)), three(b"", b"", b""));
}

#[test]
fn of_the_sixth_version() {
    let option = |kind: u8, value: &[u8]| [&[0, kind, 0, value.len() as u8], value].concat();
    let message = |kind: u8, options: &[Vec<u8>]| [vec![kind, 1, 2, 3], options.concat()].concat();
    let class = [&[0, 0, 1, 0x37, 0, 4][..], b"MSFT", &[0, 1, b'x']].concat();
    let all = [option(1, &[0; 10]), option(6, &[0, 23, 0, 24]), option(16, &class), option(39, b"\x01\x04host\x00")];
    for kind in 0..=13 {
        let expected = matches!(kind, 1 | 3 | 4 | 5 | 6 | 11).then(|| three(&[0, 23, 0, 24], b"MSFT", b"\x04host\x00")).flatten();
        assert_eq!(said_6(&message(kind, &all)), expected, "{kind}");
    }
    let nothing = three(b"", b"", b"");
    assert_eq!(said_6(&message(1, &[])), nothing);
    assert_eq!(said_6(&message(1, &[option(16, &class[..5]), option(39, &[0])])), nothing);
    assert_eq!(said_6(&message(1, &[option(16, &class[..9])])), nothing, "the string is longer than its option");
    assert_eq!(said_6(&message(1, &[option(39, b"\x00\x01a\x00"), option(39, b"\x00\x01b\x00")])), three(b"", b"", b"\x01b\x00"));
    let cut = message(1, &[option(39, b"\x00\x01a\x00")]);
    assert_eq!(said_6(&cut[..cut.len() - 1]), nothing);
    assert_eq!(said_6(&[1, 2, 3]), None);
}
