use edge_ebpf::identity::hello::{MAX_ALGORITHMS, MAX_CIPHERS, MAX_EXTENSIONS};
use edge_ebpf::packet::access::Frame;
use proptest::prelude::*;

use super::*;

/// A hello to be made.
#[derive(Clone, Debug)]
struct Made {
    version: u16,
    session: u8,
    ciphers: Vec<u16>,
    extensions: Vec<Extension>,
}

#[derive(Clone, PartialEq, Debug)]
enum Extension {
    Versions(Vec<u16>),
    Algorithms(Vec<u16>),
    Protocols(Vec<Vec<u8>>),
    Other(u16, Vec<u8>),
}

fn bytes_of(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn with_length(bytes: Vec<u8>) -> Vec<u8> {
    [(bytes.len() as u16).to_be_bytes().to_vec(), bytes].concat()
}

fn with_short_length(bytes: Vec<u8>) -> Vec<u8> {
    [vec![bytes.len() as u8], bytes].concat()
}

impl Made {
    fn body(&self) -> Vec<u8> {
        let Self { version, session, ciphers, extensions } = self;
        let session = with_short_length(vec![7; usize::from(*session)]);
        let mut body = [bytes_of(&[*version]), vec![0x51; 32], session, with_length(bytes_of(ciphers)), vec![1, 0]].concat();
        if !extensions.is_empty() {
            body.extend(with_length(extensions.iter().flat_map(Extension::bytes).collect()));
        }
        body
    }
}

impl Extension {
    fn bytes(&self) -> Vec<u8> {
        let (kind, value) = match self {
            Self::Versions(versions) => (SUPPORTED_VERSIONS, with_short_length(bytes_of(versions))),
            Self::Algorithms(algorithms) => (SIGNATURE_ALGORITHMS, with_length(bytes_of(algorithms))),
            Self::Protocols(names) => (ALPN, with_length(names.iter().cloned().flat_map(with_short_length).collect())),
            Self::Other(kind, value) => (*kind, value.clone()),
        };
        [kind.to_be_bytes().to_vec(), with_length(value)].concat()
    }
}

/// Often the same few, so that lists have equal ones and GREASE.
fn value() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => prop::sample::select(vec![0, 0x0005, 0x000a, 0x0a0a, 0x1301, 0x1302, 0x5a5a, 0xc02b, 0xc02f, 0xff01]),
        1 => any::<u16>(),
    ]
}

fn extension() -> impl Strategy<Value = Extension> {
    let version = prop::sample::select(vec![0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002, 0x1a1a, 0x7f1c, 0xfefd]);
    let letter = prop_oneof![Just(b'h'), Just(b'2'), any::<u8>()];
    prop_oneof![
        1 => prop::collection::vec(version, 0..6).prop_map(Extension::Versions),
        1 => prop::collection::vec(value(), 0..8).prop_map(Extension::Algorithms),
        1 => prop::collection::vec(prop::collection::vec(letter, 0..4), 0..3).prop_map(Extension::Protocols),
        3 => (value().prop_filter("made otherwise", |kind| !matches!(*kind, SIGNATURE_ALGORITHMS | ALPN | SUPPORTED_VERSIONS)),
              prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(kind, value)| Extension::Other(kind, value)),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let version = prop::sample::select(vec![0x0303, 0x0301, 0x0a0a, 0x0505]);
    (version, 0..33u8, prop::collection::vec(value(), 0..12), prop::collection::vec(extension(), 0..12))
        .prop_map(|(version, session, ciphers, extensions)| Made { version, session, ciphers, extensions })
}

/// What may become of a hello on the way to the next one.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Ciphers(Vec<u16>),
    Extensions(Vec<Extension>),
    Session(u8),
    Version(u16),
    NoCipher,
    NoExtension,
    Another(Extension),
}

fn pair() -> impl Strategy<Value = (Made, Made)> {
    made().prop_flat_map(|made| {
        let change = prop_oneof![
            Just(Change::Nothing),
            Just(made.ciphers.clone()).prop_shuffle().prop_map(Change::Ciphers),
            Just(made.extensions.clone()).prop_shuffle().prop_map(Change::Extensions),
            (0..33u8).prop_map(Change::Session),
            prop::sample::select(vec![0x0302, 0x0303]).prop_map(Change::Version),
            Just(Change::NoCipher),
            Just(Change::NoExtension),
            extension().prop_map(Change::Another),
        ];
        let changes = prop::collection::vec(change, 1..3);
        (Just(made), changes).prop_map(|(made, changes)| {
            let mut other = made.clone();
            for change in changes {
                match change {
                    Change::Nothing => {}
                    Change::Ciphers(ciphers) => other.ciphers = ciphers,
                    Change::Extensions(extensions) => other.extensions = extensions,
                    Change::Session(session) => other.session = session,
                    Change::Version(version) => other.version = version,
                    Change::NoCipher => drop(other.ciphers.pop()),
                    Change::NoExtension => drop(other.extensions.pop()),
                    Change::Another(extension) => other.extensions.push(extension),
                }
            }
            (made, other)
        })
    })
}

/// As the kernel reads it, in a frame that has other bytes before and behind it.
fn read(body: &[u8], behind: usize) -> Option<HelloKey> {
    let bytes = [&[0x16; 20], body, &vec![0x5a; behind]].concat();
    hello::read(&Frame::new(&bytes), 20, 20 + body.len(), hello::Transport::Tcp)
}

fn ja4(body: &[u8]) -> Option<Ja4> {
    Ja4::of_hello(body, Transport::Tcp)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn keys_are_equal_where_ja4_are((one, other) in pair(), behind in 0..20usize) {
        let (one, other) = (one.body(), other.body());
        let keys = [read(&one, behind), read(&other, 0)];
        let values = [ja4(&one), ja4(&other)];
        prop_assert_eq!(&keys, &values.each_ref().map(|value| value.as_ref().map(Ja4::key)));
        let [Some(one), Some(other)] = values else { return Err(TestCaseError::fail("it can be read")) };
        prop_assert_eq!(keys[0] == keys[1], one.to_string() == other.to_string());
        // Its raw form says as much.
        prop_assert_eq!(one.raw().parse(), Ok(one));
    }

    #[test]
    fn what_cannot_be_read_has_neither(made in made(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 0..3usize, behind in 0..20usize) {
        let mut body = made.body();
        body.truncate(body.len() - cut);
        for (place, value) in changes {
            *place.get_mut(&mut body) = value;
        }
        prop_assert_eq!(read(&body, behind), ja4(&body).map(|ja4| ja4.key()));
    }
}

#[test]
fn as_many_as_are_read_and_one_more() {
    let plain = Made { version: 0x0303, session: 32, ciphers: vec![0x1301], extensions: Vec::new() };
    let full = Made {
        ciphers: (0..MAX_CIPHERS as u16).collect(),
        extensions: (100..).map(|kind| Extension::Other(kind, Vec::new())).take(MAX_EXTENSIONS).collect(),
        ..plain.clone()
    };
    assert_eq!(read(&full.body(), 0), ja4(&full.body()).map(|ja4| ja4.key()));
    assert!(ja4(&full.body()).is_some_and(|ja4| ja4.letters() == "t12i999900"));
    let algorithms = |count| Made { extensions: vec![Extension::Algorithms(vec![9; count])], ..plain.clone() }.body();
    assert!(read(&algorithms(MAX_ALGORITHMS), 0).is_some() && read(&algorithms(MAX_ALGORITHMS + 1), 0).is_none());
    let mut more = full.clone();
    more.ciphers.push(1);
    assert_eq!(read(&more.body(), 0), None);
    more = full;
    more.extensions.push(Extension::Other(9, Vec::new()));
    assert_eq!(read(&more.body(), 0), None);
    let versions = Made { extensions: vec![Extension::Versions(vec![0x0303; 127])], ..plain }.body();
    assert_eq!(read(&versions, 0), ja4(&versions).map(|ja4| ja4.key()));
}

/// FoxIO's example.
#[test]
fn the_example_of_the_specification() {
    let made = Made {
        version: 0x0303,
        session: 32,
        ciphers: vec![
            0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ],
        extensions: [0x001b, 0x0000, 0x0033, 0x4469, 0x0017, 0x0005, 0x0023, 0x0012, 0xff01, 0x000b, 0x000a, 0x0015, 0x9a9a, 0x002d]
            .map(|kind| Extension::Other(kind, vec![0; 3]))
            .into_iter()
            .chain([
                Extension::Algorithms(vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]),
                Extension::Versions(vec![0xdada, 0x0304, 0x0303]),
                Extension::Protocols(vec![b"h2".to_vec(), b"http/1.1".to_vec()]),
            ])
            .collect(),
    };
    let ja4 = ja4(&made.body()).expect("a hello");
    assert_eq!(ja4.to_string(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    assert_eq!(
        ja4.raw(),
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_\
         0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_0403,0804,0401,0503,0805,0501,0806,0601"
    );
    let quic = Ja4::of_hello(&made.body(), Transport::Quic).map(|ja4| ja4.letters().to_owned());
    assert_eq!(quic.as_deref(), Some("q13d1516h2"));
}

#[test]
fn where_there_are_none() {
    let made = Made { version: 0x0301, session: 0, ciphers: vec![0x0a0a], extensions: Vec::new() };
    let empty = ja4(&made.body()).expect("a hello");
    assert_eq!((empty.to_string().as_str(), empty.raw().as_str()), ("t10i000000_000000000000_000000000000", "t10i000000__"));
    let named = Made { extensions: vec![Extension::Other(SERVER_NAME, Vec::new())], ..made.clone() };
    assert_eq!(ja4(&named.body()).expect("a hello").to_string(), "t10d000100_000000000000_000000000000");
    // Without signature algorithms there is no underscore.
    let one = Made { extensions: vec![Extension::Algorithms(Vec::new())], ..made };
    assert_eq!(ja4(&one.body()).expect("a hello").raw(), "t10i000100__000d");
}

#[test]
fn letters_of_the_protocol() {
    // The specification's examples, and those without a value.
    for (name, letters) in [
        (&b"\xab"[..], "ab"),
        (b" ", "20"),
        (b"\xab\xcd", "ad"),
        (b" a", "21"),
        (b"0\xab", "3b"),
        (b"a ", "60"),
        (b"01\xab\xcd", "3d"),
        (b"0\xab\xcd1", "01"),
        (b"x", "xx"),
        (b"http/1.1", "h1"),
        (b"", "00"),
    ] {
        let made = Made {
            version: 0x0303,
            session: 0,
            ciphers: Vec::new(),
            extensions: vec![Extension::Protocols(vec![name.to_vec(), b"h2".to_vec()])],
        };
        assert_eq!(ja4(&made.body()).expect("a hello").letters(), format!("t12i0001{letters}"), "{name:?}");
    }
}

#[test]
fn of_datagrams() {
    let fixed = [&[0xfe, 0xfd][..], &[0; 32], &[0], &[4, 1, 2, 3, 4], &[0, 2, 0xc0, 0x2b], &[1, 0]].concat();
    assert_eq!(Ja4::of_hello(&fixed, Transport::Dtls).map(|ja4| ja4.raw()).as_deref(), Some("dd2i010000_c02b_"));
}

#[test]
fn raw_forms_that_are_none() {
    for text in
        ["", "t13d1516h2_8daaf6152771_e5627efa2ab1", "t13d1516h2_002f", "t13d1516h2_002f_0005_", "t13d_002f_0005", "t13d1516h2_+02f_0005"]
    {
        assert_eq!(text.parse::<Ja4>(), Err(NotRaw), "{text}");
    }
    let sorted = "t12d020200_1302,1301_0005,0001".parse::<Ja4>().map(|ja4| ja4.raw());
    assert_eq!(sorted.as_deref(), Ok("t12d020200_1301,1302_0001,0005"));
}
