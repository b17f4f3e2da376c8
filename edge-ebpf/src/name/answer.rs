//! Answers of the Domain Name System (RFC 1035 section 4.1), for the addresses that they give.
//!
//! The walk over the records only finds places: of the names that the answer is about, which [`Labels::unpack`](super::labels::Labels::unpack)
//! reads where there is something to learn, and of the addresses. Owners of records are not compared with the names: every address of an
//! answer counts for every name in it.

use super::{Reading, Span};
use crate::{
    packet::{
        Address, Family,
        access::{Bytes, forget, if_less, if_zero, one, opaque},
    },
    turns::{Turn, take},
};

/// Bytes of the longest message that is read: what resolvers offer to take over UDP (RFC 6891 section 6.2.5).
pub const MAX_MESSAGE: usize = 4096;
/// Records that are walked.
pub const MAX_RECORDS: usize = 64;
/// Addresses of an answer that are learned.
pub const MAX_ADDRESSES: usize = 32;
/// CNAME records that are followed.
pub const MAX_TARGETS: usize = 16;
/// Records, and labels of their owners that are written out instead of pointed to, which resolvers hardly do.
pub const MAX_STEPS: usize = 327;
/// Labels of the question.
const MAX_LABELS: usize = super::labels::MAX_LABELS;

/// The question and as many targets as there may be records, rounded up to what a mask can bound.
const NAMES: usize = 2 * MAX_RECORDS;

const HEADER: usize = 12;
/// Of the flags: response, kind of query (opcode) and code of the outcome.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const CODE: u16 = 0x000f;
/// Type and class behind the question's name.
const FIXED: usize = 4;
/// Of a record, behind its owner: type, class, time to live, length of the data.
const RECORD: usize = 10;
/// Longest label; from the second on a first byte is a pointer's.
const MAX_LABEL: usize = 63;
const POINTER: usize = 0xc0;

/// Type, class IN, and the length of the data where the type has one.
const A: usize = 0x0001_0001_0004;
const AAAA: usize = 0x001c_0001_0010;
const CNAME: usize = 0x0005_0001;

/// Where an address lies.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    at: u16,
    /// 1: IPv6.
    wide: u16,
    /// Seconds, as the record says.
    ttl: u32,
}

/// What an answer is about.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Records with an address.
    addresses: u32,
    names: u32,
    /// Places of the question's name and of the targets of CNAME records.
    name_at: [u16; NAMES],
    places: [Place; MAX_RECORDS],
}

impl Default for Answer {
    fn default() -> Self {
        Self { addresses: 0, names: 0, name_at: [0; NAMES], places: [Place { at: 0, wide: 0, ttl: 0 }; MAX_RECORDS] }
    }
}

/// An address that an answer gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    pub family: Family,
    pub address: Address,
    /// Seconds, as the record says.
    pub ttl: u32,
}

impl Answer {
    /// How many names there are: the question's, and those that it is another name for. At most [`MAX_TARGETS`] + 1.
    #[inline(always)]
    pub const fn names(&self) -> usize {
        self.names as usize
    }

    /// Where a name lies, for [`Labels::unpack`](super::labels::Labels::unpack). The question's is 0.
    #[inline(always)]
    pub fn name(&self, index: usize) -> usize {
        usize::from(self.name_at[opaque(index) & (NAMES - 1)])
    }

    /// At most [`MAX_ADDRESSES`].
    #[inline(always)]
    pub const fn addresses(&self) -> usize {
        let there = self.addresses as usize;
        if there < MAX_ADDRESSES { there } else { MAX_ADDRESSES }
    }

    /// Addresses beyond [`MAX_ADDRESSES`], which are not learned.
    #[inline(always)]
    pub const fn left_out(&self) -> usize {
        self.addresses as usize - self.addresses()
    }

    /// An address out of the bytes that were walked; `index` is less than [`Self::addresses`].
    #[inline(always)]
    pub fn address(&self, bytes: &impl Bytes, index: usize) -> Option<Given> {
        let Place { at, wide, ttl } = self.places[opaque(index) & (MAX_RECORDS - 1)];
        let at = usize::from(at);
        if wide == 0 {
            let address = bytes.view::<4>(at)?;
            let address = Address { high: u64::from(address.u32::<0>()) << 32, low: 0 };
            return Some(Given { family: Family::V4, address, ttl });
        }
        let address = bytes.view::<16>(at)?;
        let address = Address { high: address.u64::<0>(), low: address.u64::<8>() };
        Some(Given { family: Family::V6, address, ttl })
    }
}

/// Walks the `message`, which begins below 2¹⁵ and has at least eight bytes before it.
///
/// [`Reading::Name`]: `answer` has addresses. [`Reading::NoName`]: it gives none. [`Reading::Other`]: no answer to learn from, being a
/// query, an error, or with other than one question. Names are not read yet, and may turn out not to be any.
#[inline(always)]
pub fn walk(bytes: &impl Bytes, message: Span, answer: &mut Answer) -> Reading {
    let (start, end) = (message.start as usize, message.end as usize);
    if start + HEADER > end {
        return Reading::Malformed;
    }
    if end - start > MAX_MESSAGE {
        return Reading::TooLong;
    }
    let Some(header) = bytes.view::<HEADER>(start) else { return Reading::Malformed };
    if header.u16::<2>() & (RESPONSE | OPCODE | CODE) != RESPONSE || header.u16::<4>() != 1 {
        return Reading::Other;
    }
    let records = usize::from(header.u16::<6>());
    if records == 0 {
        return Reading::NoName;
    }
    if records > MAX_RECORDS {
        return Reading::TooLong;
    }
    let Some(before) = bytes.view::<8>(start - 8) else { return Reading::Malformed };
    let noise = before.text::<0>();
    let question = start + HEADER;
    let behind = skip(bytes, question, noise);
    if behind == 0 {
        return Reading::Malformed;
    }
    answer.name_at[0] = question as u16;
    answers(bytes, behind + FIXED, end, records, noise, answer)
}

/// Behind the name at `at`, whose pointers are not followed. 0: it is none, or not all there.
#[inline(always)]
fn skip(bytes: &impl Bytes, at: usize, noise: u64) -> usize {
    take::<{ MAX_LABELS + 1 }, _>(Skip { bytes: *bytes, at: forget(at, noise), noise }, 0, noise).0
}

struct Skip<B> {
    bytes: B,
    at: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Skip<B> {
    const FIRST: usize = 8;
    const EACH: usize = 8;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, noise } = self;
        let Some(view) = bytes.view::<1>(*at) else { return Some(0) };
        let length = usize::from(view.u8::<0>());
        if length == 0 || length >= POINTER {
            return Some(*at + 1 + (length >> 7));
        }
        if length > MAX_LABEL {
            return Some(0);
        }
        *at = forget(*at + 1 + length, *noise);
        None
    }
}

#[inline(always)]
fn answers(bytes: &impl Bytes, at: usize, end: usize, records: usize, noise: u64, answer: &mut Answer) -> Reading {
    // Each with noise of its own: the verifier would take equal ones for one value, and states where they are not for others.
    let left = forget(records, noise.wrapping_add(1));
    let addresses = forget(0, noise.wrapping_add(2));
    let names = forget(1, noise.wrapping_add(3));
    let answers = Answers { bytes: *bytes, at: forget(at, noise), end, left, addresses, names, noise, answer };
    let (reading, Answers { addresses, names, answer, .. }) = take::<{ MAX_STEPS + 1 }, _>(answers, Reading::TooLong as usize, noise);
    if reading != Reading::Name as usize {
        return Reading::from_u32(reading as u32);
    }
    found(addresses, names, answer)
}

/// Each turn takes a label of a record's owner, or the rest of the owner and the record. What it is makes no branches, since the verifier
/// would follow each: a place is written in every turn, and counted where it is an address's or a name's.
struct Answers<'a, B> {
    bytes: B,
    at: usize,
    end: usize,
    /// Records to go.
    left: usize,
    addresses: usize,
    names: usize,
    noise: u64,
    answer: &'a mut Answer,
}

impl<B: Bytes> Turn for Answers<'_, B> {
    const FIRST: usize = 16;
    const EACH: usize = 8;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, left, addresses, names, noise, answer } = self;
        if *left == 0 {
            return Some(Reading::Name as usize);
        }
        let Some(view) = bytes.view::<1>(*at) else { return Some(Reading::Malformed as usize) };
        let length = usize::from(view.u8::<0>());
        if length > MAX_LABEL && length < POINTER {
            return Some(Reading::Malformed as usize);
        }
        let label = if_less(length.wrapping_sub(1) & 0xff, MAX_LABEL);
        // A pointer has a second byte.
        let data = *at + 1 + (length >> 7) + RECORD;
        // Behind a label as many bytes must follow.
        let Some(record) = bytes.view::<RECORD>(data - RECORD) else { return Some(Reading::Malformed as usize) };
        let size = usize::from(record.u16::<8>());
        *at = (*at + 1 + length) & label | (data + size) & !label;
        if *at > *end {
            return Some(Reading::Malformed as usize);
        }
        let kind = (u64::from(record.u32::<0>()) << 16 | size as u64) as usize;
        let [wide, narrow, target] = [kind ^ AAAA, kind ^ A, (kind >> 16) ^ CNAME].map(|differs| one(if_zero(differs) & !label));
        answer.places[opaque(*addresses) & (MAX_RECORDS - 1)] = Place { at: data as u16, wide: wide as u16, ttl: record.u32::<4>() };
        answer.name_at[opaque(*names) & (NAMES - 1)] = data as u16;
        *addresses = forget(*addresses + wide + narrow, noise.wrapping_add(2));
        *names = forget(*names + target, noise.wrapping_add(3));
        *left = forget(*left - one(!label), noise.wrapping_add(1));
        *at = forget(*at, *noise);
        None
    }
}

#[inline(always)]
fn found(addresses: usize, names: usize, answer: &mut Answer) -> Reading {
    if names > 1 + MAX_TARGETS {
        return Reading::TooLong;
    }
    answer.names = names as u32;
    answer.addresses = addresses as u32;
    if addresses == 0 { Reading::NoName } else { Reading::Name }
}
