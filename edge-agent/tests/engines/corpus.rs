//! Runs every file of the corpus through all engines: verdict, rule, monitored rules, reason, name, and the counters at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edge_agent::engine::{Engine, Outcome, oracle::Oracle};
use edge_agent::policy::model::Resolved;
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use crate::corpus_case::{Case, frame::ExpectCase, policy::rule_name};
use crate::trio::Engines;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_case_holds_in_every_engine() {
    let files = files();
    assert!(!files.is_empty(), "an empty corpus proves nothing");
    let failures: Vec<String> = files.iter().flat_map(|path| check(path, &read(path))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn read(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Who is asked about a file.
enum Asked<'a> {
    All(Box<Engines>),
    /// Those of names, until the other engines read them.
    Oracle(Box<Oracle<'a>>),
}

impl Asked<'_> {
    fn set_time(&mut self, now: Timestamp) {
        match self {
            Self::All(engines) => engines.set_time(now),
            Self::Oracle(oracle) => oracle.set_time(now).expect("it always can"),
        }
    }

    fn answer(&mut self, frame: &[u8]) {
        match self {
            Self::All(engines) => engines.answer(frame),
            Self::Oracle(oracle) => oracle.answer(frame).expect("it always can"),
        }
    }

    /// `expected` says whether there is an answer, where none is made.
    fn run_on(&mut self, side: Side, frame: &[u8], set: &Resolved, expected: &ExpectCase) -> (Outcome, ExpectCase) {
        match self {
            Self::All(engines) => {
                let outcome = engines.run_on(side, frame);
                let seen = ExpectCase::of(&outcome, set);
                (outcome, seen)
            }
            Self::Oracle(oracle) => {
                let outcome = oracle.run_on(side, frame).expect("it always can");
                let seen = ExpectCase { answered: expected.answered, ..ExpectCase::of(&outcome, set) };
                (outcome, seen)
            }
        }
    }
}

fn check(path: &Path, case: &Case) -> Vec<String> {
    assert!(!case.about.is_empty() && !case.frames.is_empty(), "{}: says nothing or asks nothing", path.display());
    let set = case.resolved();
    let of_names = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("names-"));
    let mut engines = if of_names {
        Asked::Oracle(Box::new(Oracle::new(&set, case.conduct())))
    } else {
        Asked::All(Box::new(Engines::new(set.clone(), case.conduct())))
    };
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for frame in &case.frames {
        if let Some(at) = frame.at {
            engines.set_time(at);
        }
        let Some(expected) = &frame.expect else {
            assert!(frame.is_towards_device(), "{}: {}: nothing is expected", path.display(), frame.name);
            engines.answer(&frame.bytes());
            continue;
        };
        assert!(!frame.is_towards_device(), "{}: {}: nothing is decided", path.display(), frame.name);
        let side = if frame.inbound { Side::Outside } else { Side::Inside };
        let (outcome, seen) = engines.run_on(side, &frame.bytes(), &set, expected);
        for rule in outcome.rule.iter().chain(&outcome.monitored) {
            *counters.entry(rule_name(&set, *rule)).or_default() += 1;
        }
        if seen != *expected {
            failures.push(format!("{}: {}: expected {expected:?}, seen {seen:?}", path.display(), frame.name));
        }
    }
    if counters != case.counters {
        failures.push(format!("{}: expected counters {:?}, seen {counters:?}", path.display(), case.counters));
    }
    failures
}
