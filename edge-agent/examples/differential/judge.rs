//! One policy set in all engines.

use anyhow::Context;
use edge_agent::engine::{Outcome, host::HostEngine, kernel::KernelEngine, oracle::Oracle};
use edge_agent::policy::compile::{Compiled, compile};
use jiff::Timestamp;

use crate::frames::Arrival;
use crate::policies::{Case, START};

/// A policy set and its tables, which the engines borrow.
pub struct Prepared<'a> {
    case: &'a Case,
    compiled: Compiled,
}

impl<'a> Prepared<'a> {
    pub fn new(case: &'a Case) -> anyhow::Result<Self> {
        Ok(Self { case, compiled: compile(&case.policies, Timestamp::from_second(START)?).context("compile a random policy set")? })
    }
}

pub struct Judge<'a> {
    host: HostEngine<'a>,
    oracle: Oracle<'a>,
    kernel: Option<KernelEngine>,
    now: Option<i64>,
}

/// What the engines say of one frame.
pub struct Verdicts {
    /// With the host engine's answer: it has none of its own.
    pub oracle: Outcome,
    host: Outcome,
    kernel: Option<Outcome>,
}

impl<'a> Judge<'a> {
    pub fn new(prepared: &'a Prepared<'a>, with_kernel: bool) -> anyhow::Result<Self> {
        let Prepared { case: Case { policies, on_uninspectable }, compiled } = prepared;
        let kernel = if with_kernel { Some(KernelEngine::new(compiled, *on_uninspectable).context("load into the kernel")?) } else { None };
        Ok(Self { host: HostEngine::new(compiled, *on_uninspectable), oracle: Oracle::new(policies, *on_uninspectable), kernel, now: None })
    }

    pub fn run(&mut self, arrival: &Arrival) -> anyhow::Result<Verdicts> {
        let Self { host, oracle, kernel, now } = self;
        let Arrival { side, at, frame } = arrival;
        if *now != Some(*at) {
            host.set_time(*at);
            oracle.set_time(*at);
            if let Some(kernel) = kernel {
                kernel.set_time(*at)?;
            }
            *now = Some(*at);
        }
        let host = host.run_on(*side, frame)?;
        let oracle = Outcome { reply: host.reply.clone(), ..oracle.run_on(*side, frame) };
        let kernel = kernel.as_mut().map(|kernel| kernel.run_on(*side, frame)).transpose()?;
        Ok(Verdicts { oracle, host, kernel })
    }
}

impl Verdicts {
    /// What they do not agree on, in words.
    pub fn difference(&self) -> Option<String> {
        let Self { oracle, host, kernel } = self;
        if host != oracle {
            return Some(format!("the oracle says {oracle:?}, the host engine {host:?}"));
        }
        kernel.as_ref().filter(|kernel| *kernel != host).map(|kernel| format!("oracle and host engine say {host:?}, the kernel {kernel:?}"))
    }
}
