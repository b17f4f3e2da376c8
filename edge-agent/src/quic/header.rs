//! Long headers (RFC 9000 section 17.2).

use edge_ebpf::name::quic::{Initial, initial};
use edge_ebpf::packet::access::Frame;

use super::initial::variable_length;

/// Longest connection ID (RFC 9000 section 17.2).
const MAX_ID: usize = 20;

/// A long header as far as it is not protected.
pub struct Header<'a> {
    pub version: u32,
    pub is_initial: bool,
    /// The connection ID that the packet goes to.
    pub destination: &'a [u8],
    /// Offset of the packet number, whose length is protected.
    pub number: usize,
    /// Offset behind the packet: another one may follow in the datagram.
    pub end: usize,
}

impl<'a> Header<'a> {
    /// `None`: no long header of a version that is known, or one that breaks off.
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let first = *datagram.first()?;
        if first & 0xc0 != 0xc0 {
            return None;
        }
        let version = u32::from_be_bytes(datagram.get(1..5)?.try_into().ok()?);
        let kind = initial(&Frame::new(datagram), 0, datagram.len());
        let is_initial = match kind {
            Initial::V1 | Initial::V2 | Initial::Draft => true,
            // A Retry ends with its token and has no length; the others have one.
            Initial::No if first & 0x30 != retry(version) => false,
            Initial::No | Initial::Unknown => return None,
        };
        let mut at = 5;
        let destination = id(datagram, &mut at)?;
        id(datagram, &mut at)?;
        if is_initial {
            let token = variable_length(datagram, &mut at)?;
            at = at.checked_add(usize::try_from(token).ok()?)?;
        }
        let length = usize::try_from(variable_length(datagram, &mut at)?).ok()?;
        let end = at.checked_add(length)?;
        (end <= datagram.len()).then_some(Self { version, is_initial, destination, number: at, end })
    }
}

fn retry(version: u32) -> u8 {
    if version == edge_ebpf::name::quic::version::V2 { 0 } else { 0x30 }
}

fn id<'a>(datagram: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let length = usize::from(*datagram.get(*at)?);
    if length > MAX_ID {
        return None;
    }
    let id = datagram.get(*at + 1..*at + 1 + length)?;
    *at += 1 + length;
    Some(id)
}
