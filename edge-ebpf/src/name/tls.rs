//! The server name that a TLS ClientHello asks for (RFC 8446 section 4.1.2, RFC 6066 section 3).
//!
//! A hello begins the connection's first record. It may be longer than a segment, and it may be cut into several records: [`locate`] says
//! which, [`join`] puts records together, and [`hello`] reads what is then in one piece.

use super::{Reading, Span};
use crate::{
    packet::access::{Bytes, at_most_8, forget, opaque},
    turns::{Turn, take},
};

/// Extensions that are read: of the longest hello in one segment of 1,460 bytes no client sends a third.
pub const MAX_EXTENSIONS: usize = 127;

/// Of a record: type, version, length.
const RECORD: usize = 5;
/// Of a handshake message: type, length in three bytes.
const MESSAGE: usize = 4;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// First byte of every version that has this form.
const VERSION: u8 = 3;
/// Longest plaintext (RFC 8446 section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// Extension types (IANA, TLS ExtensionType Values).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HOST_NAME: u8 = 0;

/// What begins with the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    NotAHello,
    /// A hello in one record, all there.
    Whole,
    /// A hello in several records: [`join`] them.
    Scattered,
    /// What there is of a hello goes on in later segments.
    Incomplete,
    Malformed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    pub opening: Opening,
    /// Of a whole hello: behind the message's header.
    pub body: Span,
    /// Of an incomplete one: bytes of the payload from its start until more can be said.
    pub wanted: u32,
}

impl Located {
    #[inline(always)]
    const fn as_is(opening: Opening) -> Self {
        Self { opening, body: Span { start: 0, end: 0 }, wanted: 0 }
    }
}

/// Finds out what lies from `start` to before `end`. There are at least eight bytes before it.
#[inline(always)]
pub fn locate(bytes: &impl Bytes, start: usize, end: usize) -> Located {
    if start >= end {
        return Located::as_is(Opening::NotAHello);
    }
    let Some(header) = bytes.view::<{ RECORD + MESSAGE }>(start) else { return short(bytes, start, end) };
    if start + RECORD + MESSAGE > end {
        return short(bytes, start, end);
    }
    if header.u8::<0>() != HANDSHAKE || header.u8::<1>() != VERSION || header.u8::<5>() != CLIENT_HELLO {
        return Located::as_is(Opening::NotAHello);
    }
    let record = usize::from(header.u16::<3>());
    if record == 0 || record > MAX_RECORD {
        return Located::as_is(Opening::Malformed);
    }
    let message = MESSAGE + (header.u32::<5>() & 0x00ff_ffff) as usize;
    if record < MESSAGE || record < message {
        return Located::as_is(Opening::Scattered);
    }
    let first = start + RECORD;
    let body = Span::new(first + MESSAGE, first + message);
    if first + message > end {
        return Located { opening: Opening::Incomplete, body, wanted: (RECORD + message) as u32 };
    }
    Located { opening: Opening::Whole, body, wanted: 0 }
}

/// A payload that ends before it tells: a hello's first bytes are incomplete, others are something else.
#[inline(always)]
fn short(bytes: &impl Bytes, start: usize, end: usize) -> Located {
    let length = end - start;
    // Longer than a header, and yet there is none: the frame is shorter than its headers say.
    if length >= RECORD + MESSAGE {
        return Located::as_is(Opening::Malformed);
    }
    let length = at_most_8(length);
    let Some(view) = bytes.view::<8>(start + length - 8) else { return Located::as_is(Opening::Malformed) };
    let shift = 32 - 4 * length;
    let word = (view.text::<0>() >> shift) >> shift;
    // Type and version of the record, type of the message.
    let known = 0x0000_ff00_0000_ffff & !u64::MAX.unbounded_shl(8 * length as u32);
    let expected = u64::from(HANDSHAKE) | u64::from(VERSION) << 8 | u64::from(CLIENT_HELLO) << 40;
    if (word ^ expected) & known != 0 {
        return Located::as_is(Opening::NotAHello);
    }
    Located { opening: Opening::Incomplete, body: Span::default(), wanted: (RECORD + MESSAGE) as u32 }
}

/// Records that a hello may be cut into.
pub const MAX_RECORDS: usize = 32;
/// Bytes of a hello out of its records: a page's, less the eight that are read before a name.
pub const MAX_JOINED: usize = 4088;

/// Where a message is put together.
pub trait Joiner {
    /// Copies `length` bytes from `at` on behind the first `to` bytes of the message. At most [`MAX_JOINED`] are there then.
    fn copy(&mut self, at: usize, length: usize, to: usize);
    /// The message's first four bytes, as a big-endian number.
    fn header(&self) -> u32;
}

/// From bytes in memory to others.
pub struct Copied<'a> {
    pub from: &'a [u8],
    /// At least [`MAX_JOINED`] bytes.
    pub to: &'a mut [u8],
}

impl Joiner for Copied<'_> {
    fn copy(&mut self, at: usize, length: usize, to: usize) {
        if let (Some(from), Some(to)) = (self.from.get(at..at + length), self.to.get_mut(to..to + length)) {
            to.copy_from_slice(from);
        }
    }
    fn header(&self) -> u32 {
        self.to.first_chunk().map_or(0, |header| u32::from_be_bytes(*header))
    }
}

/// A handshake message out of its records.
pub struct Joined {
    pub reading: Reading,
    /// With the message's header.
    pub length: usize,
    /// Of an incomplete one: bytes of the payload from its start until more can be said.
    pub wanted: u32,
}

/// Puts the message together that the records from `start` to before `end` hold. [`Reading::Name`]: it is all there.
#[inline(always)]
pub fn join(bytes: &impl Bytes, start: usize, end: usize, joiner: &mut impl Joiner) -> Joined {
    let stop = |reading, length| Joined { reading, length, wanted: 0 };
    let mut at = start;
    let mut have = 0;
    for _ in 0..MAX_RECORDS + 1 {
        if have >= MESSAGE {
            let message = MESSAGE + (joiner.header() & 0x00ff_ffff) as usize;
            if have >= message {
                return stop(Reading::Name, message);
            }
        }
        let header = if at + RECORD > end { None } else { bytes.view::<RECORD>(at) };
        let Some(header) = header else {
            return Joined { reading: Reading::Incomplete, length: have, wanted: (at + RECORD - start) as u32 };
        };
        let length = usize::from(header.u16::<3>());
        if header.u8::<0>() != HANDSHAKE || header.u8::<1>() != VERSION || length == 0 || length > MAX_RECORD {
            return stop(Reading::Malformed, have);
        }
        if have + length > MAX_JOINED {
            return stop(Reading::TooLong, have);
        }
        let next = at + RECORD + length;
        if next > end {
            return Joined { reading: Reading::Incomplete, length: have, wanted: (next - start) as u32 };
        }
        joiner.copy(at + RECORD, length, have);
        let noise = u64::from(header.u32::<0>());
        have = forget(have + length, noise);
        at = forget(next, noise);
    }
    stop(Reading::TooLong, have)
}

/// What a hello says.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hello {
    pub name: Span,
    /// The list of protocols, each behind its length (RFC 7301).
    pub alpn: Span,
    /// Not 0: the name may be that of a front, and the true one encrypted (RFC 9849).
    pub ech: u32,
}

impl Hello {
    /// Of zeros that it knows the compiler makes a call in the kernel, which takes them byte by byte.
    #[inline(always)]
    fn none() -> Self {
        let none = opaque(0) as u32;
        let nowhere = Span { start: none, end: none };
        Self { name: nowhere, alpn: nowhere, ech: none }
    }
}

/// Reads a hello's body, from behind the message's header at `start` to before `end`. `hello` is complete where this says
/// [`Reading::Name`] or [`Reading::NoName`].
#[inline(always)]
pub fn hello(bytes: &impl Bytes, start: usize, end: usize, hello: &mut Hello) -> Reading {
    *hello = Hello::none();
    // Version, random, length of the session ID.
    let Some(fixed) = bytes.view::<35>(start) else { return Reading::Malformed };
    let random = [fixed.u64::<2>(), fixed.u64::<10>(), fixed.u64::<18>()];
    let [noise, _, _] = random;
    let mut at = forget(start + 35 + usize::from(fixed.u8::<34>()), noise);
    if at + 2 > end {
        return Reading::Malformed;
    }
    let Some(ciphers) = bytes.view::<2>(at) else { return Reading::Malformed };
    at = forget(at + 2 + usize::from(ciphers.u16::<0>()), noise);
    if at >= end {
        return Reading::Malformed;
    }
    let Some(compressions) = bytes.view::<1>(at) else { return Reading::Malformed };
    at = forget(at + 1 + usize::from(compressions.u8::<0>()), noise);
    if at == end {
        // Before TLS 1.3 a hello needed no extensions.
        return Reading::NoName;
    }
    if at + 2 > end {
        return Reading::Malformed;
    }
    let Some(length) = bytes.view::<2>(at) else { return Reading::Malformed };
    at = forget(at + 2, noise);
    if at + usize::from(length.u16::<0>()) != end {
        return Reading::Malformed;
    }
    extensions(bytes, at, end, random, hello)
}

/// `random` is a part of the hello's. Places are kept in the turns, what they hold is read after them.
#[inline(always)]
fn extensions(bytes: &impl Bytes, start: usize, end: usize, random: [u64; 3], hello: &mut Hello) -> Reading {
    let [noise, ..] = random;
    // Each with noise of its own: the verifier would take equal ones for one value, and states where they are not for others.
    let [name, alpn, ech] = random.map(|noise| forget(0, noise));
    // One turn more than there are extensions, which finds the end.
    let extensions = Extensions { bytes: *bytes, at: start, end, name, alpn, ech, noise };
    let (reading, Extensions { name, alpn, ech, .. }) = take::<{ MAX_EXTENSIONS + 1 }, _>(extensions, Reading::TooLong as usize, noise);
    if reading != Reading::Name as usize {
        return Reading::from_u32(reading as u32);
    }
    hello.ech = ech as u32;
    if alpn != 0 {
        let Some(list) = bytes.view::<6>(alpn) else { return Reading::Malformed };
        let length = usize::from(list.u16::<4>());
        if usize::from(list.u16::<2>()) != length + 2 {
            return Reading::Malformed;
        }
        hello.alpn = Span::new(alpn + 6, alpn + 6 + length);
    }
    if name == 0 { Reading::NoName } else { server_name(bytes, name, hello) }
}

struct Extensions<B> {
    bytes: B,
    at: usize,
    end: usize,
    /// Where they are; 0: none yet.
    name: usize,
    alpn: usize,
    /// Not 0: there is one.
    ech: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Extensions<B> {
    const FIRST: usize = 20;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, name, alpn, ech, noise } = self;
        if *at == *end {
            return Some(Reading::Name as usize);
        }
        if *at + 4 > *end {
            return Some(Reading::Malformed as usize);
        }
        let Some(header) = bytes.view::<4>(*at) else { return Some(Reading::Malformed as usize) };
        let kind = header.u16::<0>();
        let next = *at + 4 + usize::from(header.u16::<2>());
        if next > *end {
            return Some(Reading::Malformed as usize);
        }
        // A type that is there twice is an error (RFC 8446 section 4.2), and servers differ in which one they take.
        if kind == SERVER_NAME {
            if *name != 0 {
                return Some(Reading::Malformed as usize);
            }
            *name = forget(*at, *noise);
        }
        if kind == ALPN {
            *alpn = forget(*at, *noise);
        }
        if kind == ENCRYPTED_CLIENT_HELLO {
            *ech = forget(1, *noise);
        }
        *at = forget(next, *noise);
        None
    }
}

/// The extension at `at`: a list of one name, of the one type that there is.
#[inline(always)]
fn server_name(bytes: &impl Bytes, at: usize, hello: &mut Hello) -> Reading {
    let Some(list) = bytes.view::<9>(at) else { return Reading::Malformed };
    let length = usize::from(list.u16::<7>());
    let right = usize::from(list.u16::<2>()) == length + 5 && usize::from(list.u16::<4>()) == length + 3;
    if !right || list.u8::<6>() != HOST_NAME || length == 0 {
        return Reading::Malformed;
    }
    hello.name = Span::new(at + 9, at + 9 + length);
    Reading::Name
}
