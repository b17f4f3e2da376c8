//! What devices are known by.

use std::sync::Arc;

use super::{Family, Ranges, SignatureId};
use crate::policy::name_set::NameSet;

/// One observable trait of a device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// The MAC, as a 48-bit number, lies in one of these ranges.
    Mac(Arc<Ranges<u64>>),
    /// It has shown one of these texts.
    Text(TextKind, Vec<Glob>),
    /// It asks for exactly these options, in this order: one of the lists.
    Options(OptionKind, Vec<Vec<u16>>),
    /// It opens connections so: one of the shapes.
    Syn(Vec<SynPattern>),
    /// It says hello so: one of the values.
    Hello(Vec<Ja4Pattern>),
    /// It has carried one of these names, in a query, a hello or a request.
    Asked(Arc<NameSet>),
    /// It has shown the signature.
    Signature(SignatureId),
}

/// What a [`Signal::Text`] stands in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TextKind {
    DhcpVendorClass,
    DhcpHostName,
    Dhcp6VendorClass,
    Dhcp6Name,
    UserAgent,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OptionKind {
    Dhcp,
    Dhcp6,
}

/// A text with `*` for any letters, none among them; case does not matter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Glob(pub String);

/// A connection's first segment, as p0f writes it (its README, section 5); `None`: any.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SynPattern {
    pub family: Option<Family>,
    /// The sender's: 32, 64, 128 or 255, the next one that is not less than what arrives.
    pub ttl: Option<u8>,
    /// Bytes of IP options.
    pub ip_options: Option<u8>,
    pub mss: Option<u16>,
    pub window: SynWindow,
    /// Of the window; `Some(None)`: there is no such option.
    pub scale: Option<Option<u8>>,
    /// Kinds of TCP options in order, with each byte of padding.
    pub options: Option<Vec<u8>>,
    /// Bits of [`edge_ebpf::identity::syn::quirk`]: exactly these.
    pub quirks: Option<u32>,
    /// Whether it carries data.
    pub payload: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SynWindow {
    #[default]
    Any,
    Exactly(u16),
    /// So many times the MSS.
    OfMss(u8),
    /// So many times the MTU.
    OfMtu(u8),
    /// A multiple of it.
    Multiple(u16),
}

/// A JA4 value (FoxIO), or a part of one; `None`: any.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ja4Pattern {
    /// The ten letters before the first `_`; `None` within: any.
    pub letters: [Option<u8>; 10],
    pub ciphers: Option<Ja4Part>,
    pub extensions: Option<Ja4Part>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Ja4Part {
    /// The first six bytes of the SHA-256.
    Hash([u8; 6]),
    /// What is hashed, as JA4_r writes it.
    Raw(String),
}

impl Signal {
    /// The ranges of a signal of MACs; `None`: it is what devices show otherwise.
    pub fn macs(&self) -> Option<&Ranges<u64>> {
        match self {
            Self::Mac(ranges) => Some(ranges),
            Self::Text(..) | Self::Options(..) | Self::Syn(_) | Self::Hello(_) | Self::Asked(_) | Self::Signature(_) => None,
        }
    }
}
