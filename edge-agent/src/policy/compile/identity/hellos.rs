//! JA4 values of which more than the letters is known.

use std::collections::BTreeMap;

use edge_ebpf::abi::identity::{HelloKey, HelloParts, MAX_HELLO_KEYS, SignalSet};
use edge_ebpf::identity::hello;
use sha2::{Digest, Sha256};

use super::{HashedHello, Numbering, SignalSets, set_signal};
use crate::policy::compile::CompileError;
use crate::policy::model::{Ja4Part, Ja4Pattern, Resolved, Signal};

pub struct Hellos {
    /// With numbers of sets.
    pub keys: Vec<(HelloKey, u32)>,
    pub hashed: Vec<HashedHello>,
}

pub fn of(set: &Resolved, numbering: &Numbering, sets: &mut SignalSets) -> Result<Hellos, CompileError> {
    // In an order that does not depend on the process.
    let mut keys: BTreeMap<[u64; 4], (HelloKey, SignalSet)> = BTreeMap::new();
    let mut hashed = Vec::new();
    for (signal, number) in numbering.iter(set) {
        let Signal::Hello(patterns) = signal else { continue };
        for pattern in patterns.iter().filter(|pattern| pattern.ciphers.is_some() || pattern.extensions.is_some()) {
            match key(pattern) {
                Some(key) => {
                    let HelloKey { letters: [first, second], ciphers, extensions } = key;
                    let (_, signals) = keys.entry([first, second, ciphers, extensions]).or_insert((key, SignalSet::default()));
                    set_signal(signals, number);
                }
                None => hashed.push(HashedHello {
                    letters: pattern.letters,
                    ciphers: pattern.ciphers.as_ref().map(hash),
                    extensions: pattern.extensions.as_ref().map(hash),
                    signal: number,
                }),
            }
        }
    }
    // Each hashed value takes an entry at least once a hello with it was seen.
    let entries = keys.len() + hashed.len();
    if entries > MAX_HELLO_KEYS as usize {
        return Err(CompileError::TooManyHellos { hellos: entries });
    }
    Ok(Hellos { keys: keys.into_values().map(|(key, signals)| (key, sets.intern(signals))).collect(), hashed })
}

/// The key of the hellos that are meant; `None`: a part is known as a hash, or some of the letters are open.
pub fn key(pattern: &Ja4Pattern) -> Option<HelloKey> {
    let Ja4Pattern { letters, ciphers, extensions } = pattern;
    let mut parts = 0;
    let mut key = HelloKey::default();
    if letters.iter().any(Option::is_some) {
        let letters: Vec<u8> = letters.iter().copied().collect::<Option<_>>()?;
        key.letters = hello::letters(letters.try_into().ok()?);
        parts |= HelloParts::LETTERS;
    }
    match ciphers {
        None => {}
        Some(Ja4Part::Hash(_)) => return None,
        Some(Ja4Part::Raw(raw)) => {
            let (ciphers, _) = Ja4Part::numbers(raw);
            key.ciphers = ciphers.into_iter().fold(0, |sum, cipher| sum.wrapping_add(hello::of_cipher(cipher)));
            parts |= HelloParts::CIPHERS;
        }
    }
    match extensions {
        None => {}
        Some(Ja4Part::Hash(_)) => return None,
        Some(Ja4Part::Raw(raw)) => {
            let (extensions, algorithms) = Ja4Part::numbers(raw);
            let extensions = extensions.into_iter().fold(0, |sum: u64, extension| sum.wrapping_add(hello::of_extension(extension)));
            key.extensions = hello::of_extensions(extensions, algorithms.into_iter().fold(0, hello::with_algorithm));
            parts |= HelloParts::EXTENSIONS;
        }
    }
    Some(key.asking(HelloParts(parts)))
}

/// The first six bytes of the SHA-256.
fn hash(part: &Ja4Part) -> [u8; 6] {
    match part {
        Ja4Part::Hash(hash) => *hash,
        Ja4Part::Raw(raw) => {
            let digest = Sha256::digest(raw);
            std::array::from_fn(|place| digest[place])
        }
    }
}
