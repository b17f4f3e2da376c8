//! `xtask swaps`: policy sets that swap under traffic, as one of the agent's kernel tests does it, but longer and with the largest set.

use anyhow::{Result, bail};

use crate::build::cargo;
use crate::command::{is_root, run};
use crate::setup::{Purpose, setup};

/// Swap policy sets under traffic, and count that no frame is lost.
#[derive(clap::Args)]
pub struct Swaps {
    /// Swaps of each policy set; those of the largest one end after four minutes.
    #[arg(long, default_value_t = 1000)]
    count: u32,
}

impl Swaps {
    pub fn run(&self) -> Result<()> {
        if !is_root() {
            bail!("only root may load programs and make network namespaces: run it with sudo");
        }
        setup(Purpose::Test)?;
        let Self { count } = self;
        let mut command = cargo();
        command.args(["test", "--quiet", "--release", "--package=edge-agent", "--test=kernel", "--", "--nocapture", "--exact"]);
        command.arg("swaps::every_frame_is_decided_by_one_generation_while_policies_swap");
        command.env("EDGE_SWAPS", count.to_string());
        run(&mut command)
    }
}
