//! Signatures: bytes at one place of a payload, by which a service is known whatever its name and address.

use crate::{
    abi::SignatureEntry,
    packet::access::{Bytes, opaque},
};

/// Whether the payload from `start` to before `end` shows the signature, whose protocol and ports are right.
#[inline(always)]
pub fn shows(bytes: &impl Bytes, start: usize, end: usize, entry: &SignatureEntry) -> bool {
    let at = start + usize::from(entry.offset);
    let length = usize::from(entry.length);
    if at + length > end {
        return false;
    }
    // The last bytes of the frame may be fewer than a word: words are read from the end of the wanted bytes on, what is before is shifted out.
    let first = if length < 8 { length } else { 8 };
    let Some(word) = word(bytes, at, first) else { return false };
    if (word ^ entry.value[0]) & entry.mask[0] != 0 {
        return false;
    }
    if length <= 8 {
        return true;
    }
    let Some(word) = self::word(bytes, at + 8, length - 8) else { return false };
    (word ^ entry.value[1]) & entry.mask[1] == 0
}

/// `length` bytes, at most eight, the first one lowest. There are at least eight bytes before.
#[inline(always)]
fn word(bytes: &impl Bytes, at: usize, length: usize) -> Option<u64> {
    let view = bytes.view::<8>(opaque(at + length) - 8)?;
    let shift = 32 - 4 * length as u32;
    Some((view.text::<0>() >> (shift & 63)) >> (shift & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::access::Frame;

    fn entry(offset: u16, bytes: &[Option<u8>]) -> SignatureEntry {
        let mut entry = SignatureEntry { offset, length: bytes.len() as u16, ..SignatureEntry::default() };
        for (place, byte) in bytes.iter().enumerate() {
            if let Some(byte) = byte {
                entry.value[place / 8] |= u64::from(*byte) << (8 * (place % 8));
                entry.mask[place / 8] |= 0xff << (8 * (place % 8));
            }
        }
        entry
    }

    #[test]
    fn wanted_bytes_are_compared_at_their_place_and_no_others() {
        let frame: Vec<u8> = (0..40).collect();
        let bytes = Frame::new(&frame);
        let known = |from: u8, to: u8| (from..to).map(Some).collect::<Vec<_>>();
        for length in 1..=16 {
            let signature = entry(2, &known(22, 22 + length));
            assert!(shows(&bytes, 20, 40, &signature), "{length}");
            assert!(!shows(&bytes, 21, 40, &signature) && !shows(&bytes, 20, 21 + usize::from(length), &signature), "{length}");
        }
        let mut some = known(22, 34);
        some[3] = None;
        some[9] = None;
        let signature = entry(2, &some);
        let mut changed = frame.clone();
        (changed[25], changed[31]) = (0xff, 0xff);
        assert!(shows(&Frame::new(&changed), 20, 40, &signature));
        changed[32] = 0;
        assert!(!shows(&Frame::new(&changed), 20, 40, &signature));
        assert!(shows(&bytes, 20, 38, &entry(2, &known(22, 38))), "to the payload's last byte");
        assert!(!shows(&bytes, 20, 37, &entry(2, &known(22, 38))));
    }
}
