//! Answers of the Domain Name System (RFC 1035 section 4.1): which names they are about, and which addresses they give.

use std::net::IpAddr;

use super::name::{LONGEST, Name, wire};

/// Bytes of a message that is looked at.
const LONGEST_MESSAGE: usize = 4096;
const RECORDS: u16 = 64;
const ALIASES: usize = 16;
/// Addresses that are taken out of an answer.
const ADDRESSES: usize = 32;
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
    for _ in 0..records {
        let (fixed, behind) = behind_owner(rest)?.split_first_chunk::<10>()?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let time_to_live = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let (data, after) = behind.split_at_checked(usize::from(number(8)))?;
        let address = match (number(0), number(2)) {
            (CNAME, _) => {
                let (target, end) = compressed(message, message.len() - behind.len())?;
                // The name is all that there is.
                if end != message.len() - after.len() {
                    return None;
                }
                answer.names.push(target);
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
fn behind_owner(record: &[u8]) -> Option<&[u8]> {
    let mut rest = record;
    loop {
        let (length, after) = rest.split_first()?;
        rest = match length {
            0 => return Some(after),
            1..=63 => after.get(usize::from(*length)..)?,
            192.. => return after.get(1..),
            _ => return None,
        };
    }
}
