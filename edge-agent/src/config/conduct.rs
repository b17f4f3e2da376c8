//! What `agent.yaml` says of packets beside the rules: verdicts on what cannot be inspected, how a rejected query is answered, how long an
//! address that an answer gave is good for.

use edge_ebpf::abi::{DnsReject, OnUninspectable, Reason};

/// The same for every engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conduct {
    /// By [`Reason`].
    pub on_uninspectable: [OnUninspectable; Reason::ALL.len()],
    pub dns_reject: DnsReject,
    pub learned: TimeToLive,
    /// The agent is told what is new of devices. Without effect on a verdict.
    pub observes: bool,
}

/// Bounds of what answers say, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeToLive {
    pub min: u32,
    /// At least as long.
    pub max: u32,
}

impl Default for TimeToLive {
    /// Devices use addresses for longer than answers allow; after a week a server has another owner.
    fn default() -> Self {
        Self { min: 3600, max: 7 * 24 * 3600 }
    }
}

impl TimeToLive {
    /// What an answer's time to live counts as.
    pub fn clamp(self, seconds: u32) -> u32 {
        seconds.clamp(self.min, self.max.max(self.min))
    }
}

impl Default for Conduct {
    /// ECH is let through and counted, and queries for its keys are like any other.
    fn default() -> Self {
        let mut on_uninspectable = [OnUninspectable::DropIfRuleCouldMatch; Reason::ALL.len()];
        on_uninspectable[Reason::Ech as usize] = OnUninspectable::Pass;
        on_uninspectable[Reason::HttpsRecord as usize] = OnUninspectable::Pass;
        on_uninspectable.into()
    }
}

/// The other values are defaults.
impl From<[OnUninspectable; Reason::ALL.len()]> for Conduct {
    fn from(on_uninspectable: [OnUninspectable; Reason::ALL.len()]) -> Self {
        Self { on_uninspectable, dns_reject: DnsReject::default(), learned: TimeToLive::default(), observes: false }
    }
}
