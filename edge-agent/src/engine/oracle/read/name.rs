//! Names as they are on the wire.

/// Labels in lower case, the top-level one last; the root's is empty.
pub type Name = Vec<Vec<u8>>;

/// Bytes of the longest name, with the lengths of its labels and the root's (RFC 1035 section 2.3.4).
pub const LONGEST: usize = 255;
/// Bytes of the longest label in DNS. Text may have longer ones, which no rule is about.
pub const LONGEST_LABEL: usize = 63;
/// Bytes of the longest name as text, with a dot at its end: the first label's length is no byte of it.
const LONGEST_TEXT: usize = LONGEST - 1;

/// The name at the start, without compression, and what follows it.
pub fn wire(bytes: &[u8]) -> Option<(Name, &[u8])> {
    let mut name = Name::new();
    let mut rest = bytes;
    loop {
        let (&length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(length))?;
        rest = after;
        if label.len() > LONGEST_LABEL || bytes.len() - rest.len() > LONGEST {
            return None;
        }
        if label.is_empty() {
            return Some((name, rest));
        }
        name.push(label.to_ascii_lowercase());
    }
}

/// Of a text with dots, of which one at the end is the root's.
pub fn text(text: &[u8]) -> Option<Name> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    let name: Name = text.strip_suffix(b".").unwrap_or(text).split(|byte| *byte == b'.').map(<[u8]>::to_ascii_lowercase).collect();
    if name.iter().any(Vec::is_empty) { None } else { Some(name) }
}

/// As a person reads it. What is no printable ASCII, and what would be taken for another thing than a byte of a label, is in decimal
/// (RFC 1035 section 5.1).
pub fn shown(name: &Name) -> String {
    if name.is_empty() {
        return ".".to_owned();
    }
    let label = |label: &Vec<u8>| -> String {
        let byte = |byte: &u8| match byte {
            b'.' | b'\\' => format!("\\{byte:03}"),
            b'!'..=b'~' => char::from(*byte).to_string(),
            byte => format!("\\{byte:03}"),
        };
        label.iter().map(byte).collect()
    };
    name.iter().map(label).collect::<Vec<_>>().join(".")
}
