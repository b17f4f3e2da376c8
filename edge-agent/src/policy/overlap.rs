//! Rules that never match, and rules that contradict each other.
//!
//! A rule is a product of three sets: devices, remotes, services; and it holds at times, for packets that go one way or both. So one
//! rule hides another when each of its sets covers the other's and it always holds when the other does, and two rules meet when they have
//! something in common in all of it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use edge_ebpf::abi::service;

use super::compile::service_slots;
use super::model::{Action, AddressSet, DeviceSelector, Domains, Expr, Number, Ranges, RemoteSelector, Resolved, Rule, Signal};
use super::moments::Moments;
use super::name::NamePattern;
use super::name_set::NameSet;
use super::problem::{Place, Problems};
use super::sets::{LAST_MAC, covers, first_common, intersection, other_macs};

/// Warns of rules that can never match and of pass rules that meet drop or reject rules without a clear order. `places` are those
/// of the rules; the agent's own have none.
///
/// An earlier rule that is wholly inside a later one is an exception from it and no contradiction, as long as the order was chosen:
/// by the place in the policy, or by different priorities. Between policies of one priority only their names order them.
pub fn check(resolved: &Resolved, places: &[Option<Place>], problems: &mut Problems) {
    let mut boxes = Boxes::new(resolved);
    let mut hidden = vec![false; resolved.rules.len()];
    for (later, rule) in resolved.rules.iter().enumerate() {
        let Some(Some(place)) = places.get(later) else { continue };
        if let Some(what) = boxes.empty(later) {
            problems
                .warning(place, format!("the rule `{}` can never match: its {what} are none", rule.id))
                .hint(format!("widen its {what}, or remove it"));
            hidden[later] = true;
            continue;
        }
        let hides = |earlier: &usize| !hidden[*earlier] && !resolved.rules[*earlier].monitored;
        if let Some(earlier) = (0..later).filter(hides).find(|earlier| boxes.covers(*earlier, later)) {
            hidden[later] = true;
            let first = name(resolved, &resolved.rules[earlier]);
            let problem = problems.warning(place, format!("the rule `{}` can never match: `{first}` takes all its packets", rule.id));
            problem.hint(if resolved.policies[resolved.rules[earlier].policy.index()].built_in {
                "remove it: what is always allowed goes before every policy"
            } else if resolved.rules[earlier].policy == rule.policy {
                "put it before that rule, or remove it"
            } else {
                "give its policy a lower priority number than that rule's, or remove it"
            });
            if let Some(other) = &places[earlier] {
                problem.related(other, format!("`{first}` is here, and is asked first"));
            }
        }
    }
    for later in 0..resolved.rules.len() {
        for earlier in 0..later {
            if !hidden[earlier] && !hidden[later] {
                check_contradiction(resolved, &mut boxes, places, (earlier, later), problems);
            }
        }
    }
}

fn check_contradiction(
    resolved: &Resolved,
    boxes: &mut Boxes,
    places: &[Option<Place>],
    (earlier, later): (usize, usize),
    problems: &mut Problems,
) {
    let (first, second) = (&resolved.rules[earlier], &resolved.rules[later]);
    let (first_policy, second_policy) = (&resolved.policies[first.policy.index()], &resolved.policies[second.policy.index()]);
    let opposed = outcome(first.action) != outcome(second.action);
    let ordered = first.policy == second.policy || first_policy.priority != second_policy.priority;
    if !opposed || first.monitored || second.monitored || first_policy.built_in || (ordered && boxes.covers(later, earlier)) {
        return;
    }
    let (Some(packet), Some(Some(place)), Some(Some(other))) = (boxes.common(earlier, later), places.get(later), places.get(earlier))
    else {
        return;
    };
    let message = format!(
        "the rule `{}` would {} what `{}` {}: {packet}",
        second.id,
        match second.action {
            Action::RateLimit(_) => "limit the rate of",
            Action::Pass | Action::Drop | Action::Reject | Action::Monitor => second.action.name(),
        },
        name(resolved, first),
        match first.action {
            Action::Pass => "passes",
            Action::Drop => "drops",
            Action::Reject => "rejects",
            Action::Monitor => "only counts",
            Action::RateLimit(_) => "passes up to a rate",
        }
    );
    let hint = if ordered {
        "the first one decides; narrow one of them so that they do not meet, or so that the first lies inside the second"
    } else {
        "the first one decides only because its policy's name sorts first: give the two policies different priorities"
    };
    problems.warning(place, message).related(other, "which is asked first").hint(hint);
}

/// What a packet's sender notices of an action.
fn outcome(action: Action) -> &'static str {
    match action {
        Action::Pass => "pass",
        Action::RateLimit(_) => "limit",
        Action::Drop | Action::Reject => "block",
        Action::Monitor => "count",
    }
}

/// `policy/rule`, as tests and reports name it.
fn name(resolved: &Resolved, rule: &Rule) -> String {
    format!("{}/{}", resolved.policies[rule.policy.index()].name, rule.id)
}

/// The three sets of each rule. Equal selectors share one set, and each pair of sets is compared once.
struct Boxes {
    devices: Dimension<Ranges<u64>>,
    remotes: Dimension<Remotes>,
    services: Dimension<Ranges<u32>>,
    moments: Moments,
}

impl Boxes {
    fn new(resolved: &Resolved) -> Self {
        let Resolved { policies, signals, groups, destinations, schedules: _, signatures: _, rules } = resolved;
        let groups_macs: Vec<Ranges<u64>> = groups.iter().map(|group| macs(&group.when, signals)).collect();
        let known = groups.iter().zip(&groups_macs).filter(|(group, _)| !policies[group.policy.index()].built_in);
        let unknown = other_macs(&union(known.map(|(_, macs)| macs)));
        let device_set = |from: &Vec<DeviceSelector>| {
            union(from.iter().map(|selector| match selector {
                DeviceSelector::All => Ranges::new(vec![(0, LAST_MAC)]),
                DeviceSelector::Unknown => unknown.clone(),
                DeviceSelector::Group(group) => groups_macs[group.index()].clone(),
            }))
        };
        let remote_set = |to: &Vec<RemoteSelector>| {
            let (mut v4, mut v6) = (Vec::new(), Vec::new());
            let (mut any, mut names) = (false, Vec::new());
            for selector in to {
                match selector {
                    RemoteSelector::Any => {
                        any = true;
                        v4.push((0, u32::MAX));
                        v6.push((0, u128::MAX));
                    }
                    RemoteSelector::Destination(destination) => {
                        let super::model::Destination { policy: _, name: _, sets, domains } = &destinations[destination.index()];
                        for set in sets {
                            v4.extend(set.v4.iter().copied());
                            v6.extend(set.v6.iter().copied());
                        }
                        // What an address that was learned is worth changes nothing of what the names are.
                        let Domains { sets, learned: _ } = domains;
                        names.extend(sets.iter().filter(|set| !set.is_empty()).cloned());
                    }
                }
            }
            Remotes { any, addresses: AddressSet { v4: Ranges::new(v4), v6: Ranges::new(v6) }, names }
        };
        Self {
            devices: Dimension::new(rules.iter().map(|rule| &rule.from), device_set),
            remotes: Dimension::new(rules.iter().map(|rule| &rule.to), remote_set),
            services: Dimension::new(rules.iter().map(|rule| &rule.services), |matches| {
                union(matches.iter().map(|service| service_slots(*service)))
            }),
            moments: Moments::of(resolved),
        }
    }

    /// The dimension in which a rule holds nothing.
    fn empty(&self, rule: usize) -> Option<&'static str> {
        let Self { devices, remotes, services, moments: _ } = self;
        if devices.of(rule).is_empty() {
            Some("devices")
        } else if remotes.of(rule).is_empty() {
            Some("destinations")
        } else {
            services.of(rule).is_empty().then_some("services")
        }
    }

    fn covers(&mut self, outer: usize, inner: usize) -> bool {
        let Self { devices, remotes, services, moments } = self;
        moments.covers(outer, inner)
            && services.compare(outer, inner).covers
            && devices.compare(outer, inner).covers
            && remotes.compare(outer, inner).covers
    }

    /// A packet that both rules match.
    fn common(&mut self, a: usize, b: usize) -> Option<String> {
        let Self { devices, remotes, services, moments } = self;
        if !moments.meet(a, b) {
            return None;
        }
        let service = services.compare(a, b).common?;
        let [_, _, mac @ ..] = devices.compare(a, b).common?.to_be_bytes();
        let remote = remotes.compare(a, b).common?;
        if !moments.both_outbound(a, b) {
            return Some(format!("inbound {} from {remote}", service_name(service as usize)));
        }
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        Some(format!("{} from {mac} to {remote}", service_name(service as usize)))
    }
}

/// One of the three dimensions of all rules.
struct Dimension<S: Set> {
    sets: Vec<S>,
    /// Which of the sets is a rule's.
    set_of_rule: Vec<usize>,
    compared: HashMap<(usize, usize), Comparison<S::Member>>,
}

#[derive(Clone)]
struct Comparison<Member> {
    /// The first set holds all of the second.
    covers: bool,
    /// The first that both hold.
    common: Option<Member>,
}

impl<S: Set> Dimension<S> {
    fn new<'a, Selector: Hash + Eq + 'a>(selectors: impl Iterator<Item = &'a Selector>, set: impl Fn(&Selector) -> S) -> Self {
        let mut places: HashMap<&Selector, usize> = HashMap::new();
        let mut sets = Vec::new();
        let set_of_rule = selectors
            .map(|selector| {
                *places.entry(selector).or_insert_with(|| {
                    sets.push(set(selector));
                    sets.len() - 1
                })
            })
            .collect();
        Self { sets, set_of_rule, compared: HashMap::new() }
    }

    fn of(&self, rule: usize) -> &S {
        &self.sets[self.set_of_rule[rule]]
    }

    fn compare(&mut self, a: usize, b: usize) -> Comparison<S::Member> {
        let (a, b) = (self.set_of_rule[a], self.set_of_rule[b]);
        let Self { sets, set_of_rule: _, compared } = self;
        // Most sets of most rules are far apart, and not worth a place in the table.
        if sets[a].is_apart_from(&sets[b]) {
            return Comparison { covers: false, common: None };
        }
        compared.entry((a, b)).or_insert_with(|| Comparison { covers: sets[a].covers(&sets[b]), common: sets[a].common(&sets[b]) }).clone()
    }
}

trait Set {
    type Member: Clone;
    /// Quick, and true only if the sets have nothing in common.
    fn is_apart_from(&self, other: &Self) -> bool;
    fn covers(&self, inner: &Self) -> bool;
    fn common(&self, other: &Self) -> Option<Self::Member>;
}

impl<T: Number> Set for Ranges<T> {
    type Member = T;
    fn is_apart_from(&self, other: &Self) -> bool {
        let ends = |set: &Self| Some((set.iter().next()?.0, set.iter().last()?.1));
        let (Some((first, last)), Some((other_first, other_last))) = (ends(self), ends(other)) else { return true };
        last < other_first || other_last < first
    }
    fn covers(&self, inner: &Self) -> bool {
        covers(self, inner)
    }
    fn common(&self, other: &Self) -> Option<T> {
        first_common(self, other)
    }
}

impl Set for AddressSet {
    type Member = IpAddr;
    fn is_apart_from(&self, other: &Self) -> bool {
        self.v4.is_apart_from(&other.v4) && self.v6.is_apart_from(&other.v6)
    }
    fn covers(&self, inner: &Self) -> bool {
        covers(&self.v4, &inner.v4) && covers(&self.v6, &inner.v6)
    }
    fn common(&self, other: &Self) -> Option<IpAddr> {
        let v4 = || first_common(&self.v4, &other.v4).map(|address| Ipv4Addr::from_bits(address).into());
        let v6 = || first_common(&self.v6, &other.v6).map(|address| Ipv6Addr::from_bits(address).into());
        v4().or_else(v6)
    }
}

/// Where the packets of a rule go. Which addresses a name has is not known here, so a name and an address have nothing in common.
struct Remotes {
    /// Wherever they go, under whatever name.
    any: bool,
    addresses: AddressSet,
    /// None of them empty.
    names: Vec<Arc<NameSet>>,
}

/// Names that one list is looked up in another by; more would take longer than the warning is worth.
const MANY: usize = 20_000;

impl Remotes {
    fn is_empty(&self) -> bool {
        let Self { any: _, addresses, names } = self;
        *addresses == AddressSet::default() && names.is_empty()
    }
}

impl Set for Remotes {
    type Member = Remote;
    fn is_apart_from(&self, other: &Self) -> bool {
        let names_meet = |one: &Self, another: &Self| !one.names.is_empty() && (another.any || !another.names.is_empty());
        self.addresses.is_apart_from(&other.addresses) && !names_meet(self, other) && !names_meet(other, self)
    }
    fn covers(&self, inner: &Self) -> bool {
        let holds = |set: &Arc<NameSet>| {
            self.names.iter().any(|own| Arc::ptr_eq(own, set)) || (set.len() <= MANY && self.names.iter().any(|own| own.covers(set)))
        };
        self.any || (!inner.any && self.addresses.covers(&inner.addresses) && inner.names.iter().all(holds))
    }
    fn common(&self, other: &Self) -> Option<Remote> {
        if let Some(address) = self.addresses.common(&other.addresses) {
            return Some(Remote::Address(address));
        }
        let first = |names: &[Arc<NameSet>]| names.iter().find_map(|set| set.first());
        let name = if self.any {
            first(&other.names)
        } else if other.any {
            first(&self.names)
        } else {
            let pairs = self.names.iter().flat_map(|own| other.names.iter().map(move |set| (own, set)));
            let mut compared = pairs.filter(|(own, set)| own.len().min(set.len()) <= MANY || Arc::ptr_eq(own, set));
            compared.find_map(|(own, set)| own.common(set))
        };
        name.map(Remote::Name)
    }
}

/// One place that two rules share.
#[derive(Clone)]
enum Remote {
    Address(IpAddr),
    Name(NamePattern),
}

impl fmt::Display for Remote {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(out, "{address}"),
            Self::Name(name) => write!(out, "{name}"),
        }
    }
}

/// A place of the service table as policies write it.
fn service_name(slot: usize) -> String {
    match slot {
        service::TCP..service::UDP => format!("tcp/{}", slot - service::TCP),
        service::UDP..service::ICMP => format!("udp/{}", slot - service::UDP),
        service::ICMP..service::ICMPV6 => format!("icmp/{}", slot - service::ICMP),
        service::ICMPV6..service::PROTOCOL => format!("icmpv6/{}", slot - service::ICMPV6),
        _ => format!("ip/{}", slot - service::PROTOCOL),
    }
}

fn macs(expression: &Expr, signals: &[Signal]) -> Ranges<u64> {
    match expression {
        Expr::Signal(signal) => match &signals[signal.index()] {
            Signal::Mac(ranges) => (**ranges).clone(),
        },
        Expr::Any(parts) => union(parts.iter().map(|part| macs(part, signals))),
        Expr::All(parts) => parts.iter().fold(Ranges::new(vec![(0, LAST_MAC)]), |common, part| intersection(&common, &macs(part, signals))),
        Expr::Not(part) => other_macs(&macs(part, signals)),
    }
}

fn union<T: Number>(sets: impl Iterator<Item = impl Borrow<Ranges<T>>>) -> Ranges<T> {
    Ranges::new(sets.flat_map(|set| set.borrow().iter().copied().collect::<Vec<_>>()).collect())
}
