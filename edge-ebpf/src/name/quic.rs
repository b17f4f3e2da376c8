//! QUIC's first packets (RFC 9000, RFC 9369): recognised here, decrypted by the agent, since their keys take SHA-256 and AES.

use crate::packet::access::Bytes;

/// What a QUIC client's first packet says of itself.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Initial {
    /// No long header, or not an Initial.
    No = 0,
    V1 = 1,
    V2 = 2,
    /// Of the IETF's drafts, or a version that is built as they are (Facebook's, and those that no server has).
    Draft = 3,
    /// A long header of a version that is not known, Google's own ones among them: what it holds, or whether it is QUIC, cannot be told.
    Unknown = 4,
}

/// Versions (IANA, QUIC registry).
pub mod version {
    pub const NEGOTIATION: u32 = 0;
    pub const V1: u32 = 1;
    pub const V2: u32 = 0x6b33_43cf;

    /// Of the IETF, with the draft's number in the last byte; or Facebook's, with a number of its own.
    #[inline(always)]
    pub const fn is_draft(version: u32) -> bool {
        version & 0xffff_ff00 == 0xff00_0000 || version & 0xffff_fff0 == 0xface_b000
    }

    /// Kept free for clients that want to hear what a server speaks (RFC 9000 section 15).
    #[inline(always)]
    pub const fn is_reserved(version: u32) -> bool {
        version & 0x0f0f_0f0f == 0x0a0a_0a0a
    }
}

/// The first bit says that the header is long, the second is set but where both sides agreed to vary it.
const LONG: u8 = 0x80;
const FIXED: u8 = 0x40;
const TYPE: u8 = 0x30;
/// Number of an Initial in version 2; in the others it is 0.
const INITIAL_V2: u8 = 0x10;
/// First byte, version, and lengths of the connection IDs: none is shorter.
const SHORTEST: usize = 7;

/// Whether the datagram from `start` to before `end` begins with an Initial.
#[inline(always)]
pub fn initial(bytes: &impl Bytes, start: usize, end: usize) -> Initial {
    if start + SHORTEST > end {
        return Initial::No;
    }
    let Some(header) = bytes.view::<SHORTEST>(start) else { return Initial::No };
    let first = header.u8::<0>();
    if first & LONG == 0 || first & FIXED == 0 {
        return Initial::No;
    }
    let kind = first & TYPE;
    match header.u32::<1>() {
        version::NEGOTIATION => Initial::No,
        version::V1 if kind == 0 => Initial::V1,
        version::V2 if kind == INITIAL_V2 => Initial::V2,
        version::V1 | version::V2 => Initial::No,
        other if version::is_draft(other) || version::is_reserved(other) => {
            if kind == 0 {
                Initial::Draft
            } else {
                Initial::No
            }
        }
        _ => Initial::Unknown,
    }
}
