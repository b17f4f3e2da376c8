//! What DHCP clients say of themselves (RFC 2131 section 2, RFC 2132; RFC 8415 section 8, RFC 4704).

/// Options that the library takes steps over, padding among them.
const OPTIONS: usize = 128;

/// `None`: there is none, or it is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    pub parameters: Option<Vec<u8>>,
    pub vendor_class: Option<Vec<u8>>,
    pub host_name: Option<Vec<u8>>,
}

/// A client's own message in the payload. `device`: whose frame it is; what is relayed for another one says nothing of it.
pub fn over_4(message: &[u8], device: u64) -> Option<Said> {
    let (fixed, rest) = message.split_at_checked(236)?;
    let mut rest = rest.strip_prefix(&[0x63, 0x82, 0x53, 0x63])?;
    // BOOTREQUEST, Ethernet, six bytes.
    if !fixed.starts_with(&[1, 1, 6]) || fixed[28..34] != device.to_be_bytes()[2..] {
        return None;
    }
    let (mut kind, mut parameters, mut vendor_class, mut host_name) = (None, None, None, None);
    for _ in 0..OPTIONS {
        rest = match rest {
            [] | [255, ..] => break,
            [0, after @ ..] => after,
            [code, length, after @ ..] => {
                let Some((value, after)) = after.split_at_checked(usize::from(*length)) else { break };
                match code {
                    53 => kind = Some(value),
                    55 => parameters = some(value),
                    60 => vendor_class = some(value),
                    12 => host_name = some(value),
                    _ => {}
                }
                after
            }
            [_] => break,
        };
    }
    // DISCOVER, REQUEST, INFORM.
    matches!(kind, Some([1 | 3 | 8])).then_some(Said { parameters, vendor_class, host_name })
}

/// As [`over_4`], of DHCPv6.
pub fn over_6(message: &[u8]) -> Option<Said> {
    let (head, mut rest) = message.split_first_chunk::<4>()?;
    // SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, INFORMATION-REQUEST.
    if !matches!(head[0], 1 | 3 | 4 | 5 | 6 | 11) {
        return None;
    }
    let mut said = Said::default();
    for _ in 0..OPTIONS {
        let Some((header, after)) = rest.split_first_chunk::<4>() else { break };
        let [code, length] = [[header[0], header[1]], [header[2], header[3]]].map(u16::from_be_bytes);
        let Some((value, after)) = after.split_at_checked(usize::from(length)) else { break };
        match code {
            6 => said.parameters = some(value),
            16 => said.vendor_class = first_class(value).and_then(some),
            // Behind the flags.
            39 => said.host_name = value.get(1..).and_then(some),
            _ => {}
        }
        rest = after;
    }
    Some(said)
}

fn some(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// Behind the enterprise's number, and the string's own length.
fn first_class(value: &[u8]) -> Option<&[u8]> {
    let [_, _, _, _, a, b, rest @ ..] = value else { return None };
    rest.get(..usize::from(u16::from_be_bytes([*a, *b])))
}

/// A name in DNS' wire form as text: what cannot be a letter counts as a label's length, and so as a dot.
pub fn name_text(wire: &[u8]) -> Vec<u8> {
    let labels = wire.strip_suffix(&[0]).unwrap_or(wire);
    labels.iter().skip(1).map(|byte| if matches!(byte, 1..=0x2c) { b'.' } else { *byte }).collect()
}
