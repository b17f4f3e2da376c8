//! A connection's first segment made to order, from what a p0f signature says of it.

use edge_ebpf::identity::syn::{multiples, quirk};

use crate::policy::model::{Family, SynPattern, SynWindow};
use crate::policy::problem::Fault;

/// What of a segment is not the same in all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SynHeader {
    pub is_v6: bool,
    pub ttl: u8,
    /// Of IPv4, in bytes.
    pub ip_options: usize,
    pub quirks: u32,
    pub window: u16,
    /// TCP's, in whole words.
    pub options: Vec<u8>,
    pub has_payload: bool,
}

const END: u8 = 0;
const MSS: u8 = 2;
const SCALE: u8 = 3;
const TIMESTAMPS: u8 = 8;

/// The segment; where something is open, one of today's Linux.
///
/// # Errors
/// If there is none such, or it cannot be made.
pub fn header(pattern: &SynPattern) -> Result<SynHeader, Fault> {
    let wrong = |why: &str, hint: &str| Fault::new(format!("no SYN can be made of this: {why}"), hint);
    let SynPattern { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = pattern;
    let is_v6 = *family == Some(Family::V6);
    let quirks = quirks.unwrap_or(if is_v6 { 0 } else { quirk::DF | quirk::ID_NONZERO });
    if quirks & quirk::BAD != 0 {
        return Err(wrong("`bad` says that its options cannot be read", "remove the quirk"));
    }
    let default = match scale {
        Some(None) => vec![MSS, 4, TIMESTAMPS],
        _ => vec![MSS, 4, TIMESTAMPS, 1, SCALE],
    };
    let kinds = options.clone().unwrap_or(default);
    let mss = if kinds.contains(&MSS) { mss.unwrap_or(1460) } else { 0 };
    let scale = scale.flatten().unwrap_or(if quirks & quirk::EXCESSIVE_SCALE == 0 { 7 } else { 15 });
    if kinds.contains(&SCALE) && (scale > 14) != (quirks & quirk::EXCESSIVE_SCALE != 0) {
        return Err(wrong("a scale above 14 and the quirk `exws` go together", "correct one of them"));
    }
    let options = written(&kinds, mss, scale, quirks);
    if !options.len().is_multiple_of(4) || options.len() > 40 {
        let hint = "TCP options fill whole words of four bytes, ten at most: add `nop` or `eol+n`";
        return Err(wrong(&format!("its options take {} bytes", options.len()), hint));
    }
    let stamped = kinds.contains(&TIMESTAMPS);
    let ip_options = usize::from(ip_options.unwrap_or(0));
    let headers = if is_v6 { 60 } else { 40 } + ip_options + options.len();
    let window =
        chosen(*window, mss, stamped, is_v6, headers as u32).ok_or_else(|| wrong("no window is what is asked for", "name a number"))?;
    if !ip_options.is_multiple_of(4) || ip_options > 40 {
        return Err(wrong("IP options fill whole words of four bytes, ten at most", "such as `0`"));
    }
    Ok(SynHeader { is_v6, ttl: ttl.unwrap_or(64), ip_options, quirks, window, options, has_payload: payload.unwrap_or(false) })
}

/// `headers`: bytes before the payload.
fn chosen(window: SynWindow, mss: u16, stamped: bool, is_v6: bool, headers: u32) -> Option<u16> {
    let read = |window: u16| multiples(u32::from(window), u32::from(mss), stamped, is_v6, headers);
    match window {
        SynWindow::Any => Some(64_240),
        SynWindow::Exactly(window) => Some(window),
        SynWindow::OfMss(times) => mss.checked_mul(times.into()).filter(|window| read(*window).0 == times),
        SynWindow::OfMtu(times) => {
            let units = [u32::from(mss) + 40, u32::from(mss) + headers, 1500];
            let windows = units.into_iter().filter_map(|unit| u16::try_from(unit * u32::from(times)).ok());
            windows.into_iter().find(|window| read(*window) == (0, times))
        }
        SynWindow::Multiple(unit) => Some(unit),
    }
}

fn written(kinds: &[u8], mss: u16, scale: u8, quirks: u32) -> Vec<u8> {
    let mut options = Vec::new();
    for kind in kinds {
        match *kind {
            END | 1 => options.push(*kind),
            MSS => options.extend([&[MSS, 4][..], &mss.to_be_bytes()].concat()),
            SCALE => options.extend([SCALE, 3, scale]),
            TIMESTAMPS => {
                let own = u32::from(quirks & quirk::TIMESTAMP_ZERO == 0) * 0x5a5a;
                let other = u32::from(quirks & quirk::PEER_TIMESTAMP != 0);
                options.extend([&[TIMESTAMPS, 10][..], &own.to_be_bytes(), &other.to_be_bytes()].concat());
            }
            5 => options.extend([&[5, 10][..], &[0; 8]].concat()),
            _ => options.extend([*kind, 2]),
        }
    }
    if quirks & quirk::TRAILING != 0
        && let Some(last) = options.last_mut().filter(|last| **last == END)
    {
        *last = 1;
    }
    options
}
