//! The groups that a device's signals make, and the row of the rules that follow: computed when a signal or the generation changes, and not
//! for a packet.

use crate::{
    abi::identity::{GroupOp, MAX_DEVICE_ROW, MAX_GROUP_OPS, MacFacts, SIGNAL_WORDS, SignalSet},
    packet::access::forget,
    turns::{Turn, take},
};

/// A generation's groups.
pub trait Groups: Copy {
    /// How many instructions there are.
    fn ops(&self) -> u32;
    fn op(&self, index: u32) -> Option<GroupOp>;
    /// A word of a class's row, its summary among them.
    fn word(&self, class: u32, offset: u32) -> u64;
    /// Words of a row with its summary.
    fn row_size(&self) -> u32;
    /// Class of the rules for devices in no group.
    fn unknown(&self) -> u32;
}

/// A device's row, and whether it is in a group of a policy.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    pub row: [u64; MAX_DEVICE_ROW],
    pub known: u64,
}

/// Computes the row of a device with these signals, whose MAC says `mac`.
#[inline(always)]
pub fn compute(groups: &impl Groups, signals: SignalSet, mac: &MacFacts, membership: &mut Membership, noise: u64) {
    membership.known = u64::from(mac.known != 0);
    add(groups, membership, mac.always, u64::MAX);
    // See `dhcp`.
    let [index, stack] = [2, 3].map(|salt| forget(0, noise.wrapping_add(salt)) as u64);
    let run = Run { groups: *groups, signals, mac: mac.signals, membership, index, stack, noise };
    let (_, run) = take::<{ MAX_GROUP_OPS + 4 }, _>(run, 0, noise);
    let Run { membership, .. } = run;
    let unknown = membership.known.wrapping_sub(1);
    add(groups, membership, groups.unknown(), unknown);
}

/// The rules of a class, where `mask` is all ones.
#[inline(always)]
fn add(groups: &impl Groups, membership: &mut Membership, class: u32, mask: u64) {
    for (offset, word) in membership.row.iter_mut().enumerate() {
        if offset as u32 >= groups.row_size() {
            break;
        }
        *word |= groups.word(class, offset as u32) & mask;
    }
}

struct Run<'a, G> {
    groups: G,
    signals: SignalSet,
    mac: SignalSet,
    membership: &'a mut Membership,
    index: u64,
    /// The last bit lowest.
    stack: u64,
    noise: u64,
}

impl<G: Groups> Turn for Run<'_, G> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { groups, signals, mac, membership, index, stack, noise } = self;
        if *index as u32 >= groups.ops() {
            return Some(0);
        }
        let Some(op) = groups.op(*index as u32) else { return Some(0) };
        let argument = op.argument();
        match op.kind() {
            GroupOp::SIGNAL => *stack = *stack << 1 | bit(signals, argument),
            GroupOp::MAC => *stack = *stack << 1 | bit(mac, argument),
            GroupOp::ALL => *stack = (*stack >> 1) & (*stack | !1),
            GroupOp::ANY => *stack = (*stack >> 1) | (*stack & 1),
            GroupOp::NOT => *stack ^= 1,
            _ => {
                let holds = *stack & 1;
                *stack >>= 1;
                add(groups, membership, argument, holds.wrapping_neg());
                membership.known |= holds & u64::from(op.is_of_policy());
            }
        }
        *stack = forget(*stack as usize, *noise) as u64;
        *index = forget((*index + 1) as usize, noise.wrapping_add(1)) as u64;
        None
    }
}

#[inline(always)]
fn bit(set: &SignalSet, place: u32) -> u64 {
    set[(place / 64) as usize & (SIGNAL_WORDS - 1)] >> (place % 64) & 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class `c` is the rule `c`.
    #[derive(Clone, Copy)]
    struct Program<'a>(&'a [GroupOp]);

    impl Groups for Program<'_> {
        fn ops(&self) -> u32 {
            self.0.len() as u32
        }
        fn op(&self, index: u32) -> Option<GroupOp> {
            self.0.get(index as usize).copied()
        }
        fn word(&self, class: u32, _: u32) -> u64 {
            1 << class
        }
        fn row_size(&self) -> u32 {
            1
        }
        fn unknown(&self) -> u32 {
            63
        }
    }

    fn computed(ops: &[GroupOp], signals: u64, mac: &MacFacts) -> (u64, u64) {
        let mut membership = Membership::default();
        compute(&Program(ops), [signals, 0, 0, 0], mac, &mut membership, 0);
        (membership.row[0], membership.known)
    }

    #[test]
    fn a_row_is_that_of_the_groups_that_hold() {
        // (0 and not 1) or MAC bit 2; then signal 1 alone, built in.
        let ops = [
            GroupOp::signal(0),
            GroupOp::signal(1),
            GroupOp::not(),
            GroupOp::all(),
            GroupOp::mac(2),
            GroupOp::any(),
            GroupOp::group(5, true),
            GroupOp::signal(1),
            GroupOp::group(6, false),
        ];
        let mac = MacFacts { signals: [0; 4], always: 1, known: 0 };
        let unknown = 1 << 63;
        assert_eq!(computed(&ops, 0, &mac), (1 << 1 | unknown, 0));
        assert_eq!(computed(&ops, 0b01, &mac), (1 << 1 | 1 << 5, 1));
        assert_eq!(computed(&ops, 0b11, &mac), (1 << 1 | 1 << 6 | unknown, 0));
        let vendor = MacFacts { signals: [0b100, 0, 0, 0], ..mac };
        assert_eq!(computed(&ops, 0b11, &vendor), (1 << 1 | 1 << 5 | 1 << 6, 1));
        assert_eq!(computed(&ops, 0, &MacFacts { known: 1, ..mac }), (1 << 1, 1));
    }
}
