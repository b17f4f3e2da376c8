use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use edge_agent::identity::learn::{Learned, LearnedFact};
use edge_agent::server::control::{Request, ask};

/// Print a policy that catches this device, and no other that is known
///
/// It only monitors, until somebody has looked at it. Exits with 1 if the device is not known.
#[derive(Args)]
pub struct Learn {
    /// The device's MAC.
    #[arg(value_name = "DEVICE")]
    mac: String,
    /// One JSON object, with how many other devices share each fact.
    #[arg(long)]
    json: bool,
}

impl Learn {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { mac, json } = self;
        let device = super::devices::mac(&mac)?;
        let learned: Option<Learned> = match ask(&super::config_or_default(config).control_socket, Request::Learn { mac: device.0 })? {
            Ok(learned) => serde_json::from_value(learned)?,
            Err(message) => bail!("the running agent cannot tell: {message}"),
        };
        let Some(learned) = learned else {
            eprintln!("edge-agent: {mac} has shown nothing yet");
            return Ok(ExitCode::FAILURE);
        };
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::to_string(&learned)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        write!(out, "{}", learned.policy)?;
        for LearnedFact { kind, value, shared_by, chosen } in learned.facts.iter().filter(|fact| !fact.chosen || fact.shared_by > 0) {
            let left_out = if *chosen { "" } else { ", left out" };
            writeln!(out, "# {kind} {value}: also shown by {shared_by} of {} others{left_out}", learned.others)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
