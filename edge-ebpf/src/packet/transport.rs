//! Where a packet's service is read: ports of TCP (RFC 9293) and UDP (RFC 768), types of ICMP (RFC 792) and ICMPv6 (RFC 4443), the protocol
//! number of everything else.

use super::{Family, Packet, access::Frame, protocol};
use crate::abi::{Reason, service};

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 4;

/// `room` is what the network layer has left for this header and its payload, in bytes.
#[inline(always)]
pub(super) fn parse(frame: &Frame<'_>, packet: &mut Packet, room: usize) -> Result<(), Reason> {
    packet.service = service::PROTOCOL + usize::from(packet.protocol);
    match (packet.protocol, packet.family) {
        (protocol::TCP, _) => {
            if room < TCP_HEADER {
                return Err(Reason::Truncated);
            }
            let Some(header) = frame.view::<TCP_HEADER>(packet.transport) else { return Err(Reason::Truncated) };
            if usize::from(header.u8::<12>() >> 4) * 4 < TCP_HEADER {
                return Err(Reason::BadHeader);
            }
            packet.service = service::TCP + usize::from(header.u16::<2>());
        }
        (protocol::UDP, _) => {
            if room < UDP_HEADER {
                return Err(Reason::Truncated);
            }
            let Some(header) = frame.view::<UDP_HEADER>(packet.transport) else { return Err(Reason::Truncated) };
            packet.service = service::UDP + usize::from(header.u16::<2>());
        }
        (protocol::ICMP, Family::V4) | (protocol::ICMPV6, Family::V6) => {
            if room < ICMP_HEADER {
                return Err(Reason::Truncated);
            }
            let Some(header) = frame.view::<ICMP_HEADER>(packet.transport) else { return Err(Reason::Truncated) };
            let first = if matches!(packet.family, Family::V4) { service::ICMP } else { service::ICMPV6 };
            packet.service = first + usize::from(header.u8::<0>());
        }
        _ => {}
    }
    Ok(())
}
