//! The command line: a file per command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use edge_agent::config::AgentConfig;

mod check;
mod detach;
mod devices;
mod engine_choice;
mod fingerprint;
mod learn;
mod reload;
mod replay;
mod run;
mod schema;
mod status;
mod test;

/// Keeps devices from destinations, in the kernel, by policies in YAML.
#[derive(Parser)]
#[command(name = "edge-agent", version)]
struct Arguments {
    /// The agent's configuration.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/edge/agent.yaml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

/// A command is its arguments, with `fn run(self, config: &Path) -> anyhow::Result<ExitCode>`.
#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    Detach(detach::Detach),
    Devices(devices::Devices),
    Fingerprint(fingerprint::Fingerprint),
    Learn(learn::Learn),
    Reload(reload::Reload),
    Replay(replay::Replay),
    Run(run::Run),
    Schema(schema::Schema),
    Status(status::Status),
    Test(test::Test),
}

impl Command {
    fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(command) => command.run(config),
            Self::Detach(command) => command.run(config),
            Self::Devices(command) => command.run(config),
            Self::Fingerprint(command) => command.run(config),
            Self::Learn(command) => command.run(config),
            Self::Reload(command) => command.run(config),
            Self::Replay(command) => command.run(config),
            Self::Run(command) => command.run(config),
            Self::Schema(command) => command.run(config),
            Self::Status(command) => command.run(config),
            Self::Test(command) => command.run(config),
        }
    }
}

/// For commands that must work with a broken configuration: they only need to know where the agent and its pins are.
fn config_or_default(path: &Path) -> AgentConfig {
    AgentConfig::read(path).unwrap_or_else(|problems| {
        eprintln!("{problems}edge-agent: going on with the default places of pins and control socket");
        AgentConfig::default()
    })
}

/// Runs the command that the arguments name. An error of the command itself is printed and gives 2; what it looked for and did not
/// find right (a policy with errors, a failed test) gives 1.
pub fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    command.run(&config).unwrap_or_else(|error| {
        // A reader that has seen enough (`| head`) is no failure.
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        eprintln!("edge-agent: {error:#}");
        ExitCode::from(2)
    })
}
