//! Few flows of few devices, each with messages in segments: mostly in order, sometimes again, too early, or overlapping.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_ebpf::packet::Mac;
use fastrand::Rng;

use super::identity;
use super::names::{self, SERVERS};
use super::policies::{PORTS, mac};

/// Flows of a policy set: the kernel remembers many more, and forgets at its own time.
const FLOWS: usize = 8;
/// Bytes of a segment at the most, so that test frames fit a page.
const SEGMENT: usize = 1400;

pub struct Talks(Vec<Talk>);

/// A flow, and where it is.
struct Talk {
    device: Mac,
    ends: Ends,
    source: u16,
    port: u16,
    is_tcp: bool,
    /// Sequence number of the message's first byte.
    sequence: u32,
    message: Vec<u8>,
    sent: usize,
}

impl Talks {
    pub fn new(rng: &mut Rng) -> Self {
        Self((0..FLOWS).map(|_| Talk::new(rng)).collect())
    }

    /// The next packet of any of them.
    pub fn next(&mut self, rng: &mut Rng) -> FrameSpec {
        let place = rng.usize(..self.0.len());
        if rng.u8(..10) == 0 { self.0[place].dhcp(rng) } else { self.0[place].next(rng) }
    }
}

impl Talk {
    fn new(rng: &mut Rng) -> Self {
        let ends = match SERVERS[rng.usize(..SERVERS.len())] {
            IpAddr::V4(server) => Ends::V4(Ipv4Addr::new(192, 168, 1, rng.u8(..2)), server),
            IpAddr::V6(server) => Ends::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, rng.u16(..2)), server),
        };
        let port = if rng.bool() { [53, 443][rng.usize(..2)] } else { PORTS[rng.usize(..PORTS.len())] };
        // Each its own source port: to share a flow takes a forged address.
        let source = rng.u16(1024..);
        Self { device: Mac(mac(rng)), ends, source, port, is_tcp: rng.u8(..3) > 0, sequence: 0, message: Vec::new(), sent: 0 }
    }

    fn next(&mut self, rng: &mut Rng) -> FrameSpec {
        let (transport, payload) = if self.is_tcp {
            self.segment(rng)
        } else {
            let message = names::message(rng, self.port, false);
            (Transport::Udp { source: self.source, destination: self.port }, if rng.u8(..8) == 0 { Vec::new() } else { message })
        };
        FrameSpec { payload: payload[..payload.len().min(SEGMENT)].to_vec(), ..FrameSpec::new(self.device, self.ends, transport) }
    }

    /// What the device's DHCP client sends.
    fn dhcp(&self, rng: &mut Rng) -> FrameSpec {
        let (port, payload) = identity::dhcp(rng, self.device);
        let transport = Transport::Udp { source: self.source, destination: port };
        FrameSpec { payload, ..FrameSpec::new(self.device, self.ends, transport) }
    }

    fn segment(&mut self, rng: &mut Rng) -> (Transport, Vec<u8>) {
        if rng.u8(..8) == 0 {
            let flags = TcpFlags { syn: true, ack: rng.u8(..8) == 0, ..TcpFlags::default() };
            (self.message, self.sent) = (names::message(rng, self.port, true), 0);
            self.sequence = [0, 999, u32::MAX - 30, u32::MAX][rng.usize(..4)];
            let transport = self.number(flags, 0);
            self.sequence = self.sequence.wrapping_add(1);
            return (transport, if rng.u8(..4) == 0 { self.take(rng) } else { Vec::new() });
        }
        let flags = TcpFlags { ack: true, fin: rng.u8(..16) == 0, ..TcpFlags::default() };
        if self.sent == self.message.len() {
            self.sequence = self.sequence.wrapping_add(self.sent as u32);
            (self.message, self.sent) = (names::message(rng, self.port, true), 0);
        }
        match rng.u8(..32) {
            // Again from the start, or the whole of it.
            0 => self.sent = 0,
            // Lost on its way.
            1 => {
                self.take(rng);
            }
            2 => return (self.number(flags, 0), Vec::new()),
            _ => {}
        }
        let jitter = if rng.u8(..24) == 0 { [1, 10, 5000, -1, -10, -5000, i32::MIN][rng.usize(..7)] } else { 0 };
        let transport = self.number(flags, jitter);
        let sent = self.sent;
        let payload = self.take(rng);
        if rng.u8(..10) == 0 {
            // It will be sent again.
            self.sent = sent;
        }
        (transport, payload)
    }

    fn number(&self, flags: TcpFlags, jitter: i32) -> Transport {
        let sequence = self.sequence.wrapping_add(self.sent as u32).wrapping_add_signed(jitter);
        Transport::Tcp { source: self.source, destination: self.port, flags, sequence, acknowledgment: 7 }
    }

    /// The next part of the message.
    fn take(&mut self, rng: &mut Rng) -> Vec<u8> {
        let rest = (self.message.len() - self.sent).min(SEGMENT);
        let length = if rng.u8(..3) > 0 || rest == 0 { rest } else { rng.usize(1..=rest) };
        let part = self.message[self.sent..self.sent + length].to_vec();
        self.sent += length;
        part
    }
}
