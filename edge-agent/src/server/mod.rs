//! What the agent answers to others on this machine.

pub mod control;
pub mod http;
