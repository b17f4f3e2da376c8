//! What tells devices apart beside their MACs: facts that packets show ([`syn`], [`dhcp`], [`hello`], [`user_agent`]), what they are for the
//! policies ([`automaton`]), and the groups that follow from it ([`groups`]), kept by device ([`device`]).

pub mod automaton;
pub mod device;
pub mod dhcp;
pub mod groups;
pub mod hello;
pub mod syn;
pub mod user_agent;

#[cfg(test)]
mod tests;

use crate::{
    abi::identity::MAX_FACT,
    inspect::secret::mix,
    packet::access::{Bytes, at_most_8, forget},
    turns::{Turn, take},
};

/// A hash of a fact's bytes from `start` to before `end`, to tell new ones from known ones. There are at least eight bytes before it.
#[inline(always)]
pub fn fact_hash(bytes: &impl Bytes, start: usize, end: usize, noise: u64) -> u64 {
    let words = Words { bytes: *bytes, at: forget(start, noise), end: forget(end, noise.wrapping_add(1)), sum: 0 };
    let (_, Words { sum, .. }) = take::<{ (MAX_FACT + 1) / 8 }, _>(words, 0, noise);
    mix(sum)
}

struct Words<B> {
    bytes: B,
    at: usize,
    end: usize,
    sum: u64,
}

impl<B: Bytes> Turn for Words<B> {
    const FIRST: usize = 0;
    const EACH: usize = 4;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, at, end, sum } = self;
        if *at >= *end {
            return Some(0);
        }
        let step = at_most_8(*end - *at);
        let shift = 32 - 4 * step;
        let Some(view) = bytes.view::<8>(*at + step - 8) else { return Some(0) };
        let word = (view.text::<0>() >> shift) >> shift;
        *sum = (sum.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *at = forget(*at + step, word);
        None
    }
}
