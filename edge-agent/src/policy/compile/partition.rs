//! Cuts a number space at the borders of overlapping sets, and names the combination of sets that holds between two borders.

use hashbrown::HashMap;

use crate::policy::model::{Number, Ranges};

/// Which sets a number belongs to: a bit for each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Members(Box<[u64]>);

impl Members {
    pub fn contains(&self, set: usize) -> bool {
        self.0.get(set / 64).is_some_and(|word| word >> (set % 64) & 1 == 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
                .take_while(|&bits| bits != 0)
                .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

pub(super) struct Partition<T> {
    /// Where a segment starts and its class; the first starts at the lowest number, the last goes to the highest.
    segments: Vec<(T, usize)>,
    classes: Vec<Members>,
}

impl<T: Number + Default + 'static> Partition<T> {
    /// Of the sets, which are numbered in their order. A set's ranges do not overlap, so it is entered and left in turn.
    pub fn of<'a>(sets: impl Iterator<Item = &'a Ranges<T>>) -> Self {
        // (place, set): the set is entered where it was out, and left where it was in.
        let mut borders: Vec<(T, u32)> = Vec::new();
        let mut count = 0;
        for ranges in sets {
            for &(first, last) in ranges.iter() {
                borders.push((first, count));
                // A range that reaches the end of the space is never left.
                borders.extend(last.successor().map(|next| (next, count)));
            }
            count += 1;
        }
        // The stable sort: it finds the runs, of which each set is one, and merges them.
        borders.sort();
        let mut members = Members(vec![0; (count as usize).div_ceil(64)].into_boxed_slice());
        let mut numbers: HashMap<Members, usize> = HashMap::from([(members.clone(), 0)]);
        let mut classes = vec![members.clone()];
        let mut segments = vec![(T::default(), 0)];
        for here in borders.chunk_by(|(a, _), (b, _)| a == b) {
            for &(_, set) in here {
                members.0[set as usize / 64] ^= 1 << (set % 64);
            }
            let class = match numbers.get(&members) {
                Some(&class) => class,
                None => {
                    classes.push(members.clone());
                    numbers.insert(members.clone(), classes.len() - 1);
                    classes.len() - 1
                }
            };
            let place = here[0].0;
            match segments.last_mut() {
                Some((_, last)) if *last == class => {}
                Some((start, last)) if *start == place => *last = class,
                _ => segments.push((place, class)),
            }
        }
        Self { segments, classes }
    }

    pub fn classes(&self) -> impl Iterator<Item = &Members> {
        self.classes.iter()
    }

    /// The segments with each class replaced by `number[class]`; neighbours that become equal are joined.
    pub fn segments(&self, number: &[u32]) -> Vec<(T, u32)> {
        let mut segments: Vec<(T, u32)> = self.segments.iter().map(|&(start, class)| (start, number[class])).collect();
        segments.dedup_by_key(|(_, class)| *class);
        segments
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_segment_knows_exactly_the_sets_that_hold_its_numbers(
            sets in prop::collection::vec(prop::collection::vec((0u32..300, 0u32..40), 0..8), 0..70),
            probes in prop::collection::vec(0u32..400, 50),
        ) {
            let sets: Vec<Ranges<u32>> =
                sets.into_iter().map(|set| Ranges::new(set.into_iter().map(|(first, size)| (first, first + size)).collect())).collect();
            let partition = Partition::of(sets.iter());
            for number in probes.into_iter().chain([0, u32::MAX]) {
                let segment = partition.segments.partition_point(|(start, _)| *start <= number) - 1;
                let members: Vec<usize> = partition.classes[partition.segments[segment].1].iter().collect();
                let expected: Vec<usize> = (0..sets.len()).filter(|&set| sets[set].contains(number)).collect();
                prop_assert_eq!(members, expected);
            }
        }
    }

    #[test]
    fn a_set_that_reaches_the_end_of_the_space_is_not_left() {
        let sets = [Ranges::new(vec![(5u32, u32::MAX)])];
        let partition = Partition::of(sets.iter());
        assert_eq!(partition.segments(&[7, 9]), [(0, 7), (5, 9)]);
    }
}
