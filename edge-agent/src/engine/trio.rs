//! The three engines side by side: what they do not agree on is a defect of one of them.

use edge_ebpf::engine::Side;
use jiff::Timestamp;

use super::counts::{Counts, Expected};
use super::host::HostEngine;
use super::kernel::{Act, KernelEngine};
use super::oracle::Oracle;
use super::{Engine, EngineError, Outcome};
use crate::config::Conduct;
use crate::policy::compile::Compiled;
use crate::policy::model::Resolved;

/// The kernel takes no test frame that is shorter than an Ethernet header; such a frame is for the others alone.
const SHORTEST: usize = 14;

/// Engines that have loaded the same policies.
pub struct Trio<'a> {
    host: HostEngine<'a>,
    oracle: Oracle<'a>,
    kernel: Option<KernelEngine>,
    expected: Expected,
}

#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    #[error("the oracle says {oracle:?}, the host engine {host:?}")]
    Oracle { oracle: Outcome, host: Outcome },
    #[error("oracle and host engine say {host:?}, the kernel {kernel:?}")]
    Kernel { host: Outcome, kernel: Outcome },
    #[error("oracle and host engine say {host:?}, the kernel does {act:?}")]
    Act { host: Outcome, act: Act },
    #[error("the outcomes add up to {expected:?}, the kernel counted {counted:?}")]
    Counts { expected: Counts, counted: Counts },
}

impl<'a> Trio<'a> {
    /// Without a kernel engine, which needs root, it is two.
    ///
    /// # Errors
    /// If the names of the set cannot be told apart.
    pub fn new(
        policies: &'a Resolved,
        compiled: &'a Compiled,
        conduct: impl Into<Conduct>,
        kernel: Option<KernelEngine>,
    ) -> Result<Self, EngineError> {
        let conduct = conduct.into();
        let host = HostEngine::new(compiled, conduct)?;
        let oracle = Oracle::new(policies, conduct);
        Ok(Self { host, oracle, kernel, expected: Expected::of(compiled) })
    }

    /// Sets the time of all of them.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError> {
        let Self { host, oracle, kernel, expected: _ } = self;
        host.set_time(now)?;
        oracle.set_time(now)?;
        kernel.as_mut().map_or(Ok(()), |kernel| kernel.set_time(now))
    }

    /// The outcome that all of them agree on. Reads all of the kernel's counters after the frame, which takes much longer than the frame.
    ///
    /// # Errors
    /// If an engine cannot tell.
    pub fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Result<Outcome, Disagreement>, EngineError> {
        let host = match self.on_host(side, frame)? {
            Ok(host) => host,
            disagreement => return Ok(disagreement),
        };
        if let Some(kernel) = self.kernel.as_mut().filter(|_| frame.len() >= SHORTEST) {
            tell(kernel, &self.oracle)?;
            // The program tells names in its reports alone.
            let kernel = Outcome { name: host.name.clone(), ..kernel.run_on(side, frame)? };
            if kernel != host {
                return Ok(Err(Disagreement::Kernel { host, kernel }));
            }
        }
        Ok(Ok(host))
    }

    /// As [`Self::run_on`], where the kernel is asked only what it does with the frame. Why it does so is seen once for many frames, by
    /// [`Self::counters`].
    ///
    /// # Errors
    /// If an engine cannot tell.
    pub fn act_on(&mut self, side: Side, frame: &[u8]) -> Result<Result<Outcome, Disagreement>, EngineError> {
        let host = match self.on_host(side, frame)? {
            Ok(host) => host,
            disagreement => return Ok(disagreement),
        };
        if let Some(kernel) = self.kernel.as_mut().filter(|_| frame.len() >= SHORTEST) {
            tell(kernel, &self.oracle)?;
            let act = kernel.act_on(side, frame)?;
            if act != Act::of(&host) {
                return Ok(Err(Disagreement::Act { host, act }));
            }
            self.expected.add(&host, frame.len());
        }
        Ok(Ok(host))
    }

    /// Whether the kernel has counted what the outcomes of every [`Self::act_on`] add up to.
    ///
    /// # Errors
    /// If the kernel does not let its counters be read.
    pub fn counters(&self) -> Result<Result<(), Disagreement>, EngineError> {
        let Some(kernel) = &self.kernel else { return Ok(Ok(())) };
        let counted = kernel.counts()?;
        let expected = self.expected.counts();
        if counted == *expected { Ok(Ok(())) } else { Ok(Err(Disagreement::Counts { expected: expected.clone(), counted })) }
    }

    /// Lets all of them learn from a frame on its way to a device.
    ///
    /// # Errors
    /// If an engine cannot.
    pub fn answer(&mut self, frame: &[u8]) -> Result<(), EngineError> {
        let Self { host, oracle, kernel, expected: _ } = self;
        host.answer(frame)?;
        oracle.answer(frame)?;
        kernel.as_mut().filter(|_| frame.len() >= SHORTEST).map_or(Ok(()), |kernel| kernel.answer(frame))
    }

    fn on_host(&mut self, side: Side, frame: &[u8]) -> Result<Result<Outcome, Disagreement>, EngineError> {
        let host = self.host.run_on(side, frame)?;
        // The oracle makes no answers.
        let oracle = Outcome { reply: host.reply.clone(), ..self.oracle.run_on(side, frame)? };
        Ok(if oracle == host { Ok(host) } else { Err(Disagreement::Oracle { oracle, host }) })
    }
}

/// The kernel cannot reckon a JA4, and hears of it from the agent, which sees hellos of flows that begin: others count here too.
fn tell(kernel: &mut KernelEngine, oracle: &Oracle<'_>) -> Result<(), EngineError> {
    oracle.hello().map_or(Ok(()), |ja4| Ok(kernel.know_hello(ja4)?))
}
