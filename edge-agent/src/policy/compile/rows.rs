//! Rows of rule bits, each distinct one kept once.

use std::collections::HashMap;

use edge_ebpf::abi::{MAX_WORDS, Row};

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

/// Gives each distinct row a number: classes that no rule tells apart become one.
#[derive(Default)]
pub(super) struct RowInterner {
    rows: Vec<Row>,
    numbers: HashMap<Row, u32>,
}

impl RowInterner {
    pub fn intern(&mut self, row: Row) -> u32 {
        *self.numbers.entry(row).or_insert_with(|| {
            self.rows.push(row);
            (self.rows.len() - 1) as u32
        })
    }

    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}
