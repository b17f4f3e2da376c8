//! What devices are known by becomes signals: vendors ranges of MACs, and the rest facts that devices show.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Resolver;
use crate::policy::model::{Expr, PolicyId, Ranges, Signal, SignalId};
use crate::policy::problem::nearest;
use crate::policy::schema::{Expression, Placed};

/// Of a MAC's first octet (IEEE 802-2024 section 8.2.2).
const GROUP_ADDRESS: u64 = 1;
const LOCALLY_ADMINISTERED: u64 = 2;

impl Resolver<'_> {
    pub(super) fn expression(&mut self, policy: PolicyId, expression: &Expression) -> Expr {
        let parts = |parts: &[Expression], resolver: &mut Self| parts.iter().map(|part| resolver.expression(policy, part)).collect();
        match expression {
            Expression::Any(any) => Expr::Any(parts(any, self)),
            Expression::All(all) => Expr::All(parts(all, self)),
            Expression::Not(part) => Expr::Not(Box::new(self.expression(policy, part))),
            Expression::Vendor(names) => Expr::Any(names.iter().filter_map(|name| self.vendor(name)).map(Expr::Signal).collect()),
            Expression::Mac(prefixes) => {
                let ranges = Ranges::new(prefixes.iter().map(|prefix| prefix.range()).collect());
                Expr::Signal(self.signal(Signal::Mac(Arc::new(ranges))))
            }
            Expression::RandomMac(random) => {
                let random_macs = Expr::Signal(self.signal(Signal::Mac(Arc::new(random_macs()))));
                if *random { random_macs } else { Expr::Not(Box::new(random_macs)) }
            }
            Expression::Shows(signals) => match signals.as_slice() {
                [signal] => Expr::Signal(self.signal(signal.clone())),
                signals => Expr::All(signals.iter().map(|signal| Expr::Signal(self.signal(signal.clone()))).collect()),
            },
            Expression::Signature(signature) => {
                let id = self.signal_signature(policy, signature);
                Expr::Signal(self.signal(Signal::Signature(id)))
            }
        }
    }

    /// The group with the devices that the inventory adds to it, and without those that it forbids it.
    pub(super) fn with_inventory(&mut self, when: Expr, policy: &str, group: &str) -> Expr {
        let [added, forbidden] = self.inventory.of_group(policy, group);
        let mut macs = |ranges| Expr::Signal(self.signal(Signal::Mac(Arc::new(ranges))));
        let when = if added.is_empty() { when } else { Expr::Any(vec![when, macs(added)]) };
        if forbidden.is_empty() { when } else { Expr::All(vec![when, Expr::Not(Box::new(macs(forbidden)))]) }
    }

    fn vendor(&mut self, vendor: &Placed<String>) -> Option<SignalId> {
        let Placed { place, value } = vendor;
        if let Some(known) = self.vendors.get(value) {
            return Some(*known);
        }
        let registry = match self.sources.registry() {
            Ok(registry) => registry,
            Err(error) => {
                self.unusable(place, &error);
                return None;
            }
        };
        let ranges: Vec<_> = registry.iter().flat_map(|part| part.value.ranges(value)).collect();
        if ranges.is_empty() {
            let words: BTreeSet<&str> = registry.iter().flat_map(|part| part.value.words()).collect();
            let hint = match nearest(value, words) {
                Some(word) => format!("did you mean `{word}`?"),
                None => "a vendor is named by whole words of its name in the IEEE registry".to_owned(),
            };
            self.problems.error(place, format!("no organisation of the IEEE registry is named `{value}`")).hint(hint);
            return None;
        }
        let signal = self.signal(Signal::Mac(Arc::new(Ranges::new(ranges))));
        self.vendors.insert(value.clone(), signal);
        Some(signal)
    }
}

/// Those that devices give themselves: locally administered, of one device.
fn random_macs() -> Ranges<u64> {
    let random = (0..=0xff_u64).filter(|octet| octet & (GROUP_ADDRESS | LOCALLY_ADMINISTERED) == LOCALLY_ADMINISTERED);
    Ranges::new(random.map(|octet| (octet << 40, octet << 40 | ((1 << 40) - 1))).collect())
}

#[cfg(test)]
mod tests;
