//! Captures: what is read of them, and what `edge-agent replay` says of their frames. The tests write them themselves.

mod command;
mod formats;
mod writer;
