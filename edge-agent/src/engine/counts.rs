//! Counters, as the kernel program keeps them and as outcomes add up to them.

use edge_ebpf::abi::{Counter, Reason, Verdict};

use super::Outcome;
use crate::policy::compile::{Compiled, CompiledRule};

/// What a program has counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// By place in [`Compiled::counters`].
    pub rules: Vec<Counter>,
    /// By [`Verdict`].
    pub verdicts: Vec<Counter>,
    /// By [`Reason::slot`].
    pub uninspectable: Vec<Counter>,
}

/// What a program has to have counted by the outcomes that another engine has found.
pub struct Expected {
    /// By rule: where it is counted what exceeds its rate, and what is only monitored of a rule that else decides.
    exceeded: Vec<Option<usize>>,
    learned: Vec<Option<usize>>,
    /// By rule: it never decides.
    monitored: Vec<bool>,
    counts: Counts,
}

impl Expected {
    /// Nothing yet.
    pub fn of(compiled: &Compiled) -> Self {
        let mut next = compiled.rules.len();
        let mut places = |wanted: &dyn Fn(&CompiledRule) -> bool| -> Vec<Option<usize>> {
            let place = |rule: &CompiledRule| {
                wanted(rule).then(|| {
                    next += 1;
                    next - 1
                })
            };
            compiled.rules.iter().map(place).collect()
        };
        let (exceeded, learned) = (places(&|rule| rule.limit.is_some()), places(&|rule| rule.by_learned.is_some()));
        let none = |places| vec![Counter::default(); places];
        Self {
            exceeded,
            learned,
            monitored: compiled.rules.iter().map(|rule| rule.monitored).collect(),
            counts: Counts { rules: none(next), verdicts: none(Verdict::ALL.len()), uninspectable: none(Reason::SLOTS) },
        }
    }

    /// Counts what became of a frame of `length` bytes.
    pub fn add(&mut self, outcome: &Outcome, length: usize) {
        let Outcome { verdict, rule, monitored, reason, reply: _, name: _ } = outcome;
        let Self { exceeded, learned, monitored: only, counts: Counts { rules, verdicts, uninspectable } } = self;
        let count = |counter: &mut Counter| {
            counter.packets += 1;
            counter.bytes += length as u64;
        };
        count(&mut verdicts[*verdict as usize]);
        for rule in monitored {
            let place = learned[rule.index()].filter(|_| !only[rule.index()]).unwrap_or(rule.index());
            count(&mut rules[place]);
        }
        if let Some(rule) = rule {
            let place = exceeded[rule.index()].filter(|_| *verdict == Verdict::Drop).unwrap_or(rule.index());
            count(&mut rules[place]);
        }
        if let Some(reason) = reason {
            count(&mut uninspectable[reason.slot(*verdict)]);
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}
