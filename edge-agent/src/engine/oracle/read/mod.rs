//! The oracle's own reading of what packets carry: byte by byte and slice by slice, where the library works on eight bytes at once.
//!
//! The library reads only so much of anything, and says [`Reading::TooLong`] of the rest. Where its bound is a number of steps, it is a
//! number of steps here too, counted as plainly as can be: what is beyond it is part of what the engines have to agree on.

pub(super) mod answer;
pub(super) mod dhcp;
pub(super) mod dns;
pub(super) mod http;
pub(super) mod name;
pub(super) mod quic;
pub(super) mod syn;
pub(super) mod tls;

#[cfg(test)]
mod tests;

/// Bytes that the library takes in one step.
const STEP: usize = 8;

/// What became of reading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reading<T> {
    /// It is something else.
    Other,
    Found(T),
    /// It is right, and names nothing.
    Nothing,
    Incomplete,
    Malformed,
    TooLong,
}
