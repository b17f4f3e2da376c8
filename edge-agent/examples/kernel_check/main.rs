//! What the running kernel makes of the agent's programs: loads them in every combination of features, and runs tests. `./x kernels`
//! starts it as the first process of a virtual machine; anywhere else it needs root, and leaves nothing behind.
//!
//! Each finding is a line of JSON after [`MARK`], so that the kernel's own messages on the same console do no harm.

mod features;
mod guest;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use edge_agent::config::{Conduct, TableSizes};
use edge_agent::dataplane::error::Error;
use edge_agent::dataplane::interface_hash::InterfaceHash;
use edge_agent::dataplane::kernel::Kernel;
use edge_agent::dataplane::object::{Constants, Object, Sharing};
use edge_agent::dataplane::snapshot::Role;
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::Resolved;
use edge_ebpf::abi::INTERFACE_HASH;
use features::Combination;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Begins each line that is meant for the reader.
const MARK: &str = "kernel-check: ";

#[derive(Parser)]
struct Arguments {
    /// Not all combinations of features: each value with the first and with the last of all others.
    #[arg(long)]
    each: bool,
    /// Only the combinations in whose text this stands, such as `identity=2`.
    #[arg(long)]
    only: Option<String>,
    /// A test program of the agent's, all of whose tests are run.
    #[arg(long)]
    tests: Option<PathBuf>,
}

fn main() -> ExitCode {
    let guest = guest::is_first_process();
    let prepared = if guest { guest::prepare() } else { Ok(()) };
    let failed = prepared.and_then(|()| check(&Arguments::parse())).unwrap_or_else(|error| {
        tell(json!({"event": "error", "error": format!("{error:#}")}));
        1
    });
    tell(json!({"event": "end", "failed": failed}));
    if guest {
        guest::power_off();
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many things went wrong, each of which was told.
fn check(Arguments { each, only, tests }: &Arguments) -> Result<usize> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's release; is /proc mounted?")?;
    tell(json!({"event": "kernel", "release": release.trim(), "lacks": Kernel::probe()?.lacks()}));
    let mut combinations = if *each { features::each() } else { features::all() };
    if let Some(only) = only {
        combinations.retain(|combination| combination.to_string().contains(only));
    }
    let not_loaded = load_all(&combinations)?;
    let failed = tests.as_deref().map_or(Ok(0), tests::run)?;
    Ok(not_loaded + failed)
}

fn load_all(combinations: &[Combination]) -> Result<usize> {
    let resolved = Resolved {
        policies: vec![],
        signals: vec![],
        groups: vec![],
        destinations: vec![],
        schedules: vec![],
        signatures: vec![],
        rules: vec![],
    };
    let nothing = compile(&resolved, Timestamp::UNIX_EPOCH)?;
    let mut failed = 0;
    for combination in combinations {
        let loaded = load(combination, &nothing);
        let features = combination.to_string();
        tell(match loaded {
            Ok(Loaded { verified, took }) => {
                json!({"event": "load", "features": features, "verified": verified, "milliseconds": took.as_millis()})
            }
            Err(Error::NoRates { .. }) => json!({"event": "load", "features": features, "refused": "rate_limit"}),
            Err(error) => {
                failed += 1;
                json!({"event": "load", "features": features, "error": error.to_string()})
            }
        });
    }
    Ok(failed)
}

/// What the verifier's work came to.
struct Loaded {
    /// Instructions that it followed in the program of the inside interfaces; kernels before 5.16 do not say.
    verified: Option<u32>,
    took: Duration,
}

fn load(combination: &Combination, nothing: &Compiled) -> Result<Loaded, Error> {
    let mut compiled = nothing.clone();
    let mut conduct = Conduct::default();
    combination.apply(&mut compiled, &mut conduct);
    let interfaces = InterfaceHash { factor: 1, slots: [0; INTERFACE_HASH] };
    let constants =
        Constants { generation: 1, conduct, clock_source: 0, interfaces: &interfaces, rules: &[], tables: TableSizes::default() };
    let mut object = Object::create(&constants, &compiled, Sharing::Private)?;
    let started = Instant::now();
    object.load_programs()?;
    let took = started.elapsed();
    let info = object.program(Role::Inside)?.info();
    Ok(Loaded { verified: info.ok().and_then(|info| info.verified_instruction_count()), took })
}

fn tell(finding: Value) {
    println!("{MARK}{finding}");
}
