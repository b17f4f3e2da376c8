//! Reads policy files and checks what can be checked without data: each file for itself, and names across files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

use super::problem::{Place, Problems, Source, suggest};
use super::schema::{Placed, Policy, Rule};
use super::service::Service;
use super::yaml::{self, Node};
use crate::config::Interfaces;

/// Name of the policy that the agent makes of `always_allow`.
pub const ALWAYS_ALLOW: &str = "always-allow";

/// All policies of some files, in the order of evaluation, and what is wrong in them.
#[derive(Debug)]
pub struct Loaded {
    pub(super) policies: Vec<Policy>,
    pub(super) problems: Problems,
}

impl Loaded {
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Warns of rules that no interface of this gateway asks.
    pub fn check_interfaces(&mut self, interfaces: &Interfaces) {
        if interfaces.inside.is_empty() || !interfaces.outside.is_empty() {
            return;
        }
        for rule in self.policies.iter().flat_map(|policy| &policy.rules) {
            if let Some(Placed { place, .. }) = rule.direction.as_ref().filter(|direction| direction.value.inbound()) {
                self.problems
                    .warning(place, format!("the rule `{}` sees no inbound packet: agent.yaml names no outside interface", rule.id.value))
                    .hint("name it there: `interfaces: {outside: [eth0]}`");
            }
        }
    }
}

/// The date by which policies expire.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Reads files, and folders with all `.yaml` and `.yml` below them.
pub fn load(paths: &[PathBuf], today: Date) -> Loaded {
    let mut problems = Problems::default();
    let mut files = BTreeSet::new();
    let mut folders = BTreeSet::new();
    for path in paths {
        if let Err(error) = find(path, &mut files, &mut folders) {
            problems.error(&Place::file(path), format!("policies cannot be read: {error}")).hint("name a policy file or a folder of them");
        }
    }
    let mut policies = Vec::new();
    for file in &files {
        let before = (policies.len(), problems.errors());
        let other = read(file, today, &mut policies, &mut problems);
        if !other && (policies.len(), problems.errors()) == before {
            problems.warning(&Place::file(file), "no policy in this file").hint("remove it, or write one: `kind: Policy`");
        }
    }
    if files.is_empty() && problems.is_empty() {
        for path in paths {
            problems.warning(&Place::file(path), "no policy in this folder").hint("policies are files that end in .yaml or .yml");
        }
    }
    check_names(&policies, &mut problems);
    policies.sort_by(|a, b| (a.priority, &a.name.value).cmp(&(b.priority, &b.name.value)));
    Loaded { policies, problems }
}

/// Names that begin with a dot are left out: editors' copies, and the folders behind a mounted ConfigMap's links.
fn find(path: &Path, files: &mut BTreeSet<PathBuf>, folders: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        files.insert(path.to_owned());
        return Ok(());
    }
    // A link to a folder above would lead here again.
    if !folders.insert(path.canonicalize()?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let policy = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !hidden && (policy || path.is_dir()) {
            find(&path, files, folders)?;
        }
    }
    Ok(())
}

/// Whether it is something else than policies.
fn read(file: &Path, today: Date, policies: &mut Vec<Policy>, problems: &mut Problems) -> bool {
    let mut other = false;
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let source = Arc::new(Source { path: file.to_owned(), text });
            for document in yaml::read(&source, problems) {
                // Beside the policies lie the databases of what devices show.
                if document.get("kind").and_then(Node::text) == Some("Fingerprints") {
                    other = true;
                    continue;
                }
                let before = problems.errors();
                let Some(policy) = Policy::decode(&document, problems) else { continue };
                check_rules(&policy, problems);
                check_dates(&policy, today, problems);
                // What is only used by a rule that is wrong is not unused.
                if problems.errors() == before {
                    check_use(&policy, problems);
                }
                policies.push(policy);
            }
        }
        Err(error) => {
            problems.error(&Place::file(file), format!("the policy cannot be read: {error}")).hint("it must be a readable text in UTF-8");
        }
    }
    other
}

fn group_names(policy: &Policy) -> impl Iterator<Item = &Placed<String>> {
    policy.groups.iter().map(|group| &group.name)
}

fn destination_names(policy: &Policy) -> impl Iterator<Item = &Placed<String>> {
    policy.destinations.iter().map(|destination| &destination.name)
}

fn signature_names(policy: &Policy) -> impl Iterator<Item = &Placed<String>> {
    policy.signatures.iter().map(|signature| &signature.name)
}

fn check_rules(policy: &Policy, problems: &mut Problems) {
    for (index, rule) in policy.rules.iter().enumerate() {
        if let Some(first) = policy.rules[..index].iter().find(|first| first.id.value == rule.id.value) {
            problems
                .error(&rule.id.place, format!("the rule id `{}` stands here twice", rule.id.value))
                .related(&first.id.place, "the first is here")
                .hint("counters and reports go by it: give each rule its own");
        }
        for from in &rule.from {
            check_defined(from, "group", "devices", &["all", "unknown"], group_names(policy), problems);
        }
        for to in &rule.to {
            check_defined(to, "destination", "destinations", &["any"], destination_names(policy), problems);
        }
    }
}

fn check_use(policy: &Policy, problems: &mut Problems) {
    let used = |uses: fn(&Rule) -> &Vec<Placed<String>>| -> BTreeSet<&str> {
        policy.rules.iter().flat_map(uses).map(|name| name.value.as_str()).collect()
    };
    let (groups, destinations) = (used(|rule| &rule.from), used(|rule| &rule.to));
    for Placed { place, value } in group_names(policy).filter(|name| !groups.contains(name.value.as_str())) {
        problems.warning(place, format!("no rule uses the group `{value}`")).hint("name it in a rule's `from`, or remove it");
    }
    for Placed { place, value } in destination_names(policy).filter(|name| !destinations.contains(name.value.as_str())) {
        problems.warning(place, format!("no rule uses the destination `{value}`")).hint("name it in a rule's `to`, or remove it");
    }
    let services = policy.rules.iter().flat_map(|rule| &rule.services);
    let used: BTreeSet<&str> = services
        .filter_map(|service| match &service.value {
            Service::Name { protocol: None, name } => Some(name.as_str()),
            Service::Name { protocol: Some(_), .. } | Service::Match(_) => None,
        })
        .collect();
    for Placed { place, value } in signature_names(policy).filter(|name| !used.contains(name.value.as_str())) {
        problems.warning(place, format!("no rule uses the service `{value}`")).hint("name it in a rule's `services`, or remove it");
    }
}

fn check_dates(policy: &Policy, today: Date, problems: &mut Problems) {
    if let Some(expires) = policy.expires.as_ref().filter(|expires| expires.value < today) {
        problems
            .warning(
                &expires.place,
                format!("the policy `{}` expired on {}: none of its rules holds any more", policy.name.value, expires.value),
            )
            .hint("remove the policy, or extend the date");
    }
    if let Some(review) = policy.review_by.as_ref().filter(|review| review.value <= today) {
        problems
            .warning(&review.place, format!("the policy `{}` is due for review since {}", policy.name.value, review.value))
            .hint("see whether it is still right, then set the date of the next review");
    }
    if let (Some(issued), Some(expires)) = (&policy.issued, &policy.expires)
        && expires.value < issued.value
    {
        problems
            .error(&expires.place, "the policy expires before it is issued")
            .related(&issued.place, "issued here")
            .hint("correct one of the dates");
    }
}

fn check_defined<'a>(
    name: &Placed<String>,
    what: &str,
    section: &str,
    built_in: &[&'a str],
    defined: impl Iterator<Item = &'a Placed<String>>,
    problems: &mut Problems,
) {
    let possible: Vec<&str> = built_in.iter().copied().chain(defined.map(|name| name.value.as_str())).collect();
    if !possible.contains(&name.value.as_str()) {
        let hint = format!("{} (a {what} is defined under `spec.{section}`)", suggest(&name.value, possible));
        problems.error(&name.place, format!("the {what} `{}` is not defined", name.value)).hint(hint);
    }
}

fn check_names(policies: &[Policy], problems: &mut Problems) {
    for (index, policy) in policies.iter().enumerate() {
        let Placed { place, value } = &policy.name;
        if value == ALWAYS_ALLOW {
            problems
                .error(place, format!("the name `{ALWAYS_ALLOW}` is that of the agent's own rules"))
                .hint("choose another; what is always allowed stands in agent.yaml");
        }
        if let Some(first) = policies[..index].iter().find(|first| first.name.value == *value) {
            problems
                .error(place, format!("a second policy named `{value}`"))
                .related(&first.name.place, "the first is here")
                .hint("counters and reports go by it: give each policy its own");
        }
    }
}
