//! One policy set in all engines.

use anyhow::Context;
use edge_agent::engine::kernel::KernelEngine;
use edge_agent::engine::oracle::Oracle;
use edge_agent::engine::trio::{Disagreement, Trio};
use edge_agent::engine::{Engine, Outcome};
use edge_agent::policy::compile::{Compiled, compile};
use jiff::Timestamp;

use crate::frames::{Arrival, Way};
use crate::policies::{Case, START};

/// A policy set and its tables, which the engines borrow.
pub struct Prepared<'a> {
    case: &'a Case,
    compiled: Compiled,
}

/// How the kernel is asked, if it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    Without,
    /// Nor the host engine: the oracle alone, to see what the pairs are.
    NorHost,
    /// What it does with each frame, and its counters once.
    InSum,
    /// Its counters after each frame, too.
    ByFrame,
}

impl<'a> Prepared<'a> {
    pub fn new(case: &'a Case) -> anyhow::Result<Self> {
        Ok(Self { case, compiled: compile(&case.policies, Timestamp::from_second(START)?).context("compile a random policy set")? })
    }

    /// Runs all frames, each after the time that it has; `each` sees what the engines agree on. The first disagreement ends it: the place
    /// of its frame, or that of the last one where only the sums of the counters are wrong.
    pub fn disagreement(
        &self,
        frames: &[Arrival],
        asked: Kernel,
        mut each: impl FnMut(&Outcome),
    ) -> anyhow::Result<Option<(usize, Disagreement)>> {
        let Self { case: Case { policies, conduct }, compiled } = self;
        if asked == Kernel::NorHost {
            let mut oracle = Oracle::new(policies, *conduct);
            for Arrival { way, at, frame } in frames {
                oracle.set_time(Timestamp::from_second(*at)?)?;
                match way {
                    Way::In(side) => each(&oracle.run_on(*side, frame)?),
                    Way::TowardsDevice => oracle.answer(frame)?,
                }
            }
            return Ok(None);
        }
        let kernel = match asked {
            Kernel::Without | Kernel::NorHost => None,
            Kernel::InSum | Kernel::ByFrame => Some(KernelEngine::new(compiled, *conduct).context("load into the kernel")?),
        };
        let mut trio = Trio::new(policies, compiled, *conduct, kernel)?;
        let mut now = None;
        for (index, Arrival { way, at, frame }) in frames.iter().enumerate() {
            if now != Some(*at) {
                trio.set_time(Timestamp::from_second(*at)?)?;
                now = Some(*at);
            }
            let Way::In(side) = way else {
                trio.answer(frame)?;
                continue;
            };
            let asked_so = if asked == Kernel::ByFrame { trio.run_on(*side, frame) } else { trio.act_on(*side, frame) };
            match asked_so.with_context(|| format!("run frame {index}"))? {
                Ok(outcome) => each(&outcome),
                Err(disagreement) => return Ok(Some((index, disagreement))),
            }
        }
        if asked == Kernel::InSum
            && let Err(disagreement) = trio.counters()?
        {
            return Ok(Some((frames.len().saturating_sub(1), disagreement)));
        }
        Ok(None)
    }
}
