//! hosts(5): an address, then names, `#` before a comment. Each name is meant alone: the file says nothing of what is below it.

use std::net::IpAddr;

use super::{Reading, Reason};
use crate::policy::name::NameScope;

/// What every hosts file begins with.
const OWN_NAMES: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "local",
    "loopback",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

pub fn looks_so(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next().is_some_and(is_address) && words.next().is_some_and(|word| !word.starts_with('#'))
}

pub fn read_line(line: &str, reading: &mut Reading) {
    let entry = line.split_once('#').map_or(line, |(entry, _)| entry);
    let mut words = entry.split_ascii_whitespace();
    let Some(address) = words.next() else { return };
    if !is_address(address) {
        reading.leave_out(Reason::NoEntry, line);
        return;
    }
    let mut named = false;
    for name in words {
        named = true;
        if OWN_NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            reading.leave_out(Reason::OwnName, name);
        } else {
            reading.pattern(name, NameScope::Exact);
        }
    }
    if !named {
        reading.leave_out(Reason::NoEntry, line);
    }
}

/// The zone of a link-local address (RFC 4007 section 11) is no part of it.
fn is_address(word: &str) -> bool {
    matches!(word, "0.0.0.0" | "127.0.0.1") || word.split('%').next().is_some_and(|address| address.parse::<IpAddr>().is_ok())
}
