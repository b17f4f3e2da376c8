//! IPv6 with extension headers (RFC 8200, AH: RFC 4302).

use super::{
    Address, Family, Fragment, Packet,
    access::{Frame, forget},
    protocol, transport,
};
use crate::abi::Reason;

const HEADER: usize = 40;
/// Place of the source address.
pub(super) const SOURCE: usize = 8;
/// Extension headers that are followed. RFC 8200 section 4.1 has each at most once, destination options twice: seven.
const MAX_EXTENSIONS: usize = 8;
/// Bytes of extension headers that are followed.
const MAX_EXTENSION_BYTES: usize = 2048;

#[inline(always)]
pub(super) fn parse(frame: &Frame<'_>, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = frame.view::<HEADER>(packet.network) else { return Err(Reason::Truncated) };
    if header.u8::<0>() >> 4 != 6 {
        return Err(Reason::BadHeader);
    }
    packet.family = Family::V6;
    packet.destination = Address { high: header.u64::<24>(), low: header.u64::<32>() };
    packet.protocol = header.u8::<6>();
    packet.transport = packet.network + HEADER;
    let announced = usize::from(header.u16::<4>());
    // A jumbogram (RFC 2675) announces 0 and says more in its hop-by-hop header; what follows is then bounded by the frame alone.
    let payload = if announced == 0 && packet.protocol == protocol::HOP_BY_HOP { usize::MAX } else { announced };
    let mut used = 0;
    let mut ended = false;
    for _ in 0..=MAX_EXTENSIONS {
        let size = match packet.protocol {
            protocol::HOP_BY_HOP | protocol::DESTINATION => extension(frame, packet, payload, used)?,
            protocol::ROUTING => {
                let size = extension(frame, packet, payload, used)?;
                let Some(routing) = frame.view::<4>(packet.transport) else { return Err(Reason::Truncated) };
                if routing.u8::<3>() != 0 {
                    return Err(Reason::SourceRoute);
                }
                size
            }
            protocol::AUTHENTICATION => authentication(frame, packet, payload, used)?,
            protocol::FRAGMENT => {
                if used + 8 > payload {
                    return Err(Reason::Truncated);
                }
                let Some(fragment) = frame.view::<8>(packet.transport) else { return Err(Reason::Truncated) };
                packet.id = fragment.u32::<4>();
                let place = fragment.u16::<2>();
                if place >> 3 != 0 {
                    packet.fragment = Fragment::Later;
                    return Ok(());
                }
                // Neither offset nor more to come: an atomic fragment (RFC 6946), which is a whole packet.
                if place & 1 != 0 {
                    packet.fragment = Fragment::First;
                }
                8
            }
            _ => {
                ended = true;
                break;
            }
        };
        if used + size > MAX_EXTENSION_BYTES {
            return Err(Reason::ExtensionChain);
        }
        let Some(next) = frame.view::<1>(packet.transport) else { return Err(Reason::Truncated) };
        packet.protocol = next.u8::<0>();
        used = forget(used + size, packet.destination.low);
        packet.transport = packet.network + HEADER + used;
    }
    // Behind the loop, and not within: the verifier follows it for each turn.
    if ended { transport::parse(frame, packet, payload - used) } else { Err(Reason::ExtensionChain) }
}

/// Size of an extension header that counts its length in 8 bytes, less the first 8 (RFC 8200 section 4.2).
#[inline(always)]
fn extension(frame: &Frame<'_>, packet: &Packet, payload: usize, used: usize) -> Result<usize, Reason> {
    let Some(header) = frame.view::<8>(packet.transport) else { return Err(Reason::Truncated) };
    let size = (usize::from(header.u8::<1>()) + 1) * 8;
    if used + size > payload { Err(Reason::Truncated) } else { Ok(size) }
}

/// Size of an authentication header, which counts in 4 bytes, less the first 8 (RFC 4302 section 2.2).
#[inline(always)]
fn authentication(frame: &Frame<'_>, packet: &Packet, payload: usize, used: usize) -> Result<usize, Reason> {
    let Some(header) = frame.view::<8>(packet.transport) else { return Err(Reason::Truncated) };
    let size = (usize::from(header.u8::<1>()) + 2) * 4;
    if used + size > payload { Err(Reason::Truncated) } else { Ok(size) }
}
