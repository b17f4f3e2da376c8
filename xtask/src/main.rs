//! `cargo xtask NAME`, or `./x NAME`.

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::setup::{self, Purpose};

#[derive(Parser)]
#[command(name = "x", about = "Set-up, build, lab, test: the project's own commands")]
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
}

fn main() -> Result<()> {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Setup { purpose } => setup::setup(purpose).map(drop),
    }
}
