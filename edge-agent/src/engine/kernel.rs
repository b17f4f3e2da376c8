//! The kernel program itself, asked through `BPF_PROG_TEST_RUN`: its own maps, attached to nothing, so that no traffic reaches it and no
//! counter that anybody watches moves. Needs root (or CAP_BPF and CAP_NET_ADMIN).

use aya::maps::{MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions};
use edge_ebpf::abi::{CLOCK_STANDS, Clock, Counter, INTERFACE_HASH, OnUninspectable, Reason, Verdict};
use edge_ebpf::engine::Side;

use super::{Outcome, SOME_TIME};
use crate::dataplane::error::Error;
use crate::dataplane::interface_hash::InterfaceHash;
use crate::dataplane::object::{CLOCK, Constants, INTERFACE_COUNTERS, Object, REASONS, RULE_COUNTERS, Sharing, UNINSPECTABLE};
use crate::dataplane::pod::Value;
use crate::dataplane::snapshot::Role;
use crate::dataplane::tables;
use crate::policy::compile::Compiled;
use crate::policy::model::RuleId;

/// Bytes by which an answer may be longer than the frame: the headers that go before a short quote.
const ANSWER_GROWTH: usize = 256;

/// What an XDP program returns (`enum xdp_action`, linux/bpf.h).
mod action {
    pub const DROP: u32 = 1;
    pub const PASS: u32 = 2;
    pub const TX: u32 = 3;
}

/// A generation in the kernel, apart from all traffic.
pub struct KernelEngine {
    object: Object,
    rule_of_slot: Vec<RuleId>,
    /// By [`RuleId`]: whether the rule only monitors.
    monitored: Vec<bool>,
    before: Counts,
}

/// The packets that the program has counted.
#[derive(Default)]
struct Counts {
    /// By counter slot.
    rules: Vec<u64>,
    /// By [`Verdict`].
    verdicts: Vec<u64>,
    /// By [`Reason::slot`].
    uninspectable: Vec<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum KernelEngineError {
    #[error(transparent)]
    Dataplane(#[from] Error),
    #[error("the kernel refused to run a frame of {length} bytes through the program: {source}")]
    Run { length: usize, source: aya::programs::ProgramError },
    #[error("the program returned {returned} and counted {counted:?}, which contradict each other: a defect, please report it")]
    Contradiction { returned: u32, counted: Vec<Verdict> },
}

impl KernelEngine {
    /// Loads a generation. `on_uninspectable` by `Reason as usize`.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn new(compiled: &Compiled, on_uninspectable: [OnUninspectable; Reason::ALL.len()]) -> Result<Self, KernelEngineError> {
        let mut verdicts = [OnUninspectable::Drop as u8; REASONS];
        for (place, verdict) in verdicts.iter_mut().zip(on_uninspectable) {
            *place = verdict as u8;
        }
        // Test frames come in on the loopback interface; every interface has slot 0.
        let interfaces = InterfaceHash { factor: 1, slots: [0; INTERFACE_HASH] };
        let constants = Constants { generation: 1, on_uninspectable: verdicts, clock_source: CLOCK_STANDS, interfaces: &interfaces };
        let mut object = Object::create(&constants, compiled, Sharing::Private)?;
        // A rule's slot is its own number here; those of what exceeds a rate follow.
        let slots: Vec<u32> = (0..).take(compiled.counters().count()).collect();
        tables::fill(&mut object, compiled, &slots)?;
        object.load_programs()?;
        let numbered: Vec<_> = (0..).zip(&compiled.rules).collect();
        let limited = numbered.iter().filter(|(_, rule)| rule.limit.is_some());
        let rule_of_slot = numbered.iter().chain(limited).map(|(number, _)| RuleId(*number)).collect();
        let monitored = compiled.rules.iter().map(|rule| rule.monitored).collect();
        let mut engine = Self { object, rule_of_slot, monitored, before: Counts::default() };
        engine.set_time(SOME_TIME)?;
        engine.before = engine.counts()?;
        Ok(engine)
    }

    /// Sets the program's time, in seconds of the Unix epoch.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_time(&mut self, now: i64) -> Result<(), Error> {
        let clock = Clock { unix_offset: 0, standing: now.max(0).unsigned_abs() * 1_000_000_000 };
        self.object.array(CLOCK)?.set(0, Value(clock), 0).map_err(Error::map("write", CLOCK))
    }

    /// Runs a frame through the program of the inside interfaces, see [`Self::run_on`].
    ///
    /// # Errors
    /// As there.
    pub fn run(&mut self, frame: &[u8]) -> Result<Outcome, KernelEngineError> {
        self.run_on(Side::Inside, frame)
    }

    /// Runs a frame through the program of that side's interfaces.
    ///
    /// # Errors
    /// If the kernel does not take the frame (it wants an Ethernet header at least), or the program contradicts itself.
    pub fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, KernelEngineError> {
        let role = match side {
            Side::Inside => Role::Inside,
            Side::Outside => Role::Outside,
        };
        let mut output = vec![0; frame.len() + ANSWER_GROWTH];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut output);
        let result =
            self.object.program(role)?.test_run(options).map_err(|source| KernelEngineError::Run { length: frame.len(), source })?;
        let now = self.counts()?;
        let before = std::mem::replace(&mut self.before, now);
        let Counts { rules, verdicts, uninspectable } = &self.before;
        let counted: Vec<Verdict> = changed(&before.verdicts, verdicts).map(|index| Verdict::ALL[index]).collect();
        let (verdict, answered) = match (result.return_value, counted.as_slice()) {
            (action::PASS, [Verdict::Pass]) => (Verdict::Pass, false),
            (action::DROP, [verdict @ (Verdict::Drop | Verdict::Reject)]) => (*verdict, false),
            (action::TX, [Verdict::Reject]) => (Verdict::Reject, true),
            (returned, _) => return Err(KernelEngineError::Contradiction { returned, counted }),
        };
        let slot = changed(&before.uninspectable, uninspectable).next();
        let reason = Reason::ALL.into_iter().find(|reason| Some(reason.slot(verdict)) == slot);
        let (monitored, deciding): (Vec<RuleId>, Vec<RuleId>) =
            changed(&before.rules, rules).map(|slot| self.rule_of_slot[slot]).partition(|rule| self.monitored[rule.index()]);
        output.truncate(result.data_size_out as usize);
        Ok(Outcome { verdict, rule: deciding.first().copied(), monitored, reason, reply: answered.then_some(output) })
    }

    fn counts(&self) -> Result<Counts, Error> {
        let Self { object, rule_of_slot, monitored: _, before: _ } = self;
        Ok(Counts {
            rules: packets(object, RULE_COUNTERS, rule_of_slot.len())?,
            verdicts: packets(object, INTERFACE_COUNTERS, Verdict::ALL.len())?,
            uninspectable: packets(object, UNINSPECTABLE, Reason::SLOTS)?,
        })
    }
}

/// The first `count` counters of `map`, summed over the CPUs.
fn packets(object: &Object, map: &'static str, count: usize) -> Result<Vec<u64>, Error> {
    let counters: PerCpuArray<&MapData, Value<Counter>> = object.per_cpu(map)?;
    (0..)
        .take(count)
        .map(|index| {
            let values = counters.get(&index, 0).map_err(Error::map("read", map))?;
            Ok(values.iter().map(|Value(counter)| counter.packets).sum())
        })
        .collect()
}

/// The places that differ.
fn changed<'a>(before: &'a [u64], now: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
    before.iter().zip(now).enumerate().filter(|(_, (before, now))| before != now).map(|(index, _)| index)
}
