//! The kernel program itself, asked through `BPF_PROG_TEST_RUN`: its own maps, attached to nothing, so that no traffic reaches it and no
//! counter that anybody watches moves. Needs root (or CAP_BPF and CAP_NET_ADMIN).

use aya::maps::{MapData, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions};
use edge_ebpf::abi::{CLOCK_STANDS, Clock, Counter, INTERFACE_HASH, Reason, Verdict};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

use super::counts::Counts;
use super::observe::{Observation, Observer};
use super::{Engine, EngineError, Outcome, SOME_TIME, nanoseconds};
use crate::config::{Conduct, TableSizes};
use crate::dataplane::error::Error;
use crate::dataplane::identity::know_hello;
use crate::dataplane::interface_hash::InterfaceHash;
use crate::dataplane::object::{CLOCK, Constants, INTERFACE_COUNTERS, Object, RULE_COUNTERS, Sharing, UNINSPECTABLE};
use crate::dataplane::pod::Value;
use crate::dataplane::snapshot::Role;
use crate::dataplane::tables;
use crate::identity::ja4::Ja4;
use crate::policy::compile::Compiled;
use crate::policy::compile::identity::CompiledIdentity;
use crate::policy::model::RuleId;

/// Bytes by which an answer may be longer than the frame: the headers that go before a short quote.
const ANSWER_GROWTH: usize = 256;

/// What an XDP program returns (`enum xdp_action`, linux/bpf.h).
mod action {
    pub const DROP: u32 = 1;
    pub const PASS: u32 = 2;
    pub const TX: u32 = 3;
}

/// Enough for packets that are tried out, and quick to make.
const SMALL: TableSizes = TableSizes { learned: 4096, flows: 4096, devices: 1024 };

/// A generation in the kernel, apart from all traffic.
pub struct KernelEngine {
    object: Object,
    /// By slot: the rule, and whether what is counted there is only monitored.
    slots: Vec<(RuleId, bool)>,
    before: Counts,
    /// `None`: no signal is about hellos that are known as hashes.
    hellos: Option<Hellos>,
}

/// Tells the program the hellos that are known as hashes: a frame later than the agent would, and so in time for the frame that ends one.
struct Hellos {
    identity: CompiledIdentity,
    observer: Observer,
}

/// What the program does with a frame; why, only the counters tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    Pass,
    /// Also a rejected frame that no answer is due for.
    Drop,
    Answer(Vec<u8>),
}

impl Act {
    /// What is to be done by an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        match (outcome.verdict, &outcome.reply) {
            (Verdict::Pass, _) => Self::Pass,
            (Verdict::Reject, Some(reply)) => Self::Answer(reply.clone()),
            (Verdict::Drop | Verdict::Reject, _) => Self::Drop,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KernelEngineError {
    #[error(transparent)]
    Dataplane(#[from] Error),
    #[error("the kernel refused to run a frame of {length} bytes through the program: {source}")]
    Run { length: usize, source: aya::programs::ProgramError },
    #[error("the program returned {returned}, which it never does: a defect, please report it")]
    Returned { returned: u32 },
    #[error("the program's act is {act:?} and it counted {counted:?}, which contradict each other: a defect, please report it")]
    Contradiction { act: Act, counted: Vec<Verdict> },
}

impl KernelEngine {
    /// Loads a generation.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn new(compiled: &Compiled, conduct: impl Into<Conduct>) -> Result<Self, KernelEngineError> {
        // Test frames come in on the loopback interface; every interface has slot 0.
        let interfaces = InterfaceHash { factor: 1, slots: [0; INTERFACE_HASH] };
        // A rule's slot is its own number here; those of what exceeds a rate follow.
        let slots: Vec<u32> = (0..).take(compiled.counters().count()).collect();
        let rules = tables::rule_entries(compiled, &slots);
        let constants = Constants {
            generation: 1,
            conduct: conduct.into(),
            clock_source: CLOCK_STANDS,
            interfaces: &interfaces,
            rules: &rules,
            tables: SMALL,
        };
        let mut object = Object::create(&constants, compiled, Sharing::Private)?;
        tables::fill(&mut object, compiled, &rules)?;
        object.load_programs()?;
        let numbered: Vec<_> = (0..).map(RuleId).zip(&compiled.rules).collect();
        let decides = numbered.iter().map(|(id, rule)| (*id, rule.monitored));
        let exceeded = numbered.iter().filter(|(_, rule)| rule.limit.is_some()).map(|(id, _)| (*id, false));
        let learned = numbered.iter().filter(|(_, rule)| rule.by_learned.is_some()).map(|(id, _)| (*id, true));
        let slots = decides.chain(exceeded).chain(learned).collect();
        let identity = compiled.identity.clone().filter(|identity| !identity.hashed.is_empty());
        let hellos = identity.map(|identity| Hellos { identity, observer: Observer::default() });
        let mut engine = Self { object, slots, before: Counts::default(), hellos };
        engine.stand_at(SOME_TIME)?;
        engine.before = engine.counts()?;
        Ok(engine)
    }

    /// The same, as if the agent had seen no hello before: one that policies know as a hash is not known until the program is told.
    #[must_use]
    pub fn without_hellos(self) -> Self {
        Self { hellos: None, ..self }
    }

    /// The generation itself, for what there is beside a frame's way.
    pub fn object(&mut self) -> &mut Object {
        &mut self.object
    }

    fn stand_at(&mut self, now: Timestamp) -> Result<(), KernelEngineError> {
        let clock = Clock { unix_offset: 0, standing: nanoseconds(now) };
        Ok(self.object.array(CLOCK)?.set(0, Value(clock), 0).map_err(Error::map("write", CLOCK))?)
    }

    /// Runs a frame through the program of that side's interfaces, and asks no more than what the program does with it.
    ///
    /// # Errors
    /// If the kernel does not take the frame (it wants an Ethernet header at least).
    pub fn act_on(&mut self, side: Side, frame: &[u8]) -> Result<Act, KernelEngineError> {
        let role = match side {
            Side::Inside => Role::Inside,
            Side::Outside => Role::Outside,
        };
        if side == Side::Inside {
            self.know_hellos(frame)?;
        }
        let mut output = vec![0; frame.len() + ANSWER_GROWTH];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut output);
        let result =
            self.object.program(role)?.test_run(options).map_err(|source| KernelEngineError::Run { length: frame.len(), source })?;
        output.truncate(result.data_size_out as usize);
        match result.return_value {
            action::PASS => Ok(Act::Pass),
            action::DROP => Ok(Act::Drop),
            action::TX => Ok(Act::Answer(output)),
            returned => Err(KernelEngineError::Returned { returned }),
        }
    }

    /// As if the agent had seen the frame's hello before.
    fn know_hellos(&mut self, frame: &[u8]) -> Result<(), KernelEngineError> {
        let Some(Hellos { identity: _, observer }) = &mut self.hellos else { return Ok(()) };
        for (_, observation) in observer.frame(frame) {
            if let Observation::ClientHello { ja4: Some(ja4), .. } = observation {
                self.know_hello(&ja4)?;
            }
        }
        Ok(())
    }

    /// As if the agent had seen such a hello before.
    ///
    /// # Errors
    /// If the kernel does not let its table be written.
    pub fn know_hello(&mut self, ja4: &Ja4) -> Result<(), KernelEngineError> {
        let Some(Hellos { identity, observer: _ }) = &self.hellos else { return Ok(()) };
        let signals = identity.hashed_signals(ja4);
        if !signals.is_empty() {
            let (key, wanted) = self.object.hello(ja4.key(), &signals)?;
            know_hello(&mut self.object, key, wanted)?;
        }
        Ok(())
    }

    /// What the program has counted so far.
    ///
    /// # Errors
    /// If the kernel does not let its counters be read.
    pub fn counts(&self) -> Result<Counts, KernelEngineError> {
        let Self { object, slots, before: _, hellos: _ } = self;
        Ok(Counts {
            rules: counters(object, RULE_COUNTERS, slots.len())?,
            verdicts: counters(object, INTERFACE_COUNTERS, Verdict::ALL.len())?,
            uninspectable: counters(object, UNINSPECTABLE, Reason::SLOTS)?,
        })
    }

    /// Sees from the counters why.
    fn explained(&mut self, act: Act) -> Result<Outcome, KernelEngineError> {
        let now = self.counts()?;
        let before = std::mem::replace(&mut self.before, now);
        let Counts { rules, verdicts, uninspectable } = &self.before;
        let counted: Vec<Verdict> = changed(&before.verdicts, verdicts).map(|index| Verdict::ALL[index]).collect();
        let (verdict, reply) = match (act, counted.as_slice()) {
            (Act::Pass, [Verdict::Pass]) => (Verdict::Pass, None),
            (Act::Drop, [verdict @ (Verdict::Drop | Verdict::Reject)]) => (*verdict, None),
            (Act::Answer(answer), [Verdict::Reject]) => (Verdict::Reject, Some(answer)),
            (act, _) => return Err(KernelEngineError::Contradiction { act, counted }),
        };
        let slot = changed(&before.uninspectable, uninspectable).next();
        let reason = Reason::ALL.into_iter().find(|reason| Some(reason.slot(verdict)) == slot);
        let (monitored, deciding): (Vec<_>, Vec<_>) =
            changed(&before.rules, rules).map(|slot| self.slots[slot]).partition(|(_, only)| *only);
        let mut monitored: Vec<RuleId> = monitored.into_iter().map(|(rule, _)| rule).collect();
        monitored.sort_unstable();
        Ok(Outcome { verdict, rule: deciding.first().map(|(rule, _)| *rule), monitored, reason, reply, name: None })
    }
}

impl Engine for KernelEngine {
    fn set_time(&mut self, now: Timestamp) -> Result<(), EngineError> {
        Ok(self.stand_at(now)?)
    }

    fn answer(&mut self, frame: &[u8]) -> Result<(), EngineError> {
        if !self.object.reads_answers() {
            return Ok(());
        }
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let run = |source| KernelEngineError::Run { length: frame.len(), source };
        self.object.answers().map_err(KernelEngineError::from)?.test_run(options).map_err(run)?;
        Ok(())
    }

    fn run_on(&mut self, side: Side, frame: &[u8]) -> Result<Outcome, EngineError> {
        let act = self.act_on(side, frame)?;
        Ok(self.explained(act)?)
    }
}

/// The first `count` counters of `map`, summed over the CPUs.
fn counters(object: &Object, map: &'static str, count: usize) -> Result<Vec<Counter>, Error> {
    let counters: PerCpuArray<&MapData, Value<Counter>> = object.per_cpu(map)?;
    (0..)
        .take(count)
        .map(|index| {
            let values = counters.get(&index, 0).map_err(Error::map("read", map))?;
            Ok(values.iter().fold(Counter::default(), |sum, Value(Counter { packets, bytes })| Counter {
                packets: sum.packets + packets,
                bytes: sum.bytes + bytes,
            }))
        })
        .collect()
}

/// The places that differ.
fn changed<'a>(before: &'a [Counter], now: &'a [Counter]) -> impl Iterator<Item = usize> + 'a {
    before.iter().zip(now).enumerate().filter(|(_, (before, now))| before != now).map(|(index, _)| index)
}
