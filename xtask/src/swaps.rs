//! `xtask swaps`: policy sets that swap under traffic, as one of the agent's kernel tests does it, but longer and with the largest set.

use anyhow::{Result, bail};

use crate::build::cargo;
use crate::command::{is_root, run};
use crate::setup::{Purpose, setup};

/// Swap policy sets under traffic, and count that no frame is lost
///
/// Two sets of 1,024 rules replace each other, one that drops all that is sent and one that passes it, while frames come in at full speed.
/// Each frame must be counted by a rule of exactly one of the two, and each that is passed must arrive. First with 200 destinations of 200
/// prefixes, then with every country as a destination of its own, if Debian's package tor-geoipdb is installed.
#[derive(clap::Args)]
pub struct Swaps {
    /// Swaps of each of the two
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    swaps: u32,
    /// End each after so many seconds, with the swaps made till then
    #[arg(long)]
    seconds: Option<u64>,
}

impl Swaps {
    pub fn run(&self) -> Result<()> {
        if !is_root() {
            bail!("only root may load programs and make network namespaces: run it with sudo");
        }
        setup(Purpose::Test)?;
        let Self { swaps, seconds } = self;
        let mut command = cargo();
        command.args(["test", "--quiet", "--release", "--package=edge-agent", "--test=kernel", "--", "--nocapture", "--exact"]);
        command.arg("swaps::every_frame_is_decided_by_one_generation_while_policies_swap");
        command.env("EDGE_SWAPS", swaps.to_string());
        if let Some(seconds) = seconds {
            command.env("EDGE_SWAPS_SECONDS", seconds.to_string());
        }
        run(&mut command)
    }
}
