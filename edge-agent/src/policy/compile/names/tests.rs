use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::engine::oracle::names::names_of;
use crate::policy::model::{Action, Destination, DestinationId, DeviceSelector, Direction, Mode, PolicyId, PolicyInfo, Rule, ServiceMatch};
use crate::policy::name::NamePattern;
use crate::policy::name_set::tests::{pattern, set};

/// Destinations with these sets, and a rule for each list of them; an empty list is any destination.
fn resolved(destinations: Vec<(Vec<Arc<NameSet>>, Learned)>, rules: &[Vec<usize>]) -> Resolved {
    let policy = PolicyInfo {
        name: "p".to_owned(),
        title: "p".to_owned(),
        severity: "low".to_owned(),
        mode: Mode::Enforce,
        priority: 100,
        expires: None,
        built_in: false,
    };
    let destination =
        |(sets, learned)| Destination { policy: PolicyId(0), name: "d".to_owned(), sets: Vec::new(), domains: Domains { sets, learned } };
    let selectors = |to: &Vec<usize>| match to.as_slice() {
        [] => vec![RemoteSelector::Any],
        to => to.iter().map(|number| RemoteSelector::Destination(DestinationId(*number as u32))).collect(),
    };
    let rule = |(number, to): (usize, &Vec<usize>)| Rule {
        policy: PolicyId(0),
        id: format!("r{number}"),
        from: vec![DeviceSelector::All],
        to: selectors(to),
        services: vec![ServiceMatch::Any],
        direction: Direction::Outbound,
        when: None,
        action: Action::Drop,
        monitored: false,
        report: true,
    };
    Resolved {
        policies: vec![policy],
        destinations: destinations.into_iter().map(destination).collect(),
        rules: rules.iter().enumerate().map(rule).collect(),
        ..Resolved::default()
    }
}

/// The table as the kernel asks it: from the top-level label inward, until a name is not there or has none below.
struct Walk<'a> {
    names: HashMap<&'a str, StoredName<'a>>,
    rows: &'a [RulesOfName],
}

impl<'a> Walk<'a> {
    fn new(classes: &'a NameClasses) -> Self {
        Self { names: classes.iter().map(|stored| (stored.name.as_str(), stored)).collect(), rows: classes.rows() }
    }

    fn rows_of(&self, asked: &str) -> RulesOfName {
        let asked = asked.to_ascii_lowercase();
        let starts = asked.match_indices('.').map(|(at, _)| at + 1).collect::<Vec<_>>();
        let mut number = 0;
        for start in starts.into_iter().rev().chain([0]) {
            let Some(stored) = self.names.get(&asked[start..]) else { break };
            number = if start == 0 { stored.exact } else { stored.below };
            if !stored.has_children {
                break;
            }
        }
        self.rows.get(number as usize).copied().unwrap_or(RulesOfName::NONE)
    }
}

/// What each rule's destinations say, one after the other.
fn naive(resolved: &Resolved, asked: &str) -> RulesOfName {
    let labels: Vec<&str> = asked.split('.').collect();
    let mut rows = RulesOfName::NONE;
    for (index, rule) in resolved.rules.iter().enumerate() {
        let destinations = rule.to.iter().filter_map(|selector| match selector {
            RemoteSelector::Any => None,
            RemoteSelector::Destination(destination) => Some(&resolved.destinations[destination.index()]),
        });
        let learned: Vec<Learned> =
            destinations.filter(|destination| names_of(destination, &labels)).map(|destination| destination.domains.learned).collect();
        if !learned.is_empty() {
            set_bit(&mut rows.carried, index);
        }
        if learned.contains(&Learned::Enforce) {
            set_bit(&mut rows.learned, index);
        } else if learned.contains(&Learned::Monitor) {
            set_bit(&mut rows.learned_monitored, index);
        }
    }
    rows
}

/// (name, rules for itself, rules below, whether the walk goes on), rules as numbers.
fn shown(classes: &NameClasses) -> Vec<(&str, u64, u64, bool)> {
    let rules = |number: u32| classes.rows()[number as usize].carried[0];
    classes.iter().map(|stored| (stored.name.as_str(), rules(stored.exact), rules(stored.below), stored.has_children)).collect()
}

#[test]
fn a_row_is_the_union_of_all_patterns_that_cover_a_name() {
    let destinations = vec![
        (vec![set(&["xiaomi.com", "=a.b.example"]).into()], Learned::Enforce),
        (vec![set(&["*.api.xiaomi.com", "org"]).into()], Learned::Enforce),
    ];
    let resolved = resolved(destinations, &[vec![0], vec![1], vec![]]);
    let classes = NameClasses::of(&resolved, &[]);
    let expected = [
        ("example", 0, 0, true),
        ("b.example", 0, 0, true),
        ("a.b.example", 0b01, 0, false),
        ("org", 0b10, 0b10, false),
        ("com", 0, 0, true),
        ("xiaomi.com", 0b01, 0b01, true),
        ("api.xiaomi.com", 0b01, 0b11, false),
    ];
    assert_eq!(shown(&classes), expected);
    assert_eq!(classes.rows()[0], RulesOfName::NONE);
    assert_eq!(classes.rows().len(), 4, "none, each of the two, and both: {:?}", classes.rows());
}

#[test]
fn what_another_list_of_the_same_rules_covers_is_not_stored() {
    let (broad, narrow) = (Arc::new(set(&["example"])), Arc::new(set(&["a.example", "=b.c.example", "x.org"])));
    let same = NameClasses::of(&resolved(vec![(vec![broad.clone(), narrow.clone()], Learned::Enforce)], &[vec![0]]), &[]);
    assert_eq!(shown(&same), [("example", 1, 1, false), ("org", 0, 0, true), ("x.org", 1, 1, false)]);
    let both = vec![(vec![broad], Learned::Enforce), (vec![narrow], Learned::Enforce)];
    let other = NameClasses::of(&resolved(both, &[vec![0], vec![1]]), &[]);
    let names: Vec<_> = other.iter().map(|stored| stored.name.as_str()).collect();
    assert_eq!(names, ["example", "a.example", "c.example", "b.c.example", "org", "x.org"]);
}

#[test]
fn no_names_are_no_table() {
    let classes = NameClasses::of(&resolved(vec![(Vec::new(), Learned::Enforce)], &[vec![0], vec![]]), &[]);
    assert!(classes.is_empty());
    assert_eq!(classes.iter().len(), 0);
}

#[test]
fn rules_beyond_the_first_word_have_their_bit() {
    let rules: Vec<Vec<usize>> = (0..200).map(|rule| if rule % 70 == 69 { vec![0] } else { vec![] }).collect();
    let classes = NameClasses::of(&resolved(vec![(vec![set(&["x.example"]).into()], Learned::Off)], &rules), &[]);
    let RulesOfName { carried, learned, learned_monitored, signals: _ } = Walk::new(&classes).rows_of("x.example");
    assert_eq!(carried[..3], [0, 1 << 5, 1 << 11]);
    assert_eq!((learned, learned_monitored), ([0; MAX_WORDS], [0; MAX_WORDS]));
}

fn learned() -> impl Strategy<Value = Learned> {
    prop_oneof![Just(Learned::Off), Just(Learned::Monitor), Just(Learned::Enforce)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_walk_finds_what_every_pattern_says(
        sets in prop::collection::vec(prop::collection::vec(pattern(), 0..10), 1..5),
        destinations in prop::collection::vec((prop::collection::vec(0usize..4, 0..3), learned()), 1..5),
        rules in prop::collection::vec(prop::collection::vec(0usize..4, 0..3), 1..6),
        probes in prop::collection::vec((pattern(), any::<bool>()), 40),
    ) {
        let patterns: Vec<NamePattern> = sets.iter().flatten().cloned().collect();
        let sets: Vec<Arc<NameSet>> = sets.into_iter().map(|set| Arc::new(set.into_iter().collect())).collect();
        let count = destinations.len();
        let destinations =
            destinations.into_iter().map(|(own, learned)| (own.iter().map(|set| sets[set % sets.len()].clone()).collect(), learned)).collect();
        let rules: Vec<Vec<usize>> = rules.into_iter().map(|to| to.into_iter().map(|destination| destination % count).collect()).collect();
        let resolved = resolved(destinations, &rules);
        let classes = NameClasses::of(&resolved, &[]);
        let walk = Walk::new(&classes);

        // Names of the patterns, above, below and beside them, and others, in both cases.
        let own = patterns.iter().flat_map(|pattern| {
            let name = pattern.name.to_string();
            [format!("x.{name}"), format!("y.x.{name}"), format!("not{name}"), name.split_once('.').map_or(name.clone(), |(_, above)| above.to_owned()), name]
        });
        let others = probes.iter().map(|(probe, upper)| if *upper { probe.name.to_string().to_uppercase() } else { probe.name.to_string() });
        for asked in own.chain(others) {
            prop_assert_eq!(walk.rows_of(&asked), naive(&resolved, &asked), "{}", asked);
        }

        // What a walk relies on.
        let stored: Vec<StoredName<'_>> = classes.iter().collect();
        for (place, one) in stored.iter().enumerate() {
            if let Some(above) = one.name.parent() {
                prop_assert!(stored[..place].iter().any(|other| other.name == above), "{} is not stored before {}", above, one.name);
            }
            prop_assert_eq!(one.has_children, stored.iter().any(|other| other.name.is_below(one.name)), "{}", one.name);
            let inherited = one.name.parent().and_then(|above| stored.iter().find(|other| other.name == above)).map_or(0, |above| above.below);
            prop_assert!(one.has_children || one.exact != inherited || one.below != inherited, "{} says nothing", one.name);
        }
        let mut names: Vec<&str> = stored.iter().map(|stored| stored.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), stored.len());
        let rows: std::collections::HashSet<&RulesOfName> = classes.rows().iter().collect();
        prop_assert_eq!(rows.len(), classes.rows().len());
    }
}
