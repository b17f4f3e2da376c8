//! The agent of the edge filter.
pub mod agent;
pub mod beside;
pub mod config;
pub mod dataplane;
pub mod engine;
pub mod identity;
pub mod policy;
pub mod quic;
pub mod server;
pub mod sources;
pub mod telemetry;
