//! What systems and devices are known to show, so that a device can be called by what it is: p0f's database, Satori's, and our own.
//!
//! They only give names. No verdict depends on one: policies say themselves what they mean.

pub mod own;
pub mod p0f;
pub mod satori;
#[cfg(test)]
mod tests;

use std::path::Path;

use edge_ebpf::abi::identity::FactKind;
use serde_json::{Value, json};

use super::ja4::Ja4;
use crate::config::IdentityFiles;
use crate::engine::observe::{Dhcp, Dhcp6, Observation, TcpSyn};
use crate::policy::model::{Glob, SynPattern};
use crate::sources::file::{Provenance, SourceError};

/// What a device has shown.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// DHCP option 55, 60 and 12.
    pub dhcp_params: Vec<Vec<u8>>,
    pub dhcp_vendor_classes: Vec<String>,
    pub dhcp_host_names: Vec<String>,
    /// DHCPv6 option 6 and 16.
    pub dhcp6_params: Vec<Vec<u16>>,
    pub dhcp6_vendor_classes: Vec<String>,
    /// See [`edge_ebpf::identity::syn`].
    pub syns: Vec<Vec<u8>>,
    pub hellos: Vec<Ja4>,
    pub user_agents: Vec<String>,
}

impl Facts {
    /// Adds what was seen of the device.
    pub fn add(&mut self, observation: &Observation) {
        match observation {
            Observation::Dhcp(Dhcp { device: _, message: _, params, vendor_class, hostname }) => {
                add(&mut self.dhcp_params, Some(params).filter(|params| !params.is_empty()));
                add(&mut self.dhcp_vendor_classes, vendor_class.as_ref());
                add(&mut self.dhcp_host_names, hostname.as_ref());
            }
            Observation::Dhcp6(Dhcp6 { params, vendor_class, hostname: _ }) => {
                add(&mut self.dhcp6_params, Some(params).filter(|params| !params.is_empty()));
                add(&mut self.dhcp6_vendor_classes, vendor_class.as_ref());
            }
            Observation::TcpSyn(TcpSyn { shape, .. }) => add(&mut self.syns, Some(shape).filter(|shape| !shape.is_empty())),
            Observation::ClientHello { ja4, .. } | Observation::QuicClientHello { ja4, .. } | Observation::DtlsClientHello { ja4, .. } => {
                add(&mut self.hellos, ja4.as_ref());
            }
            Observation::HttpRequest { host: _, user_agent } => add(&mut self.user_agents, user_agent.as_ref()),
            Observation::DnsQuery { .. } => {}
        }
    }
}

fn add<T: Clone + PartialEq>(to: &mut Vec<T>, value: Option<&T>) {
    if let Some(value) = value
        && !to.contains(value)
    {
        to.push(value.clone());
    }
}

/// What a database calls a device.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Label {
    pub os: Option<String>,
    /// What kind of thing it is.
    pub class: Option<String>,
    pub vendor: Option<String>,
    /// By which fact.
    pub by: FactKind,
    pub database: Database,
}

impl Label {
    pub fn json(&self) -> Value {
        let Self { os, class, vendor, by, database } = self;
        let by = match by {
            FactKind::DhcpParameters => "dhcp.params",
            FactKind::DhcpVendorClass => "dhcp.vendor_class",
            FactKind::DhcpHostName => "dhcp.hostname",
            FactKind::Dhcp6Options => "dhcp6.params",
            FactKind::Dhcp6VendorClass => "dhcp6.vendor_class",
            FactKind::Dhcp6Name => "dhcp6.hostname",
            FactKind::TcpSyn => "tcp_syn",
            FactKind::UserAgent => "http.user_agent",
            FactKind::Hello => "tls.ja4",
            FactKind::Announcement => "announcement",
        };
        let database = match database {
            Database::P0f => "p0f",
            Database::Satori => "satori",
            Database::Own => "fingerprints",
        };
        json!({"os": os, "class": class, "vendor": vendor, "by": by, "database": database})
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Database {
    P0f,
    Satori,
    Own,
}

/// One thing that a system shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trait {
    DhcpParams(Vec<u8>),
    DhcpVendorClass(Glob),
    DhcpHostName(Glob),
    Dhcp6Params(Vec<u16>),
    Dhcp6VendorClass(Glob),
    Syn(SynPattern),
    Hello(Ja4),
    UserAgent(Glob),
}

impl Trait {
    const fn kind(&self) -> FactKind {
        match self {
            Self::DhcpParams(_) => FactKind::DhcpParameters,
            Self::DhcpVendorClass(_) => FactKind::DhcpVendorClass,
            Self::DhcpHostName(_) => FactKind::DhcpHostName,
            Self::Dhcp6Params(_) => FactKind::Dhcp6Options,
            Self::Dhcp6VendorClass(_) => FactKind::Dhcp6VendorClass,
            Self::Syn(_) => FactKind::TcpSyn,
            Self::Hello(_) => FactKind::Hello,
            Self::UserAgent(_) => FactKind::UserAgent,
        }
    }

    fn is_shown(&self, facts: &Facts) -> bool {
        let any = |glob: &Glob, texts: &[String]| texts.iter().any(|text| fits(&glob.0, text));
        match self {
            Self::DhcpParams(params) => facts.dhcp_params.contains(params),
            Self::DhcpVendorClass(glob) => any(glob, &facts.dhcp_vendor_classes),
            Self::DhcpHostName(glob) => any(glob, &facts.dhcp_host_names),
            Self::Dhcp6Params(params) => facts.dhcp6_params.contains(params),
            Self::Dhcp6VendorClass(glob) => any(glob, &facts.dhcp6_vendor_classes),
            Self::Syn(pattern) => facts.syns.iter().any(|shape| super::p0f::matches(pattern, shape)),
            Self::Hello(ja4) => facts.hellos.contains(ja4),
            Self::UserAgent(glob) => any(glob, &facts.user_agents),
        }
    }
}

/// Whether a text is of a pattern with `*` for any letters, whatever their case.
fn fits(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.to_ascii_lowercase(), text.to_ascii_lowercase());
    let Some((first, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').map_or((None, rest), |(middle, last)| (Some(middle), last));
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// What a database says: whoever shows one of the traits is that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub os: Option<String>,
    pub class: Option<String>,
    pub vendor: Option<String>,
    /// A guess, which only counts where nothing else is known by the same kind of fact.
    pub generic: bool,
    pub traits: Vec<Trait>,
}

/// All databases of an agent.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    entries: Vec<(Database, Entry)>,
    pub files: Vec<Provenance>,
}

impl Databases {
    /// Reads those that are configured.
    pub fn read(files: &IdentityFiles) -> Result<Self, SourceError> {
        let IdentityFiles { p0f, satori, fingerprints } = files;
        type Read = fn(&Path) -> Result<(Vec<Entry>, Provenance), SourceError>;
        let mut databases = Self::default();
        for (database, file, read) in
            [(Database::Own, fingerprints, own::read as Read), (Database::P0f, p0f, p0f::read), (Database::Satori, satori, satori::read)]
        {
            if let Some(file) = file {
                let (entries, file) = read(file)?;
                databases.entries.extend(entries.into_iter().map(|entry| (database, entry)));
                databases.files.push(file);
            }
        }
        Ok(databases)
    }

    /// What a device may be that has shown all these.
    pub fn label(&self, facts: &Facts) -> Vec<Label> {
        let mut labels: Vec<(bool, Label)> = Vec::new();
        for (database, Entry { os, class, vendor, generic, traits }) in &self.entries {
            for shown in traits.iter().filter(|entry| entry.is_shown(facts)) {
                let label = Label { os: os.clone(), class: class.clone(), vendor: vendor.clone(), by: shown.kind(), database: *database };
                if !labels.iter().any(|(_, known)| *known == label) {
                    labels.push((*generic, label));
                }
            }
        }
        let known: Vec<(Database, FactKind)> =
            labels.iter().filter(|(generic, _)| !generic).map(|(_, label)| (label.database, label.by)).collect();
        labels.retain(|(generic, label)| !generic || !known.contains(&(label.database, label.by)));
        labels.into_iter().map(|(_, label)| label).collect()
    }
}

/// `None` for nothing written.
fn written(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
