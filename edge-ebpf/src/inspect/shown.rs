//! The rows of what a packet shows.

use super::{NAMES, Shown, learned};
use crate::{
    abi::MAX_SIGNATURES,
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
