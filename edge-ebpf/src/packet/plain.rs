//! The packets that there are most of, read without a thought for the others: untagged, IPv4 without options or
//! IPv6 without extension headers, whole, TCP or UDP, nothing wrong with them, and in the frame's linear part up to their last byte.
//!
//! One way through [`Packet::parse`] has to leave room for all of them, which a compiler for eleven registers pays for in loads and stores.
//! Here most of a packet is constant, and what decides about it gets as short.

use super::{
    Address, Family, Fragment, Mac, Packet,
    access::{Frame, opaque},
    ethernet, protocol,
};
use crate::abi::service;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

impl Packet {
    /// What [`Packet::parse`] says of a plain IPv4 packet; `None`: it is not one.
    #[inline(always)]
    pub fn plain_v4(frame: &Frame<'_>) -> Option<Self> {
        // One check of bounds for all headers of the shortest, with UDP.
        let headers = frame.view::<{ ethernet::HEADER + IPV4_HEADER + UDP_HEADER }>(0)?;
        // Version 4 and five words of header; of the fragment field only "don't fragment" may be set.
        if headers.u16::<12>() != ethernet::IPV4 || headers.u8::<14>() != 0x45 || headers.u16::<20>() & 0x3fff != 0 {
            return None;
        }
        let total = usize::from(headers.u16::<16>());
        if ethernet::HEADER + total > frame.length() {
            return None;
        }
        let room = total.checked_sub(IPV4_HEADER)?;
        let protocol = headers.u8::<23>();
        let destination = Address { high: u64::from(headers.u32::<30>()) << 32, low: 0 };
        let transport = ethernet::HEADER + IPV4_HEADER;
        let service = transport_service(frame, transport, protocol, room, headers.u16::<36>())?;
        Some(Self::plain(headers.u16::<6>(), headers.u32::<8>(), Family::V4, transport, protocol, destination, service))
    }

    /// What [`Packet::parse`] says of a plain IPv6 packet; `None`: it is not one.
    #[inline(always)]
    pub fn plain_v6(frame: &Frame<'_>) -> Option<Self> {
        let headers = frame.view::<{ ethernet::HEADER + IPV6_HEADER + UDP_HEADER }>(0)?;
        if headers.u16::<12>() != ethernet::IPV6 || headers.u8::<14>() >> 4 != 6 {
            return None;
        }
        let room = usize::from(headers.u16::<18>());
        if ethernet::HEADER + IPV6_HEADER + room > frame.length() {
            return None;
        }
        let protocol = headers.u8::<20>();
        let destination = Address { high: headers.u64::<38>(), low: headers.u64::<46>() };
        let transport = ethernet::HEADER + IPV6_HEADER;
        let service = transport_service(frame, transport, protocol, room, headers.u16::<56>())?;
        Some(Self::plain(headers.u16::<6>(), headers.u32::<8>(), Family::V6, transport, protocol, destination, service))
    }

    #[inline(always)]
    fn plain(mac_high: u16, mac_low: u32, family: Family, transport: usize, protocol: u8, destination: Address, service: usize) -> Self {
        // The compiler knows how large these can be and drops masks and checks that it finds idle; 6.1 loses the bounds of a number whose
        // bytes it swaps, and needs them.
        let device = Mac(opaque(((mac_high as usize) << 32) | mac_low as usize) as u64);
        let destination = Address { high: opaque(destination.high as usize) as u64, low: destination.low };
        let service = opaque(service);
        let (network, fragment, id, fault) = (ethernet::HEADER, Fragment::Whole, 0, None);
        Self { device, network, transport, family, protocol, fragment, destination, id, service, fault }
    }
}

/// Index of the service class by the destination port, which both headers have at the same place.
#[inline(always)]
fn transport_service(frame: &Frame<'_>, transport: usize, protocol: u8, room: usize, port: u16) -> Option<usize> {
    match protocol {
        protocol::TCP if room >= TCP_HEADER => {
            let header = frame.view::<TCP_HEADER>(transport)?;
            (header.u8::<12>() >> 4 >= 5).then_some(service::TCP + usize::from(port))
        }
        protocol::UDP if room >= UDP_HEADER => Some(service::UDP + usize::from(port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of the fewest bytes that are plain.
    fn frames() -> [Vec<u8>; 4] {
        let ethernet = |ether_type: [u8; 2]| [&[2, 0, 0, 0, 0, 0xfe, 0x64, 9, 0x80, 1, 2, 3][..], &ether_type].concat();
        let v4 = |protocol, transport: &[u8]| {
            let header = [0x45, 0, 0, 20 + transport.len() as u8, 0, 7, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 10, 42, 62, 48, 7];
            [&ethernet([8, 0])[..], &header, transport].concat()
        };
        let tcp = [0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
        let udp = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
        let v6 = |protocol, transport: &[u8]| {
            let header = [0x60, 0, 0, 0, 0, transport.len() as u8, protocol, 64];
            let address = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
            [&ethernet([0x86, 0xdd])[..], &header, &address(1), &address(2), transport].concat()
        };
        [v4(protocol::TCP, &tcp), v4(protocol::UDP, &udp), v6(protocol::TCP, &tcp), v6(protocol::UDP, &udp)]
    }

    fn plain(frame: &[u8]) -> Option<Packet> {
        let frame = Frame::new(frame);
        Packet::plain_v4(&frame).or_else(|| Packet::plain_v6(&frame))
    }

    #[test]
    fn the_smallest_plain_frames_are_plain() {
        for frame in frames() {
            assert_eq!(plain(&frame), Some(Packet::parse(&Frame::new(&frame))));
        }
    }

    #[test]
    fn what_is_called_plain_is_what_the_parser_says_of_it() {
        let mut left = 0;
        for frame in frames() {
            for end in 0..=frame.len() {
                for at in 0..end {
                    for value in 0..=255 {
                        let mut changed = frame[..end].to_vec();
                        changed[at] = value;
                        match plain(&changed) {
                            Some(packet) => assert_eq!(packet, Packet::parse(&Frame::new(&changed)), "{changed:02x?}"),
                            None => left += 1,
                        }
                    }
                }
            }
        }
        assert!(left > 0);
    }
}
