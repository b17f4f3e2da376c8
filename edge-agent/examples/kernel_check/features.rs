//! The constants by which the agent specialises a program, and which make the verifier see another one. A new one is a line in [`FEATURES`].

use std::fmt;

use edge_agent::config::Conduct;
use edge_agent::policy::compile::identity::CompiledIdentity;
use edge_agent::policy::compile::{Compiled, CompiledNames, CompiledRule, Timeline, names::NameClasses};
use edge_agent::policy::model::{PolicyId, RateLimit, RateUnit};
use edge_ebpf::abi::identity::{FACT_KINDS, FactKind, FactState, GroupOp, HelloKey, HelloParts, MacFacts};
use edge_ebpf::abi::{MAX_SIGNATURES, MAX_WORDS, NameRules, OnUninspectable, Reason, SignatureEntry, Verdict};

/// A constant and the values that policies and configuration can give it.
struct Feature {
    name: &'static str,
    values: &'static [usize],
    /// Makes a set, which asks for nothing yet, ask for this value.
    set: fn(&mut Wanted<'_>, usize),
}

/// What the constants are taken from.
struct Wanted<'a> {
    compiled: &'a mut Compiled,
    conduct: &'a mut Conduct,
}

const WORDS: [usize; MAX_WORDS] = {
    let mut words = [0; MAX_WORDS];
    let mut index = 0;
    while index < MAX_WORDS {
        words[index] = index + 1;
        index += 1;
    }
    words
};

const VERDICTS: [OnUninspectable; 3] = [OnUninspectable::Pass, OnUninspectable::Drop, OnUninspectable::DropIfRuleCouldMatch];

const FEATURES: &[Feature] = &[
    Feature { name: "words", values: &WORDS, set: |wanted, words| wanted.compiled.words = words },
    Feature { name: "monitored", values: &[0, 1], set: |wanted, any| wanted.compiled.monitored[0] = any as u64 },
    Feature { name: "rates", values: &[0, 1], set: set_rates },
    Feature { name: "inbound", values: &[0, 1], set: |wanted, any| wanted.compiled.has_inbound = any != 0 },
    Feature { name: "schedules", values: &[0, 1], set: set_schedules },
    Feature { name: "names", values: &[0, 1], set: set_names },
    Feature { name: "identity", values: &[0, 1, 2, 3], set: set_identity },
    Feature { name: "signatures", values: &[0, MAX_SIGNATURES], set: set_signatures },
    Feature {
        name: "uninspectable",
        values: &[0, 1, 2],
        set: |wanted, verdict| wanted.conduct.on_uninspectable = [VERDICTS[verdict]; Reason::ALL.len()],
    },
];

fn set_rates(Wanted { compiled, conduct: _ }: &mut Wanted<'_>, any: usize) {
    let limit = RateLimit { unit: RateUnit::Packets, per_second: 1, burst: 1 };
    let rule = CompiledRule {
        policy: PolicyId(0),
        id: "limited".to_owned(),
        action: "rate_limit",
        verdict: Verdict::Pass,
        monitored: false,
        report: false,
        looks_inside: false,
        limit: Some(limit),
        by_learned: None,
    };
    compiled.rules = vec![rule; any];
}

fn set_schedules(Wanted { compiled, conduct: _ }: &mut Wanted<'_>, any: usize) {
    compiled.timeline = (any != 0).then(|| Timeline { first_minute: 0, stretches: vec![] });
}

fn set_names(Wanted { compiled, conduct: _ }: &mut Wanted<'_>, any: usize) {
    compiled.named[0] = any as u64;
    compiled.names =
        (any != 0).then(|| CompiledNames { names: NameClasses::default(), rules: vec![NameRules::default()], has_learned_monitored: true });
}

/// 1: the agent is told, and no group asks; 2: groups ask for what headers and DHCP show; 3: groups ask for everything, and the agent is told.
fn set_identity(Wanted { compiled, conduct }: &mut Wanted<'_>, how: usize) {
    conduct.observes = matches!(how, 1 | 3);
    let nowhere = FactState { next: [0; 256], set: 0, reserved: 0 };
    let mut starts = [0; FACT_KINDS];
    let kinds = FactKind::ALL.iter().filter(|kind| how == 3 || !matches!(kind, FactKind::UserAgent | FactKind::Hello));
    kinds.for_each(|kind| starts[*kind as usize] = 1);
    let hellos = if how == 3 {
        (1..=HelloKey::ALL_PARTS.0).map(|parts| (HelloKey::default().asking(HelloParts(parts)), 1)).collect()
    } else {
        vec![]
    };
    compiled.identity = (how > 1).then(|| CompiledIdentity {
        signals: vec!["anything".to_owned()],
        numbers: vec![],
        sets: vec![vec![], vec![0]],
        states: vec![nowhere, FactState { set: 1, ..nowhere }],
        starts,
        hellos,
        hashed: vec![],
        macs: vec![MacFacts::default()],
        ops: vec![GroupOp::signal(0), GroupOp::group(0, true)],
        unknown: 0,
    });
}

fn set_signatures(Wanted { compiled, conduct: _ }: &mut Wanted<'_>, count: usize) {
    compiled.signed[0] = u64::from(count != 0);
    compiled.signatures = vec![SignatureEntry::default(); count];
}

/// A value for each feature.
pub struct Combination(Vec<usize>);

impl Combination {
    pub fn apply(&self, compiled: &mut Compiled, conduct: &mut Conduct) {
        let mut wanted = Wanted { compiled, conduct };
        for (feature, value) in FEATURES.iter().zip(&self.0) {
            (feature.set)(&mut wanted, *value);
        }
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (feature, value)) in FEATURES.iter().zip(&self.0).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(formatter, "{space}{}={value}", feature.name)?;
        }
        Ok(())
    }
}

/// Every value of every feature with every value of the others.
pub fn all() -> Vec<Combination> {
    FEATURES.iter().fold(vec![Combination(vec![])], |combinations, feature| {
        let extended = |Combination(begun): &Combination| {
            let begun = begun.clone();
            feature.values.iter().map(move |value| Combination(begun.iter().copied().chain([*value]).collect()))
        };
        combinations.iter().flat_map(extended).collect()
    })
}

/// Every value of every feature, once with the first and once with the last value of all others.
pub fn each() -> Vec<Combination> {
    let ends = |end: fn(&[usize]) -> Option<&usize>| -> Vec<usize> {
        FEATURES.iter().filter_map(|feature| end(feature.values)).copied().collect()
    };
    let mut combinations = Vec::new();
    for others in [ends(<[usize]>::first), ends(<[usize]>::last)] {
        for (place, feature) in FEATURES.iter().enumerate() {
            for value in feature.values {
                let mut values = others.clone();
                values[place] = *value;
                combinations.push(values);
            }
        }
    }
    combinations.sort();
    combinations.dedup();
    combinations.into_iter().map(Combination).collect()
}
