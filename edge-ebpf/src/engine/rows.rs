//! Which rules match: the AND of the rows of a packet's classes, word by word.

use super::{Observer, Shows, Tables};
use crate::{
    abi::{GROUP, MAX_WORDS},
    bits::{lowest, lowest_number},
    packet::{
        Packet,
        access::{Frame, forget},
    },
};

/// The first rule that decides; those before it that only monitor are told to the observer.
#[inline(always)]
pub(super) fn first_rule(
    rows: Rows,
    frame: &Frame<'_>,
    packet: &Packet,
    tables: &impl Tables,
    observer: &mut impl Observer,
) -> Option<u32> {
    if tables.words() == 1 {
        let deciding = deciding(rows, 0, frame, packet, tables, observer);
        return if deciding == 0 { None } else { Some(lowest_number(deciding)) };
    }
    let mut summary = rows.summary(tables, observer);
    for _ in 0..MAX_WORDS {
        if summary == 0 {
            break;
        }
        let word = (lowest_number(summary) as usize / GROUPS) & (MAX_WORDS - 1);
        // Without this word's groups: those before them are done.
        summary &= !(((1 << GROUPS) - 1) << (word * GROUPS));
        let deciding = deciding(rows, word, frame, packet, tables, observer);
        if deciding != 0 {
            // What follows is the same whichever word it was found in: the verifier need not follow it for each.
            return Some(forget(word * 64 + lowest_number(deciding) as usize, deciding) as u32);
        }
    }
    None
}

/// The rules of a word that match and decide.
#[inline(always)]
fn deciding(rows: Rows, word: usize, frame: &Frame<'_>, packet: &Packet, tables: &impl Tables, observer: &mut impl Observer) -> u64 {
    let Hits { all: hits, monitored: by_learned } = rows.word(tables, observer, word);
    let mut monitored = if tables.has_monitored() { hits & tables.monitored(word) } else { 0 };
    let deciding = hits & !monitored;
    if tables.has_learned_monitored() {
        monitored |= by_learned;
    }
    if monitored != 0 {
        let before = if deciding == 0 { monitored } else { monitored & (lowest(deciding) - 1) };
        if before != 0 {
            observer.monitored(frame, packet, word, before, by_learned);
        }
    }
    deciding
}

/// Where the rows are whose AND is what a packet satisfies.
#[derive(Clone, Copy)]
pub struct Rows {
    pub device: u32,
    pub remote: u32,
    pub service: u32,
    /// The rules that hold now; `None`: all do.
    pub active: Option<u32>,
    /// Whether the packet shows more than its headers say, see [`Observer::shown`].
    pub shows: bool,
}

/// The rules of a word that match.
#[derive(Clone, Copy)]
pub(super) struct Hits {
    pub all: u64,
    /// Those that match, and are only counted for the way in which they do; none of them is in `all`.
    pub monitored: u64,
}

impl Rows {
    /// In which words the AND may have a bit, where more than one is in use.
    #[inline(always)]
    fn summary(self, tables: &impl Tables, shows: &impl Shows) -> u64 {
        let Hits { all, monitored } = self.hits(tables, shows, 0);
        all | monitored
    }

    #[inline(always)]
    fn word(self, tables: &impl Tables, shows: &impl Shows, word: usize) -> Hits {
        self.hits(tables, shows, word_offset(tables.words(), word))
    }

    /// By the headers alone.
    #[inline(always)]
    pub fn plain_word(self, tables: &impl Tables, word: usize) -> u64 {
        let offset = word_offset(tables.words(), word);
        self.possible(tables, offset) & tables.pool(self.remote + offset) & tables.pool(self.service + offset)
    }

    /// Whatever the service, and whatever the remote too if that is not known.
    #[inline(always)]
    pub(super) fn word_of_any_service(self, tables: &impl Tables, word: usize, remote_known: bool) -> u64 {
        let offset = word_offset(tables.words(), word);
        let possible = self.possible(tables, offset);
        if remote_known { possible & tables.pool(self.remote + offset) } else { possible }
    }

    /// Whatever the remote, and whatever the service too.
    #[inline(always)]
    pub fn word_of_any_remote(self, tables: &impl Tables, shows: &impl Shows, word: usize, any_service: bool) -> u64 {
        let offset = word_offset(tables.words(), word);
        let possible = self.possible(tables, offset);
        if any_service {
            return possible;
        }
        let shown = if self.shows { shows.shown(tables, offset).service } else { 0 };
        possible & (tables.pool(self.service + offset) | shown)
    }

    #[inline(always)]
    fn hits(self, tables: &impl Tables, shows: &impl Shows, offset: u32) -> Hits {
        let possible = self.possible(tables, offset);
        let (mut remote, mut service) = (tables.pool(self.remote + offset), tables.pool(self.service + offset));
        let mut monitored = 0;
        if self.shows {
            let shown = shows.shown(tables, offset);
            remote |= shown.remote;
            service |= shown.service;
            monitored = possible & service & shown.monitored & !remote;
        }
        Hits { all: possible & remote & service, monitored }
    }

    #[inline(always)]
    fn possible(self, tables: &impl Tables, offset: u32) -> u64 {
        let device = tables.device_pool(self.device + offset);
        match self.active {
            Some(active) => device & tables.pool(active + offset),
            None => device,
        }
    }
}

/// Groups of rules in a word that the summary tells apart.
const GROUPS: usize = 64 / GROUP;

/// Where a row of so many words has this word: behind its summary, if it has one.
#[inline(always)]
pub const fn word_offset(words: usize, word: usize) -> u32 {
    if words == 1 { 0 } else { word as u32 + 1 }
}
