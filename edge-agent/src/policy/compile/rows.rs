//! Rows of rule bits, each distinct one kept once.

use std::collections::HashMap;

use edge_ebpf::abi::{GROUP, MAX_WORDS, Row, row_size};

pub(super) fn set_bit(row: &mut Row, rule: usize) {
    row[rule / 64] |= 1 << (rule % 64);
}

pub(super) fn union<'a>(first: Row, others: impl Iterator<Item = &'a Row>) -> Row {
    others.fold(first, |mut union, row| {
        for word in 0..MAX_WORDS {
            union[word] |= row[word];
        }
        union
    })
}

/// The pool of rows as the program reads it, see [`edge_ebpf::abi::POOL`]: each distinct row once, so that classes that no rule tells apart
/// become one.
#[derive(Debug)]
pub(super) struct RowPool {
    /// Words of a row in use.
    words: usize,
    rows: Vec<Row>,
    classes: HashMap<Row, u32>,
}

impl RowPool {
    pub fn new(words: usize) -> Self {
        Self { words, rows: Vec::new(), classes: HashMap::new() }
    }

    /// The row's class.
    pub fn intern(&mut self, row: Row) -> u32 {
        *self.classes.entry(row).or_insert_with(|| {
            self.rows.push(row);
            (self.rows.len() - 1) as u32
        })
    }

    /// A class of its own with this row.
    pub fn append(&mut self, row: Row) -> u32 {
        self.rows.push(row);
        (self.rows.len() - 1) as u32
    }

    /// Classes so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn into_pool(self) -> Vec<u64> {
        let Self { words, rows, classes: _ } = self;
        let mut pool = Vec::with_capacity(rows.len() * row_size(words));
        for row in rows {
            let row = &row[..words];
            if words > 1 {
                pool.push(summary(row));
            }
            pool.extend_from_slice(row);
        }
        pool
    }
}

/// What a row begins with in the pool.
pub(super) fn first_word(row: &Row, words: usize) -> u64 {
    if words > 1 { summary(&row[..words]) } else { row[0] }
}

/// A bit for each [`GROUP`] of rules of which one is there.
fn summary(row: &[u64]) -> u64 {
    const GROUPS: usize = 64 / GROUP;
    let group = |word: u64, group: usize| u64::from(word >> (group * GROUP) & ((1 << GROUP) - 1) != 0);
    (0..row.len() * GROUPS).fold(0, |summary, bit| summary | group(row[bit / GROUPS], bit % GROUPS) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(words: [u64; N]) -> Row {
        let mut row = [0; MAX_WORDS];
        row[..N].copy_from_slice(&words);
        row
    }

    #[test]
    fn a_row_of_several_words_begins_with_which_of_its_groups_are_not_empty() {
        let mut pool = RowPool::new(3);
        let wanted = [row([7, 0, 9 << 16]), row([0, 0, 0]), row([7, 0, 9 << 16]), row([0, 1 << 63, 0])];
        assert_eq!(wanted.map(|row| pool.intern(row)), [0, 1, 0, 2]);
        assert_eq!(pool.into_pool(), [0b0010_0000_0001, 7, 0, 9 << 16, 0, 0, 0, 0, 0b1000_0000, 0, 1 << 63, 0]);
    }

    #[test]
    fn the_last_rule_has_a_group() {
        assert_eq!(summary(&[0; MAX_WORDS]), 0);
        let mut last = [0; MAX_WORDS];
        last[MAX_WORDS - 1] = 1 << 63;
        assert_eq!(summary(&last), 1 << 63);
    }

    #[test]
    fn a_row_of_one_word_is_that_word() {
        let mut pool = RowPool::new(1);
        assert_eq!([row([0]), row([5])].map(|row| pool.intern(row)), [0, 1]);
        assert_eq!(pool.into_pool(), [0, 5]);
    }
}
