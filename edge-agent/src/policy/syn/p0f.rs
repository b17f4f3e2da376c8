//! p0f's text form: `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`.

use std::fmt;
use std::str::FromStr;

use edge_ebpf::identity::syn::bucket;

use super::{END, OPTIONS, WINDOW_SCALE, kinds, quirk_names, quirk_of};
use crate::policy::model::{Family, SynPattern, SynWindow};
use crate::policy::problem::Fault;

const EXAMPLE: &str = "`ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, such as `4:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0`";

impl FromStr for SynPattern {
    type Err = Fault;

    /// Beside p0f's own notation `*` stands for any value everywhere, and `none` for the scale where there is no such option.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::new(format!("`{text}` is no signature of p0f: {why}"), EXAMPLE);
        let fields: Vec<&str> = text.split(':').map(str::trim).collect();
        let &[version, ttl, ip_options, mss, window, options, quirks, payload] = fields.as_slice() else {
            let label = if fields.len() > 8 { ", and the label of p0f.fp does not belong to it" } else { "" };
            return Err(wrong(format!("it has {} fields, and eight are right{label}", fields.len())));
        };
        let any = |text: &str| text == "*";
        let list = |text: &str| text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let (window, scale) = window.split_once(',').ok_or_else(|| wrong("the window's scale is missing".to_owned()))?;
        let mut pattern = Self {
            family: match version {
                "4" => Some(Family::V4),
                "6" => Some(Family::V6),
                "*" => None,
                _ => return Err(wrong(format!("`{version}` is no IP version"))),
            },
            ttl: if any(ttl) { None } else { Some(bucket(sender(ttl).ok_or_else(|| wrong(format!("`{ttl}` is no time to live")))?)) },
            ip_options: number(ip_options).map_err(|()| wrong(format!("`{ip_options}` is no length of IP options")))?,
            mss: number(mss).map_err(|()| wrong(format!("`{mss}` is no MSS")))?,
            window: window.parse().map_err(|fault: Fault| wrong(fault.message))?,
            scale: match scale {
                "none" => Some(None),
                _ => number(scale).map_err(|()| wrong(format!("`{scale}` is no window scale")))?.map(Some),
            },
            options: None,
            quirks: None,
            payload: match payload {
                "0" => Some(false),
                "+" => Some(true),
                "*" => None,
                _ => return Err(wrong(format!("`{payload}` is neither `0` (no data) nor `+` (data) nor `*`"))),
            },
        };
        if !any(options) {
            let mut all = Vec::new();
            for option in list(options) {
                all.extend(kinds(&option).map_err(|fault| Fault::new(wrong(fault.message).message, fault.hint))?);
            }
            // p0f knows no difference between no scale and a scale of zero.
            if pattern.scale == Some(Some(0)) && !all.contains(&WINDOW_SCALE) {
                pattern.scale = Some(None);
            }
            pattern.options = Some(all);
        }
        if !any(quirks) {
            let mut all = 0;
            for quirk in list(quirks) {
                all |= quirk_of(&quirk).map_err(|fault| Fault::new(wrong(fault.message).message, fault.hint))?;
            }
            pattern.quirks = Some(all);
        }
        Ok(pattern)
    }
}

/// `None`: any.
fn number<T: FromStr>(text: &str) -> Result<Option<T>, ()> {
    if text == "*" { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

/// `64`; `64-`, where it is a guess; `50+14`, where it was seen on the way.
fn sender(text: &str) -> Option<u8> {
    let ttl: u8 = match text.split_once('+') {
        Some((seen, hops)) => seen.parse::<u8>().ok()?.checked_add(hops.parse().ok()?)?,
        None => text.strip_suffix('-').unwrap_or(text).parse().ok()?,
    };
    (ttl > 0).then_some(ttl)
}

impl fmt::Display for SynPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, ttl, ip_options, mss, window, scale, options, quirks, payload } = self;
        let number = |number: Option<u16>| number.map_or("*".to_owned(), |number| number.to_string());
        let version = match family {
            Some(Family::V4) => "4",
            Some(Family::V6) => "6",
            None => "*",
        };
        let scale = match scale {
            Some(None) => "none".to_owned(),
            Some(Some(scale)) => scale.to_string(),
            None => "*".to_owned(),
        };
        let payload = match payload {
            Some(true) => "+",
            Some(false) => "0",
            None => "*",
        };
        let (ttl, ip_options, mss) = (number(ttl.map(u16::from)), number(ip_options.map(u16::from)), number(*mss));
        let options = options.as_ref().map_or("*".to_owned(), |options| layout(options));
        let quirks = quirks.map_or("*".to_owned(), quirk_names);
        write!(out, "{version}:{ttl}:{ip_options}:{mss}:{window},{scale}:{options}:{quirks}:{payload}")
    }
}

fn layout(kinds: &[u8]) -> String {
    let end = kinds.iter().position(|kind| *kind == END);
    let name = |kind: &u8| OPTIONS.iter().find(|(_, known)| known == kind).map_or(format!("?{kind}"), |(name, _)| (*name).to_owned());
    let mut names: Vec<String> = kinds[..end.unwrap_or(kinds.len())].iter().map(name).collect();
    names.extend(end.map(|end| format!("eol+{}", kinds.len() - end - 1)));
    names.join(",")
}

impl fmt::Display for SynWindow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("*"),
            Self::Exactly(window) => write!(out, "{window}"),
            Self::OfMss(times) => write!(out, "mss*{times}"),
            Self::OfMtu(times) => write!(out, "mtu*{times}"),
            Self::Multiple(unit) => write!(out, "%{unit}"),
        }
    }
}
