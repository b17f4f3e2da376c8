//! Runs every file of the corpus through all engines: verdict, rule, monitored rules, reason, name, and the counters at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edge_ebpf::engine::Side;

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

fn check(path: &Path, case: &Case) -> Vec<String> {
    assert!(!case.about.is_empty() && !case.frames.is_empty(), "{}: says nothing or asks nothing", path.display());
    let set = case.resolved();
    let mut engines = Engines::new(set.clone(), case.conduct());
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
        let outcome = engines.run_on(side, &frame.bytes());
        let seen = ExpectCase::of(&outcome, &set);
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
