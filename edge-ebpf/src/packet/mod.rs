//! From a frame to what is decided by: the device, the remote, the service; or why that cannot be known.
//!
//! One pass over the headers, each bounded by the frame and by the lengths that the headers before it announce, so that padding is never
//! taken for a port.

pub mod access;
mod ethernet;
mod ipv4;
mod ipv6;
pub mod payload;
mod plain;
mod transport;

use crate::abi::{Reason, service};
use access::{Frame, forget};

/// Numbers of the protocols that are looked into (IANA).
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
}

/// A MAC address as a 48-bit number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mac(pub u64);

impl Mac {
    #[inline(always)]
    pub const fn octets(self) -> [u8; 6] {
        let [_, _, octets @ ..] = self.0.to_be_bytes();
        octets
    }
}

/// An address as the high and low half of 128 bits; an IPv4 address is the highest 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Address {
    pub high: u64,
    pub low: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// Not IP, or not known: the frame did not get that far.
    None,
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    Whole,
    First,
    /// Without a transport header.
    Later,
}

/// What the headers say, as far as every packet needs it; what only a report, a fragment or an answer needs is read again from the frame.
/// Plain values, each with a default, because the kernel's verifier follows values better than options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Source MAC; 0 where the frame is too short for one.
    pub device: Mac,
    /// Offset of the IP header, where there is one.
    pub network: usize,
    /// Offset of the transport header, in a packet that is whole or a first fragment.
    pub transport: usize,
    pub family: Family,
    /// Of the transport header; behind IPv6 extension headers.
    pub protocol: u8,
    pub fragment: Fragment,
    pub destination: Address,
    /// Identification of the fragmented datagram; 0 in a whole packet.
    pub id: u32,
    /// Index into the service classes, see [`crate::abi::service`]; where no service was read, one that is no port's.
    pub service: usize,
    /// Why this packet cannot be inspected; what was found before that is filled in.
    pub fault: Option<Reason>,
}

impl Packet {
    /// Reads `frame`. Not IP: `family` is [`Family::None`] and there is no fault.
    #[inline(always)]
    pub fn parse(frame: &Frame<'_>) -> Self {
        let mut packet = Self {
            device: Mac(0),
            network: 0,
            transport: 0,
            family: Family::None,
            protocol: 0,
            fragment: Fragment::Whole,
            destination: Address::default(),
            id: 0,
            service: service::PROTOCOL,
            fault: None,
        };
        let next = ethernet::parse(frame, &mut packet);
        // Tagged or not is the same from here on.
        packet.network = forget(packet.network, packet.device.0);
        packet.fault = match next {
            Ok(ethernet::Next::Ipv4) => ipv4::parse(frame, &mut packet).err(),
            Ok(ethernet::Next::Ipv6) => ipv6::parse(frame, &mut packet).err(),
            Ok(ethernet::Next::Other) => None,
            Err(reason) => Some(reason),
        };
        packet.network = forget(packet.network, packet.device.0);
        packet.transport = forget(packet.transport, packet.device.0);
        packet.service = forget(packet.service, packet.device.0);
        packet.protocol = forget(usize::from(packet.protocol), packet.device.0) as u8;
        packet
    }

    /// Source address; zero where the frame has none.
    #[inline(always)]
    pub fn source(&self, frame: &Frame<'_>) -> Address {
        match self.family {
            Family::None => Address::default(),
            Family::V4 => match frame.view::<4>(self.network + ipv4::SOURCE) {
                Some(source) => Address { high: u64::from(source.u32::<0>()) << 32, low: 0 },
                None => Address::default(),
            },
            Family::V6 => match frame.view::<16>(self.network + ipv6::SOURCE) {
                Some(source) => Address { high: source.u64::<0>(), low: source.u64::<8>() },
                None => Address::default(),
            },
        }
    }

    /// Source and destination port of a TCP or UDP packet whose transport header was read, else zero.
    #[inline(always)]
    pub fn ports(&self, frame: &Frame<'_>) -> (u16, u16) {
        // Ports have the lowest indices.
        if self.service >= service::ICMP {
            return (0, 0);
        }
        match frame.view::<4>(self.transport) {
            Some(ports) => (ports.u16::<0>(), ports.u16::<2>()),
            None => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports of an IPv4 frame with eight zeroes of options behind its header, and this behind them. `fragment`: offset and flags.
    fn ports(protocol: u8, fragment: u16, options: u8, transport: &[u8]) -> (u16, u16) {
        let total = (28 + transport.len()) as u8;
        let [high, low] = fragment.to_be_bytes();
        let header = [0x47, 0, 0, total, 0, 0, high, low, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, options, 0, 0, 0, 0, 0, 0, 0];
        let frame = [&[2; 12][..], &[8, 0], &header, transport].concat();
        let frame = Frame::new(&frame);
        Packet::parse(&frame).ports(&frame)
    }

    #[test]
    fn ports_are_those_of_a_header_that_was_read() {
        let header = |destination: u8| [&[0x12, 0x34, 0, destination][..], &[0; 8], &[5 << 4], &[0; 7]].concat();
        assert_eq!(ports(protocol::TCP, 0, 0, &header(80)), (0x1234, 80));
        assert_eq!(ports(protocol::TCP, 0, 0, &header(0)), (0x1234, 0), "also to port 0");
        assert_eq!(ports(protocol::UDP, 0, 0, &header(0)), (0x1234, 0));
        assert_eq!(ports(protocol::TCP, 0x2000, 0, &header(0)), (0x1234, 0), "a first fragment");
        assert_eq!(ports(protocol::TCP, 1, 0, &header(0)), (0, 0), "a later one");
        assert_eq!(ports(protocol::TCP, 0, 7, &header(0)), (0, 0), "options that end beyond their header");
        assert_eq!(ports(protocol::TCP, 0, 0, &header(0)[..19]), (0, 0));
        assert_eq!(ports(protocol::ICMP, 0, 0, &header(0)), (0, 0));
        assert_eq!(ports(0, 0, 0, &header(0)), (0, 0));
    }
}
