use proptest::prelude::*;

use super::{Datagram, InVector, read};
use crate::abi::DnsReject;
use crate::name::dns::{Questions, Transport, query};
use crate::name::hash::SEEDS;
use crate::name::labels::Labels;
use crate::name::{Names, Reading, Walked};
use crate::packet::{Packet, access::Frame};
use crate::reject::dns::{Answer, answer_query};

const ANSWERS: [Answer; 4] =
    [Answer::Rejected(DnsReject::NxDomain), Answer::Rejected(DnsReject::Refused), Answer::Rejected(DnsReject::NullAddress), Answer::NoData];
const SEED: [u64; SEEDS] = [1, 2, 3, 4, 5, 6];
/// Larger than any frame here.
const ROOM: usize = 4096;

/// Finds the questions' ends.
struct Ends<'a>(Frame<'a>, Labels);

impl Names for Ends<'_> {
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        self.1.wire(&self.0, &SEED, at, end)
    }
    fn row(&mut self) -> u32 {
        0
    }
}

/// How the query travels.
#[derive(Clone, Copy, Debug)]
struct Way {
    tags: usize,
    v6: bool,
    /// Options of IPv4, a header of destination options in IPv6.
    options: bool,
    /// Bytes behind the datagram.
    padding: usize,
}

const PLAIN: Way = Way { tags: 0, v6: false, options: false, padding: 0 };

const DEVICE: [u8; 6] = [0x64, 9, 0x80, 1, 2, 4];
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

fn addresses(v6: bool) -> [Vec<u8>; 2] {
    if v6 { [1, 2].map(|last| [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[last]].concat()) } else { [vec![192, 168, 1, 2], vec![9, 9, 9, 9]] }
}

fn ethernet(target: [u8; 6], source: [u8; 6], way: Way) -> Vec<u8> {
    let tags = [[0x88, 0xa8, 0x20, 7], [0x81, 0, 0, 9]];
    let kind: [u8; 2] = if way.v6 { [0x86, 0xdd] } else { [8, 0] };
    [&target, &source, tags[2 - way.tags..].concat().as_slice(), &kind].concat()
}

fn frame(way: Way, message: &[u8]) -> Vec<u8> {
    let length = (8 + message.len()) as u16;
    let udp = [&[0x9c, 0x40, 0, 53][..], &length.to_be_bytes(), &[0, 0], message].concat();
    let [source, destination] = addresses(way.v6);
    let ip = match (way.v6, way.options) {
        (false, options) => {
            let total = length + if options { 28 } else { 20 };
            let start = [&[if options { 0x47 } else { 0x45 }, 0][..], &total.to_be_bytes(), &[0, 7, 0x40, 0, 9, 17, 0, 0]].concat();
            [start, source, destination, if options { vec![1, 1, 1, 1, 0, 0, 0, 0] } else { vec![] }].concat()
        }
        (true, false) => [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[17, 9], &source, &destination].concat(),
        (true, true) => {
            let extension = [17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            [&[0x60, 0, 0, 0][..], &(length + 16).to_be_bytes(), &[60, 9], &source, &destination, &extension].concat()
        }
    };
    [ethernet(GATEWAY, DEVICE, way), ip, udp, vec![0xee; way.padding]].concat()
}

/// What becomes of the frame; `None`: no answer.
fn answered(frame: &[u8], answer: Answer, room: usize) -> Option<Vec<u8>> {
    let view = Frame::new(frame);
    let packet = Packet::parse(&view);
    let mut questions = Questions::default();
    let mut names = Ends(view, Labels::default());
    let reading = query(&view, &mut names, Transport::Udp, packet.transport + 8, frame.len(), &mut questions);
    if packet.fault.is_some() || reading != Reading::Name {
        return None;
    }
    let mut buffer = InVector { bytes: frame.to_vec(), room };
    answer_query(&mut buffer, &packet, &questions, answer).then_some(buffer.bytes)
}

fn header(flags: u16, counts: [u8; 4]) -> Vec<u8> {
    let [questions, answers, authority, others] = counts;
    [&[0xab, 0xcd][..], &flags.to_be_bytes(), &[0, questions, 0, answers, 0, authority, 0, others]].concat()
}

fn question(name: &[u8], kind: u8) -> Vec<u8> {
    [name, &[0, kind, 0, 1]].concat()
}

const NAME: &[u8] = b"\x03wWw\x07example\x03com\x00";
/// Of 1,232 bytes, version 0, DNSSEC understood.
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0];
/// The same with other flags, and with a cookie.
const OPT_WITH_COOKIE: [u8; 23] = [0, 0, 41, 4, 208, 7, 0, 0xff, 0xff, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

fn message_of(way: Way, query: &[u8], answer: Answer) -> Vec<u8> {
    let sent = frame(way, query);
    let Datagram { ethernet: link, source, destination, ports, payload } = read(&answered(&sent, answer, ROOM).expect("an answer"));
    let [device, server] = addresses(way.v6);
    assert_eq!((link, source, destination), (ethernet(DEVICE, GATEWAY, way), server, device));
    assert_eq!(ports, (53, 0x9c40));
    payload
}

#[test]
fn each_kind_says_what_it_should() {
    let address =
        |kind: u8, length: usize| [&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length as u8][..], vec![0; length].as_slice()].concat();
    // Kind of answer, type that is asked for, code, record.
    let cases = [
        (ANSWERS[0], 1, 3, vec![]),
        (ANSWERS[1], 1, 5, vec![]),
        (ANSWERS[2], 1, 0, address(1, 4)),
        (ANSWERS[2], 28, 0, address(28, 16)),
        (ANSWERS[2], 65, 0, vec![]),
        (ANSWERS[3], 1, 0, vec![]),
        (ANSWERS[3], 65, 0, vec![]),
    ];
    for (answer, kind, code, record) in cases {
        let asked = question(NAME, kind);
        let has = u8::from(!record.is_empty());
        for way in ways() {
            // Recursion desired and not, with the bits that only an answer may have set.
            for (flags, kept) in [(0x0100, 0x0100), (0x0020, 0), (0x0610, 0x0010), (0x1110, 0x1110)] {
                let plain = message_of(way, &[header(flags, [1, 0, 0, 0]), asked.clone()].concat(), answer);
                assert_eq!(plain, [header(0x8080 | kept | code, [1, has, 0, 0]), asked.clone(), record.clone()].concat(), "{way:?}");
            }
            for opt in [&OPT[..], &OPT_WITH_COOKIE] {
                let edns = message_of(way, &[&header(0x0100, [1, 0, 0, 1])[..], &asked, opt].concat(), answer);
                let expected = [&header(0x8180 | code, [1, has, 0, 1])[..], &asked, &record, &OPT].concat();
                assert_eq!(edns, expected, "{way:?}");
            }
        }
    }
}

fn ways() -> impl Iterator<Item = Way> {
    (0..24).map(|index| Way { tags: index % 3, v6: index / 3 % 2 == 1, options: index / 6 % 2 == 1, padding: index / 12 * 40 })
}

#[test]
fn only_the_first_question_is_kept() {
    let questions = [question(NAME, 1), question(b"\x01a\x00", 28)].concat();
    let answer = message_of(PLAIN, &[&header(0x0100, [2, 0, 0, 1])[..], &questions, &OPT].concat(), ANSWERS[0]);
    assert_eq!(answer, [&header(0x8183, [1, 0, 0, 1])[..], &question(NAME, 1), &OPT].concat());
}

#[test]
fn an_opt_record_that_is_not_the_only_one_or_not_there_is_not_answered() {
    let asked = question(NAME, 1);
    let without = [header(0x8183, [1, 0, 0, 0]), asked.clone()].concat();
    let record = [0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    let cases = [
        [&header(0x0100, [1, 0, 0, 2])[..], &asked, &OPT, &record].concat(),
        [&header(0x0100, [1, 1, 0, 1])[..], &asked, &OPT, &record].concat(),
        [&header(0x0100, [1, 0, 1, 1])[..], &asked, &OPT, &record].concat(),
        [&header(0x0100, [1, 0, 0, 1])[..], &asked, &record].concat(),
        [&header(0x0100, [1, 0, 0, 1])[..], &asked, &OPT[..10]].concat(),
        [&header(0x0100, [1, 0, 0, 1])[..], &asked, &OPT_WITH_COOKIE[..22]].concat(),
        [&header(0x0100, [1, 0, 0, 0])[..], &asked, &OPT].concat(),
    ];
    for query in cases {
        assert_eq!(message_of(Way { padding: 20, ..PLAIN }, &query, ANSWERS[0]), without, "{query:02x?}");
    }
}

/// One identification makes the sum 0, which on the wire would say that there is none; `read` wants one.
#[test]
fn no_checksum_is_0() {
    let mut all_ones = 0;
    for id in 0..=u16::MAX {
        let mut query = [header(0x0100, [1, 0, 0, 0]), question(NAME, 1)].concat();
        query[..2].copy_from_slice(&id.to_be_bytes());
        let answer = answered(&frame(PLAIN, &query), ANSWERS[0], ROOM).expect("an answer");
        assert_eq!(read(&answer).payload[..2], id.to_be_bytes());
        all_ones += u32::from(answer[40..42] == [0xff; 2]);
    }
    assert_eq!(all_ones, 1);
}

#[test]
fn another_class_gets_no_address() {
    let asked = [NAME, &[0, 1, 0, 3]].concat();
    let answer = message_of(PLAIN, &[header(0, [1, 0, 0, 0]), asked.clone()].concat(), ANSWERS[2]);
    assert_eq!(answer, [header(0x8080, [1, 0, 0, 0]), asked].concat());
}

#[test]
fn what_gets_no_answer_stays() {
    let query = [header(0x0100, [1, 0, 0, 0]), question(NAME, 28)].concat();
    let sent = frame(PLAIN, &query);
    assert!(answered(&sent, ANSWERS[2], sent.len() + 28).is_some());
    assert_eq!(answered(&sent, ANSWERS[2], sent.len() + 27), None, "no room");
    let mut group = sent.clone();
    group[0] |= 1;
    assert_eq!(answered(&group, ANSWERS[0], ROOM), None);
    let mut to_group = sent.clone();
    to_group[30] = 224;
    assert_eq!(answered(&to_group, ANSWERS[0], ROOM), None);
    let mut from_nobody = sent;
    from_nobody[26] = 0;
    assert_eq!(answered(&from_nobody, ANSWERS[0], ROOM), None);
}

fn any_way() -> impl Strategy<Value = Way> {
    (0..3usize, any::<bool>(), any::<bool>(), 0..50usize).prop_map(|(tags, v6, options, padding)| Way { tags, v6, options, padding })
}

proptest! {
    /// Names of every length: the checksum's last word has from one to eight bytes.
    #[test]
    fn names_of_any_length_come_back(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 0..=3), kind in prop::sample::select([1u8, 28, 16].as_slice()),
        way in any_way(), answer in prop::sample::select(ANSWERS.as_slice()), opt in any::<bool>()
    ) {
        let name = [labels.iter().map(|label| [&[label.len() as u8], label.as_slice()].concat()).collect::<Vec<_>>().concat(), vec![0]].concat();
        let opt = if opt { &OPT[..] } else { &[] };
        let asked = question(&name, kind);
        let message = message_of(way, &[&header(0x0100, [1, 0, 0, u8::from(!opt.is_empty())])[..], &asked, opt].concat(), answer);
        prop_assert_eq!(&message[..2], &[0xab, 0xcd]);
        prop_assert_eq!(&message[12..12 + asked.len()], asked.as_slice());
        let data = match (answer, kind) {
            (Answer::Rejected(DnsReject::NullAddress), 1) => 12 + 4,
            (Answer::Rejected(DnsReject::NullAddress), 28) => 12 + 16,
            _ => 0,
        };
        prop_assert_eq!(message.len(), 12 + asked.len() + data + opt.len());
    }

    /// Whatever the frame and the questions say, which need not be of one packet.
    #[test]
    fn no_frame_makes_a_panic(
        way in any_way(), bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0..120usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        first in (0..90u32, 0..90u32), behind in 0..120u32
    ) {
        let mut sent = frame(way, &[header(0x0100, [1, 0, 0, 1]), question(NAME, 28), bytes].concat());
        for (place, byte) in changes {
            let place = place.index(sent.len());
            sent[place] = byte;
        }
        sent.truncate(cut.max(14));
        let _ = answered(&sent, ANSWERS[2], ROOM);
        let packet = Packet::parse(&Frame::new(&sent));
        let questions = Questions { count: 1, first: crate::name::Span { start: first.0, end: first.1 }, behind, ..Questions::default() };
        let mut buffer = InVector { bytes: sent, room: ROOM };
        let _ = answer_query(&mut buffer, &packet, &questions, ANSWERS[2]);
    }
}
