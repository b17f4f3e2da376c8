//! Sets of names: sorted patterns of which none covers another, all in one text.

use std::fmt;

use super::name::{NameError, NamePattern, NameRef, NameScope, push_canonical, rank};

/// Patterns in the order of the tree of names. A million of them take about 30 bytes each.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct NameSet {
    text: Box<str>,
    patterns: Box<[Stored]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Stored {
    start: u32,
    length: u8,
    scope: NameScope,
}

const _: () = assert!(size_of::<Stored>() == 8);

impl NameSet {
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// In the order of the tree.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NameRef<'_>, NameScope)> {
        self.patterns.iter().map(|stored| (self.name(stored), stored.scope))
    }

    /// The pattern at a place of that order.
    pub fn get(&self, place: usize) -> Option<(NameRef<'_>, NameScope)> {
        self.patterns.get(place).map(|stored| (self.name(stored), stored.scope))
    }

    fn name(&self, &Stored { start, length, .. }: &Stored) -> NameRef<'_> {
        let start = start as usize;
        NameRef::of_canonical(self.text.get(start..start + usize::from(length)).unwrap_or_default())
    }

    pub fn first(&self) -> Option<NamePattern> {
        self.get(0).map(|(name, scope)| NamePattern { name: name.to_name(), scope })
    }

    /// The scope of the pattern with this very name.
    fn scope_of(&self, name: NameRef<'_>) -> Option<NameScope> {
        let place = self.patterns.binary_search_by(|stored| self.name(stored).cmp(&name)).ok()?;
        Some(self.patterns[place].scope)
    }

    /// A pattern that holds for everything below the name.
    fn holds_all_below(&self, name: NameRef<'_>) -> bool {
        std::iter::successors(Some(name), |name| name.parent()).any(|name| self.scope_of(name).is_some_and(NameScope::has_below))
    }

    /// Whether a pattern covers the name.
    pub fn holds(&self, name: NameRef<'_>) -> bool {
        self.scope_of(name).is_some_and(NameScope::has_itself) || name.parent().is_some_and(|above| self.holds_all_below(above))
    }

    /// Whether this set has every name that the other has.
    pub fn covers(&self, inner: &Self) -> bool {
        inner.iter().all(|(name, scope)| (!scope.has_itself() || self.holds(name)) && (!scope.has_below() || self.holds_all_below(name)))
    }

    /// A pattern that both sets cover wholly; `None` if no name is in both. The time is that of the smaller set.
    pub fn common(&self, other: &Self) -> Option<NamePattern> {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        few.iter().find_map(|(name, scope)| {
            let pattern = |name: NameRef<'_>, scope| Some(NamePattern { name: name.to_name(), scope });
            match (scope.has_itself() && many.holds(name), scope.has_below() && many.holds_all_below(name)) {
                (true, true) => pattern(name, NameScope::Both),
                (true, false) => pattern(name, NameScope::Exact),
                (false, true) => pattern(name, NameScope::Below),
                (false, false) if scope.has_below() => many.first_below(name).and_then(|(name, scope)| pattern(name, scope)),
                (false, false) => None,
            }
        })
    }

    fn first_below(&self, name: NameRef<'_>) -> Option<(NameRef<'_>, NameScope)> {
        let place = self.patterns.partition_point(|stored| self.name(stored) <= name);
        self.get(place).filter(|(first, _)| first.is_below(name))
    }
}

impl fmt::Debug for NameSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

impl FromIterator<NamePattern> for NameSet {
    fn from_iter<I: IntoIterator<Item = NamePattern>>(patterns: I) -> Self {
        let mut builder = NameSetBuilder::default();
        for NamePattern { name, scope } in patterns {
            // What a policy can hold is far from the limit.
            let start = builder.text.len();
            builder.text.push_str(name.as_ref().as_str());
            builder.note(start, scope).ok();
        }
        builder.finish()
    }
}

/// Collects names in any order.
#[derive(Default)]
pub struct NameSetBuilder {
    text: String,
    patterns: Vec<Unsorted>,
}

#[derive(Clone, Copy)]
struct Unsorted {
    /// The last bytes, in the order of the tree: most comparisons end with them, and do not go to the text.
    tail: u64,
    start: u32,
    length: u8,
    scope: NameScope,
}

const _: () = assert!(size_of::<Unsorted>() == 16);

impl NameSetBuilder {
    /// Adds a name, in any case and with or without the root's dot.
    ///
    /// # Errors
    /// Why it is none.
    pub fn push(&mut self, name: &str, scope: NameScope) -> Result<(), NameError> {
        let range = push_canonical(name, &mut self.text)?;
        self.note(range.start, scope)
    }

    /// Of the name that the text ends with.
    fn note(&mut self, start: usize, scope: NameScope) -> Result<(), NameError> {
        let name = self.text.as_bytes().get(start..).unwrap_or_default();
        let tail = name.iter().rev().take(8).fold((0, 56), |(tail, shift), &byte| (tail | u64::from(rank(byte)) << shift, shift - 8)).0;
        let (Ok(place), Ok(length)) = (u32::try_from(start), u8::try_from(name.len())) else {
            self.text.truncate(start);
            return Err(NameError::TooMany);
        };
        self.patterns.push(Unsorted { tail, start: place, length, scope });
        Ok(())
    }

    /// Sorts, and drops what another pattern covers.
    pub fn finish(self) -> NameSet {
        let Self { text, mut patterns } = self;
        let name = |&Unsorted { start, length, .. }: &Unsorted| {
            NameRef::of_canonical(text.get(start as usize..start as usize + usize::from(length)).unwrap_or_default())
        };
        patterns.sort_unstable_by(|a, b| a.tail.cmp(&b.tail).then_with(|| name(a).cmp(&name(b))));
        let mut kept = String::with_capacity(text.len());
        let mut folded: Vec<Stored> = Vec::with_capacity(patterns.len());
        // The last pattern that holds below its name: what it covers follows it directly.
        let mut above: Option<NameRef> = None;
        for same in patterns.chunk_by(|a, b| a.tail == b.tail && name(a) == name(b)) {
            let name = name(&same[0]);
            if above.is_some_and(|above| name.is_below(above)) {
                continue;
            }
            let scope = same[1..].iter().fold(same[0].scope, |scope, other| scope.union(other.scope));
            if scope.has_below() {
                above = Some(name);
            }
            folded.push(Stored { start: kept.len() as u32, length: same[0].length, scope });
            kept.push_str(name.as_str());
        }
        NameSet { text: kept.into_boxed_str(), patterns: folded.into_boxed_slice() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::name::Name;

    pub(crate) fn set(patterns: &[&str]) -> NameSet {
        patterns.iter().map(|pattern| pattern.parse::<NamePattern>().expect("a pattern")).collect()
    }

    fn shown(set: &NameSet) -> Vec<String> {
        set.iter().map(|(name, scope)| NamePattern { name: name.to_name(), scope }.to_string()).collect()
    }

    #[test]
    fn duplicates_and_covered_names_are_folded() {
        for (patterns, expected) in [
            (&["a.com", "A.com", "b.a.com", "=a.com", "*.c.a.com"][..], &["a.com"][..]),
            (&["=a.com", "*.a.com", "x.a.com"], &["a.com"]),
            (&["*.a.com", "=b.a.com", "nota.com"], &["*.a.com", "nota.com"]),
            (&["=a.com", "=b.a.com", "a-b.com"], &["=a.com", "=b.a.com", "a-b.com"]),
            (&["*.a.com", "=a.com.", "a.co"], &["a.co", "a.com"]),
            (&[], &[]),
        ] {
            let mut found = shown(&set(patterns));
            found.sort();
            assert_eq!(found, expected, "{patterns:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_the_tree() {
        let names = shown(&set(&["=zz.x.com", "=x.com", "=a-x.com", "=a.x.com", "=com", "=b.a.x.com", "=x.org"]));
        assert_eq!(names, ["=x.org", "=com", "=x.com", "=a.x.com", "=b.a.x.com", "=zz.x.com", "=a-x.com"]);
    }

    pub(crate) fn pattern() -> impl Strategy<Value = NamePattern> {
        (prop::collection::vec("[ab]{1,2}|-a|longer-label", 1..4), 0..3).prop_map(|(labels, scope)| NamePattern {
            name: labels.join(".").parse().expect("a name"),
            scope: [NameScope::Both, NameScope::Exact, NameScope::Below][scope as usize],
        })
    }

    fn matches(patterns: &[NamePattern], name: NameRef<'_>) -> bool {
        patterns.iter().any(|pattern| {
            let NamePattern { name: own, scope } = pattern;
            (scope.has_itself() && own.as_ref() == name) || (scope.has_below() && name.is_below(own.as_ref()))
        })
    }

    proptest! {
        #[test]
        fn a_set_is_its_patterns(
            a in prop::collection::vec(pattern(), 0..12),
            b in prop::collection::vec(pattern(), 0..4),
            probes in prop::collection::vec(pattern(), 60),
        ) {
            let (outer, inner) = (a.iter().cloned().collect::<NameSet>(), b.iter().cloned().collect::<NameSet>());
            prop_assert!(outer.len() <= a.len());
            let again: NameSet = outer.iter().map(|(name, scope)| NamePattern { name: name.to_name(), scope }).collect();
            prop_assert_eq!(&again, &outer, "folding twice changes nothing");
            for NamePattern { name, .. } in a.iter().chain(&b).chain(&probes) {
                prop_assert_eq!(outer.holds(name.as_ref()), matches(&a, name.as_ref()), "{:?} {}", &a, name);
            }
            // A label that no pattern has stands for all names below.
            let names: Vec<Name> =
                b.iter().chain(&a).flat_map(|pattern| [pattern.name.to_string(), format!("z.{}", pattern.name)]).map(|name| name.parse().unwrap()).collect();
            let covered = names.iter().all(|name| !matches(&b, name.as_ref()) || matches(&a, name.as_ref()));
            prop_assert_eq!(outer.covers(&inner), covered, "{:?} {:?}", &a, &b);
            let common = names.iter().any(|name| matches(&b, name.as_ref()) && matches(&a, name.as_ref()));
            prop_assert_eq!(outer.common(&inner).is_some(), common, "{:?} {:?}", &a, &b);
        }
    }
}
