//! Set arithmetic on ranges, for the checks that compare rules.

use super::model::{Number, Ranges};

pub const LAST_MAC: u64 = (1 << 48) - 1;

/// What both sets hold.
pub fn intersection<T: Number>(a: &Ranges<T>, b: &Ranges<T>) -> Ranges<T> {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    let mut common = Vec::new();
    while let (Some((a_first, a_last)), Some((b_first, b_last))) = (left.peek(), right.peek()) {
        let (first, last) = (*a_first.max(b_first), *a_last.min(b_last));
        if first <= last {
            common.push((first, last));
        }
        if a_last < b_last {
            left.next()
        } else {
            right.next()
        };
    }
    Ranges::new(common)
}

/// The smallest number that both sets hold.
pub fn first_common<T: Copy + Ord>(a: &Ranges<T>, b: &Ranges<T>) -> Option<T> {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    while let (Some((a_first, a_last)), Some((b_first, b_last))) = (left.peek(), right.peek()) {
        let first = *a_first.max(b_first);
        if first <= *a_last.min(b_last) {
            return Some(first);
        }
        if a_last < b_last {
            left.next()
        } else {
            right.next()
        };
    }
    None
}

/// Whether `outer` holds all that `inner` does.
pub fn covers<T: Ord>(outer: &Ranges<T>, inner: &Ranges<T>) -> bool {
    let mut outer = outer.iter().peekable();
    inner.iter().all(|(first, last)| {
        // Ranges are neither adjacent nor overlapping, so one of them has to hold the whole.
        while outer.next_if(|(_, end)| end < first).is_some() {}
        outer.peek().is_some_and(|(start, end)| start <= first && last <= end)
    })
}

/// All MACs that are not in the set.
pub fn other_macs(set: &Ranges<u64>) -> Ranges<u64> {
    let (mut next, mut others) = (0, Vec::new());
    for (first, last) in set.iter() {
        if next < *first {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST_MAC {
        others.push((next, LAST_MAC));
    }
    Ranges::new(others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = Ranges<u64>> {
        proptest::collection::vec((0u64..40, 0u64..6), 0..6)
            .prop_map(|ranges| Ranges::new(ranges.into_iter().map(|(first, more)| (first, first + more)).collect()))
    }

    proptest! {
        #[test]
        fn each_operation_is_that_of_its_numbers(a in set(), b in set()) {
            let numbers = 0..50u64;
            let (common, others) = (intersection(&a, &b), other_macs(&a));
            for number in numbers.clone() {
                prop_assert_eq!(common.contains(number), a.contains(number) && b.contains(number));
                prop_assert_eq!(others.contains(number), !a.contains(number));
            }
            prop_assert!(others.contains(LAST_MAC));
            prop_assert_eq!(covers(&a, &b), numbers.clone().all(|number| a.contains(number) || !b.contains(number)));
            prop_assert_eq!(first_common(&a, &b), numbers.clone().find(|number| a.contains(*number) && b.contains(*number)));
        }
    }
}
