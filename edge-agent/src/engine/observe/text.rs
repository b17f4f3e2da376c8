//! Names as text, where the library's parsers say that they are.

use edge_ebpf::name::dns::{self, Questions, Transport};
use edge_ebpf::name::hash::SEEDS;
use edge_ebpf::name::labels::Labels;
use edge_ebpf::name::table::{NameBucket, NameStorage};
use edge_ebpf::name::{Here, Reading, Span, hash::Seeds, tls};
use edge_ebpf::packet::access::Frame;

/// Bytes that the library's parsers want before what they read: a frame has headers there.
pub const BEFORE: usize = 16;

/// A table without names.
struct Empty;

impl Seeds for Empty {
    fn seed(&self, place: usize) -> u64 {
        [0; SEEDS].seed(place)
    }
}

impl NameStorage for Empty {
    fn bucket(&self, _: u32) -> Option<&NameBucket> {
        None
    }
    fn mask(&self) -> u32 {
        0
    }
}

/// `bytes` as if they were behind a frame's headers.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&[0; BEFORE], bytes].concat()
}

/// Name of the first question in a query; `<root>` for the root. `None`: no query that can be read.
pub fn first_question(message: &[u8], transport: Transport) -> Option<String> {
    let bytes = framed(message);
    let frame = Frame::new(&bytes);
    let mut labels = Labels::default();
    let mut questions = Questions::default();
    let mut names = Here { bytes: &frame, table: &Empty, labels: &mut labels };
    let reading = dns::query(&frame, &mut names, transport, BEFORE, bytes.len(), &mut questions);
    if reading == Reading::Other || questions.count == 0 {
        return None;
    }
    let Span { start, end } = questions.first;
    let mut rest = bytes.get(start as usize..end as usize)?;
    let mut name = String::new();
    while let [length, behind @ ..] = rest
        && *length != 0
    {
        let label = behind.get(..usize::from(*length))?;
        if !name.is_empty() {
            name.push('.');
        }
        spell(&mut name, label);
        rest = &behind[label.len()..];
    }
    Some(if name.is_empty() { "<root>".to_owned() } else { name })
}

/// A label in lower case; what cannot be printed is in decimal (RFC 1035 section 5.1), what is no UTF-8 is replaced.
fn spell(name: &mut String, label: &[u8]) {
    for letter in String::from_utf8_lossy(label).chars() {
        match letter {
            '.' | '\\' => name.extend(['\\', letter]),
            '\0'..=' ' | '\x7f' => name.push_str(&format!("\\{:03}", u32::from(letter))),
            letter => name.extend(letter.to_lowercase()),
        }
    }
}

/// The server name of a ClientHello's body. `None`: it cannot be read.
#[expect(clippy::option_option, reason = "a hello that names no server is another thing than none")]
pub fn server_name(body: &[u8]) -> Option<Option<String>> {
    let bytes = framed(body);
    let mut hello = tls::Hello::default();
    match tls::hello(&Frame::new(&bytes), BEFORE, bytes.len(), &mut hello) {
        Reading::Name => {
            let name = bytes.get(hello.name.start as usize..hello.name.end as usize)?;
            Some(Some(String::from_utf8_lossy(name).to_ascii_lowercase()))
        }
        Reading::NoName => Some(None),
        _ => None,
    }
}
