//! A map that forgets: what was not asked for during a time, and, where it is full, what was asked for longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

pub struct Recent<K, V> {
    capacity: usize,
    age: Duration,
    entries: HashMap<K, Entry<V>>,
    /// By turn, the oldest first.
    order: BTreeMap<u64, K>,
    turns: u64,
}

struct Entry<V> {
    turn: u64,
    at: Instant,
    value: V,
}

impl<K: Copy + Eq + Hash, V: Default> Recent<K, V> {
    pub fn new(capacity: usize, age: Duration) -> Self {
        Self { capacity, age, entries: HashMap::new(), order: BTreeMap::new(), turns: 0 }
    }

    /// The value of the key, or a new one.
    pub fn entry(&mut self, key: K, now: Instant) -> &mut V {
        self.forget(&key, now);
        self.turns += 1;
        let turn = self.turns;
        let entry = self.entries.entry(key).or_insert_with(|| Entry { turn, at: now, value: V::default() });
        self.order.remove(&entry.turn);
        (entry.turn, entry.at) = (turn, now);
        self.order.insert(turn, key);
        &mut entry.value
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.turn);
        }
    }

    /// What is too old, and the oldest if there is no room for `key`.
    fn forget(&mut self, key: &K, now: Instant) {
        let full = self.entries.len() >= self.capacity && !self.entries.contains_key(key);
        let mut room = !full;
        while let Some((_, oldest)) = self.order.first_key_value() {
            let oldest = *oldest;
            let aged = self.entries.get(&oldest).is_none_or(|entry| now.saturating_duration_since(entry.at) > self.age);
            if room && !aged {
                return;
            }
            self.remove(&oldest);
            room = true;
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_asked_for_longest_ago_gives_way() {
        let now = Instant::now();
        let mut recent = Recent::new(2, Duration::from_secs(60));
        for key in [1, 2, 1] {
            *recent.entry(key, now) += 1;
        }
        *recent.entry(3, now) = 7;
        assert_eq!((*recent.entry(1, now), *recent.entry(3, now), recent.len()), (2, 7, 2));
        assert_eq!(*recent.entry(2, now), 0, "it was forgotten");
        recent.remove(&2);
        assert_eq!(recent.len(), 1);
    }

    #[test]
    fn what_is_old_goes() {
        let start = Instant::now();
        let mut recent = Recent::new(9, Duration::from_secs(60));
        *recent.entry(1, start) = 5;
        *recent.entry(2, start + Duration::from_secs(60)) = 6;
        assert_eq!((recent.len(), *recent.entry(2, start + Duration::from_secs(61))), (2, 6));
        assert_eq!((recent.len(), *recent.entry(1, start + Duration::from_secs(61))), (1, 0));
    }
}
