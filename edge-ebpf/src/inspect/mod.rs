//! What a watched device's packet shows beside its headers: names, signatures, what its flow was known by, and what an answer gave its
//! destination's address for.
//!
//! [`inspect`] is the order of three steps: [`begin`] finds out what there is to read, a reader of `name` reads it, [`finish`] makes of it what
//! the decision needs to know. The kernel program has them as functions that the verifier checks by themselves ([`Steps`]); what they leave to
//! each other is in [`State`]. Nothing is remembered before [`settle`] knows whether the packet passes: a segment that is dropped comes again,
//! and must find what the first one found.

pub mod flow;
pub mod learned;
pub mod secret;
mod showing;
pub mod shown;
pub mod signature;

use crate::{
    abi::Reason,
    name::{
        Reading, Span,
        dns::{Questions, Transport},
        quic::{self, Initial},
        tls::Hello,
    },
    packet::{
        Packet,
        access::{Frame, opaque},
        payload::Segment,
        protocol,
    },
};
use flow::{Flow, state};

pub use showing::Showing;

/// Where DNS is asked (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;
/// Bytes of a ClientHello that are kept until the rest of it comes, with its records' headers.
pub const KEPT: usize = crate::name::tls::MAX_JOINED;

/// Names that a packet can carry: as many as questions are read.
pub const NAMES: usize = crate::name::dns::MAX_QUESTIONS;

/// What the rules of a device ask about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Of names: what stands in the way of reading them counts.
    pub names: bool,
    pub signatures: bool,
    /// Names, hellos and requests are read: for the rules, or for what the device is known by.
    pub reads: bool,
}

impl Interest {
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        !self.reads && !self.signatures
    }
}

/// Numbers of what the packet shows, for the rows that go with it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// Of the names that it carries, or its flow did; 0: none.
    pub names: [u32; NAMES],
    /// Of the names that its remote was learned for; 0: none.
    pub learned: [u32; learned::WAYS],
    /// Bits of the signatures that it or its flow shows.
    pub signatures: u32,
}

impl Shown {
    /// Of zeros that it knows the compiler makes a call in the kernel, which takes them byte by byte.
    #[inline(always)]
    fn none() -> Self {
        let none = opaque(0) as u32;
        Self { names: [none; NAMES], learned: [none; learned::WAYS], signatures: none }
    }
}

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

/// What is to be read of a packet.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    Nothing = 0,
    DnsOverUdp = 1,
    DnsOverTcp = 2,
    /// A ClientHello, or else a request.
    Segment = 3,
    /// The ClientHello that the segment goes on with.
    Appended = 4,
    /// A request: the segment is no hello.
    Request = 5,
}

impl Read {
    pub const fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::DnsOverUdp,
            2 => Self::DnsOverTcp,
            3 => Self::Segment,
            4 => Self::Appended,
            5 => Self::Request,
            _ => Self::Nothing,
        }
    }
}

/// Which name the packet itself carries.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carried {
    Nothing = 0,
    /// In its first question.
    Question = 1,
    /// In its ClientHello.
    Hello = 2,
    /// In its request.
    Request = 3,
}

/// The steps of an inspection. A [`Reading`] of TLS is `Malformed` where the bytes may be anything, and `TooLong` where they are a hello that
/// cannot be read.
pub trait Steps {
    /// As [`begin`].
    fn begin(&mut self) -> Read;
    /// What is asked, into [`State::questions`].
    fn dns(&mut self, transport: Transport) -> Reading;
    /// The segment's hello, into [`State::hello`] and [`State::number`].
    fn tls(&mut self) -> Reading;
    /// The hello of the kept bytes with the segment's behind them.
    fn tls_appended(&mut self) -> Reading;
    /// The segment's request, into [`State::host`] and [`State::number`].
    fn http(&mut self) -> Reading;
    /// Notes what the device is known by as what was read tells it.
    fn identify(&mut self, read: Read, reading: Reading);
    /// As [`finish`].
    fn finish(&mut self, read: Read, reading: Reading) -> Showing;
}

/// What a packet from the inside shows.
#[inline(always)]
pub fn inspect(steps: &mut impl Steps) -> Showing {
    let mut read = steps.begin();
    let reading = match read {
        Read::Nothing | Read::Request => Reading::Other,
        Read::DnsOverUdp => steps.dns(Transport::Udp),
        Read::DnsOverTcp => steps.dns(Transport::Tcp),
        Read::Appended => steps.tls_appended(),
        Read::Segment => match steps.tls() {
            Reading::Other => {
                read = Read::Request;
                steps.http()
            }
            reading => reading,
        },
    };
    steps.identify(read, reading);
    steps.finish(read, reading)
}

/// What is remembered from packet to packet, and the state of this one.
pub trait Memory {
    /// Works on the state; where there is none, nothing is done. Others change it too: no reference to it outlives the work.
    fn with<R: Default>(&mut self, work: impl FnOnce(&mut State) -> R) -> R;
    /// Hash of the packet's flow, see [`secret::flow`].
    fn flow_hash(&self, frame: &Frame<'_>, packet: &Packet) -> u64;
    fn flow(&self, hash: u64) -> Flow;
    fn put_flow(&mut self, hash: u64, flow: Flow);
    /// Numbers of the names that the remote was learned for, into [`Shown::learned`]. Whether there is any.
    fn learned(&mut self, packet: &Packet) -> bool;
    /// Bits of the signatures that the payload shows.
    fn signatures(&mut self) -> u32;
    /// How many bytes of the flow's hello are kept; 0: they were lost.
    fn kept(&self, hash: u64) -> u32;
    /// Keeps the bytes that the last reading was of.
    fn keep(&mut self);
    fn forget_kept(&mut self, hash: u64);
}

/// Finds out what there is to read in a packet from the inside, and what is known of it without.
#[inline(always)]
pub fn begin(frame: &Frame<'_>, packet: &Packet, interest: Interest, memory: &mut impl Memory) -> Read {
    let (start, end) = packet.payload(frame);
    let (_, port) = packet.ports(frame);
    memory.with(|state| {
        state.payload = Span::new(start, end);
        state.shown = Shown::none();
        state.keeps = 0;
        state.carried = Carried::Nothing as u32;
        state.flow_hash = 0;
        state.showing = 0;
        state.watched = u32::from(interest.names).wrapping_neg();
    });
    let learned = interest.names && memory.learned(packet);
    let tcp = packet.protocol == protocol::TCP;
    if !tcp && packet.protocol != protocol::UDP {
        memory.with(|state| state.showing |= if learned { Showing::SHOWS } else { 0 });
        return Read::Nothing;
    }
    if !tcp && port == DNS_PORT && interest.names && !interest.signatures {
        // Nothing is remembered of such a flow: names mark those of segments, and the agent those of QUIC's Initials.
        memory.with(|state| state.showing |= if learned { Showing::SHOWS } else { 0 });
        return Read::DnsOverUdp;
    }
    let hash = memory.flow_hash(frame, packet);
    let segment = if tcp { packet.segment(frame) } else { Segment::default() };
    let mut flow = memory.flow(hash);
    if segment.opens {
        let awaited = if interest.reads && port != DNS_PORT { state::AWAITED } else { 0 };
        flow = Flow { state: awaited, sequence: segment.sequence, number: 0, signatures: 0 };
        memory.put_flow(hash, flow);
    }
    let signatures = if interest.signatures && start < end { memory.signatures() } else { 0 };
    memory.with(|state| {
        state.flow_hash = hash;
        state.flow = flow;
        state.next = flow;
        if signatures != 0 {
            mark(&mut state.next, 0, signatures);
        }
        state.next_if_passed = state.next;
        // The last place: a segment carries one name, and no question.
        state.shown.names[NAMES - 1] = u32::from(flow.number);
        state.shown.signatures = u32::from(flow.signatures) | signatures;
        state.sequence = segment.sequence;
        if learned || signatures != 0 || flow.is(state::MARKED) {
            state.showing |= Showing::SHOWS;
        }
    });
    if !interest.reads {
        return Read::Nothing;
    }
    if port == DNS_PORT {
        // An empty query is none; an empty segment is.
        return match tcp {
            true if start < end => Read::DnsOverTcp,
            true => Read::Nothing,
            false => Read::DnsOverUdp,
        };
    }
    if start >= end {
        return Read::Nothing;
    }
    if !tcp {
        // The name of a known flow, which may be none, is known.
        if !flow.is(state::KNOWN) && !matches!(quic::initial(frame, start, end), Initial::No) {
            memory.with(|state| state.block(Reason::Quic));
        }
        return Read::Nothing;
    }
    order(segment, hash, flow, memory)
}

/// Whether the segment comes in its turn.
#[inline(always)]
fn order(segment: Segment, hash: u64, flow: Flow, memory: &mut impl Memory) -> Read {
    let distance = segment.sequence.wrapping_sub(flow.sequence);
    let (mut read, mut strict, mut kept) = (Read::Segment, 0, 0);
    let mut obstacle = None;
    if flow.is(state::AWAITED) {
        if distance != 0 && distance < 1 << 31 {
            obstacle = Some(Reason::OutOfOrder);
        }
        strict = u32::from(distance == 0);
    } else if flow.is(state::PENDING) {
        strict = 1;
        if distance != 0 {
            kept = memory.kept(hash);
            read = Read::Appended;
            if kept == 0 {
                obstacle = Some(Reason::TlsUnreadable);
            } else if kept != distance {
                obstacle = Some(Reason::OutOfOrder);
            }
        }
    }
    memory.with(|state| {
        state.strict = strict;
        state.kept = kept;
        if let Some(reason) = obstacle {
            state.block(reason);
        }
    });
    if obstacle.is_some() { Read::Nothing } else { read }
}

/// What follows from what was read. `concerns`: whether a rule of the device is about the name of [`State::number`].
#[inline(always)]
pub fn finish(state: &mut State, read: Read, reading: Reading, concerns: bool) -> Showing {
    match read {
        Read::Nothing => {}
        Read::DnsOverUdp | Read::DnsOverTcp => asked(state, matches!(read, Read::DnsOverUdp), reading),
        Read::Request => requested(state, reading, concerns),
        Read::Segment | Read::Appended => greeted(state, matches!(read, Read::Appended), reading, concerns),
    }
    Showing::from_bits(state.showing)
}

#[inline(always)]
fn asked(state: &mut State, over_udp: bool, reading: Reading) {
    match reading {
        Reading::Name => {}
        Reading::Other | Reading::NoName => return,
        _ => return state.block(Reason::DnsUnreadable),
    }
    let Questions { rows, types, count, .. } = &state.questions;
    let mut keys = false;
    for place in 0..NAMES {
        if (place as u32) < *count {
            // A query's flow is not marked by names, so the last place is free.
            state.shown.names[place] = rows[place];
            keys |= types[place] == Questions::HTTPS || types[place] == Questions::SVCB;
        }
    }
    state.carried = Carried::Question as u32;
    state.showing |= Showing::SHOWS;
    if over_udp {
        state.showing |= state.watched & (Showing::QUERY | if keys { Showing::ASKS_KEYS } else { 0 });
    }
}

#[inline(always)]
fn greeted(state: &mut State, appended: bool, reading: Reading, concerns: bool) {
    match reading {
        Reading::Incomplete => {
            if state.wanted as usize <= KEPT {
                // What comes before the stream begins is nobody's.
                if state.strict == 0 && state.flow.is(state::AWAITED) {
                    return;
                }
                let first = if appended { state.flow.sequence } else { state.sequence };
                let next = state.next.state & !state::AWAITED | state::PENDING;
                state.next_if_passed = Flow { state: next, sequence: first, ..state.next };
                state.keeps = 1;
                return;
            }
            state.block(Reason::TlsUnreadable);
        }
        Reading::Name | Reading::NoName => {
            if matches!(reading, Reading::Name) {
                state.carry(Carried::Hello, concerns);
            }
            if state.hello.ech != 0 {
                state.block(Reason::Ech);
            }
        }
        Reading::Malformed if state.strict == 0 => {}
        Reading::Malformed | Reading::TooLong => state.block(Reason::TlsUnreadable),
        Reading::Other => {}
    }
    state.begun();
}

#[inline(always)]
fn requested(state: &mut State, reading: Reading, concerns: bool) {
    match reading {
        Reading::Name => state.carry(Carried::Request, concerns),
        Reading::Other | Reading::NoName => {}
        Reading::Malformed if state.strict == 0 => {}
        _ => state.block(Reason::HttpUnreadable),
    }
    state.begun();
}

impl State {
    /// Whether [`settle`] has anything to do.
    #[inline(always)]
    pub fn settles(&self) -> bool {
        self.flow_hash != 0 && (self.next != self.flow || self.next_if_passed != self.flow || self.keeps != 0)
    }

    #[inline(always)]
    fn block(&mut self, reason: Reason) {
        self.showing |= ((reason as u32 + 1) << Showing::OBSTACLE) & self.watched;
    }

    /// The segment carries the name that was read last, and marks its flow with it if that is of concern.
    #[inline(always)]
    fn carry(&mut self, carried: Carried, concerns: bool) {
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
    fn begun(&mut self) {
        if self.strict != 0 {
            self.next_if_passed.state &= !(state::AWAITED | state::PENDING);
        }
    }
}

#[inline(always)]
fn mark(flow: &mut Flow, number: u32, signatures: u32) {
    flow.state |= state::MARKED;
    flow.signatures |= signatures as u16;
    if number != 0 {
        flow.number = number as u16;
    }
}

/// Remembers what follows from the packet, of which is known now whether it passes.
#[inline(always)]
pub fn settle(passes: bool, memory: &mut impl Memory) {
    let (hash, flow, next, keeps) = memory.with(|state| {
        let State { flow_hash, flow, next, next_if_passed, keeps, .. } = state;
        (*flow_hash, *flow, if passes { *next_if_passed } else { *next }, *keeps)
    });
    if hash == 0 {
        return;
    }
    if next != flow {
        memory.put_flow(hash, next);
        if flow.is(state::PENDING) && !next.is(state::PENDING) {
            memory.forget_kept(hash);
        }
    }
    if passes && keeps != 0 {
        memory.keep();
    }
}
