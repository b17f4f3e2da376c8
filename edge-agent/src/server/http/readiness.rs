//! Whether the configured policies are in force everywhere, and if not, what is missing.

use serde::Serialize;

use crate::agent::status::{Failure, Status};

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    generation: u32,
    /// One sentence for each thing; empty if ready.
    missing: Vec<String>,
}

impl Readiness {
    pub(super) fn of(status: &Status) -> Self {
        let mut missing = Vec::new();
        if status.generation == 0 {
            missing.push("no policies are in force".to_owned());
        }
        for interface in &status.snapshot.interfaces {
            if interface.mode.is_none() {
                missing.push(format!("the filter is not attached to {} ({})", interface.name, interface.role.name()));
            }
        }
        if let Some(Failure { stage, problems, .. }) = &status.last_failure {
            missing.push(format!("the last load failed ({}): {problems}", stage.name()));
        }
        if missing.is_empty() && !status.ready {
            missing.push("the configured policies have not been loaded yet".to_owned());
        }
        Self { ready: missing.is_empty(), generation: status.generation, missing }
    }
}
