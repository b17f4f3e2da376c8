use proptest::prelude::*;

use super::{BEFORE, KEYS, framed, hash, table, wire};
use crate::name::labels::Labels;
use crate::name::table::{find, suffixes};
use crate::name::{Here, Names, Walked};
use crate::packet::access::Frame;

fn walk_wire(message: &[u8]) -> (Walked, Labels) {
    let mut labels = Labels::default();
    let bytes = framed(message);
    let walked = labels.wire(&Frame::new(&bytes), &KEYS, BEFORE, bytes.len());
    (walked, labels)
}

/// Labels of a name of at most 255 bytes.
fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let letter = prop::sample::select(b"abcdefghijklmnopqrstuvwxyz0123456789-_@[`{\x00\xe4".as_slice());
    let label = prop::collection::vec(letter, 1..=63);
    let short = prop::collection::vec(prop::sample::select(b"ab".as_slice()), 1..=3);
    prop_oneof![prop::collection::vec(label, 1..=8), prop::collection::vec(short, 1..=127)]
        .prop_filter("at most 255 bytes", |labels| wire(labels).len() <= 255)
}

proptest! {
    #[test]
    fn both_forms_and_both_cases_are_one_name(name in names(), upper in any::<u64>()) {
        let text = name.join(&b'.');
        let mut changed = name.clone();
        for (place, byte) in changed.iter_mut().flatten().enumerate() {
            if upper >> (place % 64) & 1 == 1 {
                byte.make_ascii_uppercase();
            }
        }
        let mut read = wire(&changed);
        let length = read.len();
        read.extend([0, 1, 0, 1]);
        let (walked, labels) = walk_wire(&read);
        prop_assert_eq!(walked.end(), BEFORE + length);
        prop_assert_eq!(labels.count(), name.len());
        let bytes = framed(&text);
        let mut others = Labels::default();
        prop_assert!(!others.text(&Frame::new(&bytes), &KEYS, BEFORE, bytes.len()).is_fault());
        prop_assert!(suffixes(&KEYS, &labels).eq(suffixes(&KEYS, &others)));
    }

    #[test]
    fn other_names_have_other_hashes(one in names(), other in names()) {
        let last = |name: &[Vec<u8>]| suffixes(&KEYS, &walk_wire(&[wire(name), vec![0; 4]].concat()).1).last();
        prop_assert_eq!(one == other, last(&one) == last(&other));
    }

    #[test]
    fn any_bytes_are_read_as_the_plain_reader_does(bytes in prop::collection::vec(prop_oneof![0..5u8, any::<u8>()], 0..300)) {
        let (walked, labels) = walk_wire(&bytes);
        match plain(&bytes) {
            Some((count, length)) => {
                prop_assert_eq!(walked.end(), BEFORE + length);
                prop_assert_eq!(labels.count(), count);
            }
            None => prop_assert!(walked.is_fault()),
        }
    }
}

/// Labels and bytes of the name at the start; a type follows it.
fn plain(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut count) = (0, 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return (at <= 255 && at < bytes.len()).then_some((count, at));
        }
        if length > 63 || at > bytes.len() || at > 255 {
            return None;
        }
        count += 1;
    }
}

#[test]
fn labels_are_not_joined_or_moved() {
    for (one, other) in
        [("ab.c", "a.bc"), ("a.b", "b.a"), ("a.b", "ab"), ("abcdefgh.i", "abcdefghi"), ("a", "a\0"), ("aaaaaaaa", "aaaaaaaa\0")]
    {
        assert_ne!(hash(one), hash(other), "{one} {other}");
    }
    assert_eq!(hash("a.b."), hash("A.B"));
}

#[test]
fn what_is_no_name() {
    for text in ["", ".", "a..b", ".a", "a..", "aaaaaaaa..b"] {
        assert_eq!(hash(text), None, "{text:?}");
    }
    let long = ["a"; 127].join(".");
    assert!(hash(&long).is_some());
    assert!(hash(&format!("{long}.a")).is_none());
    // A pointer, and a label of 64 bytes.
    assert_eq!(walk_wire(&[0xc0, 12, 0, 1, 0, 1]).0, Walked::MALFORMED);
    assert_eq!(walk_wire(&[&[64], &[b'a'; 64][..], &[0, 0, 1, 0, 1]].concat()).0, Walked::MALFORMED);
    assert_eq!(walk_wire(&[3, b'a', b'b']).0, Walked::CUT);
}

#[test]
fn the_nearest_name_above_counts() {
    let table =
        table(&[("com", 0, 0, true), ("miui.com", 5, 6, true), ("rom.miui.com", 6, 6, true), ("connect.rom.miui.com", 7, 8, false)]);
    let deep = format!("{}.connect.rom.miui.com", ["a"; 100].join("."));
    for (name, row) in [
        ("miui.com", 5),
        ("MIUI.com", 5),
        ("x.miui.com", 6),
        ("rom.miui.com", 6),
        ("connect.rom.miui.com", 7),
        ("a.b.connect.rom.miui.com", 8),
        (&deep, 8),
        ("com", 0),
        ("xmiui.com", 0),
        ("miui.com.cn", 0),
        ("miui", 0),
    ] {
        let bytes = framed(name.as_bytes());
        let frame = Frame::new(&bytes);
        let mut labels = Labels::default();
        let mut names = Here { bytes: &frame, table: &table, labels: &mut labels };
        assert!(!names.text(BEFORE, bytes.len()).is_fault());
        assert_eq!(names.row(), row, "{name}");
        assert_eq!(find(&table, &labels), row);
    }
}
