//! A group of devices in the corpus' own words.

use edge_agent::identity::ja4;
use edge_agent::policy::model::{Expr, Family, Glob, Ja4Part, Ja4Pattern, OptionKind, Resolved, Signal, SynPattern, SynWindow, TextKind};
use edge_ebpf::identity::syn::quirk;

use super::pattern;
use crate::corpus_case::device::{DeviceCase, DhcpCase, ExpressionCase, HttpCase, SynCase, TlsCase};

pub fn describe(set: &Resolved, expression: &Expr) -> DeviceCase {
    let parts = |parts: &[Expr]| Some(parts.iter().map(|part| describe(set, part)).collect());
    let case = match expression {
        Expr::Signal(signal) => return describe_signal(set, &set.signals[signal.index()]),
        Expr::All(all) => ExpressionCase { all: parts(all), ..ExpressionCase::default() },
        Expr::Any(any) => ExpressionCase { any: parts(any), ..ExpressionCase::default() },
        Expr::Not(part) => ExpressionCase { not: Some(describe(set, part)), ..ExpressionCase::default() },
    };
    DeviceCase::Expression(Box::new(case))
}

fn describe_signal(set: &Resolved, signal: &Signal) -> DeviceCase {
    let none = ExpressionCase::default();
    let case = match signal {
        Signal::Mac(ranges) => {
            let mac = |number: u64| number.to_be_bytes()[2..].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":");
            return DeviceCase::Macs(ranges.iter().map(|&(first, last)| [mac(first), mac(last)]).collect());
        }
        Signal::Text(kind, globs) => {
            let texts = globs.iter().map(|Glob(glob)| glob.clone()).collect();
            let class = |texts| Some(DhcpCase { vendor_class: Some(texts), ..DhcpCase::default() });
            let name = |texts| Some(DhcpCase { hostname: Some(texts), ..DhcpCase::default() });
            match kind {
                TextKind::DhcpVendorClass => ExpressionCase { dhcp: class(texts), ..none },
                TextKind::DhcpHostName => ExpressionCase { dhcp: name(texts), ..none },
                TextKind::Dhcp6VendorClass => ExpressionCase { dhcp6: class(texts), ..none },
                TextKind::Dhcp6Name => ExpressionCase { dhcp6: name(texts), ..none },
                TextKind::UserAgent => ExpressionCase { http: Some(HttpCase { user_agent: texts }), ..none },
            }
        }
        Signal::Options(kind, lists) => {
            let asks = Some(DhcpCase { params: Some(lists.clone()), ..DhcpCase::default() });
            match kind {
                OptionKind::Dhcp => ExpressionCase { dhcp: asks, ..none },
                OptionKind::Dhcp6 => ExpressionCase { dhcp6: asks, ..none },
            }
        }
        Signal::Syn(patterns) => ExpressionCase { tcp_syn: Some(patterns.iter().map(describe_syn).collect()), ..none },
        Signal::Hello(patterns) => ExpressionCase { tls: Some(TlsCase { ja4: patterns.iter().map(describe_hello).collect() }), ..none },
        Signal::Asked(names) => ExpressionCase { names: Some(names.iter().map(pattern).collect()), ..none },
        Signal::Signature(id) => ExpressionCase { signature: Some(set.signatures[id.index()].name.clone()), ..none },
    };
    DeviceCase::Expression(Box::new(case))
}

fn describe_syn(pattern: &SynPattern) -> SynCase {
    let SynPattern { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = pattern;
    let names = |bits: u32| quirk::NAMES.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| (*name).to_owned()).collect();
    SynCase {
        ip: family.map(|family| if family == Family::V4 { 4 } else { 6 }),
        ttl: *ttl,
        olen: *ip_options,
        mss: *mss,
        window: match window {
            SynWindow::Any => None,
            SynWindow::Exactly(window) => Some(window.to_string()),
            SynWindow::OfMss(times) => Some(format!("mss*{times}")),
            SynWindow::OfMtu(times) => Some(format!("mtu*{times}")),
            SynWindow::Multiple(unit) => Some(format!("%{unit}")),
        },
        wscale: scale.map(|scale| scale.map_or("none".to_owned(), |scale| scale.to_string())),
        options: options.clone(),
        quirks: quirks.map(names),
        payload: *payload,
    }
}

fn describe_hello(pattern: &Ja4Pattern) -> String {
    let Ja4Pattern { letters, ciphers, extensions } = pattern;
    let letters: String = letters.iter().map(|letter| letter.map_or('?', char::from)).collect();
    let part = |part: &Option<Ja4Part>| match part {
        None => "*".to_owned(),
        Some(Ja4Part::Hash(hash)) => ja4::hex(*hash),
        Some(Ja4Part::Raw(raw)) => raw.clone(),
    };
    format!("{letters}_{}_{}", part(ciphers), part(extensions))
}
