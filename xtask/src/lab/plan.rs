//! Who lives in the lab, and where: addresses, names, hardware addresses.
//!
//! The servers' addresses are real ones, so that the country database places them; the namespaces have no route out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A device on the inside.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    pub name: &'static str,
    pub mac: &'static str,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
}

/// Of a prefix that the IEEE assigned to Xiaomi.
pub const PHONE: Device = Device {
    name: "phone",
    mac: "64:09:80:12:34:56",
    ipv4: Ipv4Addr::new(192, 168, 10, 20),
    ipv6: Ipv6Addr::new(0xfd0e, 0xd9e, 0, 0, 0, 0, 0, 0x20),
};
/// Of another vendor, Lenovo.
pub const LAPTOP: Device = Device {
    name: "laptop",
    mac: "10:c5:95:65:43:21",
    ipv4: Ipv4Addr::new(192, 168, 10, 30),
    ipv6: Ipv6Addr::new(0xfd0e, 0xd9e, 0, 0, 0, 0, 0, 0x30),
};
pub const DEVICES: [Device; 2] = [PHONE, LAPTOP];

/// The gateway's own addresses.
pub mod gateway {
    use super::{Ipv4Addr, Ipv6Addr};

    pub const INSIDE: &str = "inside0";
    pub const OUTSIDE: &str = "outside0";
    pub const INSIDE_MAC: &str = "02:00:00:00:00:01";
    pub const INSIDE_IPV4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
    pub const INSIDE_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd0e, 0xd9e, 0, 0, 0, 0, 0, 1);
    pub const OUTSIDE_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    pub const OUTSIDE_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
}

/// The far end of the gateway's outside link, in the servers' namespace.
pub const UPSTREAM_IPV4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const UPSTREAM_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// A server on the outside, at one address of each family.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub name: &'static str,
    /// ISO 3166 code of the country that the database gives for both addresses.
    pub country: &'static str,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
}

impl Server {
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.ipv4.into(), self.ipv6.into()]
    }
}

/// The host to which F-Secure saw the phone report, in the range that the advisory names; its IPv6 address is one of China Unicom.
pub const REPORTING: Server = Server {
    name: "api.account.xiaomi.com",
    country: "CN",
    ipv4: Ipv4Addr::new(42, 62, 48, 7),
    ipv6: Ipv6Addr::new(0x2408, 0x8000, 0, 0, 0, 0, 0, 7),
};
/// Elsewhere.
pub const ELSEWHERE: Server = Server {
    name: "www.debian.org",
    country: "NL",
    ipv4: Ipv4Addr::new(130, 89, 148, 77),
    ipv6: Ipv6Addr::new(0x2001, 0x67c, 0x2564, 0xa119, 0, 0, 0, 0x77),
};
pub const SERVERS: [Server; 2] = [REPORTING, ELSEWHERE];

/// The resolver that every device asks.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// The same one.
pub const RESOLVER_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x53);

/// Ports of the servers, by protocol.
pub mod port {
    pub const HTTP: u16 = 80;
    pub const HTTPS: u16 = 443;
    pub const UDP_ECHO: u16 = 7;
}
