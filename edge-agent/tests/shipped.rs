//! The shipped policies hold alone as well as together, and in both modes: what an admin deploys is some of them.

use std::fs;
use std::path::{Path, PathBuf};

use edge_agent::config::{AgentConfig, AlwaysAllow, SourceFiles};
use edge_agent::engine::EngineKind;
use edge_agent::engine::policy_test::{Examiner, differences};
use edge_agent::policy::compile::compile;
use edge_agent::policy::load::load;
use edge_agent::policy::resolve::{Resolution, resolve};
use edge_agent::sources::Sources;
use jiff::civil::date;

const SHIPPED: &str = "../policies";

fn files() -> SourceFiles {
    let data = Path::new("tests/data");
    SourceFiles {
        vendors: vec![data.join("oui.csv")],
        countries_v4: data.join("geoip"),
        countries_v6: data.join("geoip6"),
        countries_mmdb: None,
        asns: None,
        services: data.join("services"),
    }
}

fn resolved(path: &Path) -> Resolution {
    resolve(load(&[path.to_owned()], date(2026, 1, 15)), &AlwaysAllow::default(), &[], &mut Sources::new(files()))
        .unwrap_or_else(|problems| panic!("{}: {problems}", path.display()))
}

/// A copy of all of them, in which every policy has this mode; and each policy's file in it.
fn with_mode(mode: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let copy = tempfile::tempdir().unwrap();
    let mut policies = Vec::new();
    for folder in fs::read_dir(SHIPPED).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let into = copy.path().join(folder.file_name().unwrap());
        fs::create_dir(&into).unwrap();
        for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let text = fs::read_to_string(&file).unwrap();
            let target = into.join(file.file_name().unwrap());
            // Databases of fingerprints are YAML as well.
            if file.extension().is_some_and(|extension| extension == "yaml") && text.contains("\nkind: Policy\n") {
                let line = text.lines().find(|line| line.starts_with("  mode: ")).unwrap_or_else(|| panic!("{}: no mode", file.display()));
                fs::write(&target, text.replacen(line, &format!("  mode: {mode}"), 1)).unwrap();
                policies.push(target);
            } else {
                fs::write(&target, text).unwrap();
            }
        }
    }
    assert!(policies.len() >= 13, "{policies:?}");
    (copy, policies)
}

/// All failures of these policies' tests that `asked` picks.
fn failures(resolution: &Resolution, asked: impl Fn(&edge_agent::policy::expectation::Expectation) -> bool) -> Vec<String> {
    let now = "2026-01-15T12:00:00Z".parse().unwrap();
    let compiled = compile(&resolution.resolved, now).unwrap();
    let conduct = AgentConfig::default().conduct;
    let mut examiner = Examiner::new(EngineKind::Host, &resolution.resolved, &compiled, conduct, now).unwrap();
    let mut failures = Vec::new();
    for test in resolution.tests.iter().filter(|test| asked(&test.test.expect)) {
        for difference in differences(test, &compiled, &examiner.ask(&test.test).unwrap()) {
            failures.push(format!("{}: {}: {difference}", test.policy, test.test.name.value));
        }
    }
    failures
}

#[test]
fn together_they_hold() {
    assert_eq!(failures(&resolved(Path::new(SHIPPED)), |_| true), [""; 0]);
}

#[test]
fn each_holds_alone_when_it_is_enforced() {
    let (_copy, policies) = with_mode("enforce");
    for policy in policies {
        let resolution = resolved(&policy);
        assert!(resolution.warnings.is_empty(), "{}", resolution.warnings);
        assert!(!resolution.tests.is_empty(), "{}", policy.display());
        assert_eq!(failures(&resolution, |_| true), [""; 0]);
    }
}

/// What is only counted decides nothing, so that the tests about deciding are not asked.
#[test]
fn each_holds_alone_when_it_monitors() {
    let (_copy, policies) = with_mode("monitor");
    for policy in policies {
        let resolution = resolved(&policy);
        assert!(resolution.warnings.is_empty(), "{}", resolution.warnings);
        assert_eq!(failures(&resolution, |expect| expect.matches.is_some()), [""; 0]);
    }
}

#[test]
fn together_each_mode_is_one_set() {
    for mode in ["enforce", "monitor"] {
        let (copy, policies) = with_mode(mode);
        let resolution = resolved(copy.path());
        assert_eq!(resolution.summary().policies, policies.len());
        let warnings: Vec<String> = resolution.warnings.iter().map(|problem| problem.message.clone()).collect();
        // policies/README.md explains them.
        let explained = |warning: &String| warning.contains("would pass what `iaf-2014-no-use/no-use` rejects");
        assert!(warnings.iter().all(explained), "{mode}: {warnings:?}");
        assert_eq!(warnings.len(), if mode == "enforce" { 2 } else { 0 }, "{warnings:?}");
    }
}
