//! What needs the kernel: maps, programs and links, on interfaces in network namespaces of their own. Without root each test says that it
//! was left out.

mod agent;
mod answers;
mod beside;
mod identity;
mod log;
mod namespace;
mod policies;
mod sender;
mod swap;
mod swaps;
mod tables;
