//! One policy as its file says it, with the places of what later steps may have to complain about.
//!
//! [`Shape::check`](super::shape::Shape::check) has reported whatever has the wrong shape before a value is taken here, so that the
//! decoder leaves such values out silently and reports only what its own parsers refuse.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::civil::Date;

use super::address::AddressRange;
pub use super::device::Expression;
use super::device::decode_expression;
use super::expectation::{PolicyTest, decode_test};
use super::keys::POLICY;
use super::model::{Action, Direction, Learned, Mode, Schedule};
use super::name::NamePattern;
use super::problem::{Fault, Place, Problems};
use super::rate::decode_rate;
use super::service::Service;
use super::shape::Shape;
use super::signature::{Signature, decode_signature};
use super::when::decode_when;
use super::yaml::{Entry, Node};
use crate::sources::domain_list::Format;

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed<T> {
    pub place: Place,
    pub value: T,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// At its place in the metadata.
    pub name: Placed<String>,
    pub title: String,
    pub severity: String,
    pub issued: Option<Placed<Date>>,
    /// The last day on which it holds.
    pub expires: Option<Placed<Date>>,
    /// The day from which on it is due for review.
    pub review_by: Option<Placed<Date>>,
    /// The day from which on devices should have stopped what the policy is about.
    pub stop_by: Option<Placed<Date>>,
    pub references: Vec<Reference>,
    pub mode: Mode,
    pub priority: u32,
    pub groups: Vec<Group>,
    pub destinations: Vec<Destination>,
    pub signatures: Vec<Signature>,
    pub rules: Vec<Rule>,
    pub tests: Vec<PolicyTest>,
}

/// A source of what the policy says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    pub title: String,
    pub date: Option<Date>,
    pub url: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: Placed<String>,
    pub when: Expression,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    pub name: Placed<String>,
    pub prefixes: Vec<AddressRange>,
    /// Relative to the policy's folder, unless absolute.
    pub prefix_lists: Vec<Placed<PathBuf>>,
    pub countries: Vec<Placed<String>>,
    /// Numbers of autonomous systems.
    pub asns: Vec<Placed<u32>>,
    pub domains: Vec<Placed<NamePattern>>,
    pub domain_lists: Vec<Placed<DomainListFile>>,
    pub learned: Learned,
}

/// A file of names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DomainListFile {
    /// Relative to the policy's folder, unless absolute.
    pub path: PathBuf,
    /// `None`: told by the file.
    pub format: Option<Format>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub id: Placed<String>,
    pub from: Vec<Placed<String>>,
    /// Empty: any.
    pub to: Vec<Placed<String>>,
    /// Empty: any.
    pub services: Vec<Placed<Service>>,
    /// `None`: outbound.
    pub direction: Option<Placed<Direction>>,
    /// `None`: always.
    pub when: Option<Schedule>,
    pub action: Action,
}

impl Policy {
    /// Decodes a document and reports everything that is wrong in it. `None` if it has no name to go by.
    pub fn decode(document: &Node, problems: &mut Problems) -> Option<Self> {
        for (key, only) in [("kind", "Policy"), ("apiVersion", "edge/v1")] {
            if let Some(node) = document.get(key).filter(|node| node.text() != Some(only)) {
                let text = node.text().unwrap_or(node.kind());
                problems
                    .error(&node.place, format!("`{text}` is not possible for `{key}`"))
                    .hint(format!("a policy has `{key}: {only}`; files of other kinds do not belong into the policy folder"));
                return None;
            }
        }
        Shape::Object(&POLICY).check(document, problems);
        let (metadata, spec) = (document.get("metadata")?, document.get("spec")?);
        let name = name(metadata.get("name")?, problems)?;
        let text = |key| metadata.get(key).and_then(Node::text);
        Some(Self {
            title: text("title").unwrap_or(&name.value).to_owned(),
            severity: text("severity").unwrap_or("medium").to_owned(),
            name,
            issued: date(metadata.get("issued"), problems),
            expires: date(metadata.get("expires"), problems),
            review_by: date(metadata.get("reviewBy"), problems),
            stop_by: date(metadata.get("stopBy"), problems),
            references: list(metadata.get("references")).filter_map(|node| reference(node, problems)).collect(),
            mode: if spec.get("mode").and_then(Node::text) == Some("monitor") { Mode::Monitor } else { Mode::Enforce },
            priority: spec.get("priority").and_then(Node::integer).unwrap_or(100),
            groups: entries(spec.get("devices")).map(|entry| group(entry, problems)).collect(),
            destinations: entries(spec.get("destinations")).map(|entry| destination(entry, problems)).collect(),
            signatures: entries(spec.get("services")).map(|entry| decode_signature(entry, problems)).collect(),
            rules: list(spec.get("rules")).filter_map(|node| rule(node, problems)).collect(),
            tests: list(spec.get("tests")).filter_map(|node| decode_test(node, problems)).collect(),
        })
    }
}

pub(super) fn list(node: Option<&Node>) -> std::slice::Iter<'_, Node> {
    node.map(Node::items).unwrap_or_default().iter()
}

pub(super) fn one_or_many(node: Option<&Node>) -> std::slice::Iter<'_, Node> {
    node.map(Node::items_or_self).unwrap_or_default().iter()
}

fn entries(node: Option<&Node>) -> std::slice::Iter<'_, Entry> {
    node.map(Node::entries).unwrap_or_default().iter()
}

pub(super) fn texts(nodes: std::slice::Iter<'_, Node>) -> Vec<Placed<String>> {
    nodes.filter_map(|node| Some(Placed { place: node.place.clone(), value: node.text()?.to_owned() })).collect()
}

/// What a parser makes of a text; its fault becomes a problem at the text's place.
pub(crate) fn parsed<T: FromStr<Err = Fault>>(node: &Node, problems: &mut Problems) -> Option<Placed<T>> {
    let value = problems.take(&node.place, node.text()?.parse())?;
    Some(Placed { place: node.place.clone(), value })
}

fn date(node: Option<&Node>, problems: &mut Problems) -> Option<Placed<Date>> {
    let node = node?;
    let text = node.text()?;
    let date = text.parse().map_err(|_| Fault::new(format!("`{text}` is not a date"), "year, month and day: `2014-10-24`"));
    Some(Placed { place: node.place.clone(), value: problems.take(&node.place, date)? })
}

/// Names stand in metric labels and, together, in a 256-byte key of the kernel's counters.
fn name(node: &Node, problems: &mut Problems) -> Option<Placed<String>> {
    let text = node.text()?;
    let starts = text.starts_with(|first: char| first.is_ascii_alphanumeric());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !starts || !plain || text.len() > 63 {
        problems
            .error(&node.place, format!("`{text}` cannot be a name"))
            .hint("up to 63 letters, digits, `-`, `_` and `.`, the first a letter or digit");
        return None;
    }
    Some(Placed { place: node.place.clone(), value: text.to_owned() })
}

/// A name that is a key, and none of the built-in ones.
fn own_name(entry: &Entry, built_in: &[&str], problems: &mut Problems) -> Placed<String> {
    if built_in.contains(&entry.key.as_str()) {
        problems.error(&entry.place, format!("`{}` is built in and cannot be defined", entry.key)).hint("choose another name");
    }
    Placed { place: entry.place.clone(), value: entry.key.clone() }
}

fn reference(node: &Node, problems: &mut Problems) -> Option<Reference> {
    Some(Reference {
        title: node.get("title")?.text()?.to_owned(),
        date: date(node.get("date"), problems).map(|date| date.value),
        url: node.get("url").and_then(Node::text).map(str::to_owned),
    })
}

fn group(entry: &Entry, problems: &mut Problems) -> Group {
    let name = own_name(entry, &["all", "unknown"], problems);
    // A group that is wrong is still defined, so that the rules that name it are not wrong too.
    Group { name, when: decode_expression(&entry.key, &entry.value, problems).unwrap_or(Expression::Any(Vec::new())) }
}

fn destination(entry: &Entry, problems: &mut Problems) -> Destination {
    let node = &entry.value;
    let name = own_name(entry, &["any"], problems);
    if node.entries().iter().all(|entry| entry.value.items().is_empty()) {
        problems
            .error(&name.place, format!("the destination `{}` is empty", name.value))
            .hint("name at least one of prefixes, prefix lists, countries, ASNs, domains or domain lists, or remove it");
    }
    let folder = entry.place.path().parent().map(PathBuf::from).unwrap_or_default();
    Destination {
        name,
        prefixes: list(node.get("prefixes")).filter_map(|node| parsed(node, problems)).map(|range| range.value).collect(),
        prefix_lists: texts(list(node.get("prefix_lists")))
            .into_iter()
            .map(|Placed { place, value }| Placed { place, value: folder.join(value) })
            .collect(),
        countries: texts(list(node.get("countries"))),
        asns: list(node.get("asns")).filter_map(|node| asn(node, problems)).collect(),
        domains: list(node.get("domains")).filter_map(|node| parsed(node, problems)).collect(),
        domain_lists: texts(list(node.get("domain_lists")))
            .into_iter()
            .map(|Placed { place, value }| Placed { place, value: domain_list(&folder, &value) })
            .collect(),
        learned: learned(entry, problems),
    }
}

/// `hosts:lists/x.txt`, or the path alone.
fn domain_list(folder: &Path, text: &str) -> DomainListFile {
    let given = text.split_once(':').and_then(|(format, path)| Some((format.parse().ok()?, path)));
    match given {
        Some((format, path)) => DomainListFile { path: folder.join(path.trim_start()), format: Some(format) },
        None => DomainListFile { path: folder.join(text), format: None },
    }
}

fn learned(entry: &Entry, problems: &mut Problems) -> Learned {
    let Some(node) = entry.value.get("learned") else { return Learned::default() };
    if ["domains", "domain_lists"].iter().all(|key| entry.value.get(key).is_none()) {
        problems
            .error(&node.place, format!("the destination `{}` has no names, so nothing is learned for it", entry.key))
            .hint("remove the key, or name some in `domains` or `domain_lists`");
    }
    match node.text() {
        Some("off") => Learned::Off,
        Some("monitor") => Learned::Monitor,
        _ => Learned::Enforce,
    }
}

/// `4134` or `AS4134` (RFC 5396: as one decimal number).
fn asn(node: &Node, problems: &mut Problems) -> Option<Placed<u32>> {
    let number = match node.text() {
        None => node.integer::<u32>(),
        Some(text) => {
            let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
            let number =
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten().filter(|number| *number > 0);
            let fault = || Fault::new(format!("`{text}` is not the number of an autonomous system"), "such as `4134` or `AS4134`");
            problems.take(&node.place, number.ok_or_else(fault))
        }
    };
    Some(Placed { place: node.place.clone(), value: number? })
}

fn rule(node: &Node, problems: &mut Problems) -> Option<Rule> {
    let id = name(node.get("id")?, problems)?;
    let from = texts(one_or_many(node.get("from")));
    let direction = direction(node.get("direction"), &from, problems);
    let services = one_or_many(node.get("services")).filter_map(|service| parsed(service, problems)).collect();
    let when = node.get("when").and_then(|node| decode_when(node, problems));
    let action = action(node.get("action")?, node.get("rate"), problems)?;
    Some(Rule { id, from, to: texts(one_or_many(node.get("to"))), services, direction, when, action })
}

fn direction(node: Option<&Node>, from: &[Placed<String>], problems: &mut Problems) -> Option<Placed<Direction>> {
    let node = node?;
    let value = match node.text()? {
        "outbound" => Direction::Outbound,
        "inbound" => Direction::Inbound,
        "both" => Direction::Both,
        _ => return None,
    };
    if value.inbound() {
        for Placed { place, value: group } in from.iter().filter(|group| group.value != "all") {
            problems
                .error(place, format!("`{group}` cannot be told on outside interfaces: an inbound packet bears the upstream's MAC"))
                .related(&node.place, "the rule is about inbound packets")
                .hint("write `from: all`, or make it an outbound rule");
        }
    }
    Some(Placed { place: node.place.clone(), value })
}

fn action(node: &Node, rate: Option<&Node>, problems: &mut Problems) -> Option<Action> {
    let action = match node.text()? {
        "pass" => Action::Pass,
        "drop" => Action::Drop,
        "reject" => Action::Reject,
        "monitor" => Action::Monitor,
        "rate_limit" => {
            let Some(rate) = rate else {
                let problem = problems.error(&node.place, "a rule with the action `rate_limit` needs a rate");
                problem.hint("such as `rate: {packets_per_second: 100}`");
                return None;
            };
            return Some(Action::RateLimit(decode_rate(rate, problems)?));
        }
        _ => return None,
    };
    if let Some(rate) = rate {
        let problem = problems.error(&rate.place, format!("a rule with the action `{}` has no rate", action.name()));
        problem.hint("remove it, or write `action: rate_limit`");
    }
    Some(action)
}
