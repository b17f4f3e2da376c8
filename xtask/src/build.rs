//! `xtask build`: the agent, one file, with the kernel program in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::command::{output, run, workspace};
use crate::setup::{Purpose, setup};

/// Build the agent, with the kernel program in it.
#[derive(clap::Args)]
pub struct Build {
    /// With optimisation and without checks of arithmetic: for a gateway.
    #[arg(long)]
    release: bool,
}

impl Build {
    /// Sets up, builds the agent and prints its path.
    pub fn run(&self) -> Result<()> {
        let Self { release } = self;
        println!("{}", agent(if *release { Profile::Release } else { Profile::Dev })?.display());
        Ok(())
    }
}

/// Sets up, builds the agent and returns its path.
pub fn agent(profile: Profile) -> Result<PathBuf> {
    setup(Purpose::Build)?;
    run(cargo().args(["build", "--package=edge-agent"]).args(profile.arguments()))?;
    Ok(profile.agent(&target_dir()?))
}

/// Of cargo's profiles, those that the agent is built with by name.
#[derive(Clone, Copy)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }

    fn agent(self, target: &Path) -> PathBuf {
        let folder = match self {
            Self::Dev => "debug",
            Self::Release => "release",
        };
        target.join(folder).join("edge-agent")
    }
}

/// The cargo that runs us; it serves for the host's crates.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Where cargo puts the agent that the lab and the tests run.
pub fn agent_path() -> Result<PathBuf> {
    Ok(Profile::Dev.agent(&target_dir()?))
}

/// Where cargo puts everything.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata did not print JSON")?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo metadata names no target directory")
}

/// Builds one of the agent's targets with `command` (`build`, `test`) and returns the program.
pub fn program(command: &mut Command, name: &str) -> Result<PathBuf> {
    let messages = output(command.args(["--package=edge-agent", "--message-format=json-render-diagnostics"]).stderr(Stdio::inherit()))?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        if message["target"]["name"] != name {
            return None;
        }
        message["executable"].as_str().map(PathBuf::from)
    };
    messages.lines().find_map(executable).with_context(|| format!("cargo built no program {name}"))
}
