//! The run loop: keeps the policies that are configured in force.
//!
//! Invariant: nothing here is on a packet's way. Whatever fails or ends, the kernel goes on with the generation in force.

pub mod build;
mod day;
pub mod error;
mod load;
pub mod settings;
pub mod state;
pub mod status;
mod upkeep;
pub mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::beside::{Copies, CopyCounts};
use crate::config::AgentConfig;
use crate::dataplane::Dataplane;
use crate::dataplane::interfaces::Interfaces;
use crate::identity::devices::Devices;
use crate::policy::compile::Compiled;
use crate::policy::load::today;
use crate::server::{control, http};
use crate::sources::Sources;
use crate::sources::guard::Guard;
use crate::telemetry::attempts::Attempts;
use crate::telemetry::events::{Names, ReportCounts, Reports};
use crate::telemetry::heartbeat::Heartbeat;
use crate::telemetry::history::{History, KEPT};
use crate::telemetry::metrics::Exporter;
use crate::telemetry::supervisor::{State as Supervised, Supervisor};
use control::Order;
use day::DailyLoad;
use error::RunError;
use load::Attempt;
use settings::settings;
use state::{SharedDataplane, State, lock};
use upkeep::Upkeep;
use watch::FileWatch;

/// How often the loop looks after the interfaces and lets the kernel report again.
const TICK: Duration = Duration::from_secs(1);

/// Runs until a signal or a command ends it. Enforcement outlives it, unless the command was to detach.
///
/// # Errors
/// If nothing is enforced and the policies cannot be put in force, or what it serves cannot be served.
pub async fn run(config_file: PathBuf, config: AgentConfig) -> Result<(), RunError> {
    // First: until they are handled, SIGHUP ends a process and SIGTERM looks like a crash, also while it is loading.
    let signals = Signals::new().map_err(RunError::Signals)?;
    let supervisor = Supervisor::from_environment()?;
    let listener = http::bind(config.metrics_listen).await?;
    let dataplane = Dataplane::open(settings(&config))?;
    let control = control::bind(&config.control_socket)?;
    let mut agent = Agent::new(config_file, config, dataplane)?;
    agent.start().await?;
    agent.serve(listener, control);
    tell(&supervisor, Supervised::Ready);
    agent.keep(&supervisor, signals).await
}

/// The loop's own.
struct Agent {
    config_file: PathBuf,
    config: AgentConfig,
    dataplane: SharedDataplane,
    state: Arc<State>,
    /// What is known of devices.
    devices: Arc<Devices>,
    upkeep: Upkeep,
    sources: Sources,
    interfaces: Interfaces,
    /// The gateway's addresses that the last attempt to load was made with.
    own_addresses: Vec<IpAddr>,
    /// What this process put in force.
    in_force: Option<Compiled>,
    daily_load: DailyLoad,
    /// The last attempt to put the configured policies in force, if the kernel refused it.
    refused_load: Option<Attempt>,
    /// The last attempt to attach to an interface that came (back), if the kernel refused it.
    refused_attach: Option<Attempt>,
    files: Option<FileWatch>,
    /// Reads the kernel program's own log: that of the generation in force.
    kernel_log: JoinSet<()>,
    names: channel::Sender<Arc<Names>>,
    heartbeat: Arc<Heartbeat>,
    /// Ended with the loop.
    tasks: JoinSet<()>,
    orders: (mpsc::Sender<Order>, mpsc::Receiver<Order>),
}

/// What ends the loop.
enum End {
    Signal(&'static str),
    Detached(oneshot::Sender<Result<Vec<String>, String>>),
}

impl Agent {
    fn new(config_file: PathBuf, config: AgentConfig, dataplane: Dataplane) -> Result<Self, RunError> {
        let files = FileWatch::new()
            .inspect_err(|error| tracing::warn!(%error, "files are not watched for changes; after one, run `edge-agent reload`"))
            .ok();
        Ok(Self {
            devices: Arc::new(Devices::open(&config.state_directory, config.tables.devices, &config.identity)),
            upkeep: Upkeep::default(),
            sources: Sources::guarded(config.sources.clone(), Guard::open(&config.state_directory)),
            config_file,
            config,
            dataplane: Arc::new(Mutex::new(dataplane)),
            state: Arc::default(),
            interfaces: Interfaces::open()?,
            own_addresses: Vec::new(),
            in_force: None,
            daily_load: DailyLoad::new(today),
            refused_load: None,
            refused_attach: None,
            files,
            kernel_log: JoinSet::new(),
            names: channel::Sender::new(Arc::default()),
            heartbeat: Arc::default(),
            tasks: JoinSet::new(),
            orders: mpsc::channel(8),
        })
    }

    /// The first load. Where an earlier agent's generation is in force, that stays if this one's policies cannot be loaded.
    async fn start(&mut self) -> Result<(), RunError> {
        if let Err(problems) = self.load("start").await {
            self.settle().await?;
            let (enforcing, generation) = {
                let dataplane = lock(&self.dataplane);
                (dataplane.enforcing()?, dataplane.generation())
            };
            if !enforcing {
                return Err(RunError::NothingEnforced { problems });
            }
            tracing::error!(generation, "the policies cannot be loaded; an earlier agent's generation stays in force");
        }
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener, control: UnixListener) {
        let status = state::source(&self.state, &self.dataplane, &self.devices);
        let (counts, history) = (Arc::new(ReportCounts::default()), Arc::new(History::new(KEPT)));
        let (attempts, copies) = (Arc::new(Attempts::default()), Arc::new(CopyCounts::default()));
        let exporter = Exporter::new(Arc::clone(&status), Arc::clone(&counts), Arc::clone(&attempts), Arc::clone(&copies));
        let server = http::Server { status: Arc::clone(&status), exporter, heartbeat: Arc::clone(&self.heartbeat) };
        self.tasks.spawn(async {
            if let Err(error) = http::serve(listener, server, std::future::pending()).await {
                tracing::error!(%error, "metrics and health are not served any more");
            }
        });
        let asked = control::Asked { status, devices: upkeep::source(&self.devices, &self.dataplane), history: Arc::clone(&history) };
        self.tasks.spawn(control::serve(control, asked, self.orders.0.clone()));
        let reports = Reports { names: self.names.subscribe(), counts, attempts, history };
        match lock(&self.dataplane).events() {
            Ok(ring) => drop(self.tasks.spawn(reports.follow(ring))),
            Err(error) => tracing::error!(%error, "matches are counted but not reported"),
        }
        let copies = Copies { dataplane: Arc::clone(&self.dataplane), devices: Arc::clone(&self.devices), counts: copies };
        let ring = lock(&self.dataplane).copies();
        self.tasks.spawn(async {
            let ended = match ring {
                Ok(ring) => copies.follow(ring).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = ended {
                tracing::error!(error, "Initials of QUIC that are held stay so, DNS answers over TCP teach nothing, and no device is new");
            }
        });
    }

    async fn keep(mut self, supervisor: &Supervisor, mut signals: Signals) -> Result<(), RunError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.tick().await;
                    self.heartbeat.beat();
                    tell(supervisor, Supervised::Alive);
                }
                // Told in the log, the metrics and the status; the generation in force stays.
                () = changed(&mut self.files) => drop(self.load("files changed").await),
                signal = signals.next() => match signal {
                    Some(name) => break End::Signal(name),
                    None => drop(self.load("SIGHUP").await),
                },
                Some(order) = self.orders.1.recv() => match order {
                    Order::Reload { shrink, reply } => drop(reply.send(self.load_with("reload command", shrink).await)),
                    Order::Detach(reply) => break End::Detached(reply),
                },
            }
        };
        tokio::task::block_in_place(|| {
            if let Err(error) = upkeep::take_from_kernel(&self.devices, &self.dataplane) {
                tracing::warn!(%error, "what the kernel knows of devices was not written down");
            }
            self.devices.persist(&self.config.state_directory);
        });
        match end {
            End::Signal(name) => {
                let generation = lock(&self.dataplane).generation();
                tracing::info!(signal = name, generation, "ending; the kernel goes on enforcing, `edge-agent detach` stops that");
            }
            End::Detached(reply) => {
                let detached = lock(&self.dataplane).detach();
                tracing::warn!("detached by command: nothing is enforced any more; ending");
                // Whoever asked may have gone.
                let _ = reply.send(detached.map_err(|error| error.to_string()));
                // The answer is written by another task.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    async fn tick(&mut self) {
        if let Err(error) = lock(&self.dataplane).tick() {
            tracing::warn!(%error, "the kernel makes no reports until the next second");
        }
        if let Err(error) = self.look_after_interfaces().await {
            tracing::warn!(%error, "interfaces were not looked after");
        }
        if self.daily_load.is_due(self.in_force.as_ref()) {
            drop(self.load("a new day").await);
        }
        self.look_after_devices().await;
        match self.interfaces.own_addresses().await {
            Ok(addresses) if addresses != self.own_addresses => drop(self.load("the gateway's addresses changed").await),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the gateway's own addresses were not looked at"),
        }
    }
}

async fn changed(files: &mut Option<FileWatch>) {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}

/// The service manager is only told: what becomes of that must not disturb the loop.
fn tell(supervisor: &Supervisor, state: Supervised<'_>) {
    if let Err(error) = supervisor.tell(state) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of a signal to end by, or `None` for SIGHUP.
    async fn next(&mut self) -> Option<&'static str> {
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.terminate.recv() => Some("SIGTERM"),
            _ = self.interrupt.recv() => Some("SIGINT"),
        }
    }
}
