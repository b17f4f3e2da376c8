//! What a device shows of itself, and which of the policies' signals that is.

use std::collections::{BTreeSet, HashMap};

use super::decode::{Load, Service};
use super::names::covered;
use super::read::name::Name;
use super::read::syn::Shape;
use super::read::{dhcp, syn};
use crate::identity::ja4::Ja4;
use crate::policy::model::{
    Glob, Ja4Part, Ja4Pattern, OptionKind, Resolved, Signal, SignalId, SignatureId, SynPattern, SynWindow, TextKind,
};

/// Bytes of a text or list that are there for patterns.
const LONGEST: usize = 255;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fact {
    Text(TextKind, Vec<u8>),
    /// As it stands: numbers of one byte, or of two in DHCPv6.
    Options(OptionKind, Vec<u8>),
    Syn(Shape),
    Hello(Ja4),
    Asked(Name),
    Signature(SignatureId),
}

/// A device, and the signals that it has shown so far.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub mac: u64,
    pub signals: BTreeSet<SignalId>,
}

/// What devices have shown, by MAC.
#[derive(Default)]
pub(super) struct Devices(HashMap<u64, BTreeSet<SignalId>>);

impl Devices {
    /// The device after it has shown these.
    pub fn show(&mut self, policies: &Resolved, mac: u64, facts: &[Fact]) -> Device {
        let new: Vec<SignalId> = (0..)
            .map(SignalId)
            .zip(&policies.signals)
            .filter(|(_, signal)| facts.iter().any(|fact| is(signal, fact)))
            .map(|(id, _)| id)
            .collect();
        if !new.is_empty() {
            self.0.entry(mac).or_default().extend(new);
        }
        self.known(mac)
    }

    /// The device as it is known.
    pub fn known(&self, mac: u64) -> Device {
        Device { mac, signals: self.0.get(&mac).cloned().unwrap_or_default() }
    }
}

/// What the headers of a packet show, and the messages that are read of every device.
pub(super) fn of_headers(mac: u64, load: &Load<'_>) -> Vec<Fact> {
    match load.service {
        Service::Tcp(_) if load.syn && !load.ack => {
            syn::shape(load.ip, load.transport, !load.payload.is_empty()).map(Fact::Syn).into_iter().collect()
        }
        Service::Udp(67) => said(dhcp::over_4(load.payload, mac), OptionKind::Dhcp, TextKind::DhcpVendorClass, TextKind::DhcpHostName),
        Service::Udp(547) => said(dhcp::over_6(load.payload), OptionKind::Dhcp6, TextKind::Dhcp6VendorClass, TextKind::Dhcp6Name),
        _ => Vec::new(),
    }
}

fn said(said: Option<dhcp::Said>, options: OptionKind, vendor_class: TextKind, host_name: TextKind) -> Vec<Fact> {
    let dhcp::Said { parameters, vendor_class: class, host_name: name } = said.unwrap_or_default();
    let facts = [
        parameters.map(|list| Fact::Options(options, list)),
        class.map(|text| Fact::Text(vendor_class, text)),
        name.map(|text| Fact::Text(host_name, text)),
    ];
    facts.into_iter().flatten().collect()
}

/// Whether the fact is the signal.
fn is(signal: &Signal, fact: &Fact) -> bool {
    match (signal, fact) {
        (Signal::Text(wanted, globs), Fact::Text(kind, text)) if wanted == kind => {
            let text = &text[..text.len().min(LONGEST)];
            let text = if *kind == TextKind::Dhcp6Name { &dhcp::name_text(text) } else { text };
            globs.iter().any(|Glob(glob)| matches(glob.as_bytes(), text))
        }
        (Signal::Options(wanted, lists), Fact::Options(kind, bytes)) if wanted == kind => {
            lists.iter().any(|list| option_bytes(*kind, list).as_deref() == Some(&bytes[..bytes.len().min(LONGEST)]))
        }
        (Signal::Syn(patterns), Fact::Syn(shape)) => patterns.iter().any(|pattern| fits(pattern, shape)),
        (Signal::Hello(patterns), Fact::Hello(ja4)) => patterns.iter().any(|pattern| has(pattern, ja4)),
        (Signal::Asked(set), Fact::Asked(name)) => covered(set, name),
        (Signal::Signature(wanted), Fact::Signature(id)) => wanted == id,
        _ => false,
    }
}

/// `None`: a number is none of that protocol's.
fn option_bytes(kind: OptionKind, list: &[u16]) -> Option<Vec<u8>> {
    match kind {
        OptionKind::Dhcp => list.iter().map(|option| u8::try_from(*option).ok()).collect(),
        OptionKind::Dhcp6 => Some(list.iter().flat_map(|option| option.to_be_bytes()).collect()),
    }
}

/// Letter by letter, and each way that a `*` can go.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    match glob {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        [letter, rest @ ..] => text.split_first().is_some_and(|(first, text)| first.eq_ignore_ascii_case(letter) && matches(rest, text)),
    }
}

fn fits(pattern: &SynPattern, shape: &Shape) -> bool {
    let SynPattern { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = pattern;
    family.is_none_or(|family| family == shape.family)
        && ttl.is_none_or(|ttl| ttl == shape.ttl)
        && ip_options.is_none_or(|bytes| bytes == shape.ip_options)
        && mss.is_none_or(|mss| mss == shape.mss)
        && match *window {
            SynWindow::Any => true,
            SynWindow::Exactly(window) => window == shape.window,
            SynWindow::OfMss(times) => shape.of_mss == Some(times),
            SynWindow::OfMtu(times) => shape.of_mtu == Some(times),
            SynWindow::Multiple(unit) => shape.window.is_multiple_of(unit),
        }
        && scale.is_none_or(|scale| scale == shape.scale)
        && options.as_ref().is_none_or(|kinds| *kinds == shape.options)
        && quirks.is_none_or(|quirks| quirks == shape.quirks)
        && payload.is_none_or(|payload| payload == shape.payload)
}

fn has(pattern: &Ja4Pattern, ja4: &Ja4) -> bool {
    let Ja4Pattern { letters, ciphers, extensions } = pattern;
    let raw = ja4.raw();
    let mut parts = raw.splitn(3, '_').skip(1);
    let mut is = |part: &Option<Ja4Part>, hash: [u8; 6]| {
        let own = parts.next().unwrap_or_default();
        match part {
            None => true,
            Some(Ja4Part::Hash(wanted)) => *wanted == hash,
            Some(Ja4Part::Raw(wanted)) => wanted == own,
        }
    };
    let (ciphers, extensions) = (is(ciphers, ja4.ciphers_hash()), is(extensions, ja4.extensions_hash()));
    let letters = letters.iter().zip(ja4.letters().bytes()).all(|(wanted, letter)| wanted.is_none_or(|wanted| wanted == letter));
    letters && ciphers && extensions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_letters_and_case_does_not_matter() {
        for (glob, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "anything", true),
            ("android-dhcp-*", "Android-DHCP-13", true),
            ("android-dhcp-*", "android-dhcp", false),
            ("*miui*", "Dalvik/2.1 (MIUI 5)", true),
            ("*a*b", "xaab", true),
            ("*a*b", "xaabc", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(glob.as_bytes(), text.as_bytes()), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_dhcpv6_name_is_read_from_its_wire_form() {
        let is = |glob: &str, wire: &[u8]| {
            let signal = Signal::Text(TextKind::Dhcp6Name, vec![Glob(glob.to_owned())]);
            is(&signal, &Fact::Text(TextKind::Dhcp6Name, wire.to_vec()))
        };
        assert!(is("redmi-4.lan", b"\x07Redmi-4\x03lan\0"));
        assert!(is("redmi*", b"\x07Redmi-4"));
        assert!(!is("redmi", b"\x07Redmi-4\0"));
    }

    #[test]
    fn options_are_a_list_in_its_order() {
        let is = |kind, list: &[u16], bytes: &[u8]| is(&Signal::Options(kind, vec![list.to_vec()]), &Fact::Options(kind, bytes.to_vec()));
        assert!(is(OptionKind::Dhcp, &[1, 3, 6], &[1, 3, 6]));
        assert!(!is(OptionKind::Dhcp, &[1, 3, 6], &[1, 6, 3]));
        assert!(!is(OptionKind::Dhcp, &[1, 3], &[1, 3, 6]));
        assert!(is(OptionKind::Dhcp6, &[23, 256], &[0, 23, 1, 0]));
    }
}
