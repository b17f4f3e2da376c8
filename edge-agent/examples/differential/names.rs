//! Random names: in destinations, and in what devices send and are answered. They are drawn from few labels, so that they meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use edge_agent::config::TimeToLive;
use edge_agent::engine::message::{self, Answer, Hello};
use edge_agent::policy::model::{Domains, Learned, PolicyId, PortProtocol, Signature};
use edge_agent::policy::name::{NamePattern, NameScope};
use edge_agent::policy::name_set::NameSet;
use edge_ebpf::abi::{MAX_SIGNATURE_BYTES, MAX_SIGNATURE_OFFSET, MAX_SIGNATURES};
use fastrand::Rng;

use super::identity;
use super::policies::PORTS;

const NAMES: [&str; 10] =
    ["test", "a.test", "b.a.test", "c.b.a.test", "xa.test", "b.test", "ab.a.test", "eight-letters.a.test", "a.other", "other"];

/// Addresses that answers give, and that devices go to.
pub const SERVERS: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(42, 62, 48, 7)),
    IpAddr::V4(Ipv4Addr::new(42, 62, 49, 0)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2408, 0x8000, 0, 0, 0, 0, 0, 1)),
];

pub fn sets(rng: &mut Rng) -> Vec<Arc<NameSet>> {
    let pattern = |rng: &mut Rng| NamePattern {
        name: NAMES[rng.usize(..NAMES.len())].parse().expect("a name"),
        scope: [NameScope::Both, NameScope::Exact, NameScope::Below][rng.usize(..3)],
    };
    (0..rng.usize(1..5)).map(|_| Arc::new((0..rng.usize(..4)).map(|_| pattern(rng)).collect())).collect()
}

pub fn domains(rng: &mut Rng, sets: &[Arc<NameSet>]) -> Domains {
    if sets.is_empty() || rng.u8(..4) == 0 {
        return Domains::default();
    }
    Domains {
        sets: (0..rng.usize(1..3)).map(|_| Arc::clone(&sets[rng.usize(..sets.len())])).collect(),
        learned: [Learned::Off, Learned::Monitor, Learned::Enforce, Learned::Enforce][rng.usize(..4)],
    }
}

pub fn signatures(rng: &mut Rng) -> Vec<Signature> {
    let count = [0, 1, 2, 4, MAX_SIGNATURES][rng.usize(..5)];
    let ports = |rng: &mut Rng| {
        let (a, b) = (PORTS[rng.usize(..PORTS.len())], PORTS[rng.usize(..PORTS.len())]);
        (a.min(b), a.max(b))
    };
    (0..count)
        .map(|index| Signature {
            policy: PolicyId(0),
            // In this order also by name.
            name: format!("signature-{index:02}"),
            protocol: if rng.bool() { PortProtocol::Tcp } else { PortProtocol::Udp },
            // A generation holds no more, each range of ports counted.
            ports: (0..if count == MAX_SIGNATURES { 1 } else { rng.usize(1..3) }).map(|_| ports(rng)).collect(),
            offset: [0, 0, 1, 2, 5, MAX_SIGNATURE_OFFSET as u16][rng.usize(..6)],
            bytes: (0..[1, 1, 2, 3, 8, 9, MAX_SIGNATURE_BYTES][rng.usize(..7)]).map(|_| (rng.u8(..3) > 0).then(|| letter(rng))).collect(),
        })
        .collect()
}

pub fn time_to_live(rng: &mut Rng) -> TimeToLive {
    let min = [0, 1, 60, 3600][rng.usize(..4)];
    TimeToLive { min, max: min + [0, 1, 30, 86_400][rng.usize(..4)] }
}

/// Bytes that signatures want, and noise has.
fn letter(rng: &mut Rng) -> u8 {
    [0, 1, 0xc2][rng.usize(..3)]
}

/// In any case, below another one, or as long as can be.
fn name(rng: &mut Rng) -> String {
    let name = NAMES[rng.usize(..NAMES.len())];
    match rng.u8(..24) {
        0 => name.to_ascii_uppercase(),
        1 => format!("further.{name}"),
        2 => format!("{}.{name}", vec!["a".repeat(rng.usize(55..65)); rng.usize(1..5)].join(".")),
        3 => format!("{}{name}", "b.".repeat(rng.usize(100..127))),
        4 => String::new(),
        5 => "\x07\u{e4}.b c.test".to_owned(),
        _ => name.to_owned(),
    }
}

/// What a stream or a datagram to a port begins with: mostly what belongs there.
pub fn message(rng: &mut Rng, port: u16, is_tcp: bool) -> Vec<u8> {
    let kind = rng.u8(..16);
    let mut message = match (port, is_tcp) {
        (53, false) if kind < 13 => query(rng),
        (53, true) if kind < 13 => message::over_tcp(&(0..[1, 1, 2, 5][rng.usize(..4)]).map(|_| query(rng)).collect::<Vec<_>>()),
        (_, true) if kind < 7 => hello(rng),
        (_, true) if kind < 13 => request(rng),
        (_, false) if kind < 7 => {
            let version = [0, 1, 1, 2, 0x6b33_43cf, 0xff00_001d, 0xface_b002, 0x1a2a_3a4a][rng.usize(..8)];
            message::quic_initial(version, rng.usize(..100))
        }
        _ if kind == 13 => hello(rng),
        _ => (0..rng.usize(..1100)).map(|_| letter(rng)).collect(),
    };
    if rng.u8(..8) == 0 {
        damage(rng, &mut message);
    }
    message
}

/// Changes some bytes, or cuts.
fn damage(rng: &mut Rng, message: &mut Vec<u8>) {
    if rng.u8(..3) == 0 || message.is_empty() {
        message.truncate(rng.usize(..=message.len()));
        return;
    }
    for _ in 0..rng.usize(1..3) {
        let place = rng.usize(..message.len());
        message[place] = [0, 1, 0xff, 0xc0, b'.', rng.u8(..)][rng.usize(..6)];
    }
}

fn query(rng: &mut Rng) -> Vec<u8> {
    let questions: Vec<(String, u16)> =
        (0..[0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 5][rng.usize(..12)]).map(|_| (name(rng), [1, 1, 28, 64, 65][rng.usize(..5)])).collect();
    message::query(&questions.iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>())
}

fn hello(rng: &mut Rng) -> Vec<u8> {
    let name = (rng.u8(..8) > 0).then(|| name(rng));
    if rng.bool() {
        return identity::hello(rng, name.as_deref());
    }
    Hello {
        server_name: name.as_deref().map(str::as_bytes),
        ech: rng.u8(..4) == 0,
        padding: [None, None, Some(0), Some(200), Some(1200), Some(1900), Some(3800), Some(4000)][rng.usize(..8)],
        record: [None, None, None, Some(1), Some(3), Some(40), Some(500)][rng.usize(..7)],
    }
    .build()
}

fn request(rng: &mut Rng) -> Vec<u8> {
    let host = name(rng);
    let method = ["GET", "POST", "CONNECT", "PROPFIND", "get"][rng.usize(..5)];
    let target = match rng.u8(..4) {
        0 => format!("http://{}/x", name(rng)),
        1 => format!("/{}", "a".repeat(rng.usize(..600))),
        _ => "/".to_owned(),
    };
    let target = if method == "CONNECT" { &format!("{}:443", name(rng)) } else { &target };
    let host = match rng.u8(..6) {
        0 => None,
        1 => Some("[2001:db8::1]:80".to_owned()),
        2 => Some(format!("{host}:8080")),
        3 => Some(format!("user@{host}")),
        _ => Some(host),
    };
    let request = message::request(method, target, host.as_deref());
    if rng.bool() { identity::with_user_agent(rng, request) } else { request }
}

/// Of a resolver.
pub fn answer(rng: &mut Rng) -> Vec<u8> {
    let asked = name(rng);
    let aliases: Vec<String> =
        (0..[0, 0, 1, 2, 4, 16, 17][[0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6][rng.usize(..12)]]).map(|_| name(rng)).collect();
    let addresses = [0, 1, 1, 2, 3, 5][rng.usize(..6)];
    let mut answer = Answer {
        name: &asked,
        aliases: aliases.iter().map(String::as_str).collect(),
        addresses: (0..addresses).map(|_| SERVERS[rng.usize(..SERVERS.len())]).collect(),
        time_to_live: [0, 1, 59, 60, 3600, 86_400, u32::MAX][rng.usize(..7)],
        code: [0, 0, 0, 0, 0, 0, 2, 3][rng.usize(..8)],
    }
    .build();
    if rng.u8(..8) == 0 {
        damage(rng, &mut answer);
    }
    answer
}
