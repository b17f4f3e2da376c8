//! Writes small MMDB files (MaxMind DB file format specification 2.0): a search tree of 24-bit records, and maps of texts and numbers.

use std::net::IpAddr;

/// A value of a record.
#[derive(Clone)]
pub enum Data {
    Text(&'static str),
    Number(u32),
    Map(Vec<(&'static str, Data)>),
}

/// Zeros between the tree and the data.
const SEPARATOR: usize = 16;

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    /// Place in the data.
    Data(usize),
}

/// A file with these networks, of which none holds another. IPv4 stands in `::/96`.
pub fn mmdb(networks: &[(&str, Data)]) -> Vec<u8> {
    let mut nodes = vec![[Child::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let network: ipnet::IpNet = network.parse().expect("a prefix");
        let (bits, length) = match network.network() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 96 + u32::from(network.prefix_len())),
            IpAddr::V6(address) => (address.to_bits(), u32::from(network.prefix_len())),
        };
        let place = data.len();
        encode(value, &mut data);
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            node = match nodes[node][side] {
                _ if depth + 1 == length => {
                    nodes[node][side] = Child::Data(place);
                    break;
                }
                Child::Node(next) => next,
                Child::Nothing => {
                    nodes.push([Child::Nothing; 2]);
                    nodes[node][side] = Child::Node(nodes.len() - 1);
                    nodes.len() - 1
                }
                Child::Data(_) => panic!("{network} is in another"),
            };
        }
    }
    let count = nodes.len();
    let mut file = Vec::new();
    for child in nodes.into_iter().flatten() {
        let record = match child {
            Child::Nothing => count,
            Child::Node(node) => node,
            Child::Data(place) => count + SEPARATOR + place,
        };
        file.extend(&u32::try_from(record).expect("small").to_be_bytes()[1..]);
    }
    file.extend([0; SEPARATOR]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    metadata(count, &mut file);
    file
}

fn metadata(nodes: usize, out: &mut Vec<u8>) {
    out.push(7 << 5 | 9);
    let key = |name: &'static str, out: &mut Vec<u8>| encode(&Data::Text(name), out);
    for (name, value) in [("binary_format_major_version", 2u16), ("binary_format_minor_version", 0), ("ip_version", 6), ("record_size", 24)]
    {
        key(name, out);
        out.push(5 << 5 | 2);
        out.extend(value.to_be_bytes());
    }
    key("node_count", out);
    encode(&Data::Number(u32::try_from(nodes).expect("small")), out);
    key("build_epoch", out);
    // A 64-bit number (extended type 9) of no bytes: 0.
    out.extend([0, 9 - 7]);
    key("database_type", out);
    encode(&Data::Text("Test"), out);
    key("description", out);
    encode(&Data::Map(Vec::new()), out);
    key("languages", out);
    // An array (extended type 11) of nothing.
    out.extend([0, 11 - 7]);
}

fn encode(data: &Data, out: &mut Vec<u8>) {
    match data {
        Data::Text(text) => {
            // From 29 on, the rest of the length is in a byte of its own.
            let length = u8::try_from(text.len()).expect("a short text");
            out.push(2 << 5 | length.min(29));
            out.extend(length.checked_sub(29));
            out.extend(text.as_bytes());
        }
        Data::Number(number) => {
            out.push(6 << 5 | 4);
            out.extend(number.to_be_bytes());
        }
        Data::Map(entries) => {
            out.push(7 << 5 | entries.len() as u8);
            for (key, value) in entries {
                encode(&Data::Text(key), out);
                encode(value, out);
            }
        }
    }
}

/// The record of a network of an autonomous system.
pub fn asn(number: u32) -> Data {
    Data::Map(vec![("autonomous_system_number", Data::Number(number)), ("autonomous_system_organization", Data::Text("Example"))])
}
