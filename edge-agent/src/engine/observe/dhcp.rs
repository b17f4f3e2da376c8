//! What a DHCP client says of itself (RFC 2131, RFC 2132).

use edge_ebpf::packet::Mac;

const REQUEST: u8 = 1;
const ETHERNET: u8 = 1;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Offset of the client's hardware address, and of the options' magic cookie.
const HARDWARE: usize = 28;
const OPTIONS: usize = 236;

const PAD: u8 = 0;
const END: u8 = 255;
const HOST_NAME: u8 = 12;
const MESSAGE_TYPE: u8 = 53;
const PARAMETERS: u8 = 55;
const VENDOR_CLASS: u8 = 60;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcp {
    pub device: Mac,
    /// 1 is a discover, 3 a request.
    pub message: Option<u8>,
    /// Options that the client asks for, in its order.
    pub params: Vec<u8>,
    pub vendor_class: Option<String>,
    pub hostname: Option<String>,
}

/// `None`: not of a client.
pub fn read(payload: &[u8]) -> Option<Dhcp> {
    let [REQUEST, ETHERNET, ..] = payload else { return None };
    if payload.get(OPTIONS..OPTIONS + COOKIE.len())? != COOKIE {
        return None;
    }
    let octets: [u8; 6] = payload.get(HARDWARE..HARDWARE + 6)?.try_into().ok()?;
    let device = Mac(octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)));
    let mut dhcp = Dhcp { device, message: None, params: Vec::new(), vendor_class: None, hostname: None };
    let mut rest = &payload[OPTIONS + COOKIE.len()..];
    while let [kind, behind @ ..] = rest {
        match *kind {
            END => break,
            PAD => {
                rest = behind;
                continue;
            }
            _ => {}
        }
        let Some((length, value)) = behind.split_first() else { break };
        let Some(value) = value.get(..usize::from(*length)) else { break };
        let text = || Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        match (*kind, value) {
            (MESSAGE_TYPE, [message]) => dhcp.message = Some(*message),
            (MESSAGE_TYPE, _) => dhcp.message = None,
            (PARAMETERS, _) => dhcp.params = value.to_vec(),
            (VENDOR_CLASS, _) => dhcp.vendor_class = text(),
            (HOST_NAME, _) => dhcp.hostname = text(),
            _ => {}
        }
        rest = &rest[2 + value.len()..];
    }
    Some(dhcp)
}
