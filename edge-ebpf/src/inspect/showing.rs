//! What the decision needs to know of what a packet shows.

use crate::abi::Reason;

/// What the decision needs to know, in one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Showing(u32);

impl Showing {
    pub(super) const SHOWS: u32 = 1;
    pub(super) const ASKS_KEYS: u32 = 2;
    pub(super) const DEFERRED: u32 = 4;
    pub(super) const QUERY: u32 = 8;
    pub(super) const OBSTACLE: u32 = 8;

    pub const NONE: Self = Self(0);
    /// It shows something, and that is all.
    pub const ONLY_SHOWS: Self = Self(Self::SHOWS);
    /// It cannot be told here.
    pub const DEFER: Self = Self(Self::DEFERRED);

    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// Rows of [`super::Shown`] are to be asked.
    #[inline(always)]
    pub const fn shows(self) -> bool {
        self.0 & Self::SHOWS != 0
    }
    /// The same, as if it showed something.
    #[inline(always)]
    pub const fn that_shows(self) -> Self {
        Self(self.0 | Self::SHOWS)
    }
    /// It is a query for a service's keys.
    #[inline(always)]
    pub const fn asks_keys(self) -> bool {
        self.0 & Self::ASKS_KEYS != 0
    }
    /// It is a query over UDP that was read.
    #[inline(always)]
    pub const fn is_query(self) -> bool {
        self.0 & Self::QUERY != 0
    }
    #[inline(always)]
    pub const fn is_deferred(self) -> bool {
        self.0 & Self::DEFERRED != 0
    }
    /// Why a name may be missed.
    #[inline(always)]
    pub const fn obstacle(self) -> Option<Reason> {
        match (self.0 >> Self::OBSTACLE) as u8 {
            0 => None,
            reason => Reason::from_u8(reason - 1),
        }
    }
}
