//! The run loop: keeps the policies that are configured in force.
pub mod status;
