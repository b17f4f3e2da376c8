//! Rules about what packets show beside their headers: names, and signatures.

use edge_ebpf::abi::{MAX_NAME_NUMBERS, MAX_SIGNATURE_BYTES, MAX_SIGNATURES, MAX_WORDS, NameRules, SignatureEntry};
use edge_ebpf::packet::protocol;

use super::names::{NameClasses, RulesOfName};
use super::rows::{RowPool, set_bit};
use super::{CompileError, CompiledNames};
use crate::policy::model::{PortProtocol, Resolved, ServiceMatch, Signature, SignatureId};

/// The rules of each name, by the number that the name has.
pub(super) fn names(set: &Resolved, pool: &mut RowPool) -> Result<Option<CompiledNames>, CompileError> {
    let names = NameClasses::of(set);
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
        .map(|RulesOfName { carried, learned, learned_monitored }| NameRules {
            carried: pool.intern(*carried),
            learned: pool.intern(*learned),
            learned_monitored: pool.intern(*learned_monitored),
            signals: 0,
        })
        .collect();
    Ok(Some(CompiledNames { names, rules, has_learned_monitored }))
}

/// An entry for each range of ports of each signature that a rule asks for.
pub(super) fn signatures(set: &Resolved, pool: &mut RowPool) -> Result<Vec<SignatureEntry>, CompileError> {
    let mut entries = Vec::new();
    for (id, signature) in (0..).map(SignatureId).zip(&set.signatures) {
        let mut row = [0; MAX_WORDS];
        for (index, _) in set.rules.iter().enumerate().filter(|(_, rule)| rule.services.contains(&ServiceMatch::Signature(id))) {
            set_bit(&mut row, index);
        }
        if row == [0; MAX_WORDS] {
            continue;
        }
        let class = pool.intern(row);
        let Signature { policy: _, name: _, protocol, ports, offset, bytes } = signature;
        let mut entry = SignatureEntry { class, offset: *offset, length: bytes.len() as u16, ..SignatureEntry::default() };
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
