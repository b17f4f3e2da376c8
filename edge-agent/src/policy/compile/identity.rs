//! What devices are known by beside their MACs, as the program is loaded with it.

mod dfa;
mod facts;
mod groups;
mod hellos;
mod macs;
mod nfa;
mod signals;

use edge_ebpf::abi::identity::{FACT_KINDS, FactKind, FactState, GroupOp, HelloKey, MAX_FACT, MacFacts, SignalSet};
use edge_ebpf::abi::{MAX_WORDS, row_size};
use edge_ebpf::identity::automaton::{self, States};
use edge_ebpf::packet::access::Frame;

use self::groups::Groups;
use self::macs::Known;
pub(super) use self::macs::devices;
pub(super) use self::signals::Numbering;
use super::rows::{RowPool, set_bit};
use super::{CompileError, Compiled};
use crate::identity::ja4::Ja4;
use crate::policy::model::{DeviceSelector, Resolved};

/// The signals of a policy set, and the groups that they make. `None` in [`super::Compiled`]: groups are of MACs alone.
#[derive(Clone, Debug)]
pub struct CompiledIdentity {
    /// Each signal as text, the same in every set that has it: by it, a signal keeps its slot in the kernel's tables. A signal's number is
    /// its place here.
    pub signals: Vec<String>,
    /// By [`crate::policy::model::SignalId`]: its number; `None`: it is of MACs, or no group asks for it.
    pub numbers: Vec<Option<u32>>,
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
    /// Numbers of the signals that a fact's bytes are; what is behind the first [`MAX_FACT`] is not there for patterns.
    pub fn signals_of_fact(&self, kind: FactKind, value: &[u8]) -> &[u32] {
        /// Bytes before what is walked.
        const BEFORE: usize = 8;
        let start = u32::from(self.starts[kind as usize]);
        if start == 0 || value.is_empty() {
            return &[];
        }
        let bytes = [&[0; BEFORE], &value[..value.len().min(MAX_FACT)]].concat();
        let ends_with_line = kind == FactKind::UserAgent;
        self.set(automaton::walk(&self, &Frame::new(&bytes), start, BEFORE, bytes.len(), ends_with_line, 0))
    }

    /// Numbers of the signals of a set; none where there is no such set.
    pub fn set(&self, number: u32) -> &[u32] {
        self.sets.get(number as usize).map_or(&[], Vec::as_slice)
    }

    /// Numbers of the signals about a hello that the policies know as hashes, sorted.
    pub fn hashed_signals(&self, ja4: &Ja4) -> Vec<u32> {
        let mut signals: Vec<u32> = self.hashed.iter().filter(|hashed| hashed.is(ja4)).map(|hashed| hashed.signal).collect();
        signals.sort_unstable();
        signals.dedup();
        signals
    }
}

impl States for &CompiledIdentity {
    fn state(&self, number: u32) -> Option<&FactState> {
        self.states.get(number as usize)
    }
}

/// The groups' program with the rows that it adds up.
#[derive(Clone, Copy)]
pub struct Program<'a>(pub &'a Compiled, pub &'a CompiledIdentity);

impl edge_ebpf::identity::groups::Groups for Program<'_> {
    fn ops(&self) -> u32 {
        self.1.ops.len() as u32
    }
    fn op(&self, index: u32) -> Option<GroupOp> {
        self.1.ops.get(index as usize).copied()
    }
    fn word(&self, class: u32, offset: u32) -> u64 {
        self.0.pool[(class * self.row_size() + offset) as usize]
    }
    fn row_size(&self) -> u32 {
        row_size(self.0.words) as u32
    }
    fn unknown(&self) -> u32 {
        self.1.unknown
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
    let Numbering { numbers, texts } = numbering;
    Ok(CompiledIdentity { signals: texts, numbers, sets: sets.into_lists(), states, starts, hellos: keys, hashed, macs, ops, unknown })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::{hellos::key as key_of, tests::of_shape};
