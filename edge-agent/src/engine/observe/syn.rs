//! The shape of a connection's first segment (RFC 9293 section 3.1).

use super::segment::{Segment, Tcp};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpSyn {
    /// As it arrived, so less by each hop.
    pub ttl: u8,
    pub window: u16,
    /// Kinds in order, with each byte of padding.
    pub options: Vec<u8>,
    pub mss: Option<u16>,
    pub wscale: Option<u8>,
    /// As the kernel program sees it, see [`edge_ebpf::identity::syn`]; empty: the header is not all there.
    pub shape: Vec<u8>,
}

pub fn read(segment: &Segment<'_>, tcp: &Tcp<'_>) -> TcpSyn {
    let mut syn = TcpSyn { ttl: segment.ttl, window: tcp.window, options: Vec::new(), mss: None, wscale: None, shape: segment.shape() };
    let mut rest = tcp.options;
    while let [kind, behind @ ..] = rest {
        syn.options.push(*kind);
        if matches!(*kind, END | NO_OPERATION) {
            rest = behind;
            continue;
        }
        let Some((length, value)) = behind.split_first() else { break };
        let Some(value) = usize::from(*length).checked_sub(2).and_then(|length| value.get(..length)) else { break };
        match (*kind, value) {
            (MAXIMUM_SEGMENT_SIZE, [high, low]) => syn.mss = Some(u16::from_be_bytes([*high, *low])),
            (WINDOW_SCALE, [scale]) => syn.wscale = Some(*scale),
            _ => {}
        }
        rest = &rest[2 + value.len()..];
    }
    syn
}
