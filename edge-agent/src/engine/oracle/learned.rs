//! Addresses that answers gave for names.

use std::collections::HashMap;
use std::net::IpAddr;

use super::read::name::Name;

#[derive(Default)]
pub struct Learned {
    /// Until which second of the Unix epoch, that one included.
    until: HashMap<IpAddr, HashMap<Name, i64>>,
}

impl Learned {
    /// What was said before may hold for longer.
    pub fn learn(&mut self, address: IpAddr, name: &Name, until: i64) {
        let known = self.until.entry(address).or_default().entry(name.clone()).or_insert(until);
        *known = until.max(*known);
    }

    /// Names that the address has in this second.
    pub fn names(&self, address: IpAddr, now: i64) -> Vec<Name> {
        let names = self.until.get(&address).into_iter().flatten();
        names.filter(|(_, until)| now <= **until).map(|(name, _)| name.clone()).collect()
    }
}
