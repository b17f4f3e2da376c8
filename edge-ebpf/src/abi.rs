//! What the kernel program and the agent share: map values, encodings, constants.
//!
//! Every type here is `repr(C)` without implicit padding, and its size is asserted below: the agent writes these bytes into maps and
//! the program reads them. Change one and raise [`SCHEMA`], so that an agent refuses pinned state that another version wrote.

pub mod beside;
pub mod identity;
mod report;
mod trie;

use crate::inspect::KEPT;

pub use report::{AnswerResult, EVENT_NAME, EVENT_NAME_IS_TEXT, Event, Evidence, REPORT_SEEN, ReportBudget, ReportState};
pub use trie::{Entry, FANOUT, Link, NODES_BITS, NODES_VALUE, Node, ROOT, Skip};

/// Version of everything that outlives one agent: the layouts of the pinned maps.
pub const SCHEMA: u32 = 2;

/// Words of 64 rules in a [`Row`].
pub const MAX_WORDS: usize = 16;
/// Rules in one generation.
pub const MAX_RULES: usize = MAX_WORDS * 64;
/// Which rules a class satisfies in one dimension: bit `r % 64` of word `r / 64` for rule `r`.
pub type Row = [u64; MAX_WORDS];

/// Words in the pool that holds the rows of all classes, one after another: a class is the number of its row.
///
/// A row is as many words as a generation uses. Where that is more than one, a summary goes before them: its bit `g` is set where one of the
/// 16 rules from `16 * g` on is, so that words in which no rule matches are not read.
pub const POOL: usize = 1 << 17;
pub type Pool = [u64; POOL];
/// Rules that share a bit of the summary.
pub const GROUP: usize = MAX_RULES / 64;
/// Words of a row in the pool, its summary among them, where `words` are in use.
pub const fn row_size(words: usize) -> usize {
    if words > 1 { words + 1 } else { 1 }
}
/// Classes of one generation: 15 bits name one, and the pool has to hold their rows.
pub const fn max_classes(words: usize) -> usize {
    let fit = POOL / row_size(words);
    if fit < 1 << 15 { fit } else { 1 << 15 }
}

/// Slots in the pinned table of rule counters. A slot belongs to one (policy, rule) for as long as the table lives.
pub const RULE_SLOTS: u32 = 4096;
/// Interfaces one agent serves.
pub const MAX_INTERFACES: usize = 64;
/// Size of the perfect hash from interface index to slot, a power of two.
pub const INTERFACE_HASH: usize = 1024;
/// Token buckets kept at once, one for each device and rate-limited rule.
pub const MAX_BUCKETS: u32 = 65_536;
/// Later fragments remembered at once.
pub const MAX_FRAGMENTS: u32 = 16_384;

/// Index space of service classes: TCP ports, UDP ports, ICMP types, ICMPv6 types, other protocols by number.
pub mod service {
    pub const TCP: usize = 0;
    pub const UDP: usize = 1 << 16;
    pub const ICMP: usize = 2 << 16;
    pub const ICMPV6: usize = ICMP + 256;
    pub const PROTOCOL: usize = ICMPV6 + 256;
    pub const SLOTS: usize = PROTOCOL + 256;
}
/// A service class for each index of [`service`].
pub type Services = [u16; service::SLOTS];

/// What becomes of a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Verdict {
    Pass = 0,
    Drop = 1,
    /// Dropped, and the sender told so (TCP RST, ICMP administratively prohibited).
    Reject = 2,
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Pass, Self::Drop, Self::Reject];

    pub const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Pass,
            2 => Self::Reject,
            _ => Self::Drop,
        }
    }
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

/// Why a packet cannot be inspected.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Reason {
    /// Ends before a header that it announces does.
    Truncated = 0,
    /// A header contradicts itself (version, header length, total length).
    BadHeader = 1,
    /// More IPv6 extension headers, or more of their bytes, than are followed.
    ExtensionChain = 2,
    /// A later fragment whose first one was not seen.
    FragmentWithoutFirst = 3,
    /// More than two VLAN tags.
    NestedTags = 4,
    /// The header's destination is only the next stop: an IPv6 routing header with segments left, an IPv4 source route.
    SourceRoute = 5,
    /// A DNS query that cannot be read, or not to its end.
    DnsUnreadable = 6,
    /// A TLS ClientHello that cannot be read.
    TlsUnreadable = 7,
    /// An HTTP request whose host is not in its first segment.
    HttpUnreadable = 8,
    /// A TCP segment that came before the one that begins the connection, or in the midst of a ClientHello.
    OutOfOrder = 9,
    /// A QUIC Initial, whose ClientHello is encrypted.
    Quic = 10,
    /// A ClientHello that may name a front, with the true name encrypted (RFC 9849).
    Ech = 11,
    /// A DNS query for a service's keys, which ECH needs (RFC 9460).
    HttpsRecord = 12,
}

impl Reason {
    pub const ALL: [Self; 13] = [
        Self::Truncated,
        Self::BadHeader,
        Self::ExtensionChain,
        Self::FragmentWithoutFirst,
        Self::NestedTags,
        Self::SourceRoute,
        Self::DnsUnreadable,
        Self::TlsUnreadable,
        Self::HttpUnreadable,
        Self::OutOfOrder,
        Self::Quic,
        Self::Ech,
        Self::HttpsRecord,
    ];

    /// Entries of a table with a counter for each reason and verdict, and the place in it.
    pub const SLOTS: usize = Self::ALL.len() * Verdict::ALL.len();
    pub const fn slot(self, verdict: Verdict) -> usize {
        self as usize * Verdict::ALL.len() + verdict as usize
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadHeader => "bad_header",
            Self::ExtensionChain => "extension_chain",
            Self::FragmentWithoutFirst => "fragment_without_first",
            Self::NestedTags => "nested_tags",
            Self::SourceRoute => "source_route",
            Self::DnsUnreadable => "dns_unreadable",
            Self::TlsUnreadable => "tls_unreadable",
            Self::HttpUnreadable => "http_unreadable",
            Self::OutOfOrder => "out_of_order",
            Self::Quic => "quic",
            Self::Ech => "ech",
            Self::HttpsRecord => "https_record",
        }
    }

    pub const fn from_u8(value: u8) -> Option<Self> {
        if (value as usize) < Self::ALL.len() { Some(Self::ALL[value as usize]) } else { None }
    }
}

/// What the configuration wants for an uninspectable packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnUninspectable {
    Pass = 0,
    Drop = 1,
    /// Drop where an enforcing rule could have matched what is known of the packet (device, remote), pass elsewhere.
    DropIfRuleCouldMatch = 2,
    /// As [`Self::DropIfRuleCouldMatch`], until the agent has told the kernel the name: for [`Reason::Quic`] alone.
    Inspect = 3,
}

/// How a query for a name that is rejected is answered.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DnsReject {
    /// There is no such name (RFC 1035 section 4.1.1, code 3).
    #[default]
    NxDomain = 0,
    /// Refused by policy (code 5).
    Refused = 1,
    /// A and AAAA: 0.0.0.0 and ::, everything else without data.
    NullAddress = 2,
}

/// Packets and bytes; one per CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    pub packets: u64,
    pub bytes: u64,
}

/// What a rule does once it is the one.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleEntry {
    /// Slot in the table of rule counters.
    pub slot: u32,
    /// Slot for what a rate limit drops.
    pub exceeded_slot: u32,
    /// A [`Verdict`]; of no meaning for a monitored rule.
    pub verdict: u8,
    /// 1: a match is reported in the ring buffer. (`u8`, not `bool`: any byte the map may hold must be a valid value.)
    pub report: u8,
    /// 1: what exceeds the rate is dropped, see [`RateEntry`].
    pub limited: u8,
    pub reserved: u8,
    /// The rule's own number: its place in the table of rates.
    pub rule: u32,
    /// Slot for packets that match by nothing but an address that was learned for a destination which is only monitored then.
    pub learned_slot: u32,
    pub reserved_too: u32,
}

/// A rate limit as a bucket of time: a packet costs `units × time_per_unit`, the bucket holds `burst`, and real time fills it again.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RateEntry {
    /// Nanoseconds × 2^16.
    pub time_per_unit: u64,
    /// Nanoseconds.
    pub burst: u64,
    /// 1: a unit is a byte, else a packet.
    pub bytes: u32,
    pub reserved: u32,
}

/// Whose bucket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct BucketKey {
    /// MAC as a number; 0 for what comes from the outside.
    pub device: u64,
    /// Counter slot of the rule: it outlives generations.
    pub slot: u32,
    pub reserved: u32,
}

/// The program's time. It reads the kernel's monotonic clock and adds.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    /// Nanoseconds between the monotonic clock and the Unix epoch: the agent follows corrections of the wall clock with it.
    pub unix_offset: i64,
    /// The monotonic time itself, where the program was loaded to be tried out ([`crate::abi::CLOCK_STANDS`]).
    pub standing: u64,
}
/// Value of the constant `CLOCK_SOURCE` for a program whose time is [`Clock::standing`].
pub const CLOCK_STANDS: u32 = 1;
/// Class of the rules that hold, for each of 1,024 minutes: a power of two, so that a place in it needs only a mask.
pub type Stretch = [u16; STRETCH];
pub const STRETCH: usize = 1024;
/// Stretches that a timeline of schedules reaches ahead, 400 days: an agent that has been dead for longer leaves the last minute in force.
pub const TIMELINE_STRETCHES: usize = 563;

/// Names one fragmented datagram (RFC 791 section 3.2, RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FragmentKey {
    pub source: [u64; 2],
    pub destination: [u64; 2],
    pub id: u32,
    /// 4 or 6.
    pub family: u16,
    /// Protocol number for IPv4, 0 for IPv6, where the identification is enough.
    pub protocol: u16,
}

/// The first fragment's verdict, kept for the later ones.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FragmentVerdict {
    /// Counter slot of the rule that decided, or `u32::MAX`.
    pub slot: u32,
    pub verdict: u8,
    pub reserved: [u8; 3],
}

/// The classes of the rules of a name, by how the name is met. Numbers of names index these; 0 is that of no name.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NameRules {
    /// The packet carries the name.
    pub carried: u32,
    /// The packet's remote is an address that an answer gave for the name.
    pub learned: u32,
    /// The same, for rules that then only count and report.
    pub learned_monitored: u32,
    /// Set of the signals that a device shows by asking for the name, see [`identity`]; 0: none.
    pub signals: u32,
}
/// Names with different rules are told apart by 16 bits.
pub const MAX_NAME_NUMBERS: usize = 1 << 16;

/// The beginning of a ClientHello that goes on in later segments.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KeptHello {
    /// Bytes of it that are kept.
    pub length: u32,
    pub reserved: u32,
    pub bytes: [u8; KEPT],
}
/// Kept at once.
pub const MAX_HELLOS: u32 = 2048;

/// Bytes at one place of the payload, by which a service is known whatever its port.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignatureEntry {
    /// The wanted bytes, the first one lowest, eight in each half; zero where any will do.
    pub value: [u64; 2],
    /// Ones where a byte is wanted.
    pub mask: [u64; 2],
    /// Of the rules that ask for it.
    pub class: u32,
    /// From the payload's start, in bytes.
    pub offset: u16,
    /// Bytes that have to be there behind the offset.
    pub length: u16,
    /// Destination ports, inclusive.
    pub first_port: u16,
    pub last_port: u16,
    /// Protocol number; 0: the entry is not in use.
    pub protocol: u8,
    pub reserved: u8,
    /// Set of the signals that a device shows by it, see [`identity`]; 0: none.
    pub signals: u16,
}
/// A flow remembers which of them it showed in 16 bits.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes of a signature.
pub const MAX_SIGNATURE_BYTES: usize = 16;
/// Furthest place of a signature.
pub const MAX_SIGNATURE_OFFSET: usize = 1024;

/// Stamped beside the pins.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    pub magic: u32,
    pub schema: u32,
    pub generation: u32,
    pub reserved: u32,
}
/// "edge"
pub const STAMP_MAGIC: u32 = 0x6564_6765;

const _: () = {
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<RuleEntry>() == 24);
    assert!(size_of::<RateEntry>() == 24);
    assert!(size_of::<BucketKey>() == 16);
    assert!(size_of::<Clock>() == 16);
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<FragmentVerdict>() == 8);
    assert!(size_of::<Stamp>() == 16);
    assert!(size_of::<KeptHello>() == 4096);
    assert!(size_of::<NameRules>() == 16);
    assert!(size_of::<SignatureEntry>() == 48);
    assert!(size_of::<Row>() == 128);
};
