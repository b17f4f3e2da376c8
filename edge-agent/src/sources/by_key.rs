//! Addresses by what they belong to: a country, an autonomous system.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::policy::model::{AddressSet, Ranges};

/// Ranges of one family by key.
pub type Parsed<K, T> = HashMap<K, Vec<(T, T)>>;

pub struct AddressesBy<K> {
    v4: Parsed<K, u32>,
    v6: Parsed<K, u128>,
    /// Made when first asked for, and shared by all that name the key.
    sets: HashMap<K, Arc<AddressSet>>,
}

impl<K: Hash + Eq + Copy> AddressesBy<K> {
    pub fn new(v4: Parsed<K, u32>, v6: Parsed<K, u128>) -> Self {
        Self { v4, v6, sets: HashMap::new() }
    }

    /// All addresses of a key, or `None` if the data does not know it.
    pub fn addresses(&mut self, key: K) -> Option<Arc<AddressSet>> {
        if let Some(set) = self.sets.get(&key) {
            return Some(set.clone());
        }
        let (v4, v6) = (self.v4.get(&key), self.v6.get(&key));
        if v4.is_none() && v6.is_none() {
            return None;
        }
        let set = AddressSet { v4: Ranges::new(v4.cloned().unwrap_or_default()), v6: Ranges::new(v6.cloned().unwrap_or_default()) };
        Some(self.sets.entry(key).or_insert(Arc::new(set)).clone())
    }
}
