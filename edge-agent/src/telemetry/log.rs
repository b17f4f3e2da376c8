//! The agent's log: structured records on standard error, as text for people or JSON for collectors.

use std::io::{self, IsTerminal};
use std::time::Duration;

use aya_log::EbpfLogger;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How often the program's diagnostics are looked for; they are rare.
const INTERVAL: Duration = Duration::from_secs(1);

/// How a record is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`{level}` is no log level: {source}; write error, warn, info, debug or trace, or a filter such as `info,edge::match=off`")]
    Level { level: String, source: ParseError },
    #[error("the log is already set up: {0}")]
    Twice(#[from] TryInitError),
}

/// Sends `tracing` events, and the `log` records of aya-log and other libraries, to standard error from here on.
///
/// # Errors
/// If `level` is no filter, or a log was set up before.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        Format::Json => builder.json().finish().try_init()?,
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

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder().parse(level).map_err(|source| LogError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_by_target() {
        for level in ["error", "warn", "info", "debug", "trace", "info,edge::match=off"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        let error = filter("edge=loud").expect_err("no level").to_string();
        assert!(error.contains("edge=loud") && error.contains("write error, warn, info"), "{error}");
    }
}
