//! Rules that never match, and rules that contradict each other.
//!
//! A rule is a product of three sets: devices, remotes (addresses and names), services (ports and signatures); and it holds at times, for
//! packets that go one way or both. So one rule hides another when each of its sets covers the other's and it always holds when the other
//! does, and two rules meet when they have something in common in all of it.

mod devices;
mod dimension;
mod remotes;
mod services;

use std::borrow::Borrow;

use self::devices::{Device, Devices, Selectors};
use self::dimension::Dimension;
use self::remotes::{Remote, Remotes};
use self::services::Services;
use super::model::{Action, Direction, Number, Ranges, Resolved, Rule};
use super::moments::Moments;
use super::problem::{Place, Problems};

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
        if let Some((why, hint)) = boxes.empty(later, rule.direction) {
            problems.warning(place, format!("the rule `{}` can never match: {why}", rule.id)).hint(hint);
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
    boxes: &mut Boxes<'_>,
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
struct Boxes<'a> {
    devices: Dimension<Devices>,
    remotes: Dimension<Remotes>,
    services: Dimension<Services<'a>>,
    moments: Moments,
}

impl<'a> Boxes<'a> {
    fn new(resolved: &'a Resolved) -> Self {
        let Resolved { destinations, signatures, rules, .. } = resolved;
        let selectors = Selectors::of(resolved);
        Self {
            devices: Dimension::new(rules.iter().map(|rule| &rule.from), |from| selectors.devices(from)),
            remotes: Dimension::new(rules.iter().map(|rule| &rule.to), |to| Remotes::of(to, destinations)),
            services: Dimension::new(rules.iter().map(|rule| &rule.services), |matches| Services::of(matches, signatures)),
            moments: Moments::of(resolved),
        }
    }

    /// Why a rule holds for no packet, and what to do.
    fn empty(&self, rule: usize, direction: Direction) -> Option<(&'static str, &'static str)> {
        let Self { devices, remotes, services, moments: _ } = self;
        let (remotes, services) = (remotes.of(rule), services.of(rule));
        if devices.of(rule).is_empty() {
            Some(("its devices are none", "widen its devices, or remove it"))
        } else if remotes.is_empty() {
            Some(("its destinations are none", "widen its destinations, or remove it"))
        } else if services.is_empty() {
            Some(("its services are none", "widen its services, or remove it"))
        } else if direction.outbound() {
            None
        } else if remotes.is_empty_on_the_way_in() {
            Some((
                "inbound packets carry no names",
                "set `learned: enforce` in its destinations, name addresses, or make it an outbound rule",
            ))
        } else {
            let nothing = services.is_empty_on_the_way_in();
            nothing.then_some(("inbound packets show no signature", "name ports, or make it an outbound rule"))
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
        let Device { mac, by_signals } = devices.compare(a, b).common?;
        let [_, _, mac @ ..] = mac.to_be_bytes();
        let remote = remotes.compare(a, b).common?;
        if !moments.both_outbound(a, b) {
            // Whether learned addresses are enforced for both is not worth telling apart here.
            let told = matches!(remote, Remote::Address(_)) && !service.by_signature;
            return told.then(|| format!("inbound {service} from {remote}"));
        }
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let shows = if by_signals { ", which shows what a group is known by," } else { "" };
        Some(format!("{service} from {mac}{shows} to {remote}"))
    }
}

fn union<T: Number>(sets: impl Iterator<Item = impl Borrow<Ranges<T>>>) -> Ranges<T> {
    Ranges::new(sets.flat_map(|set| set.borrow().iter().copied().collect::<Vec<_>>()).collect())
}
