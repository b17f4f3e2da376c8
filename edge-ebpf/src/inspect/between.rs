//! What the steps of an inspection leave to each other.

use super::{
    Carried, NAMES, Showing, Shown,
    flow::{Flow, state},
};
use crate::{
    abi::Reason,
    name::{Span, dns::Questions, tls::Hello},
};

/// What the steps leave to each other, apart from their buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub payload: Span,
    pub questions: Questions,
    pub hello: Hello,
    pub host: Span,
    /// Of an incomplete hello: bytes from its start until more can be said.
    pub wanted: u32,
    /// Of the name in a hello or request.
    pub number: u32,
    pub shown: Shown,
    /// Of the flow; 0: it has no ports.
    pub flow_hash: u64,
    pub flow: Flow,
    /// What is to be remembered if the packet does not pass, and if it does.
    pub next: Flow,
    pub next_if_passed: Flow,
    /// Not 0: and its bytes are to be kept.
    pub keeps: u32,
    /// Bytes kept before this packet's.
    pub kept: u32,
    /// A [`Carried`].
    pub carried: u32,
    /// Bits of the [`Showing`] so far.
    pub showing: u32,
    /// Not 0: what is read begins a stream, or goes on where a hello was left.
    pub strict: u32,
    /// Sequence number of the payload.
    pub sequence: u32,
    /// Ones where a rule of the device is about names.
    pub watched: u32,
    /// Not 0: the hello lies in the bytes that were put together, and not in the frame.
    pub in_pieces: u32,
    /// Of a hello that was read.
    pub body: Span,
    pub reserved: u32,
}

impl State {
    /// Whether [`settle`] has anything to do.
    #[inline(always)]
    pub fn settles(&self) -> bool {
        self.flow_hash != 0 && (self.next != self.flow || self.next_if_passed != self.flow || self.keeps != 0)
    }

    #[inline(always)]
    pub(super) fn block(&mut self, reason: Reason) {
        self.showing |= ((reason as u32 + 1) << Showing::OBSTACLE) & self.watched;
    }

    /// The segment carries the name that was read last, and marks its flow with it if that is of concern.
    #[inline(always)]
    pub(super) fn carry(&mut self, carried: Carried, concerns: bool) {
        let number = self.number;
        self.carried = carried as u32;
        self.shown.names[0] = number;
        self.showing |= Showing::SHOWS;
        if concerns {
            // It takes the place of what the flow was known by.
            self.shown.names[NAMES - 1] = 0;
            mark(&mut self.next, number, 0);
            mark(&mut self.next_if_passed, number, 0);
        }
    }

    /// What the stream begins with was read.
    #[inline(always)]
    pub(super) fn begun(&mut self) {
        if self.strict != 0 {
            self.next_if_passed.state &= !(state::AWAITED | state::PENDING);
        }
    }
}

#[inline(always)]
pub(super) fn mark(flow: &mut Flow, number: u32, signatures: u32) {
    flow.state |= state::MARKED;
    flow.signatures |= signatures as u16;
    if number != 0 {
        flow.number = number as u16;
    }
}
