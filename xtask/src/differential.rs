//! `xtask differential`: random policies and packets through the three engines.

use anyhow::Result;

use crate::build::cargo;
use crate::command::{is_root, run};
use crate::setup::{Purpose, setup};

#[derive(clap::Args)]
pub struct Differential {
    /// Pairs of a policy set and a packet.
    #[arg(long, default_value_t = 200_000)]
    pairs: u64,
    /// The same seed gives the same pairs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Packets for each policy set.
    #[arg(long, default_value_t = 1000)]
    packets: u64,
    /// End after so many seconds, with what has been done till then.
    #[arg(long)]
    seconds: Option<u64>,
}

impl Differential {
    pub fn run(&self) -> Result<()> {
        let Self { pairs, seed, packets, seconds } = self;
        setup(Purpose::Build)?;
        let mut command = cargo();
        command.args(["run", "--quiet", "--profile=differential", "--package=edge-agent", "--example=differential", "--"]);
        command.arg(format!("--pairs={pairs}")).arg(format!("--seed={seed}")).arg(format!("--packets={packets}"));
        if let Some(seconds) = seconds {
            command.arg(format!("--seconds={seconds}"));
        }
        if !is_root() {
            println!("differential: not root: the kernel engine is left out; sudo ./x differential asks all three");
            command.arg("--without-kernel");
        }
        run(&mut command)
    }
}
