//! The User-Agent of an HTTP/1.x request (RFC 9110 section 10.1.5), in the request's first segment.

use crate::{
    name::{
        Span,
        hash::{before, bytes_of, first, fold},
    },
    packet::access::{Bytes, at_most_8, forget},
    turns::{Turn, take},
};

/// Steps over the header, of up to eight bytes each.
const STEPS: usize = 224;
/// The header's name: its first eight bytes, and the next three.
const NAME: u64 = u64::from_le_bytes(*b"user-age");
const REST: u64 = u64::from_le_bytes(*b"nt:\0\0\0\0\0");
const REST_MASK: u64 = 0x00ff_ffff;
const LENGTH: usize = 11;

/// Finds the value in the request from `start` to before `end`; empty: there is none, or no byte of one. It ends with the line, or where the segment does. There
/// are at least eight bytes before it.
#[inline(always)]
pub fn read(bytes: &impl Bytes, start: usize, end: usize) -> Span {
    let Some(view) = bytes.view::<8>(start) else { return Span::default() };
    let noise = view.text::<0>();
    let lines = Lines {
        bytes: *bytes,
        at: forget(start, noise),
        end: forget(end, noise.wrapping_add(1)),
        starts: forget(0, noise.wrapping_add(2)),
    };
    let (found, Lines { at, .. }) = take::<STEPS, _>(lines, 0, noise);
    if found == 0 {
        return Span::default();
    }
    let mut value = forget(at + LENGTH, noise);
    // One blank, as every client sends it.
    if let Some(blank) = bytes.view::<1>(value)
        && blank.u8::<0>() == b' '
    {
        value = forget(value + 1, noise.wrapping_add(1));
    }
    if value < end { Span::new(value, end) } else { Span::default() }
}

struct Lines<B> {
    bytes: B,
    at: usize,
    end: usize,
    /// Not 0: a line starts here.
    starts: usize,
}

impl<B: Bytes> Turn for Lines<B> {
    const FIRST: usize = 0;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, starts } = self;
        if *at >= *end {
            return Some(0);
        }
        let step = at_most_8(*end - *at);
        let shift = 32 - 4 * step;
        let Some(view) = bytes.view::<8>(*at + step - 8) else { return Some(0) };
        let word = (view.text::<0>() >> shift) >> shift;
        if *starts != 0 {
            if fold(word) == NAME
                && *at + LENGTH < *end
                && let Some(rest) = bytes.view::<8>(*at + LENGTH - 8)
                && fold(rest.text::<0>()) >> 40 == REST & REST_MASK
            {
                return Some(1);
            }
            let letter = word as u8;
            if letter == b'\r' || letter == b'\n' {
                return Some(0);
            }
        }
        let breaks = first::<b'\n'>(word);
        let found = usize::from(breaks != 0);
        *at += if breaks == 0 { step } else { bytes_of(before(breaks)) as usize + 1 };
        *at = forget(*at, word);
        *starts = forget(found, word);
        None
    }
}
