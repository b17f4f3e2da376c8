//! The section `identity` of `agent.yaml`: what is remembered of devices, and which of them the administrator knows.

use std::path::PathBuf;

use super::names::Seconds;
use super::{Conduct, Decoder, TableSizes, relative};
use crate::policy::problem::Problems;
use crate::policy::schema::{Placed, parsed};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityConfig {
    pub files: IdentityFiles,
    /// Seconds that a device is remembered for after it was last seen.
    pub remember: u64,
    /// File of the devices that the administrator knows.
    pub inventory: Option<PathBuf>,
}

/// Databases of what systems and devices show, see [`crate::identity::databases`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdentityFiles {
    pub p0f: Option<PathBuf>,
    pub satori: Option<PathBuf>,
    pub fingerprints: Option<PathBuf>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { files: IdentityFiles::default(), remember: 30 * 86_400, inventory: None }
    }
}

pub(super) fn decode_identity(
    at: &Decoder<'_>,
    identity: &mut IdentityConfig,
    conduct: &mut Conduct,
    tables: &mut TableSizes,
    problems: &mut Problems,
) {
    let IdentityConfig { files: IdentityFiles { p0f, satori, fingerprints }, remember, inventory } = identity;
    *p0f = at.node("identity.p0f").and_then(relative);
    *satori = at.node("identity.satori").and_then(relative);
    *fingerprints = at.node("identity.fingerprints").and_then(relative);
    if let Some(node) = at.node("identity.observe") {
        conduct.observes = !matches!(node.value, crate::policy::yaml::Value::Bool(false));
    }
    if let Some(node) = at.node("identity.remember") {
        let given = node.integer().or_else(|| parsed::<Seconds>(node, problems).map(|Placed { value: Seconds(seconds), .. }| seconds));
        *remember = given.map_or(*remember, u64::from);
    }
    tables.devices = at.node("identity.devices").and_then(|node| node.integer()).unwrap_or(tables.devices);
    *inventory = at.node("identity.inventory").and_then(relative);
}
