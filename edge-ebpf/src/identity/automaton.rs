//! Which signals a fact is: an automaton walks its bytes, so that it costs as much with a thousand patterns as with one.

use crate::{
    abi::identity::{FactState, MAX_FACT},
    packet::access::{Bytes, forget},
    turns::{Turn, take},
};

/// The states, by number.
pub trait States: Copy {
    fn state(&self, number: u32) -> Option<&FactState>;
}

/// The set of signals that the bytes from `start` to before `end` are, walked from the state `first`; 0: none. `ends_with_line`: a line's end
/// is theirs. Beyond [`MAX_FACT`] bytes nothing is there.
#[inline(always)]
pub fn walk(states: &impl States, bytes: &impl Bytes, first: u32, start: usize, end: usize, ends_with_line: bool, noise: u64) -> u32 {
    let walk = Walk {
        states: *states,
        bytes: *bytes,
        at: forget(start, noise),
        end: forget(end, noise.wrapping_add(1)),
        // See `dhcp`.
        state: forget(first as usize, noise.wrapping_add(3)),
        line: usize::from(ends_with_line),
        noise,
    };
    let (_, Walk { state, .. }) = take::<{ MAX_FACT + 1 }, _>(walk, 0, noise);
    states.state(state as u32).map_or(0, |state| state.set)
}

struct Walk<S, B> {
    states: S,
    bytes: B,
    at: usize,
    end: usize,
    state: usize,
    /// Not 0: a line's end ends it.
    line: usize,
    noise: u64,
}

impl<S: States, B: Bytes> Turn for Walk<S, B> {
    const FIRST: usize = 0;
    const EACH: usize = 8;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { states, bytes, at, end, state, line, noise } = self;
        // The first state is that of nothing: no byte leads out of it.
        if *at >= *end || *state == 0 {
            return Some(0);
        }
        let Some(byte) = bytes.view::<1>(*at) else { return Some(0) };
        let byte = byte.u8::<0>();
        if *line != 0 && (byte == b'\r' || byte == b'\n') {
            return Some(0);
        }
        let Some(here) = states.state(*state as u32) else { return Some(0) };
        *state = forget(usize::from(here.next[usize::from(byte)]), noise.wrapping_add(2));
        *at = forget(*at + 1, *noise);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::access::Frame;

    #[derive(Clone, Copy)]
    struct Automaton<'a>(&'a [FactState]);

    impl States for Automaton<'_> {
        fn state(&self, number: u32) -> Option<&FactState> {
            self.0.get(number as usize)
        }
    }

    /// `ab*`
    fn automaton() -> Vec<FactState> {
        let nowhere = FactState { next: [0; 256], set: 0, reserved: 0 };
        let mut states = vec![nowhere; 4];
        states[1].next[usize::from(b'a')] = 2;
        states[2].next[usize::from(b'b')] = 3;
        states[3] = FactState { next: [3; 256], set: 7, reserved: 0 };
        states
    }

    #[test]
    fn a_fact_is_what_the_state_says_in_which_it_ends() {
        let states = automaton();
        let walk = |text: &[u8], ends_with_line| {
            let frame = Frame::new(text);
            walk(&Automaton(&states), &frame, 1, 0, text.len(), ends_with_line, 0)
        };
        assert_eq!([walk(b"ab", false), walk(b"abcd", false), walk(b"a", false), walk(b"", false), walk(b"b", false)], [7, 7, 0, 0, 0]);
        assert_eq!([walk(b"ab\r\nx", true), walk(b"a\nb", true)], [7, 0]);
        assert_eq!(walk(&[b"ab".as_slice(), &[b'c'; 400]].concat(), false), 7, "a long one is looked at as far as it goes");
    }
}
