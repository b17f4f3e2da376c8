use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use edge_agent::agent;
use edge_agent::config::AgentConfig;
use edge_agent::telemetry::log;

/// Put the policies in force and keep them so, until a signal ends the agent (not the enforcement)
#[derive(Args)]
pub struct Run {}

impl Run {
    pub fn run(self, config_file: &Path) -> anyhow::Result<ExitCode> {
        // Files are told apart by their paths when they change, which must not hang on where the agent was started.
        let config_file = std::path::absolute(config_file).context("cannot tell the current directory")?;
        let config = match AgentConfig::read(&config_file) {
            Ok(config) => config,
            Err(problems) => {
                eprint!("{problems}");
                return Ok(ExitCode::FAILURE);
            }
        };
        log::init(config.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
        runtime.block_on(agent::run(config_file, config))?;
        Ok(ExitCode::SUCCESS)
    }
}
