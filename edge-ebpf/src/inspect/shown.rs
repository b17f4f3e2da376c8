//! The rows of what a packet shows.

use super::{NAMES, Shown, learned};
use crate::{
    abi::{Evidence, MAX_SIGNATURES},
    engine::{ShownWords, Tables},
};

/// Where they are in the pool of rows.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShownRows {
    remote: [u32; NAMES + learned::WAYS],
    monitored: [u32; learned::WAYS],
    /// Bits.
    signatures: u32,
}

impl ShownRows {
    /// Takes the place of what was there: a program's stack is short.
    #[inline(always)]
    pub fn note(&mut self, shown: &Shown, tables: &impl Tables) {
        let Self { remote, monitored, signatures } = self;
        let nothing = tables.row(tables.nothing());
        for (row, number) in remote.iter_mut().zip(&shown.names) {
            *row = nothing;
            if *number != 0
                && let Some(rules) = tables.name_rules(*number)
            {
                *row = tables.row(rules.carried);
            }
        }
        for (place, number) in shown.learned.iter().enumerate() {
            (remote[NAMES + place], monitored[place]) = (nothing, nothing);
            if *number != 0
                && let Some(rules) = tables.name_rules(*number)
            {
                remote[NAMES + place] = tables.row(rules.learned);
                monitored[place] = tables.row(rules.learned_monitored);
            }
        }
        *signatures = shown.signatures;
    }

    /// By which of the rows the rule matches that is `bit` of the words at `offset`, and the place of the learned address if it is that.
    /// `by_flow`: the last of the names is its flow's.
    #[inline(always)]
    pub fn ground(&self, tables: &impl Tables, offset: u32, bit: u64, by_flow: bool) -> (Evidence, usize) {
        let Self { remote, monitored, signatures: _ } = self;
        let mut ground = (Evidence::Address, 0);
        if self.service(tables, offset) & bit != 0 {
            ground = (Evidence::Signature, 0);
        }
        for place in 0..learned::WAYS {
            if (tables.pool(remote[NAMES + place] + offset) | tables.pool(monitored[place] + offset)) & bit != 0 {
                ground = (Evidence::Learned, place);
            }
        }
        for place in (0..NAMES).rev() {
            if tables.pool(remote[place] + offset) & bit != 0 {
                ground = (if by_flow && place == NAMES - 1 { Evidence::Flow } else { Evidence::Name }, 0);
            }
        }
        ground
    }

    /// The words at `offset` of all of them.
    #[inline(always)]
    pub fn words(&self, tables: &impl Tables, offset: u32) -> ShownWords {
        ShownWords { remote: self.remote(tables, offset), monitored: self.monitored(tables, offset), service: self.service(tables, offset) }
    }

    #[inline(always)]
    pub fn remote(&self, tables: &impl Tables, offset: u32) -> u64 {
        self.remote.iter().fold(0, |word, row| word | tables.pool(row + offset))
    }

    #[inline(always)]
    pub fn monitored(&self, tables: &impl Tables, offset: u32) -> u64 {
        self.monitored.iter().fold(0, |word, row| word | tables.pool(row + offset))
    }

    #[inline(always)]
    pub fn service(&self, tables: &impl Tables, offset: u32) -> u64 {
        let mut word = 0;
        for index in 0..MAX_SIGNATURES as u32 {
            if self.signatures >> index & 1 != 0 {
                word |= tables.pool(tables.row(tables.signature_class(index)) + offset);
            }
        }
        word
    }
}
