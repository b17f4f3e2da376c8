//! The JA4 of a ClientHello (FoxIO, "JA4: TLS Client Fingerprinting", technical_details/JA4.md).
//!
//! The kernel program cannot sort or reckon SHA-256. What it knows a hello by is [`Ja4::key`], see [`edge_ebpf::identity::hello`].

use std::fmt;
use std::str::FromStr;

use edge_ebpf::abi::identity::HelloKey;
use edge_ebpf::identity::hello::{self, is_grease};
use sha2::{Digest, Sha256};

/// Extension types (IANA, TLS ExtensionType Values).
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// More ciphers or extensions than these are as many.
const MOST: usize = 99;

/// How a hello came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp,
    Quic,
    Dtls,
}

impl Transport {
    const fn letter(self) -> u8 {
        match self {
            Self::Tcp => b't',
            Self::Quic => b'q',
            Self::Dtls => b'd',
        }
    }

    const fn version(self, version: u16) -> [u8; 2] {
        match (self, version) {
            (Self::Dtls, 0xfeff) => *b"d1",
            (Self::Dtls, 0xfefd) => *b"d2",
            (Self::Dtls, 0xfefc) => *b"d3",
            (Self::Dtls, _) => *b"00",
            (Self::Tcp | Self::Quic, _) => hello::version_letters(version),
        }
    }
}

/// A JA4 with what its hashes are of. Shown it is the JA4.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ja4 {
    letters: [u8; 10],
    /// Sorted.
    ciphers: Vec<u16>,
    /// Sorted, without the name's and ALPN.
    extensions: Vec<u16>,
    /// In the client's order.
    algorithms: Vec<u16>,
}

impl Ja4 {
    /// Of a ClientHello's body, from behind the message's header. `None`: it cannot be read.
    pub fn of_hello(body: &[u8], transport: Transport) -> Option<Self> {
        let mut rest = body;
        let mut version = number(&mut rest)?;
        let _random = part(&mut rest, 32)?;
        let _session = short_vector(&mut rest)?;
        if transport == Transport::Dtls {
            let _cookie = short_vector(&mut rest)?;
        }
        let mut ciphers = numbers(vector(&mut rest)?)?;
        ciphers.retain(|cipher| !is_grease(*cipher));
        let _compression = short_vector(&mut rest)?;
        // Of a repeated extension the last one counts.
        let (mut extensions, mut versions, mut algorithms, mut protocols) = (Vec::new(), None, None, None);
        if !rest.is_empty() {
            let mut list = vector(&mut rest)?;
            if !rest.is_empty() {
                return None;
            }
            while !list.is_empty() {
                let kind = number(&mut list)?;
                let value = vector(&mut list)?;
                match kind {
                    SUPPORTED_VERSIONS => versions = Some(value),
                    SIGNATURE_ALGORITHMS => algorithms = Some(value),
                    ALPN => protocols = Some(value),
                    _ => {}
                }
                extensions.push(kind);
            }
        }
        if let Some(value) = versions {
            // The highest number also of DTLS, whose newer versions have lower ones.
            let listed = whole(value, short_vector)?;
            version = listed.into_iter().filter(|version| !is_grease(*version)).max().unwrap_or_default();
        }
        let mut algorithms = algorithms.map_or(Some(Vec::new()), |value| whole(value, vector))?;
        let protocol = protocols.map_or(*b"00", first_protocol);
        extensions.retain(|extension| !is_grease(*extension));
        algorithms.retain(|algorithm| !is_grease(*algorithm));
        let named = if extensions.contains(&SERVER_NAME) { b'd' } else { b'i' };
        let [v, w] = transport.version(version);
        let [c, d] = digits(ciphers.len());
        let [e, f] = digits(extensions.len());
        let [g, h] = protocol;
        extensions.retain(|extension| !matches!(*extension, SERVER_NAME | ALPN));
        ciphers.sort_unstable();
        extensions.sort_unstable();
        Some(Self { letters: [transport.letter(), v, w, named, c, d, e, f, g, h], ciphers, extensions, algorithms })
    }

    /// The first part.
    pub fn letters(&self) -> &str {
        str::from_utf8(&self.letters).unwrap_or_default()
    }

    /// The first six bytes of the second part's SHA-256; zeros where there are no ciphers.
    pub fn ciphers_hash(&self) -> [u8; 6] {
        hash(&joined(&self.ciphers))
    }

    /// As [`Self::ciphers_hash`], of the third part.
    pub fn extensions_hash(&self) -> [u8; 6] {
        hash(&self.third())
    }

    /// JA4_r: the parts as they are before they are hashed.
    pub fn raw(&self) -> String {
        format!("{}_{}_{}", self.letters(), joined(&self.ciphers), self.third())
    }

    /// What the kernel program knows the hello by.
    pub fn key(&self) -> HelloKey {
        let sum = |values: &[u16], of: fn(u16) -> u64| values.iter().fold(0u64, |sum, value| sum.wrapping_add(of(*value)));
        let algorithms = self.algorithms.iter().fold(0, |sum, algorithm| hello::with_algorithm(sum, *algorithm));
        HelloKey {
            letters: hello::letters(self.letters),
            ciphers: sum(&self.ciphers, hello::of_cipher),
            extensions: hello::of_extensions(sum(&self.extensions, hello::of_extension), algorithms),
        }
    }

    fn third(&self) -> String {
        let underscore = if self.algorithms.is_empty() { "" } else { "_" };
        joined(&self.extensions) + underscore + &joined(&self.algorithms)
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}_{}", self.letters(), hex(self.ciphers_hash()), hex(self.extensions_hash()))
    }
}

/// A JA4_r.
impl FromStr for Ja4 {
    type Err = NotRaw;

    fn from_str(text: &str) -> Result<Self, NotRaw> {
        let mut parts = text.split('_');
        let (Some(letters), Some(ciphers), Some(extensions)) = (parts.next(), parts.next(), parts.next()) else { return Err(NotRaw) };
        let algorithms = parts.next();
        if parts.next().is_some() || algorithms.is_some_and(str::is_empty) {
            return Err(NotRaw);
        }
        let letters = <[u8; 10]>::try_from(letters.as_bytes()).map_err(|_| NotRaw)?;
        if !letters.iter().all(u8::is_ascii_alphanumeric) {
            return Err(NotRaw);
        }
        let mut ja4 =
            Self { letters, ciphers: list(ciphers)?, extensions: list(extensions)?, algorithms: list(algorithms.unwrap_or_default())? };
        ja4.ciphers.sort_unstable();
        ja4.extensions.sort_unstable();
        Ok(ja4)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no JA4_r: that is ten letters, `_`, ciphers, `_`, extensions and, if there are any, `_` and signature algorithms, all in four hexadecimal digits with commas between them"
)]
pub struct NotRaw;

fn list(text: &str) -> Result<Vec<u16>, NotRaw> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let value = |digits: &str| {
        let plain = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if plain { u16::from_str_radix(digits, 16).map_err(|_| NotRaw) } else { Err(NotRaw) }
    };
    text.split(',').map(value).collect()
}

fn joined(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

/// Of nothing it is zeros, so that it is seen that there is nothing.
fn hash(text: &str) -> [u8; 6] {
    if text.is_empty() {
        return [0; 6];
    }
    let digest = Sha256::digest(text.as_bytes());
    std::array::from_fn(|place| digest[place])
}

/// The bytes of a hash as a JA4 has them.
pub fn hex(bytes: [u8; 6]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digits(count: usize) -> [u8; 2] {
    let count = count.min(MOST) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last letter of the first protocol; where one of them is none, the first and last hexadecimal digit.
fn first_protocol(value: &[u8]) -> [u8; 2] {
    let name = value.get(2..).and_then(|mut list| short_vector(&mut list));
    match name {
        Some([first, .., last] | [first @ last]) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => [*first, *last],
        Some([first, .., last] | [first @ last]) => {
            let digit = |value: u8| char::from_digit(value.into(), 16).map_or(b'0', |digit| digit as u8);
            [digit(first >> 4), digit(last & 0xf)]
        }
        _ => *b"00",
    }
}

fn part<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    part(rest, 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// What follows its length in one byte.
fn short_vector<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = part(rest, 1)?[0];
    part(rest, length.into())
}

/// What follows its length in two bytes.
fn vector<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    part(rest, length.into())
}

fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

/// The numbers of the vector that the extension is.
fn whole<'a>(mut value: &'a [u8], vector: fn(&mut &'a [u8]) -> Option<&'a [u8]>) -> Option<Vec<u16>> {
    let list = vector(&mut value)?;
    if value.is_empty() { numbers(list) } else { None }
}

#[cfg(test)]
mod tests;
