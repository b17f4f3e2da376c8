//! Where a packet's payload lies, and what TCP says of it (RFC 9293 section 3.1, RFC 768).

use super::{Family, Packet, access::Frame, protocol};

/// What of the TCP header matters for the order of segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Of the payload's first byte: a SYN counts as one before it.
    pub sequence: u32,
    /// SYN without ACK: the connection begins.
    pub opens: bool,
}

const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Packet {
    /// From and to where the payload of a TCP or UDP packet lies, as far as IP, UDP and the frame say that there is any; else nothing.
    #[inline(always)]
    pub fn payload(&self, frame: &Frame<'_>) -> (usize, usize) {
        self.payload_within(frame, frame.length())
    }

    /// The same, of a packet of `length` bytes, of which the frame has the headers.
    #[inline(always)]
    pub fn payload_within(&self, frame: &Frame<'_>, length: usize) -> (usize, usize) {
        const NONE: (usize, usize) = (0, 0);
        let place = self.network + if matches!(self.family, Family::V4) { 2 } else { 4 };
        let Some(announced) = frame.view::<2>(place) else { return NONE };
        let announced = usize::from(announced.u16::<0>());
        let mut end = length;
        // A jumbogram's length is elsewhere.
        let announced = match self.family {
            Family::V4 => self.network + announced,
            _ if announced == 0 => end,
            _ => self.network + IPV6_HEADER + announced,
        };
        if announced < end {
            end = announced;
        }
        let start = match self.protocol {
            protocol::TCP => {
                let Some(offset) = frame.view::<1>(self.transport + 12) else { return NONE };
                self.transport + usize::from(offset.u8::<0>() >> 4) * 4
            }
            protocol::UDP => {
                let Some(length) = frame.view::<2>(self.transport + 4) else { return NONE };
                let announced = self.transport + usize::from(length.u16::<0>());
                if announced < end {
                    end = announced;
                }
                self.transport + UDP_HEADER
            }
            _ => return NONE,
        };
        if start < end { (start, end) } else { NONE }
    }

    /// Of a TCP packet.
    #[inline(always)]
    pub fn segment(&self, frame: &Frame<'_>) -> Segment {
        let Some(header) = frame.view::<14>(self.transport) else { return Segment::default() };
        let flags = header.u8::<13>();
        let syn = u32::from(flags & SYN != 0);
        Segment { sequence: header.u32::<4>().wrapping_add(syn), opens: flags & (SYN | ACK) == SYN }
    }
}
