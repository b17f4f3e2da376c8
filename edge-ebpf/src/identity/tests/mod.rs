//! Messages made to order. At random they are in the agent, which has other readers to compare with.

mod dhcp;
mod syn;
mod user_agent;

/// Bytes before each message, as the headers before it in a frame.
const BEFORE: usize = 42;

/// A message in a frame, with other bytes behind it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0xee; BEFORE], message, &[0x20; 12]].concat()
}
