//! The shape of a connection's first segment (RFC 9293 section 3.1), by which p0f knows systems (M. Zalewski, p0f 3, README section 5).

use crate::{
    packet::{
        Family, Packet,
        access::{Frame, forget},
        protocol,
    },
    turns::{Turn, take},
};

/// Bytes of a shape: the head, then the kinds of the options, one byte each.
pub const MAX_SHAPE: usize = HEAD + MAX_KINDS;
/// Offsets in the head. Numbers of two and more bytes are big-endian.
pub mod at {
    /// 4 or 6.
    pub const VERSION: usize = 0;
    /// 32, 64, 128 or 255: the next one that is not less than what arrived.
    pub const TTL: usize = 1;
    /// Bytes of IPv4 options.
    pub const IP_OPTIONS: usize = 2;
    /// Two bytes; 0 without the option.
    pub const MSS: usize = 3;
    /// Two bytes.
    pub const WINDOW: usize = 5;
    /// The window as a multiple of the MSS; 0: it is none.
    pub const OF_MSS: usize = 7;
    /// The window as a multiple of the MTU, where it is none of the MSS; 0: it is none.
    pub const OF_MTU: usize = 8;
    /// [`super::NO_SCALE`] without the option.
    pub const SCALE: usize = 9;
    /// Three bytes: bits of [`super::quirk`].
    pub const QUIRKS: usize = 10;
    /// 1: there is data.
    pub const PAYLOAD: usize = 13;
    /// How many kinds follow the head.
    pub const KINDS: usize = 14;
}
pub const HEAD: usize = 16;
/// All options lie in 40 bytes, so there are no more kinds.
pub const MAX_KINDS: usize = 40;
pub const NO_SCALE: u8 = 0xff;

/// What else p0f looks at, each with its name there.
pub mod quirk {
    /// `df`: must not be fragmented.
    pub const DF: u32 = 1;
    /// `id+`: must not be fragmented, and has an identification.
    pub const ID_NONZERO: u32 = 1 << 1;
    /// `id-`: may be fragmented, and has none.
    pub const ID_ZERO: u32 = 1 << 2;
    /// `ecn`
    pub const ECN: u32 = 1 << 3;
    /// `0+`: IPv4's reserved bit.
    pub const RESERVED: u32 = 1 << 4;
    /// `flow`: an IPv6 flow label.
    pub const FLOW: u32 = 1 << 5;
    /// `seq-`
    pub const SEQUENCE_ZERO: u32 = 1 << 6;
    /// `ack+`: an acknowledgement number without the flag.
    pub const ACK_NONZERO: u32 = 1 << 7;
    /// `uptr+`: an urgent pointer without the flag.
    pub const URGENT_POINTER: u32 = 1 << 8;
    /// `urgf+`
    pub const URGENT: u32 = 1 << 9;
    /// `pushf+`
    pub const PUSH: u32 = 1 << 10;
    /// `ts1-`: its own timestamp is zero.
    pub const TIMESTAMP_ZERO: u32 = 1 << 11;
    /// `ts2+`: the other's timestamp is not.
    pub const PEER_TIMESTAMP: u32 = 1 << 12;
    /// `opt+`: something behind the end of the options.
    pub const TRAILING: u32 = 1 << 13;
    /// `exws`: a window scale above 14.
    pub const EXCESSIVE_SCALE: u32 = 1 << 14;
    /// `bad`: options that cannot be read.
    pub const BAD: u32 = 1 << 15;

    /// As p0f names them.
    pub const NAMES: [(&str, u32); 16] = [
        ("df", DF),
        ("id+", ID_NONZERO),
        ("id-", ID_ZERO),
        ("ecn", ECN),
        ("0+", RESERVED),
        ("flow", FLOW),
        ("seq-", SEQUENCE_ZERO),
        ("ack+", ACK_NONZERO),
        ("uptr+", URGENT_POINTER),
        ("urgf+", URGENT),
        ("pushf+", PUSH),
        ("ts1-", TIMESTAMP_ZERO),
        ("ts2+", PEER_TIMESTAMP),
        ("opt+", TRAILING),
        ("exws", EXCESSIVE_SCALE),
        ("bad", BAD),
    ];
}

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const TIMESTAMPS: u8 = 8;

const TCP_HEADER: usize = 20;
/// Header with options.
const MAX_TCP_HEADER: usize = 60;

/// Where a shape is put together.
pub trait Shape {
    /// Writes a byte at `place`, which is less than 64.
    fn put(&mut self, place: usize, byte: u8);
}

/// Puts the shape of a TCP packet together, and returns how many bytes it has; 0: its header is not all there.
#[inline(always)]
pub fn read(frame: &Frame<'_>, packet: &Packet, shape: &mut impl Shape) -> usize {
    if packet.protocol != protocol::TCP {
        return 0;
    }
    let Some(ip) = frame.view::<20>(packet.network) else { return 0 };
    let Some(tcp) = frame.view::<TCP_HEADER>(packet.transport) else { return 0 };
    let noise = tcp.u64::<0>();
    let (version, ttl, ip_options, mut quirks) = match packet.family {
        Family::V4 => {
            let options = usize::from(ip.u8::<0>() & 0xf).wrapping_mul(4).wrapping_sub(20) as u8;
            let (flags, id) = (ip.u16::<6>(), ip.u16::<4>());
            let df = flags & 0x4000 != 0;
            let mut quirks = 0;
            if df {
                quirks |= quirk::DF;
                if id != 0 {
                    quirks |= quirk::ID_NONZERO;
                }
            } else if id == 0 {
                quirks |= quirk::ID_ZERO;
            }
            if flags & 0x8000 != 0 {
                quirks |= quirk::RESERVED;
            }
            if ip.u8::<1>() & 3 != 0 {
                quirks |= quirk::ECN;
            }
            (4, ip.u8::<8>(), options, quirks)
        }
        _ => {
            let first = ip.u32::<0>();
            let mut quirks = 0;
            if first & 0x000f_ffff != 0 {
                quirks |= quirk::FLOW;
            }
            if first >> 20 & 3 != 0 {
                quirks |= quirk::ECN;
            }
            (6, ip.u8::<7>(), 0, quirks)
        }
    };
    let flags = tcp.u8::<13>();
    let urgent = flags & 0x20 != 0;
    for (there, bit) in [
        // With the nonce's bit of RFC 3540, which p0f looks at too.
        (tcp.u16::<12>() & 0x01c0 != 0, quirk::ECN),
        (tcp.u32::<4>() == 0, quirk::SEQUENCE_ZERO),
        (flags & 0x10 == 0 && tcp.u32::<8>() != 0, quirk::ACK_NONZERO),
        (!urgent && tcp.u16::<18>() != 0, quirk::URGENT_POINTER),
        (urgent, quirk::URGENT),
        (flags & 0x08 != 0, quirk::PUSH),
    ] {
        if there {
            quirks |= bit;
        }
    }
    let quirks = forget(quirks as usize, noise) as u32;
    let header = usize::from(tcp.u8::<12>() >> 4).wrapping_mul(4);
    if !(TCP_HEADER..=MAX_TCP_HEADER).contains(&header) {
        return 0;
    }
    let start = packet.transport + TCP_HEADER;
    let end = packet.transport + header;
    if frame.length() < end {
        return 0;
    }
    // Nothing yet, see `dhcp`.
    let [kinds, ended, mss, scale, timestamps, of_options] = [7, 8, 9, 10, 11, 12].map(|salt| forget(0, noise.wrapping_add(salt)));
    let options = Options {
        bytes: *frame,
        shape,
        at: forget(start, noise),
        end: forget(end, noise.wrapping_add(1)),
        kinds,
        ended,
        mss,
        scale,
        timestamps,
        quirks: of_options,
        noise,
    };
    // One more, which finds the end.
    let (_, options) = take::<{ MAX_KINDS + 1 }, _>(options, 0, noise);
    let Options { shape, kinds, mss, scale, timestamps, quirks: of_options, .. } = options;
    let mut quirks = quirks | of_options as u32;
    let value = |place: usize| if place == 0 { None } else { frame.view::<4>(place) };
    let mss = value(mss).map_or(0, |option| option.u16::<2>());
    let mut window_scale = NO_SCALE;
    if scale != 0
        && let Some(option) = frame.view::<3>(scale)
    {
        window_scale = option.u8::<2>();
        if window_scale > 14 {
            quirks |= quirk::EXCESSIVE_SCALE;
        }
    }
    let mut stamped = false;
    if timestamps != 0
        && let Some(option) = frame.view::<10>(timestamps)
    {
        stamped = option.u32::<2>() != 0;
        if !stamped {
            quirks |= quirk::TIMESTAMP_ZERO;
        }
        if option.u32::<6>() != 0 {
            quirks |= quirk::PEER_TIMESTAMP;
        }
    }
    let window = tcp.u16::<14>();
    let headers = (end - packet.network) as u32;
    let (of_mss, of_mtu) = multiples(u32::from(window), u32::from(mss), stamped, version == 6, headers);
    let (payload_start, payload_end) = packet.payload(frame);
    shape.put(at::VERSION, version);
    shape.put(at::TTL, bucket(ttl));
    shape.put(at::IP_OPTIONS, ip_options);
    shape.put(at::MSS, (mss >> 8) as u8);
    shape.put(at::MSS + 1, mss as u8);
    shape.put(at::WINDOW, (window >> 8) as u8);
    shape.put(at::WINDOW + 1, window as u8);
    shape.put(at::OF_MSS, of_mss);
    shape.put(at::OF_MTU, of_mtu);
    shape.put(at::SCALE, window_scale);
    shape.put(at::QUIRKS, (quirks >> 16) as u8);
    shape.put(at::QUIRKS + 1, (quirks >> 8) as u8);
    shape.put(at::QUIRKS + 2, quirks as u8);
    shape.put(at::PAYLOAD, u8::from(payload_start < payload_end));
    shape.put(at::KINDS, kinds as u8);
    shape.put(HEAD - 1, 0);
    HEAD + kinds
}

/// The sender's time to live, of the four in use that it is likely to have been.
#[inline(always)]
pub const fn bucket(ttl: u8) -> u8 {
    match ttl {
        0..=32 => 32,
        33..=64 => 64,
        65..=128 => 128,
        _ => 255,
    }
}

/// A window as a multiple of the MSS, or else of the MTU, in the ways in which senders reckon them (`fp_tcp.c` of p0f); 0: it is none.
/// `stamped`: the timestamps take room in each segment. `headers`: bytes before the payload.
#[inline(always)]
pub fn multiples(window: u32, mss: u32, stamped: bool, is_v6: bool, headers: u32) -> (u8, u8) {
    if window == 0 || mss < 100 {
        return (0, 0);
    }
    // The first unit that fits is it.
    let times = |unit: u32| if window / unit < 256 { (window / unit) as u8 } else { 0 };
    // Some reckon with what Ethernet carries, whatever their own interface does.
    for (unit, is_one) in [(mss, true), (mss - 12, stamped), (1460, true), (1448, true), (1440, is_v6), (1428, is_v6)] {
        if is_one && window.is_multiple_of(unit) {
            return (times(unit), 0);
        }
    }
    for (unit, is_one) in [(mss + 40, true), (mss + headers, true), (mss + 60, is_v6), (1500, true)] {
        if is_one && window.is_multiple_of(unit) {
            return (0, times(unit));
        }
    }
    (0, 0)
}

struct Options<'a, S> {
    bytes: Frame<'a>,
    shape: S,
    at: usize,
    end: usize,
    kinds: usize,
    /// Not 0: the end of the options was there.
    ended: usize,
    /// Where they are; 0: nowhere.
    mss: usize,
    scale: usize,
    timestamps: usize,
    quirks: usize,
    noise: u64,
}

impl<S: Shape> Shape for &mut S {
    #[inline(always)]
    fn put(&mut self, place: usize, byte: u8) {
        (**self).put(place, byte);
    }
}

impl<S: Shape> Turn for Options<'_, S> {
    const FIRST: usize = 0;
    const EACH: usize = 1;

    #[inline(always)]
    fn turn(&mut self) -> Option<usize> {
        let Self { bytes, shape, at, end, kinds, ended, mss, scale, timestamps, quirks, noise } = self;
        if *at >= *end {
            return Some(0);
        }
        let Some(option) = bytes.view::<1>(*at) else { return Some(0) };
        let kind = option.u8::<0>();
        let mut length = 1;
        if *ended != 0 {
            // What is behind the end is padding, whatever it is.
            if kind != END {
                *quirks |= quirk::TRAILING as usize;
            }
            shape.put(HEAD + *kinds, END);
        } else {
            shape.put(HEAD + *kinds, kind);
            if kind == END {
                *ended = 1;
            } else if kind != NO_OPERATION {
                let there = if *at + 2 > *end { None } else { bytes.view::<2>(*at) };
                let announced = there.map_or(0, |option| usize::from(option.u8::<1>()));
                if announced < 2 || *at + announced > *end {
                    *quirks |= quirk::BAD as usize;
                    *quirks = forget(*quirks, *noise);
                    *kinds = forget(*kinds + 1, *noise);
                    return Some(0);
                }
                length = announced;
                if kind == MAXIMUM_SEGMENT_SIZE && length == 4 {
                    *mss = forget(*at, *noise);
                }
                if kind == WINDOW_SCALE && length == 3 {
                    *scale = forget(*at, noise.wrapping_add(2));
                }
                if kind == TIMESTAMPS && length == 10 {
                    *timestamps = forget(*at, noise.wrapping_add(3));
                }
            }
        }
        *at = forget(*at + length, *noise);
        *kinds = forget(*kinds + 1, noise.wrapping_add(4));
        *ended = forget(*ended, noise.wrapping_add(5));
        *quirks = forget(*quirks, noise.wrapping_add(6));
        None
    }
}

/// A shape in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShapeBytes(pub [u8; 64]);

impl Shape for ShapeBytes {
    #[inline(always)]
    fn put(&mut self, place: usize, byte: u8) {
        self.0[place & 63] = byte;
    }
}
