//! Which of the policies' signals a fact is: by the same automaton and keys that the program has.

use std::collections::HashMap;
use std::sync::Arc;

use edge_ebpf::abi::identity::{FactKind, HelloKey, HelloParts, MAX_HELLO_KEYS};
use sha2::{Digest, Sha256};

use super::ja4::Ja4;
use super::text::ja4;
use crate::policy::compile::identity::CompiledIdentity;

/// What a signal is known by in files: it outlives the sets of policies that have it.
pub type SignalKey = [u8; 16];

/// A fact, whoever has shown it.
type Value = (FactKind, Arc<[u8]>);

/// Facts whose signals are kept at hand.
const AT_HAND: usize = 1 << 16;

pub struct Evaluator {
    identity: CompiledIdentity,
    hellos: HashMap<HelloKey, u32>,
    numbers: HashMap<SignalKey, u32>,
    at_hand: HashMap<Value, Arc<[u32]>>,
}

impl Evaluator {
    pub fn new(identity: &CompiledIdentity) -> Self {
        let keys = identity.signals.iter().map(|text| signal_key(text));
        Self {
            hellos: identity.hellos.iter().copied().collect(),
            numbers: keys.zip(0..).collect(),
            identity: identity.clone(),
            at_hand: HashMap::new(),
        }
    }

    /// Numbers of the signals that the fact is, sorted.
    pub fn signals(&mut self, kind: FactKind, value: &Arc<[u8]>) -> Arc<[u32]> {
        let key = (kind, value.clone());
        if let Some(signals) = self.at_hand.get(&key) {
            return signals.clone();
        }
        let signals: Arc<[u32]> = match kind {
            FactKind::Hello => ja4(value).map_or_else(Vec::new, |ja4| self.of_hello(&ja4)),
            _ => self.identity.signals_of_fact(kind, value).to_vec(),
        }
        .into();
        if self.at_hand.len() >= AT_HAND {
            self.at_hand.clear();
        }
        self.at_hand.insert(key, signals.clone());
        signals
    }

    /// As [`CompiledIdentity::hashed_signals`].
    pub fn hashed(&self, ja4: &Ja4) -> Vec<u32> {
        self.identity.hashed_signals(ja4)
    }

    pub fn number(&self, key: &SignalKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// The signal as text.
    pub fn text(&self, number: u32) -> &str {
        self.identity.signals.get(number as usize).map_or("", String::as_str)
    }

    fn of_hello(&self, ja4: &Ja4) -> Vec<u32> {
        let key = ja4.key();
        let mut signals = self.hashed(ja4);
        signals.extend(self.identity.signals_of_fact(FactKind::Hello, ja4.letters().as_bytes()));
        for parts in 1..=HelloKey::ALL_PARTS.0 {
            signals.extend(self.hellos.get(&key.asking(HelloParts(parts))).into_iter().flat_map(|set| self.identity.set(*set)));
        }
        signals.sort_unstable();
        signals.dedup();
        signals
    }
}

/// Has the set know these hellos by their keys, where policies know their JA4 as hashes.
pub fn extend<'a>(identity: &mut CompiledIdentity, hellos: impl Iterator<Item = &'a Ja4>) {
    if identity.hashed.is_empty() {
        return;
    }
    let mut places: HashMap<HelloKey, usize> = identity.hellos.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
    let mut sets: HashMap<Vec<u32>, u32> = identity.sets.iter().cloned().zip(0..).collect();
    for hello in hellos {
        let mut signals = identity.hashed_signals(hello);
        if signals.is_empty() {
            continue;
        }
        let key = hello.key().asking(HelloKey::ALL_PARTS);
        let place = places.get(&key).copied();
        if let Some((_, set)) = place.and_then(|place| identity.hellos.get(place)) {
            signals.extend(identity.set(*set));
        } else if identity.hellos.len() >= MAX_HELLO_KEYS as usize {
            return;
        }
        signals.sort_unstable();
        signals.dedup();
        let set = *sets.entry(signals).or_insert_with_key(|signals| {
            identity.sets.push(signals.clone());
            identity.sets.len() as u32 - 1
        });
        match place {
            Some(place) => identity.hellos[place].1 = set,
            None => {
                places.insert(key, identity.hellos.len());
                identity.hellos.push((key, set));
            }
        }
    }
}

pub fn signal_key(text: &str) -> SignalKey {
    let digest = Sha256::digest(text.as_bytes());
    std::array::from_fn(|place| digest[place])
}

/// A set that is put together by hand, for tests.
#[cfg(test)]
pub mod made {
    use edge_ebpf::abi::identity::{FACT_KINDS, FactState, GroupOp, MacFacts};

    use super::*;
    use crate::policy::compile::identity::HashedHello;

    /// Signal 0: the hostname `redmi`. Signal 1: this JA4, of which the hashes are known. Signal 2: nothing that a frame shows.
    pub fn identity(hello: &Ja4) -> CompiledIdentity {
        let nowhere = FactState { next: [0; 256], set: 0, reserved: 0 };
        let mut states = vec![nowhere; 7];
        for (place, letter) in b"redmi".iter().enumerate() {
            states[place + 1].next[usize::from(*letter)] = place as u16 + 2;
        }
        states[6].set = 1;
        let mut starts = [0; FACT_KINDS];
        starts[FactKind::DhcpHostName as usize] = 1;
        CompiledIdentity {
            signals: ["hostname redmi", "a JA4", "a name"].map(str::to_owned).into(),
            numbers: vec![],
            sets: vec![vec![], vec![0]],
            states,
            starts,
            hellos: vec![],
            hashed: vec![HashedHello {
                letters: [None; 10],
                ciphers: Some(hello.ciphers_hash()),
                extensions: Some(hello.extensions_hash()),
                signal: 1,
            }],
            macs: vec![MacFacts::default()],
            ops: vec![GroupOp::signal(0), GroupOp::group(0, true)],
            unknown: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(text: &str) -> Ja4 {
        text.parse().expect("a JA4_r")
    }

    #[test]
    fn a_fact_is_the_signals_that_the_automaton_says() {
        let known = hello("t13d0201h2_1301,1302_000d_0403");
        let mut evaluator = Evaluator::new(&made::identity(&known));
        let mut signals = |kind, value: &[u8]| evaluator.signals(kind, &value.into()).to_vec();
        for _ in 0..2 {
            assert_eq!(signals(FactKind::DhcpHostName, b"redmi"), [0]);
            assert!(signals(FactKind::DhcpHostName, b"redmi2").is_empty() && signals(FactKind::UserAgent, b"redmi").is_empty());
            assert_eq!(signals(FactKind::Hello, known.raw().as_bytes()), [1]);
            assert!(signals(FactKind::Hello, b"t13d0201h2_1301,1303_000d_0403").is_empty());
        }
        assert_eq!(evaluator.number(&signal_key("a JA4")), Some(1));
        assert_eq!(evaluator.number(&signal_key("another")), None);
    }

    #[test]
    fn hellos_that_were_seen_are_known_by_their_keys() {
        let known = hello("t13d0201h2_1301,1302_000d_0403");
        let other = hello("t13d0201h2_1301,1303_000d_0403");
        let mut identity = made::identity(&known);
        for _ in 0..2 {
            extend(&mut identity, [&known, &other].into_iter());
            assert_eq!(identity.sets, [vec![], vec![0], vec![1]]);
            assert_eq!(identity.hellos, [(known.key().asking(HelloKey::ALL_PARTS), 2)]);
        }
        identity.hashed[0].signal = 0;
        extend(&mut identity, std::iter::once(&known));
        assert_eq!((identity.hellos.len(), &identity.sets[identity.hellos[0].1 as usize]), (1, &vec![0, 1]));
    }
}
