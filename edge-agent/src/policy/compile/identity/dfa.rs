//! Patterns of facts as an automaton in which one state holds: the subsets of the other one's states, and of those one of each that behave
//! alike.

use std::collections::HashMap;

use edge_ebpf::abi::identity::{MAX_FACT_STATES, SignalSet};

use super::nfa::{Nfa, NfaState};
use super::set_signal;

/// A state: where each class of bytes leads to, and which signals a fact is that ends here.
#[derive(Clone, Debug)]
pub struct DfaState {
    pub next: Vec<u32>,
    pub signals: SignalSet,
}

pub struct Dfa {
    /// The first one is where nothing matches any more.
    pub states: Vec<DfaState>,
    /// By starts of patterns.
    pub starts: Vec<u32>,
    /// The class of each byte.
    pub classes: [u8; 256],
}

/// More states than a table holds.
#[derive(Debug)]
pub struct TooLarge;

/// What holds of the other automaton at once: states, and signals that are settled.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Held {
    states: Vec<u32>,
    settled: SignalSet,
}

impl Dfa {
    /// Of patterns, for each kind the states that they start in.
    pub fn of(nfa: &Nfa, kinds: &[Vec<u32>]) -> Result<Self, TooLarge> {
        let (classes, examples) = byte_classes(nfa);
        let owners = owners(nfa);
        let mut numbers: HashMap<Held, u32> = HashMap::from([(Held::default(), 0)]);
        let mut all = vec![Held::default()];
        let mut number = |held: Held, all: &mut Vec<Held>| {
            let next = all.len() as u32;
            let number = *numbers.entry(held.clone()).or_insert(next);
            if number == next {
                all.push(held);
            }
            number
        };
        let starts: Vec<u32> =
            kinds.iter().map(|states| number(Held::new(nfa, &owners, states.clone(), SignalSet::default()), &mut all)).collect();
        let mut states = Vec::new();
        while let Some(here) = all.get(states.len()).cloned() {
            // Few of them behave alike: merging would not save a set that is too large.
            if all.len() > MAX_FACT_STATES {
                return Err(TooLarge);
            }
            let next = examples.iter().map(|byte| {
                let edges = here.states.iter().flat_map(|state| &nfa.states[*state as usize].edges);
                let to = edges.filter(|(bytes, _)| bytes.has(*byte)).map(|(_, to)| *to).collect();
                number(Held::new(nfa, &owners, to, here.settled), &mut all)
            });
            let next = next.collect();
            let mut signals = here.settled;
            here.states.iter().filter_map(|state| nfa.states[*state as usize].accepts).for_each(|signal| set_signal(&mut signals, signal));
            states.push(DfaState { next, signals });
        }
        Ok(Self { states, starts, classes }.merged())
    }

    /// With one state for all that no bytes tell apart (Moore's algorithm: states are split until those of one block lead to the same ones).
    fn merged(self) -> Self {
        let Self { states, starts, classes } = self;
        let mut blocks: Vec<u32> = vec![0; states.len()];
        let mut count = 0;
        loop {
            let mut numbers: HashMap<(u32, SignalSet, Vec<u32>), u32> = HashMap::new();
            let refined: Vec<u32> = states
                .iter()
                .zip(&blocks)
                .map(|(state, block)| {
                    let next = if count == 0 { Vec::new() } else { state.next.iter().map(|next| blocks[*next as usize]).collect() };
                    let number = numbers.len() as u32;
                    // The first state comes first, so its block stays the first.
                    *numbers.entry((*block, state.signals, next)).or_insert(number)
                })
                .collect();
            let unchanged = numbers.len() == count;
            count = numbers.len();
            blocks = refined;
            if unchanged {
                break;
            }
        }
        let mut merged: Vec<Option<DfaState>> = vec![None; count];
        for (state, block) in states.iter().zip(&blocks) {
            merged[*block as usize].get_or_insert_with(|| DfaState {
                next: state.next.iter().map(|next| blocks[*next as usize]).collect(),
                signals: state.signals,
            });
        }
        let starts = starts.into_iter().map(|start| blocks[start as usize]).collect();
        Self { states: merged.into_iter().flatten().collect(), starts, classes }
    }
}

impl Held {
    fn new(nfa: &Nfa, owners: &[u32], mut states: Vec<u32>, mut settled: SignalSet) -> Self {
        states.iter().filter_map(|state| nfa.states[*state as usize].settles).for_each(|signal| set_signal(&mut settled, signal));
        // Other patterns of a settled signal add nothing.
        states.retain(|state| {
            let owner = owners[*state as usize];
            settled[owner as usize / 64] >> (owner % 64) & 1 == 0
        });
        states.sort_unstable();
        states.dedup();
        Self { states, settled }
    }
}

/// The signal that each state is of.
fn owners(nfa: &Nfa) -> Vec<u32> {
    let mut owners: Vec<Option<u32>> = nfa.states.iter().map(|NfaState { accepts, settles, .. }| accepts.or(*settles)).collect();
    // Edges lead to later states, but for those that lead back to the state itself and those to where several ways join.
    loop {
        let before = owners.clone();
        for (place, state) in nfa.states.iter().enumerate().rev() {
            owners[place] = owners[place].or_else(|| state.edges.iter().find_map(|(_, to)| owners[*to as usize]));
        }
        if owners == before {
            // A window's multiple may lead nowhere.
            return owners.into_iter().map(|owner| owner.unwrap_or_default()).collect();
        }
    }
}

/// Bytes that no pattern tells apart share a class; and one byte of each.
fn byte_classes(nfa: &Nfa) -> ([u8; 256], Vec<u8>) {
    let sets: std::collections::HashSet<_> = nfa.states.iter().flat_map(|state| &state.edges).map(|(bytes, _)| *bytes).collect();
    let sets: Vec<_> = sets.into_iter().collect();
    let mut known: HashMap<Vec<bool>, u8> = HashMap::new();
    let (mut classes, mut examples) = ([0; 256], Vec::new());
    for byte in 0..=u8::MAX {
        let members = sets.iter().map(|set| set.has(byte)).collect();
        classes[usize::from(byte)] = *known.entry(members).or_insert_with(|| {
            examples.push(byte);
            (examples.len() - 1) as u8
        });
    }
    (classes, examples)
}
