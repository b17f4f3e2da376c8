//! The facts in a copied frame, by the readers that are in the kernel program: the same bytes as it walks there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::abi::identity::{FactKind, MAX_FACT};
use edge_ebpf::identity::dhcp::{self, Said};
use edge_ebpf::identity::syn::{self, ShapeBytes};
use edge_ebpf::identity::user_agent;
use edge_ebpf::name::Span;
use edge_ebpf::packet::access::Frame;
use edge_ebpf::packet::{Address, Family, Fragment, Mac, Packet, protocol};

use super::announcement::{self, MDNS, SSDP};

/// What a frame tells of its device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    pub device: Mac,
    /// That it sent from; `None`: it has none yet.
    pub address: Option<IpAddr>,
    pub facts: Vec<(FactKind, Vec<u8>)>,
}

/// `None`: it cannot be read, or tells nothing.
pub fn frame(frame: &[u8]) -> Option<Shown> {
    let view = Frame::new(frame);
    let packet = Packet::parse(&view);
    if packet.fault.is_some() || packet.family == Family::None || packet.fragment == Fragment::Later {
        return None;
    }
    let (_, port) = packet.ports(&view);
    let facts = match (packet.protocol, port) {
        (protocol::TCP, _) => of_tcp(frame, &view, &packet),
        (protocol::UDP, dhcp::SERVER | dhcp::SERVER_6) => of_dhcp(frame, &view, &packet, port),
        (protocol::UDP, MDNS | SSDP) => {
            let (start, end) = packet.payload(&view);
            let lines = announcement::read(frame.get(start..end)?, port == MDNS);
            lines.into_iter().map(|line| (FactKind::Announcement, line.into_bytes())).collect()
        }
        _ => Vec::new(),
    };
    let address = address(packet.family, packet.source(&view)).filter(|address| !address.is_unspecified());
    (!facts.is_empty()).then_some(Shown { device: packet.device, address, facts })
}

fn address(family: Family, Address { high, low }: Address) -> Option<IpAddr> {
    match family {
        Family::None => None,
        Family::V4 => Some(Ipv4Addr::from((high >> 32) as u32).into()),
        Family::V6 => Some(Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()),
    }
}

fn of_tcp(frame: &[u8], view: &Frame<'_>, packet: &Packet) -> Vec<(FactKind, Vec<u8>)> {
    let mut facts = Vec::new();
    if packet.segment(view).opens {
        let mut shape = ShapeBytes([0; 64]);
        let length = syn::read(view, packet, &mut shape);
        facts.extend(part(&shape.0, Span::new(0, length)).map(|shape| (FactKind::TcpSyn, shape.to_vec())));
    }
    let (start, end) = packet.payload(view);
    // A method, as every request begins with.
    if part(frame, Span::new(start, end)).is_some_and(|payload| payload[0].is_ascii_uppercase()) {
        let value = part(frame, user_agent::read(view, start, end)).unwrap_or_default();
        let line = value.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        facts.extend((!line.is_empty()).then(|| (FactKind::UserAgent, line.to_vec())));
    }
    facts
}

fn of_dhcp(frame: &[u8], view: &Frame<'_>, packet: &Packet, port: u16) -> Vec<(FactKind, Vec<u8>)> {
    let (start, end) = packet.payload(view);
    let mut said = Said::default();
    let (read, kinds) = if port == dhcp::SERVER_6 {
        (dhcp::read_6(view, start, end, &mut said), [FactKind::Dhcp6Options, FactKind::Dhcp6VendorClass, FactKind::Dhcp6Name])
    } else {
        let kinds = [FactKind::DhcpParameters, FactKind::DhcpVendorClass, FactKind::DhcpHostName];
        (dhcp::read(view, start, end, packet.device, &mut said), kinds)
    };
    let spans = [said.parameters, said.vendor_class, said.host_name];
    let facts = kinds.into_iter().zip(spans).filter_map(|(kind, span)| Some((kind, part(frame, span)?.to_vec())));
    if read { facts.collect() } else { Vec::new() }
}

/// As much of a fact as is there for patterns; `None`: nothing.
fn part(bytes: &[u8], Span { start, end }: Span) -> Option<&[u8]> {
    let part = bytes.get(start as usize..end as usize)?;
    Some(&part[..part.len().min(MAX_FACT)]).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fact::{Opening, dhcp, dhcp6, with_user_agent};
    use crate::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};

    const PHONE: Mac = Mac(0x6409_8000_0001);
    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

    fn spec(transport: Transport, payload: Vec<u8>) -> FrameSpec {
        FrameSpec { payload, ..FrameSpec::new(PHONE, Ends::to(SERVER), transport) }
    }

    fn facts(bytes: &[u8]) -> Vec<(FactKind, Vec<u8>)> {
        frame(bytes).map_or_else(Vec::new, |shown| shown.facts)
    }

    #[test]
    fn a_syn_is_its_shape_and_tells_the_address() {
        let syn = Opening { options: vec![2, 4, 5, 180, 4, 2, 1, 1], ..Opening::default() }.build(&spec(Transport::syn(443), vec![]));
        let shown = frame(&syn).expect("a fact");
        assert_eq!((shown.device, shown.address), (PHONE, Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)))));
        let [(FactKind::TcpSyn, shape)] = &shown.facts[..] else { panic!("{shown:?}") };
        assert_eq!((shape[0], shape[1], &shape[syn::HEAD..]), (4, 64, &[2, 4, 1, 1][..]));
    }

    #[test]
    fn dhcp_tells_three_things_of_its_sender_alone() {
        let options: [(u8, &[u8]); 4] = [(53, &[1]), (55, &[1, 3, 6]), (60, b"android-dhcp-13"), (12, b"Redmi")];
        let udp = Transport::Udp { source: 68, destination: 67 };
        let said = facts(&spec(udp, dhcp(PHONE, &options)).build());
        assert_eq!(
            said,
            [
                (FactKind::DhcpParameters, vec![1, 3, 6]),
                (FactKind::DhcpVendorClass, b"android-dhcp-13".to_vec()),
                (FactKind::DhcpHostName, b"Redmi".to_vec()),
            ]
        );
        assert_eq!(facts(&spec(udp, dhcp(Mac(1), &options)).build()), []);
        let six = dhcp6(1, &[(6, &[0, 23, 0, 24]), (39, b"\0\x05redmi")]);
        let said = facts(&spec(Transport::Udp { source: 546, destination: 547 }, six).build());
        assert_eq!(said, [(FactKind::Dhcp6Options, vec![0, 23, 0, 24]), (FactKind::Dhcp6Name, b"\x05redmi".to_vec())]);
    }

    #[test]
    fn a_request_tells_its_user_agent_and_a_body_none() {
        let flags = TcpFlags { ack: true, ..TcpFlags::default() };
        let tcp = Transport::Tcp { source: 40_000, destination: 80, flags, sequence: 1, acknowledgment: 1 };
        let request = with_user_agent(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n".to_vec(), b"Dalvik (MIUI)");
        assert_eq!(facts(&spec(tcp, request).build()), [(FactKind::UserAgent, b"Dalvik (MIUI)".to_vec())]);
        assert_eq!(facts(&spec(tcp, b"x\r\nUser-Agent: y\r\n".to_vec()).build()), []);
        assert_eq!(frame(&[]), None);
    }
}
