//! The automaton of facts: all patterns of all kinds in one table of states.

use edge_ebpf::abi::identity::{FACT_KINDS, FactKind, FactState};

use super::dfa::{Dfa, DfaState, TooLarge};
use super::nfa::{ByteSet, Nfa};
use super::{Numbering, SignalSets};
use crate::policy::compile::CompileError;
use crate::policy::model::{Ja4Pattern, OptionKind, Resolved, Signal, TextKind};

/// The states, and by kind which one its facts are walked from.
pub fn automaton(
    set: &Resolved,
    numbering: &Numbering,
    sets: &mut SignalSets,
) -> Result<(Vec<FactState>, [u16; FACT_KINDS]), CompileError> {
    let mut nfa = Nfa::default();
    let mut kinds = vec![Vec::new(); FACT_KINDS];
    for (signal, number) in numbering.iter(set) {
        for (kind, start) in patterns(&mut nfa, signal, number) {
            kinds[kind as usize].push(start);
        }
    }
    let Dfa { states, starts, classes } = Dfa::of(&nfa, &kinds).map_err(|TooLarge| CompileError::TooManyFactStates)?;
    let expanded = |DfaState { next, signals }: &DfaState, sets: &mut SignalSets| FactState {
        // There are at most 65,536 of them.
        next: classes.map(|class| next[usize::from(class)] as u16),
        set: sets.intern(*signals),
        reserved: 0,
    };
    let states = states.iter().map(|state| expanded(state, sets)).collect();
    let mut by_kind = [0; FACT_KINDS];
    by_kind.iter_mut().zip(starts).for_each(|(by_kind, start)| *by_kind = start as u16);
    Ok((states, by_kind))
}

/// Where the patterns of a signal start, each with the kind of its facts.
fn patterns(nfa: &mut Nfa, signal: &Signal, number: u32) -> Vec<(FactKind, u32)> {
    match signal {
        Signal::Text(kind, globs) => {
            let kind = match kind {
                TextKind::DhcpVendorClass => FactKind::DhcpVendorClass,
                TextKind::DhcpHostName => FactKind::DhcpHostName,
                TextKind::Dhcp6VendorClass => FactKind::Dhcp6VendorClass,
                TextKind::Dhcp6Name => FactKind::Dhcp6Name,
                TextKind::UserAgent => FactKind::UserAgent,
            };
            let start = |glob| if kind == FactKind::Dhcp6Name { nfa.name_glob(glob, number) } else { nfa.glob(glob, number) };
            globs.iter().map(start).map(|start| (kind, start)).collect()
        }
        Signal::Options(OptionKind::Dhcp, lists) => {
            let bytes = |list: &Vec<u16>| list.iter().map(|option| *option as u8).collect::<Vec<_>>();
            lists.iter().map(|list| (FactKind::DhcpParameters, nfa.exactly(bytes(list), number))).collect()
        }
        Signal::Options(OptionKind::Dhcp6, lists) => {
            let bytes = |list: &Vec<u16>| list.iter().flat_map(|option| option.to_be_bytes()).collect::<Vec<_>>();
            lists.iter().map(|list| (FactKind::Dhcp6Options, nfa.exactly(bytes(list), number))).collect()
        }
        Signal::Syn(patterns) => patterns.iter().map(|pattern| (FactKind::TcpSyn, nfa.syn(pattern, number))).collect(),
        Signal::Hello(patterns) => {
            // The others are looked up as a whole.
            let letters = patterns.iter().filter(|Ja4Pattern { ciphers, extensions, .. }| ciphers.is_none() && extensions.is_none());
            letters
                .map(|pattern| {
                    let places = pattern.letters.map(|letter| letter.map_or(ByteSet::ALL, ByteSet::one));
                    (FactKind::Hello, nfa.places(places, number))
                })
                .collect()
        }
        Signal::Mac(_) | Signal::Asked(_) | Signal::Signature(_) => Vec::new(),
    }
}
