//! What a device is known by beside its MAC.
//!
//! A *fact* is bytes that a device has shown (an option of DHCP, the shape of a SYN, a User-Agent). An automaton walks them, and the state in
//! which they end says which *signals* of the policies they are. A device keeps its signals as bits, whose places (slots) belong to a signal for
//! as long as the pinned tables live. Its groups are computed from them, and its row from its groups, when one of its signals or the
//! generation changes.

use super::MAX_WORDS;

/// What a fact is about.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum FactKind {
    /// DHCP option 55 as it stands: options that the client asks for, in its order (RFC 2132 section 9.8).
    DhcpParameters = 0,
    /// DHCP option 60 (RFC 2132 section 9.13).
    DhcpVendorClass = 1,
    /// DHCP option 12 (RFC 2132 section 3.14).
    DhcpHostName = 2,
    /// DHCPv6 option 6 as it stands: pairs of bytes (RFC 8415 section 21.7).
    Dhcp6Options = 3,
    /// The first string of DHCPv6 option 16 (RFC 8415 section 21.16).
    Dhcp6VendorClass = 4,
    /// The name in DHCPv6 option 39, in DNS wire form (RFC 4704).
    Dhcp6Name = 5,
    /// See [`crate::identity::syn`].
    TcpSyn = 6,
    /// The header's value, without the blanks around it.
    UserAgent = 7,
    /// The first part of a JA4: ten letters.
    Hello = 8,
    /// A message of mDNS or SSDP. No signal is about it: the agent reads it.
    Announcement = 9,
}

impl FactKind {
    pub const ALL: [Self; 10] = [
        Self::DhcpParameters,
        Self::DhcpVendorClass,
        Self::DhcpHostName,
        Self::Dhcp6Options,
        Self::Dhcp6VendorClass,
        Self::Dhcp6Name,
        Self::TcpSyn,
        Self::UserAgent,
        Self::Hello,
        Self::Announcement,
    ];
}
/// Places in a table by kind: a power of two, so that an index needs only a mask.
pub const FACT_KINDS: usize = 16;
/// Bytes of a fact that are looked at; what a longer one goes on with is not there for patterns.
pub const MAX_FACT: usize = 255;

/// A state of the automaton.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FactState {
    /// Where each byte leads to.
    pub next: [u16; 256],
    /// What a fact is that ends here: the number of a [`SignalSet`]; 0: nothing.
    pub set: u32,
    pub reserved: u32,
}
/// States have 16 bits; the first one is where no pattern matches any more.
pub const MAX_FACT_STATES: usize = 1 << 16;

/// Signals that devices can be known by at once, apart from those of the MAC.
pub const MAX_SIGNALS: usize = SIGNAL_WORDS * 64;
pub const SIGNAL_WORDS: usize = 4;
/// A bit for each slot.
pub type SignalSet = [u64; SIGNAL_WORDS];

/// What a ClientHello is known by in the kernel: equal where its JA4 is, see [`crate::identity::hello`]. A part that any will do for is zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HelloKey {
    /// Of the ten letters: the first eight, the last two; and above them [`HelloParts`]' bits.
    pub letters: [u64; 2],
    /// Of the ciphers.
    pub ciphers: u64,
    /// Of the extensions and signature algorithms.
    pub extensions: u64,
}

impl HelloKey {
    pub const ALL_PARTS: HelloParts = HelloParts(HelloParts::LETTERS | HelloParts::CIPHERS | HelloParts::EXTENSIONS);

    /// Of a key as the table has it.
    pub const fn parts(&self) -> HelloParts {
        HelloParts((self.letters[1] >> 16) as u8)
    }

    /// The key by these parts alone, as the table has it.
    #[inline(always)]
    pub const fn only(self, parts: HelloParts) -> Self {
        const fn ones(parts: HelloParts, part: u8) -> u64 {
            if parts.0 & part != 0 { u64::MAX } else { 0 }
        }
        let Self { letters: [first, last], ciphers, extensions } = self;
        let letters = ones(parts, HelloParts::LETTERS);
        Self {
            letters: [first & letters, last & letters & 0xffff | (parts.0 as u64) << 16],
            ciphers: ciphers & ones(parts, HelloParts::CIPHERS),
            extensions: extensions & ones(parts, HelloParts::EXTENSIONS),
        }
    }
}

/// Which parts of a [`HelloKey`] a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HelloParts(pub u8);

impl HelloParts {
    pub const LETTERS: u8 = 1;
    pub const CIPHERS: u8 = 2;
    pub const EXTENSIONS: u8 = 4;
}
/// Entries of the table from keys to signals.
pub const MAX_HELLO_KEYS: u32 = 16_384;

/// Facts of which it is known that the agent was told: a power of two.
pub const MAX_TOLD: u32 = 1 << 16;

/// What is kept of a device, beside the table that finds it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeviceState {
    pub mac: u64,
    pub signals: SignalSet,
    /// Second of the clock since boot in which it last showed a signal.
    pub seen: u32,
    /// Not 0: its signals put it in a group of a policy, so that none without one takes its place.
    pub known: u32,
    pub reserved: [u64; 2],
}

/// Devices in a bucket, which is a cache line.
pub const DEVICE_WAYS: usize = 8;
/// Above its 48 bits of the MAC each entry has in which generation the device's row was computed, see [`crate::identity::device`]; 0: it is free.
pub type DeviceBucket = [u64; DEVICE_WAYS];

/// What the MAC says of a device, by its class.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct MacFacts {
    /// Bits of the signals of MACs that groups ask for together with others.
    pub signals: SignalSet,
    /// Class of the rules that it satisfies whatever else it does.
    pub always: u32,
    /// Not 0: it is in a group of a policy whatever else it does.
    pub known: u32,
}

/// An instruction of the program that computes groups: a stack of bits, the last one lowest.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupOp(pub u32);

impl GroupOp {
    pub const SIGNAL: u32 = 0;
    pub const MAC: u32 = 1;
    pub const ALL: u32 = 2;
    pub const ANY: u32 = 3;
    pub const NOT: u32 = 4;
    pub const GROUP: u32 = 5;
    /// In a [`Self::GROUP`]: of a policy, and not of what is built in.
    const OF_POLICY: u32 = 1 << 23;

    const fn new(kind: u32, argument: u32) -> Self {
        Self(kind << 24 | argument)
    }
    /// Pushes whether the device has the signal of a slot.
    pub const fn signal(slot: u32) -> Self {
        Self::new(Self::SIGNAL, slot)
    }
    /// Pushes whether its MAC has the signal with this bit.
    pub const fn mac(bit: u32) -> Self {
        Self::new(Self::MAC, bit)
    }
    /// Puts the AND of the last two in their place.
    pub const fn all() -> Self {
        Self::new(Self::ALL, 0)
    }
    /// The OR.
    pub const fn any() -> Self {
        Self::new(Self::ANY, 0)
    }
    /// Puts the contrary in the last one's place.
    pub const fn not() -> Self {
        Self::new(Self::NOT, 0)
    }
    /// Takes the last one: if it is set the device is in a group, whose rules are this class.
    pub const fn group(class: u32, of_policy: bool) -> Self {
        Self::new(Self::GROUP, class | if of_policy { Self::OF_POLICY } else { 0 })
    }
    #[inline(always)]
    pub const fn kind(self) -> u32 {
        self.0 >> 24
    }
    /// A slot, a bit, or a class.
    #[inline(always)]
    pub const fn argument(self) -> u32 {
        self.0 & (Self::OF_POLICY - 1)
    }
    #[inline(always)]
    pub const fn is_of_policy(self) -> bool {
        self.0 & Self::OF_POLICY != 0
    }
}
/// Instructions of a generation.
pub const MAX_GROUP_OPS: usize = 1 << 14;
/// Bits on the stack.
pub const MAX_GROUP_DEPTH: usize = 64;

/// Words of a device's row with its summary, at the most.
pub const MAX_DEVICE_ROW: usize = MAX_WORDS + 1;

const _: () = {
    assert!(FactKind::ALL.len() <= FACT_KINDS);
    assert!(size_of::<FactState>() == 520);
    assert!(size_of::<HelloKey>() == 32);
    assert!(size_of::<DeviceState>() == 64);
    assert!(size_of::<DeviceBucket>() == 64);
    assert!(size_of::<MacFacts>() == 40);
};
