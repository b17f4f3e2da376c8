//! The oracle's own reading of a frame, written against the RFCs and not against the kernel program: slices that get shorter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_ebpf::abi::Reason;

pub(super) struct Decoded<'a> {
    /// Source MAC; 0 for a frame that has none.
    pub device: u64,
    /// Addresses, where the frame got that far.
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub what: What<'a>,
}

pub(super) enum What<'a> {
    NotIp,
    Whole(Load<'a>),
    First(Datagram, Load<'a>),
    Later(Datagram),
    Uninspectable(Reason),
}

/// What IP carries.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub service: Service,
    /// Of TCP and UDP.
    pub source_port: u16,
    /// Of TCP.
    pub sequence: u32,
    pub syn: bool,
    pub ack: bool,
    /// Of TCP and UDP: what every length, and the frame, leave of it.
    pub payload: &'a [u8],
    /// From the IP header and from the transport's on, to the frame's end.
    pub ip: &'a [u8],
    pub transport: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Tcp(u16),
    Udp(u16),
    Icmp(u8),
    Icmpv6(u8),
    Other(u8),
}

impl Service {
    pub fn protocol(self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
            Self::Icmp(_) => 1,
            Self::Icmpv6(_) => 58,
            Self::Other(number) => number,
        }
    }
}

/// What fragments of one datagram have in common. IPv6 needs no protocol for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Datagram {
    ends: (IpAddr, IpAddr),
    id: u32,
    protocol: Option<u8>,
}

pub(super) fn decode(frame: &[u8]) -> Decoded<'_> {
    let Some((addresses, rest)) = frame.split_at_checked(12) else { return uninspectable(0, None, Reason::Truncated) };
    if rest.len() < 2 {
        return uninspectable(0, None, Reason::Truncated);
    }
    let device = addresses[6..].iter().fold(0, |mac, octet| mac << 8 | u64::from(*octet));
    let mut rest = rest;
    for tags in 0.. {
        let Some((ether_type, after)) = rest.split_first_chunk::<2>() else { return uninspectable(device, None, Reason::Truncated) };
        match u16::from_be_bytes(*ether_type) {
            0x8100 | 0x88a8 if tags == 2 => return uninspectable(device, None, Reason::NestedTags),
            0x8100 | 0x88a8 => {
                let Some((_, after)) = after.split_first_chunk::<2>() else { return uninspectable(device, None, Reason::Truncated) };
                rest = after;
            }
            0x0800 => return ipv4(device, after),
            0x86dd => return ipv6(device, after),
            _ => break,
        }
    }
    decoded(device, None, What::NotIp)
}

fn uninspectable(device: u64, ends: Option<(IpAddr, IpAddr)>, reason: Reason) -> Decoded<'static> {
    decoded(device, ends, What::Uninspectable(reason))
}

fn decoded(device: u64, ends: Option<(IpAddr, IpAddr)>, what: What<'_>) -> Decoded<'_> {
    Decoded { device, source: ends.map(|ends| ends.0), destination: ends.map(|ends| ends.1), what }
}

fn ipv4(device: u64, packet: &[u8]) -> Decoded<'_> {
    let Some((fixed, rest)) = packet.split_first_chunk::<20>() else { return uninspectable(device, None, Reason::Truncated) };
    let words = usize::from(fixed[0] & 15);
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 4 || words < 5 || total < words * 4 {
        return uninspectable(device, None, Reason::BadHeader);
    }
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]));
    let ends = (address(12), address(16));
    let known = Some(ends);
    let option_bytes = words * 4 - 20;
    let mut options = &rest[..rest.len().min(option_bytes)];
    let mut left = option_bytes;
    while left > 0 {
        match options {
            [] => return uninspectable(device, known, Reason::Truncated),
            [0, ..] => break,
            [1, after @ ..] => {
                options = after;
                left -= 1;
            }
            [_] => return uninspectable(device, known, if left == 1 { option_of_one(rest, option_bytes) } else { Reason::Truncated }),
            [kind, size, ..] => {
                let size = usize::from(*size);
                if size < 2 || size > left {
                    return uninspectable(device, known, Reason::BadHeader);
                }
                if matches!(kind, 131 | 137) {
                    match rest[option_bytes - left..].get(2) {
                        None => return uninspectable(device, known, Reason::Truncated),
                        Some(pointer) if usize::from(*pointer) <= size => return uninspectable(device, known, Reason::SourceRoute),
                        Some(_) => {}
                    }
                }
                left -= size;
                options = options.get(size..).unwrap_or(&[]);
            }
        }
    }
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    let datagram = Datagram { ends, id: u32::from(u16::from_be_bytes([fixed[4], fixed[5]])), protocol: Some(fixed[9]) };
    if fragment & 0x1fff != 0 {
        return decoded(device, known, What::Later(datagram));
    }
    let payload = rest.get(option_bytes..).unwrap_or(&[]);
    let what = match load(fixed[9], packet, payload, total - words * 4) {
        Err(reason) => What::Uninspectable(reason),
        Ok(load) if fragment & 0x2000 != 0 => What::First(datagram, load),
        Ok(load) => What::Whole(load),
    };
    decoded(device, known, what)
}

/// A kind in the very last byte of the header has its length behind the header: that byte is read if the frame goes on.
fn option_of_one(rest: &[u8], option_bytes: usize) -> Reason {
    if rest.len() > option_bytes { Reason::BadHeader } else { Reason::Truncated }
}

fn ipv6(device: u64, packet: &[u8]) -> Decoded<'_> {
    let Some((fixed, rest)) = packet.split_first_chunk::<40>() else { return uninspectable(device, None, Reason::Truncated) };
    if fixed[0] >> 4 != 6 {
        return uninspectable(device, None, Reason::BadHeader);
    }
    let address = |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&fixed[at..at + 16]).unwrap_or_default()));
    let ends = (address(8), address(24));
    let known = Some(ends);
    let mut next = fixed[6];
    let announced = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    // A jumbogram announces nothing and begins with hop-by-hop options.
    let mut room = if announced == 0 && next == 0 { usize::MAX } else { announced };
    let mut rest = rest;
    let (mut count, mut bytes) = (0, 0);
    let mut first = None;
    loop {
        if !matches!(next, 0 | 43 | 44 | 51 | 60) {
            let what = match (load(next, packet, rest, room), first) {
                (Err(reason), _) => What::Uninspectable(reason),
                (Ok(load), Some(datagram)) => What::First(datagram, load),
                (Ok(load), None) => What::Whole(load),
            };
            return decoded(device, known, what);
        }
        let Some(header) = rest.first_chunk::<8>() else { return uninspectable(device, known, Reason::Truncated) };
        let size = match next {
            44 => 8,
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if size > room {
            return uninspectable(device, known, Reason::Truncated);
        }
        if next == 43 && header[3] != 0 {
            return uninspectable(device, known, Reason::SourceRoute);
        }
        if next == 44 {
            let place = u16::from_be_bytes([header[2], header[3]]);
            let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            let datagram = Datagram { ends, id, protocol: None };
            if place >> 3 != 0 {
                return decoded(device, known, What::Later(datagram));
            }
            if place & 1 != 0 {
                first = Some(datagram);
            } else if let Some(first) = &mut first {
                first.id = id;
            }
        }
        count += 1;
        bytes += size;
        if bytes > 2048 || count > 8 {
            return uninspectable(device, known, Reason::ExtensionChain);
        }
        next = header[0];
        rest = rest.get(size..).unwrap_or(&[]);
        room = room.saturating_sub(if room == usize::MAX { 0 } else { size });
    }
}

/// `room` is what the IP header announces; `transport` may be shorter, where the frame is cut, or longer, where it is padded.
fn load<'a>(protocol: u8, ip: &'a [u8], transport: &'a [u8], room: usize) -> Result<Load<'a>, Reason> {
    let packet = &transport[..transport.len().min(room)];
    let v6 = ip[0] >> 4 == 6;
    let number = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let bare = |service| Load { service, source_port: 0, sequence: 0, syn: false, ack: false, payload: &[], ip, transport };
    match (protocol, v6) {
        (6, _) => match packet.first_chunk::<20>() {
            None => Err(Reason::Truncated),
            Some(header) if header[12] >> 4 < 5 => Err(Reason::BadHeader),
            Some(header) => Ok(Load {
                source_port: number(header, 0),
                sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                syn: header[13] & 2 != 0,
                ack: header[13] & 16 != 0,
                payload: packet.get(usize::from(header[12] >> 4) * 4..).unwrap_or(&[]),
                ..bare(Service::Tcp(number(header, 2)))
            }),
        },
        (17, _) => match packet.split_first_chunk::<8>() {
            None => Err(Reason::Truncated),
            Some((header, rest)) => {
                let announced = usize::from(number(header, 4)).saturating_sub(8);
                let payload = &rest[..rest.len().min(announced)];
                Ok(Load { source_port: number(header, 0), payload, ..bare(Service::Udp(number(header, 2))) })
            }
        },
        (1, false) => packet.first_chunk::<4>().map(|header| bare(Service::Icmp(header[0]))).ok_or(Reason::Truncated),
        (58, true) => packet.first_chunk::<4>().map(|header| bare(Service::Icmpv6(header[0]))).ok_or(Reason::Truncated),
        _ => Ok(bare(Service::Other(protocol))),
    }
}
