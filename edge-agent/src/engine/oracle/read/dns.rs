//! Queries of the Domain Name System (RFC 1035 section 4.1).

use super::Reading;
use super::name::{Name, wire};

/// Questions of a packet that are read.
pub const QUESTIONS: usize = 4;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub name: Name,
    /// IANA, DNS RR types.
    pub kind: u16,
}

/// The questions of a message in a datagram.
pub fn over_udp(message: &[u8]) -> Reading<Vec<Question>> {
    let mut questions = Vec::new();
    match one(message, &mut questions) {
        Ok(0) => Reading::Nothing,
        Ok(_) => Reading::Found(questions),
        Err(stop) => stop,
    }
}

/// The questions of all messages in a segment, each behind its length (RFC 1035 section 4.2.2).
pub fn over_tcp(segment: &[u8]) -> Reading<Vec<Question>> {
    let mut questions = Vec::new();
    let mut rest = segment;
    loop {
        let Some((length, after)) = rest.split_first_chunk::<2>() else { return Reading::Incomplete };
        let Some((message, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return Reading::Incomplete };
        let alone = questions.is_empty() && after.is_empty();
        match one(message, &mut questions) {
            // A query without a question is a cookie's, and comes alone.
            Ok(0) => return if alone { Reading::Nothing } else { Reading::Malformed },
            Ok(_) if after.is_empty() => return Reading::Found(questions),
            Ok(_) => rest = after,
            Err(stop) => return stop,
        }
    }
}

/// Adds the questions of one message; says how many it has, or how the reading ends.
fn one(message: &[u8], questions: &mut Vec<Question>) -> Result<u16, Reading<Vec<Question>>> {
    let (header, mut rest) = message.split_first_chunk::<12>().ok_or(Reading::Malformed)?;
    if header[2] & 0x80 != 0 {
        return Err(Reading::Other);
    }
    let count = u16::from_be_bytes([header[4], header[5]]);
    for _ in 0..count {
        if questions.len() == QUESTIONS {
            return Err(Reading::TooLong);
        }
        let (name, after) = wire(rest).ok_or(Reading::Malformed)?;
        let (fixed, after) = after.split_first_chunk::<4>().ok_or(Reading::Malformed)?;
        questions.push(Question { name, kind: u16::from_be_bytes([fixed[0], fixed[1]]) });
        rest = after;
    }
    Ok(count)
}
