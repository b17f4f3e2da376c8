//! Queries of the Domain Name System (RFC 1035 section 4.1), over UDP and over TCP (RFC 7766), where they are in one segment.
//!
//! What follows the questions, such as EDNS (RFC 6891), names nothing and is not read.

use super::{Names, Reading, Span};
use crate::packet::access::{Bytes, forget};

/// Questions that are read, of all queries in a packet: more than one in a query is an error since RFC 9619, and resolvers refuse it.
pub const MAX_QUESTIONS: usize = 4;

const HEADER: usize = 12;
/// In the flags: this is a response.
const RESPONSE: u16 = 0x8000;
/// Type and class behind a name.
const FIXED: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    /// Queries come one after the other, each behind its length in two bytes.
    Tcp,
}

/// What was asked.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Questions {
    /// How many were read, whatever became of the next one.
    pub count: u32,
    /// From the first question's name to behind its class.
    pub first: Span,
    /// Offset of the first query's header.
    pub header: u32,
    /// Behind the last question that was read.
    pub behind: u32,
    /// Row of each question's name.
    pub rows: [u32; MAX_QUESTIONS],
    /// Type of each question (IANA, DNS RR types).
    pub types: [u16; MAX_QUESTIONS],
}

impl Questions {
    /// Type of a question for addresses and keys of a service, which may carry ECH's keys (RFC 9460).
    pub const HTTPS: u16 = 65;
    pub const SVCB: u16 = 64;
}

/// Reads the questions of what lies from `start` to before `end`. [`Reading::Other`]: it is a response.
///
/// All questions are in `questions` only where this says [`Reading::Name`].
#[inline(always)]
pub fn query(
    bytes: &impl Bytes,
    names: &mut impl Names,
    transport: Transport,
    start: usize,
    end: usize,
    questions: &mut Questions,
) -> Reading {
    questions.count = 0;
    let cut = match transport {
        Transport::Udp => Reading::Malformed,
        Transport::Tcp => Reading::Incomplete,
    };
    let mut at = start;
    let mut message_end = end;
    // Questions of this message that are left.
    let mut left = 0;
    // One turn more than there are questions, which finds the end.
    for turn in 0..=MAX_QUESTIONS {
        if left == 0 {
            if turn > 0 {
                match transport {
                    Transport::Udp => return Reading::Name,
                    Transport::Tcp if message_end == end => return Reading::Name,
                    Transport::Tcp => at = message_end,
                }
            }
            if matches!(transport, Transport::Tcp) {
                if at + 2 > end {
                    return cut;
                }
                let Some(length) = bytes.view::<2>(at) else { return cut };
                let length = usize::from(length.u16::<0>());
                at += 2;
                message_end = at + length;
                if message_end > end {
                    return cut;
                }
            }
            if at + HEADER > message_end {
                return Reading::Malformed;
            }
            let Some(header) = bytes.view::<HEADER>(at) else { return Reading::Malformed };
            if header.u16::<2>() & RESPONSE != 0 {
                return Reading::Other;
            }
            left = header.u16::<4>();
            if left == 0 {
                // Behind a query that named something this cannot be right; alone it may be a cookie's (RFC 7873 section 5.4).
                return if turn == 0 && message_end == end { Reading::NoName } else { Reading::Malformed };
            }
            if turn == 0 {
                questions.header = at as u32;
            }
            at += HEADER;
        }
        if turn == MAX_QUESTIONS {
            return Reading::TooLong;
        }
        let walked = names.wire(at, message_end);
        if walked.is_fault() {
            return Reading::Malformed;
        }
        let behind = walked.end() + FIXED;
        if behind > message_end {
            return Reading::Malformed;
        }
        let Some(fixed) = bytes.view::<FIXED>(walked.end()) else { return Reading::Malformed };
        if turn == 0 {
            questions.first = Span::new(at, behind);
        }
        questions.behind = behind as u32;
        questions.types[turn] = fixed.u16::<0>();
        questions.rows[turn] = names.row();
        questions.count = turn as u32 + 1;
        at = forget(behind, u64::from(fixed.u32::<0>()));
        left -= 1;
    }
    Reading::TooLong
}
