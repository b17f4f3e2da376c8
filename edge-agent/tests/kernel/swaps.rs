//! Generations that replace one another under traffic: each frame is decided by exactly one of them, and none is lost.
//!
//! `./x swaps` runs it longer, and with the largest set there is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_agent::config::SourceFiles;
use edge_agent::config::TableSizes;
use edge_agent::dataplane::snapshot::{Role, Snapshot};
use edge_agent::dataplane::{Dataplane, Settings, WantedInterface, WantedMode};
use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Direction, Domains, Mode, PolicyId, PolicyInfo, Ranges, RemoteSelector,
    Resolved, Rule, ServiceMatch,
};
use edge_agent::sources::Sources;
use edge_ebpf::abi::{MAX_RULES, OnUninspectable, Reason, Verdict};
use edge_ebpf::packet::{Mac, protocol};

use crate::namespace::{Namespace, privileged};
use crate::sender::Sender;

/// Swaps that `./x swaps` asks for.
const COUNT: &str = "EDGE_SWAPS";
/// Seconds after which it ends with those made till then.
const SECONDS: &str = "EDGE_SWAPS_SECONDS";
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

#[test]
fn every_frame_is_decided_by_one_generation_while_policies_swap() {
    if !privileged("every_frame_is_decided_by_one_generation") {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|number| number.parse::<u64>().expect("a number in the environment"));
    let Some(swaps) = number(COUNT) else {
        println!("{}", Run::new(synthetic(5)).swap(20, None));
        return;
    };
    let limit = number(SECONDS).map(Duration::from_secs);
    println!("200 destinations: {}", Run::new(synthetic(100)).swap(swaps as usize, limit));
    match largest() {
        Some(sets) => println!("every country: {}", Run::new(sets).swap(swaps as usize, limit)),
        None => println!("every country: left out; install Debian's package tor-geoipdb"),
    }
}

/// 200 destinations of so many prefixes of each family.
fn synthetic(prefixes: u32) -> Vec<Arc<AddressSet>> {
    let of = |number: u32| {
        let v4 = (0..prefixes).map(|place| (1 << 24) + ((place * 200 + number) << 8)).map(|first| (first, first | 0xff));
        let v6 = (0..u128::from(prefixes))
            .map(|place| (0x2000 << 112) | ((place * 200 + u128::from(number)) << 80))
            .map(|first| (first, first | 0xffff));
        Arc::new(AddressSet { v4: Ranges::new(v4.collect()), v6: Ranges::new(v6.collect()) })
    };
    (0..200).map(of).collect()
}

/// Every country of the data; `None` without data.
fn largest() -> Option<Vec<Arc<AddressSet>>> {
    let mut sources = Sources::new(SourceFiles::default());
    let countries = sources.countries().ok()?;
    let codes = (b'A'..=b'Z').flat_map(|first| (b'A'..=b'Z').map(move |second| String::from_utf8_lossy(&[first, second]).into_owned()));
    Some(codes.filter_map(|code| countries.addresses(&code)).collect())
}

/// As many rules as a set holds: each destination by one protocol after the other, UDP first.
fn rules(name: &str, action: Action, sets: &[Arc<AddressSet>]) -> Resolved {
    let policy = PolicyInfo {
        name: name.to_owned(),
        title: String::new(),
        severity: "low".to_owned(),
        mode: Mode::Enforce,
        priority: 100,
        expires: None,
        built_in: false,
    };
    let destination = |(number, set): (usize, &Arc<AddressSet>)| Destination {
        policy: PolicyId(0),
        name: format!("to-{number}"),
        sets: vec![Arc::clone(set)],
        domains: Domains::default(),
    };
    let rule = |number: usize| Rule {
        policy: PolicyId(0),
        id: format!("rule-{number}"),
        from: vec![DeviceSelector::All],
        to: vec![RemoteSelector::Destination(DestinationId((number % sets.len()) as u32))],
        services: vec![ServiceMatch::Protocol(protocol::UDP + (number / sets.len()) as u8)],
        direction: Direction::Outbound,
        when: None,
        action,
        monitored: false,
        report: action == Action::Drop,
    };
    Resolved {
        policies: vec![policy],
        destinations: sets.iter().enumerate().map(destination).collect(),
        rules: (0..MAX_RULES).map(rule).collect(),
        ..Resolved::default()
    }
}

/// A UDP frame to a place in each destination, of each family that it has.
fn frames(sets: &[Arc<AddressSet>]) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut destinations: Vec<IpAddr> = Vec::new();
    for set in sets {
        let mut pick = |len: usize| (len > 0).then(|| rng.usize(..len));
        destinations.extend(pick(set.v4.len()).and_then(|place| set.v4.iter().nth(place)).map(|range| IpAddr::V4(Ipv4Addr::from(range.1))));
        destinations.extend(pick(set.v6.len()).and_then(|place| set.v6.iter().nth(place)).map(|range| IpAddr::V6(Ipv6Addr::from(range.0))));
    }
    destinations.into_iter().map(|destination| frame(Ends::to(destination))).collect()
}

fn frame(ends: Ends) -> Vec<u8> {
    let mut frame = FrameSpec {
        device: Mac(0x0200_5e00_5301),
        tags: Vec::new(),
        ends,
        options: Vec::new(),
        extensions: Vec::new(),
        fragment: None,
        transport: Transport::udp(4242),
        payload: vec![0; 32],
    }
    .build();
    // To everyone, or the stack would not look at what is passed.
    frame[..6].fill(0xff);
    frame
}

/// Two compiled sets that decide the same packets, one against and one for them.
struct Run {
    namespace: Namespace,
    compiled: [Compiled; 2],
    compile: Duration,
    frames: Vec<Vec<u8>>,
    prefixes: usize,
}

impl Run {
    fn new(sets: Vec<Arc<AddressSet>>) -> Self {
        let namespace = Namespace::enter();
        // Frames that nobody asked for would count.
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("this namespace's setting");
        namespace.veth("lan", "device");
        let resolved = [("dropped", Action::Drop), ("marked", Action::Pass)].map(|(name, action)| rules(name, action, &sets));
        let start = Instant::now();
        let compiled = resolved.map(|resolved| compile(&resolved, jiff::Timestamp::UNIX_EPOCH).expect("the set compiles"));
        let compile = start.elapsed() / 2;
        let (frames, prefixes) = (frames(&sets), sets.iter().map(|set| set.v4.len() + set.v6.len()).sum());
        Self { namespace, compiled, compile, frames, prefixes }
    }

    fn swap(&self, count: usize, limit: Option<Duration>) -> String {
        let Self { namespace, compiled, compile, frames, prefixes } = self;
        let wanted = WantedInterface { name: "lan".to_owned(), role: Role::Inside, mode: WantedMode::Native };
        let settings = Settings {
            pins: namespace.pins().root().to_owned(),
            interfaces: vec![wanted],
            conduct: [OnUninspectable::Drop; Reason::ALL.len()].into(),
            tables: TableSizes::default(),
            report_limit: 100,
        };
        let interfaces = namespace.interfaces();
        let mut dataplane = Dataplane::open(settings.clone()).expect("opens");
        dataplane.swap(&compiled[0], &settings, &interfaces).expect("attaches");
        let stack = received_by_the_stack();
        let sender = Sender::start("device", frames.clone());
        let start = Instant::now();
        let mut times = Vec::with_capacity(count);
        let mut told = start;
        while times.len() < count && limit.is_none_or(|limit| start.elapsed() < limit) {
            let before = Instant::now();
            dataplane.swap(&compiled[(times.len() + 1) % 2], &settings, &interfaces).expect("swaps");
            times.push(before.elapsed());
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                eprintln!("{} of {count} swaps, {:.0} s", times.len(), start.elapsed().as_secs_f64());
            }
        }
        let elapsed = start.elapsed();
        let sent = sender.end();
        let counted = Counted::of(&settled(&dataplane, sent));
        assert_eq!(counted.passed + counted.dropped, sent, "each frame is passed or dropped, and none is lost: {counted:?}");
        assert_eq!((counted.by_rules_that_drop, counted.by_rules_that_pass), (counted.dropped, counted.passed), "one rule decided each");
        assert_eq!(received_by_the_stack() - stack, counted.passed, "what is passed arrives");
        assert!(counted.dropped > 0 && counted.passed > 0, "both sets had traffic: {counted:?}");
        assert!(counted.rules_met > 2 * frames.len() / 3, "all over the set: {counted:?}");
        times.sort_unstable();
        let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
        format!(
            "{prefixes} ranges, {MAX_RULES} rules: compiled in {:.0} ms; {} of {count} swaps in {:.1} s, median {:.1} ms, longest {:.1} ms; \
             {sent} frames sent, {} dropped, {} passed, 0 lost",
            milliseconds(compile),
            times.len(),
            elapsed.as_secs_f64(),
            times.get(times.len() / 2).map_or(0.0, milliseconds),
            times.last().map_or(0.0, milliseconds),
            counted.dropped,
            counted.passed,
        )
    }
}

/// The kernel's counters, once the frames that are still under way have arrived.
fn settled(dataplane: &Dataplane, sent: u64) -> Snapshot {
    let start = Instant::now();
    loop {
        let snapshot = dataplane.snapshot().expect("the maps are read");
        let counted: u64 = snapshot.interfaces[0].verdicts.iter().map(|counter| counter.packets).sum();
        if counted >= sent || start.elapsed() > Duration::from_secs(2) {
            return snapshot;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[derive(Debug)]
struct Counted {
    passed: u64,
    dropped: u64,
    by_rules_that_drop: u64,
    by_rules_that_pass: u64,
    rules_met: usize,
}

impl Counted {
    fn of(snapshot: &Snapshot) -> Self {
        let verdicts = &snapshot.interfaces[0].verdicts;
        let by = |policy: &str| snapshot.rules.iter().filter(|rule| rule.policy == policy).map(|rule| rule.counter.packets).sum();
        Self {
            passed: verdicts[Verdict::Pass as usize].packets,
            dropped: verdicts[Verdict::Drop as usize].packets,
            by_rules_that_drop: by("dropped"),
            by_rules_that_pass: by("marked"),
            rules_met: snapshot.rules.iter().filter(|rule| rule.counter.packets > 0).count(),
        }
    }
}

/// IP packets of both families that this namespace's stack has seen.
fn received_by_the_stack() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("counters of IP");
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let place = names.split(' ').position(|name| name == "InReceives").expect("IP counts what it receives");
    let v4: u64 = values.split(' ').nth(place).and_then(|value| value.parse().ok()).expect("a number");
    let snmp6 = std::fs::read_to_string("/proc/thread-self/net/snmp6").expect("counters of IPv6");
    let v6: u64 = snmp6.lines().find_map(|line| line.strip_prefix("Ip6InReceives")?.trim().parse().ok()).expect("a number");
    v4 + v6
}
