//! Frames in vectors, and a reader of them that is as plain as can be.

mod dns;

use super::Buffer;
use crate::packet::access::FrameMut;

/// Resized as the kernel resizes a frame, up to `room` bytes.
pub struct InVector {
    pub bytes: Vec<u8>,
    pub room: usize,
}

impl Buffer for InVector {
    fn frame(&mut self) -> FrameMut<'_> {
        FrameMut::new(&mut self.bytes)
    }
    fn grow_head(&mut self, bytes: usize) -> bool {
        self.bytes.splice(0..0, vec![0xee; bytes]);
        true
    }
    fn shrink_head(&mut self, bytes: usize) -> bool {
        self.bytes.drain(..bytes);
        true
    }
    fn length(&self) -> usize {
        self.bytes.len()
    }
    fn truncate(&mut self, len: usize) -> bool {
        self.bytes.truncate(len);
        true
    }
    fn resize(&mut self, len: usize) -> bool {
        let fits = len <= self.room;
        if fits {
            self.bytes.resize(len, 0);
        }
        fits
    }
}

/// The one's complement sum, complemented (RFC 1071): 0 over what has a right checksum in it.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// What a frame with a UDP datagram says.
#[derive(PartialEq, Eq, Debug)]
pub struct Datagram {
    /// The Ethernet header with its tags.
    pub ethernet: Vec<u8>,
    pub source: Vec<u8>,
    pub destination: Vec<u8>,
    pub ports: (u16, u16),
    pub payload: Vec<u8>,
}

/// Reads a frame whose IP header is of the shortest, and checks all lengths and checksums on the way.
pub fn read(frame: &[u8]) -> Datagram {
    let number = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let mut network = 14;
    while [0x8100, 0x88a8].contains(&number(frame, network - 2)) {
        network += 4;
    }
    let (ethernet, ip) = frame.split_at(network);
    let (source, destination, udp) = if number(ethernet, network - 2) == 0x0800 {
        let (header, udp) = ip.split_at(20);
        assert_eq!((header[0], header[9], checksum(header)), (0x45, 17, 0));
        assert_eq!(usize::from(number(header, 2)), ip.len());
        assert_eq!(number(header, 6) & 0xbfff, 0, "no fragment");
        (&header[12..16], &header[16..20], udp)
    } else {
        let (header, udp) = ip.split_at(40);
        assert_eq!((header[0], header[6]), (0x60, 17));
        assert_eq!(usize::from(number(header, 4)), udp.len());
        (&header[8..24], &header[24..40], udp)
    };
    assert_eq!(usize::from(number(udp, 4)), udp.len());
    assert_ne!(number(udp, 6), 0, "a checksum");
    let pseudo = [source, destination, &[0, 17], &(udp.len() as u16).to_be_bytes(), udp].concat();
    assert_eq!(checksum(&pseudo), 0);
    Datagram {
        ethernet: ethernet.to_vec(),
        source: source.to_vec(),
        destination: destination.to_vec(),
        ports: (number(udp, 0), number(udp, 2)),
        payload: udp[8..].to_vec(),
    }
}
