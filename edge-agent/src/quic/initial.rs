//! Frames of an Initial packet (RFC 9000 section 19).

const PADDING: u64 = 0;
const PING: u64 = 1;
const ACK: u64 = 2;
const ACK_WITH_ECN: u64 = 3;
const CRYPTO: u64 = 6;

/// The pieces of the handshake in a packet's payload, each with its place. Ends at a frame that an Initial may not hold.
pub fn pieces(payload: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while next(payload, &mut at, &mut pieces).is_some() {}
    pieces
}

fn next<'a>(payload: &'a [u8], at: &mut usize, pieces: &mut Vec<(u64, &'a [u8])>) -> Option<()> {
    match variable_length(payload, at)? {
        PADDING | PING => Some(()),
        kind @ (ACK | ACK_WITH_ECN) => {
            let _largest = variable_length(payload, at)?;
            let _delay = variable_length(payload, at)?;
            let ranges = variable_length(payload, at)?;
            let _first = variable_length(payload, at)?;
            let counts = if kind == ACK_WITH_ECN { 3 } else { 0 };
            // Each step reads a byte at least, so a made-up count ends with the payload.
            (0..ranges.saturating_mul(2).saturating_add(counts)).try_for_each(|_| variable_length(payload, at).map(drop))
        }
        CRYPTO => {
            let offset = variable_length(payload, at)?;
            let length = usize::try_from(variable_length(payload, at)?).ok()?;
            let piece = payload.get(*at..at.checked_add(length)?)?;
            *at += length;
            pieces.push((offset, piece));
            Some(())
        }
        _ => None,
    }
}

/// RFC 9000 section 16.
pub fn variable_length(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let first = *bytes.get(*at)?;
    let size = 1 << (first >> 6);
    let number = bytes.get(*at..*at + size)?;
    *at += size;
    let mut value = u64::from(first & 0x3f);
    for byte in &number[1..] {
        value = value << 8 | u64::from(*byte);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_each_length() {
        // The examples of RFC 9000 appendix A.1.
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            let mut at = 0;
            assert_eq!(variable_length(bytes, &mut at), Some(value));
            assert_eq!(at, bytes.len());
            assert_eq!(variable_length(&bytes[..bytes.len() - 1], &mut 0), None);
        }
    }

    #[test]
    fn pieces_among_other_frames() {
        let payload = [&[0, 1, 2, 9, 0, 1, 0, 0, 0][..], &[6, 0x40, 5, 3], b"abc", &[0, 0, 6, 0, 1, b'x', 0x1c, 6, 0, 0]].concat();
        assert_eq!(pieces(&payload), [(5, &b"abc"[..]), (0, b"x")]);
        assert_eq!(pieces(&[6, 0, 9, 1]), []);
    }
}
