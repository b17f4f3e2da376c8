use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use edge_agent::server::control::{Request, ask};

/// Have the running agent read its configuration and policies anew
///
/// Exits with 1 and the problems if they cannot be loaded; what was in force still is.
#[derive(Args)]
pub struct Reload {
    /// One JSON object: `{"generation": …}` or `{"problems": …}`.
    #[arg(long)]
    json: bool,
    /// Take data files as they are, also those that lost more of their entries than `sources.max_shrink`.
    #[arg(long)]
    accept_shrink: bool,
}

impl Reload {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { json, accept_shrink } = self;
        let mut out = std::io::stdout().lock();
        match ask(&super::config_or_default(config).control_socket, Request::Reload { accept_shrink })? {
            Ok(generation) if json => writeln!(out, "{}", serde_json::json!({"generation": generation}))?,
            Ok(generation) => writeln!(out, "generation {generation} is in force")?,
            Err(problems) => {
                if json {
                    writeln!(out, "{}", serde_json::json!({"problems": problems}))?;
                } else {
                    eprintln!("{problems}\nnothing changed: what was in force still is");
                }
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
