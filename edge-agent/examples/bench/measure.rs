//! Batches of runs in the kernel, interleaved between all subjects, so that what disturbs one disturbs its floor as well.

use std::any::Any;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use aya::TestRunResult;
use aya::programs::{ProgramInfo, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya_obj::generated::bpf_prog_type;
use aya_obj::programs::XdpAttachType;

/// Says whether a program's return value is right for the frame as it left it.
pub type Expect = Box<dyn Fn(&[u8], u32) -> bool>;

/// Of the kinds that frames are given to.
enum Program {
    Xdp(Xdp),
    Tc(SchedClassifier),
}

impl Program {
    fn run(&self, name: &str, options: TestRunOptions<'_>) -> Result<TestRunResult> {
        let result = match self {
            Self::Xdp(program) => program.test_run(options),
            Self::Tc(program) => program.test_run(options),
        };
        result.with_context(|| format!("{name}: the test run failed"))
    }
}

/// A loaded program, the frame it is run on, and what must come out.
pub struct Subject {
    pub name: &'static str,
    program: Program,
    /// As the last run left it: a generator goes on from there.
    frame: Vec<u8>,
    out: Vec<u8>,
    expect: Expect,
    /// Maps that the program needs, and that go with their owner.
    _keep: Vec<Box<dyn Any>>,
}

impl Subject {
    pub fn new(name: &'static str, program: ProgramInfo, frame: Vec<u8>, expect: Expect, keep: Vec<Box<dyn Any>>) -> Result<Self> {
        let program = match program.program_type() {
            bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS => Program::Tc(SchedClassifier::from_program_info(program, name.into())?),
            _ => Program::Xdp(Xdp::from_program_info(program, name.into(), XdpAttachType::Interface)?),
        };
        Ok(Self { name, program, out: vec![0; frame.len()], frame, expect, _keep: keep })
    }

    /// What comes before the frame: the program meets these once.
    pub fn after(self, frames: &[Vec<u8>]) -> Result<Self> {
        for frame in frames {
            self.program.run(self.name, TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() })?;
        }
        Ok(self)
    }

    /// Runs the program `repeat` times and returns the CPU time that took.
    fn batch(&mut self, repeat: u32) -> Result<Duration> {
        let Self { name, program, frame, out, expect, _keep } = self;
        let start = cpu_time();
        let options = TestRunOptions { data_in: Some(frame), data_out: Some(out), repeat, ..TestRunOptions::new() };
        let result = program.run(name, options)?;
        let time = cpu_time().saturating_sub(start);
        if !expect(out, result.return_value) {
            bail!("{name}: the program returned {}, which is wrong for {out:02x?}", result.return_value);
        }
        std::mem::swap(frame, out);
        Ok(time)
    }
}

/// How long a batch is to take, and how many there are.
#[derive(Clone, Copy)]
pub struct Effort {
    pub batch: Duration,
    pub rounds: usize,
}

/// What the batches of one subject took: ns per run.
pub struct Samples {
    /// Runs in a batch of odd number; the even ones have twice as many.
    pub repeat: u32,
    pub single: Vec<f64>,
    pub double: Vec<f64>,
}

impl Samples {
    pub fn minimum(&self) -> f64 {
        minimum(&self.single).min(minimum(&self.double))
    }

    /// Time per run in a batch of 2N over that in one of N: 1, or something besides the program was measured.
    pub fn proportion(&self) -> f64 {
        minimum(&self.double) / minimum(&self.single)
    }

    /// Median of the differences to the floor's batch in the same round.
    pub fn median_above(&self, floor: &Self) -> f64 {
        let pairs = |ours: &[f64], theirs: &[f64]| -> Vec<f64> { ours.iter().zip(theirs).map(|(ours, floor)| ours - floor).collect() };
        median([pairs(&self.single, &floor.single), pairs(&self.double, &floor.double)].concat())
    }
}

/// Checks some frames one by one, then measures all subjects in turn.
pub fn measure(subjects: &mut [Subject], effort: Effort) -> Result<Vec<Samples>> {
    const CHECKED: usize = 1000;
    let mut samples = Vec::new();
    for subject in subjects.iter_mut() {
        for _ in 0..CHECKED {
            subject.batch(1)?;
        }
        const PROBE: u32 = 10_000;
        subject.batch(PROBE)?;
        let once = subject.batch(PROBE)?.as_secs_f64() / f64::from(PROBE);
        let repeat = (effort.batch.as_secs_f64() / once).max(1000.0) as u32;
        samples.push(Samples { repeat, single: Vec::new(), double: Vec::new() });
    }
    for round in 0..effort.rounds {
        for (subject, Samples { repeat, single, double }) in subjects.iter_mut().zip(&mut samples) {
            // Another subject had the caches: half a batch brings them back.
            subject.batch(*repeat / 2)?;
            let (repeat, into) = if round % 2 == 0 { (*repeat, single) } else { (*repeat * 2, double) };
            into.push(subject.batch(repeat)?.as_secs_f64() * 1e9 / f64::from(repeat));
        }
    }
    Ok(samples)
}

pub fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

/// Of this thread, so that what other processes take is not ours.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time into `time`; the clock exists on every kernel that has BPF.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Keeps this thread, and those it starts, where it is now.
pub fn pin_to_a_cpu() -> Result<()> {
    // SAFETY: asks for a number.
    let cpu = usize::try_from(unsafe { libc::sched_getcpu() })?;
    // SAFETY: an empty set, in which one CPU is marked, for the calling thread.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}
