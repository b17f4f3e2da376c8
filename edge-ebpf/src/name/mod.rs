//! The names that packets carry (DNS queries, TLS and QUIC ClientHellos, HTTP requests), and the table that knows which are watched.
//!
//! Each parser says one of [`Reading`]'s kinds, so that what it cannot read is never taken for what names nothing. A name is then hashed
//! label by label (`labels`) and looked up (`table`). The kernel program has these steps as functions of its own, which is what [`Names`]
//! is for.

pub mod answer;
pub mod dns;
pub mod hash;
pub mod http;
pub mod labels;
pub mod quic;
pub mod table;
pub mod tls;

#[cfg(test)]
mod tests;

use crate::packet::access::Bytes;
use labels::Labels;
use table::NameStorage;

/// What became of reading a name out of a packet.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reading {
    /// It is not such a packet.
    Other = 0,
    /// One or more.
    Name = 1,
    /// It is such a packet, whole, and names nothing.
    NoName = 2,
    /// What there is, is right, and goes on in later segments.
    Incomplete = 3,
    /// It contradicts itself or the protocol, or breaks off where nothing can follow.
    Malformed = 4,
    /// There is more of something than is read.
    TooLong = 5,
}

impl Reading {
    pub const ALL: [Self; 6] = [Self::Other, Self::Name, Self::NoName, Self::Incomplete, Self::Malformed, Self::TooLong];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Name => "name",
            Self::NoName => "no_name",
            Self::Incomplete => "incomplete",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
        }
    }

    pub const fn from_u32(value: u32) -> Self {
        match value {
            0 => Self::Other,
            1 => Self::Name,
            2 => Self::NoName,
            3 => Self::Incomplete,
            5 => Self::TooLong,
            _ => Self::Malformed,
        }
    }
}

/// Where the walk over a name ended: behind it, or with a fault. One number, as the kernel's functions return it: what is behind a name is
/// behind a frame's headers, so beyond the faults' numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked(pub u64);

impl Walked {
    /// The bytes end within the name.
    pub const CUT: Self = Self(0);
    /// A compression pointer, an empty label, or more bytes than a name may have.
    pub const MALFORMED: Self = Self(1);

    #[inline(always)]
    pub const fn is_fault(self) -> bool {
        self.0 <= Self::MALFORMED.0
    }
    #[inline(always)]
    pub const fn end(self) -> usize {
        self.0 as usize
    }
}

/// Where a part of the packet lies: offsets from the frame's start.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Span {
    #[inline(always)]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Walking a name and looking it up, for the parsers.
pub trait Names {
    /// As [`Labels::wire`]; what was walked is kept for [`Self::row`].
    fn wire(&mut self, at: usize, end: usize) -> Walked;
    /// Row of the name that was walked last, see [`table::find`].
    fn row(&mut self) -> u32;
}

/// [`Names`] of `bytes` by `table`, in this very place.
pub struct Here<'a, B, T> {
    pub bytes: &'a B,
    pub table: &'a T,
    pub labels: &'a mut Labels,
}

impl<B: Bytes, T: NameStorage> Here<'_, B, T> {
    /// As [`Labels::text`]; what was walked is kept for [`Names::row`].
    pub fn text(&mut self, at: usize, end: usize) -> Walked {
        self.labels.text(self.bytes, self.table, at, end)
    }
}

impl<B: Bytes, T: NameStorage> Names for Here<'_, B, T> {
    #[inline(always)]
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        self.labels.wire(self.bytes, self.table, at, end)
    }
    #[inline(always)]
    fn row(&mut self) -> u32 {
        table::find(self.table, self.labels)
    }
}
