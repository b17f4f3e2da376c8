//! What devices are known by beside their MACs, as the agent sees it.

pub mod databases;
pub mod ja4;
pub mod p0f;
