//! Names to rows: for each name of any rule the rules that hold for it, and those that hold for names strictly below it.
//!
//! A row is the union over all patterns that cover a name. So the deepest stored name that an asked name is, or is below of, decides alone,
//! and a look-up never has to combine what it met on its way. Every name above a stored one is stored too: a walk from the top-level label
//! inward may stop at the first one that is not there.

use std::collections::HashMap;
use std::sync::Arc;

use edge_ebpf::abi::identity::{SIGNAL_WORDS, SignalSet};
use edge_ebpf::abi::{MAX_WORDS, Row};

use super::identity::set_signal;
use super::rows::{set_bit, union};
use crate::policy::model::{Domains, Learned, RemoteSelector, Resolved};
use crate::policy::name::NameRef;
use crate::policy::name_set::NameSet;

/// The rules of a name, by how it is met.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RulesOfName {
    /// The packet carries the name.
    pub carried: Row,
    /// The packet's remote is an address that an answer gave for the name.
    pub learned: Row,
    /// The same, for rules that then only count and report; none of them is in `learned`.
    pub learned_monitored: Row,
    /// Signals that a device shows by asking for the name.
    pub signals: SignalSet,
}

impl RulesOfName {
    const NONE: Self =
        Self { carried: [0; MAX_WORDS], learned: [0; MAX_WORDS], learned_monitored: [0; MAX_WORDS], signals: [0; SIGNAL_WORDS] };

    fn add(&mut self, rule: usize, learned: Learned) {
        set_bit(&mut self.carried, rule);
        match learned {
            Learned::Off => {}
            Learned::Monitor => set_bit(&mut self.learned_monitored, rule),
            Learned::Enforce => set_bit(&mut self.learned, rule),
        }
    }

    fn or(&self, other: &Self) -> Self {
        let carried = union(self.carried, [&other.carried].into_iter());
        let learned = union(self.learned, [&other.learned].into_iter());
        let mut learned_monitored = union(self.learned_monitored, [&other.learned_monitored].into_iter());
        // A destination that enforces goes before one that only monitors.
        learned_monitored.iter_mut().zip(&learned).for_each(|(monitored, enforced)| *monitored &= !enforced);
        let signals = std::array::from_fn(|word| self.signals[word] | other.signals[word]);
        Self { carried, learned, learned_monitored, signals }
    }
}

/// A name of the table. A name that was asked for has the rows of the deepest stored one that it is (`exact`) or is below of (`below`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredName<'a> {
    pub name: NameRef<'a>,
    /// Number of the rows for the name itself.
    pub exact: u32,
    /// Number of the rows for all names strictly below it that are not stored, nor below a deeper stored one.
    pub below: u32,
    /// A name below it is stored too: else a walk ends here.
    pub has_children: bool,
}

/// All names that the rules' destinations and the groups have. Rules for any destination are in no row: addresses give those.
#[derive(Clone, Debug, Default)]
pub struct NameClasses {
    /// Distinct ones; their text is that of the stored names.
    sets: Vec<Arc<NameSet>>,
    names: Vec<Stored>,
    rows: Vec<RulesOfName>,
}

/// The text is the end of a pattern's name.
#[derive(Clone, Copy, Debug)]
struct Stored {
    set: u32,
    place: u32,
    exact: u32,
    below: u32,
    length: u8,
    has_children: bool,
}

const _: () = assert!(size_of::<Stored>() == 20);

impl NameClasses {
    /// `asked`: sets by which devices are known, with the numbers of the signals.
    pub fn of(resolved: &Resolved, asked: &[(Arc<NameSet>, u32)]) -> Self {
        let (sets, rows_of_sets) = distinct_sets(resolved, asked);
        let mut tree = Tree { sets: &sets, names: Vec::new(), parents: Vec::new(), numbers: Numbers::new(rows_of_sets) };
        for (set, place) in in_order(&sets) {
            tree.pattern(set, place);
        }
        let Tree { mut names, parents, numbers, .. } = tree;
        prune(&mut names, parents);
        let rows = numbers.used(&mut names);
        Self { sets, names, rows }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, each before those below it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = StoredName<'_>> {
        self.names.iter().map(|stored| {
            let &Stored { exact, below, has_children, .. } = stored;
            StoredName { name: name(&self.sets, stored), exact, below, has_children }
        })
    }

    /// By number; where there are any, the first is that of no rule, for names without a stored one.
    pub fn rows(&self) -> &[RulesOfName] {
        &self.rows
    }
}

fn name<'a>(sets: &'a [Arc<NameSet>], &Stored { set, place, length, .. }: &Stored) -> NameRef<'a> {
    let whole = sets[set as usize].get(place as usize).map_or("", |(name, _)| name.as_str());
    NameRef::of_canonical(&whole[whole.len().saturating_sub(usize::from(length))..])
}

/// Each set once, and the rules of all destinations that have it.
fn distinct_sets(resolved: &Resolved, asked: &[(Arc<NameSet>, u32)]) -> (Vec<Arc<NameSet>>, Vec<RulesOfName>) {
    let mut numbers = HashMap::new();
    let (mut sets, mut rows): (Vec<Arc<NameSet>>, Vec<RulesOfName>) = (Vec::new(), Vec::new());
    let mut add = |set: &Arc<NameSet>, own: &RulesOfName| {
        let number = *numbers.entry(Arc::as_ptr(set)).or_insert_with(|| {
            sets.push(set.clone());
            rows.push(RulesOfName::NONE);
            sets.len() - 1
        });
        rows[number] = rows[number].or(own);
    };
    for (index, rule) in resolved.rules.iter().enumerate() {
        for selector in &rule.to {
            let RemoteSelector::Destination(destination) = selector else { continue };
            let Domains { sets: own, learned } = &resolved.destinations[destination.index()].domains;
            for set in own {
                let mut of_rule = RulesOfName::NONE;
                of_rule.add(index, *learned);
                add(set, &of_rule);
            }
        }
    }
    for (set, signal) in asked {
        let mut of_signal = RulesOfName::NONE;
        set_signal(&mut of_signal.signals, *signal);
        add(set, &of_signal);
    }
    (sets, rows)
}

/// (set, place in it) of all patterns, in the order of the tree: those of one name side by side.
fn in_order(sets: &[Arc<NameSet>]) -> Vec<(u32, u32)> {
    let mut order: Vec<(u32, u32)> =
        sets.iter().zip(0u32..).flat_map(|(set, number)| (0..set.len() as u32).map(move |place| (number, place))).collect();
    if sets.len() > 1 {
        let name = |&(set, place): &(u32, u32)| sets[set as usize].get(place as usize).map(|(name, _)| name);
        // The stable sort: each set is sorted, so it finds runs and merges them.
        order.sort_by(|a, b| name(a).cmp(&name(b)));
    }
    order
}

/// The names so far, and the way from the top-level one to the last of them.
struct Tree<'a> {
    sets: &'a [Arc<NameSet>],
    names: Vec<Stored>,
    /// Of each name, the place of the one above; [`NO_PARENT`] of a top-level one.
    parents: Vec<u32>,
    numbers: Numbers,
}

/// The place of no name.
const NO_PARENT: u32 = u32::MAX;

impl Tree<'_> {
    /// The next pattern in the order of the tree.
    fn pattern(&mut self, set: u32, place: u32) {
        let Some((name, scope)) = self.sets[set as usize].get(place as usize) else { return };
        if self.names.last().is_none_or(|stored| self::name(self.sets, stored) != name) {
            self.push(set, place, name);
        }
        let Some(stored) = self.names.last_mut() else { return };
        if scope.has_itself() {
            stored.exact = self.numbers.union(stored.exact, set);
        }
        if scope.has_below() {
            stored.below = self.numbers.union(stored.below, set);
        }
    }

    /// Stores a name, and what is above it and not stored yet, each with what holds for it by what is above.
    fn push(&mut self, set: u32, place: u32, name: NameRef<'_>) {
        // The nearest one above is on the way to the last name.
        let mut parent = self.names.len().checked_sub(1).map_or(NO_PARENT, |last| last as u32);
        while let Some(above) = self.names.get(parent as usize).map(|stored| self::name(self.sets, stored)) {
            if name.is_below(above) {
                break;
            }
            parent = self.parents[parent as usize];
        }
        let inherited = self.names.get(parent as usize).map_or(0, |stored| stored.below);
        let known = self.names.get(parent as usize).map_or(0, |stored| usize::from(stored.length));
        let text = name.as_str();
        let boundaries = text.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'.').map(|(at, _)| text.len() - at - 1);
        for length in boundaries.filter(|length| *length > known).chain([text.len()]) {
            let length = u8::try_from(length).unwrap_or(u8::MAX);
            self.names.push(Stored { set, place, exact: inherited, below: inherited, length, has_children: false });
            self.parents.push(parent);
            parent = (self.names.len() - 1) as u32;
        }
    }
}

/// Drops names that say nothing new: no other is below, and what holds for them holds by what is above.
fn prune(names: &mut Vec<Stored>, parents: Vec<u32>) {
    let mut kept = vec![false; names.len()];
    // Those below come later.
    for (place, parent) in parents.iter().enumerate().rev() {
        let Stored { exact, below, has_children, .. } = names[place];
        let above = names.get_mut(*parent as usize);
        let inherited = above.as_ref().map_or(0, |above| above.below);
        kept[place] = has_children || exact != inherited || below != inherited;
        if let Some(above) = above.filter(|_| kept[place]) {
            above.has_children = true;
        }
    }
    let mut kept = kept.into_iter();
    names.retain(|_| kept.next().unwrap_or(false));
    names.shrink_to_fit();
}

/// Gives each distinct set of rules a number; 0 is that of none.
struct Numbers {
    of_sets: Vec<RulesOfName>,
    rows: Vec<RulesOfName>,
    numbers: HashMap<RulesOfName, u32>,
    /// (rows, set) to the rows with the set's.
    unions: HashMap<(u32, u32), u32>,
}

impl Numbers {
    fn new(of_sets: Vec<RulesOfName>) -> Self {
        Self { of_sets, rows: vec![RulesOfName::NONE], numbers: HashMap::from([(RulesOfName::NONE, 0)]), unions: HashMap::new() }
    }

    fn union(&mut self, rows: u32, set: u32) -> u32 {
        let Self { of_sets, rows: all, numbers, unions } = self;
        *unions.entry((rows, set)).or_insert_with(|| {
            let union = all[rows as usize].or(&of_sets[set as usize]);
            *numbers.entry(union).or_insert_with(|| {
                all.push(union);
                (all.len() - 1) as u32
            })
        })
    }

    /// Numbers anew, without those that only stood between others.
    fn used(self, names: &mut [Stored]) -> Vec<RulesOfName> {
        let mut used = vec![self.rows[0]];
        let mut new_numbers = vec![None; self.rows.len()];
        new_numbers[0] = Some(0);
        let mut renumber = |number: &mut u32| {
            let old = *number as usize;
            *number = *new_numbers[old].get_or_insert_with(|| {
                used.push(self.rows[old]);
                (used.len() - 1) as u32
            });
        };
        for Stored { exact, below, .. } in names {
            renumber(exact);
            renumber(below);
        }
        used
    }
}

#[cfg(test)]
mod tests;
