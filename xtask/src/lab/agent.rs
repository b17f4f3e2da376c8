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
    /// Names its files, so that two agents do not meet.
    pub name: &'static str,
    /// Where it serves metrics, within the gateway.
    pub metrics: &'static str,
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
        Self { name: "edge", metrics: METRICS, policies: policies.into(), inside, outside, more: String::new() }
    }

    /// The folder of its pins.
    pub fn pins(&self, lab: &Lab) -> PathBuf {
        lab.directory.bpf().join(self.name)
    }

    /// Writes `agent.yaml` and returns its path.
    fn write(&self, lab: &Lab) -> Result<PathBuf> {
        let Self { name, metrics, policies, inside, outside, more } = self;
        let (inside, outside) = (inside.join(", "), outside.join(", "));
        let (policies, socket, pins) = (policies.display(), lab.directory.path().join(format!("{name}.sock")), self.pins(lab));
        let state = lab.directory.path().join(format!("{name}-state"));
        let yaml = format!(
            "interfaces: {{inside: [{inside}], outside: [{outside}]}}\npolicies: {policies}\nmetrics: {{listen: {metrics}}}\n\
             control: {{socket: {}}}\nstate: {{pins: {}, directory: {}}}\n{more}",
            socket.display(),
            pins.display(),
            state.display()
        );
        lab.directory.write(&format!("{name}.yaml"), &yaml)
    }
}

/// A running agent. Dropped, the process is killed; what it pinned goes with the lab.
pub struct Agent<'lab> {
    place: Place<'lab>,
    process: Process,
}

/// Everything about an agent but its process.
struct Place<'lab> {
    lab: &'lab Lab,
    program: PathBuf,
    config: PathBuf,
    metrics: &'static str,
}

impl<'lab> Agent<'lab> {
    /// Starts it and waits until it enforces.
    pub fn start(lab: &'lab Lab, program: &Path, settings: &Settings) -> Result<Self> {
        let place = Place::new(lab, program, settings)?;
        let mut this = Self { process: place.spawn()?, place };
        this.wait_until_ready()?;
        Ok(this)
    }

    /// Runs `edge-agent run` where it is expected to give up, and returns what it said.
    pub fn refused(lab: &Lab, program: &Path, settings: &Settings) -> Result<String> {
        let place = Place::new(lab, program, settings)?;
        let status = place.spawn()?.wait(Duration::from_secs(20))?;
        if status.success() {
            bail!("the agent ended without an error");
        }
        place.log()
    }

    /// Starts it again after its end, with the configuration as it is now.
    pub fn restart(&mut self) -> Result<()> {
        self.process = self.place.spawn()?;
        self.wait_until_ready()
    }

    /// The process, to be ended or sent signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs another command of the agent against this one.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        self.place.command().args(arguments).output().with_context(|| format!("cannot start edge-agent {}", arguments.join(" ")))
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.place.get("/metrics")?)
    }

    /// What it has logged, over all restarts.
    pub fn log(&self) -> Result<String> {
        self.place.log()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let Self { place, process } = self;
        let ready = wait_until(Duration::from_secs(30), "the agent is ready", || {
            process.check()?;
            Ok(place.get("/readyz").is_ok())
        });
        ready.with_context(|| format!("the agent did not start; its log:\n{}", place.log().unwrap_or_default()))
    }
}

impl<'lab> Place<'lab> {
    fn new(lab: &'lab Lab, program: &Path, settings: &Settings) -> Result<Self> {
        Ok(Self { lab, program: program.to_owned(), config: settings.write(lab)?, metrics: settings.metrics })
    }

    fn command(&self) -> Command {
        let mut command = self.lab.gateway.command(&self.program);
        command.arg("--config").arg(&self.config);
        command
    }

    fn spawn(&self) -> Result<Process> {
        let path = self.config.with_extension("log");
        let log = File::options().append(true).create(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let errors = log.try_clone().context("cannot share the log")?;
        Process::start(self.command().arg("run").stdout(log).stderr(errors))
    }

    fn log(&self) -> Result<String> {
        let path = self.config.with_extension("log");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn get(&self, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.metrics);
        let mut curl = self.lab.gateway.command("curl");
        output(curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "5", &url]))
    }
}
