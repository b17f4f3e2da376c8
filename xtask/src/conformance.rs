//! `xtask conformance DIR`: what `edge-agent fingerprint` says of captures, beside what another tool says of them; and what the three engines
//! say of every frame.

mod replay;

mod ja4;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{self, Profile};
use crate::command::output;

/// Where both may differ: capture, kind, frames or JA4 values, reason.
const EXCEPTIONS: &str = include_str!("conformance.exceptions");
/// The observations, one a line, beside the captures.
const EXPECTED: &str = "expected.jsonl";
/// JA4 values that are published for the captures, by capture; need not be there.
const PUBLISHED: &str = "ja4.json";
/// Where a capture's frames have no Ethernet header.
const NO_MAC: &str = "00:00:00:00:00:00";

/// Compare what the agent sees in captures with what another tool sees in them, and the engines with each other.
#[derive(clap::Args)]
pub struct Conformance {
    /// Captures, an `expected.jsonl` with the observations that they hold, and perhaps a `ja4.json` with the JA4 values that are published for them.
    directory: PathBuf,
    /// An agent that is built already.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// Kinds of observations that are names.
const NAMES: [&str; 4] = ["dns_query", "client_hello", "quic_client_hello", "http_request"];

/// Capture, where in it, kind.
type Place = (String, At, String);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum At {
    Frame(u64),
    /// Anywhere: a JA4.
    Value(String),
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(number) => number.fmt(out),
            Self::Value(value) => value.fmt(out),
        }
    }
}

impl Conformance {
    pub fn run(&self) -> Result<()> {
        let Self { directory, agent } = self;
        let mut expected = observations(&read(&directory.join(EXPECTED))?)?;
        let agent = agent.clone().map_or_else(|| build::agent(Profile::Dev), Ok)?;
        let mut found = BTreeMap::new();
        let captures = captures(directory)?;
        for capture in &captures {
            let printed = output(Command::new(&agent).arg("fingerprint").arg("--json").arg(capture))?;
            found.extend(observations(&printed)?);
        }
        let published = directory.join(PUBLISHED);
        if published.exists() {
            ja4::add(&read(&published)?, &mut expected, &mut found)?;
        }
        // What the other tool was not asked for.
        found.retain(|(_, _, kind), _| expected.keys().any(|(_, _, known)| known == kind));
        let report = Report::new(&expected, &found, &exceptions(EXCEPTIONS)?);
        print!("{}", report.text());
        let replayed = replay::replay(&agent, &captures, &expected)?;
        print!("{replayed}");
        report.judge().and_then(|()| replayed.judge())
    }
}

/// The folder's captures, also those in which the other tool sees nothing.
fn captures(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let is_capture =
        |path: &PathBuf| path.extension().is_some_and(|extension| ["cap", "pcap", "pcapng"].iter().any(|known| extension == *known));
    Ok(paths.into_iter().filter(is_capture).collect())
}

/// As observations name it.
fn capture_name(capture: &Path) -> String {
    capture.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// One JSON object a line, by its place; the rest of it is what was seen there.
fn observations(text: &str) -> Result<BTreeMap<Place, Value>> {
    let mut observations = BTreeMap::new();
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        let object = value.as_object_mut().with_context(|| format!("no object: {line}"))?;
        let place = (|| {
            let text = |value: Value| value.as_str().map(str::to_owned);
            let frame = At::Frame(object.remove("frame")?.as_u64()?);
            Some((text(object.remove("capture")?)?, frame, text(object.remove("kind")?)?))
        })();
        let place = place.with_context(|| format!("no capture, frame and kind: {line}"))?;
        if let Some(mac) = object.get_mut("mac").filter(|mac| *mac == NO_MAC) {
            *mac = Value::from("");
        }
        observations.insert(place, value);
    }
    Ok(observations)
}

/// Reasons by place.
fn exceptions(text: &str) -> Result<BTreeMap<Place, String>> {
    let mut exceptions = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.splitn(4, ' ');
        let (Some(capture), Some(kind), Some(frames), Some(reason)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            bail!("an exception is capture, kind, frames, reason: {line}");
        };
        for frame in frames.split(',') {
            let at = match kind {
                ja4::KIND => At::Value(frame.to_owned()),
                _ => At::Frame(frame.parse().with_context(|| format!("no frame's number: {line}"))?),
            };
            exceptions.insert((capture.to_owned(), at, kind.to_owned()), reason.to_owned());
        }
    }
    Ok(exceptions)
}

/// How one place differs.
#[derive(Debug)]
struct Difference {
    place: Place,
    expected: Option<Value>,
    found: Option<Value>,
    reason: Option<String>,
}

struct Report {
    /// By kind: agreed, expected.
    kinds: BTreeMap<String, (u64, u64)>,
    differences: Vec<Difference>,
    /// Exceptions for places that do not differ.
    idle: Vec<Place>,
}

impl Report {
    fn new(expected: &BTreeMap<Place, Value>, found: &BTreeMap<Place, Value>, exceptions: &BTreeMap<Place, String>) -> Self {
        let mut report = Self { kinds: BTreeMap::new(), differences: Vec::new(), idle: Vec::new() };
        for place in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let (expected, found) = (expected.get(place), found.get(place));
            let (agreed, total) = report.kinds.entry(place.2.clone()).or_default();
            *total += u64::from(expected.is_some());
            if agree(expected, found) {
                *agreed += 1;
                continue;
            }
            report.differences.push(Difference {
                place: place.clone(),
                expected: expected.cloned(),
                found: found.cloned(),
                reason: exceptions.get(place).cloned(),
            });
        }
        let differs = |place: &&Place| report.differences.iter().any(|difference| difference.place == **place);
        report.idle = exceptions.keys().filter(|place| !differs(place)).cloned().collect();
        report
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Difference { place: (capture, frame, kind), expected, found, reason } in &self.differences {
            let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
            let reason = reason.as_deref().unwrap_or("NOT EXPLAINED");
            text += &format!("{capture} {frame} {kind}: expected {}, found {}: {reason}\n", shown(expected), shown(found));
        }
        for (capture, frame, kind) in &self.idle {
            text += &format!("{capture} {frame} {kind}: listed as an exception, and there is none\n");
        }
        for (kind, (agreed, total)) in &self.kinds {
            text += &format!("{kind:<18} {agreed:>5} of {total:>5} agree\n");
        }
        let agreed: u64 = self.kinds.values().map(|(agreed, _)| agreed).sum();
        let total: u64 = self.kinds.values().map(|(_, total)| total).sum();
        text += &format!("{:<18} {agreed:>5} of {total:>5} agree, {} differ\n", "all", self.differences.len());
        text
    }

    fn judge(&self) -> Result<()> {
        let unexplained = self.differences.iter().filter(|difference| difference.reason.is_none()).count();
        if unexplained > 0 || !self.idle.is_empty() {
            bail!("{unexplained} differences are not explained, and {} exceptions are none", self.idle.len());
        }
        // What only the agent sees needs a reason, but is none of what it was to see.
        for (what, counts) in [("names", &NAMES[..]), ("observations", &[])] {
            let counted = |kind: &str| counts.is_empty() || counts.contains(&kind);
            let total: u64 = self.kinds.iter().filter(|(kind, _)| counted(kind)).map(|(_, (_, total))| total).sum();
            let wrong = self.differences.iter().filter(|difference| difference.expected.is_some() && counted(&difference.place.2)).count();
            if wrong as u64 * 100 > total {
                bail!("{wrong} of {total} {what} differ, which is more than one in a hundred");
            }
        }
        Ok(())
    }
}

/// The same in all that is expected; of a MAC only where tshark shows one, which it does not in Linux cooked captures.
fn agree(expected: Option<&Value>, found: Option<&Value>) -> bool {
    let (Some(expected), Some(found)) = (expected, found) else { return expected == found };
    let Some(keys) = expected.as_object() else { return expected == found };
    keys.iter().all(|(key, value)| (key == "mac" && value == "") || found.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = r#"{"capture": "a.pcap", "frame": 1, "kind": "dns_query", "mac": "00:00:00:00:00:00", "name": "one"}
{"capture": "a.pcap", "frame": 2, "kind": "dns_query", "mac": "", "name": "two"}"#;

    fn report(found: &str, listed: &str) -> Report {
        let observations = |text| observations(text).expect("observations");
        Report::new(&observations(EXPECTED), &observations(found), &exceptions(listed).expect("exceptions"))
    }

    #[test]
    fn the_same_twice_agrees() {
        let report = report(EXPECTED, "");
        assert!(report.judge().is_ok());
        assert_eq!(report.kinds["dns_query"], (2, 2));
    }

    #[test]
    fn a_difference_needs_a_reason_and_must_be_rare() {
        let found = EXPECTED.replace("two", "three");
        assert!(report(&found, "").judge().expect_err("unexplained").to_string().contains("1 differences"));
        assert!(report(&found, "a.pcap dns_query 2 why").judge().expect_err("half of all").to_string().contains("one in a hundred"));
        let extra = format!("{EXPECTED}\n{}", EXPECTED.replace("a.pcap", "b.pcap"));
        assert_eq!(report(&extra, "").differences.len(), 2);
        let more = EXPECTED.replace(r#""name": "one""#, r#""name": "one", "more": 1"#);
        assert!(report(&more, "").judge().is_ok(), "what is beside the expected keys does not count");
    }

    #[test]
    fn a_mac_is_compared_where_one_is_expected() {
        assert!(report(&EXPECTED.replace(r#""mac": """#, r#""mac": "02:00:00:00:00:01""#), "").judge().is_ok());
        assert!(report(&EXPECTED.replace("two", "two!").replace(r#""mac": """#, r#""mac": "02:00:00:00:00:01""#), "").judge().is_err());
    }

    #[test]
    fn an_exception_that_is_none_fails() {
        assert!(report(EXPECTED, "a.pcap dns_query 1 why").judge().is_err());
        assert!(exceptions("a.pcap dns_query one why").is_err());
    }

    #[test]
    fn the_listed_exceptions_can_be_read() {
        assert!(!exceptions(super::EXCEPTIONS).expect("exceptions").is_empty());
    }
}
