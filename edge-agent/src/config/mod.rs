//! The agent's own configuration, `agent.yaml`.
pub mod keys;
