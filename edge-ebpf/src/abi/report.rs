//! What the program tells the agent: reports of packets, and results of what it learned from.

/// A report of a matched rule or an uninspectable packet, for the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// High and low half; an IPv4 address is the high 32 bits of the first.
    pub source: [u64; 2],
    pub destination: [u64; 2],
    pub interface: u32,
    /// Counter slot of the rule, or `u32::MAX` for an uninspectable packet.
    pub slot: u32,
    /// Length of the frame in bytes.
    pub length: u32,
    pub generation: u32,
    pub device: [u8; 6],
    pub source_port: u16,
    pub destination_port: u16,
    /// 4, 6, or 0 where the packet did not get that far.
    pub family: u8,
    pub protocol: u8,
    pub verdict: u8,
    /// 1: the rule only monitors; the verdict is another's.
    pub monitored: u8,
    /// A [`Reason`], or 255.
    pub reason: u8,
    /// An [`Evidence`].
    pub evidence: u8,
}
/// Bytes that may follow an event: a name as it is on the wire, uncompressed and with the root's label, filled up with zeros.
pub const EVENT_NAME: usize = 256;
/// In [`Event::evidence`]: the name behind it is text as in a ClientHello or request, and not in wire form.
pub const EVENT_NAME_IS_TEXT: u8 = 0x80;

/// What a rule matched a packet's remote or service by.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Evidence {
    /// Address and port.
    Address = 0,
    /// The packet carries the name.
    Name = 1,
    /// An answer gave the address for the name.
    Learned = 2,
    /// The payload shows the signature.
    Signature = 3,
    /// An earlier packet of its flow carried the name, or showed the signature.
    Flow = 4,
}

impl Evidence {
    pub const ALL: [Self; 5] = [Self::Address, Self::Name, Self::Learned, Self::Signature, Self::Flow];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::Learned => "learned",
            Self::Signature => "signature",
            Self::Flow => "flow",
        }
    }

    pub const fn from_u8(value: u8) -> Option<Self> {
        if (value as usize) < Self::ALL.len() { Some(Self::ALL[value as usize]) } else { None }
    }
}

/// What became of a DNS answer on its way to a device.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnswerResult {
    /// Its addresses are known by a name that a rule is about.
    Learned = 0,
    /// No rule is about its names, or it has no address.
    Nothing = 1,
    /// Longer, or of more records, than is read.
    TooLong = 2,
    Malformed = 3,
    /// Over TCP, where answers are not read.
    Tcp = 4,
}

impl AnswerResult {
    pub const ALL: [Self; 5] = [Self::Learned, Self::Nothing, Self::TooLong, Self::Malformed, Self::Tcp];
    /// Entries of a table with a counter for each.
    pub const SLOTS: usize = Self::ALL.len();

    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Nothing => "nothing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Tcp => "tcp",
        }
    }
}

/// Who may report how much: written by the agent every second, so that a dead agent's ring goes quiet by itself.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBudget {
    pub epoch: u32,
    /// Reports per CPU and epoch.
    pub limit: u32,
}

/// A CPU's share of the budget, and what it has reported in this epoch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ReportState {
    pub epoch: u32,
    pub used: u32,
    /// Reports left out because the budget was used up or the ring full.
    pub suppressed: u64,
    /// Hash of (rule, device, remote, service) last reported from each place in this epoch.
    pub seen: [u32; REPORT_SEEN],
}
pub const REPORT_SEEN: usize = 1024;

const _: () = {
    assert!(size_of::<Event>() == 64);
    assert!(size_of::<ReportBudget>() == 8);
    assert!(size_of::<ReportState>() == 16 + 4 * REPORT_SEEN);
};
