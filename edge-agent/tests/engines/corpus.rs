//! Runs every file of the corpus through all engines: verdict, rule, monitored rules, reason, name, and the counters at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edge_ebpf::engine::Side;

use crate::corpus_case::frame::{ExpectCase, FrameCase};
use crate::corpus_case::{Case, policy::rule_name};
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

/// As `./x differential` writes what it finds.
#[test]
fn a_case_says_the_same_when_it_is_written_again() {
    let nested = serde_yaml::from_str(
        r#"
about: groups within groups
policies: []
devices: {some: {all: [{not: {any: [[["64:09:80:00:00:00", "64:09:80:ff:ff:ff"]], {all: []}]}}, {any: []}]}}
frames: []
counters: {}
"#,
    );
    let cases = files().iter().map(|path| read(path)).chain([nested.expect("a case")]).collect::<Vec<Case>>();
    for case in cases {
        let written = serde_yaml::to_string(&case).unwrap_or_else(|error| panic!("{}: {error}", case.about));
        let again: Case = serde_yaml::from_str(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"));
        assert_eq!(format!("{:?}", again.resolved()), format!("{:?}", case.resolved()));
        assert_eq!(again.conduct(), case.conduct());
        assert!(again.frames.iter().map(FrameCase::bytes).eq(case.frames.iter().map(FrameCase::bytes)), "{}", case.about);
        assert!(again.frames.iter().map(|frame| &frame.expect).eq(case.frames.iter().map(|frame| &frame.expect)), "{}", case.about);
    }
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
