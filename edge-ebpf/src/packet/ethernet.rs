//! Ethernet II (IEEE 802.3) and up to two VLAN tags (802.1Q, 802.1ad).

use super::{Mac, Packet, access::Frame};
use crate::abi::Reason;

pub(super) const HEADER: usize = 14;
const TAG: usize = 4;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
const CUSTOMER_TAG: u16 = 0x8100;
const SERVICE_TAG: u16 = 0x88a8;

pub(super) enum Next {
    Ipv4,
    Ipv6,
    /// ARP and whatever else is not IP.
    Other,
}

const fn is_tag(ether_type: u16) -> bool {
    ether_type == CUSTOMER_TAG || ether_type == SERVICE_TAG
}

#[inline(always)]
pub(super) fn parse(frame: &Frame<'_>, packet: &mut Packet) -> Result<Next, Reason> {
    let Some(header) = frame.view::<HEADER>(0) else { return Err(Reason::Truncated) };
    packet.device = Mac((u64::from(header.u16::<6>()) << 32) | u64::from(header.u32::<8>()));
    let mut ether_type = header.u16::<12>();
    packet.network = HEADER;
    if is_tag(ether_type) {
        let Some(tag) = frame.view::<TAG>(HEADER) else { return Err(Reason::Truncated) };
        ether_type = tag.u16::<2>();
        packet.network = HEADER + TAG;
        if is_tag(ether_type) {
            let Some(tag) = frame.view::<TAG>(HEADER + TAG) else { return Err(Reason::Truncated) };
            ether_type = tag.u16::<2>();
            packet.network = HEADER + 2 * TAG;
            if is_tag(ether_type) {
                return Err(Reason::NestedTags);
            }
        }
    }
    Ok(match ether_type {
        IPV4 => Next::Ipv4,
        IPV6 => Next::Ipv6,
        _ => Next::Other,
    })
}
