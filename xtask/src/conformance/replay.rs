//! The same captures, asked of the three engines with policies about the names in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{At, NAMES, Place, capture_name};
use crate::command::{is_root, output};

/// Where an observation has its name.
const KEYS: [&str; 3] = ["name", "sni", "host"];
/// Captures that are asked about at once: what a program's end costs in the kernel is waiting.
const AT_ONCE: usize = 4;
/// Packets with a name that pass unseen, and why.
const UNSEEN: [(&str, &[u64], &str); 3] = [
    ("capwap_data.pcapng", &[9], "inside CAPWAP: the filter does not look into tunnels"),
    ("tls_invalid_reads.pcap", &[12], "inside GTP: the filter does not look into tunnels"),
    ("vxlan.pcap", &[1, 2, 8, 24, 25, 31], "inside VXLAN: the filter does not look into tunnels"),
];
/// Differences that are printed.
const SHOWN: usize = 20;

const POLICY: &str = "\
apiVersion: edge/v1
kind: Policy
metadata: {name: seen, title: Names of captures}
spec:
  destinations:
    watched: {domain_lists: ['plain:watched.txt'], learned: monitor}
    banned: {domain_lists: ['plain:banned.txt']}
  rules:
    - {id: watched, from: all, to: watched, action: monitor}
    - {id: banned, from: all, to: banned, action: drop}
";

/// What became of all frames.
#[derive(Default)]
pub struct Replayed {
    engines: Vec<&'static str>,
    frames: u64,
    differences: Vec<String>,
    /// Packets in which the other tool sees a name that a rule is about, by what became of them.
    met: u64,
    /// Dropped, since the name could not be read.
    held: u64,
    unseen: BTreeSet<(String, u64)>,
}

/// Replays the captures with every second name dropped and the others watched.
///
/// # Errors
/// If an engine cannot be asked.
pub fn replay(agent: &Path, captures: &BTreeSet<PathBuf>, expected: &BTreeMap<Place, Value>) -> Result<Replayed> {
    let folder = Folder::new()?;
    let names: BTreeSet<String> = expected.iter().filter_map(|(place, seen)| name(place, seen)).collect();
    for (list, rest) in [("banned.txt", 0), ("watched.txt", 1)] {
        let lines = names.iter().enumerate().filter(|(number, _)| number % 2 == rest).map(|(_, name)| format!("{name}\n"));
        folder.write(list, &lines.collect::<String>())?;
    }
    folder.write("seen.yaml", POLICY)?;

    // The program is the kernel's to judge: without root the others are asked alone.
    let engines = if is_root() { vec!["oracle", "host", "kernel"] } else { vec!["oracle", "host"] };
    let (waiting, all) = (Mutex::new(captures.iter()), Mutex::new(Replayed { engines: engines.clone(), ..Replayed::default() }));
    let work = || -> Result<()> {
        loop {
            let Some(capture) = waiting.lock().ok().and_then(|mut waiting| waiting.next()) else { return Ok(()) };
            let ask = |engine: &&'static str| lines(agent, engine, &folder.0, capture);
            let answers = engines.iter().map(ask).collect::<Result<Vec<_>>>()?;
            if let Ok(mut all) = all.lock() {
                all.add(&capture_name(capture), &answers, expected);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    all.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))
}

/// Of an observation: the name of a host, if it has one.
fn name((_, _, kind): &Place, seen: &Value) -> Option<String> {
    let name = KEYS.iter().find_map(|key| seen[key].as_str()).filter(|_| NAMES.contains(&kind.as_str()))?;
    // A request's host may have a port, and be an address, which is no name.
    let name = name.split(':').next()?.trim_end_matches('.');
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (name.contains('.') && name.chars().all(plain) && name.parse::<IpAddr>().is_err()).then(|| name.to_owned())
}

/// What an engine says of each frame.
fn lines(agent: &Path, engine: &str, policies: &Path, capture: &Path) -> Result<Vec<Value>> {
    let mut command = Command::new(agent);
    command.args(["replay", "--json", "--engine", engine, "--inside", "0.0.0.0/0", "--inside", "::/0", "--policies"]);
    let printed = output(command.arg(policies.join("seen.yaml")).arg(capture))?;
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    let mut lines: Vec<Value> = printed.lines().map(parse).collect::<Result<_>>()?;
    lines.pop().filter(|last| last["summary"].is_object()).with_context(|| format!("{engine} gave no summary of {}", capture.display()))?;
    Ok(lines)
}

impl Replayed {
    /// `answers`: of each engine, the oracle's first.
    fn add(&mut self, capture: &str, answers: &[Vec<Value>], expected: &BTreeMap<Place, Value>) {
        let Some((oracle, others)) = answers.split_first() else { return };
        self.frames += oracle.len() as u64;
        for (engine, lines) in self.engines.clone().into_iter().skip(1).zip(others) {
            if lines.len() != oracle.len() {
                self.differences.push(format!("{capture}: the oracle judges {} frames, the {engine} engine {}", oracle.len(), lines.len()));
            }
            for (ours, theirs) in oracle.iter().zip(lines) {
                // The program in the kernel tells names in its reports alone.
                let same = |ours: &Value, theirs: &Value| match engine {
                    "kernel" => without_name(ours) == without_name(theirs),
                    _ => ours == theirs,
                };
                if !same(ours, theirs) {
                    self.differences.push(format!("{capture}: the oracle says {ours}, the {engine} engine {theirs}"));
                }
            }
        }
        for (place, seen) in expected.iter().filter(|(place, _)| place.0 == capture) {
            let At::Frame(number) = place.1 else { continue };
            if name(place, seen).is_none() {
                continue;
            }
            match oracle.iter().find(|line| line["frame"] == number) {
                Some(line) if !line["rule"].is_null() || line["monitored"] != Value::Array(Vec::new()) => self.met += 1,
                Some(line) if line["verdict"] == "drop" && !line["reason"].is_null() => self.held += 1,
                _ => drop(self.unseen.insert((capture.to_owned(), number))),
            }
        }
    }

    /// # Errors
    /// If the engines differ about any frame, or a name passes unseen that is not listed, or one is listed that does not.
    pub fn judge(&self) -> Result<()> {
        if !self.differences.is_empty() {
            bail!("the engines differ {} times", self.differences.len());
        }
        let listed: BTreeSet<_> =
            UNSEEN.iter().flat_map(|(capture, frames, _)| frames.iter().map(|frame| ((*capture).to_owned(), *frame))).collect();
        self.judge_unseen(&listed)
    }

    fn judge_unseen(&self, listed: &BTreeSet<(String, u64)>) -> Result<()> {
        if self.unseen != *listed {
            let places: Vec<_> = self.unseen.symmetric_difference(listed).collect();
            bail!("names that pass unseen and are not listed, or are listed and do not: {places:?}");
        }
        if self.met == 0 {
            bail!("no rule met any name, so nothing was shown");
        }
        Ok(())
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engines, frames, differences, met, held, unseen } = self;
        differences.iter().take(SHOWN).try_for_each(|difference| writeln!(formatter, "{difference}"))?;
        writeln!(formatter, "replayed: {frames} frames, {} differences between {}", differences.len(), engines.join(", "))?;
        UNSEEN.iter().try_for_each(|(capture, frames, reason)| writeln!(formatter, "{capture} {frames:?}: names pass unseen: {reason}"))?;
        writeln!(formatter, "replayed: names in {met} packets met by a rule, in {held} held unread, in {} unseen", unseen.len())
    }
}

fn without_name(line: &Value) -> Value {
    let mut line = line.clone();
    if let Some(line) = line.as_object_mut() {
        line.remove("name");
    }
    line
}

/// A folder that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("edge-conformance-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left goes with the system's other temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(number: u64, rule: Option<&str>, name: Option<&str>) -> Value {
        json!({"frame": number, "verdict": if rule.is_some() { "drop" } else { "pass" }, "rule": rule, "monitored": [], "name": name})
    }

    fn replayed(answers: &[Vec<Value>]) -> Replayed {
        let place = |frame| ("a.pcap".to_owned(), At::Frame(frame), "dns_query".to_owned());
        let expected = [(place(1), json!({"name": "a.example"})), (place(2), json!({"name": "\u{fffd}.example"}))].into();
        let mut replayed = Replayed { engines: vec!["oracle", "host", "kernel"], ..Replayed::default() };
        replayed.add("a.pcap", answers, &expected);
        replayed
    }

    #[test]
    fn engines_agree_about_all_but_the_names_that_the_kernel_does_not_tell() {
        let told = || vec![frame(1, Some("banned"), Some("a.example")), frame(2, None, None)];
        let untold = || vec![frame(1, Some("banned"), None), frame(2, None, None)];
        let same = replayed(&[told(), told(), untold()]);
        assert!(same.differences.is_empty() && (same.frames, same.met, same.held) == (2, 1, 0), "{same}");
        assert!(same.judge_unseen(&BTreeSet::new()).is_ok(), "{same}");
        let differ = |answers: &[Vec<Value>]| replayed(answers).judge().expect_err("they differ").to_string().contains("engines differ");
        assert!(differ(&[told(), untold(), untold()]), "the host engine tells names");
        let passed = vec![frame(1, None, None), frame(2, None, None)];
        assert!(differ(&[told(), told(), passed]));
        let short = vec![frame(1, Some("banned"), None)];
        assert!(differ(&[told(), told(), short]));
    }

    #[test]
    fn a_name_that_passes_unseen_needs_a_reason_and_one_that_is_held_none() {
        let (none, listed) = (BTreeSet::new(), [("a.pcap".to_owned(), 1)].into());
        let of = |first: Value| replayed(&[vec![first, frame(2, None, None)]]);
        let mut unread = frame(1, None, None);
        (unread["verdict"], unread["reason"]) = ("drop".into(), "quic".into());
        let (met, held, mut unseen) = (of(frame(1, Some("banned"), None)), of(unread), of(frame(1, None, None)));
        assert!(met.judge_unseen(&none).is_ok() && met.judge_unseen(&listed).is_err());
        assert_eq!((held.met, held.held, held.unseen.len()), (0, 1, 0));
        assert!(held.judge_unseen(&none).is_err(), "no rule met anything");
        assert!(unseen.judge_unseen(&none).expect_err("unseen").to_string().contains("a.pcap"));
        unseen.met = 1;
        assert!(unseen.judge_unseen(&listed).is_ok() && unseen.judge_unseen(&none).is_err());
    }

    #[test]
    fn names_are_those_of_hosts() {
        let of = |kind: &str, seen: Value| name(&("a.pcap".to_owned(), At::Frame(1), kind.to_owned()), &seen);
        assert_eq!(of("http_request", json!({"host": "a.example:8080", "user_agent": "b.example"})), Some("a.example".to_owned()));
        assert_eq!(of("client_hello", json!({"sni": "a.example"})), Some("a.example".to_owned()));
        assert_eq!(of("http_request", json!({"host": "192.0.2.1:80"})), None);
        assert_eq!(of("dns_query", json!({"name": "a.example."})), Some("a.example".to_owned()));
        for (kind, seen) in
            [("dhcp", json!({"name": "a.example"})), ("client_hello", json!({"sni": null})), ("dns_query", json!({"name": "<root>"}))]
        {
            assert_eq!(of(kind, seen), None);
        }
    }
}
