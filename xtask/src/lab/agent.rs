//! The real agent, in the gateway.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Lab;
use super::metrics::Metrics;
use super::plan::gateway;
use super::process::{Process, wait_until};
use crate::command::output;

/// Where it serves metrics, within the gateway.
pub const METRICS: &str = "127.0.0.1:9650";

/// How the agent is configured where a test wants it otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the policies.
    pub policies: PathBuf,
    pub inside: Vec<String>,
    pub outside: Vec<String>,
    /// More of `agent.yaml`.
    pub more: String,
}

impl Settings {
    /// Native XDP on both of the gateway's interfaces.
    pub fn new(policies: impl Into<PathBuf>) -> Self {
        let [inside, outside] = [gateway::INSIDE, gateway::OUTSIDE].map(|name| vec![name.to_owned()]);
        Self { policies: policies.into(), inside, outside, more: String::new() }
    }

    /// The text of `agent.yaml`.
    pub fn yaml(&self, lab: &Lab) -> String {
        let Self { policies, inside, outside, more } = self;
        let directory = lab.directory.path().display();
        let (inside, outside) = (inside.join(", "), outside.join(", "));
        format!(
            "interfaces: {{inside: [{inside}], outside: [{outside}]}}\npolicies: {}\nmetrics: {{listen: {METRICS}}}\n\
             control: {{socket: {directory}/agent.sock}}\nstate: {{pins: {directory}/bpf/edge}}\n{more}",
            policies.display()
        )
    }
}

/// A running agent. Dropped, the process is killed; what it pinned goes with the lab.
pub struct Agent<'lab> {
    lab: &'lab Lab,
    program: PathBuf,
    config: PathBuf,
    process: Process,
}

impl<'lab> Agent<'lab> {
    /// Starts it and waits until it enforces.
    pub fn start(lab: &'lab Lab, program: &Path, settings: &Settings) -> Result<Self> {
        let config = lab.directory.write("agent.yaml", &settings.yaml(lab))?;
        let process = spawn(lab, program, &config)?;
        let mut this = Self { lab, program: program.to_owned(), config, process };
        this.wait_until_ready()?;
        Ok(this)
    }

    /// Runs `edge-agent run` where it is expected to give up, and returns what it said.
    pub fn refused(lab: &Lab, program: &Path, settings: &Settings) -> Result<String> {
        let config = lab.directory.write("agent.yaml", &settings.yaml(lab))?;
        let mut process = spawn(lab, program, &config)?;
        let status = process.wait(Duration::from_secs(20))?;
        if status.success() {
            bail!("the agent ended without an error");
        }
        log(lab)
    }

    /// Starts it again after its end, with the configuration as it is now.
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(self.lab, &self.program, &self.config)?;
        self.wait_until_ready()
    }

    /// The process, to be ended or sent signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs another command of the agent against this one.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = edge_agent(self.lab, &self.program, &self.config);
        command.args(arguments).output().with_context(|| format!("cannot start edge-agent {}", arguments.join(" ")))
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&get(self.lab, "/metrics")?)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let Self { lab, process, .. } = self;
        let ready = wait_until(Duration::from_secs(30), "the agent is ready", || {
            process.check()?;
            Ok(get(lab, "/readyz").is_ok())
        });
        ready.with_context(|| format!("the agent did not start; its log:\n{}", log(lab).unwrap_or_default()))
    }
}

fn edge_agent(lab: &Lab, program: &Path, config: &Path) -> Command {
    let mut command = lab.gateway.command(program);
    command.arg("--config").arg(config);
    command
}

/// Its log is appended to one file over all restarts.
fn spawn(lab: &Lab, program: &Path, config: &Path) -> Result<Process> {
    let path = lab.directory.path().join("agent.log");
    let log = File::options().append(true).create(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let errors = log.try_clone().context("cannot share the log")?;
    Process::start(edge_agent(lab, program, config).arg("run").stdout(log).stderr(errors))
}

fn log(lab: &Lab) -> Result<String> {
    let path = lab.directory.path().join("agent.log");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn get(lab: &Lab, path: &str) -> Result<String> {
    let mut curl = lab.gateway.command("curl");
    output(curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5", &format!("http://{METRICS}{path}")]))
}
