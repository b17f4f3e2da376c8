//! Messages that carry names, made to order: DNS queries and answers, ClientHellos, HTTP requests. For the tests of policies and of the
//! engines.

use std::net::IpAddr;

/// IANA, DNS RR types.
pub mod kind {
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const AAAA: u16 = 28;
    pub const HTTPS: u16 = 65;
}

/// Class IN.
const IN: u16 = 1;
const DNS_HEADER: u16 = 12;

/// A name in DNS' form (RFC 1035 section 3.1); empty or `.` is the root's. Labels that are too long are as wrong in it.
pub fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> = labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

/// A query with a question for each (name, type).
pub fn query(questions: &[(&str, u16)]) -> Vec<u8> {
    // Recursion is desired, and EDNS says what size an answer may have (RFC 6891).
    let mut message = header(0x0100, questions.len(), 0, 1);
    for (name, kind) in questions {
        question(&mut message, name, *kind);
    }
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    message
}

/// Each message behind its length, as TCP carries them.
pub fn over_tcp(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&(message.len() as u16).to_be_bytes(), message.as_slice()].concat()).collect()
}

fn header(flags: u16, questions: usize, answers: usize, additional: u16) -> Vec<u8> {
    [0xab_cd, flags, questions as u16, answers as u16, 0, additional].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn question(message: &mut Vec<u8>, name: &str, kind: u16) {
    message.extend(wire_name(name));
    message.extend([kind, IN].into_iter().flat_map(u16::to_be_bytes));
}

/// An answer to a query for a name: what it is an alias of, one after the other, and the addresses of the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    pub name: &'a str,
    pub aliases: Vec<&'a str>,
    pub addresses: Vec<IpAddr>,
    /// Seconds, of every record.
    pub time_to_live: u32,
    /// 0: no error (RFC 1035 section 4.1.1).
    pub code: u8,
}

impl Answer<'_> {
    /// Owners are pointers to where the name stands first, as servers write them.
    pub fn build(&self) -> Vec<u8> {
        let Self { name, aliases, addresses, time_to_live, code } = self;
        let mut message = header(0x8180 | u16::from(*code), 1, aliases.len() + addresses.len(), 0);
        let asked = if matches!(addresses.first(), Some(IpAddr::V6(_))) { kind::AAAA } else { kind::A };
        question(&mut message, name, asked);
        let mut owner = DNS_HEADER;
        for alias in aliases {
            owner = record(&mut message, owner, kind::CNAME, *time_to_live, &wire_name(alias));
        }
        for address in addresses {
            match address {
                IpAddr::V4(address) => record(&mut message, owner, kind::A, *time_to_live, &address.octets()),
                IpAddr::V6(address) => record(&mut message, owner, kind::AAAA, *time_to_live, &address.octets()),
            };
        }
        message
    }
}

/// Appends a record, and says where its data lie.
fn record(message: &mut Vec<u8>, owner: u16, kind: u16, time_to_live: u32, data: &[u8]) -> u16 {
    message.extend([0xc000 | owner, kind, IN].into_iter().flat_map(u16::to_be_bytes));
    message.extend(time_to_live.to_be_bytes());
    message.extend((data.len() as u16).to_be_bytes());
    let place = message.len() as u16;
    message.extend(data);
    place
}

/// A TLS ClientHello.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hello<'a> {
    /// As RFC 6066 wants it, whatever the bytes are.
    pub server_name: Option<&'a [u8]>,
    /// With an extension that hides a name (RFC 9849).
    pub ech: bool,
    /// Bytes of an extension before the name, such as a post-quantum key share has.
    pub padding: Option<u16>,
    /// Bytes of each record; one record where nothing is said.
    pub record: Option<usize>,
}

impl Hello<'_> {
    pub fn build(&self) -> Vec<u8> {
        let Self { server_name, ech, padding, record } = self;
        let mut extensions = Vec::new();
        if let Some(padding) = padding {
            // Reserved, so that servers take no offence (RFC 8701).
            extensions.extend(extension(0x1a1a, &vec![0; usize::from(*padding)]));
        }
        if let Some(name) = server_name {
            let length = name.len() as u16;
            let list = [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name].concat();
            extensions.extend(extension(0, &list));
        }
        extensions.extend(extension(16, b"\0\x0c\x02h2\x08http/1.1"));
        if *ech {
            extensions.extend(extension(0xfe0d, &[0; 24]));
        }
        let fixed = [&[3, 3][..], &[0x5a; 32], &[8], &[1; 8], &[0, 4, 0x13, 1, 0x13, 2, 1, 0]].concat();
        let body = [&fixed[..], &(extensions.len() as u16).to_be_bytes(), &extensions].concat();
        let message = [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
        let parts = message.chunks(record.unwrap_or(message.len()).max(1));
        parts.flat_map(|part| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat()).collect()
    }
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &(body.len() as u16).to_be_bytes(), body].concat()
}

/// An HTTP/1.1 request; a Host header only where a host is.
pub fn request(method: &str, target: &str, host: Option<&str>) -> Vec<u8> {
    let host = host.map_or_else(String::new, |host| format!("Host: {host}\r\n"));
    format!("{method} {target} HTTP/1.1\r\nAccept: */*\r\n{host}\r\n").into_bytes()
}

/// The beginning of a QUIC client's first datagram, with `length` bytes that say nothing (RFC 9000 section 17.2.2).
pub fn quic_initial(version: u32, length: usize) -> Vec<u8> {
    // Version 2 counts the types of packets from another start (RFC 9369 section 3.2).
    let flags = if version == 0x6b33_43cf { 0xd0 } else { 0xc0 };
    [&[flags], &version.to_be_bytes()[..], &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0], &vec![0x5a; length]].concat()
}
