//! Puts policies in force: the configured ones, or again those in force where an interface has come back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Agent;
use super::build::{BuildError, Built, build};
use super::settings::settings;
use super::state::lock;
use super::status::{SourceStatus, Stage};
use crate::config::AgentConfig;
use crate::dataplane::error::Error;
use crate::dataplane::interfaces::Interface;
use crate::dataplane::{Dataplane, Swapped};
use crate::identity::devices::Policies;
use crate::sources::guard::Shrink;
use crate::telemetry::events::Names;
use crate::telemetry::log::follow;

/// How long what the kernel refused is left alone if nothing changes on the interfaces.
const RETRY: Duration = Duration::from_secs(30);

/// An attempt that the kernel refused.
pub struct Attempt {
    /// As they were when it was made; none if they could not be asked for.
    interfaces: Vec<Interface>,
    at: Instant,
}

impl Attempt {
    fn now(interfaces: Vec<Interface>) -> Self {
        Self { interfaces, at: Instant::now() }
    }

    /// Whether another one may end otherwise.
    fn is_due(&self, interfaces: &[Interface]) -> bool {
        let Self { interfaces: then, at } = self;
        then != interfaces || at.elapsed() >= RETRY
    }
}

impl Agent {
    /// Reads everything anew and puts it in force. Returns the generation's number.
    ///
    /// # Errors
    /// The problems as text: they are logged and in the status, and what was in force still is.
    pub(super) async fn load(&mut self, why: &str) -> Result<u32, String> {
        self.load_with(why, Shrink::Hold).await
    }

    /// The same, with a word on data files that lost too much.
    pub(super) async fn load_with(&mut self, why: &str, shrink: Shrink) -> Result<u32, String> {
        let result = self.try_load(shrink).await;
        self.refused_load = match &result {
            Err(BuildError { stage: Stage::Swap, .. }) => Some(Attempt::now(self.interfaces.all().await.unwrap_or_default())),
            _ => None,
        };
        match result {
            Ok(Swapped { generation, missing, attached }) => {
                tracing::info!(generation, why, ?attached, ?missing, "policies in force");
                Ok(generation)
            }
            Err(BuildError { stage, problems }) => {
                tracing::error!(why, stage = stage.name(), "policies not loaded, nothing changed:\n{problems}");
                self.state.failed(stage, problems.clone());
                Err(problems)
            }
        }
    }

    async fn try_load(&mut self, shrink: Shrink) -> Result<Swapped, BuildError> {
        self.daily_load.attempt();
        // Taken even if the attempt fails, so that the next one is made when they change again and not every second.
        self.own_addresses = self.interfaces.own_addresses().await.map_err(swap_error)?;
        let config =
            AgentConfig::read(&self.config_file).map_err(|problems| BuildError { stage: Stage::Load, problems: problems.to_string() })?;
        let config = self.keep_fixed_settings(config);
        self.sources.configure(&config.sources, config.source_limits.max_shrink, shrink);
        let (watched, built) = {
            let Self { config_file, sources, own_addresses, devices, .. } = self;
            tokio::task::block_in_place(|| build(config_file, &config, sources, own_addresses, devices))
        };
        if let Some(files) = &mut self.files {
            files.watch(watched);
        }
        let Built { mut compiled, groups, inventory, told } = built?;

        let settings = settings(&config);
        let interfaces = self.interfaces.all().await.map_err(swap_error)?;
        let swapped = tokio::task::block_in_place(|| {
            let (evaluator, shown) = self.devices.prepare(&mut compiled);
            // Under one lock: the numbers of signals are others from one set to the next.
            let mut dataplane = lock(&self.dataplane);
            let swapped = dataplane.swap_knowing(&compiled, &settings, &interfaces, &shown)?;
            self.devices.in_force(Policies { groups, evaluator }, inventory, config.tables.devices, &config.identity);
            Ok(swapped)
        })
        .map_err(swap_error)?;
        for warning in &told.warnings {
            tracing::warn!("{warning}");
        }
        warn_of(&told.sources);
        self.state.loaded(told);
        self.config = config;
        self.in_force = Some(compiled);
        tokio::task::block_in_place(|| self.sources.note_used());
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "in force, but not looked at yet");
        }
        Ok(swapped)
    }

    /// What is opened once stays as it is until a restart.
    fn keep_fixed_settings(&self, new: AgentConfig) -> AgentConfig {
        let AgentConfig { pins, state_directory, metrics_listen, control_socket, log, .. } = &self.config;
        let fixed = [
            ("state.pins", *pins != new.pins),
            ("state.directory", *state_directory != new.state_directory),
            ("metrics.listen", *metrics_listen != new.metrics_listen),
            ("control.socket", *control_socket != new.control_socket),
            ("log", *log != new.log),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "changed in agent.yaml: takes effect when the agent is started again");
        }
        let (pins, state_directory, control_socket) = (pins.clone(), state_directory.clone(), control_socket.clone());
        AgentConfig { pins, state_directory, metrics_listen: *metrics_listen, control_socket, log: *log, ..new }
    }

    /// Looks how the programs hang on the interfaces, and tries again what the kernel refused and may take now.
    pub(super) async fn look_after_interfaces(&mut self) -> Result<(), Error> {
        let interfaces = self.interfaces.all().await?;
        let due = lock(&self.dataplane).observe(&interfaces)?;
        if self.refused_load.as_ref().is_some_and(|attempt| attempt.is_due(&interfaces)) {
            // Logged there; what it puts in force is attached everywhere.
            if self.load("trying again").await.is_ok() {
                return Ok(());
            }
        }
        if !due {
            self.refused_attach = None;
        } else if self.refused_attach.as_ref().is_none_or(|attempt| attempt.is_due(&interfaces)) {
            self.attach(interfaces).await?;
        }
        Ok(())
    }

    /// Puts what is in force also on interfaces that have come (back).
    async fn attach(&mut self, interfaces: Vec<Interface>) -> Result<(), Error> {
        // Another agent's generation cannot be extended: its tables are not known here.
        let Some(compiled) = &mut self.in_force else { return Ok(()) };
        let swapped = tokio::task::block_in_place(|| {
            let (evaluator, shown) = self.devices.prepare(compiled);
            let mut dataplane = lock(&self.dataplane);
            let settings = dataplane.settings().clone();
            let swapped = dataplane.swap_knowing(compiled, &settings, &interfaces, &shown);
            if swapped.is_ok() {
                self.devices.evaluate_by(evaluator);
            }
            swapped
        });
        match swapped {
            Ok(Swapped { generation, missing, attached }) => {
                tracing::info!(generation, ?attached, ?missing, "attached to an interface that has come");
                self.refused_attach = None;
                self.state.attached();
                self.settle().await
            }
            Err(error) => {
                tracing::error!(%error, "an interface is not filtered");
                self.state.not_attached(error.to_string());
                self.refused_attach = Some(Attempt::now(interfaces));
                Ok(())
            }
        }
    }

    /// Takes notice of the generation in force: how it hangs on the interfaces, its names, its log.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let interfaces = self.interfaces.all().await?;
        let mut dataplane = lock(&self.dataplane);
        dataplane.observe(&interfaces)?;
        if let Some(logger) = dataplane.take_logger() {
            self.kernel_log.abort_all();
            self.kernel_log.spawn(follow(logger));
        }
        self.names.send_replace(Arc::new(names(&dataplane, &interfaces)));
        Ok(())
    }
}

fn names(dataplane: &Dataplane, interfaces: &[Interface]) -> Names {
    Names {
        rules: dataplane.rule_owners().map(|(slot, key)| (slot, key.clone())).collect(),
        interfaces: interfaces.iter().map(|interface| (interface.index, interface.name.clone())).collect(),
    }
}

fn warn_of(sources: &[SourceStatus]) {
    for source in sources {
        let SourceStatus { name: _, file, entries, shrunk_to, .. } = source;
        let file = file.display();
        if let Some(now) = shrunk_to {
            tracing::warn!(%file, now, before = entries, "lost too many entries and is not taken; if it is right: edge-agent reload --accept-shrink");
        }
        if source.is_stale(SystemTime::now()) {
            tracing::warn!(%file, "older than `sources.max_age`: it names former owners of addresses");
        }
    }
}

fn swap_error(error: Error) -> BuildError {
    BuildError { stage: Stage::Swap, problems: error.to_string() }
}
