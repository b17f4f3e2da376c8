//! A packet's transport header and payload, bounded by what the headers announce and by what was captured.

use edge_ebpf::identity::syn::{self, ShapeBytes};
use edge_ebpf::packet::{Address, Family, Fragment, Mac, Packet, access::Frame, protocol};

/// One direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub source: Address,
    pub destination: Address,
    pub source_port: u16,
    pub destination_port: u16,
    pub protocol: u8,
}

/// A packet with ports.
pub struct Segment<'a> {
    pub device: Mac,
    pub flow: Flow,
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// From the transport header on.
    transport: &'a [u8],
    frame: &'a [u8],
    packet: Packet,
}

pub struct Tcp<'a> {
    pub sequence: u32,
    pub window: u16,
    pub flags: u8,
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

const SYN: u8 = 2;
const ACK: u8 = 16;
impl Tcp<'_> {
    /// The first segment of a connection.
    pub fn is_first(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }
}

impl<'a> Segment<'a> {
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let view = Frame::new(frame);
        let packet = Packet::parse(&view);
        if packet.fault.is_some() || !matches!(packet.fragment, Fragment::Whole | Fragment::First) {
            return None;
        }
        let ip = frame.get(packet.network..)?;
        let length = |at: usize| Some(usize::from(u16::from_be_bytes(ip.get(at..at + 2)?.try_into().ok()?)));
        let (ttl, announced) = match packet.family {
            Family::None => return None,
            Family::V4 => (*ip.get(8)?, length(2)?),
            Family::V6 => (*ip.get(7)?, 40 + length(4)?),
        };
        let end = frame.len().min(packet.network + announced);
        let transport = frame.get(packet.transport..end)?;
        if !matches!(packet.protocol, protocol::TCP | protocol::UDP) {
            return None;
        }
        let (source_port, destination_port) = packet.ports(&view);
        let Packet { device, destination, protocol, .. } = packet;
        let flow = Flow { source: packet.source(&view), destination, source_port, destination_port, protocol };
        Some(Self { device, flow, protocol, ttl, transport, frame, packet })
    }

    pub fn tcp(&self) -> Option<Tcp<'a>> {
        let header = self.transport;
        let length = usize::from(*header.get(12)? >> 4) * 4;
        Some(Tcp {
            sequence: u32::from_be_bytes(header.get(4..8)?.try_into().ok()?),
            window: u16::from_be_bytes(header.get(14..16)?.try_into().ok()?),
            flags: *header.get(13)?,
            options: header.get(20..length)?,
            payload: header.get(length..)?,
        })
    }

    /// How a connection's first segment is made; nothing if its header is not all there.
    pub fn shape(&self) -> Vec<u8> {
        let mut shape = ShapeBytes([0; 64]);
        let length = syn::read(&Frame::new(self.frame), &self.packet, &mut shape);
        shape.0[..length].to_vec()
    }

    pub fn udp(&self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes(self.transport.get(4..6)?.try_into().ok()?));
        self.transport.get(8..length.min(self.transport.len()))
    }
}
