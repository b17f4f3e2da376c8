//! The project's own commands, and the lab that they and the end-to-end tests share.

pub mod bench;
pub mod build;
pub mod command;
pub mod conformance;
pub mod differential;
pub mod kernels;
pub mod lab;
pub mod lint;
pub mod run;
pub mod setup;
pub mod swaps;
pub mod test;
