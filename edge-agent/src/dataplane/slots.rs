//! Who owns which counter: a slot keeps its owner over reloads and restarts, so that counts go on.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// A table of counter slots, each owned by one key or free.
#[derive(Debug)]
pub struct Slots<K> {
    owners: Vec<Option<K>>,
    by_key: HashMap<K, u32>,
}

/// What has to change in the kernel's tables so that each wanted key has its slot.
#[derive(PartialEq, Eq, Debug)]
pub struct Allocation<K> {
    /// The slot of each wanted key, in their order.
    pub slots: Vec<u32>,
    /// Slots that get an owner. The counts in them, if any, are another's: reset them.
    pub fresh: Vec<(u32, K)>,
}

/// More keys are wanted or in use than there are slots.
#[derive(PartialEq, Eq, Debug)]
pub struct Full;

impl<K: Eq + Hash + Clone> Slots<K> {
    /// From what the kernel holds. Of two slots with the same owner the first one counts.
    pub fn new(owners: Vec<Option<K>>) -> Self {
        let mut by_key = HashMap::new();
        for (slot, owner) in (0..).zip(&owners) {
            if let Some(key) = owner {
                by_key.entry(key.clone()).or_insert(slot);
            }
        }
        Self { owners, by_key }
    }

    /// A slot for each of `wanted`: its own, else a free one, else one whose owner is neither wanted nor among `in_use`. Changes nothing:
    /// the fresh ones are to be taken by [`Self::take`].
    ///
    /// # Errors
    /// [`Full`] if these do not suffice.
    pub fn allocate(&self, wanted: &[K], in_use: &HashSet<u32>) -> Result<Allocation<K>, Full> {
        let kept: HashSet<u32> = wanted.iter().filter_map(|key| self.by_key.get(key)).copied().chain(in_use.iter().copied()).collect();
        let (free, owned): (Vec<u32>, Vec<u32>) =
            (0..).zip(&self.owners).map(|(slot, _)| slot).filter(|slot| !kept.contains(slot)).partition(|slot| self.owner(*slot).is_none());
        let mut available = free.into_iter().chain(owned);

        let mut given: HashMap<&K, u32> = HashMap::new();
        let mut fresh = Vec::new();
        let mut slots = Vec::with_capacity(wanted.len());
        for key in wanted {
            let slot = match self.by_key.get(key).or_else(|| given.get(key)) {
                Some(slot) => *slot,
                None => {
                    let slot = available.next().ok_or(Full)?;
                    given.insert(key, slot);
                    fresh.push((slot, key.clone()));
                    slot
                }
            };
            slots.push(slot);
        }
        Ok(Allocation { slots, fresh })
    }

    /// Makes `key` the owner of a slot. Slots beyond the table are nobody's.
    pub fn take(&mut self, slot: u32, key: K) {
        let Some(owner) = self.owners.get_mut(slot as usize) else { return };
        if let Some(former) = owner.replace(key.clone()) {
            self.by_key.remove(&former);
        }
        self.by_key.insert(key, slot);
    }

    fn owner(&self, slot: u32) -> Option<&K> {
        self.owners.get(slot as usize)?.as_ref()
    }

    pub fn slot(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Slots with an owner, in order.
    pub fn owned(&self) -> impl Iterator<Item = (u32, &K)> {
        (0..).zip(&self.owners).filter_map(|(slot, owner)| Some((slot, owner.as_ref()?)))
    }

    pub fn capacity(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(owners: &[&str]) -> Slots<String> {
        Slots::new(owners.iter().map(|owner| (!owner.is_empty()).then(|| (*owner).to_owned())).collect())
    }

    fn wanted(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn an_owner_keeps_its_slot_and_a_new_one_takes_a_free_one() {
        let slots = table(&["a", "b", "", ""]);
        let allocation = slots.allocate(&wanted(&["c", "b", "c"]), &HashSet::new());
        assert_eq!(allocation, Ok(Allocation { slots: vec![2, 1, 2], fresh: vec![(2, "c".to_owned())] }));
        assert_eq!(slots.slot(&"a".to_owned()), Some(0), "a removed rule keeps its counts while there is room");
    }

    #[test]
    fn a_full_table_gives_up_owners_that_nobody_uses() {
        let mut slots = table(&["running", "gone", "wanted"]);
        let allocation = slots.allocate(&wanted(&["wanted", "new"]), &HashSet::from([0]));
        assert_eq!(allocation, Ok(Allocation { slots: vec![2, 1], fresh: vec![(1, "new".to_owned())] }));
        assert_eq!(slots.slot(&"gone".to_owned()), Some(1), "until the slot is taken");
        slots.take(1, "new".to_owned());
        assert_eq!(slots.slot(&"gone".to_owned()), None);
        assert_eq!(slots.owner(1), Some(&"new".to_owned()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let slots = table(&["running", "gone"]);
        assert_eq!(slots.allocate(&wanted(&["x", "y"]), &HashSet::from([0])), Err(Full));
        assert!(slots.allocate(&wanted(&["x", "running"]), &HashSet::from([0])).is_ok());
    }
}
