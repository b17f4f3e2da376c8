//! `deploy/agent.yaml` says of each value that it is the default, but for what it calls an example.

use std::path::Path;

use edge_agent::config::{AgentConfig, AlwaysAllow, Interfaces};

#[test]
fn the_example_names_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.yaml");
    let config = AgentConfig::read(&path).unwrap_or_else(|problems| panic!("{problems}"));

    let AlwaysAllow { prefixes, services, macs } = &config.always_allow;
    assert_eq!((prefixes.len(), services.len(), macs.len()), (1, 1, 1), "an example of each");
    let interfaces = Interfaces { inside: vec!["lan0".into()], outside: vec!["wan0".into()] };
    let defaults = AgentConfig { interfaces, always_allow: config.always_allow.clone(), ..AgentConfig::default() };
    assert_eq!(config, defaults);
}

/// A key that the example lacks is one that nobody finds.
#[test]
fn the_example_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agent.yaml");
    let text = std::fs::read_to_string(path).expect("the example");
    let mut keys = Vec::new();
    collect(&edge_agent::config::keys::AGENT, &mut keys);
    assert!(keys.len() > 15, "the keys are found");
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "{key} is not in deploy/agent.yaml");
    }
}

fn collect(object: &edge_agent::policy::shape::Object, keys: &mut Vec<&'static str>) {
    for key in object.keys {
        keys.push(key.name);
        if let edge_agent::policy::shape::Shape::Object(inner) = key.shape {
            collect(inner, keys);
        }
    }
}
