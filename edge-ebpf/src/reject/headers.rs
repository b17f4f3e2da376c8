//! The headers of an answer, and the sum over them.

use super::{ETHERNET, IPV4, IPV6};
use crate::packet::{
    Address, Packet,
    access::{Frame, FrameMut},
};

const HOP_LIMIT: u8 = 64;

/// The Ethernet header with up to two tags, which the IP header follows.
#[derive(Clone, Copy)]
pub struct Ethernet {
    target: (u32, u16),
    source: (u32, u16),
    kind: u16,
    /// Each tag, and the type behind it.
    tags: [u32; 2],
}

impl Ethernet {
    #[inline(always)]
    pub fn read(frame: &Frame<'_>, packet: &Packet) -> Option<Self> {
        let ethernet = frame.view::<ETHERNET>(0)?;
        let target = (ethernet.u32::<0>(), ethernet.u16::<4>());
        let source = (ethernet.u32::<6>(), ethernet.u16::<10>());
        let outer = if packet.network > ETHERNET { frame.view::<4>(ETHERNET)?.u32::<0>() } else { 0 };
        let inner = if packet.network > ETHERNET + 4 { frame.view::<4>(ETHERNET + 4)?.u32::<0>() } else { 0 };
        Some(Self { target, source, kind: ethernet.u16::<12>(), tags: [outer, inner] })
    }

    /// Writes it to the front of a frame, back to the sender.
    #[inline(always)]
    pub fn write_back(self, frame: &mut FrameMut<'_>, packet: &Packet) -> Option<()> {
        let Self { target, source, kind, tags: [outer, inner] } = self;
        let mut ethernet = frame.view_mut::<ETHERNET>(0)?;
        ethernet.set_u32::<0>(source.0);
        ethernet.set_u16::<4>(source.1);
        ethernet.set_u32::<6>(target.0);
        ethernet.set_u16::<10>(target.1);
        ethernet.set_u16::<12>(kind);
        if packet.network > ETHERNET {
            frame.view_mut::<4>(ETHERNET)?.set_u32::<0>(outer);
        }
        if packet.network > ETHERNET + 4 {
            frame.view_mut::<4>(ETHERNET + 4)?.set_u32::<0>(inner);
        }
        Some(())
    }
}

/// An IPv4 header back to the sender, without options.
#[inline(always)]
pub fn write_ipv4(frame: &mut FrameMut<'_>, packet: &Packet, asker: Address, payload: usize, protocol: u8) {
    let Some(mut header) = frame.view_mut::<IPV4>(packet.network) else { return };
    let (source, destination) = ((packet.destination.high >> 32) as u32, (asker.high >> 32) as u32);
    let total = (IPV4 + payload) as u16;
    let hops = (u16::from(HOP_LIMIT) << 8) | u16::from(protocol);
    let mut sum = Checksum::default();
    sum.add_u16(0x4500);
    sum.add_u16(total);
    sum.add_u16(0x4000);
    sum.add_u16(hops);
    sum.add_u32(source);
    sum.add_u32(destination);
    header.set_u16::<0>(0x4500);
    header.set_u16::<2>(total);
    header.set_u16::<4>(0);
    header.set_u16::<6>(0x4000);
    header.set_u16::<8>(hops);
    header.set_u16::<10>(sum.finish());
    header.set_u32::<12>(source);
    header.set_u32::<16>(destination);
}

/// An IPv6 header back to the sender, without extension headers.
#[inline(always)]
pub fn write_ipv6(frame: &mut FrameMut<'_>, packet: &Packet, asker: Address, payload: usize, next: u8) {
    let Some(mut header) = frame.view_mut::<IPV6>(packet.network) else { return };
    header.set_u32::<0>(0x6000_0000);
    header.set_u16::<4>(payload as u16);
    header.set_u16::<6>((u16::from(next) << 8) | u16::from(HOP_LIMIT));
    header.set_u64::<8>(packet.destination.high);
    header.set_u64::<16>(packet.destination.low);
    header.set_u64::<24>(asker.high);
    header.set_u64::<32>(asker.low);
}

/// Sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). Both ends are in it alike, so their order does not matter.
#[inline(always)]
pub fn pseudo_header(packet: &Packet, asker: Address, length: usize, next: u8) -> Checksum {
    let mut sum = Checksum::default();
    for half in [asker.high, asker.low, packet.destination.high, packet.destination.low] {
        sum.add_u32((half >> 32) as u32);
        sum.add_u32(half as u32);
    }
    sum.add_u16(length as u16);
    sum.add_u16(u16::from(next));
    sum
}

/// The Internet checksum (RFC 1071).
#[derive(Clone, Copy, Default)]
pub struct Checksum(u64);

impl Checksum {
    #[inline(always)]
    pub fn add_u16(&mut self, value: u16) {
        self.0 += u64::from(value);
    }
    #[inline(always)]
    pub fn add_u32(&mut self, value: u32) {
        self.0 += u64::from(value);
    }
    #[inline(always)]
    pub fn add(&mut self, other: Self) {
        self.0 += other.0;
    }
    /// Folded and complemented. Four folds are enough for 64 bits.
    #[inline(always)]
    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}
