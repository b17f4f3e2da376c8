//! Names of the tests of names, of the zone `example` (RFC 2606), and addresses of their own on the far side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of each family, and the names that lead there.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    pub names: &'static [&'static str],
}

impl Site {
    const fn new(last: u8, names: &'static [&'static str]) -> Self {
        // Ranges for documentation (RFC 5737, RFC 3849); the upstream's own is another part of the second.
        let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, last as u16);
        Self { ipv4: Ipv4Addr::new(203, 0, 113, last), ipv6, names }
    }

    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }
}

/// The domain that the tests' policies are about.
pub const BLOCKED: &str = "blocked.example";
/// Below it.
pub const BELOW: &str = "www.blocked.example";
/// At the same addresses, and no policy's concern.
pub const ALLOWED: &str = "allowed.example";
/// Ends as the blocked domain does, and is not below it.
pub const LOOKALIKE: &str = "notblocked.example";
/// At addresses of its own.
pub const APART: &str = "apart.example";
/// What the aliases lead to.
pub const NETWORK: &str = "edge.network.example";
/// Below the blocked domain, at the network by two steps.
pub const LEADS_AWAY: &str = "shop.blocked.example";
/// Of no blocked domain, at the network by way of a name that is.
pub const LEADS_THROUGH: &str = "alias.example";
/// At the network without that.
pub const NEIGHBOUR: &str = "neighbour.example";

/// Several names at one address.
pub const SHARED_SITE: Site = Site::new(10, &[BLOCKED, BELOW, ALLOWED, LOOKALIKE]);
pub const APART_SITE: Site = Site::new(20, &[APART]);
pub const NETWORK_SITE: Site = Site::new(30, &[NETWORK]);
pub const SITES: [Site; 3] = [SHARED_SITE, APART_SITE, NETWORK_SITE];

/// Aliases, each with what it leads to.
pub const ALIASES: [(&str, &str); 5] = [
    (LEADS_AWAY, "middle.example"),
    ("middle.example", NETWORK),
    (LEADS_THROUGH, "cdn.blocked.example"),
    ("cdn.blocked.example", NETWORK),
    (NEIGHBOUR, NETWORK),
];

/// Where a name leads, by however many aliases.
///
/// # Panics
/// If it is none of the above.
pub fn site(name: &str) -> Site {
    let name = ALIASES.iter().fold(name, |name, _| ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, to)| to));
    SITES.into_iter().find(|site| site.names.contains(&name)).unwrap_or_else(|| panic!("the lab has no name {name}"))
}

/// All that a certificate must be good for.
pub fn all() -> impl Iterator<Item = &'static str> {
    SITES.iter().flat_map(|site| site.names).copied().chain(ALIASES.iter().map(|(alias, _)| *alias))
}
