//! Protection of Initial packets (RFC 9001 section 5, RFC 9369 section 3.3).

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{Aead, Payload};
use edge_ebpf::name::quic::version;
use hkdf::Hkdf;
use sha2::Sha256;

use super::header::Header;

/// Bytes of the authentication tag, and of the sample that the header's protection is made of.
const TAG: usize = 16;
/// Longest packet number.
const NUMBER: usize = 4;

/// What a version makes its keys of.
#[derive(Clone, Copy)]
struct Salts {
    salt: [u8; 20],
    /// Prefix of the labels of key, IV and header protection.
    label: &'static str,
}

const V1: Salts = Salts { salt: *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a", label: "quic" };
const V2: Salts = Salts { salt: *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9", label: "quicv2" };
const DRAFT_29: Salts = Salts { salt: *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99", label: "quic" };
const DRAFT_23: Salts = Salts { salt: *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02", label: "quic" };
const DRAFT_21: Salts = Salts { salt: *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a", label: "quic" };

/// What packets of a version may be protected with.
fn salts(number: u32) -> &'static [Salts] {
    match number {
        version::V1 => &[V1],
        version::V2 => &[V2],
        // A version that no server has, so that it says which it has: built as one of the client's own.
        reserved if version::is_reserved(reserved) => &[V1, DRAFT_29, DRAFT_23, DRAFT_21],
        draft if version::is_draft(draft) => match draft & 0xff {
            // Facebook's own numbers 1 and 2 follow the drafts 22 and 27.
            0x02 | 23..=28 => &[DRAFT_23],
            0x01 | 21..=22 => &[DRAFT_21],
            29..=32 => &[DRAFT_29],
            33..=34 => &[V1],
            _ => &[],
        },
        _ => &[],
    }
}

/// Keys of a client's Initials.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    /// What a client may have used; `destination` is the connection ID of its first Initial. None: a version that is not known.
    pub fn of_client(version: u32, destination: &[u8]) -> impl Iterator<Item = Self> {
        salts(version).iter().filter_map(|salts| Self::new(*salts, destination))
    }

    fn new(salts: Salts, destination: &[u8]) -> Option<Self> {
        let Salts { salt, label } = salts;
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&salt), destination);
        let client: [u8; 32] = expand(&initial, "client in")?;
        let client = Hkdf::<Sha256>::from_prk(&client).ok()?;
        Some(Self {
            key: expand(&client, &format!("{label} key"))?,
            iv: expand(&client, &format!("{label} iv"))?,
            header: expand(&client, &format!("{label} hp"))?,
        })
    }

    /// Key, IV, key of the header's protection.
    pub fn parts(&self) -> ([u8; 16], [u8; 12], [u8; 16]) {
        (self.key, self.iv, self.header)
    }

    /// The payload of an Initial; `None`: it was not made with these keys, or was changed.
    pub fn decrypt(&self, header: &Header<'_>, packet: &[u8]) -> Option<Vec<u8>> {
        let Self { key, iv, header: header_key } = self;
        let number = header.number;
        let sample: [u8; TAG] = packet.get(number + NUMBER..number + NUMBER + TAG)?.try_into().ok()?;
        let mut mask = Block::from(sample);
        Aes128::new(&(*header_key).into()).encrypt_block(&mut mask);
        let first = packet[0] ^ (mask[0] & 0x0f);
        let length = usize::from(first & 3) + 1;
        let mut clear = packet.get(..number + length)?.to_vec();
        clear[0] = first;
        let mut nonce = *iv;
        for place in 0..length {
            clear[number + place] ^= mask[1 + place];
            // Initials have small numbers, so what was cut off them is zero.
            nonce[iv.len() - length + place] ^= clear[number + place];
        }
        let payload = Payload { msg: packet.get(number + length..)?, aad: &clear };
        Aes128Gcm::new(&(*key).into()).decrypt(&nonce.into(), payload).ok()
    }
}

/// HKDF-Expand-Label with no context (RFC 8446 section 7.1).
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; N]> {
    let label = format!("tls13 {label}");
    let info = [&(N as u16).to_be_bytes()[..], &[u8::try_from(label.len()).ok()?], label.as_bytes(), &[0]].concat();
    let mut out = [0; N];
    secret.expand(&info, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_standards() {
        // RFC 9001 appendix A.1 and RFC 9369 appendix A.1.
        let id = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let keys = Keys::of_client(version::V1, &id).next().expect("a known version");
        assert_eq!(keys.key, *b"\x1f\x36\x96\x13\xdd\x76\xd5\x46\x77\x30\xef\xcb\xe3\xb1\xa2\x2d");
        assert_eq!(keys.iv, *b"\xfa\x04\x4b\x2f\x42\xa3\xfd\x3b\x46\xfb\x25\x5c");
        assert_eq!(keys.header, *b"\x9f\x50\x44\x9e\x04\xa0\xe8\x10\x28\x3a\x1e\x99\x33\xad\xed\xd2");
        let keys = Keys::of_client(version::V2, &id).next().expect("a known version");
        assert_eq!(keys.key, *b"\x8b\x1a\x0b\xc1\x21\x28\x42\x90\xa2\x9e\x09\x71\xb5\xcd\x04\x5d");
        assert!(Keys::of_client(0x5130_3530, &id).next().is_none());
    }
}
