//! `cargo xtask NAME`, or `./x NAME`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::setup::{self, Purpose};
use xtask::{bench, build, conformance, differential, kernels, lint, run, swaps, test};

#[derive(Parser)]
#[command(name = "x", bin_name = "./x", about = "Set-up, build, lab, test: the project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find, or install, what the other commands need.
    Setup {
        /// What to prepare for.
        #[arg(long = "for", value_enum, default_value = "build")]
        purpose: Purpose,
    },
    /// Build the agent, with the kernel program in it.
    Build(build::Build),
    /// Run the agent with the shipped policies: on interfaces, or in a lab of network namespaces.
    Run(run::Run),
    /// Boot Debian's kernels in an emulator, load every program on them, and run the engines' tests there.
    Kernels(kernels::Kernels),
    /// Check formatting and lints.
    Lint,
    /// Ask the three engines about random policies and packets.
    Differential(differential::Differential),
    /// Compare what the agent sees in captures with what another tool sees in them.
    Conformance(conformance::Conformance),
    /// Measure what a packet costs, beside other filters.
    Bench(bench::Bench),
    Swaps(swaps::Swaps),
    /// Run every test; as root also those that load programs and build networks.
    Test,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command.run() {
        Ok(()) => ExitCode::SUCCESS,
        // The chain of causes in one line; a backtrace of ours would hide it.
        Err(error) => {
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn run(self) -> Result<()> {
        match self {
            Command::Setup { purpose } => setup::setup(purpose).map(drop),
            Command::Build(command) => command.run(),
            Command::Run(command) => command.run(),
            Command::Differential(command) => command.run(),
            Command::Kernels(command) => command.run(),
            Command::Conformance(command) => command.run(),
            Command::Lint => lint::lint(),
            Command::Bench(command) => command.run(),
            Command::Swaps(command) => command.run(),
            Command::Test => test::test(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_are_those_of_their_commands() {
        Arguments::command().debug_assert();
        let parses = |line: &str| Arguments::try_parse_from(std::iter::once("x").chain(line.split(' '))).is_ok();
        for right in ["build", "build --release", "swaps", "swaps --swaps 1000", "swaps --seconds 60", "differential --pairs 5 --seconds 1"]
        {
            assert!(parses(right), "{right}");
        }
        for wrong in
            ["build --debug", "build release", "test --release", "swaps --swaps 0", "swaps --swaps few", "differential --packets 0"]
        {
            assert!(!parses(wrong), "{wrong}");
        }
    }
}
