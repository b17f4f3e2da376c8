//! What devices are known by beside their MACs, as the agent sees it.
//!
//! Invariant: the kernel decides by what it knows itself. What is kept here is for people, and for a kernel that has forgotten: after a reboot,
//! or with policies that ask for what devices have shown before.

mod announcement;
pub mod databases;
pub mod devices;
pub mod evaluate;
pub mod facts;
pub mod groups;
pub mod inventory;
pub mod ja4;
pub mod learn;
pub mod p0f;
pub mod persist;
pub mod read;
pub mod report;
pub mod store;
pub mod text;
