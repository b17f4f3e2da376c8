//! Both readings of the same bytes: messages, what damage makes of them, noise behind their beginnings, and what is just at a limit.

mod facts;

use edge_ebpf::name::dns::{Questions, Transport, query};
use edge_ebpf::name::hash::{SEEDS, Seeds};
use edge_ebpf::name::labels::Labels;
use edge_ebpf::name::table::{NameBucket, NameStorage};
use edge_ebpf::name::{self as library, Here, Names, Span, Walked};
use edge_ebpf::packet::access::{Bytes, Frame, Held};
use proptest::prelude::*;

use super::dns::Question;
use super::name::{Name, text, wire};
use super::tls::{Hello, Opening, opening};
use super::{Reading, dns, http, quic};
use crate::engine::message;

/// Bytes before each message, as the headers before it in a frame.
const BEFORE: usize = 42;

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xee; BEFORE], message].concat()
}

/// A table without names.
struct Empty;

impl Seeds for Empty {
    fn seed(&self, place: usize) -> u64 {
        [7; SEEDS].seed(place)
    }
}

impl NameStorage for Empty {
    fn bucket(&self, _: u32) -> Option<&NameBucket> {
        None
    }
    fn mask(&self) -> u32 {
        0
    }
}

fn kind<T>(reading: &Reading<T>) -> library::Reading {
    match reading {
        Reading::Other => library::Reading::Other,
        Reading::Found(_) => library::Reading::Name,
        Reading::Nothing => library::Reading::NoName,
        Reading::Incomplete => library::Reading::Incomplete,
        Reading::Malformed => library::Reading::Malformed,
        Reading::TooLong => library::Reading::TooLong,
    }
}

/// Walks names as the library does, and keeps where they are.
struct Listener<'a> {
    here: Here<'a, Frame<'a>, Empty>,
    spans: Vec<(usize, usize)>,
}

impl Names for Listener<'_> {
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        let walked = self.here.wire(at, end);
        self.spans.push((at, walked.end()));
        walked
    }
    fn row(&mut self) -> u32 {
        self.here.labels.count() as u32
    }
}

fn dns_is_read_alike(message: &[u8]) -> Result<(), TestCaseError> {
    for (transport, own) in [(Transport::Udp, dns::over_udp(message)), (Transport::Tcp, dns::over_tcp(message))] {
        // What lies behind the message, as padding does, is no part of it.
        for behind in [&[][..], &[0; 64], &[1; 64]] {
            let bytes = [framed(message), behind.to_vec()].concat();
            let frame = Frame::new(&bytes);
            let here = Here { bytes: &frame, table: &Empty, labels: &mut Labels::default() };
            let mut listener = Listener { here, spans: Vec::new() };
            let mut questions = Questions::default();
            let reading = query(&frame, &mut listener, transport, BEFORE, BEFORE + message.len(), &mut questions);
            prop_assert_eq!(kind(&own), reading, "{:?} {:02x?}", transport, message);
            let Reading::Found(own) = &own else { continue };
            prop_assert_eq!(own.len(), questions.count as usize);
            for (index, Question { name, kind }) in own.iter().enumerate() {
                let (start, end) = listener.spans[index];
                let (there, rest) = wire(&bytes[start..]).expect("the library has walked it");
                prop_assert_eq!((name, bytes.len() - rest.len(), name.len() as u32), (&there, end, questions.rows[index]));
                prop_assert_eq!(*kind, questions.types[index]);
            }
        }
    }
    Ok(())
}

/// A span of text as the library's walk sees it.
fn named(bytes: &impl Bytes, all: &[u8], Span { start, end }: Span) -> Option<Name> {
    let (start, end) = (start as usize, end as usize);
    let walked = Here { bytes, table: &Empty, labels: &mut Labels::default() }.text(start, end);
    let own = text(&all[start..end]);
    assert_eq!(own.is_none(), walked.is_fault(), "{:02x?}", &all[start..end]);
    own
}

/// As the kernel program reads a stream's beginning.
fn library_opening(payload: &[u8]) -> Opening {
    use library::tls::{Located, Opening as Place, hello, join, locate};
    let bytes = framed(payload);
    let frame = Frame::new(&bytes);
    let mut seen = library::tls::Hello::default();
    let mut out = [0; 8192];
    let Located { opening, body, wanted } = locate(&frame, BEFORE, bytes.len());
    let of_hello = |reading, name: Option<Name>, seen: library::tls::Hello, body: &[u8]| match (reading, name) {
        (library::Reading::Name, Some(name)) => Opening::Hello(Hello { name: Some(name), ech: seen.ech != 0 }, body.to_vec()),
        (library::Reading::NoName, _) => Opening::Hello(Hello { name: None, ech: seen.ech != 0 }, body.to_vec()),
        _ => Opening::Unreadable,
    };
    match opening {
        Place::NotAHello => Opening::NotAHello,
        Place::Malformed => Opening::BadRecord,
        Place::Incomplete => Opening::Incomplete(wanted as usize),
        Place::Whole => {
            let (start, end) = (body.start as usize, body.end as usize);
            let reading = hello(&frame, start, end, &mut seen);
            let name = (reading == library::Reading::Name).then(|| named(&frame, &bytes, seen.name)).flatten();
            of_hello(reading, name, seen, &bytes[start..end])
        }
        Place::Scattered => {
            let end = bytes.len().min(BEFORE + library::tls::MAX_JOINED);
            let joined = join(&frame, BEFORE, end, &mut library::tls::Copied { from: &bytes, to: &mut out });
            match joined.reading {
                library::Reading::Incomplete => return Opening::Incomplete(joined.wanted as usize),
                library::Reading::Name => {}
                _ => return Opening::Unreadable,
            }
            let held = Held::new(&out, joined.length);
            let reading = hello(&held, 4, joined.length, &mut seen);
            let name = (reading == library::Reading::Name).then(|| named(&held, &out, seen.name)).flatten();
            of_hello(reading, name, seen, &out[4..joined.length])
        }
    }
}

fn tls_is_read_alike(payload: &[u8]) -> Result<(), TestCaseError> {
    prop_assert_eq!(opening(payload), library_opening(payload), "{:02x?}", payload);
    Ok(())
}

fn http_is_read_alike(payload: &[u8]) -> Result<(), TestCaseError> {
    let bytes = framed(payload);
    let frame = Frame::new(&bytes);
    let mut host = Span::default();
    let reading = library::http::request(&frame, BEFORE, bytes.len(), &mut host);
    let expected = match reading {
        library::Reading::Name => named(&frame, &bytes, host).map_or(Reading::Malformed, Reading::Found),
        library::Reading::Other => Reading::Other,
        library::Reading::NoName => Reading::Nothing,
        library::Reading::Incomplete => Reading::Incomplete,
        library::Reading::Malformed => Reading::Malformed,
        library::Reading::TooLong => Reading::TooLong,
    };
    prop_assert_eq!(http::request(payload), expected, "{}", String::from_utf8_lossy(payload));
    Ok(())
}

fn quic_is_read_alike(payload: &[u8]) -> Result<(), TestCaseError> {
    let bytes = framed(payload);
    let reading = library::quic::initial(&Frame::new(&bytes), BEFORE, bytes.len());
    prop_assert_eq!(quic::begins(payload), reading != library::quic::Initial::No, "{:02x?}", payload);
    Ok(())
}

/// A message with bytes changed, cut, and more behind it.
fn damaged(message: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = || prop_oneof![Just(0), Just(1), Just(0xff), Just(0xc0), Just(b'\n'), any::<u8>()];
    let changes = prop_oneof![Just(Vec::new()), prop::collection::vec((any::<prop::sample::Index>(), byte()), 0..4)];
    let cut = prop_oneof![Just(None), any::<prop::sample::Index>().prop_map(Some)];
    (message, changes, cut, prop::collection::vec(byte(), 0..12)).prop_map(|(mut message, changes, cut, behind)| {
        for (place, byte) in changes {
            if !message.is_empty() {
                let place = place.index(message.len());
                message[place] = byte;
            }
        }
        match cut {
            Some(cut) => message.truncate(cut.index(message.len() + 1)),
            None => message.extend(behind),
        }
        message
    })
}

fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof!["[a-cA-C_-]{1,3}", "[a-z]{7,9}", "[a-z]{60,65}"];
    prop::collection::vec(label, 0..6).prop_map(|labels| labels.join("."))
}

fn queries() -> impl Strategy<Value = Vec<u8>> {
    let one = || {
        prop::collection::vec((name(), prop::sample::select(vec![1u16, 28, 65])), 0..6).prop_map(|questions| {
            let questions: Vec<(&str, u16)> = questions.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
            message::query(&questions)
        })
    };
    prop_oneof![one(), prop::collection::vec(one(), 1..4).prop_map(|messages| message::over_tcp(&messages))]
}

fn hellos() -> impl Strategy<Value = Vec<u8>> {
    let server_name = prop_oneof![
        name().prop_map(|name| Some(name.into_bytes())),
        prop::collection::vec(prop::sample::select(b"a.\0\xff".as_slice()), 0..300).prop_map(Some),
        Just(None),
    ];
    let record = prop_oneof![Just(None), (1usize..700).prop_map(Some)];
    let padding = prop_oneof![Just(None), (0u16..64).prop_map(Some), (1700u16..2300).prop_map(Some), (4000u16..4200).prop_map(Some)];
    (server_name, any::<bool>(), padding, record).prop_map(|(server_name, ech, padding, record)| {
        message::Hello { server_name: server_name.as_deref(), ech, padding, record }.build()
    })
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "PROPFIND", "PROPFINX", "PROPPATCH", "CONNECT", "REPORT", "get", "HTTP/1.1"]);
    let target = prop_oneof!["/[!-~]{0,20}", "http://[a-z.@:\\[]{0,20}/?", "[a-z.]{1,12}:443", "HTTP/1.[01]"];
    let header = prop_oneof![
        ("[A-Za-z-]{1,20}", "[ -~]{0,40}").prop_map(|(key, value)| format!("{key}: {value}\r\n")),
        ("[hH]ost", "[ \t]{0,10}", "[a-zA-Z.:@\\[\\]-]{0,20}").prop_map(|(key, blanks, value)| format!("{key}:{blanks}{value}\r\n")),
        "a{250,270}".prop_map(|host| format!("Host: {host}\n")),
        Just("X\n".to_owned()),
    ];
    let version = prop::sample::select(vec![" HTTP/1.1\r\n", " HTTP/1.0\n", " HTTP/2\r\n", "HTTP/1.1\r\n", "\n", " HTTP/1.11\r\n", ""]);
    (method, target, version, prop::collection::vec(header, 0..6))
        .prop_map(|(method, target, version, headers)| format!("{method} {target}{version}{}\r\n", headers.concat()).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn queries_are_read_alike(message in damaged(queries())) {
        dns_is_read_alike(&message)?;
    }

    #[test]
    fn hellos_are_read_alike(payload in damaged(hellos())) {
        tls_is_read_alike(&payload)?;
    }

    #[test]
    fn requests_are_read_alike(payload in damaged(requests())) {
        http_is_read_alike(&payload)?;
    }

    #[test]
    fn datagrams_are_read_alike(
        start in prop::sample::select(vec![vec![], vec![0xc0], vec![0xd0], vec![0xe3, 0xff, 0, 0], vec![0xc0, 0xfa, 0xce, 0xb0]]),
        version in prop::sample::select(vec![0u32, 1, 2, 0x6b33_43cf, 0xff00_001d, 0xface_b001, 0xface_b010, 0x1a2a_3a4a, 0x5130_3530]),
        flags: u8,
        noise in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        quic_is_read_alike(&[start, noise.clone()].concat())?;
        quic_is_read_alike(&[&[flags], &version.to_be_bytes()[..], &noise].concat())?;
    }

    #[test]
    fn noise_is_read_alike(
        start in prop::sample::select(vec![&b""[..], b"\x16\x03\x01\0\x20\x01\0\0\x1c", b"\x16\x03\x01\0\x04\x01", b"GET ", b"GET / HTTP/1.1\r\nHost:",
            b"\0\x20\0\0\0\0\0\x01\0\0\0\0\0\0", b"\0\0\0\0\0\x02\0\0\0\0\0\0"]),
        noise in prop::collection::vec(prop_oneof![0..5u8, any::<u8>()], 0..300),
    ) {
        let payload = [start, &noise].concat();
        dns_is_read_alike(&payload)?;
        tls_is_read_alike(&payload)?;
        http_is_read_alike(&payload)?;
    }
}

#[test]
fn a_request_is_read_alike_around_the_last_step() {
    // 224 steps of eight bytes are 1,792 bytes of one line; each header of four bytes takes a step, too.
    for first in [1770, 1776, 1784] {
        for count in 0..12 {
            for end in ["", "H", "Host: a.b", "Host: a.b\r\n", "\r\n", "X"] {
                let request = format!("GET /{} HTTP/1.1\r\n{}{end}", "a".repeat(first - 11), "A:\r\n".repeat(count));
                http_is_read_alike(request.as_bytes()).unwrap();
            }
        }
    }
    for length in 245..270 {
        for end in ["", " ", "\r\n", "@", ".\n"] {
            http_is_read_alike(format!("GET / HTTP/1.1\r\nHost: {}{end}", "a".repeat(length)).as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_hello_is_read_alike_around_its_limits() {
    // Records of one byte take a step each, long ones one for each eight bytes.
    for padding in (80..160).chain(1480..1540) {
        for record in [1, 8, 9, 500, 1000] {
            let hello = message::Hello { server_name: Some(b"a.b"), padding: Some(padding), record: Some(record), ech: false }.build();
            tls_is_read_alike(&hello).unwrap();
            tls_is_read_alike(&hello[..hello.len() - 1]).unwrap();
        }
    }
    // Extensions: 127 are read.
    for count in 120..132 {
        let extensions = [0x1a, 0x1a, 0, 0].repeat(count);
        let body = [&[3, 3][..], &[0; 32], &[0, 0, 2, 0x13, 1, 1, 0], &(extensions.len() as u16).to_be_bytes(), &extensions].concat();
        let message = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
        let hello = [&[22, 3, 1][..], &(message.len() as u16).to_be_bytes(), &message].concat();
        tls_is_read_alike(&hello).unwrap();
        assert_eq!(opening(&hello) == Opening::Unreadable, count > 127, "{count}");
    }
}
