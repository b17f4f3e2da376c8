//! Initial packets made to order, for tests.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{Aead, Payload};

use super::crypto::Keys;

/// A CRYPTO frame.
pub fn crypto(offset: usize, piece: &[u8]) -> Vec<u8> {
    [&[6], &((0x4000 | offset) as u16).to_be_bytes()[..], &((0x4000 | piece.len()) as u16).to_be_bytes(), piece].concat()
}

/// An Initial to `destination`, protected with the keys of `first`; `kind` is the first byte's type.
///
/// # Panics
/// If `version` is not a known one.
pub fn initial(version: u32, kind: u8, destination: &[u8], first: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let keys = Keys::of_client(version, first).next().expect("a version");
    let payload = [frames, &vec![0; 1100_usize.saturating_sub(frames.len())]].concat();
    let mut header = vec![0xc0 | kind];
    header.extend(version.to_be_bytes());
    header.push(destination.len() as u8);
    header.extend(destination);
    // No source connection ID, no token; the length has the number's byte and the tag.
    header.extend([0, 0]);
    header.extend(((0x4000 | (payload.len() + 17)) as u16).to_be_bytes());
    header.push(number);
    let (key, iv, protection) = keys.parts();
    let mut nonce = iv;
    nonce[11] ^= number;
    let cipher = Aes128Gcm::new(&key.into());
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: &payload, aad: &header }).expect("encrypted");
    let mut mask = Block::from(<[u8; 16]>::try_from(&sealed[3..19]).expect("a sample"));
    Aes128::new(&protection.into()).encrypt_block(&mut mask);
    header[0] ^= mask[0] & 0x0f;
    *header.last_mut().expect("the number") ^= mask[1];
    [header, sealed].concat()
}
