//! What the agent tells: metrics, the reports of matched rules, the log, a sign of life.

pub mod attempts;
pub mod events;
pub mod heartbeat;
pub mod history;
pub mod log;
pub mod metrics;
pub mod supervisor;
