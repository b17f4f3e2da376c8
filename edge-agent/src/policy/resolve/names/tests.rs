use std::fs;
use std::path::Path;

use jiff::civil::date;

use super::super::{Resolution, resolve};
use crate::config::{AlwaysAllow, SourceFiles};
use crate::policy::load::{Loaded, load};
use crate::policy::model::Learned;
use crate::policy::name::NamePattern;
use crate::policy::name_set::NameSet;
use crate::policy::problem::Problems;
use crate::sources::Sources;

fn write(folder: &Path, spec: &str) -> Loaded {
    let text = format!("apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n{spec}");
    fs::write(folder.join("p.yaml"), text).expect("a file");
    load(&[folder.to_owned()], date(2026, 1, 15))
}

/// With these files beside the policy.
fn resolved(spec: &str, files: &[(&str, &str)]) -> (Result<Resolution, Problems>, Sources) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let mut sources = Sources::new(SourceFiles::default());
    let resolution = resolve(write(folder.path(), spec), &AlwaysAllow::default(), &[], &mut sources);
    (resolution, sources)
}

fn shown(set: &NameSet) -> Vec<String> {
    set.iter().map(|(name, scope)| NamePattern { name: name.to_name(), scope }.to_string()).collect()
}

#[test]
fn a_destination_has_its_domains_and_those_of_its_lists() {
    let spec = "  destinations:
    x: {domains: [\"*.B.example\", =c.example, c.example], domain_lists: [names.txt, hosts:other], learned: monitor}
    y: {domain_lists: [names.txt]}
  rules: [{id: r, from: all, to: [x, y], action: drop}]
";
    let (resolution, sources) =
        resolved(spec, &[("names.txt", "n.example\nm.n.example\n"), ("other", "0.0.0.0 h.example\nx.example\ny.example\n")]);
    let resolution = resolution.expect("it holds");
    // Behind those of what is always allowed.
    let [.., x, y] = resolution.resolved.destinations.as_slice() else { panic!("two destinations") };
    assert_eq!(
        x.domains.sets.iter().map(|set| shown(set)).collect::<Vec<_>>(),
        [vec!["*.b.example", "c.example"], vec!["n.example"], vec!["=h.example"]]
    );
    assert_eq!((x.domains.learned, y.domains.learned), (Learned::Monitor, Learned::Enforce));
    assert!(std::sync::Arc::ptr_eq(&x.domains.sets[1], &y.domains.sets[0]), "a list that two destinations name is one set");
    assert_eq!(resolution.summary().names, 4);
    let problems: Vec<_> = resolution.warnings.iter().map(|problem| (problem.place.key.as_str(), problem.message.as_str())).collect();
    assert_eq!(
        problems,
        [("spec.destinations.x.domain_lists[1]", "2 entries of this list are left out: not of this format: 2 (lines 2, 3)")]
    );
    let lists: Vec<_> =
        sources.domain_lists().into_iter().map(|(path, list)| (path.file_name().expect("a name").to_owned(), list.entries)).collect();
    assert_eq!(lists, [("names.txt".into(), 2), ("other".into(), 1)]);
    let files: Vec<_> = resolution.sources.iter().map(|file| (file.entries, file.sha256.len())).collect();
    assert_eq!(files, [(2, 64), (1, 64)], "they are told of as other data files are");
}

#[test]
fn a_rule_on_names_alone_is_not_one_that_never_matches() {
    let spec = "  destinations: {x: {domains: [x.example]}, e: {domain_lists: [empty]}}
  rules: [{id: a, from: all, to: x, action: drop}, {id: b, from: all, to: e, action: drop}]
";
    let (resolution, _) = resolved(spec, &[("empty", "# nothing yet\n")]);
    let warnings: Vec<_> = resolution.expect("it holds").warnings.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(warnings, ["this domain list names nothing", "the rule `b` can never match: its destinations are none"]);
}

#[test]
fn rules_hide_and_contradict_each_other_by_names_too() {
    let rules = |first: &str, second: &str, third: &str| {
        format!(
            "  destinations:\n    a: {{domains: [{first}]}}\n    b: {{domains: [{second}]}}\n  rules:\n    - {{id: first, from: all, to: a, services: tcp/443, \
             action: drop}}\n    - {{id: second, from: all, to: {third}, services: tcp/443, action: pass}}\n"
        )
    };
    let meets = "the rule `second` would pass what `p/first` drops: tcp/443 from 00:00:00:00:00:00 to ";
    for (spec, expected) in [
        (rules("x.example", "=y.x.example, \"*.z.x.example\"", "b"), "the rule `second` can never match: `p/first` takes all its packets"),
        (rules("x.example", "=y.x.example, z.example", "b"), &format!("{meets}=y.x.example")),
        (rules("\"*.x.example\"", "=x.example", "b"), ""),
        (rules("\"*.x.example\"", "\"*.y.x.example\", x.org", "b"), &format!("{meets}*.y.x.example")),
        (rules("x.example", "example", "b"), ""),
        (rules("notx.example", "x.example", "b"), ""),
        // What is inside of a later rule is an exception from it.
        (rules("x.example", "y.example", "[a, b]"), ""),
        (rules("x.example", "y.example", "any"), ""),
    ] {
        let (resolution, _) = resolved(&spec, &[]);
        let warnings = resolution.expect("it holds").warnings;
        let messages = warnings.iter().map(|problem| problem.message.as_str()).filter(|message| !message.starts_with("no rule uses"));
        assert_eq!(messages.collect::<Vec<_>>().join("; "), expected, "{spec}");
    }
}

/// What an address is worth that was learned for a name decides whether the rule on the name takes its packets, too.
#[test]
fn a_rule_hides_another_on_the_same_names_if_it_decides_by_learned_addresses_or_the_other_does_not_match_by_them() {
    for (first, second, hidden) in [
        ("enforce", "enforce", true),
        ("enforce", "monitor", true),
        ("enforce", "off", true),
        ("monitor", "enforce", false),
        ("monitor", "monitor", false),
        ("monitor", "off", true),
        ("off", "enforce", false),
        ("off", "monitor", false),
        ("off", "off", true),
    ] {
        let spec = format!(
            "  destinations:\n    a: {{domains: [x.example], learned: {first}}}\n    b: {{domains: [y.x.example], learned: {second}}}\n  \
             rules: [{{id: first, from: all, to: a, action: drop}}, {{id: second, from: all, to: b, action: drop}}]\n"
        );
        let (resolution, _) = resolved(&spec, &[]);
        let warned = !resolution.expect("it holds").warnings.is_empty();
        assert_eq!(warned, hidden, "{first}, then {second}");
    }
}
