//! Names of packets as people read them: in lower case, with dots between labels, bytes that would mislead in decimal (RFC 1035 section 5.1).

use super::name::MAX_LABEL;

/// Of a name as DNS has it on the wire (RFC 1035 section 3.1), without compression; what stands behind its end is not looked at. `None`: it is
/// none.
pub fn of_wire(wire: &[u8]) -> Option<String> {
    let mut name = String::new();
    let mut rest = wire;
    loop {
        let (length, behind) = rest.split_first()?;
        let length = usize::from(*length);
        if length == 0 {
            return Some(if name.is_empty() { ".".to_owned() } else { name });
        }
        let (label, behind) = behind.split_at_checked(length).filter(|_| length <= MAX_LABEL)?;
        if !name.is_empty() {
            name.push('.');
        }
        for byte in label {
            if *byte == b'.' { name.push_str(&decimal(*byte)) } else { push(&mut name, *byte) }
        }
        rest = behind;
    }
}

/// Of a name as TLS and HTTP have it, in which dots divide the labels.
pub fn of_text(text: &[u8]) -> String {
    let mut name = String::new();
    for byte in text.strip_suffix(b".").unwrap_or(text) {
        push(&mut name, *byte);
    }
    name
}

fn push(name: &mut String, byte: u8) {
    if byte.is_ascii_graphic() && byte != b'\\' {
        name.push(byte.to_ascii_lowercase().into());
    } else {
        name.push_str(&decimal(byte));
    }
}

fn decimal(byte: u8) -> String {
    format!("\\{byte:03}")
}

#[cfg(test)]
mod tests {
    use super::{of_text, of_wire};

    #[test]
    fn a_name_is_spelled_so_that_no_byte_of_it_misleads() {
        for (wire, expected) in [
            (&b"\x00"[..], Some(".")),
            (b"\x03com\x00", Some("com")),
            (b"\x05a.B\\ \x02\xff\n\x03*_-\x00", Some("a\\046b\\092\\032.\\255\\010.*_-")),
            (b"\x40", None),
            (&[63; 256], None),
        ] {
            assert_eq!(of_wire(&padded(wire)).as_deref(), expected, "{wire:?}");
        }
        for (text, expected) in [(&b"API.example."[..], "api.example"), (b"a\\ \xff.b..", "a\\092\\032\\255.b."), (b".", "")] {
            assert_eq!(of_text(text), expected, "{text:?}");
        }
    }

    /// As a report has it.
    fn padded(name: &[u8]) -> Vec<u8> {
        let mut bytes = name.to_vec();
        bytes.resize(edge_ebpf::abi::EVENT_NAME, 0);
        bytes
    }
}
