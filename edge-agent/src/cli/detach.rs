use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use edge_agent::dataplane::pins::{LinkName, Pins};
use edge_agent::server::control::{AskError, Request, ask};

/// Stop enforcing: detach from every interface and remove all pins, with all counts; a running agent ends
///
/// Pins of other versions are removed, too. The agent ends in good order: a service manager that restarts it only on failure leaves it
/// away.
#[derive(Args)]
pub struct Detach {
    /// One JSON object: `{"detached": [interfaces]}`.
    #[arg(long)]
    json: bool,
}

impl Detach {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { json } = self;
        let config = super::config_or_default(config);
        let links: Option<Vec<String>> = match ask(&config.control_socket, Request::Detach) {
            Ok(Ok(links)) => Some(serde_json::from_value(links)?),
            Ok(Err(message)) => bail!("the running agent could not detach: {message}"),
            Err(AskError::NoAgent { .. }) => Pins::at(&config.pins).remove()?,
            Err(error) => return Err(error.into()),
        };
        let detached: Vec<String> =
            links.iter().flatten().map(|link| LinkName::parse(link).map_or(link.clone(), |name| name.interface)).collect();
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::json!({"detached": detached}))?;
        } else if links.is_none() {
            writeln!(out, "nothing to detach: there are no pins at {}", config.pins.display())?;
        } else {
            writeln!(
                out,
                "detached from {}; nothing is enforced any more",
                if detached.is_empty() { "no interface".to_owned() } else { detached.join(", ") }
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
