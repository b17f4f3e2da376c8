//! The scenarios run by BPF_PROG_TEST_RUN, each with its frame, its floor and its goal. One table; all else is how.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use aya::programs::ProgramInfo;
use edge_agent::policy::compile::Compiled;
use edge_ebpf::abi::Verdict;
use edge_ebpf::packet::Mac;
use edge_ebpf::trie;
use serde_json::{Map, json};
use xtask::lab::Namespace;

use crate::expected::{DROP, PASS, by_host, class_of, code, frame, halves, no_rule};
use crate::goal::{Goal, Values};
use crate::kernel::{self, Loaded, Programs};
use crate::measure::{Effort, Expect, Samples, Subject, measure};
use crate::report::{Row, rounded};
use crate::sets::{self, BANNED, ELSEWHERE, Folder, PHONE};
use crate::{Rows, memory, peers};

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
];

const MILLION: usize = 1_000_000;
const V4: IpAddr = IpAddr::V4(BANNED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
const VARY_V4: &str = "vary_v4";
const VARY_V6: &str = "vary_v6";
const VARY_MAC: &str = "vary_mac";

/// Runs the scenarios whose names begin with `only`, and those that they are compared with.
pub fn run(only: &str, namespace: &Namespace, quick: bool) -> Result<Rows> {
    let chosen = chosen(only);
    let shop = Workshop { namespace, sets: RefCell::default(), facts: RefCell::default() };
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
        let mut details = shop.facts.borrow_mut().remove(name).unwrap_or_default();
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

/// Makes subjects; sets that several need are compiled once.
struct Workshop<'a> {
    namespace: &'a Namespace,
    sets: RefCell<HashMap<String, Arc<Compiled>>>,
    /// What else there is to say of a scenario.
    facts: RefCell<HashMap<&'static str, Map<String, serde_json::Value>>>,
}

impl Workshop<'_> {
    fn set(&self, key: &str, make: impl FnOnce() -> Result<Compiled>) -> Result<Arc<Compiled>> {
        if let Some(set) = self.sets.borrow().get(key) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(make()?);
        self.sets.borrow_mut().insert(key.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    fn shipped(&self) -> Result<Arc<Compiled>> {
        self.set("shipped", || sets::compiled(&[sets::shipped_folder()]))
    }
    fn china(&self) -> Result<Arc<Compiled>> {
        self.set("china", || sets::compiled(&[Folder::new(&sets::countries_yaml(&["CN".to_owned()]))?.path()]))
    }
    fn countries(&self) -> Result<Arc<Compiled>> {
        self.set("countries", || {
            let folder = Folder::new(&sets::countries_yaml(&sets::codes()?))?;
            sets::compiled(&[folder.path()])
        })
    }
    fn many_devices(&self) -> Result<Arc<Compiled>> {
        self.set("many devices", || {
            let folder = Folder::new(&sets::many_devices_yaml(&sets::phones(10_000)))?;
            sets::compiled(&[sets::shipped_folder(), folder.path()])
        })
    }
    fn rules(&self, count: u32) -> Result<Arc<Compiled>> {
        self.set(&format!("{count} rules"), || sets::many_rules(count))
    }
    fn groups(&self, devices: usize) -> Result<Arc<Compiled>> {
        self.set(&format!("{devices} devices"), || sets::device_groups(64, &sets::random_macs(devices)))
    }

    fn note(&self, name: &'static str, facts: impl IntoIterator<Item = (&'static str, serde_json::Value)>) {
        let mut notes = self.facts.borrow_mut();
        notes.entry(name).or_default().extend(facts.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }

    fn floor(&self, name: &'static str, generator: Option<&'static str>, to: IpAddr) -> Result<Subject> {
        let mut programs = Programs::plain()?;
        let drop = programs.load("drop")?;
        let expect: Expect = Box::new(|_, returned| returned == DROP);
        match generator {
            None => Subject::new(name, drop, frame(PHONE, to), expect, vec![Box::new(programs)]),
            Some(generator) => self.generated(name, generator, &drop, to, expect, vec![Box::new(programs)]),
        }
    }

    fn fixed(&self, name: &'static str, set: &Arc<Compiled>, to: Ipv4Addr, verdict: Verdict) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(Arc::clone(set))?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.note(name, [("verified_instructions", json!(program.verified_instruction_count()))]);
        let host = by_host(compiled);
        let expect: Expect = Box::new(move |frame, returned| returned == code(verdict) && host(frame, returned));
        Subject::new(name, program, frame(PHONE, to.into()), expect, vec![Box::new(object)])
    }

    fn varied(&self, name: &'static str, set: &Arc<Compiled>, generator: &'static str, to: IpAddr) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(Arc::clone(set))?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.generated(name, generator, &program, to, by_host(compiled), vec![Box::new(object)])
    }

    fn varied_devices(&self, name: &'static str, set: &Arc<Compiled>, devices: &[Mac]) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(Arc::clone(set))?;
        self.describe(name, &compiled);
        let (bytes, loads) = (memory::table_bytes(&compiled.mac), memory::loads(&compiled.mac, devices));
        let latency = memory::latency(bytes);
        self.note(
            name,
            [
                ("device_table_mib", json!(rounded(bytes as f64 / f64::from(1 << 20)))),
                ("loads_beyond_the_root", json!(rounded(loads))),
                ("latency_ns", json!(rounded(latency))),
                // The root's load may miss as well.
                ("cache_misses_ns", json!(rounded((loads + 1.0) * latency))),
            ],
        );
        let program = kernel::inside(&mut object)?;
        let host = by_host(compiled);
        let expect: Expect = Box::new(move |frame, returned| returned == DROP && host(frame, returned));
        let keys: Vec<[u64; 2]> = devices.iter().map(|mac| [mac.0 << 16, 0]).collect();
        self.generated_from(name, VARY_MAC, &keys, &program, V4, expect, vec![Box::new(object)])
    }

    fn lookup(&self, name: &'static str, program: &str, generator: &'static str, to: IpAddr) -> Result<Subject> {
        let compiled = self.countries()?;
        let mut programs = Programs::holding(&compiled)?;
        if program.starts_with("lpm") {
            let (v4, v6) = self.prefixes(&compiled)?;
            self.note(name, [("prefixes_v4", json!(v4.len())), ("prefixes_v6", json!(v6.len()))]);
            match to {
                IpAddr::V4(_) => programs.set_prefixes(&v4, &[])?,
                IpAddr::V6(_) => programs.set_prefixes(&[], &v6)?,
            }
        } else {
            self.describe(name, &compiled);
        }
        let info = programs.load(program)?;
        let expect: Expect = Box::new(move |frame, returned| {
            class_of(&compiled, frame) == Some(returned) || returned == u32::MAX && no_rule(&compiled, frame)
        });
        self.generated(name, generator, &info, to, expect, vec![Box::new(programs)])
    }

    /// Every country's prefixes, each with its class.
    #[expect(clippy::type_complexity, reason = "two lists of triples, made here and used once")]
    fn prefixes(&self, compiled: &Compiled) -> Result<(Vec<(u32, u32, u32)>, Vec<(u32, u128, u32)>)> {
        let sets = sets::addresses(&sets::codes()?)?;
        let v4 = sets.iter().flat_map(|set| set.v4.iter()).flat_map(|(first, last)| sets::prefixes((*first).into(), (*last).into(), 32));
        let v6 = sets.iter().flat_map(|set| set.v6.iter()).flat_map(|(first, last)| sets::prefixes(*first, *last, 128));
        let v4 = v4.map(|(length, address)| (length, address as u32, trie::lookup_v4(&&compiled.v4, address as u32).unwrap_or(u32::MAX)));
        let v6 = v6.map(|(length, address)| (length, address, trie::lookup::<128>(&&compiled.v6, halves(address)).unwrap_or(u32::MAX)));
        Ok((v4.collect(), v6.collect()))
    }

    fn generated(
        &self,
        name: &'static str,
        generator: &'static str,
        target: &ProgramInfo,
        to: IpAddr,
        expect: Expect,
        keep: Vec<Box<dyn std::any::Any>>,
    ) -> Result<Subject> {
        let keys = match generator {
            VARY_V6 => self.addresses_v6()?,
            VARY_MAC => vec![[PHONE.0 << 16, 0]],
            _ => vec![],
        };
        self.generated_from(name, generator, &keys, target, to, expect, keep)
    }

    /// Drawn evenly from the ranges of the data, and evenly within each.
    fn addresses_v6(&self) -> Result<Vec<[u64; 2]>> {
        let sets = sets::addresses(&sets::codes()?)?;
        let ranges: Vec<(u128, u128)> = sets.iter().flat_map(|set| set.v6.iter().copied()).collect();
        let mut random = sets::Random(5);
        let draw = |_| {
            let (first, last) = ranges[random.next() as usize % ranges.len()];
            let offset = (u128::from(random.next()) << 64) | u128::from(random.next());
            halves(first + (last - first).checked_add(1).map_or(offset, |size| offset % size))
        };
        Ok((0..1 << 18).map(draw).collect())
    }

    #[expect(clippy::too_many_arguments, reason = "what a subject is made of, named by its callers")]
    fn generated_from(
        &self,
        name: &'static str,
        generator: &str,
        keys: &[[u64; 2]],
        target: &ProgramInfo,
        to: IpAddr,
        expect: Expect,
        mut keep: Vec<Box<dyn std::any::Any>>,
    ) -> Result<Subject> {
        let mut programs = Programs::plain()?;
        programs.set_keys(keys)?;
        programs.jump_to(target)?;
        let program = programs.load(generator)?;
        keep.push(Box::new(programs));
        Subject::new(name, program, frame(PHONE, to), expect, keep)
    }

    fn xdp_filter(&self, name: &'static str, features: peers::Features, to: Ipv4Addr, expected: u32) -> Result<Subject> {
        // Interface names are short: the scenarios' last letters tell them apart.
        let interface = format!("f-{}", &name[name.len() - 8..]);
        self.namespace.ip(&[&format!("link add {interface} type veth"), &format!("link set {interface} up")])?;
        peers::xdp_filter(self.namespace, &interface, features, ELSEWHERE)?;
        let program = peers::program_on(self.namespace, &interface)?;
        self.note(name, [("program", json!(program.name_as_str().unwrap_or_default()))]);
        Subject::new(name, program, frame(PHONE, to.into()), Box::new(move |_, returned| returned == expected), vec![])
    }

    fn describe(&self, name: &'static str, compiled: &Compiled) {
        let Compiled { rules, words, v4, v6, mac, .. } = compiled;
        self.note(
            name,
            [
                ("rules", json!(rules.len())),
                ("words", json!(words)),
                ("mac_nodes", json!(mac.nodes.len())),
                ("v4_nodes", json!(v4.nodes.len())),
                ("v6_nodes", json!(v6.nodes.len())),
            ],
        );
    }
}
