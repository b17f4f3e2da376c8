//! Loops of many turns, of which the kernel's verifier follows few.
//!
//! It follows every turn of a loop, one after the other: what a hundred labels take makes a name as long to verify as the rest of the
//! program. So only the first turns, with which most packets do, are a loop in place. The others are a callback of the kernel's, which the
//! verifier follows until that leaves nothing behind that it has not seen, mostly twice.

use crate::packet::access::{self, forget};

/// What is done turn by turn.
pub(crate) trait Turn {
    /// Turns in place: a call costs as much as one or two.
    const FIRST: usize;
    /// Turns of one call, which share what it costs.
    const EACH: usize;
    /// What it comes to, as a number of its own. `None`: another turn.
    fn turn(&mut self) -> Option<usize>;
}

/// Something and what became of it, in memory, for the calls.
#[repr(C)]
pub(crate) struct Going<T> {
    turns: T,
    end: usize,
    noise: u64,
}

impl<T: Turn> Going<T> {
    /// [`Turn::EACH`] turns. True: there is no other one.
    #[inline(always)]
    pub(crate) fn go_on(&mut self) -> bool {
        for _ in 0..T::EACH {
            if let Some(end) = self.turns.turn() {
                // The verifier does not know that this ends it: it would go on with each end.
                self.end = forget(end, self.noise);
                return true;
            }
        }
        false
    }
}

/// Takes at most `TURNS` turns, and returns what they come to and what they leave. `too_many`: what it comes to if there are more. `noise`:
/// as for [`forget`].
#[inline(always)]
pub(crate) fn take<const TURNS: usize, T: Turn>(turns: T, too_many: usize, noise: u64) -> (usize, T) {
    const { assert!((TURNS - T::FIRST).is_multiple_of(T::EACH), "the others are whole calls") };
    // Not in memory yet: that costs more than a turn.
    let mut turns = turns;
    for _ in 0..T::FIRST {
        if let Some(end) = turns.turn() {
            return (end, turns);
        }
    }
    if T::FIRST == TURNS {
        return (too_many, turns);
    }
    let mut going = Going { turns, end: too_many, noise };
    access::repeat((TURNS - T::FIRST) / T::EACH, &mut going);
    (going.end, going.turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted {
        taken: usize,
        last: usize,
    }

    impl Turn for Counted {
        const FIRST: usize = 4;
        const EACH: usize = 8;

        fn turn(&mut self) -> Option<usize> {
            self.taken += 1;
            (self.taken == self.last).then_some(self.last)
        }
    }

    #[test]
    fn turns_end_when_told_and_after_the_last_one() {
        for last in 1..=24 {
            let (end, Counted { taken, last: _ }) = take::<20, _>(Counted { taken: 0, last }, 0, 0);
            assert_eq!((end, taken), if last <= 20 { (last, last) } else { (0, 20) });
        }
    }
}
