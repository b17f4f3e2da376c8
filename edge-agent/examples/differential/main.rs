//! Random policies and packets through the oracle, the host engine and the kernel program: verdict, rule, monitored rules, reason and
//! answer of every frame, and the counters they add up to. A difference is shrunk and printed as a case for the corpus.

#[path = "../../tests/engines/corpus_case/mod.rs"]
mod corpus_case;
mod describe;
mod frames;
mod identity;
mod judge;
mod names;
mod policies;
mod shrink;
mod talks;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use edge_agent::engine::trio::Disagreement;
use edge_ebpf::abi::Reason;
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
    /// Ask the oracle alone: it tells what the pairs are, and compares nothing.
    #[arg(long)]
    oracle_alone: bool,
}

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { pairs: Pairs { pairs, seed, packets, seconds, without_names, without_identity }, without_kernel, oracle_alone } =
        Arguments::parse();
    signal::handle()?;
    let asked = match (oracle_alone, without_kernel) {
        (true, _) => Kernel::NorHost,
        (false, true) => Kernel::Without,
        (false, false) => Kernel::InSum,
    };
    let start = Instant::now();
    let mut told = start;
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let out_of_time = || seconds.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds));
    while tally.pairs < pairs && !out_of_time() && !signal::is_interrupted() {
        let case = policies::random(&mut rng, !without_names, !without_identity);
        let frames = frames::arrivals(&mut rng, packets.min(pairs - tally.pairs));
        let prepared = Prepared::new(&case)?;
        if let Some((index, disagreement)) = prepared.disagreement(&frames, asked, |outcome| tally.count(outcome))? {
            println!("seed {seed}, policy set {}, frame {index}: {disagreement}", tally.sets);
            // Where the kernel is not needed to see it, it is seen sooner; where sums differ, it tells which frame it was.
            let by_frame = match disagreement {
                Disagreement::Oracle { .. } => Kernel::Without,
                _ => Kernel::ByFrame,
            };
            let last = match prepared.disagreement(&frames, by_frame, |_| {})? {
                Some((frame, disagreement)) => {
                    println!("by frame: {frame}: {disagreement}");
                    frame
                }
                None => index,
            };
            println!("shrunk, for edge-agent/tests/corpus/ once it is understood:\n");
            println!("{}", shrink::shrink(&case, &frames[..=last], if by_frame == Kernel::Without { by_frame } else { asked })?);
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
    let Tally { pairs, sets, passed, dropped, rejected, answered, by_rule, monitored, named, uninspectable } = tally;
    println!(
        "{pairs} pairs of {sets} policy sets, seed {seed}: no difference between {} in {:.0} s",
        match asked {
            Kernel::NorHost => "the oracle and itself",
            Kernel::Without => "oracle and host engine",
            Kernel::InSum | Kernel::ByFrame => "oracle, host engine and kernel",
        },
        start.elapsed().as_secs_f64()
    );
    println!(
        "{passed} passed, {dropped} dropped, {rejected} rejected ({answered} answered); {by_rule} decided by a rule, \
         {monitored} met a monitored one, {named} carried a name"
    );
    let reasons: Vec<String> = Reason::ALL.iter().zip(uninspectable).map(|(reason, count)| format!("{} {count}", reason.name())).collect();
    println!("uninspectable: {}", reasons.join(", "));
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
    named: u64,
    uninspectable: [u64; Reason::ALL.len()],
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
        self.named += u64::from(outcome.name.is_some());
        if let Some(reason) = outcome.reason {
            self.uninspectable[reason as usize] += 1;
        }
    }
}
