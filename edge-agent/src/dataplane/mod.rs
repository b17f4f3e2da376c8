//! The kernel side as the agent holds it: object, maps, links, counters.
pub mod snapshot;
