//! The verdict corpus: files that a person can read, each a policy set, frames, and what becomes of them. Every bug found gets a case.

pub mod device;
pub mod frame;
pub mod payload;
pub mod policy;
mod words;

use std::collections::BTreeMap;

use edge_agent::config::{Conduct, TimeToLive};
use edge_ebpf::abi::{DnsReject, OnUninspectable, Reason};
use serde::{Deserialize, Serialize};

use self::device::DeviceCase;
use self::frame::FrameCase;
use self::policy::{DestinationCase, PolicyCase, SignatureCase};

/// A file of the corpus.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is there for.
    pub about: String,
    /// Policies in order of evaluation.
    pub policies: Vec<PolicyCase>,
    /// Groups of devices: ranges of MACs, what devices are known by otherwise, or `{all, any, not}` over such, nested at will.
    #[serde(default)]
    pub devices: BTreeMap<String, DeviceCase>,
    /// Policies that groups are of; the first one where nothing is said.
    #[serde(default)]
    pub owners: BTreeMap<String, String>,
    #[serde(default)]
    pub destinations: BTreeMap<String, DestinationCase>,
    #[serde(default)]
    pub signatures: BTreeMap<String, SignatureCase>,
    /// Verdicts per reason; `drop_if_rule_could_match` where nothing is said.
    #[serde(default)]
    pub uninspectable: BTreeMap<String, String>,
    /// How a rejected query is answered: `nxdomain` where nothing is said, `refused`, `null_address`.
    #[serde(default)]
    pub dns_reject: Option<String>,
    /// For how long addresses are learned, in seconds: the least and the most.
    #[serde(default)]
    pub learned: Option<[u32; 2]>,
    pub frames: Vec<FrameCase>,
    /// Packets counted by `policy/rule`, after all frames; rules that are not named count nothing.
    pub counters: BTreeMap<String, u64>,
}

impl Case {
    pub fn conduct(&self) -> Conduct {
        for name in self.uninspectable.keys() {
            assert!(Reason::ALL.iter().any(|reason| reason.name() == name), "no reason {name}");
        }
        let on_uninspectable = Reason::ALL.map(|reason| match self.uninspectable.get(reason.name()).map(String::as_str) {
            None | Some("drop_if_rule_could_match") => OnUninspectable::DropIfRuleCouldMatch,
            Some("pass") => OnUninspectable::Pass,
            Some("drop") => OnUninspectable::Drop,
            Some("inspect") => OnUninspectable::Inspect,
            Some(other) => panic!("no verdict {other}"),
        });
        let dns_reject = match self.dns_reject.as_deref() {
            None | Some("nxdomain") => DnsReject::NxDomain,
            Some("refused") => DnsReject::Refused,
            Some("null_address") => DnsReject::NullAddress,
            Some(other) => panic!("no answer {other}"),
        };
        let learned = self.learned.map_or_else(TimeToLive::default, |[min, max]| TimeToLive { min, max });
        // Verdicts do not depend on it, and more of the program runs with it.
        Conduct { on_uninspectable, dns_reject, learned, observes: true }
    }
}
