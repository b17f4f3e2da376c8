//! What devices are known by: random signals, and what devices show. Both are drawn from few of everything, so that they meet.

use std::sync::Arc;

use edge_agent::engine::fact::{self, Opening, extension};
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::identity::ja4::{self, Ja4};
use edge_agent::policy::model::{
    Family, Glob, Ja4Part, Ja4Pattern, OptionKind, Ranges, Signal, SignatureId, SynPattern, SynWindow, TextKind,
};
use edge_agent::policy::name_set::NameSet;
use edge_ebpf::identity::syn::quirk;
use edge_ebpf::packet::Mac;
use fastrand::Rng;

/// Any of them.
fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

fn maybe<T>(rng: &mut Rng, one_in: u8, value: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    if rng.u8(..one_in) == 0 { Some(value(rng)) } else { None }
}

/// A signal of any kind but that of a list of MACs.
pub fn signal(rng: &mut Rng, sets: &[Arc<NameSet>], signatures: usize) -> Signal {
    match rng.u8(..16) {
        0..2 => Signal::Text(TextKind::DhcpVendorClass, globs(rng)),
        2..4 => Signal::Text(TextKind::DhcpHostName, globs(rng)),
        4 => Signal::Options(OptionKind::Dhcp, lists(rng, &PARAMETERS)),
        5 => Signal::Text(one(rng, &[TextKind::Dhcp6VendorClass, TextKind::Dhcp6Name]), globs(rng)),
        6 => Signal::Options(OptionKind::Dhcp6, lists(rng, &PARAMETERS_6)),
        7..10 => Signal::Syn((0..rng.usize(1..3)).map(|_| syn_pattern(rng)).collect()),
        10 => Signal::Text(TextKind::UserAgent, globs(rng)),
        11..13 => Signal::Hello((0..rng.usize(1..3)).map(|_| hello_pattern(rng)).collect()),
        13 if !sets.is_empty() => Signal::Asked(Arc::clone(&sets[rng.usize(..sets.len())])),
        14 if signatures > 0 => Signal::Signature(SignatureId(rng.u32(..signatures as u32))),
        _ => Signal::Mac(Arc::new(Ranges::new((0..64).map(own_mac).collect()))),
    }
}

/// Of locally administered MACs, those with such a first octet.
fn own_mac(high: u64) -> (u64, u64) {
    let first = (high << 2 | 2) << 40;
    (first, first | ((1 << 40) - 1))
}

const TEXTS: [&str; 10] =
    ["android-dhcp-13", "Android-DHCP-4", "MSFT 5.0", "Redmi-4", "redmi-4.lan", "a", "aXbXc", "Dalvik/2.1.0 (MIUI 5)", "\u{fc}\u{fc}", ""];
const GLOBS: [&str; 12] =
    ["android-dhcp-*", "*", "msft 5.0", "*redmi*", "redmi-4.lan", "*.lan", "a", "a*b*c", "*miui*", "*4", "\u{fc}*", "*aaaaaaaa*"];

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..16) {
        0 => vec![b'a'; one(rng, &[7, 200, 254, 255, 256, 300])],
        1 => [&[b'x'; 250][..], one(rng, &TEXTS).as_bytes()].concat(),
        2 => (0..rng.usize(..12)).map(|_| rng.u8(..)).collect(),
        _ => one(rng, &TEXTS).as_bytes().to_vec(),
    }
}

fn globs(rng: &mut Rng) -> Vec<Glob> {
    (0..rng.usize(1..3)).map(|_| Glob(one(rng, &GLOBS).to_owned())).collect()
}

const PARAMETERS: [&[u16]; 4] = [&[1, 3, 6], &[1, 3, 6, 15, 26, 28, 51, 58, 59, 43], &[1], &[6, 3, 1]];
const PARAMETERS_6: [&[u16]; 4] = [&[23, 24], &[24, 23], &[256], &[0x1700, 0x1800]];

fn lists(rng: &mut Rng, of: &[&[u16]]) -> Vec<Vec<u16>> {
    (0..rng.usize(1..3)).map(|_| one(rng, of).to_vec()).collect()
}

/// A client's message of DHCP, or of DHCPv6, and the port that it goes to.
pub fn dhcp(rng: &mut Rng, device: Mac) -> (u16, Vec<u8>) {
    if rng.u8(..3) == 0 {
        return (547, dhcp6(rng));
    }
    let list: Vec<u8> = one(rng, &PARAMETERS).iter().map(|option| *option as u8).collect();
    let mut options = vec![(53, vec![one(rng, &[1, 3, 8, 3, 1, 2, 4])]), (55, list), (60, text(rng)), (12, text(rng)), (61, vec![1; 7])];
    options.iter_mut().for_each(|(_, value)| value.truncate(255));
    let (kept, again) = (rng.usize(1..=options.len()), rng.usize(..options.len()));
    let repeated = options[again].0;
    options.truncate(kept);
    match rng.u8(..12) {
        0 => options.push((repeated, text(rng)[..].iter().copied().take(255).collect())),
        1 => options.extend((0..rng.usize(120..130)).map(|_| (0, Vec::new()))),
        2 => rng.shuffle(&mut options),
        _ => {}
    }
    // Relayed for another one.
    let device = if rng.u8(..16) == 0 { Mac(device.0 ^ 1) } else { device };
    let message = fact::dhcp(device, &options.iter().map(|(number, value)| (*number, value.as_slice())).collect::<Vec<_>>());
    (67, message)
}

fn dhcp6(rng: &mut Rng) -> Vec<u8> {
    let list: Vec<u8> = one(rng, &PARAMETERS_6).iter().flat_map(|option| option.to_be_bytes()).collect();
    let class = text(rng);
    let class = [&[0, 0, 1, 0x37], &(class.len() as u16).to_be_bytes()[..], &class].concat();
    let labels = text(rng);
    let wire: Vec<u8> = labels.split(|byte| *byte == b'.').flat_map(|label| [&[label.len() as u8], label].concat()).collect();
    let name = [&[1][..], &wire, if rng.bool() { &[0] } else { &[] }].concat();
    let mut options = vec![(1u16, vec![0; 10]), (6, list), (16, class), (39, name)];
    match rng.u8(..12) {
        0 => options.push((one(rng, &[6, 16, 39]), text(rng))),
        1 => options.extend((0..rng.usize(120..130)).map(|_| (8, Vec::new()))),
        2 => rng.shuffle(&mut options),
        _ => {}
    }
    fact::dhcp6(
        one(rng, &[1, 3, 4, 5, 6, 11, 1, 2, 8]),
        &options.iter().map(|(number, value)| (*number, value.as_slice())).collect::<Vec<_>>(),
    )
}

const MSS: [u16; 6] = [1460, 1400, 536, 1440, 99, 100];
const SCALES: [u8; 5] = [0, 7, 9, 14, 15];
/// Kinds of TCP options in order.
const LAYOUTS: [&[u8]; 7] = [&[2, 4, 8, 1, 3], &[2, 1, 3, 1, 1, 4], &[2, 1, 3, 1, 1, 8, 4, 0, 0], &[2], &[], &[2, 4, 1, 1], &[8, 1, 1]];

fn syn_pattern(rng: &mut Rng) -> SynPattern {
    SynPattern {
        family: maybe(rng, 6, |rng| one(rng, &[Family::V4, Family::V6])),
        ttl: maybe(rng, 3, |rng| one(rng, &[32, 64, 64, 128, 255])),
        ip_options: maybe(rng, 8, |rng| one(rng, &[0, 0, 4])),
        mss: maybe(rng, 4, |rng| one(rng, &[1460, 1400, 536, 0])),
        window: match rng.u8(..8) {
            0 => SynWindow::Exactly(one(rng, &[65535, 29200, 0])),
            1 => SynWindow::OfMss(one(rng, &[20, 10, 1])),
            2 => SynWindow::OfMtu(one(rng, &[20, 10, 4])),
            3 => SynWindow::Multiple(one(rng, &[1, 8192, 1460])),
            _ => SynWindow::Any,
        },
        scale: maybe(rng, 4, |rng| maybe(rng, 2, |rng| one(rng, &SCALES))),
        options: maybe(rng, 3, |rng| one(rng, &LAYOUTS).to_vec()),
        quirks: maybe(rng, 6, |rng| one(rng, &[quirk::DF | quirk::ID_NONZERO, quirk::DF, quirk::ID_ZERO, 0, quirk::FLOW, quirk::ECN])),
        payload: maybe(rng, 6, Rng::bool),
    }
}

/// The frame with which a device opens a flow.
pub fn opening(rng: &mut Rng, spec: &FrameSpec) -> Vec<u8> {
    let mss = one(rng, &MSS);
    let own = if rng.u8(..8) == 0 { 0 } else { 77u32 };
    let mut options: Vec<u8> = Vec::new();
    for kind in one(rng, &LAYOUTS) {
        match kind {
            2 => options.extend([&[2, 4][..], &mss.to_be_bytes()].concat()),
            3 => options.extend([3, 3, one(rng, &SCALES)]),
            4 => options.extend([4, 2]),
            8 => options.extend([&[8, 10][..], &own.to_be_bytes(), &u32::from(rng.u8(..8) == 0).to_be_bytes()].concat()),
            kind => options.push(*kind),
        }
    }
    if rng.u8(..12) == 0 && !options.is_empty() {
        let place = rng.usize(..options.len());
        let any = rng.u8(..);
        options[place] = one(rng, &[0, 1, 2, 5, 255, any]);
    }
    options.resize(options.len().next_multiple_of(4), 0);
    let headers = if matches!(spec.ends, Ends::V4(..)) { 40 } else { 60 };
    let times = one(rng, &[1, 4, 10, 20, 300]);
    let window = match rng.u8(..6) {
        0 => 65535,
        1 => one(rng, &[0, 29200, 8192, 1428, 14400, 15000]),
        2 => times * u32::from(mss).saturating_sub(12),
        3 => times * (u32::from(mss) + headers),
        _ => times * u32::from(mss),
    };
    Opening {
        time_to_live: one(rng, &[64, 63, 50, 128, 127, 255, 32, 1, 0]),
        window: window.min(65535) as u16,
        options,
        id: one(rng, &[0, 1, 0x1234]),
        fragment_bits: one(rng, &[2, 2, 2, 0, 6]),
        service: if rng.u8(..8) == 0 { rng.u8(..) } else { 0 },
        flow_label: if rng.u8(..4) == 0 { rng.u32(..) } else { 0 },
        flags: if rng.u8(..8) == 0 { rng.u8(..) & !0x12 } else { 0 },
        urgent: u16::from(rng.u8(..16) == 0),
    }
    .build(spec)
}

/// A first segment, and not an answer to one.
pub fn opens(spec: &FrameSpec) -> bool {
    matches!(spec.transport, Transport::Tcp { flags: TcpFlags { syn: true, ack: false, .. }, .. })
}

const CIPHERS: [&[u16]; 4] = [&[0x1301, 0x1302, 0xc02b], &[0x1a1a, 0x1302, 0x1301], &[], &[0x002f]];
const ALGORITHMS: [&[u16]; 4] = [&[0x0403, 0x0804], &[0x0804, 0x0403], &[], &[0x2a2a, 0x0403]];
const PROTOCOLS: [&[&[u8]]; 5] = [&[b"h2", b"http/1.1"], &[b"http/1.1"], &[], &[b"\xab\xcd"], &[b"x"]];

/// A hello of a few sorts, sometimes with a list that is as long as can be, or wrong.
pub fn hello(rng: &mut Rng, name: Option<&str>) -> Vec<u8> {
    let record = one(rng, &[None, None, None, Some(40), Some(500)]);
    sort_of_hello(rng, name, record)
}

fn sort_of_hello(rng: &mut Rng, name: Option<&str>, record: Option<usize>) -> Vec<u8> {
    let mut ciphers = one(rng, &CIPHERS).to_vec();
    let mut algorithms = one(rng, &ALGORITHMS).to_vec();
    let mut extensions = vec![(0x0017, Vec::new()), (0x3a3a, Vec::new())];
    if let Some(name) = name {
        extensions.push((extension::SERVER_NAME, extension::server_name(name.as_bytes())));
    }
    let protocols = one(rng, &PROTOCOLS);
    if rng.u8(..4) > 0 {
        extensions.push((extension::ALPN, extension::alpn(protocols)));
    }
    if rng.bool() {
        let versions = one(rng, &[&[0x0304u16, 0x0303][..], &[0x0303], &[0x4a4a, 0x0304], &[]]);
        extensions.push((extension::SUPPORTED_VERSIONS, extension::supported_versions(versions)));
    }
    match rng.u8(..32) {
        0 => ciphers = (0..rng.u16(254..260)).collect(),
        1 => algorithms = (0..rng.u16(62..68)).collect(),
        2 => extensions.extend((0..rng.u16(115..128)).map(|kind| (1000 + kind, Vec::new()))),
        3 => extensions.push((one(rng, &[13, 16, 43]), (0..rng.usize(..8)).map(|_| rng.u8(..6)).collect())),
        _ => {}
    }
    if rng.u8(..4) > 0 {
        extensions.push((extension::SIGNATURE_ALGORITHMS, extension::signature_algorithms(&algorithms)));
    }
    if rng.bool() {
        rng.shuffle(&mut extensions);
    }
    fact::hello(one(rng, &[0x0303, 0x0303, 0x0301, 0x7777]), &ciphers, &extensions, record)
}

/// Of a hello like those, or a part of that.
fn hello_pattern(rng: &mut Rng) -> Ja4Pattern {
    loop {
        let name = one(rng, &[None, Some("a.test")]);
        let hello = sort_of_hello(rng, name, None);
        // Behind the headers of record and message.
        let Some(ja4) = Ja4::of_hello(&hello[9..], ja4::Transport::Tcp) else { continue };
        let raw = ja4.raw();
        let mut parts = raw.splitn(3, '_').skip(1).map(str::to_owned);
        let mut part = |rng: &mut Rng, hash: [u8; 6]| {
            let raw = parts.next().unwrap_or_default();
            match rng.u8(..6) {
                0..4 => None,
                4 if !raw.is_empty() => Some(Ja4Part::Raw(raw)),
                _ => Some(Ja4Part::Hash(hash)),
            }
        };
        let (ciphers, extensions) = (part(rng, ja4.ciphers_hash()), part(rng, ja4.extensions_hash()));
        // All of them, some, or none.
        let known = one(rng, &[0, 1, 1, 8]);
        let mut letters = [None; 10];
        letters.iter_mut().zip(ja4.letters().bytes()).for_each(|(place, letter)| *place = (rng.u8(..8) < known).then_some(letter));
        if ciphers.is_some() || extensions.is_some() || letters.iter().any(Option::is_some) {
            return Ja4Pattern { letters, ciphers, extensions };
        }
    }
}

/// The request with a User-Agent.
pub fn with_user_agent(rng: &mut Rng, request: Vec<u8>) -> Vec<u8> {
    let value = text(rng);
    fact::with_user_agent(request, &value)
}
