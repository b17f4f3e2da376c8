//! What the agent answers to others on this machine.

pub mod http;
