use proptest::prelude::*;

use super::{KEYS, wire};
use crate::name::answer::{Answer, MAX_ADDRESSES, MAX_MESSAGE, MAX_RECORDS, MAX_STEPS, MAX_TARGETS, walk};
use crate::name::hash::Hash;
use crate::name::labels::{Labels, MAX_NAME, MAX_POINTERS, UNPACKED};
use crate::name::table::suffixes;
use crate::name::{Reading, Span};
use crate::packet::Family;
use crate::packet::access::{Frame, Held};

/// Bytes before the message.
const BEFORE: usize = 8;

/// An address with its seconds.
type Given = (Vec<u8>, u32);
/// A name without pointers; `None`: it is none.
type Name = Option<Vec<u8>>;

fn given(answer: &Answer, bytes: &Frame<'_>, index: usize) -> Given {
    let given = answer.address(bytes, index).expect("it was walked over");
    let octets = [given.address.high.to_be_bytes(), given.address.low.to_be_bytes()].concat();
    (octets[..if given.family == Family::V4 { 4 } else { 16 }].to_vec(), given.ttl)
}

fn read(message: &[u8]) -> (Reading, Vec<Name>, Vec<Given>) {
    let bytes = [&[0xee; BEFORE], message].concat();
    let frame = Frame::new(&bytes);
    let span = Span::new(BEFORE, bytes.len());
    let mut answer = Answer::default();
    let reading = walk(&frame, span, &mut answer);
    if reading != Reading::Name {
        return (reading, vec![], vec![]);
    }
    let names = (0..answer.names()).map(|index| unpack(message, answer.name(index) - BEFORE).map(|(name, _)| name)).collect();
    (reading, names, (0..answer.addresses()).map(|index| given(&answer, &frame, index)).collect())
}

/// The name at `at`, and its hash.
fn unpack(message: &[u8], at: usize) -> Option<(Vec<u8>, Option<Hash>)> {
    unpack_before(message, message.len(), at)
}

/// The same where the message is only the first `length` of the bytes that are held.
fn unpack_before(bytes: &[u8], length: usize, at: usize) -> Option<(Vec<u8>, Option<Hash>)> {
    let mut held = Box::new([0xee; 4 * MAX_MESSAGE]);
    let there = BEFORE + bytes.len();
    held[BEFORE..there].copy_from_slice(bytes);
    let mut out = [0xee; UNPACKED];
    let mut labels = Labels::default();
    let message = Span::new(BEFORE, BEFORE + length);
    let length = labels.unpack(&Held::new(&held, there), &KEYS, message, BEFORE + at, &mut out);
    (length != 0).then(|| (out[..length].to_vec(), suffixes(&KEYS, &labels).last()))
}

/// The same as plainly as can be.
fn plain(message: &[u8]) -> Option<(Vec<Name>, Vec<Given>)> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?)));
    let (names, addresses) = (&mut vec![plain_name(message, 12, 0)], &mut Vec::new());
    let records = number(6)?;
    let mut at = behind(message, 12)? + 4;
    for _ in 0..records {
        let fixed = behind(message, at)?;
        let (kind, class, size) = (number(fixed)?, number(fixed + 2)?, number(fixed + 8)?);
        let data = message.get(fixed + 10..fixed + 10 + size)?;
        match (kind, class, size) {
            (1, 1, 4) | (28, 1, 16) => {
                let ttl = u32::from_be_bytes(message[fixed + 4..fixed + 8].try_into().ok()?);
                addresses.push((data.to_vec(), ttl));
            }
            (5, 1, _) => names.push(plain_name(message, fixed + 10, 0)),
            _ => {}
        }
        at = fixed + 10 + size;
    }
    Some((names.clone(), addresses.clone()))
}

fn behind(message: &[u8], at: usize) -> Option<usize> {
    match usize::from(*message.get(at)?) {
        0 => Some(at + 1),
        length @ 1..=63 => behind(message, at + 1 + length),
        192.. => Some(at + 2),
        _ => None,
    }
}

fn plain_name(message: &[u8], at: usize, pointers: usize) -> Name {
    let first = *message.get(at)?;
    let name = match usize::from(first) {
        0 => vec![0],
        length @ 1..=63 => {
            let label = message.get(at..at + 1 + length)?;
            [label, &plain_name(message, at + 1 + length, pointers)?].concat()
        }
        192.. if pointers < MAX_POINTERS => {
            let target = usize::from(first & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            if target >= at {
                return None;
            }
            plain_name(message, target, pointers + 1)?
        }
        _ => return None,
    };
    (name.len() <= MAX_NAME).then_some(name)
}

fn header(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [&[0xab, 0xcd], &flags.to_be_bytes()[..], &questions.to_be_bytes(), &answers.to_be_bytes(), &[0; 4]].concat()
}

fn record(owner: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let fixed = [&kind.to_be_bytes(), &class.to_be_bytes(), &ttl.to_be_bytes()[..], &(data.len() as u16).to_be_bytes()].concat();
    [owner, &fixed, data].concat()
}

/// An answer about "www.example.com" with these records behind the question.
fn message(records: &[Vec<u8>]) -> Vec<u8> {
    let name = ["www", "example", "com"].map(|label| label.as_bytes().to_vec());
    [&header(0x8180, 1, records.len() as u16)[..], &wire(&name), &[0, 1, 0, 1], &records.concat()].concat()
}

const OWNER: [u8; 2] = [0xc0, 12];

fn a(last: u8) -> Vec<u8> {
    record(&OWNER, 1, 1, 300, &[192, 0, 2, last])
}

/// "cdnN" below "example.com".
fn cname(number: u8) -> Vec<u8> {
    record(&OWNER, 5, 1, 60, &[4, b'c', b'd', b'n', b'a' + number, 0xc0, 16])
}

#[test]
fn names_and_addresses_are_found() {
    let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    // Another type, another class, other lengths.
    let others = [
        record(&OWNER, 16, 1, 9, b"text"),
        record(&OWNER, 1, 3, 9, &[1; 4]),
        record(&OWNER, 1, 1, 9, &[1; 5]),
        record(&OWNER, 28, 1, 9, &[1; 4]),
    ];
    let records = [&others[..], &[cname(0), a(1), record(&[3, b'A', b'b', b'c', 0xc0, 16], 28, 1, u32::MAX, &address), a(2)]].concat();
    let (reading, names, addresses) = read(&message(&records));
    assert_eq!(reading, Reading::Name);
    let name = |text: &str| Some(wire(&text.split('.').map(|label| label.as_bytes().to_vec()).collect::<Vec<_>>()));
    assert_eq!(names, [name("www.example.com"), name("cdna.example.com")]);
    assert_eq!(addresses, [(vec![192, 0, 2, 1], 300), (address.to_vec(), u32::MAX), (vec![192, 0, 2, 2], 300)]);
}

#[test]
fn what_teaches_nothing_says_why() {
    let reading = |message: &[u8]| read(message).0;
    let whole = message(&[a(1)]);
    let with_flags = |flags: u16| {
        let mut changed = whole.clone();
        changed[2..4].copy_from_slice(&flags.to_be_bytes());
        reading(&changed)
    };
    // A query, another opcode, an error; and what does not matter.
    assert_eq!([0x0180, 0xa180, 0x8183].map(with_flags), [Reading::Other; 3]);
    assert_eq!([0x8000, 0x87f0].map(with_flags), [Reading::Name; 2]);
    for questions in [0, 2] {
        let mut changed = whole.clone();
        changed[5] = questions;
        assert_eq!(reading(&changed), Reading::Other);
    }
    assert_eq!(reading(&message(&[])), Reading::NoName);
    assert_eq!(reading(&message(&[cname(0)])), Reading::NoName);
    for cut in 0..whole.len() {
        assert_eq!(reading(&whole[..cut]), Reading::Malformed, "{cut}");
    }
    assert_eq!(reading(&message(&[record(&[0x80, 1], 1, 1, 1, &[0; 4])])), Reading::Malformed);
}

#[test]
fn the_limits_are_what_they_say() {
    let count = |records: &[Vec<u8>]| {
        let (reading, names, addresses) = read(&message(records));
        (reading, names.len(), addresses.len())
    };
    let addresses: Vec<_> = (0..=MAX_RECORDS as u8).map(a).collect();
    assert_eq!(count(&addresses[..MAX_RECORDS]), (Reading::Name, 1, MAX_ADDRESSES));
    assert_eq!(count(&addresses).0, Reading::TooLong);
    let names = |targets: usize| [(0..targets as u8).map(cname).collect(), vec![a(1)]].concat();
    assert_eq!(count(&names(MAX_TARGETS)), (Reading::Name, MAX_TARGETS + 1, 1));
    assert_eq!(count(&names(MAX_TARGETS + 1)).0, Reading::TooLong);
    // Owners written out: a record, and so many labels.
    let owner = wire(&vec![vec![b'a']; 63]);
    let written = |last: usize| {
        let rest = record(&wire(&vec![vec![b'a']; last]), 1, 1, 1, &[0; 4]);
        count(&[vec![record(&owner, 1, 1, 1, &[0; 4]); 4], vec![rest]].concat())
    };
    assert_eq!(written(MAX_STEPS - 4 * 64 - 1), (Reading::Name, 1, 5));
    assert_eq!(written(MAX_STEPS - 4 * 64).0, Reading::TooLong);
    let long = |length: usize| {
        let mut message = message(&[a(1)]);
        message.resize(length, 0);
        read(&message).0
    };
    assert_eq!([long(MAX_MESSAGE), long(MAX_MESSAGE + 1)], [Reading::Name, Reading::TooLong]);
}

#[test]
fn what_is_left_out_is_told() {
    let bytes = [&[0; BEFORE], &message(&(0..40).map(a).collect::<Vec<_>>())[..]].concat();
    let mut answer = Answer::default();
    assert_eq!(walk(&Frame::new(&bytes), Span::new(BEFORE, bytes.len()), &mut answer), Reading::Name);
    assert_eq!((answer.addresses(), answer.left_out()), (MAX_ADDRESSES, 40 - MAX_ADDRESSES));
}

#[test]
fn pointers_lead_back_and_not_too_often() {
    // The root, and pointers each to the one before.
    let chain: Vec<u8> = [vec![0], (0..MAX_POINTERS as u8 + 1).flat_map(|place| [0xc0, (2 * place).saturating_sub(1)]).collect()].concat();
    assert_eq!(unpack(&chain, 2 * MAX_POINTERS - 1), Some((vec![0], None)));
    assert_eq!(unpack(&chain, 2 * MAX_POINTERS + 1), None);
    // To itself, to what follows, into a loop, and cut.
    assert_eq!(unpack(&[0xc0, 0, 0], 0), None);
    assert_eq!(unpack(&[0xc0, 2, 0], 0), None);
    assert_eq!(unpack(&[1, b'a', 0xc0, 0], 0), None);
    assert_eq!(unpack(&[0, 0xc0], 1), None);
}

#[test]
fn a_name_ends_with_the_message() {
    // A label and the root; the root, a label and a pointer to the root.
    for (bytes, at) in [(&[1, b'a', 0][..], 0), (&[0, 1, b'a', 0xc0, 0], 1)] {
        assert_eq!(unpack_before(bytes, bytes.len(), at).map(|(name, _)| name), Some(vec![1, b'a', 0]));
        for length in 0..bytes.len() {
            assert_eq!(unpack_before(bytes, length, at), None, "{length}");
            assert_eq!(unpack(&bytes[..length], at), None, "{length}");
        }
    }
}

#[test]
fn a_name_may_have_255_bytes() {
    for (last, fits) in [(61, true), (62, false)] {
        let name = wire(&[vec![b'a'; 63], vec![b'b'; 63], vec![b'c'; 63], vec![b'd'; last]]);
        assert_eq!(unpack(&name, 0).map(|(name, _)| name), fits.then_some(name));
    }
    let longest = wire(&vec![vec![b'a']; 127]);
    assert_eq!(unpack(&longest, 0).map(|(name, _)| name), Some(longest));
}

/// Labels, pointers to anywhere near, and what ends a name.
fn name_bytes() -> impl Strategy<Value = Vec<u8>> {
    let label = prop::collection::vec(prop::sample::select(b"aB.\x00\xc0".as_slice()), 0..=18)
        .prop_map(|label| [&[label.len() as u8], label.as_slice()].concat());
    let end = prop_oneof![3 => (0..200u8).prop_map(|target| vec![0xc0, target]), 2 => Just(OWNER.to_vec()), 1 => Just(vec![0])];
    (prop::collection::vec(label, 0..4), end).prop_map(|(labels, end)| [labels.concat(), end].concat())
}

fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let kind = prop::sample::select([1u16, 1, 5, 5, 28, 16].as_slice());
    let data = prop_oneof![prop::collection::vec(any::<u8>(), 4), prop::collection::vec(any::<u8>(), 16), name_bytes()];
    let class = prop_oneof![9 => Just(1u16), 1 => Just(3)];
    let one =
        (name_bytes(), kind, class, any::<u32>(), data).prop_map(|(owner, kind, class, ttl, data)| record(&owner, kind, class, ttl, &data));
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn answers_are_read_as_the_plain_reader_does(
        records in records(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), cut in 0usize..400
    ) {
        let mut message = message(&records);
        for (place, byte) in changes {
            let place = 12 + place.index(message.len() - 12);
            message[place] = byte;
        }
        if cut < message.len() && cut % 4 == 0 {
            message.truncate(cut);
        }
        let (reading, names, addresses) = read(&message);
        let nothing = records.is_empty();
        match plain(&message) {
            Some((plain_names, plain_addresses)) => {
                let empty = nothing || plain_addresses.is_empty();
                prop_assert_eq!(reading, if empty { Reading::NoName } else { Reading::Name });
                if !empty {
                    prop_assert_eq!(names, plain_names);
                    prop_assert_eq!(addresses, plain_addresses);
                }
            }
            None => prop_assert_eq!(reading, if nothing && message.len() >= 12 { Reading::NoName } else { Reading::Malformed }),
        }
    }

    #[test]
    fn a_name_has_the_hash_of_its_plain_form(records in records(), at in any::<prop::sample::Index>()) {
        let message = message(&records);
        let at = at.index(message.len());
        let unpacked = unpack(&message, at);
        prop_assert_eq!(unpacked.clone().map(|(name, _)| name), plain_name(&message, at, 0));
        if let Some((name, hash)) = unpacked {
            let bytes = super::framed(&[&name[..], &[0, 1, 0, 1]].concat());
            let mut labels = Labels::default();
            let walked = labels.wire(&Frame::new(&bytes), &KEYS, super::BEFORE, bytes.len());
            prop_assert_eq!(walked.end(), super::BEFORE + name.len());
            prop_assert_eq!(suffixes(&KEYS, &labels).last(), hash);
        }
    }

    #[test]
    fn any_bytes_are_walked_without_a_panic(
        answers in 0..80u16, bytes in prop::collection::vec(prop_oneof![0..5u8, any::<u8>()], 0..1500)
    ) {
        let (reading, names, addresses) = read(&[header(0x8180, 1, answers), bytes].concat());
        prop_assert_eq!(reading == Reading::Name, !addresses.is_empty());
        prop_assert_eq!(names.is_empty(), addresses.is_empty());
    }
}
