//! Perfect hash from interface index to counter slot, baked into the program as constants: one multiplication and one load a packet.

use edge_ebpf::abi::{INTERFACE_HASH, MAX_INTERFACES};

/// Keeps the top bits of the product: as many as [`INTERFACE_HASH`] has.
const SHIFT: u32 = u32::BITS - INTERFACE_HASH.trailing_zeros();
const _: () = assert!(INTERFACE_HASH.is_power_of_two() && MAX_INTERFACES < INTERFACE_HASH / 4);

/// What the program needs: `slot = slots[index.wrapping_mul(factor) >> SHIFT]`.
#[derive(Debug)]
pub struct InterfaceHash {
    pub factor: u32,
    pub slots: [u8; INTERFACE_HASH],
}

impl InterfaceHash {
    /// For distinct interface indices, each with its slot. `None` if no factor keeps them apart, which needs an index twice.
    pub fn new(interfaces: &[(u32, u8)]) -> Option<Self> {
        // Weyl's sequence of odd numbers, from the golden ratio: with 64 of 1,024 places taken, one factor in seven has no collision.
        (0..100_000u32).map(|n| 0x9E37_79B9_u32.wrapping_mul(2 * n + 1) | 1).find_map(|factor| Self::with(factor, interfaces))
    }

    fn with(factor: u32, interfaces: &[(u32, u8)]) -> Option<Self> {
        let mut taken = [false; INTERFACE_HASH];
        let mut slots = [0; INTERFACE_HASH];
        for (index, slot) in interfaces {
            let place = place(factor, *index);
            if std::mem::replace(&mut taken[place], true) {
                return None;
            }
            slots[place] = *slot;
        }
        Some(Self { factor, slots })
    }
}

fn place(factor: u32, index: u32) -> usize {
    (index.wrapping_mul(factor) >> SHIFT) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_perfect(interfaces: &[(u32, u8)]) {
        let hash = InterfaceHash::new(interfaces).expect("distinct indices");
        for (index, slot) in interfaces {
            assert_eq!(hash.slots[(index.wrapping_mul(hash.factor) >> 22) as usize], *slot, "index {index}");
        }
    }

    #[test]
    fn neighbours_and_multiples_keep_their_slots() {
        for step in [1, 2, 1 << 10, 1 << 16, 1 << 26] {
            assert_perfect(&(0..MAX_INTERFACES as u32).map(|n| (n.wrapping_mul(step).wrapping_add(1), n as u8)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_index_twice_has_no_hash() {
        assert!(InterfaceHash::new(&[(7, 0), (7, 1)]).is_none());
    }

    proptest! {
        #[test]
        fn any_set_of_indices_keeps_its_slots(indices in prop::collection::hash_set(1..u32::MAX, 0..=MAX_INTERFACES)) {
            assert_perfect(&indices.into_iter().zip(0u8..).collect::<Vec<_>>());
        }
    }
}
