//! What devices are known by beside their MACs, as the program is loaded with it.

mod dfa;
mod facts;
mod groups;
mod hellos;
mod macs;
mod nfa;
mod signals;

use edge_ebpf::abi::MAX_WORDS;
use edge_ebpf::abi::identity::{FACT_KINDS, FactState, GroupOp, HelloKey, MacFacts, SignalSet};

use self::groups::Groups;
use self::macs::Known;
pub(super) use self::macs::devices;
pub(super) use self::signals::Numbering;
use super::CompileError;
use super::rows::{RowPool, set_bit};
use crate::identity::ja4::Ja4;
use crate::policy::model::{DeviceSelector, Resolved};

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
    /// What ClientHellos are known by as far as the policies say it themselves, with numbers of sets. Which parts a key is of says
    /// [`HelloKey::parts`].
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

/// A JA4 value or pattern of whose parts one is known as a hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HashedHello {
    /// `None`: any.
    pub letters: [Option<u8>; 10],
    /// The first six bytes of the SHA-256. `None`: any.
    pub ciphers: Option<[u8; 6]>,
    pub extensions: Option<[u8; 6]>,
    /// Number of the signal.
    pub signal: u32,
}

impl HashedHello {
    /// As [`Self::holds`].
    pub fn is(&self, ja4: &Ja4) -> bool {
        let letters = ja4.letters().as_bytes().first_chunk();
        letters.is_some_and(|letters| self.holds(letters, ja4.ciphers_hash(), ja4.extensions_hash()))
    }

    /// Whether a hello with this JA4 is meant.
    pub fn holds(&self, letters: &[u8; 10], ciphers: [u8; 6], extensions: [u8; 6]) -> bool {
        let letters = self.letters.iter().zip(letters).all(|(wanted, letter)| wanted.is_none_or(|wanted| wanted == *letter));
        letters && self.ciphers.is_none_or(|wanted| wanted == ciphers) && self.extensions.is_none_or(|wanted| wanted == extensions)
    }
}

impl CompiledIdentity {
    /// Numbers of all signals that a hello over TCP is by all its parts: what the kernel is told once a hello was seen whose JA4 is known as a hash.
    /// Empty: none is about hashes.
    pub fn signals_of_hello(&self, ja4: &Ja4) -> Vec<u32> {
        let of_hash = self.hashed.iter().filter(|hashed| hashed.is(ja4));
        let mut signals: Vec<u32> = of_hash.map(|hashed| hashed.signal).collect();
        if !signals.is_empty() {
            let key = ja4.key().asking(HelloKey::ALL_PARTS);
            let known = self.hellos.iter().find(|(known, _)| *known == key).and_then(|(_, set)| self.sets.get(*set as usize));
            signals.extend(known.into_iter().flatten());
        }
        signals
    }
}

/// Gives each distinct set of signals a number; 0 is that of none.
pub(super) struct SignalSets(Vec<SignalSet>, std::collections::HashMap<SignalSet, u32>);

impl SignalSets {
    pub fn new() -> Self {
        Self(vec![SignalSet::default()], std::collections::HashMap::from([(SignalSet::default(), 0)]))
    }

    pub fn intern(&mut self, set: SignalSet) -> u32 {
        let Self(sets, numbers) = self;
        *numbers.entry(set).or_insert_with(|| {
            sets.push(set);
            (sets.len() - 1) as u32
        })
    }

    /// Numbers of signals of each.
    fn into_lists(self) -> Vec<Vec<u32>> {
        self.0.iter().map(members).collect()
    }
}

pub(super) fn set_signal(set: &mut SignalSet, signal: u32) {
    set[signal as usize / 64] |= 1 << (signal % 64);
}

fn members(set: &SignalSet) -> Vec<u32> {
    (0..set.len() as u32 * 64).filter(|signal| set[*signal as usize / 64] >> (signal % 64) & 1 == 1).collect()
}

/// Puts together what the compiled MACs, names and signatures leave: the automaton, the hellos, and the groups' program.
pub(super) fn identity(
    set: &Resolved,
    numbering: Numbering,
    mut sets: SignalSets,
    (groups, mut macs): Known,
    pool: &mut RowPool,
) -> Result<CompiledIdentity, CompileError> {
    let mut unknown = [0; MAX_WORDS];
    for (index, rule) in set.rules.iter().enumerate() {
        if rule.direction.outbound() && rule.from.contains(&DeviceSelector::Unknown) {
            set_bit(&mut unknown, index);
        }
    }
    let unknown = pool.intern(unknown);
    let (states, starts) = facts::automaton(set, &numbering, &mut sets)?;
    let hellos::Hellos { keys, hashed } = hellos::of(set, &numbering, &mut sets)?;
    let ops = groups.program(set, &numbering, pool)?;
    macs.resize(pool.len(), MacFacts::default());
    Ok(CompiledIdentity {
        signals: numbering.into_texts(),
        sets: sets.into_lists(),
        states,
        starts,
        hellos: keys,
        hashed,
        macs,
        ops,
        unknown,
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::{hellos::key as key_of, tests::of_shape};
