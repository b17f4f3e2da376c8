//! A name's labels, each hashed, out of the two forms that packets carry: length-prefixed in DNS (RFC 1035 section 3.1), text with dots in
//! TLS and HTTP. Both give the same hashes for the same name.
//!
//! Each turn of a loop takes up to eight bytes of one label, so a name of 255 bytes takes at most 128 turns, however it is cut. What a turn
//! leaves behind is forgotten for the verifier, to which all turns then look alike.

use super::{
    Walked,
    hash::{Hash, Seeds, before, bytes_of, first},
};
use crate::packet::access::{Bytes, at_most_8, forget, opaque};

/// Labels of the longest name: one byte each, and its length.
pub const MAX_LABELS: usize = 127;
/// Bytes of the longest name in DNS, with the lengths of its labels and the root's.
pub const MAX_NAME: usize = 255;
/// Labels, rounded up to what a mask can bound.
const PLACES: usize = 128;

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
        let limit = at + MAX_NAME;
        let Some(view) = bytes.view::<8>(at - 8) else { return Walked::CUT };
        let noise = view.text::<0>();
        let mut at = forget(at, noise);
        // Not the same noise: the verifier would take them for one value, and states where they are not for others.
        let mut count = forget(0, noise.wrapping_add(1));
        let mut hash = Hash::label(seeds);
        // Bytes of the label that are left, plus one; 0 between labels.
        let mut open = forget(0, noise.wrapping_add(2));
        for _ in 0..PLACES {
            if open == 0 {
                // A type follows the name, so there is a second byte.
                let Some(view) = bytes.view::<2>(at) else { return Walked::CUT };
                let length = usize::from(view.u8::<0>());
                at += 1;
                if length == 0 {
                    self.count = count as u64;
                    return if at > end {
                        Walked::CUT
                    } else if at > limit {
                        Walked::MALFORMED
                    } else {
                        Walked::ended(at)
                    };
                }
                // A pointer, or one of the kinds of labels that were given up (RFC 6891 section 5).
                if length > 63 {
                    return Walked::MALFORMED;
                }
                hash = Hash::label(seeds);
                at = forget(at, noise);
                open = forget(length + 1, noise);
            }
            let whole = open > 8;
            let step = at_most_8(open - 1);
            at += step;
            // Always eight bytes, of which those before the label are shifted out: nothing is read behind it.
            let Some(view) = bytes.view::<8>(at - 8) else { return Walked::CUT };
            let read = view.text::<0>();
            let shift = 32 - 4 * step;
            hash = hash.word(seeds, (read >> shift) >> shift, step as u64);
            if whole {
                hash = hash.next();
                open -= 8;
            } else {
                self.set(count, hash);
                count += 1;
                open = 0;
            }
            at = forget(at, read);
            open = forget(open, read);
            count = forget(count, read);
        }
        Walked::MALFORMED
    }

    /// Reads the text from `at` to before `end`, of which a dot at the end is no part. There are at least eight bytes before it.
    #[inline(always)]
    pub fn text(&mut self, bytes: &impl Bytes, seeds: &impl Seeds, at: usize, end: usize) -> Walked {
        if at >= end || end - at > MAX_NAME - 1 {
            return Walked::MALFORMED;
        }
        let Some(view) = bytes.view::<8>(at - 8) else { return Walked::CUT };
        let noise = view.text::<0>();
        let mut at = forget(at, noise);
        let end = forget(end, noise);
        // Not the same noise: the verifier would take them for one value, and states where they are not for others.
        let mut count = forget(0, noise.wrapping_add(1));
        let mut hash = Hash::label(seeds);
        // Whether the label goes on from a turn before.
        let mut open = forget(0, noise.wrapping_add(2));
        for _ in 0..PLACES {
            let rest = end - at;
            let step = at_most_8(rest);
            let Some(view) = bytes.view::<8>(at + step - 8) else { return Walked::CUT };
            let read = view.text::<0>();
            let shift = 32 - 4 * step;
            let word = (read >> shift) >> shift;
            // The end is a dot, too.
            let dots = first::<b'.'>(word) | ((0x80 << (4 * step)) << (4 * step));
            if dots == 0 {
                hash = hash.word(seeds, word, 8).next();
                open = 1;
                at += 8;
            } else {
                let mask = before(dots);
                let length = bytes_of(mask);
                if length == 0 && open == 0 {
                    // Two dots in a row, or one in front; at the very end it is the root's.
                    if rest != 0 || count == 0 {
                        return Walked::MALFORMED;
                    }
                    self.count = count as u64;
                    return Walked::ended(end);
                }
                self.set(count, hash.word(seeds, word & mask, length));
                count += 1;
                at += length as usize + 1;
                if at > end {
                    self.count = count as u64;
                    return Walked::ended(end);
                }
                hash = Hash::label(seeds);
                open = 0;
            }
            at = forget(at, read);
            open = forget(open, read);
            count = forget(count, read);
        }
        Walked::MALFORMED
    }
}
