//! The scenarios run by BPF_PROG_TEST_RUN, each with its frame, its floor and its goal. One table; all else is how.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::Result;
use edge_ebpf::abi::Verdict;
use serde_json::json;
use xtask::lab::Namespace;

use crate::expected::{DROP, PASS};
use crate::goal::{Goal, Values};
use crate::identity::Told;
use crate::measure::{Effort, Samples, Subject, measure};
use crate::names::{Asked, Carrier, Plain, Rotation};
use crate::report::{Row, rounded};
use crate::sets::{self, BANNED, ELSEWHERE};
use crate::workshop::Workshop;
use crate::{Rows, peers};

/// What is measured together, in turn with its floors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// The same frame again and again: all that it needs is in the nearest caches.
    Fixed,
    /// A frame that a generator varies before it jumps into the program: tables as large as their data, caches as they come.
    Varied,
}

pub struct Scenario {
    pub name: &'static str,
    group: Group,
    /// The scenario whose cost is subtracted.
    floor: &'static str,
    goal: Goal,
    /// What is run on what.
    about: &'static str,
    make: fn(&Workshop, &'static str) -> Result<Subject>,
}

const EMPTY: &str = "empty";
const EMPTY_V4: &str = "empty_random_v4";
const EMPTY_V6: &str = "empty_random_v6";
const EMPTY_MAC: &str = "empty_random_device";
const EMPTY_TC: &str = "empty_tc";
const EMPTY_NAMES: &str = "empty_names";
const EMPTY_NAMES_ALL: &str = "empty_names_all";
const EMPTY_ANSWERS: &str = "empty_answers";
const EMPTY_ANSWERS_ALL: &str = "empty_answers_all";
const DNY_ALL_DROPPED: &str = "xdp_filter_dny_all_dropped";
const DNY_ALL_PASSED: &str = "xdp_filter_dny_all_passed";

#[rustfmt::skip]
const SCENARIOS: &[Scenario] = &[
    // IPv4, TCP, 60 bytes (64 on the wire), data of an established connection to port 443.
    Scenario { name: EMPTY, group: Group::Fixed, floor: "", goal: Goal::None,
        about: "the floor: returns XDP_DROP", make: |shop, name| shop.floor(name, None, V4) },
    Scenario { name: "shipped_dropped", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostTimes(0.5, DNY_ALL_DROPPED),
        about: "the shipped policies, a known device, dropped by a rule", make: |shop, name| shop.fixed(name, &shop.shipped()?, BANNED, Verdict::Drop) },
    Scenario { name: "shipped_passed", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostTimes(0.5, DNY_ALL_PASSED),
        about: "the shipped policies, a known device, passed", make: |shop, name| shop.fixed(name, &shop.shipped()?, ELSEWHERE, Verdict::Pass) },
    Scenario { name: "xdp_filter_dny_ip", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "xdp-filter, features ipv4 and ipv6, policy deny, dropped", make: |shop, name| shop.xdp_filter(name, peers::Features::Ip, BANNED, DROP) },
    Scenario { name: DNY_ALL_DROPPED, group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "xdp-filter, all features, policy deny, dropped", make: |shop, name| shop.xdp_filter(name, peers::Features::All, BANNED, DROP) },
    Scenario { name: DNY_ALL_PASSED, group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "the same, to a listed destination, passed", make: |shop, name| shop.xdp_filter(name, peers::Features::All, ELSEWHERE, PASS) },
    Scenario { name: "rules_1", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "one rule, dropped by it", make: |shop, name| shop.fixed(name, &shop.rules(1)?, BANNED, Verdict::Drop) },
    Scenario { name: "rules_1024", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(15.0, "rules_1"),
        about: "1,024 rules, dropped by the last", make: |shop, name| shop.fixed(name, &shop.rules(1024)?, BANNED, Verdict::Drop) },

    // The destination uniformly random: out of all of IPv4; a random address of a random prefix of the data in IPv6.
    Scenario { name: EMPTY_V4, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor: generator, tail call, XDP_DROP", make: |shop, name| shop.floor(name, Some(VARY_V4), V4) },
    Scenario { name: "china_v4", group: Group::Varied, floor: EMPTY_V4, goal: Goal::None,
        about: "one rule on China", make: |shop, name| shop.varied(name, &shop.china()?, VARY_V4, V4) },
    Scenario { name: "countries_v4", group: Group::Varied, floor: EMPTY_V4, goal: Goal::AtMostPlus(20.0, "china_v4"),
        about: "a destination and a rule for each country", make: |shop, name| shop.varied(name, &shop.countries()?, VARY_V4, V4) },
    Scenario { name: "lookup_v4", group: Group::Varied, floor: EMPTY_V4, goal: Goal::AtMostTimes(1.0 / 15.0, "lpm_v4"),
        about: "the look-up alone, every country", make: |shop, name| shop.lookup(name, "trie_v4", VARY_V4, V4) },
    Scenario { name: "lpm_v4", group: Group::Varied, floor: EMPTY_V4, goal: Goal::None,
        about: "the kernel's LPM trie with the same prefixes", make: |shop, name| shop.lookup(name, "lpm_v4", VARY_V4, V4) },
    Scenario { name: EMPTY_V6, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor: generator, tail call, XDP_DROP", make: |shop, name| shop.floor(name, Some(VARY_V6), V6) },
    Scenario { name: "china_v6", group: Group::Varied, floor: EMPTY_V6, goal: Goal::None,
        about: "one rule on China", make: |shop, name| shop.varied(name, &shop.china()?, VARY_V6, V6) },
    Scenario { name: "countries_v6", group: Group::Varied, floor: EMPTY_V6, goal: Goal::AtMostPlus(30.0, "china_v6"),
        about: "a destination and a rule for each country", make: |shop, name| shop.varied(name, &shop.countries()?, VARY_V6, V6) },
    Scenario { name: "lookup_v6", group: Group::Varied, floor: EMPTY_V6, goal: Goal::AtMostTimes(1.0 / 15.0, "lpm_v6"),
        about: "the look-up alone, every country", make: |shop, name| shop.lookup(name, "trie_v6", VARY_V6, V6) },
    Scenario { name: "lpm_v6", group: Group::Varied, floor: EMPTY_V6, goal: Goal::None,
        about: "the kernel's LPM trie with the same prefixes", make: |shop, name| shop.lookup(name, "lpm_v6", VARY_V6, V6) },

    // The source MAC drawn from the devices of the set.
    Scenario { name: EMPTY_MAC, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor: generator, tail call, XDP_DROP", make: |shop, name| shop.floor(name, Some(VARY_MAC), V4) },
    Scenario { name: "devices_10000", group: Group::Varied, floor: EMPTY_MAC, goal: Goal::AtMostTimes(0.65, DNY_ALL_DROPPED),
        about: "shipped policies, 10,000 devices in ten groups, port ranges, schedules, rates, inbound, a matching monitor rule; dropped",
        make: |shop, name| shop.varied_devices(name, &shop.many_devices()?, &sets::phones(10_000)) },
    Scenario { name: "groups_64", group: Group::Varied, floor: EMPTY_MAC, goal: Goal::None,
        about: "64 groups and rules, 64 devices, dropped", make: |shop, name| shop.varied_devices(name, &shop.groups(64)?, &sets::random_macs(64)) },
    Scenario { name: "devices_1m", group: Group::Varied, floor: EMPTY_MAC, goal: Goal::AtMostMisses("groups_64"),
        about: "64 groups and rules, 1,000,000 devices, dropped",
        make: |shop, name| shop.varied_devices(name, &shop.groups(MILLION)?, &sets::random_macs(MILLION)) },

    // Devices known by what they do. Beside a group of one MAC, each time for the same frame.
    Scenario { name: "identity_off_data", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "TCP data, a group of one MAC, dropped", make: |shop, name| shop.told(name, Told::Data, shop.identity_off()?, false) },
    Scenario { name: "identity_data", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(2.0, "identity_off_data"),
        about: "the same, of a device that DHCP put into its group", make: |shop, name| shop.told(name, Told::Data, shop.identity()?, true) },
    Scenario { name: "identity_off_syn", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "a SYN, a group of one MAC, dropped", make: |shop, name| shop.told(name, Told::Syn, shop.identity_off()?, false) },
    Scenario { name: "identity_syn", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(100.0, "identity_off_syn"),
        about: "the same, its shape read", make: |shop, name| shop.told(name, Told::Syn, shop.identity()?, true) },
    Scenario { name: "identity_dhcp", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMost(300.0),
        about: "a DHCPDISCOVER with three facts, passed", make: |shop, name| shop.told(name, Told::Dhcp, shop.identity()?, true) },
    Scenario { name: "identity_hello", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMost(320.0),
        about: "a ClientHello of 517 bytes in one segment, its name and JA4 read", make: |shop, name| shop.told(name, Told::Hello, shop.identity()?, true) },

    // 300,000 watched names in use, and a rule on them for the device. Frames that carry none: beside the same rule without names.
    Scenario { name: "names_off_tcp", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "TCP data to port 8080 of a known flow, no rule on names", make: |shop, name| shop.plain(name, Plain::Tcp(8080), shop.names_off()?) },
    Scenario { name: "names_on_tcp", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(4.0, "names_off_tcp"),
        about: "the same with a rule on names for the device", make: |shop, name| shop.plain(name, Plain::Tcp(8080), shop.names()?) },
    Scenario { name: "names_on_tcp_unwatched", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(4.0, "names_off_tcp"),
        about: "the same of a device that no rule on names is for", make: |shop, name| shop.plain(name, Plain::Unwatched(8080), shop.names()?) },
    Scenario { name: "names_off_udp", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "UDP to port 5000, no rule on names", make: |shop, name| shop.plain(name, Plain::Udp(5000), shop.names_off()?) },
    Scenario { name: "names_on_udp", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(4.0, "names_off_udp"),
        about: "the same with a rule on names for the device", make: |shop, name| shop.plain(name, Plain::Udp(5000), shop.names()?) },
    Scenario { name: "names_off_tls", group: Group::Fixed, floor: EMPTY, goal: Goal::None,
        about: "TLS data to port 443 of a known flow, no rule on names", make: |shop, name| shop.plain(name, Plain::Tcp(443), shop.names_off()?) },
    Scenario { name: "names_on_tls", group: Group::Fixed, floor: EMPTY, goal: Goal::AtMostPlus(15.0, "names_off_tls"),
        about: "the same with a rule on names for the device", make: |shop, name| shop.plain(name, Plain::Tcp(443), shop.names()?) },
    Scenario { name: EMPTY_TC, group: Group::Fixed, floor: "", goal: Goal::None,
        about: "the floor of tc: returns TC_ACT_UNSPEC", make: |shop, name| shop.tc_floor(name) },
    Scenario { name: "names_to_device", group: Group::Fixed, floor: EMPTY_TC, goal: Goal::None,
        about: "TCP data towards a device, past the program that reads answers", make: |shop, name| shop.towards_device(name) },

    // Frames that carry one, another name and flow in each: out of 256, or of all of them.
    Scenario { name: EMPTY_NAMES, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor: generator of 256 names, tail call, XDP_DROP", make: |shop, name| shop.names_floor(name, Carrier::Query, Rotation::Few) },
    Scenario { name: EMPTY_NAMES_ALL, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor: generator of 262,144 names, tail call, XDP_DROP", make: |shop, name| shop.names_floor(name, Carrier::Query, Rotation::All) },
    Scenario { name: "names_query", group: Group::Varied, floor: EMPTY_NAMES, goal: Goal::AtMost(130.0),
        about: "DNS query for a watched name, of 256, dropped", make: |shop, name| shop.named(name, Carrier::Query, Asked::Watched, Rotation::Few) },
    Scenario { name: "names_query_other", group: Group::Varied, floor: EMPTY_NAMES, goal: Goal::AtMost(130.0),
        about: "DNS query for another name, of 256, passed", make: |shop, name| shop.named(name, Carrier::Query, Asked::Other, Rotation::Few) },
    Scenario { name: "names_query_cold", group: Group::Varied, floor: EMPTY_NAMES_ALL, goal: Goal::AtMost(380.0),
        about: "DNS query for a watched name, of all, dropped", make: |shop, name| shop.named(name, Carrier::Query, Asked::Watched, Rotation::All) },
    Scenario { name: "names_hello", group: Group::Varied, floor: EMPTY_NAMES, goal: Goal::AtMost(180.0),
        about: "ClientHello of 517 bytes with a watched name, of 256, dropped", make: |shop, name| shop.named(name, Carrier::Hello, Asked::Watched, Rotation::Few) },
    Scenario { name: "names_hello_other", group: Group::Varied, floor: EMPTY_NAMES, goal: Goal::AtMost(180.0),
        about: "ClientHello of 517 bytes with another name, of 256, passed", make: |shop, name| shop.named(name, Carrier::Hello, Asked::Other, Rotation::Few) },
    Scenario { name: "names_hello_cold", group: Group::Varied, floor: EMPTY_NAMES_ALL, goal: Goal::None,
        about: "ClientHello of 517 bytes with a watched name, of all, dropped", make: |shop, name| shop.named(name, Carrier::Hello, Asked::Watched, Rotation::All) },
    Scenario { name: "names_http", group: Group::Varied, floor: EMPTY_NAMES, goal: Goal::None,
        about: "HTTP request to a watched host, of 256, dropped", make: |shop, name| shop.named(name, Carrier::Request, Asked::Watched, Rotation::Few) },
    Scenario { name: EMPTY_ANSWERS, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor of tc: generator of 256 answers, tail call, TC_ACT_UNSPEC", make: |shop, name| shop.names_floor(name, Carrier::Answer, Rotation::Few) },
    Scenario { name: EMPTY_ANSWERS_ALL, group: Group::Varied, floor: "", goal: Goal::None,
        about: "the floor of tc: generator of 262,144 answers, tail call, TC_ACT_UNSPEC", make: |shop, name| shop.names_floor(name, Carrier::Answer, Rotation::All) },
    Scenario { name: "names_answer", group: Group::Varied, floor: EMPTY_ANSWERS, goal: Goal::AtMost(200.0),
        about: "DNS answer with an address of a watched name, of 256, learned", make: |shop, name| shop.named(name, Carrier::Answer, Asked::Watched, Rotation::Few) },
    Scenario { name: "names_answer_other", group: Group::Varied, floor: EMPTY_ANSWERS, goal: Goal::AtMost(200.0),
        about: "DNS answer with an address of another name, of 256", make: |shop, name| shop.named(name, Carrier::Answer, Asked::Other, Rotation::Few) },
    Scenario { name: "names_answer_cold", group: Group::Varied, floor: EMPTY_ANSWERS_ALL, goal: Goal::None,
        about: "DNS answer with an address of a watched name, of all, learned", make: |shop, name| shop.named(name, Carrier::Answer, Asked::Watched, Rotation::All) },
];

const MILLION: usize = 1_000_000;
pub const V4: IpAddr = IpAddr::V4(BANNED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
const VARY_V4: &str = "vary_v4";
pub const VARY_V6: &str = "vary_v6";
pub const VARY_MAC: &str = "vary_mac";

/// Runs the scenarios whose names begin with `only`, and those that they are compared with.
pub fn run(only: &str, namespace: &Namespace, quick: bool) -> Result<Rows> {
    let chosen = chosen(only);
    let shop = Workshop::new(namespace);
    let mut rows = Vec::new();
    let mut values = Values::new();
    for group in [Group::Fixed, Group::Varied] {
        let scenarios: Vec<&Scenario> =
            SCENARIOS.iter().filter(|scenario| scenario.group == group && chosen.contains(&scenario.name)).collect();
        if scenarios.is_empty() {
            continue;
        }
        eprintln!("bench: {} scenarios by BPF_PROG_TEST_RUN", scenarios.len());
        let mut subjects = scenarios.iter().map(|scenario| (scenario.make)(&shop, scenario.name)).collect::<Result<Vec<_>>>()?;
        let samples = measure(&mut subjects, group.effort(quick))?;
        rows.extend(judge(&scenarios, &samples, &mut values, &shop));
    }
    Ok(rows)
}

impl Group {
    fn effort(self, quick: bool) -> Effort {
        let (millis, rounds) = match self {
            Self::Fixed => (6, 120),
            // Long enough for most of a table to have been read again: how much of it caches keep is a part of the cost.
            Self::Varied => (60, 24),
        };
        Effort { batch: Duration::from_millis(millis), rounds: if quick { rounds / 6 } else { rounds } }
    }
}

fn chosen(only: &str) -> Vec<&'static str> {
    let mut chosen: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).filter(|name| name.starts_with(only)).collect();
    let mut next = 0;
    while let Some(name) = chosen.get(next) {
        if let Some(Scenario { floor, goal, .. }) = SCENARIOS.iter().find(|scenario| scenario.name == *name) {
            for needed in goal.others().into_iter().chain([*floor]) {
                if !chosen.contains(&needed) {
                    chosen.push(needed);
                }
            }
        }
        next += 1;
    }
    chosen
}

/// Values first, since goals refer to one another.
fn judge(scenarios: &[&Scenario], samples: &[Samples], values: &mut Values, shop: &Workshop<'_>) -> Rows {
    let sampled: HashMap<&str, &Samples> = scenarios.iter().map(|scenario| scenario.name).zip(samples).collect();
    for Scenario { name, floor, .. } in scenarios {
        values.insert(name, sampled[name].minimum() - sampled.get(floor).map_or(0.0, |floor| floor.minimum()));
    }
    let row = |scenario: &&Scenario| {
        let Scenario { name, group: _, floor, goal, about, make: _ } = scenario;
        let own = sampled[name];
        let mut details = shop.facts(name);
        let misses = details.get("cache_misses_ns").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        let judged = goal.judge(values[name], values, misses);
        let proportion = own.proportion();
        details.insert("about".into(), json!(about));
        details.insert("gross_minimum".into(), json!(rounded(own.minimum())));
        if let Some(floor) = sampled.get(floor) {
            details.insert("median".into(), json!(rounded(own.median_above(floor))));
        }
        details.insert("repeat".into(), json!(own.repeat));
        details.insert("batches".into(), json!(own.single.len() + own.double.len()));
        details.insert("time_of_2n_over_n".into(), json!(rounded(proportion)));
        if let Some((bound, _)) = judged {
            details.insert("bound".into(), json!(rounded(bound)));
        }
        // What does not grow with the number of runs is no cost of a run.
        let proportional = (0.9..1.1).contains(&proportion);
        let met = judged.map(|(_, met)| met && proportional);
        let noise = if proportional { "" } else { " (2N runs did not take twice as long as N)" };
        Row { scenario: name, value: rounded(values[name]), unit: "ns", goal: format!("{goal}{noise}"), met, details }
    };
    scenarios.iter().map(row).collect()
}
