//! In which groups a device is, and by what.

use std::sync::Arc;

use edge_ebpf::packet::Mac;

use crate::policy::compile::identity::CompiledIdentity;
use crate::policy::model::{Expr, Ranges, Resolved, Signal, SignalId};

/// The groups of a set of policies, in the order of these.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// By [`SignalId`].
    signals: Vec<Told>,
}

#[derive(Clone, Debug)]
struct Group {
    policy: String,
    name: String,
    when: Expr,
}

/// How a signal is told of a device.
#[derive(Clone, Debug)]
enum Told {
    ByMac(Arc<Ranges<u64>>),
    /// By its number in the tables; `None`: they do not have it.
    Shown(Option<u32>),
}

/// A group that a device is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership<'a> {
    pub policy: &'a str,
    pub group: &'a str,
    /// It is in the group also by its MAC.
    pub by_mac: bool,
    /// Numbers of the signals that it is in the group by.
    pub by: Vec<u32>,
}

impl Groups {
    /// Signals that are not of MACs have numbers in the order in which the policies have them.
    pub fn of(resolved: &Resolved, identity: Option<&CompiledIdentity>) -> Self {
        let shown = resolved.signals.iter().filter(|signal| signal.macs().is_none()).count();
        let numbered = identity.is_some_and(|identity| identity.signals.len() == shown);
        let mut next = 0..;
        let signals = resolved.signals.iter().map(|signal| match signal {
            Signal::Mac(ranges) => Told::ByMac(ranges.clone()),
            _ => Told::Shown(next.next().filter(|_| numbered)),
        });
        let of_policies = resolved.groups.iter().filter_map(|group| {
            let policy = resolved.policies.get(group.policy.index()).filter(|policy| !policy.built_in)?;
            Some(Group { policy: policy.name.clone(), name: group.name.clone(), when: group.when.clone() })
        });
        Self { signals: signals.collect(), groups: of_policies.collect() }
    }

    /// The groups of the device with this MAC that has shown the signals that `shown` says.
    pub fn of_device(&self, mac: Mac, shown: impl Fn(u32) -> bool) -> Vec<Membership<'_>> {
        let has = |signal: SignalId| match self.signals.get(signal.index()) {
            Some(Told::ByMac(ranges)) => ranges.contains(mac.0),
            Some(Told::Shown(number)) => number.is_some_and(&shown),
            None => false,
        };
        self.groups
            .iter()
            .filter(|group| group.when.holds(&has))
            .map(|group| {
                let mut reasons = Vec::new();
                reasons_of(&group.when, &has, &mut reasons);
                let number = |signal: &SignalId| match self.signals.get(signal.index()) {
                    Some(Told::Shown(number)) => *number,
                    _ => None,
                };
                let by: Vec<u32> = reasons.iter().filter_map(number).collect();
                Membership { policy: &group.policy, group: &group.name, by_mac: reasons.len() > by.len(), by }
            })
            .collect()
    }
}

/// The signals that the device has in the parts of the expression that hold; not those that it must not have.
fn reasons_of(when: &Expr, has: &impl Fn(SignalId) -> bool, reasons: &mut Vec<SignalId>) {
    match when {
        Expr::Signal(signal) => {
            if has(*signal) && !reasons.contains(signal) {
                reasons.push(*signal);
            }
        }
        Expr::All(parts) | Expr::Any(parts) => {
            parts.iter().filter(|part| part.holds(has)).for_each(|part| reasons_of(part, has, reasons));
        }
        Expr::Not(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::{Group as ModelGroup, Mode, PolicyId, PolicyInfo, TextKind};

    fn resolved() -> Resolved {
        let policy = |name: &str, built_in| PolicyInfo {
            name: name.to_owned(),
            title: String::new(),
            severity: String::new(),
            mode: Mode::Enforce,
            priority: 1,
            expires: None,
            built_in,
        };
        let group = |policy, name: &str, when| ModelGroup { policy: PolicyId(policy), name: name.to_owned(), when };
        let [first, vendor, second] = [0, 1, 2].map(|signal| Expr::Signal(SignalId(signal)));
        Resolved {
            policies: vec![policy("always-allow", true), policy("p", false)],
            signals: vec![
                Signal::Text(TextKind::DhcpHostName, vec![]),
                Signal::Mac(Arc::new(Ranges::new(vec![(100, 200)]))),
                Signal::Text(TextKind::UserAgent, vec![]),
            ],
            groups: vec![
                group(0, "own", vendor.clone()),
                group(1, "any", Expr::Any(vec![first.clone(), vendor, second.clone()])),
                group(1, "but", Expr::All(vec![first, Expr::Not(Box::new(second))])),
            ],
            ..Resolved::default()
        }
    }

    #[test]
    fn a_device_is_in_its_groups_by_what_it_has_shown() {
        let mut identity = super::super::evaluate::made::identity(&"t13d0201h2_1301_000d".parse().expect("a JA4_r"));
        identity.signals.truncate(2);
        let groups = Groups::of(&resolved(), Some(&identity));
        let of = |mac, shown: &[u32]| {
            let of_device = groups.of_device(Mac(mac), |number| shown.contains(&number));
            of_device.iter().map(|member| (member.group.to_owned(), member.by_mac, member.by.clone())).collect::<Vec<_>>()
        };
        assert_eq!(of(1, &[]), []);
        assert_eq!(of(150, &[]), [("any".to_owned(), true, vec![])]);
        assert_eq!(of(1, &[0]), [("any".to_owned(), false, vec![0]), ("but".to_owned(), false, vec![0])]);
        assert_eq!(of(150, &[0, 1]), [("any".to_owned(), true, vec![0, 1])]);
    }
}
