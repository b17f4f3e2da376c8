//! What reached the servers: the far side's evidence, beside what clients say.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xtask::lab::Host;
use xtask::lab::process::wait_until;

/// How far a client got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Its ClientHello arrived.
    Hello,
    /// Its TLS handshake is complete.
    Handshake,
    /// Its request arrived.
    Request,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Http,
    Tls,
    Quic,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub from: IpAddr,
    pub over: Over,
    pub step: Step,
    pub name: String,
}

/// Entries in the order in which they came; clones are the same ledger.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Entry>>>);

impl Ledger {
    pub fn write(&self, from: IpAddr, over: Over, step: Step, name: &str) {
        let entry = Entry { from: from.to_canonical(), over, step, name: name.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a device got so far with a name.
    pub fn has(&self, host: &Host, over: Over, step: Step, name: &str) -> bool {
        let is_its = |from| [IpAddr::from(host.device.ipv4), host.device.ipv6.into()].contains(&from);
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().any(|entry| is_its(entry.from) && (entry.over, entry.step, &*entry.name) == (over, step, name))
    }

    /// A server may be a moment behind its client.
    pub fn wait(&self, host: &Host, over: Over, step: Step, name: &str) {
        let what = format!("{} {over:?} {step:?} {name} is in the ledger", host.device.name);
        wait_until(Duration::from_secs(5), &what, || Ok(self.has(host, over, step, name))).unwrap();
    }
}
