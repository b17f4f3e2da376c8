//! The answer to a rejected packet, made out of the packet itself: TCP RST (RFC 9293 section 3.10.7.1), ICMP "communication
//! administratively prohibited" (RFC 1812 section 5.2.7.1), ICMPv6 the same (RFC 4443 section 3.1). A DNS query may be answered as such
//! (`dns`).
//!
//! The answer comes from the address that was asked, goes back on the interface that it came in on, and keeps the VLAN tags.

pub mod dns;
mod headers;

#[cfg(test)]
mod tests;

use headers::{Checksum, Ethernet, pseudo_header, write_ipv4, write_ipv6};

use crate::packet::{
    Address, Family, Fragment, Packet,
    access::{Frame, FrameMut},
    protocol,
};

/// A frame that can be resized at both ends.
pub trait Buffer {
    fn frame(&mut self) -> FrameMut<'_>;
    /// Puts `bytes` of room before the first byte. False: there is no room; nothing changed.
    fn grow_head(&mut self, bytes: usize) -> bool;
    /// Takes `bytes` away before what becomes the first byte. False: they are not all there.
    fn shrink_head(&mut self, bytes: usize) -> bool;
    /// Bytes of the whole frame, beyond the linear ones too.
    fn length(&self) -> usize;
    /// Cuts the frame to `len` bytes; a shorter one stays as it is. False: cannot.
    fn truncate(&mut self, len: usize) -> bool;
    /// Makes the frame `len` bytes long, with zeros where it grows. False: there is no room; nothing changed.
    fn resize(&mut self, len: usize) -> bool;
}

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const TCP: usize = 20;
const ICMP: usize = 8;

/// Bytes of the rejected packet that an ICMP answer quotes, at the most. RFC 792 wants the IP header and 8 bytes (68 with all options).
const QUOTE: usize = 128;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Turns the rejected frame into the answer. False: none is due (RFC 1122 section 3.2.2: not to errors, later fragments, multicast or
/// broadcast; RFC 9293: not to a RST), or the frame could not be resized; it is to be dropped.
#[inline(always)]
pub fn reply(buffer: &mut impl Buffer, packet: &Packet) -> bool {
    if matches!(packet.fragment, Fragment::Later) {
        return false;
    }
    let asker = {
        let frame = buffer.frame();
        let frame = frame.frame();
        let asker = packet.source(&frame);
        if !answerable(&frame, packet, asker) {
            return false;
        }
        asker
    };
    match (packet.protocol, packet.family) {
        (_, Family::None) => false,
        (protocol::TCP, Family::V4) => reset::<IPV4>(buffer, packet, asker),
        (protocol::TCP, Family::V6) => reset::<IPV6>(buffer, packet, asker),
        (_, Family::V4) => unreachable_v4(buffer, packet, asker),
        (_, Family::V6) => unreachable_v6(buffer, packet, asker),
    }
}

/// Neither end is a group or nobody, and the packet is no error message itself.
#[inline(always)]
fn answerable(frame: &Frame<'_>, packet: &Packet, asker: Address) -> bool {
    let Some(ethernet) = frame.view::<ETHERNET>(0) else { return false };
    if (ethernet.u8::<0>() | ethernet.u8::<6>()) & 1 != 0 {
        return false;
    }
    let single = |high: u64, low: u64| match packet.family {
        // 0.0.0.0/8, 127.0.0.0/8, and from 224.0.0.0 up.
        Family::V4 => !matches!(high >> 56, 0 | 127 | 224..=255),
        _ => high >> 56 != 0xff && (high != 0 || low > 1),
    };
    if !single(asker.high, asker.low) || !single(packet.destination.high, packet.destination.low) {
        return false;
    }
    match (packet.protocol, packet.family) {
        (protocol::ICMP, Family::V4) => match frame.view::<1>(packet.transport) {
            // Echo, timestamp, information and mask requests: the queries (RFC 792, RFC 950). All else is an error or an answer.
            Some(icmp) => matches!(icmp.u8::<0>(), 8 | 13 | 15 | 17),
            None => false,
        },
        (protocol::ICMPV6, Family::V6) => match frame.view::<1>(packet.transport) {
            // Below 128: errors. Redirects (137) are not answered either (RFC 4443 section 2.4 e).
            Some(icmp) => icmp.u8::<0>() >= 128 && icmp.u8::<0>() != 137,
            None => false,
        },
        _ => true,
    }
}

/// `IP` is the length of the IP header of the answer, which has neither options nor extension headers.
#[inline(always)]
fn reset<const IP: usize>(buffer: &mut impl Buffer, packet: &Packet, asker: Address) -> bool {
    let (sequence, acknowledgment, flags, (asked_from, asked)) = {
        let frame = buffer.frame();
        let frame = frame.frame();
        let Some(tcp) = frame.view::<TCP>(packet.transport) else { return false };
        let flags = tcp.u8::<13>();
        if flags & RST != 0 {
            return false;
        }
        if flags & ACK != 0 {
            (tcp.u32::<8>(), 0, RST, packet.ports(&frame))
        } else {
            let Some(length) = segment_length(&frame, packet, usize::from(tcp.u8::<12>() >> 4) * 4) else { return false };
            let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            (0, tcp.u32::<4>().wrapping_add(length).wrapping_add(controls), RST | ACK, packet.ports(&frame))
        }
    };
    if !buffer.truncate(packet.network + IP + TCP) {
        return false;
    }
    let mut frame = buffer.frame();
    if !swap_ethernet(&mut frame) {
        return false;
    }
    if IP == IPV4 {
        write_ipv4(&mut frame, packet, asker, TCP, protocol::TCP)
    } else {
        write_ipv6(&mut frame, packet, asker, TCP, protocol::TCP)
    };
    let Some(mut tcp) = frame.view_mut::<TCP>(packet.network + IP) else { return false };
    tcp.set_u16::<0>(asked);
    tcp.set_u16::<2>(asked_from);
    tcp.set_u32::<4>(sequence);
    tcp.set_u32::<8>(acknowledgment);
    tcp.set_u16::<12>(0x5000 | u16::from(flags));
    tcp.set_u16::<14>(0);
    let mut sum = pseudo_header(packet, asker, TCP, protocol::TCP);
    sum.add_u16(asked);
    sum.add_u16(asked_from);
    sum.add_u32(sequence);
    sum.add_u32(acknowledgment);
    sum.add_u16(0x5000 | u16::from(flags));
    tcp.set_u16::<16>(sum.finish());
    tcp.set_u16::<18>(0);
    true
}

/// Bytes of TCP payload that the IP header announces.
#[inline(always)]
fn segment_length(frame: &Frame<'_>, packet: &Packet, tcp: usize) -> Option<u32> {
    let end = match packet.family {
        Family::V4 => frame.view::<4>(packet.network)?.u16::<2>() as usize,
        _ => frame.view::<6>(packet.network)?.u16::<4>() as usize + IPV6,
    };
    Some((end as u32).wrapping_sub((packet.transport - packet.network + tcp) as u32) & 0xffff)
}

#[inline(always)]
fn unreachable_v4(buffer: &mut impl Buffer, packet: &Packet, asker: Address) -> bool {
    const GROWTH: usize = IPV4 + ICMP;
    let total = {
        let frame = buffer.frame();
        let Some(header) = frame.frame().view::<4>(packet.network) else { return false };
        usize::from(header.u16::<2>())
    };
    let Some((quote, mut sum)) = open(buffer, packet, GROWTH, total) else { return false };
    let mut frame = buffer.frame();
    write_ipv4(&mut frame, packet, asker, ICMP + quote, protocol::ICMP);
    // Destination unreachable, communication administratively prohibited.
    sum.add_u16(0x030d);
    write_icmp(&mut frame, packet.network + IPV4, 0x030d, sum)
}

#[inline(always)]
fn unreachable_v6(buffer: &mut impl Buffer, packet: &Packet, asker: Address) -> bool {
    const GROWTH: usize = IPV6 + ICMP;
    let total = {
        let frame = buffer.frame();
        let Some(header) = frame.frame().view::<6>(packet.network) else { return false };
        usize::from(header.u16::<4>()) + IPV6
    };
    let Some((quote, mut sum)) = open(buffer, packet, GROWTH, total) else { return false };
    let mut frame = buffer.frame();
    write_ipv6(&mut frame, packet, asker, ICMP + quote, protocol::ICMPV6);
    sum.add(pseudo_header(packet, asker, ICMP + quote, protocol::ICMPV6));
    // Destination unreachable, communication with destination administratively prohibited.
    sum.add_u16(0x0101);
    write_icmp(&mut frame, packet.network + IPV6, 0x0101, sum)
}

/// Makes room for the answer's headers, moves the Ethernet header to the new front, cuts the quote, and sums it up.
#[inline(always)]
fn open(buffer: &mut impl Buffer, packet: &Packet, growth: usize, total: usize) -> Option<(usize, Checksum)> {
    let there = buffer.length().saturating_sub(packet.network);
    let wanted = if total < there { total } else { there };
    // Whole words, so that the sum has no odd end.
    let quote = if wanted < QUOTE { wanted & !3 } else { QUOTE };
    let ethernet = Ethernet::read(&buffer.frame().frame(), packet)?;
    if !buffer.grow_head(growth) || !buffer.truncate(packet.network + growth + quote) {
        return None;
    }
    let mut frame = buffer.frame();
    ethernet.write_back(&mut frame, packet)?;
    let frame = frame.frame();
    let mut sum = Checksum::default();
    for word in 0..QUOTE / 4 {
        if word * 4 >= quote {
            break;
        }
        sum.add_u32(frame.view::<4>(packet.network + growth + word * 4)?.u32::<0>());
    }
    Some((quote, sum))
}

#[inline(always)]
fn write_icmp(frame: &mut FrameMut<'_>, at: usize, type_and_code: u16, sum: Checksum) -> bool {
    let Some(mut icmp) = frame.view_mut::<ICMP>(at) else { return false };
    icmp.set_u16::<0>(type_and_code);
    icmp.set_u16::<2>(sum.finish());
    icmp.set_u32::<4>(0);
    true
}

#[inline(always)]
fn swap_ethernet(frame: &mut FrameMut<'_>) -> bool {
    let (target, source) = {
        let frame = frame.frame();
        let Some(ethernet) = frame.view::<ETHERNET>(0) else { return false };
        ((ethernet.u32::<0>(), ethernet.u16::<4>()), (ethernet.u32::<6>(), ethernet.u16::<10>()))
    };
    let Some(mut ethernet) = frame.view_mut::<ETHERNET>(0) else { return false };
    ethernet.set_u32::<0>(source.0);
    ethernet.set_u16::<4>(source.1);
    ethernet.set_u32::<6>(target.0);
    ethernet.set_u16::<10>(target.1);
    true
}
