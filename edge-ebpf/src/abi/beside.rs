//! What the kernel program hands to the agent to be read beside the packets' way, and what the agent tells it of that.

use super::EVENT_NAME;

/// Before a frame in the ring of copies, which follows from its first byte on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CopyHeader {
    /// A [`CopyKind`].
    pub kind: u32,
    /// The program's.
    pub generation: u32,
    /// Of the whole frame, in bytes: fewer follow where it is too long.
    pub length: u32,
    pub reserved: u32,
}

/// What a copied frame holds.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CopyKind {
    /// A QUIC Initial, which is held.
    Initial = 0,
    /// A segment with DNS answers, or a part of them.
    AnswerOverTcp = 1,
    /// A DNS answer of more bytes or records than the program reads.
    LongAnswer = 2,
    /// A frame that tells something new of its device: a SYN, a DHCP message, an HTTP request, an announcement of mDNS or SSDP.
    Fact = 3,
    /// A ClientHello of a kind that is new of its device: [`HELLO_HEAD`] bytes that begin with the device's MAC, then the hello's body.
    Hello = 4,
}

impl CopyKind {
    pub const ALL: [Self; 5] = [Self::Initial, Self::AnswerOverTcp, Self::LongAnswer, Self::Fact, Self::Hello];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "quic_initial",
            Self::AnswerOverTcp => "answer_over_tcp",
            Self::LongAnswer => "long_answer",
            Self::Fact => "fact",
            Self::Hello => "client_hello",
        }
    }

    pub const fn from_u32(value: u32) -> Option<Self> {
        if (value as usize) < Self::ALL.len() { Some(Self::ALL[value as usize]) } else { None }
    }
}

/// Bytes of the ring of copies.
pub const COPIES: u32 = 1 << 20;
/// Bytes that are copied of a frame with an Initial: the longest that Ethernet carries, and more.
pub const MAX_INITIAL: usize = 2048;
/// Bytes that are copied of a frame with a DNS answer, which may be several that the kernel has put together.
pub const MAX_ANSWER: usize = 16_384;

/// Bytes before a hello's body in its copy.
pub const HELLO_HEAD: usize = 8;

/// Bytes of Initials, and as many of answers, that a CPU copies in an epoch of [`super::ReportBudget`].
pub const COPIES_EACH: u32 = 256 << 10;
/// Of one device's Initials among them.
pub const COPIES_OF_DEVICE: u32 = 32 << 10;

/// A CPU's share of the budget, and what it has copied in this epoch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopyState {
    pub epoch: u32,
    /// Bytes of Initials, and of answers.
    pub initials: u32,
    pub answers: u32,
    pub reserved: u32,
    /// Frames not copied because the budget was used up or the ring full.
    pub suppressed: u64,
    /// Bytes of Initials by hash of the device, above the epoch's lowest byte.
    pub devices: [u32; COPY_DEVICES],
}
pub const COPY_DEVICES: usize = 256;

/// What the agent has found out, for the program that notes it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LessonRecord {
    /// Of the flow, as its device sends; an IPv4 address is the high 32 bits of the first half.
    pub source: [u64; 2],
    /// Of the flow; or the learned address.
    pub destination: [u64; 2],
    /// Of the learned address, in seconds as the answer has it.
    pub time_to_live: u32,
    /// A [`LessonKind`].
    pub kind: u16,
    pub source_port: u16,
    pub destination_port: u16,
    pub protocol: u8,
    /// 0: there is no name.
    pub named: u8,
    pub reserved: u32,
    /// In DNS wire form, in lower case, filled up with zeros.
    pub name: [u8; EVENT_NAME],
}

#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LessonKind {
    /// The flow's name is this one, or it has none.
    Flow = 0,
    /// An answer gave the address for the name.
    Address = 1,
    /// The device has these signals: its MAC is the name's first eight bytes as a number, the signals are source and destination.
    Signals = 2,
}

/// What became of a lesson; the program returns it.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taught {
    /// It is none.
    Refused = 0,
    /// No rule is about the name: of a flow that is noted, of an address nothing is.
    Unwatched = 1,
    Watched = 2,
}

impl Taught {
    pub const fn from_u32(value: u32) -> Self {
        match value {
            1 => Self::Unwatched,
            2 => Self::Watched,
            _ => Self::Refused,
        }
    }
}

const _: () = {
    assert!(size_of::<CopyHeader>() == 16);
    assert!(size_of::<CopyState>() == 24 + 4 * COPY_DEVICES);
    assert!(size_of::<LessonRecord>() == 48 + EVENT_NAME);
};
