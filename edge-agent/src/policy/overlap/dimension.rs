//! One of the dimensions of all rules: sets that are shared by equal selectors, and each pair of them compared once.

use std::collections::HashMap;
use std::hash::Hash;

use crate::policy::model::{Number, Ranges};
use crate::policy::sets::{covers, first_common};

pub struct Dimension<S: Set> {
    sets: Vec<S>,
    /// Which of the sets is a rule's.
    set_of_rule: Vec<usize>,
    compared: HashMap<(usize, usize), Comparison<S::Member>>,
}

#[derive(Clone)]
pub struct Comparison<Member> {
    /// The first set holds all of the second.
    pub covers: bool,
    /// The first that both hold.
    pub common: Option<Member>,
}

impl<S: Set> Dimension<S> {
    pub fn new<'a, Selector: Hash + Eq + 'a>(selectors: impl Iterator<Item = &'a Selector>, set: impl Fn(&Selector) -> S) -> Self {
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

    pub fn of(&self, rule: usize) -> &S {
        &self.sets[self.set_of_rule[rule]]
    }

    pub fn compare(&mut self, a: usize, b: usize) -> Comparison<S::Member> {
        let (a, b) = (self.set_of_rule[a], self.set_of_rule[b]);
        let Self { sets, set_of_rule: _, compared } = self;
        // Most sets of most rules are far apart, and not worth a place in the table.
        if sets[a].is_apart_from(&sets[b]) {
            return Comparison { covers: false, common: None };
        }
        compared.entry((a, b)).or_insert_with(|| Comparison { covers: sets[a].covers(&sets[b]), common: sets[a].common(&sets[b]) }).clone()
    }
}

pub trait Set {
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
