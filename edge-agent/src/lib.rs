//! The agent of the edge filter.
pub mod dataplane;
pub mod policy;
