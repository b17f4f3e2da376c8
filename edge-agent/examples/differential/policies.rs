//! Random policy sets in the model's own words. Sets of addresses and MACs are drawn from few numbers, so that they meet, nest and end
//! where others begin: that is where tables go wrong.

use std::sync::Arc;

use edge_agent::config::Conduct;
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Expr, Family, Group, GroupId, Mode, PolicyId, PolicyInfo,
    PortProtocol, Ranges, RateLimit, RateUnit, RemoteSelector, Resolved, Rule, Schedule, ScheduleId, ServiceMatch, Signal, SignalId,
    SignatureId,
};
use edge_agent::policy::name_set::NameSet;
use edge_ebpf::abi::{DnsReject, MAX_RULES, OnUninspectable, Reason};
use fastrand::Rng;
use jiff::tz::TimeZone;

use super::{identity, names};

/// A policy set, and what is configured beside it.
#[derive(Clone, Debug)]
pub struct Case {
    pub policies: Resolved,
    pub conduct: Conduct,
}

pub fn random(rng: &mut Rng, with_names: bool, with_identity: bool) -> Case {
    let timed = rng.u8(..4) == 0;
    let pinhole = rng.u8(..3) == 0;
    let policies: Vec<PolicyInfo> = (0..rng.u32(1..4))
        .map(|index| {
            // The agent's own policy comes first, always holds and only lets through.
            let built_in = pinhole && index == 0;
            PolicyInfo {
                name: format!("policy-{index}"),
                title: String::new(),
                severity: "low".into(),
                mode: if !built_in && rng.u8(..4) == 0 { Mode::Monitor } else { Mode::Enforce },
                priority: index,
                // Some time in the days that the frames are spread over.
                expires: (!built_in && timed && rng.u8(..3) == 0).then(|| START + rng.i64(0..3 * DAY)),
                built_in,
            }
        })
        .collect();
    let policy = |rng: &mut Rng| PolicyId(rng.u32(..policies.len() as u32));
    let sets: Vec<Arc<AddressSet>> = (0..rng.usize(1..8)).map(|_| Arc::new(addresses(rng))).collect();
    let named = rng.u8(..4) > 0 && with_names;
    let name_sets = if named { names::sets(rng) } else { Vec::new() };
    let signatures = if named { names::signatures(rng) } else { Vec::new() };
    let mut signals: Vec<Signal> = (0..rng.usize(1..6)).map(|_| Signal::Mac(Arc::new(macs(rng)))).collect();
    let shown = with_identity && rng.u8(..4) > 0;
    let macs_alone = signals.len();
    if shown {
        let asked: Vec<Arc<NameSet>> = name_sets.iter().filter(|set| !set.is_empty()).cloned().collect();
        signals.extend((0..rng.usize(1..8)).map(|_| identity::signal(rng, &asked, signatures.len())));
    }
    let leaf = |rng: &mut Rng| {
        // Where devices show something, mostly that.
        let first = if shown && rng.u8(..4) > 0 { macs_alone } else { 0 };
        SignalId(rng.u32(first as u32..signals.len() as u32))
    };
    let groups: Vec<Group> = (0..rng.usize(if shown { 2..8 } else { 0..6 }))
        .map(|index| Group {
            policy: policy(rng),
            name: format!("group-{index}"),
            when: if shown && rng.bool() { Expr::Signal(leaf(rng)) } else { expression(rng, &leaf, 0) },
        })
        .collect();
    // A policy has no signal without a group.
    for (id, signal) in (0..).map(SignalId).zip(&mut signals) {
        if !groups.iter().any(|group| mentions(&group.when, id)) {
            *signal = Signal::Mac(Arc::new(macs(rng)));
        }
    }
    let destinations: Vec<Destination> = (0..if named { rng.usize(2..6) } else { rng.usize(0..6) })
        .map(|index| Destination {
            policy: policy(rng),
            name: format!("destination-{index}"),
            sets: (0..rng.usize(1..4)).map(|_| Arc::clone(&sets[rng.usize(..sets.len())])).collect(),
            domains: names::domains(rng, &name_sets),
        })
        .collect();
    let schedules: Vec<Schedule> = if timed { (0..rng.usize(..4)).map(|_| schedule(rng)).collect() } else { Vec::new() };
    // Mostly few rules; sometimes around the borders of a word, sometimes as many as there can be.
    let count = match rng.u8(..16) {
        0 => rng.usize(60..70),
        1 => rng.usize(120..200),
        2 => MAX_RULES - rng.usize(..2),
        _ => rng.usize(..10),
    };
    // With many rules, one in many may decide: else the first words would always do so.
    let deciding = if count > 32 { rng.usize(1..count) } else { 1 };
    let mut order: Vec<PolicyId> = (0..count).map(|_| policy(rng)).collect();
    order.sort();
    let rules = order
        .into_iter()
        .enumerate()
        .map(|(index, id)| {
            let built_in = policies[id.index()].built_in;
            let action = if built_in {
                Action::Pass
            } else if rng.usize(..deciding) == 0 {
                [Action::Pass, Action::Drop, Action::Reject, Action::Monitor, rate_limit(rng)][rng.usize(..5)]
            } else {
                Action::Monitor
            };
            // Some are about nothing but what devices show.
            let of_devices = shown && rng.bool();
            Rule {
                policy: id,
                id: format!("rule-{index}"),
                // Where names are, most devices should have rules about them.
                from: (0..rng.usize(1..3))
                    .map(|_| if named && !of_devices && rng.bool() { DeviceSelector::All } else { device(rng, groups.len()) })
                    .collect(),
                to: (0..rng.usize(1..3))
                    .map(|_| {
                        if of_devices {
                            RemoteSelector::Any
                        } else if built_in {
                            plain(rng, &destinations)
                        } else {
                            remote(rng, destinations.len())
                        }
                    })
                    .collect(),
                services: (0..rng.usize(1..4))
                    .map(|_| if of_devices { ServiceMatch::Any } else { service(rng, if built_in { 0 } else { signatures.len() }) })
                    .collect(),
                direction: if built_in {
                    Direction::Outbound
                } else {
                    [Direction::Outbound, Direction::Outbound, Direction::Inbound, Direction::Both][rng.usize(..4)]
                },
                when: (!built_in && timed && !schedules.is_empty() && rng.u8(..4) == 0)
                    .then(|| ScheduleId(rng.u32(..schedules.len() as u32))),
                action,
                monitored: action == Action::Monitor || policies[id.index()].mode == Mode::Monitor,
                report: rng.bool(),
            }
        })
        .collect();
    let verdicts = [OnUninspectable::Pass, OnUninspectable::Drop, OnUninspectable::DropIfRuleCouldMatch, OnUninspectable::Inspect];
    let conduct = Conduct {
        on_uninspectable: Reason::ALL.map(|reason| match (verdicts[[0, 1, 2, 2, 3][rng.usize(..5)]], reason) {
            (OnUninspectable::Inspect, Reason::Quic) => OnUninspectable::Inspect,
            (OnUninspectable::Inspect, _) => OnUninspectable::DropIfRuleCouldMatch,
            (other, _) => other,
        }),
        dns_reject: [DnsReject::NxDomain, DnsReject::Refused, DnsReject::NullAddress][rng.usize(..3)],
        learned: names::time_to_live(rng),
        observes: rng.bool(),
    };
    Case { policies: Resolved { policies, signals, groups, destinations, schedules, signatures, rules }, conduct }
}

/// Noon (UTC) of the Saturday before the end of summer time in Europe in 2014.
pub const START: i64 = 1_414_238_400;
/// Seconds.
pub const DAY: i64 = 86_400;

fn schedule(rng: &mut Rng) -> Schedule {
    let zone = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"][rng.usize(..5)];
    Schedule {
        days: std::array::from_fn(|_| rng.u8(..3) > 0),
        from: [0, 60, 120, 150, 480, 1439][rng.usize(..6)],
        to: [0, 1, 150, 180, 1050, 1440][rng.usize(..6)],
        timezone: TimeZone::get(zone).expect("a zone of the bundled database"),
    }
}

/// Rates that divide a second: the arithmetic of the engines is then the same to the nanosecond.
fn rate_limit(rng: &mut Rng) -> Action {
    let unit = if rng.bool() { RateUnit::Packets } else { RateUnit::Bytes };
    let burst = match unit {
        RateUnit::Packets => rng.u64(1..20),
        RateUnit::Bytes => rng.u64(1..4000),
    };
    Action::RateLimit(RateLimit { unit, per_second: [1, 2, 5, 100][rng.usize(..4)], burst })
}

fn expression(rng: &mut Rng, leaf: &impl Fn(&mut Rng) -> SignalId, depth: u32) -> Expr {
    let parts = |rng: &mut Rng| (0..rng.usize(..3)).map(|_| expression(rng, leaf, depth + 1)).collect();
    match rng.u8(..if depth < 3 { 6 } else { 3 }) {
        3 => Expr::All(parts(rng)),
        4 => Expr::Any(parts(rng)),
        5 => Expr::Not(Box::new(expression(rng, leaf, depth + 1))),
        _ => Expr::Signal(leaf(rng)),
    }
}

fn mentions(expression: &Expr, signal: SignalId) -> bool {
    match expression {
        Expr::Signal(own) => *own == signal,
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(|part| mentions(part, signal)),
        Expr::Not(part) => mentions(part, signal),
    }
}

fn device(rng: &mut Rng, groups: usize) -> DeviceSelector {
    match rng.u8(..5) {
        0 => DeviceSelector::All,
        1 => DeviceSelector::Unknown,
        _ if groups > 0 => DeviceSelector::Group(GroupId(rng.u32(..groups as u32))),
        _ => DeviceSelector::All,
    }
}

fn remote(rng: &mut Rng, destinations: usize) -> RemoteSelector {
    if destinations == 0 || rng.u8(..4) == 0 {
        RemoteSelector::Any
    } else {
        RemoteSelector::Destination(DestinationId(rng.u32(..destinations as u32)))
    }
}

/// What is always allowed names no domains.
fn plain(rng: &mut Rng, destinations: &[Destination]) -> RemoteSelector {
    match remote(rng, destinations.len()) {
        RemoteSelector::Destination(destination) if !destinations[destination.index()].domains.sets.is_empty() => RemoteSelector::Any,
        other => other,
    }
}

/// Ports that packets go to, and neighbours of theirs.
pub const PORTS: [u16; 8] = [0, 1, 53, 442, 443, 444, 8080, 65535];
/// Protocol numbers that packets have: those with a reading of their own, extension headers, and others.
pub const PROTOCOLS: [u8; 12] = [0, 1, 4, 6, 17, 43, 44, 47, 51, 58, 60, 255];

fn service(rng: &mut Rng, signatures: usize) -> ServiceMatch {
    if signatures > 0 && rng.u8(..4) == 0 {
        return ServiceMatch::Signature(SignatureId(rng.u32(..signatures as u32)));
    }
    match rng.u8(..6) {
        0 => ServiceMatch::Any,
        1 => ServiceMatch::Protocol(PROTOCOLS[rng.usize(..PROTOCOLS.len())]),
        2 => ServiceMatch::Icmp { family: if rng.bool() { Family::V4 } else { Family::V6 }, kind: [0, 8, 128, 135][rng.usize(..4)] },
        _ => {
            let (a, b) = (PORTS[rng.usize(..PORTS.len())], PORTS[rng.usize(..PORTS.len())]);
            let (first, last) = if rng.bool() { (a, a) } else { (a.min(b), a.max(b)) };
            ServiceMatch::Ports { protocol: if rng.bool() { PortProtocol::Tcp } else { PortProtocol::Udp }, first, last }
        }
    }
}

/// Prefixes of few numbers.
fn macs(rng: &mut Rng) -> Ranges<u64> {
    Ranges::new(
        (0..rng.usize(1..5))
            .map(|_| {
                let mac = mac(rng);
                let below = (1u64 << (48 - [1, 8, 16, 24, 28, 36, 44, 47, 48][rng.usize(..9)])) - 1;
                (mac & !below, mac | below)
            })
            .collect(),
    )
}

/// A MAC out of few, which differ early, late and in the middle.
pub fn mac(rng: &mut Rng) -> u64 {
    let start = [0x6409_8000_0000, 0x6409_8100_0000, 0x0025_9000_0000, 0xfe00_0000_0000][rng.usize(..4)];
    start | [0, 1, 2, 0xff, 0x100, 0xf000, 0xff_ffff, 0x12_3456][rng.usize(..8)]
}

fn addresses(rng: &mut Rng) -> AddressSet {
    let v4 = (0..rng.usize(..6)).map(|_| range(u128::from(v4(rng)), [0, 1, 8, 12, 16, 17, 23, 24, 25, 30, 31, 32][rng.usize(..12)], 32));
    let v4 = Ranges::new(v4.map(|(first, last)| (first as u32, last as u32)).collect());
    let v6 = (0..rng.usize(..6)).map(|_| range(v6(rng), [0, 3, 16, 20, 32, 44, 47, 48, 56, 64, 65, 96, 127, 128][rng.usize(..14)], 128));
    AddressSet { v4, v6: Ranges::new(v6.collect()) }
}

/// The prefix of `length` bits that holds `number`.
fn range(number: u128, length: u32, bits: u32) -> (u128, u128) {
    let space = u128::MAX >> (128 - bits);
    let below = space.unbounded_shr(length);
    (number & !below, number | below)
}

pub fn v4(rng: &mut Rng) -> u32 {
    let start = [0x2a3e_3000, 0x2a3e_31ff, 0x0a00_0000, 0xc0a8_0100, 0xffff_ffff, 0][rng.usize(..6)];
    u32::wrapping_add(start, [0, 1, 7, 0xff, 0x100, 0xffff, 0x1_0000, u32::MAX][rng.usize(..8)])
}

pub fn v6(rng: &mut Rng) -> u128 {
    let start: u128 = [0x2001_0db8 << 96, 0x2408_0000 << 96, 0x2408_8000 << 96, 1, u128::MAX, 0xfe80 << 112][rng.usize(..6)];
    start.wrapping_add([0, 1, 0xff, 0x42 << 80, 0x43 << 80, 1 << 64, 1 << 16, u128::MAX][rng.usize(..8)])
}
