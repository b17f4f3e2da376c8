//! What is told of a device: what it has shown, which signals of the policies that is, and in which groups it is by that.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use edge_ebpf::abi::identity::FactKind;
use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};

use super::devices::{Devices, Known, Policies, signals};
use super::evaluate::Evaluator;
use super::facts::{Fact, Facts};
use super::groups::Membership;
use super::inventory::Entry;
use super::text::{kind_name, mac_text, value_text};

/// Gives what is known of devices; at the first part of an answer (`true`) with what the kernel knows now.
pub type DeviceSource = Arc<dyn Fn(bool) -> Arc<Devices> + Send + Sync>;

/// Letters of a signal; one may be a list of names.
const LONGEST: usize = 160;

/// Times are seconds of the Unix epoch; none where the device has shown nothing yet.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceReport {
    pub mac: String,
    /// Organisation that the IEEE has assigned the MAC to.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Of the inventory.
    pub label: Option<String>,
    pub owner: Option<String>,
    pub first_seen: Option<u64>,
    pub last_seen: Option<u64>,
    pub addresses: Vec<IpAddr>,
    pub groups: Vec<GroupReport>,
    pub facts: Vec<FactReport>,
    /// Signals that the kernel has seen it show and that are no fact here: names asked for, and signatures.
    pub other_signals: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupReport {
    pub policy: String,
    pub group: String,
    /// What it is in the group by: `mac`, or signals; nothing where it is by what it has not shown.
    pub by: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FactReport {
    pub kind: String,
    pub value: String,
    /// JA4_r, where the value is a JA4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    pub seen: u64,
    /// Which signals of the policies it is.
    pub signals: Vec<String>,
}

/// Also devices of the inventory that have shown nothing.
pub(super) fn many(known: &mut Known, after: Option<Mac>, count: usize) -> Vec<DeviceReport> {
    let seen = known.store.behind(after).map(|(mac, _)| mac.0).take(count);
    let listed = known.inventory.macs().map(|mac| mac.0).filter(|mac| after.is_none_or(|after| *mac > after.0));
    let macs: BTreeSet<u64> = seen.chain(listed).collect();
    macs.into_iter().take(count).filter_map(|mac| one(known, Mac(mac))).collect()
}

pub(super) fn one(Known { store, policies, inventory }: &mut Known, mac: Mac) -> Option<DeviceReport> {
    let nothing = Facts::default();
    let facts = store.get(mac);
    let entry = inventory.find(mac);
    if facts.is_none() && entry.is_none() {
        return None;
    }
    let times = facts.map(|facts| (facts.first_seen, facts.last_seen));
    let facts = facts.unwrap_or(&nothing);
    let Policies { groups, evaluator } = policies;
    let shown = evaluator.as_mut().map_or_else(Vec::new, |evaluator| signals(evaluator, facts));
    let mut of_facts: Vec<u32> = Vec::new();
    let reports = facts.iter().map(|fact| of_fact(fact, evaluator.as_mut(), &mut of_facts)).collect();
    let text = |number: &u32| evaluator.as_ref().map_or_else(String::new, |evaluator| shortened(evaluator.text(*number)));
    let (label, owner) = entry.map_or((None, None), |Entry { label, owner, .. }| (label.clone(), owner.clone()));
    let memberships = groups.of_device(mac, |number| shown.contains(&number));
    Some(DeviceReport {
        mac: mac_text(mac),
        vendor: None,
        label,
        owner,
        first_seen: times.map(|(first, _)| first),
        last_seen: times.map(|(_, last)| last),
        addresses: facts.addresses.clone(),
        groups: memberships.into_iter().map(|member| of_group(member, &text)).collect(),
        facts: reports,
        other_signals: shown.iter().filter(|number| !of_facts.contains(number)).map(text).collect(),
    })
}

fn of_group(Membership { policy, group, by_mac, by }: Membership<'_>, text: &impl Fn(&u32) -> String) -> GroupReport {
    let by = by_mac.then(|| "mac".to_owned()).into_iter().chain(by.iter().map(text)).collect();
    GroupReport { policy: policy.to_owned(), group: group.to_owned(), by }
}

fn of_fact(Fact { kind, value, seen }: &Fact, evaluator: Option<&mut Evaluator>, numbers: &mut Vec<u32>) -> FactReport {
    let mut signals = Vec::new();
    if let Some(evaluator) = evaluator {
        let of_fact = evaluator.signals(*kind, value);
        signals.extend(of_fact.iter().map(|number| shortened(evaluator.text(*number))));
        numbers.extend(of_fact.iter());
    }
    let raw = (*kind == FactKind::Hello).then(|| String::from_utf8_lossy(value).into_owned());
    FactReport { kind: kind_name(*kind).to_owned(), value: value_text(*kind, value), raw, seen: *seen, signals }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
