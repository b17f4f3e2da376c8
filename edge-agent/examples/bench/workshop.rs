//! Loads what a scenario runs, and makes its frame.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Result;
use aya::programs::ProgramInfo;
use edge_agent::policy::compile::Compiled;
use edge_ebpf::abi::Verdict;
use edge_ebpf::packet::Mac;
use edge_ebpf::trie;
use serde_json::{Map, json};
use xtask::lab::Namespace;

use crate::expected::{DROP, by_host, class_of, code, frame, halves, no_rule};
use crate::kernel::{self, Loaded, Programs};
use crate::measure::{Expect, Subject};
use crate::report::rounded;
use crate::scenario::{V4, VARY_MAC, VARY_V6};
use crate::sets::{self, ELSEWHERE, Folder, PHONE};
use crate::{memory, peers};

/// Makes subjects; sets that several need are compiled once.
pub struct Workshop<'a> {
    namespace: &'a Namespace,
    sets: RefCell<HashMap<String, Arc<Compiled>>>,
    /// What else there is to say of a scenario.
    facts: RefCell<HashMap<&'static str, Map<String, serde_json::Value>>>,
}

impl<'a> Workshop<'a> {
    pub fn new(namespace: &'a Namespace) -> Self {
        Self { namespace, sets: RefCell::default(), facts: RefCell::default() }
    }
}

impl Workshop<'_> {
    /// What was noted of a scenario.
    pub fn facts(&self, name: &str) -> Map<String, serde_json::Value> {
        self.facts.borrow_mut().remove(name).unwrap_or_default()
    }

    pub fn set(&self, key: &str, make: impl FnOnce() -> Result<Compiled>) -> Result<Arc<Compiled>> {
        if let Some(set) = self.sets.borrow().get(key) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(make()?);
        self.sets.borrow_mut().insert(key.to_owned(), Arc::clone(&set));
        Ok(set)
    }

    pub fn shipped(&self) -> Result<Arc<Compiled>> {
        self.set("shipped", || sets::compiled(&[sets::shipped_folder()]))
    }
    pub fn china(&self) -> Result<Arc<Compiled>> {
        self.set("china", || sets::compiled(&[Folder::new(&sets::countries_yaml(&["CN".to_owned()]))?.path()]))
    }
    pub fn countries(&self) -> Result<Arc<Compiled>> {
        self.set("countries", || {
            let folder = Folder::new(&sets::countries_yaml(&sets::codes()?))?;
            sets::compiled(&[folder.path()])
        })
    }
    pub fn many_devices(&self) -> Result<Arc<Compiled>> {
        self.set("many devices", || {
            let folder = Folder::new(&sets::many_devices_yaml(&sets::phones(10_000)))?;
            sets::compiled(&[sets::shipped_folder(), folder.path()])
        })
    }
    pub fn rules(&self, count: u32) -> Result<Arc<Compiled>> {
        self.set(&format!("{count} rules"), || sets::many_rules(count))
    }
    pub fn groups(&self, devices: usize) -> Result<Arc<Compiled>> {
        self.set(&format!("{devices} devices"), || sets::device_groups(64, &sets::random_macs(devices)))
    }

    pub fn note(&self, name: &'static str, facts: impl IntoIterator<Item = (&'static str, serde_json::Value)>) {
        let mut notes = self.facts.borrow_mut();
        notes.entry(name).or_default().extend(facts.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }

    pub fn floor(&self, name: &'static str, generator: Option<&'static str>, to: IpAddr) -> Result<Subject> {
        let mut programs = Programs::plain()?;
        let drop = programs.load("drop")?;
        let expect: Expect = Box::new(|_, returned| returned == DROP);
        match generator {
            None => Subject::new(name, drop, frame(PHONE, to), expect, vec![Box::new(programs)]),
            Some(generator) => self.generated(name, generator, &drop, to, expect, vec![Box::new(programs)]),
        }
    }

    pub fn fixed(&self, name: &'static str, set: &Arc<Compiled>, to: Ipv4Addr, verdict: Verdict) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(Arc::clone(set))?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.note(name, [("verified_instructions", json!(program.verified_instruction_count()))]);
        let host = by_host(compiled);
        let expect: Expect = Box::new(move |frame, returned| returned == code(verdict) && host(frame, returned));
        Subject::new(name, program, frame(PHONE, to.into()), expect, vec![Box::new(object)])
    }

    pub fn varied(&self, name: &'static str, set: &Arc<Compiled>, generator: &'static str, to: IpAddr) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(Arc::clone(set))?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.generated(name, generator, &program, to, by_host(compiled), vec![Box::new(object)])
    }

    pub fn varied_devices(&self, name: &'static str, set: &Arc<Compiled>, devices: &[Mac]) -> Result<Subject> {
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

    pub fn lookup(&self, name: &'static str, program: &str, generator: &'static str, to: IpAddr) -> Result<Subject> {
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

    pub fn xdp_filter(&self, name: &'static str, features: peers::Features, to: Ipv4Addr, expected: u32) -> Result<Subject> {
        // Interface names are short: the scenarios' last letters tell them apart.
        let interface = format!("f-{}", &name[name.len() - 8..]);
        self.namespace.ip(&[&format!("link add {interface} type veth"), &format!("link set {interface} up")])?;
        peers::xdp_filter(self.namespace, &interface, features, ELSEWHERE)?;
        let program = peers::program_on(self.namespace, &interface)?;
        self.note(name, [("program", json!(program.name_as_str().unwrap_or_default()))]);
        Subject::new(name, program, frame(PHONE, to.into()), Box::new(move |_, returned| returned == expected), vec![])
    }

    pub fn describe(&self, name: &'static str, compiled: &Compiled) {
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
