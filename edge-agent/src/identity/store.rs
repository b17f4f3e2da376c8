//! All devices that have shown something, each for as long as it is remembered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use edge_ebpf::abi::identity::FactKind;
use edge_ebpf::packet::Mac;

use super::evaluate::SignalKey;
use super::facts::{Facts, Noted};

/// Where there is no room, the stranger that was not seen for longest gives way, newcomers before all others: a flood of made-up MACs takes the
/// place of none that is there for longer than an hour. Devices of the inventory stay.
pub struct Store {
    capacity: usize,
    /// Seconds that a device is remembered for after it was last seen.
    remember: u64,
    devices: HashMap<Mac, Facts>,
    /// Sorted, for whoever goes through them in parts.
    macs: BTreeSet<u64>,
    strangers: BTreeSet<Rank>,
    residents: HashSet<Mac>,
    /// Devices of one kind show the same: the bytes are there once.
    values: HashSet<Arc<[u8]>>,
    changed: bool,
}

/// Of a stranger, the first to give way lowest: whether it is a newcomer no more, when it was last seen, its MAC.
type Rank = (bool, u64, u64);

/// Seconds between the first and the last time that a newcomer was seen.
const NEWCOMER: u64 = 3600;

const fn rank(Mac(mac): Mac, Facts { first_seen, last_seen, .. }: &Facts) -> Rank {
    (last_seen.saturating_sub(*first_seen) >= NEWCOMER, *last_seen, mac)
}

/// Values beyond those in use, after which the table is gone through for them.
const SLACK: usize = 4096;

impl Store {
    pub fn new(capacity: usize, remember: u64) -> Self {
        Self {
            capacity,
            remember,
            devices: HashMap::new(),
            macs: BTreeSet::new(),
            strangers: BTreeSet::new(),
            residents: HashSet::new(),
            values: HashSet::new(),
            changed: false,
        }
    }

    /// Other bounds from now on, and other devices that stay. At `now`, seconds of the Unix epoch.
    pub fn configure(&mut self, capacity: usize, remember: u64, residents: HashSet<Mac>, now: u64) {
        (self.capacity, self.remember, self.residents) = (capacity, remember, residents);
        self.strangers =
            self.devices.iter().filter(|(mac, _)| !self.residents.contains(mac)).map(|(mac, facts)| rank(*mac, facts)).collect();
        while self.devices.len() > self.capacity && self.forget_oldest() {}
        self.expire(now);
    }

    pub fn len(&self) -> usize {
        self.devices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn get(&self, mac: Mac) -> Option<&Facts> {
        self.devices.get(&mac)
    }

    /// In the order of their MACs, those behind `after`.
    pub fn behind(&self, after: Option<Mac>) -> impl Iterator<Item = (Mac, &Facts)> {
        let first = after.map_or(Bound::Unbounded, |Mac(after)| Bound::Excluded(after));
        self.macs.range((first, Bound::Unbounded)).filter_map(|mac| Some((Mac(*mac), self.devices.get(&Mac(*mac))?)))
    }

    pub fn iter(&self) -> impl Iterator<Item = (Mac, &Facts)> {
        self.devices.iter().map(|(mac, facts)| (*mac, facts))
    }

    /// A device has shown a fact.
    pub fn show(&mut self, mac: Mac, kind: FactKind, value: &[u8], now: u64) -> Noted {
        let value = self.value(value);
        let Some(facts) = self.seen(mac, None, now) else { return Noted::Known };
        let noted = facts.note(kind, value, now);
        self.changed |= noted != Noted::Known;
        noted
    }

    /// The device was seen, from this address if that is known. `None`: there is no room for it.
    pub fn seen(&mut self, mac: Mac, address: Option<IpAddr>, now: u64) -> Option<&mut Facts> {
        if !self.devices.contains_key(&mac) && !self.admit(mac, Facts::at(now)) {
            return None;
        }
        let facts = self.devices.get_mut(&mac)?;
        if now > facts.last_seen {
            let is_stranger = self.strangers.remove(&rank(mac, facts));
            facts.last_seen = now;
            if is_stranger {
                self.strangers.insert(rank(mac, facts));
            }
            self.changed = true;
        }
        if let Some(address) = address {
            facts.note_address(address);
        }
        Some(facts)
    }

    /// The kernel says that the device has shown these signals, the last time then.
    pub fn signals(&mut self, mac: Mac, signals: impl Iterator<Item = SignalKey>, seen: u64) {
        let Some(facts) = self.seen(mac, None, seen) else { return };
        let mut changed = false;
        signals.for_each(|signal| changed |= facts.note_signal(signal));
        self.changed |= changed;
    }

    /// A device that an earlier agent knew.
    pub fn restore(&mut self, mac: Mac, facts: Facts, now: u64) {
        if !self.is_forgotten(&facts, now) || self.residents.contains(&mac) {
            self.admit(mac, facts);
        }
    }

    /// The bytes, shared with whoever has the same.
    pub fn value(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        if let Some(value) = self.values.get(bytes) {
            return value.clone();
        }
        if self.values.len() >= SLACK && self.values.len().is_power_of_two() {
            self.values.retain(|value| Arc::strong_count(value) > 1);
        }
        let value: Arc<[u8]> = bytes.into();
        self.values.insert(value.clone());
        value
    }

    /// Forgets strangers that were not seen for too long.
    pub fn expire(&mut self, now: u64) {
        for settled in [false, true] {
            while let Some((_, last_seen, mac)) = self.strangers.range((settled, 0, 0)..=(settled, u64::MAX, u64::MAX)).next().copied() {
                if last_seen.saturating_add(self.remember) >= now {
                    break;
                }
                self.forget(Mac(mac));
            }
        }
    }

    /// What is to be written down, if anything has changed since it was last asked for.
    pub fn take_changes(&mut self) -> Option<Vec<(Mac, Facts)>> {
        std::mem::take(&mut self.changed).then(|| self.iter().map(|(mac, facts)| (mac, facts.clone())).collect())
    }

    /// What was taken was not written down.
    pub fn keep_changes(&mut self) {
        self.changed = true;
    }

    fn is_forgotten(&self, facts: &Facts, now: u64) -> bool {
        facts.last_seen.saturating_add(self.remember) < now
    }

    fn admit(&mut self, mac: Mac, facts: Facts) -> bool {
        if self.devices.len() >= self.capacity && !self.forget_oldest() {
            return false;
        }
        if !self.residents.contains(&mac) {
            self.strangers.insert(rank(mac, &facts));
        }
        self.macs.insert(mac.0);
        self.devices.insert(mac, facts);
        self.changed = true;
        true
    }

    /// False: there are no strangers.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.strangers.first().copied();
        oldest.inspect(|(_, _, mac)| self.forget(Mac(*mac))).is_some()
    }

    fn forget(&mut self, mac: Mac) {
        if let Some(facts) = self.devices.remove(&mac) {
            self.strangers.remove(&rank(mac, &facts));
            self.macs.remove(&mac.0);
            self.changed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(store: &mut Store, mac: u64, now: u64) {
        store.show(Mac(mac), FactKind::DhcpHostName, b"x", now);
    }

    fn macs(store: &Store) -> Vec<u64> {
        store.behind(None).map(|(mac, _)| mac.0).collect()
    }

    #[test]
    fn the_stranger_not_seen_for_longest_gives_way_and_residents_stay() {
        let mut store = Store::new(3, 100);
        store.configure(3, 100, [Mac(1)].into(), 0);
        for (mac, now) in [(1, 1), (2, 2), (3, 3), (2, 4), (4, 5)] {
            show(&mut store, mac, now);
        }
        assert_eq!(macs(&store), [1, 2, 4]);
        store.configure(2, 100, [Mac(1), Mac(2)].into(), 5);
        assert_eq!(macs(&store), [1, 2]);
        show(&mut store, 5, 6);
        assert_eq!(macs(&store), [1, 2], "there is room for residents only");
        store.expire(1000);
        assert_eq!(macs(&store), [1, 2]);
    }

    #[test]
    fn made_up_macs_take_no_settled_devices_place() {
        let mut store = Store::new(10, 1_000_000);
        for mac in 1..=5 {
            show(&mut store, mac, mac);
            show(&mut store, mac, NEWCOMER + mac);
        }
        for mac in 1000..2000 {
            show(&mut store, mac, 2 * NEWCOMER + mac);
        }
        assert_eq!(macs(&store), [1, 2, 3, 4, 5, 1995, 1996, 1997, 1998, 1999]);
        store.expire(1_000_000 + NEWCOMER + 4);
        assert_eq!(macs(&store), [4, 5, 1995, 1996, 1997, 1998, 1999]);
    }

    #[test]
    fn who_was_not_seen_for_long_is_forgotten_also_by_the_next_agent() {
        let mut store = Store::new(10, 100);
        show(&mut store, 1, 1000);
        show(&mut store, 2, 1050);
        store.expire(1101);
        assert_eq!(macs(&store), [2]);
        let taken = store.take_changes().expect("it has changed");
        assert!(store.take_changes().is_none());
        let restored = |now| {
            let mut next = Store::new(10, 100);
            taken.iter().for_each(|(mac, facts)| next.restore(*mac, facts.clone(), now));
            macs(&next)
        };
        assert_eq!((restored(1150), restored(1151)), (vec![2], vec![]));
    }

    #[test]
    fn the_same_bytes_are_there_once() {
        let mut store = Store::new(1 << 20, 100);
        for mac in 0..1000 {
            show(&mut store, mac, 1);
        }
        assert_eq!(store.values.len(), 1);
        for mac in 0..40_000_u64 {
            store.show(Mac(1), FactKind::UserAgent, &mac.to_be_bytes(), 2);
        }
        assert!(store.values.len() < 20_000, "{}", store.values.len());
        assert_eq!(store.behind(Some(Mac(997))).map(|(mac, _)| mac.0).collect::<Vec<_>>(), [998, 999]);
    }

    /// What the issue asks for: a million devices, whose facts are mostly those of others.
    #[test]
    fn a_million_devices_have_room() {
        let mut store = Store::new(1_000_000, 100);
        for mac in 0..1_000_100_u64 {
            show(&mut store, mac, 1 + mac);
        }
        assert_eq!((store.len(), store.get(Mac(99)), store.get(Mac(100)).is_some()), (1_000_000, None, true));
    }
}
