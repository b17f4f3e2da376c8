//! The packet in hand, for the functions that the verifier checks by themselves: they take numbers only.

use aya_ebpf::{bindings::xdp_md, macros::map, maps::PerCpuArray, programs::XdpContext};
use edge_ebpf::packet::{Packet, access::opaque};

use super::{constants, frame::Context};

#[map]
static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(1, 0);
/// What was found out of it before it is decided about, where rules are about names.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

#[derive(Clone, Copy)]
pub struct Found {
    /// Where the device's row is: [`NOT_ASKED`] yet, or [`super::tables::NO_CLASS`].
    pub device: u32,
    /// Of the frame, in bytes; 0: the kernel is to be asked, which costs a call.
    pub length: u32,
    /// Bits of an [`edge_ebpf::inspect::Showing`].
    pub showing: u32,
    /// Not 0: it was looked into.
    pub inspected: u32,
    /// Not 0: something of its flow is to be remembered.
    pub settles: u32,
    /// Why it could not be inspected, plus one; 0: it could.
    pub reason: u32,
    /// Not 0: the frame was copied for the agent.
    pub copied: u32,
}

/// In a row's place.
pub const NOT_ASKED: u32 = u32::MAX - 1;

/// `None`: there is no such place, which the kernel rules out.
#[inline(always)]
pub fn found<'a>() -> Option<&'a mut Found> {
    // SAFETY: a live map value of this CPU, see `count`.
    FOUND.get_ptr_mut(0).map(|found| unsafe { &mut *found })
}

/// False: there is no such place, which the kernel rules out.
#[inline(always)]
pub fn put(packet: &Packet) -> bool {
    let Some(place) = PACKET.get_ptr_mut(0) else { return false };
    if constants::looks_inside()
        && let Some(found) = found()
    {
        // Nothing yet. Of zeros that it knows the compiler makes a call, which takes them byte by byte.
        let none = opaque(0) as u32;
        *found = Found { device: NOT_ASKED, length: none, showing: none, inspected: none, settles: none, reason: none, copied: none };
    }
    // SAFETY: a live map value of this CPU, see `count`.
    unsafe { place.write(*packet) };
    true
}

/// Puts a plain packet there, with what is known of it already. False: as [`put`].
#[inline(always)]
pub fn put_plain(packet: &Packet, device: u32, length: u32) -> bool {
    if !put(packet) {
        return false;
    }
    if let Some(found) = found() {
        (found.device, found.length) = (device, length);
    }
    true
}

/// What was put there for this very frame.
#[inline(always)]
pub fn get<'a>() -> Option<&'a Packet> {
    let packet = PACKET.get_ptr(0)?;
    // SAFETY: a live map value of this CPU, written before the functions that read it are called.
    Some(unsafe { &*packet })
}

/// Reads a plain packet once more and puts it there: what is rare is not to cost the others the stack. 0: it is not plain.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_plain_in_hand(context: *mut xdp_md) -> u32 {
    let context = Context::<false>::new(XdpContext::new(context));
    let packet = Packet::plain_v4(&context.frame()).or_else(|| Packet::plain_v6(&context.frame()));
    packet.is_some_and(|packet| put(&packet)).into()
}
