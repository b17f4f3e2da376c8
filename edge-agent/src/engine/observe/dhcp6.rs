//! What a DHCPv6 client says of itself (RFC 8415).

/// SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, INFORMATION-REQUEST.
const OF_CLIENTS: [u8; 6] = [1, 3, 4, 5, 6, 11];

const OPTION_REQUEST: u16 = 6;
const VENDOR_CLASS: u16 = 16;
const CLIENT_NAME: u16 = 39;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dhcp6 {
    /// Options that the client asks for, in its order.
    pub params: Vec<u16>,
    /// The first string of it.
    pub vendor_class: Option<String>,
    pub hostname: Option<String>,
}

/// `None`: not of a client.
pub fn read(payload: &[u8]) -> Option<Dhcp6> {
    let [kind, _, _, _, options @ ..] = payload else { return None };
    if !OF_CLIENTS.contains(kind) {
        return None;
    }
    let mut dhcp = Dhcp6::default();
    let mut rest = options;
    while let [kind_high, kind_low, high, low, behind @ ..] = rest {
        let Some((value, next)) = behind.split_at_checked(u16::from_be_bytes([*high, *low]).into()) else { break };
        match (u16::from_be_bytes([*kind_high, *kind_low]), value) {
            (OPTION_REQUEST, _) => dhcp.params = value.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect(),
            // An enterprise's number, then strings behind their lengths.
            (VENDOR_CLASS, [_, _, _, _, high, low, strings @ ..]) => {
                let first = strings.get(..u16::from_be_bytes([*high, *low]).into());
                dhcp.vendor_class = first.map(|first| String::from_utf8_lossy(first).into_owned());
            }
            (VENDOR_CLASS, _) => dhcp.vendor_class = None,
            // Flags.
            (CLIENT_NAME, [_, name @ ..]) => dhcp.hostname = Some(domain(name)),
            (CLIENT_NAME, []) => dhcp.hostname = None,
            _ => {}
        }
        rest = next;
    }
    Some(dhcp)
}

/// A name in DNS' wire form, which may be a part of one (RFC 4704 section 4.2), as patterns see it: lengths are dots.
fn domain(wire: &[u8]) -> String {
    let labels = wire.get(1..).unwrap_or_default();
    let labels = labels.strip_suffix(&[0]).unwrap_or(labels);
    let text: Vec<u8> = labels.iter().map(|byte| if matches!(*byte, 1..=0x2c) { b'.' } else { *byte }).collect();
    String::from_utf8_lossy(&text).into_owned()
}
