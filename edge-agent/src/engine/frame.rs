//! Frames made to order, with right lengths and checksums: for policy tests, and for the tests of the engines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::packet::{Mac, protocol};
use etherparse::{IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader, UdpHeader};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP_HEADER: usize = 8;

/// A frame from a device on the inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameSpec {
    pub device: Mac,
    /// Tags, outermost first: (EtherType of the tag, VLAN id).
    pub tags: Vec<(u16, u16)>,
    pub ends: Ends,
    /// IPv4 options, a multiple of 4 bytes.
    pub options: Vec<u8>,
    /// IPv6 extension headers: (protocol number, bytes with a place for the next header's number in the first).
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub fragment: Option<FragmentSpec>,
    pub transport: Transport,
    pub payload: Vec<u8>,
}

/// Source and destination, of one family by construction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Ends {
    /// From an address that the destination's family has for documentation (RFC 5737, RFC 3849).
    pub fn to(destination: IpAddr) -> Self {
        match destination {
            IpAddr::V4(destination) => Self::V4(Ipv4Addr::new(192, 0, 2, 10), destination),
            IpAddr::V6(destination) => Self::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10), destination),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentSpec {
    pub id: u32,
    /// In 8 bytes.
    pub offset: u16,
    pub more: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Tcp {
        source: u16,
        destination: u16,
        flags: TcpFlags,
        sequence: u32,
        acknowledgment: u32,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp {
        kind: u8,
        code: u8,
    },
    /// Any protocol number, without a header: also what a later fragment has.
    Other(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
}

impl Transport {
    /// A first segment to `port`.
    pub fn syn(port: u16) -> Self {
        let flags = TcpFlags { syn: true, ..TcpFlags::default() };
        Self::Tcp { source: 40_000, destination: port, flags, sequence: 1000, acknowledgment: 0 }
    }

    pub fn udp(port: u16) -> Self {
        Self::Udp { source: 40_000, destination: port }
    }

    fn protocol(self, ends: Ends) -> u8 {
        match (self, ends) {
            (Self::Tcp { .. }, _) => protocol::TCP,
            (Self::Udp { .. }, _) => protocol::UDP,
            (Self::Icmp { .. }, Ends::V4(..)) => protocol::ICMP,
            (Self::Icmp { .. }, Ends::V6(..)) => protocol::ICMPV6,
            (Self::Other(number), _) => number,
        }
    }
}

impl FrameSpec {
    pub fn new(device: Mac, ends: Ends, transport: Transport) -> Self {
        Self { device, tags: Vec::new(), ends, options: Vec::new(), extensions: Vec::new(), fragment: None, transport, payload: Vec::new() }
    }

    /// The frame, from its first MAC to its last payload byte.
    ///
    /// # Panics
    /// If the specification is none: IPv4 options that are no multiple of 4 bytes or longer than 40, more payload than IP can announce.
    pub fn build(&self) -> Vec<u8> {
        let Self { device, tags, ends, options, extensions, fragment, transport, payload } = self;
        let mut frame = vec![0x02, 0, 0, 0, 0, 0xfe];
        frame.extend(device.octets());
        for (tag, id) in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        let transport_bytes = transport_bytes(*transport, *ends, payload);
        match *ends {
            Ends::V4(source, destination) => {
                frame.extend(IPV4.to_be_bytes());
                frame.extend(ipv4(source, destination, options, *fragment, transport.protocol(*ends), transport_bytes.len()));
            }
            Ends::V6(source, destination) => {
                frame.extend(IPV6.to_be_bytes());
                let mut chain = extensions.clone();
                if let Some(FragmentSpec { id, offset, more }) = fragment {
                    let mut header = vec![0, 0];
                    header.extend((offset << 3 | u16::from(*more)).to_be_bytes());
                    header.extend(id.to_be_bytes());
                    chain.push((protocol::FRAGMENT, header));
                }
                let last = transport.protocol(*ends);
                let numbers: Vec<u8> = chain.iter().map(|(number, _)| *number).chain([last]).collect();
                let mut bytes = Vec::new();
                for ((_, header), next) in chain.iter().zip(&numbers[1..]) {
                    bytes.push(*next);
                    bytes.extend(&header[1..]);
                }
                bytes.extend(&transport_bytes);
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: Ipv6FlowLabel::default(),
                    payload_length: bytes.len().try_into().expect("payload fits IPv6"),
                    next_header: IpNumber(numbers[0]),
                    hop_limit: 64,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                frame.extend(header.to_bytes());
                frame.extend(bytes);
                return frame;
            }
        }
        frame.extend(transport_bytes);
        frame
    }
}

fn ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    options: &[u8],
    fragment: Option<FragmentSpec>,
    protocol: u8,
    payload: usize,
) -> impl IntoIterator<Item = u8> {
    let payload = payload.try_into().expect("payload fits IPv4");
    let mut header = Ipv4Header::new(payload, 64, IpNumber(protocol), source.octets(), destination.octets()).expect("payload fits IPv4");
    header.options = options.try_into().expect("IPv4 options of whole words, at most 40 bytes");
    if let Some(FragmentSpec { id, offset, more }) = fragment {
        header.identification = id as u16;
        header.dont_fragment = false;
        header.more_fragments = more;
        header.fragment_offset = offset.try_into().expect("13 bits of fragment offset");
    }
    header.set_payload_len(usize::from(payload)).expect("payload and options fit IPv4");
    header.header_checksum = header.calc_header_checksum();
    header.to_bytes()
}

fn transport_bytes(transport: Transport, ends: Ends, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match transport {
        Transport::Tcp { source, destination, flags, sequence, acknowledgment } => {
            let mut header = TcpHeader::new(source, destination, sequence, 65535);
            let TcpFlags { syn, ack, fin, rst } = flags;
            (header.syn, header.ack, header.fin, header.rst) = (syn, ack, fin, rst);
            header.acknowledgment_number = acknowledgment;
            header.checksum = match ends {
                Ends::V4(from, to) => header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload),
                Ends::V6(from, to) => header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload),
            }
            .expect("payload fits TCP");
            bytes.extend(header.to_bytes());
        }
        Transport::Udp { source, destination } => {
            let length = (UdpHeader::LEN + payload.len()).try_into().expect("payload fits UDP");
            let mut header = UdpHeader { source_port: source, destination_port: destination, length, checksum: 0 };
            header.checksum = match ends {
                Ends::V4(from, to) => header.calc_checksum_ipv4_raw(from.octets(), to.octets(), payload),
                Ends::V6(from, to) => header.calc_checksum_ipv6_raw(from.octets(), to.octets(), payload),
            }
            .expect("payload fits UDP");
            bytes.extend(header.to_bytes());
        }
        Transport::Icmp { kind, code } => {
            bytes.extend([kind, code]);
            bytes.extend([0; ICMP_HEADER - 2]);
            let mut sum = etherparse::checksum::Sum16BitWords::new();
            if let Ends::V6(from, to) = ends {
                let length = u32::try_from(ICMP_HEADER + payload.len()).expect("payload fits ICMPv6");
                sum = sum
                    .add_16bytes(from.octets())
                    .add_16bytes(to.octets())
                    .add_4bytes(length.to_be_bytes())
                    .add_2bytes([0, protocol::ICMPV6]);
            }
            let sum = sum.add_slice(&bytes).add_slice(payload).ones_complement();
            bytes[2..4].copy_from_slice(&sum.to_ne_bytes());
        }
        Transport::Other(_) => {}
    }
    bytes.extend(payload);
    bytes
}
