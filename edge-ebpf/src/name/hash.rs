//! What a name is known by in the table: 128 bits for each of its suffixes, keyed by numbers that nobody outside knows, so that nobody can
//! make two names meet. Case is folded (RFC 4343) and labels stay apart, eight bytes at a time.
//!
//! A word adds the product of its halves, each plus a secret; words, and then labels from the top-level one inward, are chained by a
//! bijection. Only 32-bit halves are multiplied: a kernel program has no 128-bit product.

/// Secret numbers that a table's hashes need, fresh for each load.
pub const SEEDS: usize = 6;

/// Places of the secrets.
mod seed {
    pub const WORD: [usize; 2] = [0, 1];
    pub const LABEL: [usize; 2] = [2, 3];
    pub const NAME: [usize; 2] = [4, 5];
}

/// The secrets of a table.
pub trait Seeds {
    /// `place` is less than [`SEEDS`].
    fn seed(&self, place: usize) -> u64;
}

impl Seeds for [u64; SEEDS] {
    #[inline(always)]
    fn seed(&self, place: usize) -> u64 {
        self[place]
    }
}

/// In each byte.
const ONE: u64 = 0x0101_0101_0101_0101;
const TOP: u64 = 0x80 * ONE;

/// Upper-case ASCII letters made lower-case; every other byte stays.
#[inline(always)]
pub const fn fold(word: u64) -> u64 {
    let low = word & !TOP;
    let from_a = low + (0x80 - b'A' as u64) * ONE;
    let beyond_z = low + (0x7f - b'Z' as u64) * ONE;
    word | ((from_a & !beyond_z & !word & TOP) >> 2)
}

/// The top bit of the first byte that is `BYTE`; bytes behind it may be marked wrongly.
#[inline(always)]
pub(crate) const fn first<const BYTE: u8>(word: u64) -> u64 {
    let differs = word ^ (BYTE as u64 * ONE);
    differs.wrapping_sub(ONE) & !differs & TOP
}

/// The top bit of the first byte that is less than `LIMIT`, which is at most 128; bytes behind it may be marked wrongly.
#[inline(always)]
pub(super) const fn first_below<const LIMIT: u8>(word: u64) -> u64 {
    word.wrapping_sub(LIMIT as u64 * ONE) & !word & TOP
}

/// The bytes before the one whose top bit is the lowest of `marks`, as ones. Where there is none, these are all eight for [`bytes_of`].
#[inline(always)]
pub(crate) const fn before(marks: u64) -> u64 {
    (marks & marks.wrapping_neg()).wrapping_sub(1) >> 7
}

/// How many bytes a mask of [`before`] has.
#[inline(always)]
pub(crate) const fn bytes_of(mask: u64) -> u64 {
    (mask & ONE).wrapping_mul(ONE) >> 56
}

/// Two independent 64-bit values.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Hash {
    /// What an entry of the table is known by.
    pub tag: u64,
    /// Where it lies.
    pub place: u64,
}

impl Hash {
    /// Of a label of which nothing was read.
    #[inline(always)]
    pub(super) fn label(seeds: &impl Seeds) -> Self {
        Self { tag: seeds.seed(seed::LABEL[0]), place: seeds.seed(seed::LABEL[1]) }
    }

    /// This one where `mask` is all ones, `other` where it is 0.
    #[inline(always)]
    pub(super) fn or(self, other: Self, mask: u64) -> Self {
        Self { tag: self.tag & mask | other.tag & !mask, place: self.place & mask | other.place & !mask }
    }

    /// With the label's next `bytes`, the first one lowest and zeros above: eight, or the fewer that end it, which may be none.
    #[inline(always)]
    pub(super) fn word(self, seeds: &impl Seeds, word: u64, bytes: u64) -> Self {
        let word = fold(word);
        let Self { tag, place } = self;
        Self {
            tag: tag.wrapping_add(bytes).wrapping_add(product(word, seeds.seed(seed::WORD[0]))),
            place: place.wrapping_add(bytes).wrapping_add(product(word, seeds.seed(seed::WORD[1]))),
        }
    }

    /// Ready for the label's next word.
    #[inline(always)]
    pub(super) fn next(self) -> Self {
        let Self { tag, place } = self;
        Self { tag: mix(tag), place: mix(place) }
    }

    /// Of the root, below which everything is.
    #[inline(always)]
    pub(super) fn root(seeds: &impl Seeds) -> Self {
        Self { tag: seeds.seed(seed::NAME[0]), place: seeds.seed(seed::NAME[1]) }
    }

    /// Of the name that has one label more before this one.
    #[inline(always)]
    pub(super) fn below(self, label: Self) -> Self {
        let Self { tag, place } = self;
        Self { tag: mix(tag.wrapping_add(label.tag)), place: mix(place.wrapping_add(label.place)) }
    }
}

#[inline(always)]
fn product(word: u64, seed: u64) -> u64 {
    let low = (word as u32).wrapping_add(seed as u32);
    let high = ((word >> 32) as u32).wrapping_add((seed >> 32) as u32);
    u64::from(low) * u64::from(high)
}

/// A bijection that lets each bit reach every other (Stafford's variant of MurmurHash3's finalizer, as in SplitMix64).
#[inline(always)]
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_upper_case_ascii_letters_are_folded() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                let mut bytes = *b"A@z[\x80Z\xc1-";
                bytes[place] = byte;
                let folded = fold(u64::from_le_bytes(bytes));
                assert_eq!(folded.to_le_bytes(), bytes.to_ascii_lowercase()[..], "{bytes:02x?}");
            }
        }
    }

    #[test]
    fn the_first_byte_of_a_kind_is_found() {
        let find = |bytes: &[u8; 8]| {
            let word = u64::from_le_bytes(*bytes);
            [first::<b'.'>(word), first_below::<0x21>(word)].map(|marks| (marks != 0).then(|| bytes_of(before(marks))))
        };
        assert_eq!(find(b"abcdefgh"), [None, None]);
        assert_eq!(find(b".\0cd./ h"), [Some(0), Some(1)]);
        assert_eq!(find(b"abc/.\xae\xff."), [Some(4), None]);
        assert_eq!(find(b"abcdefg."), [Some(7), None]);
        assert_eq!(find(b"\x80\xa0\xff!~./ "), [Some(5), Some(7)]);
    }
}
