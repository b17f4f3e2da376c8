//! Groups: those of MACs alone are known by the class of the MAC, and the others are a program over what devices show.

use edge_ebpf::abi::identity::{GroupOp, MAX_GROUP_OPS, MacFacts};
use edge_ebpf::abi::{MAX_WORDS, Row};

use super::{Numbering, set_signal};
use crate::policy::compile::CompileError;
use crate::policy::compile::rows::{RowPool, set_bit, union};
use crate::policy::model::{DeviceSelector, Expr, GroupId, Resolved, SignalId};

/// Facts about MACs that groups ask for together with what devices show.
const MAX_MAC_FACTS: usize = 256;

/// How each group is known.
pub struct Groups {
    /// Of MACs alone.
    by_mac: Vec<bool>,
    /// What the others ask of MACs, each as large as it can be: the bits of [`MacFacts::signals`].
    mac_parts: Vec<Expr>,
    /// By group, the others as far as the program has to compute them.
    rests: Vec<Option<Rest>>,
}

/// An expression in which what is about MACs alone has become a bit.
enum Rest {
    Mac(u32),
    Signal(SignalId),
    All(Vec<Rest>),
    Any(Vec<Rest>),
    Not(Box<Rest>),
}

impl Groups {
    pub fn of(set: &Resolved, numbering: &Numbering) -> Result<Self, CompileError> {
        let mut groups = Self { by_mac: Vec::new(), mac_parts: Vec::new(), rests: Vec::new() };
        for group in &set.groups {
            let by_mac = is_by_mac(&group.when, numbering);
            let rest = if by_mac { None } else { Some(groups.rest(&group.when, numbering)) };
            groups.by_mac.push(by_mac);
            groups.rests.push(rest);
        }
        let facts = groups.mac_parts.len();
        if facts > MAX_MAC_FACTS { Err(CompileError::TooManyMacFacts { facts }) } else { Ok(groups) }
    }

    fn rest(&mut self, expression: &Expr, numbering: &Numbering) -> Rest {
        if is_by_mac(expression, numbering) {
            return Rest::Mac(self.mac_part(expression.clone()));
        }
        match expression {
            Expr::Signal(signal) => Rest::Signal(*signal),
            Expr::Not(part) => Rest::Not(Box::new(self.rest(part, numbering))),
            Expr::All(parts) => Rest::All(self.rests(parts, Expr::All, numbering)),
            Expr::Any(parts) => Rest::Any(self.rests(parts, Expr::Any, numbering)),
        }
    }

    /// Parts of one expression; those of MACs alone together are one.
    fn rests(&mut self, parts: &[Expr], together: fn(Vec<Expr>) -> Expr, numbering: &Numbering) -> Vec<Rest> {
        let (macs, others): (Vec<&Expr>, Vec<&Expr>) = parts.iter().partition(|part| is_by_mac(part, numbering));
        let mut rests: Vec<Rest> = others.into_iter().map(|part| self.rest(part, numbering)).collect();
        match macs.as_slice() {
            [] => {}
            [one] => rests.push(Rest::Mac(self.mac_part((*one).clone()))),
            many => rests.push(Rest::Mac(self.mac_part(together(many.iter().copied().cloned().collect())))),
        }
        rests
    }

    /// The bit of an expression over MACs, the same for equal ones.
    fn mac_part(&mut self, expression: Expr) -> u32 {
        let place = self.mac_parts.iter().position(|known| *known == expression).unwrap_or_else(|| {
            self.mac_parts.push(expression);
            self.mac_parts.len() - 1
        });
        place as u32
    }

    /// What a MAC with these signals says whatever else the device shows.
    pub fn mac_facts(&self, set: &Resolved, has: &impl Fn(SignalId) -> bool, pool: &mut RowPool) -> MacFacts {
        let mut facts = MacFacts::default();
        for (bit, _) in self.mac_parts.iter().enumerate().filter(|(_, part)| part.holds(has)) {
            set_signal(&mut facts.signals, bit as u32);
        }
        let holds: Vec<bool> = set.groups.iter().zip(&self.by_mac).map(|(group, by_mac)| *by_mac && group.when.holds(has)).collect();
        let known = set.groups.iter().zip(&holds).any(|(group, holds)| *holds && !set.policies[group.policy.index()].built_in);
        facts.known = u32::from(known);
        let always = holds
            .iter()
            .enumerate()
            .filter(|(_, holds)| **holds)
            .map(|(group, _)| rules_of(set, DeviceSelector::Group(GroupId(group as u32))));
        let always: Vec<Row> = always.collect();
        facts.always = pool.intern(union(rules_of(set, DeviceSelector::All), always.iter()));
        facts
    }

    /// The program that computes the groups that are not of MACs alone.
    pub fn program(&self, set: &Resolved, numbering: &Numbering, pool: &mut RowPool) -> Result<Vec<GroupOp>, CompileError> {
        let mut ops = Vec::new();
        for (index, (group, rest)) in set.groups.iter().zip(&self.rests).enumerate() {
            let Some(rest) = rest else { continue };
            let of_policy = !set.policies[group.policy.index()].built_in;
            let rules = rules_of(set, DeviceSelector::Group(GroupId(index as u32)));
            if rules == [0; MAX_WORDS] && !of_policy {
                continue;
            }
            emit(rest, numbering, &mut ops);
            ops.push(GroupOp::group(pool.intern(rules), of_policy));
        }
        if ops.len() > MAX_GROUP_OPS { Err(CompileError::TooManyGroupOps { ops: ops.len() }) } else { Ok(ops) }
    }
}

/// No signal that devices show is in it.
fn is_by_mac(expression: &Expr, numbering: &Numbering) -> bool {
    match expression {
        Expr::Signal(signal) => numbering.number(*signal).is_none(),
        Expr::All(parts) | Expr::Any(parts) => parts.iter().all(|part| is_by_mac(part, numbering)),
        Expr::Not(part) => is_by_mac(part, numbering),
    }
}

fn rules_of(set: &Resolved, selector: DeviceSelector) -> Row {
    let mut row = [0; MAX_WORDS];
    for (index, _) in set.rules.iter().enumerate().filter(|(_, rule)| rule.direction.outbound() && rule.from.contains(&selector)) {
        set_bit(&mut row, index);
    }
    row
}

fn emit(rest: &Rest, numbering: &Numbering, ops: &mut Vec<GroupOp>) {
    match rest {
        Rest::Mac(bit) => ops.push(GroupOp::mac(*bit)),
        Rest::Signal(signal) => ops.push(GroupOp::signal(numbering.number(*signal).unwrap_or_default())),
        Rest::Not(part) => {
            emit(part, numbering, ops);
            ops.push(GroupOp::not());
        }
        Rest::All(parts) => emit_all(parts, GroupOp::all(), numbering, ops),
        Rest::Any(parts) => emit_all(parts, GroupOp::any(), numbering, ops),
    }
}

/// The part that needs the deepest stack goes first. So a stack of `n` bits takes `2ⁿ⁻¹` signals to need, and no program that fits is too deep.
fn emit_all(parts: &[Rest], join: GroupOp, numbering: &Numbering, ops: &mut Vec<GroupOp>) {
    let mut parts: Vec<&Rest> = parts.iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(depth(part)));
    for (place, part) in parts.into_iter().enumerate() {
        emit(part, numbering, ops);
        if place > 0 {
            ops.push(join);
        }
    }
}

/// Bits on the stack that it needs.
fn depth(rest: &Rest) -> usize {
    match rest {
        Rest::Mac(_) | Rest::Signal(_) => 1,
        Rest::Not(part) => depth(part),
        Rest::All(parts) | Rest::Any(parts) => {
            let mut depths: Vec<usize> = parts.iter().map(depth).collect();
            depths.sort_unstable_by(|a, b| b.cmp(a));
            depths.into_iter().enumerate().map(|(place, depth)| depth + usize::from(place > 0)).max().unwrap_or(1)
        }
    }
}
