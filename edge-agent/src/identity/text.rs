//! Facts as people read them.

use edge_ebpf::abi::identity::FactKind;
use edge_ebpf::identity::syn::{HEAD, NO_SCALE, at};
use edge_ebpf::packet::Mac;

use super::ja4::Ja4;
use crate::policy::model::{Family, SynPattern, SynWindow};

/// As files and reports name a kind.
pub const fn kind_name(kind: FactKind) -> &'static str {
    match kind {
        FactKind::DhcpParameters => "dhcp_params",
        FactKind::DhcpVendorClass => "dhcp_vendor_class",
        FactKind::DhcpHostName => "dhcp_hostname",
        FactKind::Dhcp6Options => "dhcp6_params",
        FactKind::Dhcp6VendorClass => "dhcp6_vendor_class",
        FactKind::Dhcp6Name => "dhcp6_hostname",
        FactKind::TcpSyn => "tcp_syn",
        FactKind::UserAgent => "user_agent",
        FactKind::Hello => "ja4",
        FactKind::Announcement => "announcement",
    }
}

pub fn kind_of(name: &str) -> Option<FactKind> {
    FactKind::ALL.into_iter().find(|kind| kind_name(*kind) == name)
}

/// One line, as policies write it where they can.
pub fn value_text(kind: FactKind, value: &[u8]) -> String {
    match kind {
        FactKind::DhcpParameters | FactKind::Dhcp6Options => {
            numbers(kind, value).iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        FactKind::TcpSyn => shape(value).map_or_else(|| hex(value), |shape| shape.to_string()),
        FactKind::Hello => ja4(value).map_or_else(|| plain(value), |ja4| ja4.to_string()),
        FactKind::Dhcp6Name => plain(&name_text(value)),
        _ => plain(value),
    }
}

/// The numbers of the options that a client asks for.
pub fn numbers(kind: FactKind, value: &[u8]) -> Vec<u16> {
    if kind == FactKind::Dhcp6Options {
        return value.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    }
    value.iter().map(|number| u16::from(*number)).collect()
}

/// A hello that was kept as its JA4_r.
pub fn ja4(value: &[u8]) -> Option<Ja4> {
    str::from_utf8(value).ok()?.parse().ok()
}

/// A DHCPv6 name out of its wire form: labels with dots between them.
pub fn name_text(wire: &[u8]) -> Vec<u8> {
    let text = wire.get(1..).unwrap_or_default();
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    text.iter().map(|byte| if (1..=0x2c).contains(byte) { b'.' } else { *byte }).collect()
}

/// The pattern that this shape alone has, whatever its MSS, which is the network's.
pub fn shape(value: &[u8]) -> Option<SynPattern> {
    let (head, kinds) = value.split_first_chunk::<HEAD>()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let window = match (head[at::OF_MSS], head[at::OF_MTU]) {
        (0, 0) => SynWindow::Exactly(number(at::WINDOW)),
        (0, times) => SynWindow::OfMtu(times),
        (times, _) => SynWindow::OfMss(times),
    };
    Some(SynPattern {
        family: Some(if head[at::VERSION] == 4 { Family::V4 } else { Family::V6 }),
        ttl: Some(head[at::TTL]),
        ip_options: Some(head[at::IP_OPTIONS]),
        mss: None,
        window,
        scale: Some(Some(head[at::SCALE]).filter(|scale| *scale != NO_SCALE)),
        options: Some(kinds.to_vec()),
        quirks: Some(u32::from_be_bytes([0, head[at::QUIRKS], head[at::QUIRKS + 1], head[at::QUIRKS + 2]])),
        payload: Some(head[at::PAYLOAD] != 0),
    })
}

/// Nothing in it can move a terminal's cursor.
fn plain(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

pub fn hex(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

pub fn mac_text(Mac(mac): Mac) -> String {
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// A whole MAC, with `:` or `-` between its bytes.
pub fn mac_of(text: &str) -> Option<Mac> {
    let prefix: crate::policy::mac::MacPrefix = text.parse().ok()?;
    prefix.address()?;
    Some(Mac(prefix.range().0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_what_p0f_calls_it() {
        let mut bytes = vec![4, 64, 0, 5, 0xb4, 0xff, 0xff, 0, 0, 9, 0, 0, 3, 0, 5, 0];
        bytes.extend([2, 4, 8, 1, 3]);
        let text = value_text(FactKind::TcpSyn, &bytes);
        assert_eq!(text, "4:64:0:*:65535,9:mss,sok,ts,nop,ws:df,id+:0");
        assert_eq!(text.parse().ok(), shape(&bytes));
        bytes[at::OF_MSS] = 20;
        assert!(value_text(FactKind::TcpSyn, &bytes).contains(":mss*20,9:"));
    }

    #[test]
    fn each_kind_has_a_name_and_a_text() {
        for kind in FactKind::ALL {
            assert_eq!(kind_of(kind_name(kind)), Some(kind));
        }
        assert_eq!(value_text(FactKind::DhcpParameters, &[1, 3, 6]), "1,3,6");
        assert_eq!(value_text(FactKind::Dhcp6Options, &[0, 23, 1, 0]), "23,256");
        assert_eq!(value_text(FactKind::Dhcp6Name, b"\x05redmi\x03lan\0"), "redmi.lan");
        assert_eq!(value_text(FactKind::UserAgent, b"a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(value_text(FactKind::Hello, b"t12i0101h2_002f_000d"), format!("t12i0101h2_{}", hashes("002f", "000d")));
        assert_eq!(unhex(&hex(b"\0\xffz")).as_deref(), Some(&b"\0\xffz"[..]));
        assert_eq!((mac_of("64-09-80-00-00-01").map(mac_text).as_deref(), mac_of("64:09:80")), (Some("64:09:80:00:00:01"), None));
    }

    fn hashes(ciphers: &str, extensions: &str) -> String {
        use sha2::{Digest, Sha256};
        let hash = |text: &str| hex(&Sha256::digest(text.as_bytes())[..6]);
        format!("{}_{}", hash(ciphers), hash(extensions))
    }
}
