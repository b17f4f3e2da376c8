//! `xtask bench`: what a packet costs. What measures is an example of the agent's package, built with optimisation; this provides what it
//! needs and starts it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::build::cargo;
use crate::command::{is_root, run};
use crate::setup::{Purpose, setup};

/// Measure what a packet costs, beside other filters.
#[derive(Args)]
pub struct Bench {
    /// Write the results there too, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer and shorter batches, in less than a minute.
    #[arg(long)]
    quick: bool,
    /// Only scenarios whose name begins so, and what they are compared with.
    #[arg(long, value_name = "SCENARIO")]
    only: Option<String>,
}

impl Bench {
    pub fn run(self) -> Result<()> {
        if !is_root() {
            bail!("only root may load programs and make network namespaces: run it with sudo");
        }
        setup(Purpose::Bench)?;
        let Self { json, quick, only } = self;
        let mut command = cargo();
        command.args(["run", "--quiet", "--release", "--package=edge-agent", "--example=bench", "--features=bench", "--"]);
        if let Some(json) = json {
            // The command is run in the workspace's root, and the file is meant from here.
            command.arg("--json").arg(std::path::absolute(json)?);
        }
        if quick {
            command.arg("--quick");
        }
        if let Some(only) = only {
            command.arg("--only").arg(only);
        }
        run(&mut command)
    }
}
