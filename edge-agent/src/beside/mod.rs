//! What the agent reads beside the packets' way: Initials of QUIC that the kernel holds, and DNS answers that it does not read.
//!
//! Invariant: the agent only adds knowledge, and no packet waits in it. An Initial that is held is dropped; its client sends it again, and
//! finds what was noted of its flow. What is not read, in time or at all, leaves the kernel's verdicts as they are.

mod answer;
mod initials;
mod recent;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use edge_ebpf::abi::beside::{CopyHeader, CopyKind, HELLO_HEAD, Taught};
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::packet::Mac;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use self::answer::{Answer, Message};
use self::initials::{Greeting, Initials};
use self::recent::Recent;
use self::stream::Stream;
use crate::agent::state::{SharedDataplane, lock};
use crate::config::Conduct;
use crate::dataplane::error::Error;
use crate::dataplane::identity::Shown;
use crate::dataplane::teach::{Lesson, WireName};
use crate::engine::observe::segment::{Flow, Segment};
use crate::identity::devices::{Devices, Hello, now};

/// Connections with answers, and how long one that is silent is remembered.
const STREAMS: usize = 256;
const AGE: Duration = Duration::from_secs(60);
/// Watched names that one answer teaches, as in the kernel.
const MAX_WATCHED: usize = 4;
/// Copies read before other tasks get their turn.
const BATCH: usize = 64;
/// How often the ring is looked into without being told to.
const INTERVAL: Duration = Duration::from_millis(100);

/// What came of a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CopyResult {
    /// The kernel was told something that a rule is about.
    Taught,
    /// It was read, and no rule is about it.
    Nothing,
    /// It is a part, and others are to come.
    Incomplete,
    Unreadable,
    /// The kernel could not be told.
    Untold,
}

impl CopyResult {
    pub const ALL: [Self; 5] = [Self::Taught, Self::Nothing, Self::Incomplete, Self::Unreadable, Self::Untold];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Taught => "taught",
            Self::Nothing => "nothing",
            Self::Incomplete => "incomplete",
            Self::Unreadable => "unreadable",
            Self::Untold => "untold",
        }
    }
}

/// How many copies were read, by kind and result.
#[derive(Debug, Default)]
pub struct CopyCounts([[AtomicU64; CopyResult::ALL.len()]; CopyKind::ALL.len()]);

impl CopyCounts {
    fn add(&self, kind: CopyKind, result: CopyResult) {
        self.0[kind as usize][result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, kind: CopyKind, result: CopyResult) -> u64 {
        self.0[kind as usize][result as usize].load(Ordering::Relaxed)
    }
}

/// What a copy says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    Flow {
        flow: Flow,
        name: Option<WireName>,
    },
    Answers(Vec<Answer>),
    /// A frame that tells something of its device.
    Fact(Vec<u8>),
    /// The body of a ClientHello over TCP.
    Hello {
        device: Mac,
        body: Vec<u8>,
    },
    Incomplete,
    Unreadable,
}

/// Puts together what is spread over copies.
pub struct Reader {
    initials: Initials,
    streams: Recent<Flow, Stream>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { initials: Initials::default(), streams: Recent::new(STREAMS, AGE) }
    }
}

impl Reader {
    /// What a record of the ring says; `None`: it is none. `conduct`: of the generation in force.
    pub fn read(&mut self, record: &[u8], conduct: &Conduct, now: Instant) -> Option<(CopyKind, Finding)> {
        let (header, frame) = record.split_first_chunk::<{ size_of::<CopyHeader>() }>()?;
        let number = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let kind = CopyKind::from_u32(number(std::mem::offset_of!(CopyHeader, kind)))?;
        let is_cut = number(std::mem::offset_of!(CopyHeader, length)) as usize > frame.len();
        let finding = match kind {
            CopyKind::Fact => Some(Finding::Fact(frame.to_vec())),
            CopyKind::Hello => hello(frame),
            _ => self.segment(kind, frame, is_cut, conduct, now),
        };
        Some((kind, finding.unwrap_or(Finding::Unreadable)))
    }

    fn segment(&mut self, kind: CopyKind, frame: &[u8], is_cut: bool, conduct: &Conduct, now: Instant) -> Option<Finding> {
        let segment = Segment::read(frame)?;
        match kind {
            CopyKind::Initial => self.initial(&segment, conduct, now),
            CopyKind::AnswerOverTcp => self.over_tcp(&segment, is_cut, now),
            CopyKind::LongAnswer => segment.udp().and_then(|message| answers([message].into_iter())),
            CopyKind::Fact | CopyKind::Hello => None,
        }
    }

    fn initial(&mut self, segment: &Segment<'_>, conduct: &Conduct, now: Instant) -> Option<Finding> {
        let flow = segment.flow;
        match self.initials.datagram(flow, segment.udp()?, now) {
            Greeting::Incomplete => Some(Finding::Incomplete),
            Greeting::Unreadable => None,
            // Its true name is as hidden as it was, and what hides names is not to pass.
            Greeting::Read { fronted: true, .. } if conduct.on_uninspectable[Reason::Ech as usize] != OnUninspectable::Pass => None,
            Greeting::Read { name, fronted: _ } => Some(Finding::Flow { flow, name }),
        }
    }

    fn over_tcp(&mut self, segment: &Segment<'_>, is_cut: bool, now: Instant) -> Option<Finding> {
        let tcp = segment.tcp()?;
        let messages = self.streams.entry(segment.flow, now).segment(tcp.sequence, tcp.payload);
        if is_cut {
            // What follows is not where it goes on.
            self.streams.remove(&segment.flow);
        }
        if messages.is_empty() { Some(Finding::Incomplete) } else { answers(messages.iter().map(Vec::as_slice)) }
    }
}

/// `None`: it is shorter than its head.
fn hello(record: &[u8]) -> Option<Finding> {
    let (head, body) = record.split_first_chunk::<HELLO_HEAD>()?;
    Some(Finding::Hello { device: Mac(u64::from_le_bytes(*head)), body: body.to_vec() })
}

/// `None`: none of the messages can be read.
fn answers<'a>(messages: impl Iterator<Item = &'a [u8]>) -> Option<Finding> {
    let mut answers = Vec::new();
    let mut any = false;
    for message in messages {
        match Message::read(message) {
            Message::Answer(answer) => answers.push(answer),
            Message::Other => {}
            Message::Malformed => continue,
        }
        any = true;
    }
    any.then_some(Finding::Answers(answers))
}

/// Tells what was found by `tell`.
///
/// # Errors
/// As `tell`.
pub fn teach(finding: Finding, mut tell: impl FnMut(&Lesson) -> Result<Taught, Error>) -> Result<CopyResult, Error> {
    match finding {
        Finding::Incomplete => Ok(CopyResult::Incomplete),
        Finding::Unreadable => Ok(CopyResult::Unreadable),
        Finding::Fact(_) | Finding::Hello { .. } => Ok(CopyResult::Nothing),
        Finding::Flow { flow, name } => Ok(result(tell(&Lesson::Flow { flow, name })?)),
        Finding::Answers(answers) => {
            let mut watched = false;
            for answer in &answers {
                match teach_answer(answer, &mut tell)? {
                    CopyResult::Untold => return Ok(CopyResult::Untold),
                    result => watched |= result == CopyResult::Taught,
                }
            }
            Ok(if watched { CopyResult::Taught } else { CopyResult::Nothing })
        }
    }
}

fn result(taught: Taught) -> CopyResult {
    match taught {
        Taught::Refused => CopyResult::Untold,
        Taught::Unwatched => CopyResult::Nothing,
        Taught::Watched => CopyResult::Taught,
    }
}

fn teach_answer(
    Answer { names, addresses }: &Answer,
    tell: &mut impl FnMut(&Lesson) -> Result<Taught, Error>,
) -> Result<CopyResult, Error> {
    let mut watched = 0;
    for name in names {
        let mut is_watched = false;
        for (address, time_to_live) in addresses {
            let lesson = Lesson::Address { address: *address, time_to_live: *time_to_live, name: name.clone() };
            match tell(&lesson)? {
                Taught::Refused => return Ok(CopyResult::Untold),
                // Nor is it with the next address.
                Taught::Unwatched => break,
                Taught::Watched => is_watched = true,
            }
        }
        watched += usize::from(is_watched);
        if watched == MAX_WATCHED {
            break;
        }
    }
    Ok(if watched > 0 { CopyResult::Taught } else { CopyResult::Nothing })
}

/// The task that reads copies.
pub struct Copies {
    pub dataplane: SharedDataplane,
    pub devices: Arc<Devices>,
    pub counts: Arc<CopyCounts>,
}

impl Copies {
    /// Takes copies from `ring` for as long as the future is polled.
    ///
    /// # Errors
    /// If the ring cannot be waited for.
    pub async fn follow(self, mut ring: RingBuf<MapData>) -> io::Result<()> {
        // What an agent before this one left is too old to be learned from.
        while ring.next().is_some() {}
        // SAFETY: the ring owns its map's descriptor, and keeps it for as long as it lives.
        let mut ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)?;
        let mut reader = Reader::default();
        loop {
            // The kernel wakes whoever had read all, and may have found that not to be so yet: so it is looked at by the clock, too.
            if let Ok(guard) = tokio::time::timeout(INTERVAL, ring.readable_mut()).await {
                guard?.clear_ready();
            }
            // The lock may be held for as long as a swap takes.
            while !tokio::task::block_in_place(|| self.take(ring.get_mut(), &mut reader)) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// One batch; whether the ring is empty now.
    fn take(&self, ring: &mut RingBuf<MapData>, reader: &mut Reader) -> bool {
        for _ in 0..BATCH {
            let Some(record) = ring.next() else { return true };
            let conduct = lock(&self.dataplane).settings().conduct;
            let read = reader.read(&record, &conduct, Instant::now());
            drop(record);
            let Some((kind, finding)) = read else { continue };
            let result = self.carry_out(finding).unwrap_or_else(|error| {
                tracing::warn!(%error, "the kernel was not told what a copied packet says");
                CopyResult::Untold
            });
            self.counts.add(kind, result);
        }
        false
    }

    fn carry_out(&self, finding: Finding) -> Result<CopyResult, Error> {
        match finding {
            Finding::Fact(frame) => Ok(if self.devices.frame(&frame, now()) { CopyResult::Nothing } else { CopyResult::Unreadable }),
            Finding::Hello { device, body } => {
                // Before the hello is looked at: the numbers of signals are others after a swap.
                let mut dataplane = lock(&self.dataplane);
                let Some(Hello { key, signals }) = self.devices.hello(device, &body, now()) else { return Ok(CopyResult::Unreadable) };
                if signals.is_empty() {
                    return Ok(CopyResult::Nothing);
                }
                // The device's next hello is known by itself, and so is any other device's; of this one the kernel is told.
                let knows = dataplane.know_hello(key, &signals)?;
                let taught = dataplane.show(&Shown { device, signals })?;
                Ok(if knows { result(taught) } else { CopyResult::Untold })
            }
            finding => teach(finding, |lesson| lock(&self.dataplane).teach(lesson)),
        }
    }
}
