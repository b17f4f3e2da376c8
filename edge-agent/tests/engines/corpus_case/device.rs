//! Groups of devices, as policies write them.

use std::sync::Arc;

use edge_agent::policy::model::{Expr, Family, Glob, OptionKind, Ranges, Signal, SignalId, SignatureId, SynPattern, SynWindow, TextKind};
use edge_ebpf::identity::syn::quirk;
use serde::{Deserialize, Serialize};

use super::words::{self, mac};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeviceCase {
    /// First and last MAC of each range.
    Macs(Vec<[String; 2]>),
    Expression(Box<ExpressionCase>),
}

/// One of these.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct ExpressionCase {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<DeviceCase>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<DeviceCase>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<DeviceCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<DhcpCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp6: Option<DhcpCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_syn: Option<Vec<SynCase>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Its name among the case's signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_mac: Option<bool>,
}

/// What is there must hold.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct DhcpCase {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<Vec<u16>>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct SynCase {
    /// 4 or 6
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Bytes of IP options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub olen: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mss: Option<u16>,
    /// `65535`, `mss*20`, `mtu*4`, `%8192`; any where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// A number, or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wscale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quirks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsCase {
    pub ja4: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCase {
    pub user_agent: Vec<String>,
}

impl DeviceCase {
    /// Adds its signals. `signature`: the number of a signature by its name.
    pub(super) fn expression(&self, signals: &mut Vec<Signal>, signature: &impl Fn(&str) -> SignatureId) -> Expr {
        let leaf = |signal: Signal, signals: &mut Vec<Signal>| {
            signals.push(signal);
            Expr::Signal(SignalId(signals.len() as u32 - 1))
        };
        let case = match self {
            Self::Macs(ranges) => {
                let ranges = ranges.iter().map(|[first, last]| (mac(first).0, mac(last).0)).collect();
                return leaf(Signal::Mac(Arc::new(Ranges::new(ranges))), signals);
            }
            Self::Expression(case) => &**case,
        };
        let ExpressionCase { all, any, not, dhcp, dhcp6, tcp_syn, tls, http, names, signature: shows, random_mac } = case;
        let parts = |parts: &[Self], signals: &mut Vec<Signal>| parts.iter().map(|part| part.expression(signals, signature)).collect();
        let mut found = Vec::new();
        found.extend(all.as_ref().map(|all| Expr::All(parts(all, signals))));
        found.extend(any.as_ref().map(|any| Expr::Any(parts(any, signals))));
        found.extend(not.as_ref().map(|part| Expr::Not(Box::new(part.expression(signals, signature)))));
        let said = dhcp.iter().map(|case| case.signals([TextKind::DhcpVendorClass, TextKind::DhcpHostName], OptionKind::Dhcp));
        let said_6 = dhcp6.iter().map(|case| case.signals([TextKind::Dhcp6VendorClass, TextKind::Dhcp6Name], OptionKind::Dhcp6));
        for said in said.chain(said_6) {
            found.push(Expr::All(said.into_iter().map(|signal| leaf(signal, signals)).collect()));
        }
        let others = [
            tcp_syn.as_ref().map(|cases| Signal::Syn(cases.iter().map(SynCase::pattern).collect())),
            tls.as_ref().map(|TlsCase { ja4 }| Signal::Hello(ja4.iter().map(|text| words::ja4(text)).collect())),
            http.as_ref().map(|HttpCase { user_agent }| Signal::Text(TextKind::UserAgent, globs(user_agent))),
            names.as_ref().map(|names| {
                let patterns = names.iter().map(|pattern| pattern.parse().unwrap_or_else(|fault| panic!("{pattern}: {fault:?}")));
                Signal::Asked(Arc::new(patterns.collect()))
            }),
            shows.as_ref().map(|name| Signal::Signature(signature(name))),
            random_mac.map(|_| Signal::Mac(Arc::new(own_macs()))),
        ];
        found.extend(others.into_iter().flatten().map(|signal| leaf(signal, signals)));
        let (Some(expression), true) = (found.pop(), found.is_empty()) else { panic!("an expression is one thing") };
        expression
    }
}

/// Locally administered addresses of one device.
fn own_macs() -> Ranges<u64> {
    let octets = (0..256u64).filter(|octet| octet & 3 == 2);
    Ranges::new(octets.map(|octet| (octet << 40, octet << 40 | ((1 << 40) - 1))).collect())
}

fn globs(texts: &[String]) -> Vec<Glob> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|fault| panic!("{text}: {fault:?}"))).collect()
}

impl DhcpCase {
    fn signals(&self, [class, name]: [TextKind; 2], options: OptionKind) -> Vec<Signal> {
        let Self { vendor_class, hostname, params } = self;
        let signals = [
            vendor_class.as_ref().map(|texts| Signal::Text(class, globs(texts))),
            hostname.as_ref().map(|texts| Signal::Text(name, globs(texts))),
            params.as_ref().map(|lists| Signal::Options(options, lists.clone())),
        ];
        signals.into_iter().flatten().collect()
    }
}

impl SynCase {
    fn pattern(&self) -> SynPattern {
        let Self { ip, ttl, olen, mss, window, wscale, options, quirks, payload } = self;
        let bit = |name: &String| quirk::NAMES.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no quirk {name}")).1;
        SynPattern {
            family: ip.map(|ip| if ip == 4 { Family::V4 } else { Family::V6 }),
            ttl: *ttl,
            ip_options: *olen,
            mss: *mss,
            window: window.as_deref().map_or(SynWindow::Any, syn_window),
            scale: wscale.as_ref().map(|scale| (scale != "none").then(|| scale.parse().expect("a window scale"))),
            options: options.clone(),
            quirks: quirks.as_ref().map(|quirks| quirks.iter().map(bit).fold(0, |bits, bit| bits | bit)),
            payload: *payload,
        }
    }
}

fn syn_window(text: &str) -> SynWindow {
    let times = |text: &str| text.parse().expect("a number");
    match (text.strip_prefix("mss*"), text.strip_prefix("mtu*"), text.strip_prefix('%')) {
        (Some(number), _, _) => SynWindow::OfMss(times(number)),
        (_, Some(number), _) => SynWindow::OfMtu(times(number)),
        (_, _, Some(unit)) => SynWindow::Multiple(unit.parse().expect("a number")),
        _ => SynWindow::Exactly(text.parse().expect("a window")),
    }
}
