//! What users copy from: `deploy/agent.yaml`, which says of each value but the interfaces that it is the default, and the policy in
//! README.md.

use std::path::{Path, PathBuf};

use edge_agent::config::keys::AGENT;
use edge_agent::config::{AgentConfig, Interfaces};
use edge_agent::policy::load::load;
use edge_agent::policy::shape::{Object, Shape};

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn the_example_names_the_defaults() {
    let path = workspace("deploy/agent.yaml");
    let config = AgentConfig::read(&path).unwrap_or_else(|problems| panic!("{problems}"));

    let interfaces = Interfaces { inside: vec!["lan0".into()], outside: vec!["wan0".into()] };
    let defaults = AgentConfig { interfaces, ..AgentConfig::default() };
    assert_eq!(config, defaults);
}

/// A key that the example lacks is one that nobody finds.
#[test]
fn the_example_has_every_key() {
    let text = std::fs::read_to_string(workspace("deploy/agent.yaml")).expect("the example");
    let mut keys = Vec::new();
    collect(&AGENT, &mut keys);
    assert!(keys.len() > 15, "the keys are found");
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "{key} is not in deploy/agent.yaml");
    }
}

fn collect(object: &Object, keys: &mut Vec<&'static str>) {
    for key in object.keys {
        keys.push(key.name);
        if let Shape::Object(inner) = key.shape {
            collect(inner, keys);
        }
    }
}

#[test]
fn the_policy_in_the_readme_is_one() {
    let readme = std::fs::read_to_string(workspace("README.md")).expect("README.md");
    let (_, rest) = readme.split_once("```yaml\n").expect("a policy");
    let (policy, _) = rest.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, policy).expect("written");

    let loaded = load(&[file], jiff::civil::date(2026, 1, 1));
    assert!(loaded.problems().is_empty(), "{}", loaded.problems());
    assert_eq!(loaded.policies().len(), 1);
}
