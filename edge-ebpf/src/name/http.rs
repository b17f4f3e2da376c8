//! The host that an HTTP/1.x request is for (RFC 9112 section 3, RFC 9110 section 7.2), in the request's first segment.
//!
//! Of several Host headers, which servers must refuse, the first one counts.

use super::{
    Reading, Span,
    hash::{before, bytes_of, first, first_below, fold},
};
use crate::{
    packet::access::{Bytes, at_most_8, forget},
    turns::{Turn, take},
};

/// Steps over the header, of up to eight bytes each: a segment of 1,460 with lines as long as clients send them.
const STEPS: usize = 224;
/// Steps over a host's name.
const HOST_STEPS: usize = 32;
/// Blanks before a header's value.
const BLANKS: usize = 8;

/// A method with the blank behind it, as far as eight bytes go; and which of them they are.
struct Method {
    word: u64,
    mask: u64,
    length: usize,
}

const fn method(text: &str) -> Method {
    let bytes = text.as_bytes();
    let (mut word, mut mask, mut place) = (0, 0, 0);
    while place < bytes.len() && place < 8 {
        word |= (bytes[place] as u64) << (8 * place);
        mask |= 0xff << (8 * place);
        place += 1;
    }
    Method { word, mask, length: bytes.len() }
}

/// RFC 9110 section 9, RFC 5789, and what is used most of WebDAV (RFC 4918, RFC 3253).
const METHODS: [Method; 15] = [
    method("GET "),
    method("POST "),
    method("HEAD "),
    method("PUT "),
    method("OPTIONS "),
    method("DELETE "),
    method("PATCH "),
    method("TRACE "),
    method("PROPFIND "),
    method("PROPPATCH "),
    method("MKCOL "),
    method("LOCK "),
    method("UNLOCK "),
    method("REPORT "),
    CONNECT,
];
const CONNECT: Method = method("CONNECT ");

const HTTP: Method = method("http://");
const HOST: Method = method("host:");
const VERSION: Method = method("HTTP/1.");

/// Up to eight bytes from `at` to before `end`, the first one lowest and zeros above; and how many. There are at least eight bytes before.
#[inline(always)]
fn read(bytes: &impl Bytes, at: usize, end: usize) -> Option<(u64, usize)> {
    let step = at_most_8(end - at);
    let shift = 32 - 4 * step;
    Some(((bytes.view::<8>(at + step - 8)?.text::<0>() >> shift) >> shift, step))
}

/// Reads what lies from `start` to before `end`. With [`Reading::Name`], `host` is where the name lies, without the port.
#[inline(always)]
pub fn request(bytes: &impl Bytes, start: usize, end: usize, host: &mut Span) -> Reading {
    *host = Span::default();
    if start >= end {
        return Reading::Other;
    }
    let Some((word, step)) = read(bytes, start, end) else { return Reading::Malformed };
    let there = u64::MAX.unbounded_shr(64 - 8 * step as u32);
    let length = forget(method_length(word, there), word);
    let connects = (word ^ CONNECT.word) & CONNECT.mask & there == 0;
    if length == 0 {
        return Reading::Other;
    }
    let end = forget(end, word);
    let target = forget(start + length, word);
    if target >= end {
        return Reading::Incomplete;
    }
    // One way for all forms from here on: the verifier would follow each by itself.
    let mut value = target;
    if !connects {
        let Some((word, _)) = read(bytes, target, end) else { return Reading::Malformed };
        if (fold(word) ^ HTTP.word) & HTTP.mask == 0 {
            // It overrides the header (RFC 9112 section 3.2.2).
            value = target + HTTP.length;
        } else {
            let place = header(bytes, target, end, word);
            if place.reading as u32 != Reading::Name as u32 {
                return place.reading;
            }
            value = place.at;
        }
    }
    authority(bytes, forget(value, word), end, word, host)
}

/// Of the method that `word` begins with, as far as it is `there`, with the blank behind it. 0: none that is known.
#[inline(always)]
fn method_length(word: u64, there: u64) -> usize {
    for Method { word: text, mask, length } in &METHODS {
        if (word ^ text) & mask & there == 0 {
            return *length;
        }
    }
    0
}

struct Place {
    reading: Reading,
    at: usize,
}

impl Place {
    #[inline(always)]
    const fn none(reading: Reading) -> Self {
        Self { reading, at: 0 }
    }
}

/// Where the value of the Host header begins, blanks left out.
#[inline(always)]
fn header(bytes: &impl Bytes, target: usize, end: usize, noise: u64) -> Place {
    let (lines, starts) = (forget(0, noise.wrapping_add(1)), forget(0, noise.wrapping_add(2)));
    let lines = Lines { bytes: *bytes, at: target, end, lines, starts };
    let (reading, Lines { at, .. }) = take::<STEPS, _>(lines, Reading::TooLong as usize, noise);
    if reading != Reading::Name as usize {
        return Place::none(Reading::from_u32(reading as u32));
    }
    blanks(bytes, forget(at + HOST.length, noise), end)
}

/// Lines up to the Host header.
struct Lines<B> {
    bytes: B,
    at: usize,
    end: usize,
    /// Not 0: the first line's end, with the version before it, was seen.
    lines: usize,
    /// Not 0: a line starts here.
    starts: usize,
}

impl<B: Bytes> Turn for Lines<B> {
    const FIRST: usize = 48;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, lines, starts } = self;
        if *at >= *end {
            return Some(Reading::Incomplete as usize);
        }
        let Some((word, step)) = read(bytes, *at, *end) else { return Some(Reading::Malformed as usize) };
        if *starts != 0 {
            if (fold(word) ^ HOST.word) & HOST.mask == 0 {
                return Some(Reading::Name as usize);
            }
            let letter = word as u8;
            if letter == b'\r' || letter == b'\n' {
                return Some(Reading::NoName as usize);
            }
        }
        let breaks = first::<b'\n'>(word);
        if breaks == 0 {
            *at += step;
            *starts = 0;
        } else {
            *at += bytes_of(before(breaks)) as usize + 1;
            if *lines == 0 {
                // "HTTP/1.1" and the line's end, which may lack the carriage return (RFC 9112 section 2.2).
                let Some(line) = bytes.view::<10>(*at - 10) else { return Some(Reading::Malformed as usize) };
                let differs = (line.text::<0>() ^ VERSION.word) & VERSION.mask != 0;
                if differs && (line.text::<1>() ^ VERSION.word) & VERSION.mask != 0 {
                    return Some(Reading::Other as usize);
                }
                *lines = 1;
            }
            *starts = 1;
        }
        *at = forget(*at, word);
        *lines = forget(*lines, word);
        *starts = forget(*starts, word);
        None
    }
}

#[inline(always)]
fn blanks(bytes: &impl Bytes, value: usize, end: usize) -> Place {
    let mut at = value;
    for _ in 0..BLANKS + 1 {
        if at >= end {
            return Place { reading: Reading::Incomplete, at };
        }
        let Some((word, _)) = read(bytes, at, end) else { return Place { reading: Reading::Malformed, at } };
        let letter = word as u8;
        if letter != b' ' && letter != b'\t' {
            return Place { reading: Reading::Name, at };
        }
        at = forget(at + 1, word);
    }
    Place { reading: Reading::TooLong, at }
}

/// A host with or without a port. An address in brackets is no name.
#[inline(always)]
fn authority(bytes: &impl Bytes, start: usize, end: usize, noise: u64, host: &mut Span) -> Reading {
    let (reading, Authority { at, .. }) =
        take::<HOST_STEPS, _>(Authority { bytes: *bytes, start, at: start, end }, Reading::TooLong as usize, noise);
    if reading == Reading::Name as usize {
        *host = Span::new(start, at);
    }
    Reading::from_u32(reading as u32)
}

struct Authority<B> {
    bytes: B,
    start: usize,
    at: usize,
    end: usize,
}

impl<B: Bytes> Turn for Authority<B> {
    const FIRST: usize = 4;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, start, at, end } = self;
        if *at >= *end {
            return Some(Reading::Incomplete as usize);
        }
        let Some((word, step)) = read(bytes, *at, *end) else { return Some(Reading::Malformed as usize) };
        // What may follow a host: a port, a path, a query, a blank, the line's end. A user before it ("@") is none of HTTP's.
        let stops = first_below::<0x21>(word) | first::<b':'>(word) | first::<b'/'>(word) | first::<b'?'>(word) | first::<b'#'>(word);
        let odd = first::<b'@'>(word) | first::<b'['>(word);
        let length = if stops == 0 { 8 } else { bytes_of(before(stops)) as usize };
        if odd != 0 && bytes_of(before(odd)) < length as u64 {
            let bracket = *at == *start && word as u8 == b'[';
            return Some(if bracket { Reading::NoName as usize } else { Reading::Malformed as usize });
        }
        *at += length;
        if stops != 0 {
            // Zeros behind the last byte stop, too.
            let reading = if length >= step {
                Reading::Incomplete
            } else if *at == *start {
                Reading::NoName
            } else {
                Reading::Name
            };
            return Some(reading as usize);
        }
        *at = forget(*at, word);
        None
    }
}
