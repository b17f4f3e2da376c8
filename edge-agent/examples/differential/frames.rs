//! Random frames around the numbers that the policies are drawn from: tags, options, extension headers, fragments, cuts and damage.

use std::net::{Ipv4Addr, Ipv6Addr};

use edge_agent::engine::frame::{Ends, FragmentSpec, FrameSpec, TcpFlags, Transport};
use edge_ebpf::engine::Side;
use edge_ebpf::packet::{Mac, protocol};
use fastrand::Rng;

use super::policies::{DAY, PORTS, PROTOCOLS, START, mac, v4, v6};
use super::talks::Talks;
use super::{identity, names};

/// Where a frame is met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It comes in, and is decided about.
    In(Side),
    /// It leaves towards a device, and engines learn from it.
    TowardsDevice,
}

/// A frame, where it is met, and when.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub way: Way,
    /// Seconds of the Unix epoch.
    pub at: i64,
    pub frame: Vec<u8>,
}

/// Frames over some days, in their order: mostly at once, sometimes a second or hours later.
pub fn arrivals(rng: &mut Rng, count: u64) -> Vec<Arrival> {
    let mut at = START;
    let mut talks = Talks::new(rng);
    (0..count)
        .map(|_| {
            at += match rng.u16(..100) {
                0 => rng.i64(0..DAY / 8),
                1..10 => 1,
                _ => 0,
            };
            let (way, frame) = match rng.u8(..16) {
                0 => (Way::TowardsDevice, answer(rng)),
                1..9 => (Way::In(Side::Inside), spoken(rng, &mut talks)),
                9..12 => (Way::In(Side::Outside), random(rng)),
                _ => (Way::In(Side::Inside), random(rng)),
            };
            Arrival { way, at, frame }
        })
        .collect()
}

/// A packet of one of the flows, sometimes in another guise or damaged.
fn spoken(rng: &mut Rng, talks: &mut Talks) -> Vec<u8> {
    let mut spec = talks.next(rng);
    if rng.u8(..16) == 0 {
        disguise(rng, &mut spec);
    }
    if rng.u8(..32) == 0 {
        spec.fragment = Some(FragmentSpec { id: rng.u32(..3), offset: 0, more: true });
    }
    let mut frame = if identity::opens(&spec) && rng.u8(..4) > 0 { identity::opening(rng, &spec) } else { spec.build() };
    match rng.u8(..64) {
        0 => frame.truncate(rng.usize(14..=frame.len())),
        1 => {
            let place = rng.usize(12..frame.len());
            frame[place] = rng.u8(..);
        }
        // Padding is no payload.
        2..8 => frame.extend(std::iter::repeat_n(rng.u8(..2), rng.usize(1..64))),
        _ => {}
    }
    frame
}

/// A resolver's answer, or what looks like one.
fn answer(rng: &mut Rng) -> Vec<u8> {
    let ends = if rng.bool() {
        Ends::V4(Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 168, 1, 1))
    } else {
        Ends::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x35), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))
    };
    let source = if rng.u8(..16) == 0 { rng.u16(52..55) } else { 53 };
    let mut spec = FrameSpec::new(Mac(0x0000_5e00_5335), ends, Transport::Udp { source, destination: 40_000 });
    spec.payload = names::answer(rng);
    if rng.u8(..16) == 0 {
        disguise(rng, &mut spec);
    }
    if rng.u8(..32) == 0 {
        spec.fragment = Some(FragmentSpec { id: rng.u32(..3), offset: rng.u16(..2), more: rng.bool() });
    }
    spec.build()
}

/// Tags, options, extension headers.
fn disguise(rng: &mut Rng, spec: &mut FrameSpec) {
    spec.tags = (0..[0, 1, 1, 2][rng.usize(..4)]).map(|_| ([0x8100, 0x88a8][rng.usize(..2)], rng.u16(..))).collect();
    match spec.ends {
        Ends::V4(..) => spec.options = vec![1; [0, 4, 12][rng.usize(..3)]],
        Ends::V6(..) => spec.extensions = (0..rng.usize(..3)).map(|_| (protocol::DESTINATION, vec![0; 8])).collect(),
    }
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let device = Mac(mac(rng));
    let mut frame = if rng.u8(..64) == 0 { not_ip(rng, device) } else { ip(rng, device) };
    if rng.u8(..8) == 0 {
        frame.truncate(rng.usize(..=frame.len()));
    }
    if rng.u8(..8) == 0 && !frame.is_empty() {
        for _ in 0..rng.usize(1..4) {
            // Behind the MACs, mostly in the headers.
            let place = if frame.len() > 12 { rng.usize(12..frame.len().min(80)) } else { rng.usize(..frame.len()) };
            frame[place] = [0, 1, 0xff, rng.u8(..)][rng.usize(..4)];
        }
    }
    // The kernel takes no test frame that is shorter than an Ethernet header.
    if frame.len() < 14 {
        frame.resize(14, 0);
    }
    frame
}

fn not_ip(rng: &mut Rng, device: Mac) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(device.octets());
    frame.extend([[0x08, 0x06], [0x88, 0xcc], [0x00, 0x26]][rng.usize(..3)]);
    frame.extend(std::iter::repeat_n(0, 46));
    frame
}

fn ip(rng: &mut Rng, device: Mac) -> Vec<u8> {
    let ends =
        if rng.bool() { Ends::V4(v4(rng).into(), v4(rng).into()) } else { Ends::V6(Ipv6Addr::from(v6(rng)), Ipv6Addr::from(v6(rng))) };
    let transport = transport(rng);
    let mut spec = FrameSpec::new(device, ends, transport);
    spec.payload = vec![0x61; [0, 0, 1, 7, 8, 64, 200][rng.usize(..7)]];
    spec.tags = (0..[0, 0, 0, 0, 1, 1, 2, 3][rng.usize(..8)]).map(|_| ([0x8100, 0x88a8][rng.usize(..2)], rng.u16(..))).collect();
    match ends {
        Ends::V4(..) if rng.u8(..4) == 0 => spec.options = options(rng),
        Ends::V6(..) if rng.u8(..3) == 0 => spec.extensions = extensions(rng),
        _ => {}
    }
    if rng.u8(..4) == 0 {
        // Few datagrams, so that later fragments meet their first ones.
        spec.fragment = Some(FragmentSpec { id: rng.u32(..3), offset: [0, 0, 1, 64][rng.usize(..4)], more: rng.bool() });
        if let Ends::V4(source, _) = &mut spec.ends {
            *source = Ipv4Addr::new(10, 0, 0, rng.u8(..2));
        }
    }
    spec.build()
}

fn transport(rng: &mut Rng) -> Transport {
    let port = PORTS[rng.usize(..PORTS.len())];
    match rng.u8(..8) {
        0..3 => {
            let flags = TcpFlags { syn: rng.bool(), ack: rng.bool(), fin: rng.u8(..4) == 0, rst: rng.u8(..6) == 0 };
            Transport::Tcp { source: rng.u16(..), destination: port, flags, sequence: rng.u32(..), acknowledgment: rng.u32(..) }
        }
        3..6 => Transport::Udp { source: rng.u16(..), destination: port },
        6 => Transport::Icmp { kind: [0, 3, 8, 11, 128, 133, 135, 137][rng.usize(..8)], code: 0 },
        _ => Transport::Other(PROTOCOLS[rng.usize(..PROTOCOLS.len())]),
    }
}

/// Well-formed, padded to whole words, or noise.
fn options(rng: &mut Rng) -> Vec<u8> {
    let words = rng.usize(1..=10);
    let mut options = match rng.u8(..4) {
        0 => vec![1; words * 4],
        1 => vec![0x94, 4, 0, 0],
        2 => vec![[131, 137][rng.usize(..2)], 7, [4, 8, 3, 7][rng.usize(..4)], 42, 62, 48, 7],
        _ => (0..words * 4).map(|_| [0, 1, 2, 3, 4, 131, rng.u8(..)][rng.usize(..7)]).collect(),
    };
    options.resize(options.len().div_ceil(4) * 4, 0);
    options.truncate(40);
    options
}

fn extensions(rng: &mut Rng) -> Vec<(u8, Vec<u8>)> {
    let count = [1, 1, 2, 3, 7, 8, 9][rng.usize(..7)];
    (0..count)
        .map(|_| {
            let number = [protocol::HOP_BY_HOP, protocol::DESTINATION, protocol::ROUTING, protocol::AUTHENTICATION][rng.usize(..4)];
            let (unit, fixed) = if number == protocol::AUTHENTICATION { (4, 2) } else { (8, 1) };
            let length: usize = [0, 1, 2, 5, 127, 255][[0, 0, 1, 1, 2, 3, 4, 5][rng.usize(..8)]];
            let mut header = vec![0; ((length + fixed) * unit).max(8)];
            header[1] = length as u8;
            if number == protocol::ROUTING {
                header[3] = u8::from(rng.u8(..3) == 0);
            }
            (number, header)
        })
        .collect()
}
