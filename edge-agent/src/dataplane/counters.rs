//! The counters that outlive generations and agents: which rule and which interface owns which slot, and what stands in it.

use std::collections::HashSet;

use aya::maps::{Array, Map, MapData, PerCpuArray, PerCpuValues};
use edge_ebpf::abi::{Counter, MAX_INTERFACES, RULE_SLOTS, Verdict};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::object::{INTERFACE_COUNTERS, INTERFACE_KEYS, RULE_COUNTERS, RULE_KEYS};
use super::pins::Pins;
use super::pod::{Plain, Value};
use super::slots::{Allocation, Slots};
use crate::policy::compile::Compiled;

const RULE_KEY_BYTES: usize = 256;
/// `IFNAMSIZ` of `linux/if.h`, the final NUL included.
const INTERFACE_KEY_BYTES: usize = 16;
/// Counters of one interface: one for each verdict.
pub const VERDICTS: usize = Verdict::ALL.len();

/// Whose counter it is. A rule that changes its action begins anew: packets dropped are not packets that would have been.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct RuleKey {
    pub policy: String,
    pub rule: String,
    pub action: String,
}

impl RuleKey {
    /// `None` if it does not fit.
    fn encode(&self) -> Option<[u8; RULE_KEY_BYTES]> {
        let Self { policy, rule, action } = self;
        padded(format!("{policy}\0{rule}\0{action}").as_bytes())
    }

    /// `None` for a slot that nobody owns, or that holds no key.
    fn decode(bytes: &[u8; RULE_KEY_BYTES]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split('\0').map(str::to_owned);
        let key = Self { policy: parts.next()?, rule: parts.next()?, action: parts.next()? };
        (!key.policy.is_empty()).then_some(key)
    }
}

/// Filled up with NULs; `None` if there would be none at the end.
fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut all = [0; N];
    all[..N - 1].get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(all)
}

/// The tables of owners, as pinned and as last read.
pub struct Counters {
    pins: Pins,
    rule_keys: Array<MapData, Value<[u8; RULE_KEY_BYTES]>>,
    interface_keys: Array<MapData, Value<[u8; INTERFACE_KEY_BYTES]>>,
    pub rules: Slots<RuleKey>,
    pub interfaces: Slots<String>,
}

impl Counters {
    /// Opens the tables of owners, and makes them if there are none.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let rule_keys = open_or_pin::<[u8; RULE_KEY_BYTES]>(pins, RULE_KEYS, RULE_SLOTS)?;
        let interface_keys = open_or_pin::<[u8; INTERFACE_KEY_BYTES]>(pins, INTERFACE_KEYS, MAX_INTERFACES as u32)?;
        let rules = owners(&rule_keys, RULE_KEYS, RuleKey::decode)?;
        let interfaces = owners(&interface_keys, INTERFACE_KEYS, |bytes| {
            let name = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
            (!name.is_empty()).then(|| name.to_owned())
        })?;
        Ok(Self { pins: pins.clone(), rule_keys, interface_keys, rules: Slots::new(rules), interfaces: Slots::new(interfaces) })
    }

    /// The slot of each of the counters of `compiled`. Slots in `in_use` keep their owners.
    pub fn rule_slots(&self, compiled: &Compiled, in_use: &HashSet<u32>) -> Result<Allocation<RuleKey>, Error> {
        let mut wanted = Vec::with_capacity(compiled.rules.len());
        for (rule, action) in compiled.counters() {
            let policy = compiled.policies.get(rule.policy.index()).map_or("", |policy| &policy.name);
            let key = RuleKey { policy: policy.to_owned(), rule: rule.id.clone(), action: action.to_owned() };
            if key.encode().is_none() {
                return Err(Error::NameTooLong { policy: key.policy, rule: key.rule, limit: RULE_KEY_BYTES - 3 });
            }
            wanted.push(key);
        }
        let limit = self.rules.capacity();
        let way_out = "remove rules that are not needed, or run `edge-agent detach` once to forget the counts of removed ones";
        self.rules.allocate(&wanted, in_use).map_err(|_| Error::TooMany { what: "rules to count", count: wanted.len(), limit, way_out })
    }

    /// The slot of each interface of this name.
    pub fn interface_slots(&self, names: &[String]) -> Result<Allocation<String>, Error> {
        let limit = self.interfaces.capacity();
        let way_out = "run `edge-agent check` and configure fewer";
        self.interfaces.allocate(names, &HashSet::new()).map_err(|_| Error::TooMany {
            what: "interfaces",
            count: names.len(),
            limit,
            way_out,
        })
    }

    /// Writes down the owners of fresh slots, whose counts begin at zero. The counters must be pinned by now.
    pub fn commit(&mut self, rules: &Allocation<RuleKey>, interfaces: &Allocation<String>) -> Result<(), Error> {
        let mut counters = self.counters(RULE_COUNTERS)?;
        for (slot, key) in &rules.fresh {
            reset(&mut counters, *slot, RULE_COUNTERS)?;
            // Longer keys were refused when the slots were allocated.
            let bytes = key.encode().unwrap_or([0; RULE_KEY_BYTES]);
            self.rule_keys.set(*slot, Value(bytes), 0).map_err(Error::map("write", RULE_KEYS))?;
            self.rules.take(*slot, key.clone());
        }
        let mut counters = self.counters(INTERFACE_COUNTERS)?;
        for (slot, name) in &interfaces.fresh {
            for verdict in 0..VERDICTS as u32 {
                reset(&mut counters, slot * VERDICTS as u32 + verdict, INTERFACE_COUNTERS)?;
            }
            // The kernel has no longer names either.
            let bytes = padded(name.as_bytes()).unwrap_or([0; INTERFACE_KEY_BYTES]);
            self.interface_keys.set(*slot, Value(bytes), 0).map_err(Error::map("write", INTERFACE_KEYS))?;
            self.interfaces.take(*slot, name.clone());
        }
        Ok(())
    }

    /// One of the pinned tables of counters.
    pub fn counters(&self, name: &'static str) -> Result<PerCpuArray<MapData, Value<Counter>>, Error> {
        Map::PerCpuArray(self.pins.open_map(name)?).try_into().map_err(Error::map("open", name))
    }
}

/// The sum over all CPUs.
pub fn total(counters: &PerCpuArray<MapData, Value<Counter>>, index: u32, map: &'static str) -> Result<Counter, Error> {
    let values = counters.get(&index, 0).map_err(Error::map("read", map))?;
    Ok(values.iter().fold(Counter::default(), |sum, Value(Counter { packets, bytes })| Counter {
        packets: sum.packets.wrapping_add(*packets),
        bytes: sum.bytes.wrapping_add(*bytes),
    }))
}

fn reset(counters: &mut PerCpuArray<MapData, Value<Counter>>, index: u32, map: &'static str) -> Result<(), Error> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| Error::io("read", file)(error))?;
    let zeros = PerCpuValues::try_from(vec![Value(Counter::default()); cpus]).map_err(|error| Error::map("reset", map)(error.into()))?;
    counters.set(index, zeros, 0).map_err(Error::map("reset", map))
}

/// An array that only the agent uses: needed before the first object is loaded.
fn open_or_pin<V: Plain>(pins: &Pins, name: &'static str, entries: u32) -> Result<Array<MapData, Value<V>>, Error> {
    if !pins.has_map(name) {
        let map: Array<MapData, Value<V>> = Array::create(entries, 0).map_err(Error::map("create", name))?;
        let path = pins.map(name);
        map.pin(&path).map_err(|error| Error::io("pin", path)(std::io::Error::other(error)))?;
    }
    Map::Array(pins.open_map(name)?).try_into().map_err(Error::map("open", name))
}

fn owners<V: Plain, K>(
    map: &Array<MapData, Value<V>>,
    name: &'static str,
    decode: impl Fn(&V) -> Option<K>,
) -> Result<Vec<Option<K>>, Error> {
    map.iter().map(|value| value.map(|Value(bytes)| decode(&bytes))).collect::<Result<_, _>>().map_err(Error::map("read", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(policy: &str, rule: &str) -> RuleKey {
        RuleKey { policy: policy.to_owned(), rule: rule.to_owned(), action: "drop".to_owned() }
    }

    #[test]
    fn a_key_comes_back_as_it_went_in() {
        for key in [key("iaf-xiaomi", "no-reporting"), key("ä", "ö"), key("p", &"r".repeat(RULE_KEY_BYTES - 8))] {
            assert_eq!(key.encode().as_ref().and_then(RuleKey::decode), Some(key));
        }
        assert_eq!(key("p", &"r".repeat(RULE_KEY_BYTES - 7)).encode(), None, "one byte too long");
    }

    #[test]
    fn an_empty_slot_has_no_owner() {
        assert_eq!(RuleKey::decode(&[0; RULE_KEY_BYTES]), None);
        assert_eq!(RuleKey::decode(&[0xff; RULE_KEY_BYTES]), None, "not UTF-8");
    }
}
