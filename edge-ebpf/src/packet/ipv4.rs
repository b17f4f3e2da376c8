//! IPv4 with options (RFC 791).

use super::{
    Address, Family, Fragment, Packet,
    access::{Frame, forget},
    transport,
};
use crate::abi::Reason;

const HEADER: usize = 20;
/// Place of the source address.
pub(super) const SOURCE: usize = 12;
/// Bytes of options at the most: a header length of 15 words.
const MAX_OPTIONS: usize = 40;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Option kinds (RFC 791 section 3.1).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

#[inline(always)]
pub(super) fn parse(frame: &Frame<'_>, packet: &mut Packet) -> Result<(), Reason> {
    let Some(header) = frame.view::<HEADER>(packet.network) else { return Err(Reason::Truncated) };
    let version = header.u8::<0>();
    let length = usize::from(version & 0x0f) * 4;
    let total = usize::from(header.u16::<2>());
    if version >> 4 != 4 || length < HEADER || total < length {
        return Err(Reason::BadHeader);
    }
    packet.family = Family::V4;
    packet.protocol = header.u8::<9>();
    packet.destination = Address { high: u64::from(header.u32::<16>()) << 32, low: 0 };
    packet.transport = packet.network + length;
    let fragment = header.u16::<6>();
    if length > HEADER {
        options(frame, packet.network + HEADER, length - HEADER, packet.destination.high >> 32)?;
    }
    if fragment & (OFFSET | MORE_FRAGMENTS) != 0 {
        packet.id = u32::from(header.u16::<4>());
        if fragment & OFFSET != 0 {
            packet.fragment = Fragment::Later;
            return Ok(());
        }
        packet.fragment = Fragment::First;
    }
    transport::parse(frame, packet, total - length)
}

/// Finds a source route that still has somewhere to go: the destination that a rule would be asked about is then not the last one.
#[inline(always)]
fn options(frame: &Frame<'_>, start: usize, length: usize, noise: u64) -> Result<(), Reason> {
    let mut at = 0;
    for _ in 0..MAX_OPTIONS {
        // The same for the verifier whatever came before.
        at = forget(at, noise);
        if at >= length {
            break;
        }
        let Some(option) = frame.view::<1>(start + at) else { return Err(Reason::Truncated) };
        let kind = forget(usize::from(option.u8::<0>()), noise) as u8;
        if kind == END {
            break;
        }
        let mut step = 1;
        if kind != NO_OPERATION {
            step = size(frame, start + at, length - at)?;
            if kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE {
                let Some(route) = frame.view::<3>(start + at) else { return Err(Reason::Truncated) };
                // The pointer counts from 1 and is behind the last address when the route is used up.
                if usize::from(route.u8::<2>()) <= step {
                    return Err(Reason::SourceRoute);
                }
            }
        }
        at += step;
    }
    Ok(())
}

/// Bytes of the option at `at`, of which no more than `room` are there.
#[inline(always)]
fn size(frame: &Frame<'_>, at: usize, room: usize) -> Result<usize, Reason> {
    let Some(option) = frame.view::<2>(at) else { return Err(Reason::Truncated) };
    let size = usize::from(option.u8::<1>());
    if size < 2 || size > room { Err(Reason::BadHeader) } else { Ok(size) }
}
