use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use edge_agent::config::keys::AGENT;
use edge_agent::policy::json_schema::json_schema;
use edge_agent::policy::keys::POLICY;

/// Print the JSON Schema of a kind of file, for editors that complete it
#[derive(Args)]
pub struct Schema {
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Files in the policy folder
    Policy,
    /// agent.yaml
    Agent,
}

impl Schema {
    pub fn run(self, _config: &Path) -> anyhow::Result<ExitCode> {
        let schema = match self.kind {
            Kind::Policy => json_schema("A policy of edge-agent", &POLICY),
            Kind::Agent => json_schema("Configuration of edge-agent (agent.yaml)", &AGENT),
        };
        writeln!(std::io::stdout(), "{schema:#}")?;
        Ok(ExitCode::SUCCESS)
    }
}
