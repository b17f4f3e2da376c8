//! Why the agent does not run.

use std::io;

use crate::dataplane::error::Error;
use crate::server::control::ListenError;
use crate::server::http::BindError;
use crate::telemetry::supervisor::NotifyError;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("nothing is enforced, and the policies cannot be loaded:\n{problems}")]
    NothingEnforced { problems: String },
    #[error(transparent)]
    Dataplane(#[from] Error),
    #[error(transparent)]
    Http(#[from] BindError),
    #[error(transparent)]
    Control(#[from] ListenError),
    #[error(transparent)]
    Supervisor(#[from] NotifyError),
    #[error("cannot receive signals: {0}; report this with the operating system's version")]
    Signals(#[source] io::Error),
}
