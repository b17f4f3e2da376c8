//! Payload signatures as policies write them: `{proto: tcp, ports: [5222, 8000-8010], offset: 0, bytes: "c2fe0005 ????????"}`.

use std::str::FromStr;

use edge_ebpf::abi::MAX_SIGNATURE_BYTES;

use super::model::{self, PortProtocol, Ranges};
use super::problem::{Fault, Problems};
use super::schema::{Placed, one_or_many, parsed};
use super::service::Service;
use super::yaml::{Entry, Node};

/// A service that is known by its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    pub name: Placed<String>,
    pub protocol: PortProtocol,
    /// Of the destination.
    pub ports: Ranges<u32>,
    pub offset: u16,
    pub bytes: Pattern,
}

/// Bytes of a payload; `None` stands for any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pattern(pub Vec<Option<u8>>);

impl FromStr for Pattern {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong =
            |why: String| Fault::new(format!("`{text}` is not a signature: {why}"), "bytes in hexadecimal: `c2fe0005 ???????? 00020016`");
        let bytes = hexadecimal(text).map_err(wrong)?;
        if bytes.len() > MAX_SIGNATURE_BYTES {
            return Err(wrong(format!("it has {} bytes, {MAX_SIGNATURE_BYTES} are possible", bytes.len())));
        }
        if bytes.iter().all(Option::is_none) {
            return Err(wrong("every payload would have it".to_owned()));
        }
        Ok(Self(bytes))
    }
}

/// What a test's packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload(pub Vec<u8>);

/// Fits into a frame of any network.
const MAX_PAYLOAD: usize = 1200;

impl FromStr for Payload {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::new(format!("`{text}` is not a payload: {why}"), "bytes in hexadecimal: `c2fe0005 00020016`");
        let bytes = hexadecimal(text).map_err(wrong)?;
        let bytes = bytes.into_iter().collect::<Option<Vec<u8>>>().ok_or_else(|| wrong("a packet's bytes are all known".to_owned()))?;
        if bytes.is_empty() || bytes.len() > MAX_PAYLOAD {
            return Err(wrong(format!("it has {} bytes, 1 to {MAX_PAYLOAD} are possible", bytes.len())));
        }
        Ok(Self(bytes))
    }
}

/// Bytes in hexadecimal digits, `??` for any; blanks do not matter.
fn hexadecimal(text: &str) -> Result<Vec<Option<u8>>, String> {
    let letters: Vec<char> = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let byte = |pair: &[char]| match *pair {
        ['?', '?'] => Ok(None),
        [high, low] => match (high.to_digit(16), low.to_digit(16)) {
            (Some(high), Some(low)) => Ok(Some((high << 4 | low) as u8)),
            _ => Err(format!("`{high}{low}` is neither two hexadecimal digits nor `??`")),
        },
        _ => Err("its last byte has one digit".to_owned()),
    };
    letters.chunks(2).map(byte).collect()
}

/// A port, or a range of ports.
struct Ports(u16, u16);

impl FromStr for Ports {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first, last)),
            _ => Err(Fault::new(format!("`{text}` is not a range of ports"), "such as `5222` or `8000-8010`")),
        }
    }
}

pub(super) fn decode_signature(entry: &Entry, problems: &mut Problems) -> Signature {
    let node = &entry.value;
    let name = name(entry, problems);
    decode_body(name, node, problems)
}

/// A signature by which devices of a group are known: it bears the group's name.
pub(super) fn decode_signal_signature(group: &str, node: &Node, problems: &mut Problems) -> Signature {
    if let (Some(port), Some(ports)) = (node.get("port"), node.get("ports")) {
        problems
            .error(&port.place, "the signature has a port and ports")
            .related(&ports.place, "the ports are here")
            .hint("write one of them: `ports: [5222, 8000-8010]`");
    }
    decode_body(Placed { place: node.place.clone(), value: group.to_owned() }, node, problems)
}

fn decode_body(name: Placed<String>, node: &Node, problems: &mut Problems) -> Signature {
    let listed = one_or_many(node.get("ports")).chain(node.get("port"));
    let ports: Vec<(u32, u32)> = listed.filter_map(|node| ports(node, problems)).collect();
    // One that is wrong is still defined, so that the rules that name it are not wrong too.
    Signature {
        name,
        protocol: if node.get("proto").and_then(Node::text) == Some("udp") { PortProtocol::Udp } else { PortProtocol::Tcp },
        ports: Ranges::new(if ports.is_empty() { vec![(0, u32::from(u16::MAX))] } else { ports }),
        offset: node.get("offset").and_then(Node::integer).unwrap_or_default(),
        bytes: node.get("bytes").and_then(|node| parsed(node, problems)).map(|bytes| bytes.value).unwrap_or_default(),
    }
}

/// What a rule's `services` can say and does not mean something else.
fn name(entry: &Entry, problems: &mut Problems) -> Placed<String> {
    let message = match entry.key.parse() {
        Ok(Service::Name { protocol: None, .. }) => None,
        Ok(Service::Match(_)) => Some(format!("`{}` is built in and cannot be defined", entry.key)),
        Ok(Service::Name { protocol: Some(_), .. }) | Err(_) => Some(format!("`{}` cannot name a service", entry.key)),
    };
    if let Some(message) = message {
        problems.error(&entry.place, message).hint("up to 63 letters, digits, `-`, `_`, `+` and `.`, at least one of them a letter");
    }
    Placed { place: entry.place.clone(), value: entry.key.clone() }
}

fn ports(node: &Node, problems: &mut Problems) -> Option<(u32, u32)> {
    let Ports(first, last) = match node.integer::<u16>() {
        Some(port) => Ports(port, port),
        None => {
            node.text()?;
            parsed(node, problems)?.value
        }
    };
    Some((first.into(), last.into()))
}

impl model::Signature {
    /// Whether each packet that shows the other shows this one.
    pub fn covers(&self, inner: &Self) -> bool {
        let Self { policy: _, name: _, protocol, ports, offset: _, bytes: _ } = self;
        *protocol == inner.protocol
            && super::sets::covers(&ranges(ports), &ranges(&inner.ports))
            && self.end() <= inner.end()
            && self.fixed().all(|(place, byte)| inner.at(place) == Some(byte))
    }

    /// A port to which one packet may go and show both.
    pub fn common(&self, other: &Self) -> Option<u16> {
        let agree = self.protocol == other.protocol && self.fixed().all(|(place, byte)| other.at(place).is_none_or(|other| other == byte));
        let port = super::sets::first_common(&ranges(&self.ports), &ranges(&other.ports)).filter(|_| agree)?;
        u16::try_from(port).ok()
    }

    /// Bytes that a payload has at least.
    fn end(&self) -> usize {
        usize::from(self.offset) + self.bytes.len()
    }

    /// Where in the payload which byte is wanted.
    fn fixed(&self) -> impl Iterator<Item = (usize, u8)> {
        (usize::from(self.offset)..).zip(&self.bytes).filter_map(|(place, byte)| Some((place, (*byte)?)))
    }

    fn at(&self, place: usize) -> Option<u8> {
        *self.bytes.get(place.checked_sub(usize::from(self.offset))?)?
    }
}

fn ranges(ports: &[(u16, u16)]) -> Ranges<u32> {
    Ranges::new(ports.iter().map(|(first, last)| (u32::from(*first), u32::from(*last))).collect())
}

#[cfg(test)]
mod tests {
    use super::model::PolicyId;
    use super::*;

    fn signature(ports: &[(u16, u16)], offset: u16, bytes: &str) -> model::Signature {
        let Pattern(bytes) = bytes.parse().expect("a pattern");
        model::Signature { policy: PolicyId(0), name: "s".to_owned(), protocol: PortProtocol::Tcp, ports: ports.to_vec(), offset, bytes }
    }

    #[test]
    fn a_pattern_is_bytes_with_gaps() {
        let Pattern(bytes) = "c2FE 0 0\t?? 16".parse().expect("a pattern");
        assert_eq!(bytes, [Some(0xc2), Some(0xfe), Some(0), None, Some(0x16)]);
        for wrong in ["", " ", "??", "?? ??", "c", "c2f", "c?", "0x12", "g0", &"00".repeat(17), "ü"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
        assert!("00".repeat(16).parse::<Pattern>().is_ok());
    }

    #[test]
    fn one_signature_covers_and_meets_another_by_ports_and_bytes() {
        let wide = signature(&[(1, 10)], 0, "c2fe");
        for (inner, covers, common) in [
            (signature(&[(1, 10)], 0, "c2fe"), true, Some(1)),
            (signature(&[(3, 3), (5, 6)], 0, "c2fe ?? 16"), true, Some(3)),
            (signature(&[(10, 11)], 0, "c2fe"), false, Some(10)),
            (signature(&[(11, 11)], 0, "c2fe"), false, None),
            (signature(&[(1, 1)], 0, "c2"), false, Some(1)),
            (signature(&[(1, 1)], 0, "c2ff"), false, None),
            (signature(&[(1, 1)], 1, "fe00"), false, Some(1)),
            (signature(&[(1, 1)], 1, "ff"), false, None),
            (signature(&[(1, 1)], 2, "00"), false, Some(1)),
        ] {
            assert_eq!((wide.covers(&inner), wide.common(&inner), inner.common(&wide)), (covers, common, common), "{inner:?}");
        }
        let udp = model::Signature { protocol: PortProtocol::Udp, ..wide.clone() };
        assert_eq!((wide.covers(&udp), wide.common(&udp)), (false, None));
        assert!(!signature(&[(1, 1)], 0, "c2 ??").covers(&signature(&[(1, 1)], 0, "c2")), "a byte more has to be there");
    }
}
