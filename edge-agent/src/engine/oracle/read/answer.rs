//! Answers of the Domain Name System (RFC 1035 section 4.1): which names they are about, and which addresses they give.

use std::net::IpAddr;

use super::name::{LONGEST, Name, wire};

/// Bytes of a message that is looked at.
const LONGEST_MESSAGE: usize = 4096;
const RECORDS: u16 = 64;
const ALIASES: usize = 16;
/// Addresses that are taken out of an answer.
const ADDRESSES: usize = 32;
/// Records, and labels of their owners that are written out.
const STEPS: usize = 320;
/// Compression pointers in one name.
const POINTERS: usize = 16;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What was asked for, and then what it is an alias of.
    pub names: Vec<Name>,
    /// With their time to live in seconds.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// `None`: it is no answer that is wholly understood.
pub fn read(message: &[u8]) -> Option<Answer> {
    let (header, _) = message.split_first_chunk::<12>()?;
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (flags, questions, records) = (count(2), count(4), count(6));
    // Response, opcode 0, code 0.
    if message.len() > LONGEST_MESSAGE || flags & 0xf80f != 0x8000 || questions != 1 || records > RECORDS {
        return None;
    }
    let (name, at) = compressed(message, 12)?;
    let mut answer = Answer { names: vec![name], addresses: Vec::new() };
    let mut rest = message.get(at + 4..)?;
    let mut steps = 0;
    for _ in 0..records {
        steps += 1;
        let (fixed, behind) = behind_owner(rest, &mut steps)?.split_first_chunk::<10>()?;
        if steps > STEPS {
            return None;
        }
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let time_to_live = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let (data, after) = behind.split_at_checked(usize::from(number(8)))?;
        let address = match (number(0), number(2)) {
            (CNAME, IN) => {
                answer.names.push(compressed(message, message.len() - behind.len())?.0);
                None
            }
            (A, IN) => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            (AAAA, IN) => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => None,
        };
        answer.addresses.extend(address.filter(|_| answer.addresses.len() < ADDRESSES).map(|address| (address, time_to_live)));
        rest = after;
    }
    (answer.names.len() <= 1 + ALIASES).then_some(answer)
}

/// The name at `start`, wherever its parts are, and where it ends there.
fn compressed(message: &[u8], start: usize) -> Option<(Name, usize)> {
    let mut spelled = Vec::new();
    let mut at = start;
    // Behind the first pointer.
    let mut end = None;
    let mut pointers = 0;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => {
                spelled.push(0);
                return Some((wire(&spelled)?.0, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                spelled.extend(message.get(at..=at + length)?);
                at += 1 + length;
            }
            192.. => {
                let place = (length & 63) << 8 | usize::from(*message.get(at + 1)?);
                pointers += 1;
                if place >= at || pointers > POINTERS {
                    return None;
                }
                end = end.or(Some(at + 2));
                at = place;
            }
            _ => return None,
        }
        if spelled.len() > LONGEST {
            return None;
        }
    }
}

/// What follows the name that a record begins with. Whose record it is does not matter, so pointers are not followed.
fn behind_owner<'a>(record: &'a [u8], steps: &mut usize) -> Option<&'a [u8]> {
    let mut rest = record;
    loop {
        let (length, after) = rest.split_first()?;
        rest = match length {
            0 => return Some(after),
            1..=63 => {
                *steps += 1;
                after.get(usize::from(*length)..)?
            }
            192.. => return after.get(1..),
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::engine::message;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
    const ADDRESS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));

    fn answer(aliases: usize, addresses: Vec<IpAddr>) -> Vec<u8> {
        message::Answer { name: "Miui.com", aliases: vec!["a.b"; aliases], addresses, time_to_live: 60, code: 0 }.build()
    }

    fn name(text: &str) -> Name {
        text.split('.').map(|label| label.as_bytes().to_vec()).collect()
    }

    /// A record for the question's name, and how many there are then.
    fn record(message: &mut Vec<u8>, kind: u16, class: u16, data: &[u8]) {
        message[7] += 1;
        message.extend([0xc00c, kind, class, 0, 60, data.len() as u16].into_iter().flat_map(u16::to_be_bytes));
        message.extend(data);
    }

    #[test]
    fn names_and_addresses_of_an_answer() {
        let Answer { names, addresses } = read(&answer(2, vec![ADDRESS, ADDRESS6])).expect("an answer");
        assert_eq!(names, [name("miui.com"), name("a.b"), name("a.b")]);
        assert_eq!(addresses, [(ADDRESS, 60), (ADDRESS6, 60)]);
    }

    #[test]
    fn what_is_no_answer_without_error_to_one_question() {
        let right = answer(0, vec![ADDRESS]);
        // Query, another opcode, an error, two questions, none.
        for (place, value) in [(2, 0x01), (2, 0x89), (3, 0x83), (5, 2), (5, 0)] {
            let mut wrong = right.clone();
            wrong[place] = value;
            assert_eq!(read(&wrong), None, "{place}");
        }
        for end in 0..right.len() {
            assert_eq!(read(&right[..end]), None, "cut to {end}");
        }
        assert!(read(&[&right[..], &[0; 9]].concat()).is_some(), "what follows the answers is not read");
    }

    #[test]
    fn more_than_is_read_teaches_nothing() {
        assert_eq!(read(&answer(ALIASES, vec![ADDRESS])).map(|answer| answer.names.len()), Some(1 + ALIASES));
        assert_eq!(read(&answer(ALIASES + 1, vec![ADDRESS])), None);
        assert_eq!(read(&answer(0, vec![ADDRESS; 64])).map(|answer| answer.addresses.len()), Some(ADDRESSES));
        assert_eq!(read(&answer(0, vec![ADDRESS; 65])), None);
        let padded = |length: usize| {
            let mut message = answer(0, vec![ADDRESS]);
            message.resize(length, 0);
            read(&message)
        };
        assert!(padded(LONGEST_MESSAGE).is_some() && padded(LONGEST_MESSAGE + 1).is_none());
    }

    #[test]
    fn records_of_other_classes_and_lengths_are_passed_over() {
        let mut message = answer(0, vec![ADDRESS]);
        record(&mut message, A, 3, &[1, 2, 3, 4]);
        record(&mut message, A, IN, &[1, 2, 3]);
        record(&mut message, AAAA, IN, &[1, 2, 3, 4]);
        record(&mut message, 46, IN, &[0; 40]);
        assert_eq!(read(&message).map(|answer| answer.addresses), Some(vec![(ADDRESS, 60)]));
    }

    #[test]
    fn pointers_lead_back() {
        let target = |data: &[u8]| {
            let mut message = answer(0, Vec::new());
            record(&mut message, CNAME, IN, data);
            read(&message).map(|answer| answer.names[1].clone())
        };
        // The question is at 12, its last label at 17; the record's data are at 38.
        assert_eq!(target(&[1, b'X', 0xc0, 12]), Some(name("x.miui.com")));
        assert_eq!(target(&[0xc0, 17]), Some(name("com")));
        assert_eq!(target(&[0]), Some(Name::new()));
        assert_eq!(target(&[1, b'x', 0xc0, 40]), None, "to itself");
        assert_eq!(target(&[1, b'x', 0xc0, 38]), None, "in a circle");
        assert_eq!(target(&[0xc0, 42]), None, "forward");
        assert_eq!(target(&[0x40, 0]), None, "no kind of label");
        assert_eq!(target(&[0xc0, 12, 0]), Some(name("miui.com")), "what follows a name does not matter");
        // One pointer after the other, each to the one before.
        let chain = |count: u8| {
            let mut message = answer(0, Vec::new());
            let first = message.len() + 12;
            let data: Vec<u8> = (0..count).flat_map(|index| [0xc0, if index == 0 { 12 } else { first as u8 + 2 * (index - 1) }]).collect();
            record(&mut message, 16, IN, &data);
            let last = first as u8 + 2 * (count - 1);
            record(&mut message, CNAME, IN, &[0xc0, last]);
            read(&message).map(|answer| answer.names[1].clone())
        };
        assert_eq!(chain(15), Some(name("miui.com")));
        assert_eq!(chain(16), None);
    }
}
