//! Who sends the packets of a rule: MACs, and devices that show what their groups are known by.
//!
//! What a device shows is not known here, so a group is told by two sets of MACs: those that are in it whatever they show, and those that may
//! be. Nothing is said of a rule that is not so for every device.

use std::collections::HashMap;

use super::dimension::Set;
use super::union;
use crate::policy::model::{DeviceSelector, Expr, Ranges, Resolved, Signal, SignalId};
use crate::policy::sets::{LAST_MAC, covers, first_common, intersection, other_macs};

/// The devices of one selector.
#[derive(Clone)]
struct Members {
    /// MACs that are in it whatever they show.
    always: Ranges<u64>,
    /// MACs that are in it, or would be if they showed the right things.
    possibly: Ranges<u64>,
    /// Of those, the ones of which it is sure that something makes them members.
    attainable: Ranges<u64>,
}

impl Members {
    fn all() -> Self {
        Self::of_macs(Ranges::new(vec![(0, LAST_MAC)]))
    }

    fn of_macs(macs: Ranges<u64>) -> Self {
        Self { always: macs.clone(), possibly: macs.clone(), attainable: macs }
    }

    fn of(expression: &Expr, signals: &[Signal]) -> Self {
        let (always, possibly) = bounds(expression, signals);
        let mut uses = HashMap::new();
        collect(expression, true, signals, &mut uses);
        // Where no signal is both asked for and excluded, each can be what is best.
        let attainable = if uses.values().any(|uses| *uses == [true, true]) { always.clone() } else { possibly.clone() };
        Self { always, possibly, attainable }
    }
}

/// MACs that are in it whatever they show, and those that may be.
fn bounds(expression: &Expr, signals: &[Signal]) -> (Ranges<u64>, Ranges<u64>) {
    let all = || Ranges::new(vec![(0, LAST_MAC)]);
    let parts = |parts: &[Expr]| -> (Vec<_>, Vec<_>) { parts.iter().map(|part| bounds(part, signals)).unzip() };
    match expression {
        Expr::Signal(signal) => match signals[signal.index()].macs() {
            Some(macs) => (macs.clone(), macs.clone()),
            None => (Ranges::default(), all()),
        },
        Expr::Any(any) => {
            let (always, possibly) = parts(any);
            (union(always.iter()), union(possibly.iter()))
        }
        Expr::All(every) => {
            let (always, possibly) = parts(every);
            let common = |sets: Vec<Ranges<u64>>| sets.iter().fold(all(), |common, set| intersection(&common, set));
            (common(always), common(possibly))
        }
        Expr::Not(part) => {
            let (always, possibly) = bounds(part, signals);
            (other_macs(&possibly), other_macs(&always))
        }
    }
}

/// Whether each signal that devices show is excluded, and whether it is asked for.
fn collect(expression: &Expr, wanted: bool, signals: &[Signal], uses: &mut HashMap<SignalId, [bool; 2]>) {
    match expression {
        Expr::Signal(signal) if signals[signal.index()].macs().is_some() => {}
        Expr::Signal(signal) => uses.entry(*signal).or_default()[usize::from(wanted)] = true,
        Expr::Any(parts) | Expr::All(parts) => parts.iter().for_each(|part| collect(part, wanted, signals, uses)),
        Expr::Not(part) => collect(part, !wanted, signals, uses),
    }
}

/// The devices of a rule.
pub struct Devices {
    selectors: Vec<(DeviceSelector, Members)>,
    /// Of all of them together.
    union: Members,
}

/// Makes the devices of rules.
pub struct Selectors {
    groups: Vec<Members>,
    unknown: Members,
}

impl Selectors {
    pub fn of(resolved: &Resolved) -> Self {
        let Resolved { policies, signals, groups, .. } = resolved;
        let members: Vec<Members> = groups.iter().map(|group| Members::of(&group.when, signals)).collect();
        let known = groups.iter().zip(&members).filter(|(group, _)| !policies[group.policy.index()].built_in);
        let known: Vec<_> = known.collect();
        // A device that has shown nothing is in some groups and not in others.
        let silent = known.iter().map(|(group, _)| macs_of_silent(&group.when, signals));
        let unknown = Members {
            always: other_macs(&union(known.iter().map(|(_, members)| &members.possibly))),
            possibly: other_macs(&union(known.iter().map(|(_, members)| &members.always))),
            attainable: other_macs(&union(silent)),
        };
        Self { groups: members, unknown }
    }

    pub fn devices(&self, from: &[DeviceSelector]) -> Devices {
        let members = |selector: &DeviceSelector| match selector {
            DeviceSelector::All => Members::all(),
            DeviceSelector::Unknown => self.unknown.clone(),
            DeviceSelector::Group(group) => self.groups[group.index()].clone(),
        };
        let selectors: Vec<_> = from.iter().map(|selector| (*selector, members(selector))).collect();
        let of_all = |set: fn(&Members) -> &Ranges<u64>| union(selectors.iter().map(|(_, members)| set(members)));
        let union = Members {
            always: of_all(|members| &members.always),
            possibly: of_all(|members| &members.possibly),
            attainable: of_all(|members| &members.attainable),
        };
        Devices { selectors, union }
    }
}

fn macs_of_silent(expression: &Expr, signals: &[Signal]) -> Ranges<u64> {
    match expression {
        Expr::Signal(signal) => signals[signal.index()].macs().cloned().unwrap_or_default(),
        Expr::Any(parts) => union(parts.iter().map(|part| macs_of_silent(part, signals))),
        Expr::All(parts) => {
            let all = Ranges::new(vec![(0, LAST_MAC)]);
            parts.iter().fold(all, |common, part| intersection(&common, &macs_of_silent(part, signals)))
        }
        Expr::Not(part) => other_macs(&macs_of_silent(part, signals)),
    }
}

impl Devices {
    pub fn is_empty(&self) -> bool {
        self.union.possibly.is_empty()
    }

    fn has(&self, selector: DeviceSelector) -> bool {
        self.selectors.iter().any(|(own, _)| *own == selector)
    }
}

/// A device of two rules.
#[derive(Clone)]
pub struct Device {
    pub mac: u64,
    /// It has to show something for it.
    pub by_signals: bool,
}

impl Set for Devices {
    type Member = Device;

    fn is_apart_from(&self, other: &Self) -> bool {
        self.union.possibly.is_apart_from(&other.union.possibly)
    }

    fn covers(&self, inner: &Self) -> bool {
        inner.selectors.iter().all(|(selector, members)| self.has(*selector) || covers(&self.union.always, &members.possibly))
    }

    fn common(&self, other: &Self) -> Option<Device> {
        let (own, others) = (&self.union, &other.union);
        if let Some(mac) = first_common(&own.always, &others.always) {
            return Some(Device { mac, by_signals: false });
        }
        let shared = || {
            let shared = self.selectors.iter().find(|(selector, members)| other.has(*selector) && !members.attainable.is_empty());
            shared.and_then(|(_, members)| members.attainable.iter().next()).map(|(first, _)| *first)
        };
        let either = first_common(&own.always, &others.attainable).or_else(|| first_common(&own.attainable, &others.always));
        let by_signals = either.or_else(shared);
        by_signals.map(|mac| Device { mac, by_signals: true })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::model::{Glob, Group, GroupId, Mode, PolicyId, PolicyInfo, TextKind};

    fn signal(number: u32) -> Expr {
        Expr::Signal(SignalId(number))
    }

    fn not(expression: Expr) -> Expr {
        Expr::Not(Box::new(expression))
    }

    /// Signal 0 is of the MACs 10 to 19, the others are of User-Agents.
    fn selectors(groups: Vec<Expr>) -> Selectors {
        let text = |text: &str| Signal::Text(TextKind::UserAgent, vec![Glob(text.to_owned())]);
        let policy = PolicyInfo {
            name: "p".to_owned(),
            title: "p".to_owned(),
            severity: "low".to_owned(),
            mode: Mode::Enforce,
            priority: 1,
            expires: None,
            built_in: false,
        };
        Selectors::of(&Resolved {
            policies: vec![policy],
            signals: vec![Signal::Mac(Arc::new(Ranges::new(vec![(10, 19)]))), text("a"), text("b")],
            groups: groups.into_iter().map(|when| Group { policy: PolicyId(0), name: "g".to_owned(), when }).collect(),
            ..Resolved::default()
        })
    }

    #[test]
    fn nothing_is_said_that_signals_could_change() {
        let both = Expr::All(vec![signal(0), signal(1)]);
        let either = Expr::Any(vec![signal(0), signal(1)]);
        let selectors = selectors(vec![signal(0), both, either, signal(2), Expr::All(vec![signal(1), not(signal(1))])]);
        let group = |number| selectors.devices(&[DeviceSelector::Group(GroupId(number))]);
        let [macs, both, either, other, none] = [0, 1, 2, 3, 4].map(group);
        let (all, unknown) = (selectors.devices(&[DeviceSelector::All]), selectors.devices(&[DeviceSelector::Unknown]));
        assert!([&macs, &both, &either, &other, &unknown].iter().all(|devices| !devices.is_empty()));
        for (outer, inner, covers) in [
            (&all, &other, true),
            (&macs, &both, true),
            (&both, &macs, false),
            (&either, &macs, true),
            (&macs, &either, false),
            (&either, &other, false),
            (&other, &other, true),
            (&unknown, &unknown, true),
            (&all, &unknown, true),
        ] {
            assert_eq!(outer.covers(inner), covers);
        }
        let common = |a: &Devices, b: &Devices| a.common(b).map(|device| (device.mac, device.by_signals));
        assert_eq!(common(&macs, &all), Some((10, false)));
        assert_eq!(common(&macs, &both), Some((10, true)));
        assert_eq!(common(&other, &all), Some((0, true)));
        assert_eq!(common(&other, &other), Some((0, true)));
        assert_eq!(common(&all, &unknown), Some((0, true)), "one that has shown nothing");
        assert_eq!(common(&both, &other), None, "nobody knows whether a device shows both");
        assert_eq!(common(&none, &all), None, "what is asked for and excluded may be of no device");
    }
}
