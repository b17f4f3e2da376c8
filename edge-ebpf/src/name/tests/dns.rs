use proptest::prelude::*;

use super::{BEFORE, Listener, framed, hash, wire};
use crate::name::Reading;
use crate::name::dns::{MAX_QUESTIONS, Questions, Transport, query};

fn message(flags: u16, names: &[&str]) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd];
    message.extend(flags.to_be_bytes());
    message.extend((names.len() as u16).to_be_bytes());
    message.extend([0, 0, 0, 0, 0, 1]);
    for (kind, name) in (1u8..).zip(names) {
        message.extend(wire(&name.split('.').map(|label| label.as_bytes().to_vec()).collect::<Vec<_>>()));
        message.extend([0, kind, 0, 1]);
    }
    // EDNS: root, type 41, size, flags, one option.
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0]);
    message
}

fn over_tcp(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&(message.len() as u16).to_be_bytes(), message.as_slice()].concat()).collect()
}

fn read(transport: Transport, payload: &[u8]) -> (Reading, Questions, Vec<Option<crate::name::hash::Hash>>) {
    let bytes = framed(payload);
    let mut listener = Listener::new(&bytes);
    let mut questions = Questions::default();
    let frame = listener.frame;
    let reading = query(&frame, &mut listener, transport, BEFORE, bytes.len(), &mut questions);
    (reading, questions, listener.hashes)
}

#[test]
fn all_questions_are_read() {
    let names = ["www.Example.com", "a.b", "c.d.e", "x"];
    for count in 1..=MAX_QUESTIONS {
        let (reading, questions, hashes) = read(Transport::Udp, &message(0x0100, &names[..count]));
        assert_eq!((reading, questions.count as usize), (Reading::Name, count));
        assert_eq!(hashes, names[..count].iter().map(|name| hash(name)).collect::<Vec<_>>());
        assert_eq!(questions.types[..count], [1, 2, 3, 4][..count]);
        assert_eq!(questions.rows[..count], [3, 2, 3, 1][..count]);
        assert_eq!((questions.first.start as usize, questions.first.end as usize), (BEFORE + 12, BEFORE + 12 + 21));
    }
    assert_eq!(read(Transport::Udp, &message(0, &["a.b"; MAX_QUESTIONS + 1])).0, Reading::TooLong);
}

#[test]
fn what_is_no_query_says_so() {
    assert_eq!(read(Transport::Udp, &message(0x8180, &["a.b"])).0, Reading::Other);
    assert_eq!(read(Transport::Udp, &message(0, &[])).0, Reading::NoName);
    assert_eq!(read(Transport::Udp, &[]).0, Reading::Malformed);
    // The count says two, and one is there.
    let mut short = message(0, &["a.b"]);
    short.truncate(12 + 9);
    assert_eq!(read(Transport::Udp, &short).0, Reading::Name);
    short[5] = 2;
    assert_eq!(read(Transport::Udp, &short).0, Reading::Malformed);
    let mut pointer = message(0, &["a.b", "c.d"]);
    pointer[12 + 9] = 0xc0;
    assert_eq!(read(Transport::Udp, &pointer).0, Reading::Malformed);
}

#[test]
fn over_tcp_each_query_is_read_and_a_part_is_incomplete() {
    let one = message(0x0100, &["one.example"]);
    let two = message(0x0100, &["two.example", "b.c"]);
    let (reading, questions, hashes) = read(Transport::Tcp, &over_tcp(&[one.clone(), two.clone()]));
    assert_eq!((reading, questions.count), (Reading::Name, 3));
    assert_eq!(hashes, [hash("one.example"), hash("two.example"), hash("b.c")]);
    let all = over_tcp(&[one, two]);
    for cut in 0..all.len() {
        let whole = cut == 2 + usize::from(all[1]);
        assert_eq!(read(Transport::Tcp, &all[..cut]).0, if whole { Reading::Name } else { Reading::Incomplete }, "{cut}");
    }
    // The message ends before its question does.
    let mut wrong = all;
    wrong[1] = 20;
    assert_eq!(read(Transport::Tcp, &wrong).0, Reading::Malformed);
}

proptest! {
    #[test]
    fn every_cut_of_a_query_is_malformed(cut in 0usize..45) {
        let whole = message(0, &["connect.rom.miui.com"]);
        let question = 12 + 22 + 4;
        let reading = read(Transport::Udp, &whole[..cut]).0;
        prop_assert_eq!(reading, if cut < question { Reading::Malformed } else { Reading::Name });
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..400)) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let (reading, questions, hashes) = read(transport, &bytes);
            prop_assert!(questions.count as usize <= MAX_QUESTIONS);
            prop_assert_eq!(questions.count as usize, hashes.len());
            prop_assert_eq!(reading == Reading::Name && questions.count == 0, false);
        }
    }
}
