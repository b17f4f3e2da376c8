//! Shapes of a connection's first segment as policies write them: a map, or a signature of p0f (M. Zalewski, p0f 3, README section 5).

mod p0f;

use std::str::FromStr;

use edge_ebpf::identity::syn::{MAX_KINDS, bucket, quirk};

use super::model::{Family, SynPattern, SynWindow};
use super::problem::{Fault, Problems, suggest};
use super::schema::{list, parsed};
use super::yaml::{Node, Value};

/// Kinds of TCP options (IANA) by p0f's names.
const OPTIONS: [(&str, u8); 6] = [("nop", 1), ("mss", MSS), ("ws", WINDOW_SCALE), ("sok", 4), ("sack", 5), ("ts", 8)];
const END: u8 = 0;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
/// Quirks that only one of the families has: p0f does not ask the other one for them.
const OF_V4: u32 = quirk::DF | quirk::ID_NONZERO | quirk::ID_ZERO | quirk::RESERVED;
const OF_V6: u32 = quirk::FLOW;

/// The shapes that a map or a text means.
pub(super) fn decode_syn(node: &Node, problems: &mut Problems) -> Vec<SynPattern> {
    let pattern = match &node.value {
        Value::Text(_) => parsed::<SynPattern>(node, problems).map(|pattern| pattern.value),
        Value::Map(_) => decode_map(node, problems),
        _ => None,
    };
    let Some(pattern) = pattern else { return Vec::new() };
    if let Err(fault) = check(&pattern) {
        problems.fault(&node.place, fault);
        return Vec::new();
    }
    of_families(pattern)
}

/// Of one family each, where the quirks are not the same for both.
fn of_families(pattern: SynPattern) -> Vec<SynPattern> {
    match (pattern.family, pattern.quirks) {
        (None, Some(quirks)) if quirks & (OF_V4 | OF_V6) != 0 => vec![
            SynPattern { family: Some(Family::V4), quirks: Some(quirks & !OF_V6), ..pattern.clone() },
            SynPattern { family: Some(Family::V6), quirks: Some(quirks & !OF_V4), ..pattern },
        ],
        _ => vec![pattern],
    }
}

/// What no segment has.
fn check(pattern: &SynPattern) -> Result<(), Fault> {
    let SynPattern { family, ip_options, mss, window, scale, options, quirks, .. } = pattern;
    let never = |why: String, hint: &str| Err(Fault::new(format!("no SYN has this shape: {why}"), hint));
    let quirks = quirks.unwrap_or_default();
    let of_other = match family {
        Some(Family::V4) => quirks & OF_V6,
        Some(Family::V6) => quirks & OF_V4,
        None => 0,
    };
    if of_other != 0 {
        return never(format!("the other IP version has `{}`", quirk_names(of_other)), "remove it, or leave the version open");
    }
    if *family == Some(Family::V6) && ip_options.is_some_and(|length| length > 0) {
        return never("IPv6 has no such options".to_owned(), "its length is 0");
    }
    let Some(options) = options else { return Ok(()) };
    if options.len() > MAX_KINDS {
        return never(format!("it has {} options, and 40 bytes take {MAX_KINDS}", options.len()), "each `nop` and byte of padding counts");
    }
    let end = options.iter().position(|kind| *kind == END).unwrap_or(options.len());
    if options[end..].iter().any(|kind| *kind != END) {
        return never("options come after their end".to_owned(), "`eol` with its padding is the last: `eol+1`");
    }
    if !options.contains(&WINDOW_SCALE) && matches!(scale, Some(Some(_))) {
        return never("it has a window scale, and no such option".to_owned(), "add `ws` (3) to the options, or write `none` for the scale");
    }
    if options.contains(&WINDOW_SCALE) && *scale == Some(None) && quirks & quirk::BAD == 0 {
        return never("it has the option and no window scale".to_owned(), "remove `ws` (3) from the options, or name the scale");
    }
    if !options.contains(&MSS) && (mss.is_some_and(|mss| mss > 0) || matches!(window, SynWindow::OfMss(_))) {
        return never("it has an MSS, and no such option".to_owned(), "add `mss` (2) to the options");
    }
    Ok(())
}

fn decode_map(node: &Node, problems: &mut Problems) -> Option<SynPattern> {
    let before = problems.errors();
    let mut pattern = SynPattern { ttl: node.get("ttl").and_then(Node::integer).map(bucket), ..SynPattern::default() };
    if let Some(ip) = node.get("ip") {
        pattern.family = match ip.integer() {
            Some(4) => Some(Family::V4),
            Some(6) => Some(Family::V6),
            _ => {
                // Other numbers than 5 were reported.
                if ip.integer() == Some(5) {
                    problems.error(&ip.place, "there is no version 5 of IP").hint("4 or 6");
                }
                return None;
            }
        };
    }
    if let Some(mss) = node.get("mss") {
        if let Some(text) = mss.text().filter(|text| *text != "*") {
            problems.error(&mss.place, format!("`{text}` is neither a number nor `*`")).hint("such as `mss: 1460`");
        }
        pattern.mss = mss.integer();
    }
    if let Some(window) = node.get("window") {
        pattern.window = match window.integer() {
            Some(number) => SynWindow::Exactly(number),
            None => parsed(window, problems).map_or(SynWindow::Any, |window| window.value),
        };
    }
    if let Some(scale) = node.get("wscale") {
        pattern.scale = match scale.text() {
            Some("none") => Some(None),
            Some("*") => None,
            Some(text) => {
                problems.error(&scale.place, format!("`{text}` is no window scale")).hint("a number, `none` or `*`");
                None
            }
            None => scale.integer().map(Some),
        };
    }
    pattern.options = node.get("options").map(|options| {
        let kinds = list(Some(options)).filter_map(|option| match option.text() {
            None => option.integer().map(|kind| vec![kind]),
            Some(text) => problems.take(&option.place, kinds(text)),
        });
        kinds.flatten().collect()
    });
    pattern.quirks = node.get("quirks").map(|quirks| {
        let bits = list(Some(quirks)).filter_map(|name| problems.take(&name.place, quirk_of(name.text()?)));
        bits.fold(0, |quirks, bit| quirks | bit)
    });
    pattern.payload = node.get("payload").and_then(|payload| match payload.value {
        Value::Bool(payload) => Some(payload),
        _ => None,
    });
    if pattern == SynPattern::default() && problems.errors() == before {
        problems.error(&node.place, "every SYN has this shape").hint("name at least one of its keys");
        return None;
    }
    (problems.errors() == before).then_some(pattern)
}

/// Of one option in p0f's notation; of the end, with each byte of padding.
fn kinds(text: &str) -> Result<Vec<u8>, Fault> {
    if let Some((_, kind)) = OPTIONS.iter().find(|(name, _)| *name == text) {
        return Ok(vec![*kind]);
    }
    if let Some(kind) = text.strip_prefix('?').and_then(|number| number.parse().ok()) {
        return Ok(vec![kind]);
    }
    let padding = if text == "eol" { Some(0) } else { text.strip_prefix("eol+").and_then(|number| number.parse().ok()) };
    if let Some(padding) = padding.filter(|padding| *padding < MAX_KINDS) {
        return Ok(vec![END; padding + 1]);
    }
    let hint = suggest(text, OPTIONS.iter().map(|(name, _)| *name).chain(["eol+1", "?27"]));
    Err(Fault::new(format!("`{text}` is no TCP option"), hint))
}

fn quirk_of(text: &str) -> Result<u32, Fault> {
    if let Some((_, bit)) = quirk::NAMES.iter().find(|(name, _)| *name == text) {
        return Ok(*bit);
    }
    if text == "ack-" {
        return Err(Fault::new("`ack-` is a quirk of answers: a SYN has no acknowledgement", "remove it"));
    }
    Err(Fault::new(format!("`{text}` is no quirk"), suggest(text, quirk::NAMES.iter().map(|(name, _)| *name))))
}

fn quirk_names(quirks: u32) -> String {
    let names: Vec<&str> = quirk::NAMES.iter().filter(|(_, bit)| quirks & bit != 0).map(|(name, _)| *name).collect();
    names.join(",")
}

impl FromStr for SynWindow {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let times = |rest: &str| rest.parse().ok().filter(|times| *times > 0);
        let window = if text == "*" {
            Some(Self::Any)
        } else if let Some(rest) = text.strip_prefix("mss*") {
            times(rest).map(Self::OfMss)
        } else if let Some(rest) = text.strip_prefix("mtu*") {
            times(rest).map(Self::OfMtu)
        } else if let Some(rest) = text.strip_prefix('%') {
            rest.parse().ok().filter(|unit| *unit > 0).map(Self::Multiple)
        } else {
            text.parse().ok().map(Self::Exactly)
        };
        window.ok_or_else(|| {
            let hint = "a number up to 65535, `mss*20` or `mtu*4` (up to 255 times), `%8192` (a multiple), or `*`";
            Fault::new(format!("`{text}` is no window"), hint)
        })
    }
}

#[cfg(test)]
mod tests;
