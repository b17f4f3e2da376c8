//! Loops of many turns, of which the kernel's verifier follows few.
//!
//! It follows every turn of a loop, one after the other: what a hundred labels take makes a name as long to verify as the rest of the
//! program. A callback of the kernel's it follows until that leaves nothing behind that it has not seen, mostly twice.

use crate::packet::access;

/// What is done turn by turn.
pub(crate) trait Turn {
    /// What it comes to.
    type End: Copy;
    /// Turns of one call, which share what it costs: many where a turn has one way through, few where the verifier multiplies their ways.
    const EACH: usize;
    /// `None`: another turn.
    fn turn(&mut self) -> Option<Self::End>;
}

/// Something and what became of it, in memory, for the calls.
#[repr(C)]
pub(crate) struct Going<T: Turn> {
    turns: T,
    end: T::End,
}

impl<T: Turn> Going<T> {
    /// [`Turn::EACH`] turns. True: there is no other one.
    #[inline(always)]
    pub(crate) fn go_on(&mut self) -> bool {
        for _ in 0..T::EACH {
            if let Some(end) = self.turns.turn() {
                self.end = end;
                return true;
            }
        }
        false
    }
}

/// Takes at most `TURNS` turns. `too_many`: what it comes to if there are more.
#[inline(always)]
pub(crate) fn take<const TURNS: usize, T: Turn>(turns: T, too_many: T::End) -> T::End {
    const { assert!(TURNS.is_multiple_of(T::EACH), "they are whole calls") };
    let mut going = Going { turns, end: too_many };
    access::repeat(TURNS / T::EACH, &mut going);
    going.end
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted<'a> {
        taken: &'a mut usize,
        last: usize,
    }

    impl Turn for Counted<'_> {
        type End = usize;
        const EACH: usize = 8;

        fn turn(&mut self) -> Option<usize> {
            *self.taken += 1;
            (*self.taken == self.last).then_some(self.last)
        }
    }

    #[test]
    fn turns_end_when_told_and_after_the_last_one() {
        for last in 1..=20 {
            let mut taken = 0;
            let end = take::<16, _>(Counted { taken: &mut taken, last }, 0);
            assert_eq!((end, taken), if last <= 16 { (last, last) } else { (0, 16) });
        }
    }
}
