//! Addresses as policies and lists write them: a CIDR prefix, one address, or a range.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::model::{AddressSet, Ranges};
use super::problem::Fault;

/// First and last address, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressRange {
    V4(u32, u32),
    V6(u128, u128),
}

impl AddressRange {
    fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Some(Self::V4(first.to_bits(), last.to_bits())),
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Some(Self::V6(first.to_bits(), last.to_bits())),
            _ => None,
        }
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.to_bits(), address.to_bits()),
            IpAddr::V6(address) => Self::V6(address.to_bits(), address.to_bits()),
        }
    }
}

impl FromStr for AddressRange {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            let hint = "such as `42.62.48.0/24`, `2001:db8::/32`, `192.0.2.1` or `192.0.2.1-192.0.2.9`";
            Fault::new(format!("`{text}` is not a prefix, an address or a range"), hint)
        };
        if let Some((address, length)) = text.split_once('/') {
            // Not IpNet's own parser: it takes `010.0.0.0` for decimal, where others read octal.
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
            let net = IpNet::new(address, length).map_err(|_| wrong())?;
            if net.addr() != net.network() {
                let hint = format!("did you mean `{}`? (one address is written without a length)", net.trunc());
                return Err(Fault::new(format!("`{text}` has bits set beyond its length"), hint));
            }
            return Self::new(net.network(), net.broadcast()).ok_or_else(wrong);
        }
        let Some((first, last)) = text.split_once('-') else {
            return Ok(text.parse::<IpAddr>().map_err(|_| wrong())?.into());
        };
        let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse()) else { return Err(wrong()) };
        Self::new(first, last).ok_or_else(|| {
            let hint = "the first address is the smaller one, and both are of one family";
            Fault::new(format!("`{text}` is not a range"), hint)
        })
    }
}

impl FromIterator<AddressRange> for AddressSet {
    fn from_iter<T: IntoIterator<Item = AddressRange>>(ranges: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range {
                AddressRange::V4(first, last) => v4.push((first, last)),
                AddressRange::V6(first, last) => v6.push((first, last)),
            }
        }
        Self { v4: Ranges::new(v4), v6: Ranges::new(v6) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_addresses_and_ranges_of_both_families() {
        for (text, expected) in [
            ("42.62.48.0/24", AddressRange::V4(0x2a3e_3000, 0x2a3e_30ff)),
            ("0.0.0.0/0", AddressRange::V4(0, u32::MAX)),
            ("192.0.2.1", AddressRange::V4(0xc000_0201, 0xc000_0201)),
            ("192.0.2.1 - 192.0.2.9", AddressRange::V4(0xc000_0201, 0xc000_0209)),
            ("2001:db8::/32", AddressRange::V6(0x2001_0db8 << 96, (0x2001_0db9 << 96) - 1)),
            ("::1-::3", AddressRange::V6(1, 3)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_is_refused() {
        for text in [
            "",
            "42.62.48",
            "42.62.48.0/33",
            "42.62.48.0/",
            "::1-192.0.2.1",
            "192.0.2.9-192.0.2.1",
            "host",
            "10.0.0.0/+8",
            "042.62.48.0/24",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
        let fault = "42.62.48.7/24".parse::<AddressRange>().unwrap_err();
        assert!(fault.hint.contains("did you mean `42.62.48.0/24`?"), "{fault:?}");
    }
}
