//! What a test's device has shown before the test's packet: facts, where groups have patterns.

use edge_ebpf::engine::Side;

use super::device::decode_signals;
use super::model::{Ja4Part, Ja4Pattern, OptionKind, PortProtocol, Signal, SynPattern};
use super::name::Name;
use super::problem::{Fault, Problems};
use super::schema::{list, parsed};
use super::signature::Payload;
use super::yaml::{Entry, Node};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    Dhcp(ShownDhcp),
    Dhcp6(ShownDhcp),
    Syn(SynPattern),
    Hello(ShownHello),
    UserAgent(String),
    Name(Name),
    Payload { protocol: PortProtocol, port: u16, bytes: Vec<u8> },
}

/// What a client of DHCP or DHCPv6 says in one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownDhcp {
    pub vendor_class: Option<String>,
    pub host_name: Option<String>,
    pub parameters: Vec<u16>,
}

/// A ClientHello as a JA4_r describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownHello {
    pub version: u16,
    pub has_name: bool,
    pub ciphers: Vec<u16>,
    /// Without those of the name and the ALPN.
    pub extensions: Vec<u16>,
    pub algorithms: Vec<u16>,
    /// First and last letter of a protocol.
    pub alpn: Option<[u8; 2]>,
}

/// `None` if something is wrong.
pub(super) fn decode_shown(side: Side, node: Option<&Node>, problems: &mut Problems) -> Option<Vec<Shown>> {
    let Some(node) = node else { return Some(Vec::new()) };
    if side == Side::Outside {
        problems.error(&node.place, "an inbound packet's device is not known").hint("remove it, or make it an outbound test");
        return None;
    }
    let before = problems.errors();
    let mut all = Vec::new();
    for item in list(Some(node)) {
        if let [Entry { key, value, .. }] = item.entries() {
            all.extend(decode(key, value, problems));
        }
    }
    (problems.errors() == before).then_some(all)
}

fn decode(key: &str, node: &Node, problems: &mut Problems) -> Vec<Shown> {
    match key {
        "dhcp" => dhcp(OptionKind::Dhcp, node, problems).map(Shown::Dhcp).into_iter().collect(),
        "dhcp6" => dhcp(OptionKind::Dhcp6, node, problems).map(Shown::Dhcp6).into_iter().collect(),
        "tcp_syn" => syn(node, problems).map(Shown::Syn).into_iter().collect(),
        "tls" => node.get("ja4_r").and_then(|node| hello(node, problems)).map(Shown::Hello).into_iter().collect(),
        "http" => node.get("user_agent").and_then(|node| text(node, 255, problems)).map(Shown::UserAgent).into_iter().collect(),
        "names" => list(Some(node)).filter_map(|node| super::expectation::host(node, problems)).map(Shown::Name).collect(),
        "signature" => payload(node, problems).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A text that one line and one option hold.
fn text(node: &Node, most: usize, problems: &mut Problems) -> Option<String> {
    let text = node.text()?;
    if text.is_empty() || text.len() > most || text.contains(['\r', '\n', '*']) {
        problems
            .error(&node.place, format!("`{text}` is not what a device says: 1 to {most} bytes in one line, without `*`"))
            .hint("the whole text, such as `android-dhcp-11`");
        return None;
    }
    Some(text.to_owned())
}

fn dhcp(kind: OptionKind, node: &Node, problems: &mut Problems) -> Option<ShownDhcp> {
    let most = match kind {
        OptionKind::Dhcp => 255,
        OptionKind::Dhcp6 => 60,
    };
    let vendor_class = node.get("vendor_class").and_then(|node| text(node, most, problems));
    let host_name = node.get("hostname").and_then(|node| text(node, most, problems));
    let parameters: Vec<u16> = list(node.get("params")).filter_map(Node::integer).collect();
    if node.entries().is_empty() {
        problems.error(&node.place, "the client says nothing").hint("at least one of `vendor_class`, `hostname` and `params`");
        return None;
    }
    Some(ShownDhcp { vendor_class, host_name, parameters })
}

fn syn(node: &Node, problems: &mut Problems) -> Option<SynPattern> {
    let signals = decode_signals("tcp_syn", node, problems)?;
    // Where the quirks of the two IP versions differ, that of IPv4 is the first.
    let pattern = signals.into_iter().find_map(|signal| match signal {
        Signal::Syn(patterns) => patterns.into_iter().next(),
        _ => None,
    })?;
    problems.take(&node.place, crate::engine::syn::header(&pattern).map(|_| pattern))
}

fn hello(node: &Node, problems: &mut Problems) -> Option<ShownHello> {
    let pattern = parsed::<Ja4Pattern>(node, problems)?.value;
    problems.take(&node.place, ShownHello::of(&pattern))
}

impl ShownHello {
    fn of(pattern: &Ja4Pattern) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::new(format!("`{pattern}` is no hello: {why}"), EXAMPLE);
        let Ja4Pattern { letters, ciphers: Some(Ja4Part::Raw(ciphers)), extensions: Some(Ja4Part::Raw(extensions)) } = pattern else {
            return Err(wrong("a test's device shows a whole JA4_r, of which nothing is hashed".to_owned()));
        };
        let letters: Option<Vec<u8>> = letters.iter().copied().collect();
        let Some(&[_, v, w, domain, c, d, e, f, first, last]) = letters.as_deref() else {
            return Err(wrong("some of its letters are open".to_owned()));
        };
        let version = match [v, w] {
            [b'1', b'3'] => 0x0304,
            [b'1', b'2'] => 0x0303,
            [b'1', b'1'] => 0x0302,
            [b'1', b'0'] => 0x0301,
            [b's', b'3'] => 0x0300,
            _ => return Err(wrong("its version is none of `13`, `12`, `11`, `10` and `s3`".to_owned())),
        };
        let (ciphers, _) = Ja4Part::numbers(ciphers);
        let (extensions, algorithms) = Ja4Part::numbers(extensions);
        let (has_name, alpn) = (domain == b'd', ([first, last] != *b"00").then_some([first, last]));
        let counts = [
            ("ciphers", ciphers.len(), [c, d]),
            ("extensions with name and ALPN", extensions.len() + usize::from(has_name) + usize::from(alpn.is_some()), [e, f]),
        ];
        for (what, count, [tens, ones]) in counts {
            let told = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
            if told != count.min(99) {
                return Err(wrong(format!("its letters say {told} {what}, and there are {count}")));
            }
        }
        if extensions.contains(&SIGNATURE_ALGORITHMS) == algorithms.is_empty() {
            return Err(wrong("signature algorithms go with the extension 000d".to_owned()));
        }
        Ok(Self { version, has_name, ciphers, extensions, algorithms, alpn })
    }
}

const SIGNATURE_ALGORITHMS: u16 = 13;
const EXAMPLE: &str = "such as \"t13d0203h2_1301,1302_000d_0403\" with as many ciphers and extensions as it says; `edge-agent fingerprint` shows those of a capture";

fn payload(node: &Node, problems: &mut Problems) -> Option<Shown> {
    let Payload(bytes) = parsed(node.get("bytes")?, problems)?.value;
    let offset: usize = node.get("offset").and_then(Node::integer::<u16>).unwrap_or_default().into();
    let protocol = if node.get("proto")?.text()? == "udp" { PortProtocol::Udp } else { PortProtocol::Tcp };
    Some(Shown::Payload { protocol, port: node.get("port")?.integer()?, bytes: [vec![0; offset], bytes].concat() })
}
