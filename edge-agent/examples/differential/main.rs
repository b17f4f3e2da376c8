//! Random policies and packets through the oracle, the host engine and the kernel program: verdict, rule, monitored rules, reason and
//! answer of every frame, and the counters they add up to. A difference is shrunk and printed as a case for the corpus.

#[path = "../../tests/engines/corpus_case.rs"]
mod corpus_case;
mod describe;
mod frames;
mod judge;
mod policies;
mod shrink;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use xtask::differential::Pairs;
use xtask::lab::signal;

use judge::{Kernel, Prepared};

#[derive(Parser)]
#[command(about = "Compares the three engines on random policies and packets")]
struct Arguments {
    #[command(flatten)]
    pairs: Pairs,
    /// Leave the kernel out, which needs root.
    #[arg(long)]
    without_kernel: bool,
}

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { pairs: Pairs { pairs, seed, packets, seconds }, without_kernel } = Arguments::parse();
    signal::handle()?;
    let asked = if without_kernel { Kernel::Without } else { Kernel::InSum };
    let start = Instant::now();
    let mut told = start;
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let out_of_time = || seconds.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds));
    while tally.pairs < pairs && !out_of_time() && !signal::is_interrupted() {
        let case = policies::random(&mut rng);
        let frames = frames::arrivals(&mut rng, packets.min(pairs - tally.pairs));
        let prepared = Prepared::new(&case)?;
        if let Some((index, disagreement)) = prepared.disagreement(&frames, asked, |outcome| tally.count(outcome))? {
            println!("seed {seed}, policy set {}, frame {index}: {disagreement}", tally.sets);
            // Where sums differ, which frame it was.
            let by_frame = if without_kernel { Kernel::Without } else { Kernel::ByFrame };
            let last = match prepared.disagreement(&frames, by_frame, |_| {})? {
                Some((frame, disagreement)) => {
                    println!("by frame: {frame}: {disagreement}");
                    frame
                }
                None => index,
            };
            println!("shrunk, for edge-agent/tests/corpus/ once it is understood:\n");
            println!("{}", shrink::shrink(&case, &frames[..=last], asked)?);
            return Ok(ExitCode::FAILURE);
        }
        tally.sets += 1;
        tally.pairs += frames.len() as u64;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("differential: {} of {pairs} pairs, {} policy sets, {:.0} s", tally.pairs, tally.sets, start.elapsed().as_secs_f64());
        }
    }
    if tally.pairs < pairs {
        println!("ended before its time: {} of {pairs} pairs", tally.pairs);
    }
    let Tally { pairs, sets, passed, dropped, rejected, answered, by_rule, monitored, uninspectable } = tally;
    println!(
        "{pairs} pairs of {sets} policy sets, seed {seed}: no difference between {} in {:.0} s",
        if without_kernel { "oracle and host engine" } else { "oracle, host engine and kernel" },
        start.elapsed().as_secs_f64()
    );
    println!(
        "{passed} passed, {dropped} dropped, {rejected} rejected ({answered} answered); {by_rule} decided by a rule, \
         {monitored} met a monitored one, {uninspectable} uninspectable"
    );
    Ok(ExitCode::SUCCESS)
}

/// What the pairs were: a run in which nothing is dropped proves little.
#[derive(Default)]
struct Tally {
    pairs: u64,
    sets: u64,
    passed: u64,
    dropped: u64,
    rejected: u64,
    answered: u64,
    by_rule: u64,
    monitored: u64,
    uninspectable: u64,
}

impl Tally {
    fn count(&mut self, outcome: &edge_agent::engine::Outcome) {
        use edge_ebpf::abi::Verdict;
        match outcome.verdict {
            Verdict::Pass => self.passed += 1,
            Verdict::Drop => self.dropped += 1,
            Verdict::Reject => self.rejected += 1,
        }
        self.answered += u64::from(outcome.reply.is_some());
        self.by_rule += u64::from(outcome.rule.is_some());
        self.monitored += u64::from(!outcome.monitored.is_empty());
        self.uninspectable += u64::from(outcome.reason.is_some());
    }
}
