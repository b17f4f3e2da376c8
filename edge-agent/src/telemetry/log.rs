//! The agent's log: structured records on standard error, as text for people or JSON for collectors.

use std::io::{self, IsTerminal};
use std::time::Duration;

use aya_log::EbpfLogger;
use tokio::time::MissedTickBehavior;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};

/// How often the program's diagnostics are looked for; they are rare.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("the log is set up already: {0}; set it up once, where the process starts")]
pub struct LogError(#[from] TryInitError);

/// Sends `tracing` events, and the `log` records of aya-log and other libraries, to standard error from here on.
///
/// # Errors
/// If a log was set up before.
pub fn init(Log { format, level }: Log) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => builder.json().finish().try_init()?,
    }
    Ok(())
}

/// Passes the kernel program's own diagnostics on to the log, for as long as the future is polled: one reader for each loaded program.
pub async fn follow(mut program: EbpfLogger<&'static dyn log::Log>) {
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        program.flush();
    }
}
