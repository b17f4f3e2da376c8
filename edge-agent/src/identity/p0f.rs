//! p0f's signatures of connections' first segments (M. Zalewski, p0f 3, README section 5): what a shape is as one, and which shapes one is.

use std::fmt::Write;

use edge_ebpf::identity::syn::{self, HEAD, NO_SCALE, at, quirk};

use crate::policy::model::{Family, SynPattern, SynWindow};

/// Kinds of TCP options, each with its name there.
const KINDS: [(u8, &str); 6] = [(1, "nop"), (2, "mss"), (3, "ws"), (4, "sok"), (5, "sack"), (8, "ts")];
/// What p0f looks at in one family only, and so does not expect in the other.
const ONLY_4: u32 = quirk::DF | quirk::ID_NONZERO | quirk::ID_ZERO;
const ONLY_6: u32 = quirk::FLOW;

/// Numbers of a shape, as [`edge_ebpf::identity::syn`] lays them out. `None`: it is none.
struct Shape<'a> {
    head: &'a [u8; HEAD],
    kinds: &'a [u8],
}

impl<'a> Shape<'a> {
    fn new(shape: &'a [u8]) -> Option<Self> {
        let (head, kinds) = shape.split_first_chunk()?;
        Some(Self { head, kinds })
    }
    const fn byte(&self, place: usize) -> u8 {
        self.head[place]
    }
    fn number(&self, place: usize) -> u16 {
        u16::from_be_bytes([self.head[place], self.head[place + 1]])
    }
    fn quirks(&self) -> u32 {
        u32::from(self.byte(at::QUIRKS)) << 16 | u32::from(self.number(at::QUIRKS + 1))
    }
}

/// The names of a shape's quirks.
pub fn quirks(shape: &[u8]) -> Vec<&'static str> {
    let quirks = Shape::new(shape).map_or(0, |shape| shape.quirks());
    quirk::NAMES.into_iter().filter(|(_, bit)| quirks & bit != 0).map(|(name, _)| name).collect()
}

/// The signature that fits a shape and says most of it. `None`: it is no shape.
pub fn text(shape: &[u8]) -> Option<String> {
    let named = quirks(shape).join(",");
    let shape = Shape::new(shape)?;
    let window = match (shape.byte(at::OF_MSS), shape.byte(at::OF_MTU)) {
        (0, 0) => shape.number(at::WINDOW).to_string(),
        (0, times) => format!("mtu*{times}"),
        (times, _) => format!("mss*{times}"),
    };
    // Without the option p0f says 0.
    let scale = match shape.byte(at::SCALE) {
        NO_SCALE => 0,
        scale => scale,
    };
    let mut layout = String::new();
    for (place, kind) in shape.kinds.iter().enumerate() {
        if place > 0 {
            layout.push(',');
        }
        let known = KINDS.iter().find(|(number, _)| number == kind);
        let written = match (kind, known) {
            (0, _) => write!(layout, "eol+{}", shape.kinds.len() - place - 1),
            (_, Some((_, name))) => write!(layout, "{name}"),
            _ => write!(layout, "?{kind}"),
        };
        written.ok()?;
        if *kind == 0 {
            break;
        }
    }
    let payload = if shape.byte(at::PAYLOAD) == 0 { '0' } else { '+' };
    Some(format!(
        "{}:{}:{}:{}:{window},{scale}:{layout}:{named}:{payload}",
        shape.byte(at::VERSION),
        shape.byte(at::TTL),
        shape.byte(at::IP_OPTIONS),
        shape.number(at::MSS),
    ))
}

/// The patterns that a signature is: two if it is for both families, which differ in quirks. The error says what is expected.
pub fn parse(text: &str) -> Result<Vec<SynPattern>, &'static str> {
    let fields: Vec<&str> = text.trim().split(':').collect();
    let Ok([version, ttl, ip_options, mss, window, layout, quirks, payload]) = <[&str; 8]>::try_from(fields) else {
        return Err("a signature `version:ttl:ip_options:mss:window,scale:options:quirks:payload`");
    };
    let family = match version {
        "4" => Some(Family::V4),
        "6" => Some(Family::V6),
        "*" => None,
        _ => return Err("a signature that begins with 4, 6 or *"),
    };
    let options = kinds(layout)?;
    let (window, scale) = window.split_once(',').ok_or("a signature whose window is followed by `,` and its scale")?;
    let mut scale = if scale == "*" { None } else { Some(Some(number(scale, "a scale of 0 to 255, or *")?)) };
    // p0f's 0 is also that of no option.
    if scale == Some(Some(0)) && !options.contains(&3) {
        scale = Some(None);
    }
    let pattern = SynPattern {
        family,
        ttl: Some(sent_ttl(ttl)?),
        ip_options: any_or(ip_options, "a length of IP options of 0 to 40")?,
        mss: any_or(mss, "an MSS of 0 to 65535, or *")?,
        window: window_of(window)?,
        scale,
        options: Some(options),
        quirks: Some(bits(quirks)?),
        payload: match payload {
            "0" => Some(false),
            "+" => Some(true),
            "*" => None,
            _ => return Err("a signature that ends with 0, + or *"),
        },
    };
    if family.is_some() {
        return Ok(vec![pattern]);
    }
    let of = |family, other: u32| SynPattern { family: Some(family), quirks: pattern.quirks.map(|bits| bits & !other), ..pattern.clone() };
    Ok(vec![of(Family::V4, ONLY_6), of(Family::V6, ONLY_4)])
}

/// `64`; `50+14` for what arrived and its distance; `64-` where the sender's differs from packet to packet.
fn sent_ttl(text: &str) -> Result<u8, &'static str> {
    const EXPECTED: &str = "a time to live: `64`, `50+14` or `64-`";
    let sent = match text.split_once('+') {
        Some((arrived, "?")) => number(arrived, EXPECTED)?,
        Some((arrived, distance)) => number::<u8>(arrived, EXPECTED)?.checked_add(number(distance, EXPECTED)?).ok_or(EXPECTED)?,
        None => number(text.strip_suffix('-').unwrap_or(text), EXPECTED)?,
    };
    if sent == 0 { Err(EXPECTED) } else { Ok(syn::bucket(sent)) }
}

fn window_of(text: &str) -> Result<SynWindow, &'static str> {
    const EXPECTED: &str = "a window: a number, `mss*20`, `mtu*4`, `%8192` or *";
    let factor = |text| number(text, EXPECTED).and_then(|factor| if factor == 0 { Err(EXPECTED) } else { Ok(factor) });
    if text == "*" {
        Ok(SynWindow::Any)
    } else if let Some(times) = text.strip_prefix("mss*") {
        factor(times).map(SynWindow::OfMss)
    } else if let Some(times) = text.strip_prefix("mtu*") {
        factor(times).map(SynWindow::OfMtu)
    } else if let Some(unit) = text.strip_prefix('%') {
        number(unit, EXPECTED).and_then(|unit| if unit < 2 { Err(EXPECTED) } else { Ok(SynWindow::Multiple(unit)) })
    } else {
        number(text, EXPECTED).map(SynWindow::Exactly)
    }
}

fn kinds(layout: &str) -> Result<Vec<u8>, &'static str> {
    const EXPECTED: &str = "TCP options by the names mss, ws, sok, sack, ts, nop, ?n and, as the last one, eol+n";
    let mut kinds = Vec::new();
    let mut names = layout.split(',').filter(|_| !layout.is_empty());
    while let Some(name) = names.next() {
        if let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == name) {
            kinds.push(*kind);
        } else if let Some(padding) = name.strip_prefix("eol+") {
            let padding: u8 = number(padding, EXPECTED)?;
            if names.next().is_some() || padding > 39 {
                return Err(EXPECTED);
            }
            kinds.resize(kinds.len() + 1 + usize::from(padding), 0);
        } else {
            kinds.push(number(name.strip_prefix('?').ok_or(EXPECTED)?, EXPECTED)?);
        }
    }
    if kinds.len() > syn::MAX_KINDS { Err(EXPECTED) } else { Ok(kinds) }
}

fn bits(quirks: &str) -> Result<u32, &'static str> {
    let bit = |name| quirk::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
    let names = quirks.split(',').filter(|_| !quirks.is_empty());
    names.map(|name| bit(name).ok_or("quirks by the names of p0f that first segments can have")).try_fold(0, |all, bit| Ok(all | bit?))
}

fn any_or<T: std::str::FromStr>(text: &str, expected: &'static str) -> Result<Option<T>, &'static str> {
    if text == "*" { Ok(None) } else { number(text, expected).map(Some) }
}

fn number<T: std::str::FromStr>(text: &str, expected: &'static str) -> Result<T, &'static str> {
    // Rust's own parser takes a sign too.
    if text.bytes().all(|digit| digit.is_ascii_digit()) { text.parse().map_err(|_| expected) } else { Err(expected) }
}

/// Whether a connection whose first segment has the shape is of the pattern.
pub fn matches(pattern: &SynPattern, shape: &[u8]) -> bool {
    let SynPattern { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = pattern;
    let Some(shape) = Shape::new(shape) else { return false };
    let version = match shape.byte(at::VERSION) {
        4 => Family::V4,
        _ => Family::V6,
    };
    let shown = shape.number(at::WINDOW);
    let window = match *window {
        SynWindow::Any => true,
        SynWindow::Exactly(window) => window == shown,
        SynWindow::OfMss(times) => times == shape.byte(at::OF_MSS),
        SynWindow::OfMtu(times) => times == shape.byte(at::OF_MTU),
        SynWindow::Multiple(unit) => shown.is_multiple_of(unit),
    };
    window
        && family.is_none_or(|family| family == version)
        && ttl.is_none_or(|ttl| ttl == shape.byte(at::TTL))
        && ip_options.is_none_or(|length| length == shape.byte(at::IP_OPTIONS))
        && mss.is_none_or(|mss| mss == shape.number(at::MSS))
        && scale.is_none_or(|scale| scale.unwrap_or(NO_SCALE) == shape.byte(at::SCALE))
        && options.as_ref().is_none_or(|kinds| kinds == shape.kinds)
        && quirks.is_none_or(|bits| bits == shape.quirks())
        && payload.is_none_or(|payload| payload == (shape.byte(at::PAYLOAD) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `edge-ebpf` reads a Linux: 64,240 is 44 times 1,460.
    const LINUX: [u8; 21] = [4, 64, 0, 5, 0xb4, 0xfa, 0xf0, 44, 0, 7, 0, 0, 3, 0, 5, 0, 2, 4, 8, 1, 3];

    fn fits(signature: &str) -> bool {
        parse(signature).expect("a signature").iter().any(|pattern| matches(pattern, &LINUX))
    }

    #[test]
    fn a_shape_as_text_and_back() {
        assert_eq!(text(&LINUX).as_deref(), Some("4:64:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"));
        assert_eq!(quirks(&LINUX), ["df", "id+"]);
        let mut shape = LINUX.to_vec();
        for (changes, expected) in [
            (vec![(at::OF_MSS, 0)], "4:64:0:1460:64240,7:mss,sok,ts,nop,ws:df,id+:0"),
            (vec![(at::OF_MTU, 9), (at::PAYLOAD, 1)], "4:64:0:1460:mtu*9,7:mss,sok,ts,nop,ws:df,id+:+"),
            (vec![(at::VERSION, 6), (at::QUIRKS + 2, 0x20)], "6:64:0:1460:mtu*9,7:mss,sok,ts,nop,ws:flow:+"),
            (vec![(HEAD + 2, 99), (HEAD + 3, 0), (HEAD + 4, 0), (at::SCALE, NO_SCALE)], "6:64:0:1460:mtu*9,0:mss,sok,?99,eol+1:flow:+"),
        ] {
            changes.into_iter().for_each(|(place, value)| shape[place] = value);
            assert_eq!(text(&shape).as_deref(), Some(expected));
            assert!(parse(expected).expect("a signature").iter().any(|pattern| matches(pattern, &shape)), "{expected}");
        }
        shape.truncate(HEAD);
        assert_eq!(text(&shape).as_deref(), Some("6:64:0:1460:mtu*9,0::flow:+"));
        assert_eq!(text(&shape[1..]), None);
    }

    #[test]
    fn each_part_counts() {
        for signature in [
            "*:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "4:50+14:0:1460:*,*:mss,sok,ts,nop,ws:df,id+:*",
            "4:64-:*:*:64240,7:mss,sok,ts,nop,ws:df,id+:0",
            // Flow labels are of the other family.
            "*:64:0:*:%16,7:mss,sok,ts,nop,ws:df,id+,flow:0",
            "*:33:0:*:%8,7:mss,sok,ts,nop,ws:df,id+,flow:0",
        ] {
            assert!(fits(signature), "{signature}");
        }
        for signature in [
            "6:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:128:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:4:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:0:1440:mss*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:0:*:mss*20,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:0:*:mtu*44,7:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:0:*:mss*44,8:mss,sok,ts,nop,ws:df,id+:0",
            "*:64:0:*:mss*44,7:mss,nop,ws:df,id+:0",
            "*:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df:0",
            "*:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:+",
            "*:64:0:*:%8192,7:mss,sok,ts,nop,ws:df,id+:0",
            "4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+,flow:0",
        ] {
            assert!(!fits(signature), "{signature}");
        }
    }

    #[test]
    fn no_option_is_another_thing_than_zero() {
        let scale = |text| parse(text).map(|patterns| patterns[0].scale);
        assert_eq!(scale("4:64:0:*:512,0:mss:df:0"), Ok(Some(None)));
        assert_eq!(scale("4:64:0:*:512,0:mss,ws:df:0"), Ok(Some(Some(0))));
        assert_eq!(scale("4:64:0:*:512,*:mss,ws:df:0"), Ok(None));
        assert_eq!(parse("*:64:0:*:512,0:mss,eol+2::0").map(|patterns| patterns[1].options.clone()), Ok(Some(vec![2, 0, 0, 0])));
    }

    #[test]
    fn what_is_no_signature() {
        for text in [
            "",
            "4:64:0:*:512,0:mss:df",
            "5:64:0:*:512,0:mss:df:0",
            "4:0:0:*:512,0:mss:df:0",
            "4:300:0:*:512,0:mss:df:0",
            "4:250+9:0:*:512,0:mss:df:0",
            "4:64:0:x:512,0:mss:df:0",
            "4:64:0:*:512:mss:df:0",
            "4:64:0:*:mss*0,0:mss:df:0",
            "4:64:0:*:%0,0:mss:df:0",
            "4:64:0:*:+5,0:mss:df:0",
            "4:64:0:*:512,0:mss,:df:0",
            "4:64:0:*:512,0:eol+1,mss:df:0",
            "4:64:0:*:512,0:mss:dg:0",
            "4:64:0:*:512,0:mss:df:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
