//! Where the packets of a rule go: addresses, and names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::dimension::Set;
use crate::policy::model::{AddressSet, Destination, Domains, Learned, Ranges, RemoteSelector};
use crate::policy::name::NamePattern;
use crate::policy::name_set::NameSet;
use crate::policy::sets::{covers, first_common};

/// Which addresses a name has is not known here, so a name and an address have nothing in common.
pub struct Remotes {
    /// Wherever they go, under whatever name.
    any: bool,
    addresses: AddressSet,
    names: Vec<Named>,
}

/// Names of one destination.
struct Named {
    /// Not empty.
    names: Arc<NameSet>,
    learned: Learned,
}

/// Names that one list is looked up in another by; more would take longer than the warning is worth.
const MANY: usize = 20_000;

impl Remotes {
    pub fn of(to: &[RemoteSelector], destinations: &[Destination]) -> Self {
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
                    let Destination { policy: _, name: _, sets, domains } = &destinations[destination.index()];
                    for set in sets {
                        v4.extend(set.v4.iter().copied());
                        v6.extend(set.v6.iter().copied());
                    }
                    let Domains { sets, learned } = domains;
                    let sets = sets.iter().filter(|set| !set.is_empty());
                    names.extend(sets.map(|set| Named { names: set.clone(), learned: *learned }));
                }
            }
        }
        Self { any, addresses: AddressSet { v4: Ranges::new(v4), v6: Ranges::new(v6) }, names }
    }

    pub fn is_empty(&self) -> bool {
        !self.has_address() && self.names.is_empty()
    }

    /// Whether no packet from the outside comes from there: those carry no name, and only learned addresses stand for one.
    pub fn is_empty_on_the_way_in(&self) -> bool {
        !self.has_address() && self.names.iter().all(|named| named.learned == Learned::Off)
    }

    fn has_address(&self) -> bool {
        self.addresses != AddressSet::default()
    }
}

impl Named {
    /// Whether every packet that matches by the other's names, or by addresses learned for them, matches by these, and is decided by it.
    fn covers(&self, inner: &Self) -> bool {
        let same = Arc::ptr_eq(&self.names, &inner.names);
        (inner.learned == Learned::Off || self.learned == Learned::Enforce)
            && (same || (inner.names.len() <= MANY && self.names.covers(&inner.names)))
    }

    fn common(&self, other: &Self) -> Option<NamePattern> {
        let few = self.names.len().min(other.names.len()) <= MANY || Arc::ptr_eq(&self.names, &other.names);
        few.then(|| self.names.common(&other.names)).flatten()
    }
}

impl Set for Remotes {
    type Member = Remote;
    fn is_apart_from(&self, other: &Self) -> bool {
        let names_meet = |one: &Self, another: &Self| !one.names.is_empty() && (another.any || !another.names.is_empty());
        let Self { any: _, addresses: AddressSet { v4, v6 }, names: _ } = self;
        v4.is_apart_from(&other.addresses.v4)
            && v6.is_apart_from(&other.addresses.v6)
            && !names_meet(self, other)
            && !names_meet(other, self)
    }
    fn covers(&self, inner: &Self) -> bool {
        let Self { any, addresses: AddressSet { v4, v6 }, names } = self;
        let held = |set: &Named| names.iter().any(|own| own.covers(set));
        *any || (!inner.any && covers(v4, &inner.addresses.v4) && covers(v6, &inner.addresses.v6) && inner.names.iter().all(held))
    }
    fn common(&self, other: &Self) -> Option<Remote> {
        let v4 = || first_common(&self.addresses.v4, &other.addresses.v4).map(|address| Ipv4Addr::from_bits(address).into());
        let v6 = || first_common(&self.addresses.v6, &other.addresses.v6).map(|address| Ipv6Addr::from_bits(address).into());
        if let Some(address) = v4().or_else(v6) {
            return Some(Remote::Address(address));
        }
        let first = |named: &[Named]| named.iter().find_map(|named| named.names.first());
        let name = if self.any {
            first(&other.names)
        } else if other.any {
            first(&self.names)
        } else {
            self.names.iter().flat_map(|own| other.names.iter().map(move |named| (own, named))).find_map(|(own, named)| own.common(named))
        };
        name.map(Remote::Name)
    }
}

/// One place that two rules share.
#[derive(Clone)]
pub enum Remote {
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
