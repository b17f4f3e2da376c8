//! The agent of the edge filter.
pub mod policy;
