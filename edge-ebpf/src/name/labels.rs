//! A name's labels, each hashed, out of the two forms that packets carry: length-prefixed in DNS (RFC 1035 section 3.1), text with dots in
//! TLS and HTTP. Both give the same hashes for the same name.
//!
//! Each turn of a loop takes up to eight bytes of one label, so a name of 255 bytes takes at most 128 turns, however it is cut. What a turn
//! leaves behind is forgotten for the verifier, to which all turns then look alike.

use super::{
    Span, Walked,
    hash::{Hash, Seeds, before, bytes_of, first},
};
use crate::{
    packet::access::{Bytes, HeldMut, at_most_8, forget, if_less, if_zero, one, opaque},
    turns::{Turn, take},
};

/// Labels of the longest name: one byte each, and its length.
pub const MAX_LABELS: usize = 127;
/// Bytes of the longest name in DNS, with the lengths of its labels and the root's.
pub const MAX_NAME: usize = 255;
/// Labels, rounded up to what a mask can bound.
const PLACES: usize = 128;
/// Compression pointers that are followed in a name.
pub const MAX_POINTERS: usize = 16;
/// Bytes of a buffer for a name without them; half of them are used, see [`HeldMut`].
pub const UNPACKED: usize = 512;
const MAX_LABEL: usize = 63;
/// The first byte of a pointer, and the bits of the two that are its target (RFC 1035 section 4.1.4).
const POINTER: usize = 0xc0;
const TARGET: usize = 0x3fff;

/// Hashes of a name's labels, the first label first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    count: u64,
    hashes: [Hash; PLACES],
}

impl Default for Labels {
    fn default() -> Self {
        Self { count: 0, hashes: [Hash { tag: 0, place: 0 }; PLACES] }
    }
}

impl Labels {
    /// How many there are; none in the root.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// `index` is less than [`Self::count`].
    #[inline(always)]
    pub(super) fn hash(&self, index: usize) -> Hash {
        self.hashes[opaque(index) & (PLACES - 1)]
    }

    #[inline(always)]
    fn set(&mut self, index: usize, hash: Hash) {
        self.hashes[opaque(index) & (PLACES - 1)] = hash;
    }

    /// Reads the DNS name at `at`, which must end before `end`. There are at least eight bytes before it.
    #[inline(always)]
    pub fn wire(&mut self, bytes: &impl Bytes, seeds: &impl Seeds, at: usize, end: usize) -> Walked {
        let Some(view) = bytes.view::<8>(at - 8) else { return Walked::CUT };
        let noise = view.text::<0>();
        let limit = at + MAX_NAME;
        let wire = Wire { walk: Walk::new(seeds, at, noise), labels: self, bytes: *bytes, seeds };
        let (walked, _) = take::<PLACES, _>(wire, MALFORMED, noise);
        if walked <= MALFORMED {
            Walked(walked as u64)
        } else if walked > end {
            Walked::CUT
        } else if walked > limit {
            Walked::MALFORMED
        } else {
            Walked(walked as u64)
        }
    }

    /// Reads the name at `at` in the DNS `message`, where compression pointers may stand in it, each to an earlier place than its own. `out`
    /// gets it as [`Self::wire`] would read it, without pointers and in its own case. Returns how many bytes of `out` that are; 0: it is no
    /// name. There are at least eight bytes before the message.
    #[inline(always)]
    pub fn unpack(&mut self, bytes: &impl Bytes, seeds: &impl Seeds, message: Span, at: usize, out: &mut [u8; UNPACKED]) -> usize {
        let (start, end) = (message.start as usize, message.end as usize);
        let out = HeldMut::new(out);
        let Some(view) = bytes.view::<8>(start - 8) else { return 0 };
        let noise = view.text::<0>();
        let walk = Walk::new(seeds, at, noise);
        let (have, pointers) = (forget(0, noise.wrapping_add(3)), forget(0, noise.wrapping_add(4)));
        let unpack = Unpack { walk, labels: self, bytes: *bytes, seeds, out, start, end, have, pointers };
        take::<{ PLACES + MAX_POINTERS }, _>(unpack, 0, noise).0
    }

    /// Reads the text from `at` to before `end`, of which a dot at the end is no part. There are at least eight bytes before it.
    #[inline(always)]
    pub fn text(&mut self, bytes: &impl Bytes, seeds: &impl Seeds, at: usize, end: usize) -> Walked {
        if at >= end || end - at > MAX_NAME - 1 {
            return Walked::MALFORMED;
        }
        let Some(view) = bytes.view::<8>(at - 8) else { return Walked::CUT };
        let noise = view.text::<0>();
        // Not the same noise: the verifier would take them for one value, and states where they are not for others.
        let (count, open) = (forget(0, noise.wrapping_add(1)), forget(0, noise.wrapping_add(2)));
        let (at, end) = (forget(at, noise), forget(end, noise));
        let text = Text { at, open, count, hash: Hash::label(seeds), labels: self, bytes: *bytes, seeds, end };
        Walked(take::<PLACES, _>(text, MALFORMED, noise).0 as u64)
    }
}

/// A [`Walked`] as a turn's end.
const CUT: usize = Walked::CUT.0 as usize;
const MALFORMED: usize = Walked::MALFORMED.0 as usize;

/// [`Labels::wire`] turn by turn.
struct Wire<'a, B, S> {
    walk: Walk,
    labels: &'a mut Labels,
    bytes: B,
    seeds: &'a S,
}

impl<B: Bytes, S: Seeds> Turn for Wire<'_, B, S> {
    // All of them: their state in memory is too much for the stack where an entry of an earlier generation is looked up anew.
    const FIRST: usize = PLACES;
    const EACH: usize = 8;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let between = self.walk.is_between();
        // A type follows the name, so there is a second byte.
        let Some(view) = self.bytes.view::<2>(self.walk.at) else { return Some(CUT) };
        let length = usize::from(view.u8::<0>()) & between;
        if length | !between == 0 {
            self.labels.count = self.walk.count as u64;
            return Some(self.walk.at + 1);
        }
        // A pointer, or one of the kinds of labels that were given up (RFC 6891 section 5).
        if length > MAX_LABEL {
            return Some(MALFORMED);
        }
        let taken = self.walk.step(self.labels, &self.bytes, self.seeds, length, between);
        if taken.is_none() { Some(CUT) } else { None }
    }
}

/// [`Labels::unpack`] turn by turn.
struct Unpack<'a, B, S> {
    walk: Walk,
    labels: &'a mut Labels,
    bytes: B,
    seeds: &'a S,
    out: HeldMut<'a, UNPACKED>,
    /// Of the message.
    start: usize,
    end: usize,
    /// Bytes of `out`.
    have: usize,
    pointers: usize,
}

impl<B: Bytes, S: Seeds> Turn for Unpack<'_, B, S> {
    // The stack is short.
    const FIRST: usize = 0;
    const EACH: usize = 8;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { walk, labels, bytes, seeds, out, start, end, have, pointers } = self;
        let between = walk.is_between();
        let place = walk.at;
        let Some(view) = bytes.view::<1>(place) else { return Some(0) };
        let first = usize::from(view.u8::<0>()) & between;
        if first | !between == 0 {
            labels.count = walk.count as u64;
            out.set_text(*have, 0);
            return Some(if place < *end { *have + 1 } else { 0 });
        }
        if first > MAX_LABEL && first < POINTER {
            return Some(0);
        }
        // A pointer is read as a label of one byte, its second, which is then not counted.
        let label = if_less(first, POINTER);
        out.set_text(*have, first as u64);
        *have += one(between & label);
        let length = first & label | one(!label);
        let Some(Taken { word, length, read }) = walk.step(labels, bytes, *seeds, length, between) else { return Some(0) };
        out.set_text(*have, word);
        *have = forget(*have + (length & label), read);
        let target = *start + ((first << 8 | word as usize & 0xff) & TARGET);
        // The root's byte is still to come.
        if walk.at > *end || *have >= MAX_NAME || !if_less(target, place) & !label != 0 {
            return Some(0);
        }
        walk.at = forget(walk.at & label | target & !label, read);
        walk.count = forget(walk.count - one(!label), read);
        *have = forget(*have, read);
        *pointers += one(!label);
        if *pointers > MAX_POINTERS {
            return Some(0);
        }
        *pointers = forget(*pointers, read);
        None
    }
}

/// [`Labels::text`] turn by turn.
struct Text<'a, B, S> {
    at: usize,
    /// Not 0: the label goes on from a turn before.
    open: usize,
    count: usize,
    hash: Hash,
    labels: &'a mut Labels,
    bytes: B,
    seeds: &'a S,
    end: usize,
}

impl<B: Bytes, S: Seeds> Turn for Text<'_, B, S> {
    const FIRST: usize = 8;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { at, open, count, hash, labels, bytes, seeds, end } = self;
        let rest = *end - *at;
        let step = at_most_8(rest);
        let Some(view) = bytes.view::<8>(*at + step - 8) else { return Some(CUT) };
        let read = view.text::<0>();
        let shift = 32 - 4 * step;
        let word = (read >> shift) >> shift;
        // The end is a dot, too.
        let dots = first::<b'.'>(word) | ((0x80 << (4 * step)) << (4 * step));
        if dots == 0 {
            *hash = hash.word(*seeds, word, 8).next();
            *open = 1;
            *at += 8;
        } else {
            let mask = before(dots);
            let length = bytes_of(mask);
            if length == 0 && *open == 0 {
                // Two dots in a row, or one in front; at the very end it is the root's.
                if rest != 0 || *count == 0 {
                    return Some(MALFORMED);
                }
                labels.count = *count as u64;
                return Some(*end);
            }
            labels.set(*count, hash.word(*seeds, word & mask, length));
            *count += 1;
            *at += length as usize + 1;
            if *at > *end {
                labels.count = *count as u64;
                return Some(*end);
            }
            *hash = Hash::label(*seeds);
            *open = 0;
        }
        *at = forget(*at, read);
        *open = forget(*open, read);
        *count = forget(*count, read);
        None
    }
}

/// Where the walk over a DNS name's labels stands. A turn has one way to the next one: the verifier would follow each.
struct Walk {
    at: usize,
    /// Bytes of the label that are left, plus one; 0 between labels.
    open: usize,
    count: usize,
    hash: Hash,
}

/// Bytes of a label.
struct Taken {
    /// The first one lowest, zeros above.
    word: u64,
    /// How many, up to eight.
    length: usize,
    /// What was read for them, as noise.
    read: u64,
}

impl Walk {
    #[inline(always)]
    fn new(seeds: &impl Seeds, at: usize, noise: u64) -> Self {
        // Each with noise of its own: the verifier would take equal ones for one value, and states where they are not for others.
        let (at, count, open) = (forget(at, noise), forget(0, noise.wrapping_add(1)), forget(0, noise.wrapping_add(2)));
        Self { at, open, count, hash: Hash::label(seeds) }
    }

    /// All ones between labels, else 0.
    #[inline(always)]
    fn is_between(&self) -> usize {
        if_zero(self.open)
    }

    /// Takes up to eight bytes: of the label that is open, or `between` labels of the one of `length` bytes that begins behind its length.
    /// `None`: they are not all there.
    #[inline(always)]
    fn step(&mut self, labels: &mut Labels, bytes: &impl Bytes, seeds: &impl Seeds, length: usize, between: usize) -> Option<Taken> {
        let open = self.open | (length + 1) & between;
        let length = at_most_8(open - 1);
        let at = self.at + one(between) + length;
        // Always eight bytes, of which those before the label are shifted out: nothing is read behind it.
        let read = bytes.view::<8>(at - 8)?.text::<0>();
        let shift = 32 - 4 * length;
        let word = (read >> shift) >> shift;
        let hash = Hash::label(seeds).or(self.hash, between as u64).word(seeds, word, length as u64);
        // Of a label that goes on, the next turn writes over it.
        labels.set(self.count, hash);
        // After eight bytes a label goes on, be it with none.
        let ends = if_less(open, 9);
        self.at = forget(at, read);
        self.count = forget(self.count + one(ends), read);
        // By a value that is forgotten once more: after the branch nothing tells which way it went.
        let open = forget(open.wrapping_sub(8) & !ends, read);
        self.hash = hash.next();
        self.open = forget(open, read);
        Some(Taken { word, length, read })
    }
}
