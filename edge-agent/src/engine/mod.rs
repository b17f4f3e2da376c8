//! Ways of asking "what would become of this frame?" without traffic: the shared core over host tables, and the loaded kernel program.

pub mod frame;
pub mod host;
pub mod kernel;
pub mod oracle;
pub mod policy_test;

use edge_ebpf::abi::{Reason, Verdict};

use crate::policy::model::RuleId;

/// Seconds of the Unix epoch, where a test does not say when it is: the day of the advisory, 2014-10-24, at noon (UTC).
pub const SOME_TIME: i64 = 1_414_152_000;

/// What an engine says of one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    /// The rule that decided; for a later fragment, the one that decided about the first.
    pub rule: Option<RuleId>,
    /// The rules that matched before it and only monitor, in order.
    pub monitored: Vec<RuleId>,
    /// Why it could not be inspected.
    pub reason: Option<Reason>,
    /// The answer to a rejected frame; `None` where none is due.
    pub reply: Option<Vec<u8>>,
}
