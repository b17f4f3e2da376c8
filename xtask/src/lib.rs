//! The project's own commands, and the lab that they and the end-to-end tests share.

pub mod command;
pub mod setup;
