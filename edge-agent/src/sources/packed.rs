//! Compressed files, told by their first bytes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// RFC 1952 section 2.3.1
const GZIP: &[u8] = &[0x1f, 0x8b];
/// RFC 8878 section 3.1.1
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The .xz file format, section 2.1.1.1
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// What an xz file may want for its dictionary, in KiB: as much as `xz -9` makes it want, and one time more.
const XZ_MEMORY: u32 = 128 * 1024;

/// What the bytes unpack to; `None` if they are not packed.
///
/// # Errors
/// They are damaged, or want more memory than they should.
pub fn unpack(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    if bytes.starts_with(GZIP) {
        MultiGzDecoder::new(bytes).read_to_end(&mut plain)?;
    } else if bytes.starts_with(ZSTD) {
        unpack_zstd(bytes, &mut plain)?;
    } else if bytes.starts_with(XZ) {
        XzReader::new_mem_limit(bytes, true, XZ_MEMORY).read_to_end(&mut plain)?;
    } else {
        return Ok(None);
    }
    Ok(Some(plain))
}

/// Frame by frame, each with its checksum where it has one.
fn unpack_zstd(mut rest: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    while !rest.is_empty() {
        // RFC 8878 section 3.1.2: four bytes of magic, four of length, then data for somebody else.
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, after @ ..] = rest {
            let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            rest = after.get(length..).ok_or_else(|| damaged("a skippable frame ends before its end".to_owned()))?;
            continue;
        }
        let mut decoder = StreamingDecoder::new(rest).map_err(|error| damaged(error.to_string()))?;
        decoder.read_to_end(plain)?;
        let (after, frame) = decoder.into_parts();
        if frame.get_checksum_from_data().is_some_and(|sum| frame.get_calculated_checksum() != Some(sum)) {
            return Err(damaged("the checksum of a frame is wrong".to_owned()));
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const PLAIN: &[u8] = b"a.example\nb.example\n";

    /// As `xz` writes it.
    const BY_XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f,
        0xe5, 0xa3, 0xe0, 0x00, 0x13, 0x00, 0x11, 0x5d, 0x00, 0x30, 0x8b, 0x88, 0xa7, 0xc3, 0x69, 0xab, 0x47, 0x3c, 0x62, 0x5c, 0xb3, 0xc1,
        0x17, 0xf3, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x94, 0xc1, 0x00, 0xbe, 0x35, 0xf0, 0x32, 0x23, 0x00, 0x01, 0x2d, 0x14, 0xb9, 0x3b,
        0x76, 0x1a, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    /// As `zstd` writes it: a frame for each line.
    const BY_ZSTD: [&[u8]; 2] = [
        &[
            0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x51, 0x00, 0x00, 0x61, 0x2e, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x0a, 0x1f, 0xb7,
            0xa2, 0x4b,
        ],
        &[
            0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x51, 0x00, 0x00, 0x62, 0x2e, 0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x0a, 0xc3, 0x4f,
            0xd9, 0x69,
        ],
    ];

    #[test]
    fn each_kind_is_told_by_its_first_bytes() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(PLAIN).unwrap();
        let skippable: &[u8] = &[0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        for (kind, bytes) in [
            ("gzip", gzip.finish().unwrap()),
            ("xz", BY_XZ.to_vec()),
            ("zstd", BY_ZSTD.concat()),
            ("zstd with a frame to skip", [BY_ZSTD[0], skippable, BY_ZSTD[1]].concat()),
        ] {
            assert_eq!(unpack(&bytes).unwrap().as_deref(), Some(PLAIN), "{kind}");
            for length in [bytes.len() - 1, bytes.len() / 2 + 2, 8] {
                assert!(unpack(&bytes[..length]).is_err(), "{kind}, the first {length} bytes");
            }
        }
        assert_eq!(unpack(PLAIN).unwrap(), None);
        assert_eq!(unpack(b"").unwrap(), None);
    }

    #[test]
    fn a_changed_byte_is_found_by_the_checksum() {
        for (bytes, place) in [(BY_ZSTD[0].to_vec(), 10), (BY_XZ.to_vec(), 40)] {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(unpack(&bytes).is_ok());
            assert!(unpack(&changed).is_err(), "{bytes:x?}");
        }
    }
}
