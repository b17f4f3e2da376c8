//! What a ClientHello's JA4 (FoxIO, "JA4: TLS Client Fingerprinting") says, without sorting or SHA-256: the same ten letters, and in the place
//! of each hash a sum over what is hashed, which is equal whatever its order where that is sorted. Two hellos have equal keys where their JA4
//! are equal.
//!
//! Nothing in a sum is secret: a client that wants to look like another one sends its hello.

use crate::{
    abi::identity::HelloKey,
    inspect::secret::mix,
    packet::access::{Bytes, forget},
    turns::{Turn, take},
};

/// Ciphers, extensions and signature algorithms that are read; one more of any of them, and the hello has no key.
pub const MAX_CIPHERS: usize = 256;
pub const MAX_EXTENSIONS: usize = 127;
pub const MAX_ALGORITHMS: usize = 64;

/// Extension types (IANA, TLS ExtensionType Values).
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// The length of their list is one byte.
const MAX_VERSIONS: usize = 127;
/// A hello names at most so many in its first part.
const MOST: usize = 99;

/// A value that clients send to keep servers tolerant (RFC 8701): both bytes are the same and end in `a`.
#[inline(always)]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// What one cipher adds to the sum.
#[inline(always)]
pub const fn of_cipher(cipher: u16) -> u64 {
    mix(cipher as u64 | 1 << 32)
}

/// What one extension adds.
#[inline(always)]
pub const fn of_extension(extension: u16) -> u64 {
    mix(extension as u64 | 2 << 32)
}

/// The signature algorithms so far, and one more: their order matters.
#[inline(always)]
pub const fn with_algorithm(sum: u64, algorithm: u16) -> u64 {
    // The bit above it tells that there is one, which may be zero.
    (sum.rotate_left(23) ^ algorithm as u64 ^ 1 << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The sum of what the second hash is of.
#[inline(always)]
pub const fn of_extensions(extensions: u64, algorithms: u64) -> u64 {
    extensions ^ mix(algorithms)
}

/// How a hello came, the first letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp = b't' as isize,
    Quic = b'q' as isize,
}

/// The letters as a key has them.
#[inline(always)]
pub const fn letters(letters: [u8; 10]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j] = letters;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), (i as u64) | (j as u64) << 8]
}

/// Two letters for a version (RFC 8446 section 4.1.2).
pub const fn version_letters(version: u16) -> [u8; 2] {
    match version {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        _ => *b"00",
    }
}

#[inline(always)]
fn digits(count: usize) -> [u8; 2] {
    let count = if count > MOST { MOST } else { count } as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

#[inline(always)]
const fn is_alphanumeric(letter: u8) -> bool {
    letter.is_ascii_alphanumeric()
}

#[inline(always)]
const fn hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// The key of the hello whose body, from behind the message's header, lies from `start` to before `end`. `None`: it cannot be read, or has more
/// of something than is read.
#[inline(always)]
pub fn read(bytes: &impl Bytes, start: usize, end: usize, transport: Transport) -> Option<HelloKey> {
    let fixed = bytes.view::<35>(start)?;
    let noise = fixed.u64::<2>();
    let version = fixed.u16::<0>();
    let mut at = forget(start + 35 + usize::from(fixed.u8::<34>()), noise);
    if at + 2 > end {
        return None;
    }
    let length = usize::from(bytes.view::<2>(at)?.u16::<0>());
    at = forget(at + 2, noise);
    let after = forget(at + length, noise.wrapping_add(1));
    if after > end || length > 2 * MAX_CIPHERS || !length.is_multiple_of(2) {
        return None;
    }
    let list = Values { bytes: *bytes, at, end: after, sum: 0, count: forget(0, noise.wrapping_add(6)), noise };
    let (read, Values { sum: ciphers, count: cipher_count, .. }) = take::<{ MAX_CIPHERS + 4 }, _>(list, TOO_MANY, noise);
    if read != READ {
        return None;
    }
    at = after;
    if at >= end {
        return None;
    }
    at = forget(at + 1 + usize::from(bytes.view::<1>(at)?.u8::<0>()), noise);
    // Nothing yet, see `dhcp`.
    let [count, name, alpn, versions, algorithms] = [7, 8, 9, 10, 11].map(|salt| forget(0, noise.wrapping_add(salt)));
    let mut extensions = Extensions { bytes: *bytes, at, end, sum: 0, count, name, alpn, versions, algorithms, noise };
    if at != end {
        if at + 2 > end || at + 2 + usize::from(bytes.view::<2>(at)?.u16::<0>()) != end {
            return None;
        }
        extensions.at = forget(at + 2, noise);
        let (read, read_extensions) = take::<{ MAX_EXTENSIONS + 1 }, _>(extensions, TOO_MANY, noise);
        if read != READ {
            return None;
        }
        extensions = read_extensions;
    }
    let Extensions { sum, count, name, alpn, versions, algorithms, .. } = extensions;
    let version = if versions == 0 { version } else { highest(bytes, versions, end, noise)? };
    let algorithms = if algorithms == 0 { 0 } else { signature_algorithms(bytes, algorithms, end, noise)? };
    let alpn = if alpn == 0 { *b"00" } else { first_protocol(bytes, alpn, noise)? };
    let [v, w] = version_letters(version);
    let [c, d] = digits(cipher_count);
    let [e, f] = digits(count);
    let domain = if name == 0 { b'i' } else { b'd' };
    let [g, h] = alpn;
    Some(HelloKey {
        letters: letters([transport as u8, v, w, domain, c, d, e, f, g, h]),
        ciphers,
        extensions: of_extensions(sum, algorithms),
    })
}

/// What reading a list comes to.
const READ: usize = 1;
const TOO_MANY: usize = 2;
const MALFORMED: usize = 3;

/// Ciphers, each in two bytes.
struct Values<B> {
    bytes: B,
    at: usize,
    end: usize,
    sum: u64,
    count: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Values<B> {
    const FIRST: usize = 0;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, sum, count, noise } = self;
        if *at >= *end {
            return Some(READ);
        }
        let Some(cipher) = bytes.view::<2>(*at) else { return Some(MALFORMED) };
        let cipher = cipher.u16::<0>();
        let counts = usize::from(!is_grease(cipher));
        *sum = sum.wrapping_add(of_cipher(cipher) & (counts as u64).wrapping_neg());
        *count = forget(*count + counts, noise.wrapping_add(1));
        *at = forget(*at + 2, *noise);
        None
    }
}

struct Extensions<B> {
    bytes: B,
    at: usize,
    end: usize,
    sum: u64,
    count: usize,
    /// Where they are; 0: nowhere.
    name: usize,
    alpn: usize,
    versions: usize,
    algorithms: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Extensions<B> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, sum, count, name, alpn, versions, algorithms, noise } = self;
        if *at == *end {
            return Some(READ);
        }
        if *at + 4 > *end {
            return Some(MALFORMED);
        }
        let Some(header) = bytes.view::<4>(*at) else { return Some(MALFORMED) };
        let kind = header.u16::<0>();
        let next = *at + 4 + usize::from(header.u16::<2>());
        if next > *end {
            return Some(MALFORMED);
        }
        let mut hashed = true;
        if kind == SERVER_NAME {
            *name = forget(1, noise.wrapping_add(1));
            hashed = false;
        }
        if kind == ALPN {
            *alpn = forget(*at, noise.wrapping_add(2));
            hashed = false;
        }
        if kind == SUPPORTED_VERSIONS {
            *versions = forget(*at, noise.wrapping_add(3));
        }
        if kind == SIGNATURE_ALGORITHMS {
            *algorithms = forget(*at, noise.wrapping_add(4));
        }
        let counts = usize::from(!is_grease(kind));
        let summed = (counts as u64).wrapping_neg() & u64::from(hashed).wrapping_neg();
        *sum = sum.wrapping_add(of_extension(kind) & summed);
        *count = forget(*count + counts, noise.wrapping_add(5));
        *at = forget(next, *noise);
        None
    }
}

/// The highest of the versions that the extension at `at` lists.
#[inline(always)]
fn highest(bytes: &impl Bytes, at: usize, end: usize, noise: u64) -> Option<u16> {
    let header = bytes.view::<5>(at)?;
    let length = usize::from(header.u8::<4>());
    let list_end = at + 5 + length;
    if usize::from(header.u16::<2>()) != length + 1 || list_end > end || !length.is_multiple_of(2) {
        return None;
    }
    let versions = Versions {
        bytes: *bytes,
        at: forget(at + 5, noise),
        end: forget(list_end, noise.wrapping_add(1)),
        highest: forget(0, noise.wrapping_add(2)),
        noise,
    };
    let (read, Versions { highest, .. }) = take::<{ MAX_VERSIONS + 2 }, _>(versions, TOO_MANY, noise);
    if read == READ { Some(highest as u16) } else { None }
}

struct Versions<B> {
    bytes: B,
    at: usize,
    end: usize,
    highest: usize,
    noise: u64,
}

impl<B: Bytes> Turn for Versions<B> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, highest, noise } = self;
        if *at >= *end {
            return Some(READ);
        }
        let Some(version) = bytes.view::<2>(*at) else { return Some(MALFORMED) };
        let version = version.u16::<0>();
        if !is_grease(version) && usize::from(version) > *highest {
            *highest = usize::from(version);
        }
        *highest = forget(*highest, noise.wrapping_add(1));
        *at = forget(*at + 2, *noise);
        None
    }
}

#[inline(always)]
fn signature_algorithms(bytes: &impl Bytes, at: usize, end: usize, noise: u64) -> Option<u64> {
    let header = bytes.view::<6>(at)?;
    let length = usize::from(header.u16::<4>());
    let list_end = at + 6 + length;
    if usize::from(header.u16::<2>()) != length + 2 || list_end > end || length > 2 * MAX_ALGORITHMS || !length.is_multiple_of(2) {
        return None;
    }
    let list = Algorithms { bytes: *bytes, at: forget(at + 6, noise), end: forget(list_end, noise.wrapping_add(1)), sum: 0, noise };
    let (read, Algorithms { sum, .. }) = take::<{ MAX_ALGORITHMS + 4 }, _>(list, TOO_MANY, noise);
    if read == READ { Some(sum) } else { None }
}

struct Algorithms<B> {
    bytes: B,
    at: usize,
    end: usize,
    sum: u64,
    noise: u64,
}

impl<B: Bytes> Turn for Algorithms<B> {
    const FIRST: usize = 0;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, sum, noise } = self;
        if *at >= *end {
            return Some(READ);
        }
        let Some(algorithm) = bytes.view::<2>(*at) else { return Some(MALFORMED) };
        let algorithm = algorithm.u16::<0>();
        let counts = u64::from(!is_grease(algorithm)).wrapping_neg();
        *sum = (with_algorithm(*sum, algorithm) & counts) | (*sum & !counts);
        *at = forget(*at + 2, *noise);
        None
    }
}

/// First and last letter of the first protocol in the extension at `at`; where they are none, the first and last hexadecimal digit.
#[inline(always)]
fn first_protocol(bytes: &impl Bytes, at: usize, noise: u64) -> Option<[u8; 2]> {
    let all = usize::from(bytes.view::<4>(at)?.u16::<2>());
    if all < 4 {
        return Some(*b"00");
    }
    let list = bytes.view::<8>(at)?;
    let length = usize::from(list.u8::<6>());
    if length == 0 || all < length + 3 {
        return Some(*b"00");
    }
    let first = list.u8::<7>();
    let last = bytes.view::<1>(forget(at + 6 + length, noise))?.u8::<0>();
    if is_alphanumeric(first) && is_alphanumeric(last) { Some([first, last]) } else { Some([hex(first >> 4), hex(last & 0xf)]) }
}
