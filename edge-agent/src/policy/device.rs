//! Device groups as policies write them: boolean expressions over what devices are known by.

use std::sync::Arc;

use edge_ebpf::abi::identity::MAX_FACT;

use super::glob::decode_globs;
use super::mac::MacPrefix;
use super::model::{Ja4Pattern, OptionKind, Signal, TextKind};
use super::problem::Problems;
use super::schema::{Placed, list, one_or_many, parsed, texts};
use super::signature::{Signature, decode_signal_signature};
use super::syn::decode_syn;
use super::yaml::{Entry, Node, Value};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    Vendor(Vec<Placed<String>>),
    Mac(Vec<MacPrefix>),
    /// Whether the MAC is one that the device gave itself.
    RandomMac(bool),
    /// It has shown all of these.
    Shows(Vec<Signal>),
    Signature(Signature),
}

/// `group`: of which it is.
pub(super) fn decode_expression(group: &str, node: &Node, problems: &mut Problems) -> Option<Expression> {
    let [Entry { key, value, .. }] = node.entries() else { return None };
    let parts = |problems: &mut Problems| list(Some(value)).filter_map(|part| decode_expression(group, part, problems)).collect();
    match key.as_str() {
        "any" => Some(Expression::Any(parts(problems))),
        "all" => Some(Expression::All(parts(problems))),
        "not" => Some(Expression::Not(Box::new(decode_expression(group, value, problems)?))),
        "vendor" => Some(Expression::Vendor(texts(list(Some(value))))),
        "mac" => Some(Expression::Mac(list(Some(value)).filter_map(|mac| parsed(mac, problems)).map(|mac| mac.value).collect())),
        "random_mac" => match value.value {
            Value::Bool(random) => Some(Expression::RandomMac(random)),
            _ => None,
        },
        "signature" => Some(Expression::Signature(decode_signal_signature(group, value, problems))),
        _ => decode_signals(key, value, problems).map(Expression::Shows),
    }
}

/// The signals that one key means, all of which must hold. `None`: it is no such key, or wrong.
pub(super) fn decode_signals(key: &str, node: &Node, problems: &mut Problems) -> Option<Vec<Signal>> {
    let before = problems.errors();
    let signals = match key {
        "names" => {
            let names = list(Some(node)).filter_map(|name| parsed(name, problems)).map(|name| name.value).collect();
            vec![Signal::Asked(Arc::new(names))]
        }
        "dhcp" => dhcp(node, [TextKind::DhcpVendorClass, TextKind::DhcpHostName], OptionKind::Dhcp, problems),
        "dhcp6" => dhcp(node, [TextKind::Dhcp6VendorClass, TextKind::Dhcp6Name], OptionKind::Dhcp6, problems),
        "tcp_syn" => {
            let patterns = one_or_many(Some(node)).flat_map(|pattern| decode_syn(pattern, problems)).collect();
            vec![Signal::Syn(in_order(patterns))]
        }
        "tls" => {
            let patterns = one_or_many(node.get("ja4")).filter_map(|value| parsed::<Ja4Pattern>(value, problems)).map(|value| value.value);
            vec![Signal::Hello(in_order(patterns.collect()))]
        }
        "http" => vec![Signal::Text(TextKind::UserAgent, decode_globs(TextKind::UserAgent, node.get("user_agent"), problems))],
        _ => return None,
    };
    (problems.errors() == before && !signals.is_empty()).then_some(signals)
}

/// By their texts, so that a signal is the same one whatever their order in the policy.
fn in_order<T: PartialEq + ToString>(mut patterns: Vec<T>) -> Vec<T> {
    patterns.sort_by_cached_key(ToString::to_string);
    patterns.dedup();
    patterns
}

fn dhcp(node: &Node, texts: [TextKind; 2], options: OptionKind, problems: &mut Problems) -> Vec<Signal> {
    let mut signals = Vec::new();
    for (key, kind) in ["vendor_class", "hostname"].into_iter().zip(texts) {
        if let Some(texts) = node.get(key) {
            signals.push(Signal::Text(kind, decode_globs(kind, Some(texts), problems)));
        }
    }
    if let Some(params) = node.get("params") {
        let lists = if params.items().iter().any(|item| matches!(item.value, Value::List(_))) {
            params.items()
        } else {
            std::slice::from_ref(params)
        };
        let mut lists: Vec<Vec<u16>> = lists.iter().map(|list| option_list(options, list, problems)).collect();
        lists.sort();
        lists.dedup();
        signals.push(Signal::Options(options, lists));
    }
    if signals.is_empty() && matches!(node.value, Value::Map(_)) {
        problems
            .error(&node.place, "nothing of DHCP is named here")
            .hint("name at least one of `vendor_class`, `hostname` and `params`, or remove the key");
    }
    signals
}

/// Numbers of DHCP's options, one byte each; of DHCPv6's, two.
fn option_list(kind: OptionKind, node: &Node, problems: &mut Problems) -> Vec<u16> {
    let numbers: Vec<u16> = list(Some(node)).filter_map(Node::integer).collect();
    let most = match kind {
        OptionKind::Dhcp => MAX_FACT,
        OptionKind::Dhcp6 => MAX_FACT / 2,
    };
    if numbers.len() > most {
        problems
            .error(&node.place, format!("a client cannot ask for {} options: {most} are looked at", numbers.len()))
            .hint("write the list as `edge-agent fingerprint` shows it");
    }
    numbers
}
