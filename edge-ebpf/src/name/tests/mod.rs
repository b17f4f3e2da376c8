//! Messages made to order and at random, and readers of them that are as plain as can be.

mod answer;
mod dns;
mod http;
mod labels;
mod tls;

use super::hash::{Hash, SEEDS, Seeds};
use super::labels::Labels;
use super::table::{NameBucket, NameEntry, NameStorage, suffixes};
use super::{Names, Walked};
use crate::packet::access::Frame;

pub const KEYS: [u64; SEEDS] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89, 0x4528_21e6_38d0_1377, 7];
/// Bytes before each message, as the headers before it in a frame.
pub const BEFORE: usize = 42;

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xee; BEFORE], message].concat()
}

/// A name's hash, by text.
pub fn hash(name: &str) -> Option<Hash> {
    let mut labels = Labels::default();
    let bytes = framed(name.as_bytes());
    let walked = labels.text(&Frame::new(&bytes), &KEYS, BEFORE, bytes.len());
    if walked.is_fault() { None } else { suffixes(&KEYS, &labels).last() }
}

/// The same of labels, in DNS' form.
pub fn wire(labels: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
    wire
}

/// Tells the walked names to the test, and gives each the number of its labels for a row.
pub struct Listener<'a> {
    pub frame: Frame<'a>,
    pub labels: Labels,
    pub hashes: Vec<Option<Hash>>,
}

impl<'a> Listener<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { frame: Frame::new(bytes), labels: Labels::default(), hashes: Vec::new() }
    }
}

impl Names for Listener<'_> {
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        self.labels.wire(&self.frame, &KEYS, at, end)
    }
    fn row(&mut self) -> u32 {
        self.hashes.push(suffixes(&KEYS, &self.labels).last());
        self.labels.count() as u32
    }
}

/// A table of one bucket.
pub struct OneBucket(pub NameBucket);

impl Seeds for OneBucket {
    fn seed(&self, place: usize) -> u64 {
        KEYS.seed(place)
    }
}

impl NameStorage for OneBucket {
    fn bucket(&self, index: u32) -> Option<&NameBucket> {
        (index == 0).then_some(&self.0)
    }
    fn mask(&self) -> u32 {
        0
    }
}

/// With these names, their rows (exact, below) and whether something is below them.
pub fn table(names: &[(&str, u32, u32, bool)]) -> OneBucket {
    let mut bucket = NameBucket::default();
    for (slot, (name, exact, below, children)) in bucket.iter_mut().zip(names) {
        *slot = NameEntry::new(hash(name).expect("a name").tag, *exact, *below, *children);
    }
    OneBucket(bucket)
}
