//! What devices are known by beside their MACs, as the program is loaded with it.

use edge_ebpf::abi::identity::{FACT_KINDS, FactState, GroupOp, HelloKey, MacFacts};

use crate::identity::ja4::Ja4;

/// The signals of a policy set, and the groups that they make. `None` in [`super::Compiled`]: groups are of MACs alone.
#[derive(Clone, Debug)]
pub struct CompiledIdentity {
    /// Each signal as text, the same in every set that has it: by it, a signal keeps its slot in the kernel's tables. A signal's number is
    /// its place here.
    pub signals: Vec<String>,
    /// Sets of numbers of signals, sorted; the first one is empty. What is known by a fact, a name ([`edge_ebpf::abi::NameRules`]) or a
    /// signature ([`edge_ebpf::abi::SignatureEntry`]) is the number of a set.
    pub sets: Vec<Vec<u32>>,
    /// The automaton of facts; the first state is where nothing matches any more.
    pub states: Vec<FactState>,
    /// By kind of fact: the state that its bytes are walked from; 0: no signal is about it.
    pub starts: [u16; FACT_KINDS],
    /// What ClientHellos are known by as far as the policies say it themselves, with numbers of sets.
    pub hellos: Vec<(HelloKey, u32)>,
    /// Signals about JA4 values that the policies know as hashes only: the agent finds out which hellos have them.
    pub hashed: Vec<HashedHello>,
    /// By class of the MAC.
    pub macs: Vec<MacFacts>,
    /// The groups' program. Its signals are numbers here, slots in the kernel.
    pub ops: Vec<GroupOp>,
    /// Class of the rules for devices that are in no group.
    pub unknown: u32,
}

/// A JA4 value or pattern whose parts are known as hashes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashedHello {
    /// `None`: any.
    pub letters: Option<[u8; 10]>,
    /// The first six bytes of the SHA-256.
    pub ciphers: Option<[u8; 6]>,
    pub extensions: Option<[u8; 6]>,
    /// Number of the signal.
    pub signal: u32,
}

impl HashedHello {
    pub fn is(&self, ja4: &Ja4) -> bool {
        let Self { letters, ciphers, extensions, signal: _ } = self;
        letters.is_none_or(|letters| letters == *ja4.letters().as_bytes())
            && ciphers.is_none_or(|hash| hash == ja4.ciphers_hash())
            && extensions.is_none_or(|hash| hash == ja4.extensions_hash())
    }
}

impl CompiledIdentity {
    /// Numbers of all signals that a hello over TCP is by all its parts: what the kernel is told once a hello was seen whose JA4 is known as a hash.
    /// Empty: none is about hashes.
    pub fn signals_of_hello(&self, ja4: &Ja4) -> Vec<u32> {
        let mut signals: Vec<u32> = self.hashed.iter().filter(|hashed| hashed.is(ja4)).map(|hashed| hashed.signal).collect();
        if !signals.is_empty() {
            let key = ja4.key().only(HelloKey::ALL_PARTS);
            let known = self.hellos.iter().find(|(known, _)| *known == key).and_then(|(_, set)| self.sets.get(*set as usize));
            signals.extend(known.into_iter().flatten());
        }
        signals
    }
}
