//! What one device has shown: as much as is worth keeping, whatever it sends.

use std::net::IpAddr;
use std::sync::Arc;

use edge_ebpf::abi::identity::FactKind;
use edge_ebpf::identity::syn::{HEAD, at};

use super::evaluate::SignalKey;

/// Addresses that are kept of a device, the last ones first.
const ADDRESSES: usize = 8;
/// Signals that are kept, as many as a set of policies can have.
const SIGNALS: usize = edge_ebpf::abi::identity::MAX_SIGNALS;
/// TCP Fast Open (RFC 7413), which a system sends to some servers and not to others.
const FAST_OPEN: u8 = 34;

/// The bytes as the kernel's automaton walks them; of a ClientHello its JA4_r, of an announcement a line of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    pub kind: FactKind,
    pub value: Arc<[u8]>,
    /// Second of the Unix epoch.
    pub seen: u64,
}

/// The facts of one device. Times are seconds of the Unix epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    pub first_seen: u64,
    pub last_seen: u64,
    /// It has sent from these, the last one first.
    pub addresses: Vec<IpAddr>,
    facts: Vec<Fact>,
    /// When a contradiction was last reported; 0: never.
    reported: u64,
    /// Signals of policies that it has shown, as the kernel says: also those of names and signatures, of which there are no facts here.
    pub signals: Vec<SignalKey>,
}

/// What became of a fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Noted {
    Known,
    New,
    /// New, and not what a device shows that was known by this one.
    Contradicts(Arc<[u8]>),
}

impl Facts {
    pub fn at(now: u64) -> Self {
        Self { first_seen: now, last_seen: now, ..Self::default() }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fact> {
        self.facts.iter()
    }

    /// Those of a kind, as they were first shown.
    pub fn of(&self, kind: FactKind) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.kind == kind)
    }

    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Notes a fact. Where there are as many of its kind as are kept, the one that was not shown for longest gives way.
    pub fn note(&mut self, kind: FactKind, value: Arc<[u8]>, now: u64) -> Noted {
        if let Some(fact) = self.facts.iter_mut().find(|fact| fact.kind == kind && fact.value == value) {
            fact.seen = fact.seen.max(now);
            return Noted::Known;
        }
        let former = self.contradicted(kind, &value);
        if self.of(kind).count() >= kept(kind)
            && let Some((oldest, _)) = self.facts.iter().enumerate().filter(|(_, fact)| fact.kind == kind).min_by_key(|(_, fact)| fact.seen)
        {
            self.facts.remove(oldest);
        }
        self.facts.push(Fact { kind, value, seen: now });
        former.map_or(Noted::New, Noted::Contradicts)
    }

    /// Whether to report a contradiction: with as many as a device can make up, once a minute is enough.
    pub fn reports(&mut self, now: u64) -> bool {
        let due = self.reported.saturating_add(60) <= now;
        if due {
            self.reported = now;
        }
        due
    }

    /// It has sent from this address.
    pub fn note_address(&mut self, address: IpAddr) {
        if self.addresses.first() == Some(&address) {
            return;
        }
        self.addresses.retain(|known| *known != address);
        self.addresses.insert(0, address);
        self.addresses.truncate(ADDRESSES);
    }

    /// Whether the signal was not known of it.
    pub fn note_signal(&mut self, signal: SignalKey) -> bool {
        if self.signals.contains(&signal) {
            return false;
        }
        if self.signals.len() >= SIGNALS {
            self.signals.remove(0);
        }
        self.signals.push(signal);
        true
    }

    /// The last one that cannot be of the same system, if there is none that can.
    fn contradicted(&self, kind: FactKind, value: &[u8]) -> Option<Arc<[u8]>> {
        if !describes_system(kind) {
            return None;
        }
        let comparable = |fact: &&Fact| kind != FactKind::TcpSyn || fact.value.first() == value.first();
        let known = || self.of(kind).filter(comparable);
        if known().any(|fact| family(kind, &fact.value) == family(kind, value)) {
            return None;
        }
        known().max_by_key(|fact| fact.seen).map(|fact| fact.value.clone())
    }
}

/// Kinds of facts that are of a system, and not of a program on it or of its user's choice.
pub const fn describes_system(kind: FactKind) -> bool {
    match kind {
        FactKind::DhcpParameters | FactKind::DhcpVendorClass | FactKind::Dhcp6Options | FactKind::Dhcp6VendorClass | FactKind::TcpSyn => {
            true
        }
        FactKind::DhcpHostName | FactKind::Dhcp6Name | FactKind::UserAgent | FactKind::Hello | FactKind::Announcement => false,
    }
}

/// What of a fact stays the same for as long as the system does: of a SYN, the time to live and the order of the options.
fn family(kind: FactKind, value: &[u8]) -> (u8, Vec<u8>) {
    match (kind, value.get(at::TTL), value.get(HEAD..)) {
        (FactKind::TcpSyn, Some(ttl), Some(kinds)) => (*ttl, kinds.iter().copied().filter(|kind| *kind != FAST_OPEN).collect()),
        _ => (0, value.to_vec()),
    }
}

/// Facts of a kind that are kept.
const fn kept(kind: FactKind) -> usize {
    match kind {
        // As many as a device has systems, and some that an impostor adds.
        FactKind::DhcpParameters
        | FactKind::DhcpVendorClass
        | FactKind::DhcpHostName
        | FactKind::Dhcp6Options
        | FactKind::Dhcp6VendorClass
        | FactKind::Dhcp6Name => 4,
        // Each program has its own.
        FactKind::TcpSyn => 8,
        FactKind::UserAgent | FactKind::Hello | FactKind::Announcement => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(facts: &mut Facts, kind: FactKind, value: &[u8], now: u64) -> Noted {
        facts.note(kind, value.into(), now)
    }

    fn shape(version: u8, ttl: u8, window: u8, kinds: &[u8]) -> Vec<u8> {
        let mut head = [0; HEAD];
        (head[at::VERSION], head[at::TTL], head[at::WINDOW]) = (version, ttl, window);
        [&head[..], kinds].concat()
    }

    #[test]
    fn another_system_contradicts_and_another_window_does_not() {
        let mut facts = Facts::at(1);
        let linux = shape(4, 64, 1, &[2, 4, 8, 1, 3]);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &linux, 1), Noted::New);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &linux, 2), Noted::Known);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &shape(4, 64, 2, &[2, 4, 8, 1, 3]), 2), Noted::New);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &shape(4, 64, 2, &[2, 4, 8, 1, 3, 34]), 1), Noted::New);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &shape(6, 255, 2, &[2]), 3), Noted::New, "of IPv6 nothing was known");
        let windows = shape(4, 128, 1, &[2, 1, 3, 1, 1, 4]);
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &windows, 3), Noted::Contradicts(shape(4, 64, 2, &[2, 4, 8, 1, 3]).into()));
        assert_eq!(note(&mut facts, FactKind::TcpSyn, &shape(4, 128, 7, &[2, 1, 3, 1, 1, 4]), 3), Noted::New, "it was told once");
    }

    #[test]
    fn programs_and_names_may_change() {
        let mut facts = Facts::at(1);
        for (kind, contradicts) in [(FactKind::UserAgent, false), (FactKind::DhcpHostName, false), (FactKind::DhcpVendorClass, true)] {
            assert_eq!(note(&mut facts, kind, b"a", 1), Noted::New);
            let expected = if contradicts { Noted::Contradicts(b"a"[..].into()) } else { Noted::New };
            assert_eq!(note(&mut facts, kind, b"b", 1), expected, "{kind:?}");
        }
    }

    #[test]
    fn whatever_is_sent_little_is_kept() {
        let mut facts = Facts::at(1);
        for number in 0..1000_u32 {
            for kind in FactKind::ALL {
                note(&mut facts, kind, &number.to_be_bytes(), u64::from(number));
            }
            facts.note_address(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!((facts.iter().len(), facts.addresses.len()), (6 * 4 + 8 + 3 * 16, ADDRESSES));
        assert!(facts.of(FactKind::DhcpParameters).all(|fact| fact.seen > 990), "the newest stay");
        assert_eq!(facts.addresses[0], IpAddr::from(999_u32.to_be_bytes()));
    }
}
