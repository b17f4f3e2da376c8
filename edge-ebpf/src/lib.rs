//! What decides a packet's fate, without maps and without I/O: the kernel program and the agent's engines both call it.
#![cfg_attr(not(test), no_std)]

pub mod abi;
