//! The server name of a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3).

use super::name::{Name, text};

/// Extensions that are read.
const EXTENSIONS: usize = 127;
/// Records that a hello may be cut into, and its bytes then; of what holds them as many are looked at.
const RECORDS: usize = 32;
pub const LONGEST: usize = 4088;
/// Ciphers and signature algorithms of a hello that devices are known by.
const CIPHERS: usize = 256;
const ALGORITHMS: usize = 64;
/// Bytes of the longest record (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 1 << 14;

/// What a stream begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opening {
    NotAHello,
    /// What looks like one, in a record that cannot be.
    BadRecord,
    /// What it tells, and its body.
    Hello(Hello, Vec<u8>),
    /// A hello that cannot be read, or is longer than what is read.
    Unreadable,
    /// So many bytes tell more.
    Incomplete(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub name: Option<Name>,
    /// The true name may be another one, encrypted (RFC 9849).
    pub ech: bool,
}

/// Reads what a stream begins with.
pub fn opening(bytes: &[u8]) -> Opening {
    // Type of the record, its version's first byte; type of the message.
    let as_a_hello = [(0, 22), (1, 3), (5, 1)].into_iter().all(|(at, wanted)| bytes.get(at).is_none_or(|byte| *byte == wanted));
    if bytes.is_empty() || !as_a_hello {
        return Opening::NotAHello;
    }
    let Some(header) = bytes.first_chunk::<9>() else { return Opening::Incomplete(9) };
    let record = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if record == 0 || record > LONGEST_RECORD {
        return Opening::BadRecord;
    }
    let message = 4 + usize::from(header[6]) * 65536 + usize::from(header[7]) * 256 + usize::from(header[8]);
    if record < 4 || record < message {
        return joined(bytes);
    }
    match bytes.get(9..5 + message) {
        Some(body) => read(body),
        None => Opening::Incomplete(5 + message),
    }
}

fn read(body: &[u8]) -> Opening {
    hello(body).map_or(Opening::Unreadable, |hello| Opening::Hello(hello, body.to_vec()))
}

/// A hello whose first record is not all of it.
fn joined(bytes: &[u8]) -> Opening {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let mut message: Vec<u8> = Vec::new();
    let mut rest = bytes;
    for _ in 0..=RECORDS {
        if let [_, a, b, c, body @ ..] = message.as_slice()
            && let Some(body) = body.get(..usize::from(*a) * 65536 + usize::from(*b) * 256 + usize::from(*c))
        {
            return read(body);
        }
        let at = bytes.len() - rest.len();
        let Some((header, behind)) = rest.split_first_chunk::<5>() else { return Opening::Incomplete(at + 5) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if header[0] != 22 || header[1] != 3 || length == 0 || length > LONGEST_RECORD || message.len() + length > LONGEST {
            return Opening::Unreadable;
        }
        let Some((part, behind)) = behind.split_at_checked(length) else { return Opening::Incomplete(at + 5 + length) };
        message.extend(part);
        rest = behind;
    }
    Opening::Unreadable
}

/// `None`: it contradicts itself, or has more extensions than are read.
fn hello(body: &[u8]) -> Option<Hello> {
    // Version and random, session ID, cipher suites, compression methods.
    let (_, rest) = body.split_at_checked(34)?;
    let (_, rest) = counted::<1>(rest)?;
    let (_, rest) = counted::<2>(rest)?;
    let (_, rest) = counted::<1>(rest)?;
    if rest.is_empty() {
        return Some(Hello { name: None, ech: false });
    }
    let (mut rest, behind) = counted::<2>(rest)?;
    if !behind.is_empty() {
        return None;
    }
    let (mut server_name, mut alpn, mut ech) = (None, None, false);
    let mut count = 0;
    while !rest.is_empty() {
        let (kind, after) = rest.split_first_chunk::<2>()?;
        let (extension, after) = counted::<2>(after)?;
        match u16::from_be_bytes(*kind) {
            // Servers differ in which one of two they take.
            0 if server_name.is_some() => return None,
            0 => server_name = Some(extension),
            16 => alpn = Some(extension),
            0xfe0d => ech = true,
            _ => {}
        }
        count += 1;
        if count > EXTENSIONS {
            return None;
        }
        rest = after;
    }
    if let Some(alpn) = alpn {
        let (_, behind) = counted::<2>(alpn)?;
        if !behind.is_empty() {
            return None;
        }
    }
    let Some(list) = server_name else { return Some(Hello { name: None, ech }) };
    let (list, behind) = counted::<2>(list)?;
    let (kind, list) = list.split_first()?;
    let (name, more) = counted::<2>(list)?;
    if !behind.is_empty() || *kind != 0 || !more.is_empty() {
        return None;
    }
    Some(Hello { name: Some(text(name)?), ech })
}

/// Whether a device is known by the hello: it has no more of anything than is read.
pub fn is_short(body: &[u8]) -> bool {
    let lists = || {
        let (_, rest) = counted::<1>(body.get(34..)?)?;
        let (ciphers, rest) = counted::<2>(rest)?;
        let (_, rest) = counted::<1>(rest)?;
        let mut rest = if rest.is_empty() { rest } else { counted::<2>(rest)?.0 };
        let mut algorithms: &[u8] = &[];
        while !rest.is_empty() {
            let (kind, after) = rest.split_first_chunk::<2>()?;
            let (extension, after) = counted::<2>(after)?;
            if u16::from_be_bytes(*kind) == 13 {
                algorithms = counted::<2>(extension)?.0;
            }
            rest = after;
        }
        Some((ciphers, algorithms))
    };
    lists().is_some_and(|(ciphers, algorithms)| ciphers.len() <= 2 * CIPHERS && algorithms.len() <= 2 * ALGORITHMS)
}

/// What stands behind its own length in `N` bytes, and what follows.
fn counted<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    rest.split_at_checked(length.iter().fold(0, |length, byte| length * 256 + usize::from(*byte)))
}
