//! Names become facts: vendors ranges of MACs, countries and lists sets of addresses or names, service names ports.

mod groups;
mod names;
mod services;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use edge_ebpf::abi::MAX_RULES;
use jiff::{civil::Date, tz::TimeZone};

use super::expectation::{Expectation, PolicyTest, RuleName};
use super::load::Loaded;
use super::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Group, GroupId, Mode, PolicyId, PolicyInfo, RemoteSelector,
    Resolved, Rule, Schedule, ScheduleId, ServiceMatch, Signal, SignalId, SignatureId,
};
use super::name_set::NameSet;
use super::overlap;
use super::problem::{Place, Problems, suggest};
use super::schema::{self, DomainListFile, Placed, Policy};
use super::signature;
use super::summary::Summary;
use crate::config::AlwaysAllow;
use crate::identity::inventory::Inventory;
use crate::sources::Sources;
use crate::sources::file::{Provenance, SourceError};

pub(super) use self::services::Own;

/// A policy set that holds, and what is worth knowing about it.
#[derive(Debug)]
pub struct Resolution {
    pub resolved: Resolved,
    pub tests: Vec<ResolvedTest>,
    /// By policy, the second of the Unix epoch from which on it is due for review.
    pub reviews: HashMap<String, i64>,
    /// By policy, the second from which on devices should have stopped what it is about.
    pub deadlines: HashMap<String, i64>,
    /// None of them an error.
    pub warnings: Problems,
    /// The data files that it was made of.
    pub sources: Vec<Provenance>,
}

impl Resolution {
    pub fn summary(&self) -> Summary {
        Summary::of(&self.resolved)
    }
}

/// A test of the policy with this name.
#[derive(Clone, Debug)]
pub struct ResolvedTest {
    pub policy: String,
    pub test: PolicyTest,
}

impl ResolvedTest {
    /// (policy, rule) that a name in this test means.
    pub fn rule<'a>(&'a self, name: &'a RuleName) -> (&'a str, &'a str) {
        (name.policy.as_deref().unwrap_or(&self.policy), &name.rule)
    }
}

/// Resolves loaded policies.
///
/// # Errors
/// All problems of the policies, those of loading included, if one of them is an error.
pub fn resolve(
    loaded: Loaded,
    always_allow: &AlwaysAllow,
    own_addresses: &[IpAddr],
    sources: &mut Sources,
) -> Result<Resolution, Problems> {
    resolve_with(loaded, always_allow, own_addresses, &Inventory::default(), sources)
}

/// The same, with devices that are in groups whatever they show, or not.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    loaded: Loaded,
    always_allow: &AlwaysAllow,
    own_addresses: &[IpAddr],
    inventory: &Inventory,
    sources: &mut Sources,
) -> Result<Resolution, Problems> {
    let Loaded { policies, problems } = loaded;
    sources.refresh();
    let mut resolver = Resolver {
        sources,
        inventory,
        problems,
        resolved: Resolved::default(),
        places: Vec::new(),
        signals: HashMap::new(),
        vendors: HashMap::new(),
        lists: HashMap::new(),
        domain_lists: HashMap::new(),
        signal_signatures: Vec::new(),
        signature_entries: 0,
        unusable: BTreeSet::new(),
    };
    resolver.always_allow(always_allow, own_addresses);
    for policy in &policies {
        resolver.policy(policy);
    }
    resolver.check_number_of_rules();
    let groups =
        |policy: &Policy| policy.groups.iter().map(|group| (policy.name.value.clone(), group.name.value.clone())).collect::<Vec<_>>();
    inventory.check(&policies.iter().flat_map(groups).collect::<Vec<_>>(), &mut resolver.problems);
    let days = |day: fn(&Policy) -> Option<&Placed<Date>>| {
        policies.iter().filter_map(|policy| Some((policy.name.value.clone(), start_of(day(policy)?.value)?))).collect()
    };
    let reviews = days(|policy| policy.review_by.as_ref());
    let deadlines = days(|policy| policy.stop_by.as_ref());
    let tests: Vec<ResolvedTest> = policies
        .into_iter()
        .flat_map(|policy| policy.tests.into_iter().map(move |test| ResolvedTest { policy: policy.name.value.clone(), test }))
        .collect();
    resolver.check_tests(&tests);
    let Resolver { sources, mut problems, resolved, places, .. } = resolver;
    // A set with errors is not whole: what would never match in it may well match in the corrected one.
    if problems.errors() == 0 {
        overlap::check(&resolved, &places, &mut problems);
    }
    problems.sort();
    if problems.errors() > 0 {
        return Err(problems);
    }
    Ok(Resolution { resolved, tests, reviews, deadlines, warnings: problems, sources: sources.provenance() })
}

/// The first second of a day, in UTC.
fn start_of(day: Date) -> Option<i64> {
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

/// The first second after a day; `None` for the last day there is.
fn end_of(day: Date) -> Option<i64> {
    start_of(day.tomorrow().ok()?)
}

pub(super) struct Resolver<'a> {
    sources: &'a mut Sources,
    inventory: &'a Inventory,
    problems: Problems,
    pub(super) resolved: Resolved,
    /// Of each rule; `None` for the agent's own.
    places: Vec<Option<Place>>,
    signals: HashMap<Signal, SignalId>,
    vendors: HashMap<String, SignalId>,
    lists: HashMap<PathBuf, Arc<AddressSet>>,
    domain_lists: HashMap<DomainListFile, Arc<NameSet>>,
    /// Those by which devices are known, without their names.
    signal_signatures: Vec<(signature::Signature, SignatureId)>,
    /// Signatures of all policies so far, one for each range of ports.
    signature_entries: usize,
    /// Sources that could not be read, and have been reported.
    unusable: BTreeSet<String>,
}

impl Resolver<'_> {
    fn policy(&mut self, policy: &Policy) {
        let id = PolicyId(self.resolved.policies.len() as u32);
        let Policy { name, title, severity, mode, priority, expires, groups, destinations, rules, .. } = policy;
        self.resolved.policies.push(PolicyInfo {
            name: name.value.clone(),
            title: title.clone(),
            severity: severity.clone(),
            mode: *mode,
            priority: *priority,
            expires: expires.as_ref().and_then(|last| end_of(last.value)),
            built_in: false,
        });
        let mut group_ids: HashMap<&str, GroupId> = HashMap::new();
        for schema::Group { name, when } in groups {
            group_ids.insert(&name.value, GroupId(self.resolved.groups.len() as u32));
            let when = self.expression(id, when);
            let when = self.with_inventory(when, &policy.name.value, &name.value);
            self.resolved.groups.push(Group { policy: id, name: name.value.clone(), when });
        }
        let mut destination_ids: HashMap<&str, DestinationId> = HashMap::new();
        for destination in destinations {
            destination_ids.insert(&destination.name.value, DestinationId(self.resolved.destinations.len() as u32));
            let (sets, domains) = (self.destination(destination), self.domains(destination));
            self.resolved.destinations.push(Destination { policy: id, name: destination.name.value.clone(), sets, domains });
        }
        let own_services = self.signatures(id, policy);
        for rule in rules {
            let schema::Rule { id: rule_id, from, to, services, direction, when, action } = rule;
            // Names that are not defined were reported when the policy was loaded.
            let from = from.iter().filter_map(|name| match name.value.as_str() {
                "all" => Some(DeviceSelector::All),
                "unknown" => Some(DeviceSelector::Unknown),
                name => group_ids.get(name).copied().map(DeviceSelector::Group),
            });
            let any = to.is_empty() || to.iter().any(|name| name.value == "any");
            let to: Vec<RemoteSelector> = if any {
                vec![RemoteSelector::Any]
            } else {
                to.iter().filter_map(|name| destination_ids.get(name.value.as_str()).copied().map(RemoteSelector::Destination)).collect()
            };
            self.check_signatures_on_the_way(services, direction.as_ref(), &own_services);
            let rule = Rule {
                policy: id,
                id: rule_id.value.clone(),
                from: from.collect(),
                to,
                services: if services.is_empty() { vec![ServiceMatch::Any] } else { self.services(services, &own_services) },
                direction: direction.as_ref().map_or(Direction::Outbound, |direction| direction.value),
                when: when.as_ref().map(|when| self.schedule(when)),
                action: *action,
                monitored: *mode == Mode::Monitor || *action == Action::Monitor,
                report: *action != Action::Pass,
            };
            self.rule(rule, Some(rule_id.place.clone()));
        }
    }

    /// The id of a schedule, the same for equal ones.
    fn schedule(&mut self, schedule: &Schedule) -> ScheduleId {
        let schedules = &mut self.resolved.schedules;
        let place = schedules.iter().position(|known| known == schedule).unwrap_or_else(|| {
            schedules.push(schedule.clone());
            schedules.len() - 1
        });
        ScheduleId(place as u32)
    }

    pub(super) fn rule(&mut self, rule: Rule, place: Option<Place>) {
        self.resolved.rules.push(rule);
        self.places.push(place);
    }

    /// The id of a fact, the same for equal ones.
    pub(super) fn signal(&mut self, signal: Signal) -> SignalId {
        *self.signals.entry(signal).or_insert_with_key(|signal| {
            self.resolved.signals.push(signal.clone());
            SignalId(self.resolved.signals.len() as u32 - 1)
        })
    }

    fn destination(&mut self, destination: &schema::Destination) -> Vec<Arc<AddressSet>> {
        let schema::Destination { name: _, prefixes, prefix_lists, countries, asns, domains: _, domain_lists: _, learned: _ } = destination;
        let mut sets = Vec::new();
        if !prefixes.is_empty() {
            sets.push(Arc::new(prefixes.iter().copied().collect()));
        }
        for list in prefix_lists {
            sets.extend(self.prefix_list(list));
        }
        for country in countries {
            sets.extend(self.country(country));
        }
        for asn in asns {
            sets.extend(self.asn(asn));
        }
        sets
    }

    fn prefix_list(&mut self, list: &Placed<PathBuf>) -> Option<Arc<AddressSet>> {
        let Placed { place, value: path } = list;
        if let Some(set) = self.lists.get(path) {
            return Some(set.clone());
        }
        match self.sources.prefix_list(path, &mut self.problems) {
            Ok(set) => {
                self.lists.insert(path.clone(), set.clone());
                if *set == AddressSet::default() {
                    self.problems.warning(place, "this prefix list names no address").hint("fill it, or remove it from here");
                }
                Some(set)
            }
            Err(error) => {
                self.unusable(place, &error);
                None
            }
        }
    }

    fn country(&mut self, country: &Placed<String>) -> Option<Arc<AddressSet>> {
        let Placed { place, value: code } = country;
        let countries = match self.sources.countries() {
            Ok(countries) => countries,
            Err(error) => {
                self.unusable(place, &error);
                return None;
            }
        };
        let set = countries.addresses(code);
        if set.is_none() {
            let upper = code.to_uppercase();
            let hint = match countries.addresses(&upper) {
                Some(_) => format!("did you mean `{upper}`?"),
                None => "countries are ISO 3166 codes of two capital letters, such as `CN`".to_owned(),
            };
            self.problems.error(place, format!("the country data does not know `{code}`")).hint(hint);
        }
        set
    }

    fn asn(&mut self, asn: &Placed<u32>) -> Option<Arc<AddressSet>> {
        let Placed { place, value: number } = asn;
        let asns = match self.sources.asns() {
            Ok(asns) => asns,
            Err(error) => {
                self.unusable(place, &error);
                return None;
            }
        };
        let set = asns.addresses(*number);
        if set.is_none() {
            self.problems
                .error(place, format!("the ASN data has no address of AS{number}"))
                .hint("look the number up again: it is mistyped, or the network announces nothing");
        }
        set
    }

    /// A source that cannot be read is one problem, at the first place that needs it.
    fn unusable(&mut self, place: &Place, error: &SourceError) {
        if self.unusable.insert(error.to_string()) {
            self.problems.error(place, error.to_string()).hint(error.way_out());
        }
    }

    fn check_number_of_rules(&mut self) {
        let rules = self.resolved.rules.len();
        if rules <= MAX_RULES {
            return;
        }
        if let Some(place) = self.places[MAX_RULES].clone() {
            self.problems
                .error(&place, format!("this is the first of {} rules too many: one set has up to {MAX_RULES}", rules - MAX_RULES))
                .hint("put groups, destinations and services that share an action into one rule");
        }
    }

    fn check_tests(&mut self, tests: &[ResolvedTest]) {
        let Resolved { policies, rules, .. } = &self.resolved;
        for test in tests {
            let Expectation { verdict: _, rule, monitored, matches } = &test.test.expect;
            for name in rule.iter().chain(monitored.iter().chain(matches).flatten()) {
                let (policy, wanted) = test.rule(&name.value);
                let mut ids = rules.iter().filter(|rule| policies[rule.policy.index()].name == policy).map(|rule| rule.id.as_str());
                if !ids.clone().any(|id| id == wanted) {
                    let hint = match ids.next() {
                        None => suggest(policy, policies.iter().map(|policy| policy.name.as_str())),
                        Some(first) => suggest(wanted, std::iter::once(first).chain(ids)),
                    };
                    self.problems.error(&name.place, format!("the policy `{policy}` has no rule `{wanted}`")).hint(hint);
                }
            }
        }
    }
}
