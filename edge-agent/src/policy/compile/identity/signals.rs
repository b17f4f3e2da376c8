//! Signals by number, and each as text.

use std::collections::HashMap;

use edge_ebpf::abi::identity::MAX_SIGNALS;
use sha2::{Digest, Sha256};

use crate::policy::compile::CompileError;
use crate::policy::model::{Expr, Glob, OptionKind, PortProtocol, Resolved, Signal, SignalId, Signature, TextKind};
use crate::policy::name::NamePattern;
use crate::policy::name_set::NameSet;

/// The numbers of signals that groups ask for, apart from those of MACs.
pub struct Numbering {
    /// By signal; `None`: it is of MACs, or no group asks for it.
    pub numbers: Vec<Option<u32>>,
    pub texts: Vec<String>,
}

impl Numbering {
    /// `None`: there is none.
    pub fn of(set: &Resolved) -> Result<Option<Self>, CompileError> {
        let mut asked = vec![false; set.signals.len()];
        set.groups.iter().for_each(|group| ask(&group.when, &mut asked));
        let mut numbering = Self { numbers: vec![None; set.signals.len()], texts: Vec::new() };
        let mut known: HashMap<String, u32> = HashMap::new();
        let wanted = set.signals.iter().enumerate().filter(|(index, signal)| asked[*index] && signal.macs().is_none());
        for (index, signal) in wanted {
            let Self { numbers, texts } = &mut numbering;
            numbers[index] = Some(*known.entry(text(set, signal)).or_insert_with_key(|text| {
                texts.push(text.clone());
                (texts.len() - 1) as u32
            }));
        }
        match numbering.texts.len() {
            0 => Ok(None),
            signals if signals > MAX_SIGNALS => Err(CompileError::TooManySignals { signals }),
            _ => Ok(Some(numbering)),
        }
    }

    pub fn number(&self, signal: SignalId) -> Option<u32> {
        self.numbers.get(signal.index()).copied().flatten()
    }

    /// Each signal that groups ask for, with its number.
    pub fn iter<'a>(&'a self, set: &'a Resolved) -> impl Iterator<Item = (&'a Signal, u32)> {
        set.signals.iter().zip(&self.numbers).filter_map(|(signal, number)| Some((signal, (*number)?)))
    }
}

fn ask(expression: &Expr, asked: &mut [bool]) {
    match expression {
        Expr::Signal(signal) => asked[signal.index()] = true,
        Expr::Any(parts) | Expr::All(parts) => parts.iter().for_each(|part| ask(part, asked)),
        Expr::Not(part) => ask(part, asked),
    }
}

/// What it is, its kind first: signals of any policy sets that have one text are the same.
fn text(set: &Resolved, signal: &Signal) -> String {
    match signal {
        Signal::Mac(_) => String::new(),
        Signal::Text(kind, globs) => {
            let kind = match kind {
                TextKind::DhcpVendorClass => "dhcp.vendor_class",
                TextKind::DhcpHostName => "dhcp.hostname",
                TextKind::Dhcp6VendorClass => "dhcp6.vendor_class",
                TextKind::Dhcp6Name => "dhcp6.hostname",
                TextKind::UserAgent => "http.user_agent",
            };
            let globs: Vec<&str> = globs.iter().map(|Glob(glob)| glob.as_str()).collect();
            format!("{kind} {}", serde_json::json!(globs))
        }
        Signal::Options(kind, lists) => {
            let kind = match kind {
                OptionKind::Dhcp => "dhcp.params",
                OptionKind::Dhcp6 => "dhcp6.params",
            };
            format!("{kind} {}", serde_json::json!(lists))
        }
        Signal::Syn(patterns) => joined("tcp_syn", patterns),
        Signal::Hello(patterns) => joined("tls.ja4", patterns),
        Signal::Asked(names) => format!("names {} {}", names.len(), digest(names)),
        Signal::Signature(id) => {
            let Signature { policy: _, name: _, protocol, ports, offset, bytes } = &set.signatures[id.index()];
            let protocol = match protocol {
                PortProtocol::Tcp => "tcp",
                PortProtocol::Udp => "udp",
            };
            let bytes: String = bytes.iter().map(|byte| byte.map_or("??".to_owned(), |byte| format!("{byte:02x}"))).collect();
            format!("signature {protocol} {} {offset} {bytes}", serde_json::json!(ports))
        }
    }
}

fn joined(kind: &str, patterns: &[impl ToString]) -> String {
    // None of them has a blank.
    patterns.iter().fold(kind.to_owned(), |text, pattern| format!("{text} {}", pattern.to_string()))
}

/// The same for equal sets.
fn digest(names: &NameSet) -> String {
    let mut hash = Sha256::new();
    for (name, scope) in names.iter() {
        hash.update(format!("{}\n", NamePattern { name: name.to_name(), scope }));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
