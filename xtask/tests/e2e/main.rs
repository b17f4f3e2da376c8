//! The real agent on a real network, end to end. Each test has a lab of its own; all need root, so that plain `cargo test` leaves them out.

mod frames;
mod lab;
mod lifecycle;
mod modes;
mod names;
mod pinhole;
mod reject;
mod reload;
mod restart;
mod support;
