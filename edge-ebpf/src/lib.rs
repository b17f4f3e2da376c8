//! What decides a packet's fate, without maps and without I/O: the kernel program and the agent's engines both call it.
//!
//! `packet` reads a frame, `trie` finds classes, `name` reads and finds names, `identity` knows devices by what they do, `inspect` finds out
//! what a packet shows beside its headers, `engine` decides, `reject` answers; `abi` is what the agent and the program share.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![deny(unsafe_code)]

pub mod abi;
pub mod bits;
pub mod engine;
pub mod identity;
pub mod inspect;
pub mod name;
pub mod packet;
pub mod rate;
pub mod reject;
pub mod trie;
mod turns;
