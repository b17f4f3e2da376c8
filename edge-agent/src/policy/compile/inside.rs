//! Rules about what packets show beside their headers: names, and signatures.

use edge_ebpf::abi::identity::SignalSet;
use edge_ebpf::abi::{MAX_NAME_NUMBERS, MAX_SIGNATURE_BYTES, MAX_SIGNATURES, MAX_WORDS, NameRules, SignatureEntry};
use edge_ebpf::packet::protocol;

use super::identity::{Numbering, SignalSets, set_signal};
use super::names::{NameClasses, RulesOfName};
use super::rows::{RowPool, set_bit};
use super::{CompileError, CompiledNames};
use crate::policy::model::{PortProtocol, Resolved, ServiceMatch, Signal, Signature, SignatureId};

/// The rules of each name, by the number that the name has.
pub(super) fn names(
    set: &Resolved,
    mut identity: Option<(&Numbering, &mut SignalSets)>,
    pool: &mut RowPool,
) -> Result<Option<CompiledNames>, CompileError> {
    let asked = identity.as_ref().map(|(numbering, _)| {
        numbering.iter(set).filter_map(|(signal, number)| match signal {
            Signal::Asked(names) => Some((names.clone(), number)),
            _ => None,
        })
    });
    let asked: Vec<_> = asked.into_iter().flatten().collect();
    let names = NameClasses::of(set, &asked);
    if names.is_empty() {
        return Ok(None);
    }
    let numbers = names.rows().len();
    if numbers > MAX_NAME_NUMBERS {
        return Err(CompileError::TooManyNames { numbers });
    }
    let has_learned_monitored = names.rows().iter().any(|rules| rules.learned_monitored != [0; MAX_WORDS]);
    let rules = names
        .rows()
        .iter()
        .map(|RulesOfName { carried, learned, learned_monitored, signals }| NameRules {
            carried: pool.intern(*carried),
            learned: pool.intern(*learned),
            learned_monitored: pool.intern(*learned_monitored),
            signals: identity.as_mut().map_or(0, |(_, sets)| sets.intern(*signals)),
        })
        .collect();
    Ok(Some(CompiledNames { names, rules, has_learned_monitored }))
}

/// An entry for each range of ports of each signature that a rule or a group asks for.
pub(super) fn signatures(
    set: &Resolved,
    mut identity: Option<(&Numbering, &mut SignalSets)>,
    pool: &mut RowPool,
) -> Result<Vec<SignatureEntry>, CompileError> {
    let mut entries = Vec::new();
    for (id, signature) in (0..).map(SignatureId).zip(&set.signatures) {
        let mut row = [0; MAX_WORDS];
        for (index, _) in set.rules.iter().enumerate().filter(|(_, rule)| rule.services.contains(&ServiceMatch::Signature(id))) {
            set_bit(&mut row, index);
        }
        let signals = identity.as_mut().map_or(0, |(numbering, sets)| {
            let mut signals = SignalSet::default();
            let own = numbering.iter(set).filter(|(signal, _)| **signal == Signal::Signature(id));
            own.for_each(|(_, number)| set_signal(&mut signals, number));
            sets.intern(signals)
        });
        if row == [0; MAX_WORDS] && signals == 0 {
            continue;
        }
        let class = pool.intern(row);
        let Signature { policy: _, name: _, protocol, ports, offset, bytes } = signature;
        let mut entry =
            SignatureEntry { class, offset: *offset, length: bytes.len() as u16, signals: signals as u16, ..SignatureEntry::default() };
        entry.protocol = match protocol {
            PortProtocol::Tcp => protocol::TCP,
            PortProtocol::Udp => protocol::UDP,
        };
        for (place, byte) in bytes.iter().enumerate().take(MAX_SIGNATURE_BYTES) {
            if let Some(byte) = byte {
                entry.value[place / 8] |= u64::from(*byte) << (8 * (place % 8));
                entry.mask[place / 8] |= 0xff << (8 * (place % 8));
            }
        }
        entries.extend(ports.iter().map(|(first_port, last_port)| SignatureEntry {
            first_port: *first_port,
            last_port: *last_port,
            ..entry
        }));
    }
    if entries.len() > MAX_SIGNATURES { Err(CompileError::TooManySignatures { entries: entries.len() }) } else { Ok(entries) }
}
