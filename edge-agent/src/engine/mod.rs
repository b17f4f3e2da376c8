//! Ways of asking "what would become of this frame?" without traffic: the shared core over host tables, the loaded kernel program, and the
//! oracle that judges both.

pub mod capture;
pub mod counts;
pub mod fact;
pub mod frame;
pub mod host;
pub mod kernel;
pub mod message;
pub mod observe;
pub mod oracle;
pub mod policy_test;
mod probe;
mod shown;
pub(crate) mod syn;
pub mod trio;

use edge_ebpf::abi::{Reason, Verdict};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use self::host::{HostEngine, MissingEntry};
use self::kernel::{KernelEngine, KernelEngineError};
use self::oracle::Oracle;
use crate::config::Conduct;
use crate::policy::compile::Compiled;
use crate::policy::compile::name_table::NameTableError;
use crate::policy::model::{Resolved, RuleId};

/// When it is, where nobody says: the day of the advisory, 2014-10-24, at noon (UTC).
pub const SOME_TIME: Timestamp = Timestamp::constant(1_414_152_000, 0);

/// Knows a policy set, the fragments that it has seen, and what devices have used of their rates.
pub trait Engine {
    /// Sets the time. It should not go back: rates are counted in it.
    ///
    /// # Errors
    /// If the kernel refuses it.
    fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError>;

    /// Decides about a frame that comes in on an interface of that side.
    ///
    /// # Errors
    /// If the kernel does not take the frame (it wants an Ethernet header at least), or the engine has a defect.
    fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, EngineError>;

    /// Decides about a frame from a device.
    ///
    /// # Errors
    /// As [`Self::run_on`].
    fn run(&mut self, frame: &[u8]) -> Result<Outcome, EngineError> {
        self.run_on(Side::Inside, frame)
    }

    /// Learns from a frame on its way to a device what addresses an answer gives for watched names.
    ///
    /// # Errors
    /// As [`Self::run_on`].
    fn answer(&mut self, frame: &[u8]) -> Result<(), EngineError>;
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Kernel(#[from] KernelEngineError),
    #[error(transparent)]
    Host(#[from] MissingEntry),
    #[error(transparent)]
    Names(#[from] NameTableError),
}

/// Engines by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EngineKind {
    /// The program itself, in the kernel: needs root.
    Kernel,
    /// The code that it is made of, in this process.
    Host,
    /// The policies read rule by rule; makes no answers to rejected frames.
    Oracle,
}

impl EngineKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Host => "host",
            Self::Oracle => "oracle",
        }
    }

    /// An engine of this kind for `policies`, of which `compiled` was made.
    ///
    /// # Errors
    /// If the kernel refuses the program, or names cannot be told apart.
    pub fn start<'a>(self, policies: &'a Resolved, compiled: &'a Compiled, conduct: Conduct) -> Result<Box<dyn Engine + 'a>, EngineError> {
        Ok(match self {
            Self::Kernel => Box::new(KernelEngine::new(compiled, conduct)?),
            Self::Host => Box::new(HostEngine::new(compiled, conduct)?),
            Self::Oracle => Box::new(Oracle::new(policies, conduct)),
        })
    }
}

/// Nanoseconds of the Unix epoch, as the program counts them; what is before or after those is at their ends.
fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond().max(0)).unwrap_or(u64::MAX)
}

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
    /// The name that a watched device's packet carries: the first question's, the ClientHello's or the request's. In lower case.
    pub name: Option<String>,
}
