//! How a connection's first segment looks, as p0f describes it (M. Zalewski, p0f 3, README section 5).

use edge_ebpf::identity::syn::quirk;

use crate::policy::model::Family;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    pub family: Family,
    /// As the sender is likely to have set it.
    pub ttl: u8,
    /// Bytes of IPv4 options.
    pub ip_options: u8,
    /// 0 without the option.
    pub mss: u16,
    pub window: u16,
    /// So many times the MSS, or else the MTU, if fewer than 256.
    pub of_mss: Option<u8>,
    pub of_mtu: Option<u8>,
    pub scale: Option<u8>,
    /// Kinds, with each byte of padding.
    pub options: Vec<u8>,
    /// Bits of [`quirk`].
    pub quirks: u32,
    pub payload: bool,
}

/// What stands in the options.
#[derive(Default)]
struct Options {
    kinds: Vec<u8>,
    mss: Option<u16>,
    scale: Option<u8>,
    /// Its own, and the other's.
    timestamps: Option<(u32, u32)>,
    trailing: bool,
    bad: bool,
}

/// `ip` and `tcp` are the headers and whatever the frame has behind each. `None`: the options are not all there.
pub fn shape(ip: &[u8], tcp: &[u8], payload: bool) -> Option<Shape> {
    let header = tcp.get(..usize::from(tcp.get(12)? >> 4) * 4)?;
    let Options { kinds, mss, scale, timestamps, trailing, bad } = options(header.get(20..)?);
    let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flag = |bit: u8| header[13] & bit != 0;
    let mut quirks = Vec::new();
    let (family, ttl, ip_options) = if ip[0] >> 4 == 4 {
        let [id, place] = [[ip[4], ip[5]], [ip[6], ip[7]]].map(u16::from_be_bytes);
        let fixed = place & 0x4000 != 0;
        quirks.extend([
            (fixed, quirk::DF),
            (fixed && id != 0, quirk::ID_NONZERO),
            (!fixed && id == 0, quirk::ID_ZERO),
            (place & 0x8000 != 0, quirk::RESERVED),
            (ip[1] & 3 != 0, quirk::ECN),
        ]);
        (Family::V4, ip[8], (ip[0] & 15) * 4 - 20)
    } else {
        quirks.extend([(ip[1] & 15 != 0 || ip[2..4] != [0, 0], quirk::FLOW), (ip[1] >> 4 & 3 != 0, quirk::ECN)]);
        (Family::V6, ip[7], 0)
    };
    quirks.extend([
        // With the nonce's bit of RFC 3540.
        (flag(0x40) || flag(0x80) || header[12] & 1 != 0, quirk::ECN),
        (header[4..8] == [0; 4], quirk::SEQUENCE_ZERO),
        (!flag(0x10) && header[8..12] != [0; 4], quirk::ACK_NONZERO),
        (!flag(0x20) && half(18) != 0, quirk::URGENT_POINTER),
        (flag(0x20), quirk::URGENT),
        (flag(8), quirk::PUSH),
        (timestamps.is_some_and(|(own, _)| own == 0), quirk::TIMESTAMP_ZERO),
        (timestamps.is_some_and(|(_, other)| other != 0), quirk::PEER_TIMESTAMP),
        (trailing, quirk::TRAILING),
        (scale.is_some_and(|scale| scale > 14), quirk::EXCESSIVE_SCALE),
        (bad, quirk::BAD),
    ]);
    let mss = mss.unwrap_or(0);
    let window = half(14);
    let stamped = timestamps.is_some_and(|(own, _)| own != 0);
    let (of_mss, of_mtu) = multiple(window, mss, stamped, family == Family::V6, ip.len() - tcp.len() + header.len());
    Some(Shape {
        family,
        ttl: [32, 64, 128].into_iter().find(|likely| ttl <= *likely).unwrap_or(255),
        ip_options,
        mss,
        window,
        of_mss,
        of_mtu,
        // 255 stands for none.
        scale: scale.filter(|scale| *scale != 255),
        options: kinds,
        quirks: quirks.into_iter().filter(|(there, _)| *there).fold(0, |bits, (_, bit)| bits | bit),
        payload,
    })
}

fn options(bytes: &[u8]) -> Options {
    let mut options = Options::default();
    let mut rest = bytes;
    while let [kind, after @ ..] = rest {
        options.kinds.push(*kind);
        rest = match kind {
            0 => {
                options.kinds.extend(after.iter().map(|_| 0));
                options.trailing = after.iter().any(|byte| *byte != 0);
                return options;
            }
            1 => after,
            _ => {
                let there = after.split_first().and_then(|(length, after)| after.split_at_checked(usize::from(*length).checked_sub(2)?));
                let Some((value, after)) = there else {
                    options.bad = true;
                    return options;
                };
                match (kind, value) {
                    (2, [a, b]) => options.mss = Some(u16::from_be_bytes([*a, *b])),
                    (3, [scale]) => options.scale = Some(*scale),
                    (8, [a, b, c, d, e, f, g, h]) => {
                        options.timestamps = Some((u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h])));
                    }
                    _ => {}
                }
                after
            }
        };
    }
    options
}

/// In the ways in which senders reckon, the first one that fits (p0f's `fp_tcp.c`): of the MSS, also without what timestamps take of each segment,
/// of what Ethernet carries; or else of the MTU. `headers`: bytes before the payload.
fn multiple(window: u16, mss: u16, stamped: bool, is_v6: bool, headers: usize) -> (Option<u8>, Option<u8>) {
    if window == 0 || mss < 100 {
        return (None, None);
    }
    let (window, mss) = (usize::from(window), usize::from(mss));
    let first = |units: &[(usize, bool)]| units.iter().find(|(unit, is_one)| *is_one && window % unit == 0).map(|(unit, _)| window / unit);
    let of_mss = first(&[(mss, true), (mss - 12, stamped), (1460, true), (1448, true), (1440, is_v6), (1428, is_v6)]);
    let of_mtu = first(&[(mss + 40, true), (mss + headers, true), (mss + 60, is_v6), (1500, true)]);
    let few = |times: usize| u8::try_from(times).ok();
    (of_mss.and_then(few), of_mtu.filter(|_| of_mss.is_none()).and_then(few))
}
