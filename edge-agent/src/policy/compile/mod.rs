//! Rules to tables: each dimension of a packet (device, remote, service) is cut into classes that no rule tells apart, and each class gets
//! a row with a bit for every rule that it satisfies. A packet's rules are then the AND of three rows.

mod error;
pub mod identity;
mod inside;
pub mod name_table;
pub mod names;
mod partition;
mod rows;
mod timeline;
mod trie;

use std::collections::HashMap;

use jiff::Timestamp;

use edge_ebpf::{
    abi::{MAX_RULES, MAX_WORDS, NameRules, Row, Services, SignatureEntry, Verdict, max_classes, service},
    packet::protocol,
};

pub use self::{error::CompileError, timeline::Timeline, trie::Trie};
use self::{
    identity::{CompiledIdentity, Numbering, SignalSets},
    names::NameClasses,
    partition::Partition,
    rows::{RowPool, set_bit},
};
use super::model::{
    Action, DeviceSelector, Domains, Family, Learned, PolicyId, PolicyInfo, PortProtocol, Ranges, RateLimit, RemoteSelector, Resolved,
    Rule, ServiceMatch,
};

/// Everything that a generation's program is loaded with.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub policies: Vec<PolicyInfo>,
    /// By [`super::model::RuleId`].
    pub rules: Vec<CompiledRule>,
    /// Words of a row in use.
    pub words: usize,
    /// Rules that count and report, and leave the decision to the next one.
    pub monitored: Row,
    /// Rules that keep a packet from passing.
    pub restricting: Row,
    /// Whether any rule is about what comes in on outside interfaces.
    pub has_inbound: bool,
    /// Class of those rules.
    pub inbound: u32,
    /// Class of the rules of the management pinhole, which hold there too.
    pub pinhole: u32,
    /// `None`: every rule always holds.
    pub timeline: Option<Timeline>,
    pub mac: Trie,
    pub v4: Trie,
    pub v6: Trie,
    pub services: Box<Services>,
    /// Class of no rule.
    pub nothing: u32,
    /// Rules about names.
    pub named: Row,
    /// `None`: there are none.
    pub names: Option<CompiledNames>,
    /// Rules about signatures.
    pub signed: Row,
    pub signatures: Vec<SignatureEntry>,
    /// `None`: devices are known by their MACs alone.
    pub identity: Option<CompiledIdentity>,
    /// The rows of the classes, see [`edge_ebpf::abi::POOL`].
    pub pool: Vec<u64>,
}

/// The names that rules are about.
#[derive(Clone, Debug)]
pub struct CompiledNames {
    /// Each with its number.
    pub names: NameClasses,
    /// By number of the name.
    pub rules: Vec<NameRules>,
    /// Whether a rule is only counted where it matches by nothing but a learned address.
    pub has_learned_monitored: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledRule {
    pub policy: PolicyId,
    pub id: String,
    /// What its counter says it does: `drop`, or `would_drop` in a policy that only monitors.
    pub action: &'static str,
    pub verdict: Verdict,
    pub monitored: bool,
    pub report: bool,
    /// It matches by names or signatures, so that packets are looked into for it.
    pub looks_inside: bool,
    /// Its verdict is for packets within this rate; the others are dropped.
    pub limit: Option<RateLimit>,
    /// What its counter says of packets that match by a learned address alone, for a destination which is only monitored then.
    pub by_learned: Option<&'static str>,
}

impl Compiled {
    /// The first word of a row of the rules about names and signatures: a packet of whose device's row it has nothing is not looked into.
    pub fn watching(&self) -> u64 {
        let mut row = self.named;
        row.iter_mut().zip(&self.signed).for_each(|(word, signed)| *word |= signed);
        rows::first_word(&row, self.words)
    }

    /// What is counted: for each rule what it does; behind them for each rule with a rate what exceeds it; and for each rule that may match by a
    /// learned address alone, and is only monitored then, what it would do.
    pub fn counters(&self) -> impl Iterator<Item = (&CompiledRule, &'static str)> {
        let exceeded = self.rules.iter().filter(|rule| rule.limit.is_some()).map(|rule| (rule, "rate_limit_exceeded"));
        let learned = self.rules.iter().filter_map(|rule| Some((rule, rule.by_learned?)));
        self.rules.iter().map(|rule| (rule, rule.action)).chain(exceeded).chain(learned)
    }
}

/// Compiles a resolved set. Its schedules are laid out from `now` on.
///
/// # Errors
/// If it is larger than a generation's tables.
pub fn compile(set: &Resolved, now: Timestamp) -> Result<Compiled, CompileError> {
    if set.rules.len() > MAX_RULES {
        return Err(CompileError::TooManyRules { rules: set.rules.len() });
    }
    let rules: Vec<CompiledRule> = set
        .rules
        .iter()
        .map(|rule| {
            let (action, verdict) = label(rule.action, rule.monitored);
            let limit = match rule.action {
                Action::RateLimit(limit) if !rule.monitored => Some(limit),
                _ => None,
            };
            CompiledRule {
                policy: rule.policy,
                id: rule.id.clone(),
                action,
                verdict,
                monitored: rule.monitored,
                report: rule.report,
                looks_inside: looks_inside(set, rule),
                limit,
                by_learned: by_learned(set, rule),
            }
        })
        .collect();
    let row_of = |wanted: &dyn Fn(&CompiledRule) -> bool| {
        let mut row = [0; MAX_WORDS];
        for (index, _) in rules.iter().enumerate().filter(|(_, rule)| wanted(rule)) {
            set_bit(&mut row, index);
        }
        row
    };
    let monitored = row_of(&|rule| rule.monitored);
    let restricting = row_of(&|rule| !rule.monitored && rule.verdict != Verdict::Pass);
    let for_any_device = |wanted: &dyn Fn(&Rule) -> bool| {
        let mut row = [0; MAX_WORDS];
        for (index, _) in set.rules.iter().enumerate().filter(|(_, rule)| rule.from.contains(&DeviceSelector::All) && wanted(rule)) {
            set_bit(&mut row, index);
        }
        row
    };
    let built_in = |rule: &Rule| set.policies[rule.policy.index()].built_in;
    let inbound = for_any_device(&|rule| rule.direction.inbound() && !built_in(rule));
    let pinhole = for_any_device(&built_in);
    let words = rules.len().div_ceil(64).max(1);
    let mut pool = RowPool::new(words);
    let (inbound_class, pinhole) = (pool.intern(inbound), pool.intern(pinhole));
    let service_classes = services(set, &mut pool);
    let numbering = Numbering::of(set)?;
    let mut signal_sets = SignalSets::new();
    let (device_classes, known) = match &numbering {
        None => (devices(set, &mut pool), None),
        Some(numbering) => identity::devices(set, numbering, &mut pool).map(|(classes, known)| (classes, Some(known)))?,
    };
    let (v4_classes, v6_classes) = remotes(set, &mut pool);
    let nothing = pool.intern([0; MAX_WORDS]);
    let about_names = |rule: &Rule| {
        rule.to.iter().any(|selector| matches!(selector, RemoteSelector::Destination(id) if set.destinations[id.index()].domains.sets.iter().any(|set| !set.is_empty())))
    };
    let about_signatures = |rule: &Rule| rule.services.iter().any(|service| matches!(service, ServiceMatch::Signature(_)));
    let row_of_model = |wanted: &dyn Fn(&Rule) -> bool| {
        let mut row = [0; MAX_WORDS];
        for (index, _) in set.rules.iter().enumerate().filter(|(_, rule)| wanted(rule)) {
            set_bit(&mut row, index);
        }
        row
    };
    let named = row_of_model(&about_names);
    let names = inside::names(set, numbering.as_ref().map(|numbering| (numbering, &mut signal_sets)), &mut pool)?;
    let signed = row_of_model(&about_signatures);
    let signatures = inside::signatures(set, numbering.as_ref().map(|numbering| (numbering, &mut signal_sets)), &mut pool)?;
    let timeline = Timeline::of(set, now, &mut pool).map_err(|combinations| CompileError::TooManySchedules { combinations })?;
    let identity = match (numbering, known) {
        (Some(numbering), Some(known)) => Some(identity::identity(set, numbering, signal_sets, known, &mut pool)?),
        _ => None,
    };
    if pool.len() > max_classes(words) {
        return Err(CompileError::TooManyClasses { classes: pool.len(), limit: max_classes(words) });
    }
    let (Some(mac), Some(v4), Some(v6)) =
        (Trie::build(device_classes, 48, true), Trie::build(v4_classes, 32, false), Trie::build(v6_classes, 128, true))
    else {
        return Err(CompileError::TooDense);
    };
    Ok(Compiled {
        policies: set.policies.clone(),
        words,
        rules,
        monitored,
        restricting,
        has_inbound: inbound.iter().any(|word| *word != 0),
        inbound: inbound_class,
        pinhole,
        timeline,
        mac,
        v4,
        v6,
        services: service_table(service_classes),
        nothing,
        named,
        names,
        signed,
        signatures,
        identity,
        pool: pool.into_pool(),
    })
}

fn looks_inside(set: &Resolved, rule: &Rule) -> bool {
    let named = |selector: &RemoteSelector| match selector {
        RemoteSelector::Any => false,
        RemoteSelector::Destination(destination) => set.destinations[destination.index()].domains.sets.iter().any(|set| !set.is_empty()),
    };
    rule.to.iter().any(named) || rule.services.iter().any(|service| matches!(service, ServiceMatch::Signature(_)))
}

/// What a rule's counter says of packets for which it is only monitored, while it decides about others: those that only go to an address that
/// an answer gave for a name of a destination with `learned: monitor`.
fn by_learned(set: &Resolved, rule: &Rule) -> Option<&'static str> {
    let is_so = |selector: &RemoteSelector| match selector {
        RemoteSelector::Any => false,
        RemoteSelector::Destination(id) => {
            let Domains { sets, learned } = &set.destinations[id.index()].domains;
            !sets.is_empty() && *learned == Learned::Monitor
        }
    };
    (!rule.monitored && rule.to.iter().any(is_so)).then(|| label(rule.action, true).0)
}

/// The counter's label and the verdict of a rule that decides (or, monitored, would).
fn label(action: Action, monitored: bool) -> (&'static str, Verdict) {
    match (action, monitored) {
        (Action::Monitor, _) => (action.name(), Verdict::Pass),
        (Action::Pass | Action::RateLimit(_), false) => (action.name(), Verdict::Pass),
        (Action::RateLimit(_), true) => ("would_rate_limit", Verdict::Pass),
        (Action::Drop, false) => (action.name(), Verdict::Drop),
        (Action::Reject, false) => (action.name(), Verdict::Reject),
        (Action::Pass, true) => ("would_pass", Verdict::Pass),
        (Action::Drop, true) => ("would_drop", Verdict::Drop),
        (Action::Reject, true) => ("would_reject", Verdict::Reject),
    }
}

/// From each of these numbers up to the next one, a class.
type Segments<T> = Vec<(T, u32)>;

/// Classes of devices by their MACs.
fn devices(set: &Resolved, pool: &mut RowPool) -> Segments<u64> {
    let partition = of_macs(set);
    let row_of_class: Vec<u32> = partition
        .classes()
        .map(|members| {
            let holds: Vec<bool> = set.groups.iter().map(|group| group.when.holds(&|signal| members.contains(signal.index()))).collect();
            pool.intern(device_row(set, &holds))
        })
        .collect();
    partition.segments(&row_of_class)
}

/// By signal which MACs have it; none has one that devices show otherwise.
fn of_macs(set: &Resolved) -> Partition<u64> {
    let none = Ranges::default();
    Partition::of(set.signals.iter().map(|signal| signal.macs().unwrap_or(&none)))
}

/// The rules whose `from` holds for a device that is in exactly the groups that `holds` says.
fn device_row(set: &Resolved, holds: &[bool]) -> Row {
    let known = set.groups.iter().zip(holds).any(|(group, holds)| *holds && !set.policies[group.policy.index()].built_in);
    let mut row = [0; MAX_WORDS];
    for (index, rule) in set.rules.iter().enumerate() {
        let matches = rule.direction.outbound()
            && rule.from.iter().any(|selector| match selector {
                DeviceSelector::All => true,
                DeviceSelector::Unknown => !known,
                DeviceSelector::Group(group) => holds[group.index()],
            });
        if matches {
            set_bit(&mut row, index);
        }
    }
    row
}

/// The same for remotes' IPv4 and IPv6 addresses.
fn remotes(set: &Resolved, pool: &mut RowPool) -> (Segments<u32>, Segments<u128>) {
    // Many destinations share a country: each distinct set takes part in the partition once.
    let mut place_of_set = HashMap::new();
    let mut sets = Vec::new();
    let mut rows_of_sets: Vec<Row> = Vec::new();
    let mut any = [0; MAX_WORDS];
    for (index, rule) in set.rules.iter().enumerate() {
        for selector in &rule.to {
            match selector {
                RemoteSelector::Any => set_bit(&mut any, index),
                RemoteSelector::Destination(destination) => {
                    for addresses in &set.destinations[destination.index()].sets {
                        let place = *place_of_set.entry(std::sync::Arc::as_ptr(addresses)).or_insert_with(|| {
                            sets.push(addresses.as_ref());
                            rows_of_sets.push([0; MAX_WORDS]);
                            sets.len() - 1
                        });
                        set_bit(&mut rows_of_sets[place], index);
                    }
                }
            }
        }
    }
    let mut row_of = |members: &partition::Members| pool.intern(rows::union(any, members.iter().map(|place| &rows_of_sets[place])));
    let partition = Partition::of(sets.iter().map(|set| &set.v4));
    let row_of_class: Vec<u32> = partition.classes().map(&mut row_of).collect();
    let v4 = partition.segments(&row_of_class);
    let partition = Partition::of(sets.iter().map(|set| &set.v6));
    let row_of_class: Vec<u32> = partition.classes().map(&mut row_of).collect();
    let v6 = partition.segments(&row_of_class);
    (v4, v6)
}

/// The same for places of the service table.
fn services(set: &Resolved, pool: &mut RowPool) -> Segments<u32> {
    let mut place_of_match = HashMap::new();
    let mut ranges = Vec::new();
    let mut rows_of_matches: Vec<Row> = Vec::new();
    let mut any = [0; MAX_WORDS];
    for (index, rule) in set.rules.iter().enumerate() {
        for &wanted in &rule.services {
            match wanted {
                ServiceMatch::Any => {
                    set_bit(&mut any, index);
                    continue;
                }
                // No header shows it.
                ServiceMatch::Signature(_) => continue,
                _ => {}
            }
            let place = *place_of_match.entry(wanted).or_insert_with(|| {
                ranges.push(service_slots(wanted));
                rows_of_matches.push([0; MAX_WORDS]);
                ranges.len() - 1
            });
            set_bit(&mut rows_of_matches[place], index);
        }
    }
    let partition = Partition::of(ranges.iter());
    let row_of_class: Vec<u32> =
        partition.classes().map(|members| pool.intern(rows::union(any, members.iter().map(|place| &rows_of_matches[place])))).collect();
    partition.segments(&row_of_class)
}

/// The segments place by place.
fn service_table(segments: Segments<u32>) -> Box<Services> {
    let mut services: Box<Services> = vec![0; service::SLOTS].into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("sized above"));
    let mut segments = segments.into_iter().peekable();
    while let Some((start, class)) = segments.next() {
        let end = segments.peek().map_or(service::SLOTS, |(next, _)| (*next as usize).min(service::SLOTS));
        if let Some(slots) = services.get_mut(start as usize..end) {
            // There are fewer classes than that, or the set was refused.
            slots.fill(class as u16);
        }
    }
    services
}

/// Places of the service table that a match covers.
pub(super) fn service_slots(wanted: ServiceMatch) -> Ranges<u32> {
    let span = |first: usize, last: usize| (first as u32, last as u32);
    let other = |number: u8| span(service::PROTOCOL + usize::from(number), service::PROTOCOL + usize::from(number));
    Ranges::new(match wanted {
        ServiceMatch::Any => vec![span(0, service::SLOTS - 1)],
        ServiceMatch::Protocol(protocol::TCP) => vec![span(service::TCP, service::UDP - 1)],
        ServiceMatch::Protocol(protocol::UDP) => vec![span(service::UDP, service::ICMP - 1)],
        // In the other family's packets they are protocols like any other.
        ServiceMatch::Protocol(protocol::ICMP) => vec![span(service::ICMP, service::ICMPV6 - 1), other(protocol::ICMP)],
        ServiceMatch::Protocol(protocol::ICMPV6) => vec![span(service::ICMPV6, service::PROTOCOL - 1), other(protocol::ICMPV6)],
        ServiceMatch::Protocol(number) => vec![other(number)],
        ServiceMatch::Ports { protocol, first, last } => {
            let base = match protocol {
                PortProtocol::Tcp => service::TCP,
                PortProtocol::Udp => service::UDP,
            };
            vec![span(base + usize::from(first), base + usize::from(last))]
        }
        ServiceMatch::Signature(_) => Vec::new(),
        ServiceMatch::Icmp { family, kind } => {
            let base = match family {
                Family::V4 => service::ICMP,
                Family::V6 => service::ICMPV6,
            };
            vec![span(base + usize::from(kind), base + usize::from(kind))]
        }
    })
}
