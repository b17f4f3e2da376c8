//! A pinned BPF link, and the interface it holds its program on.

use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use crate::dataplane::error::Error;

/// What the kernel says of a pinned link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkFacts {
    /// Index of its interface; 0 once that has gone.
    pub index: u32,
    /// The kernel's id of the program it holds.
    pub program: u32,
}

/// Opens the link that is pinned at `path`.
pub fn open(path: &Path) -> Result<FdLink, Error> {
    let link = PinnedLink::from_pin(path).map_err(|error| Error::Link { path: path.to_owned(), reason: error.to_string() })?;
    Ok(link.into())
}

/// Asks the kernel about the link that is pinned at `path`.
pub fn facts(path: &Path) -> Result<LinkFacts, Error> {
    let failed = |reason: String| Error::Link { path: path.to_owned(), reason };
    let link = open(path)?;
    let info = link.info().map_err(|error| failed(error.to_string()))?;
    let index = interface_of(info.id()).ok_or_else(|| failed("/proc/self/fdinfo does not tell its interface".to_owned()))?;
    Ok(LinkFacts { index, program: info.program_id() })
}

/// aya does not hand out the interface of a link; the kernel also tells it in the descriptor's `fdinfo`
/// (`bpf_xdp_link_show_fdinfo` in `net/core/dev.c`). The link must be open in this process.
fn interface_of(link: u32) -> Option<u32> {
    fs::read_dir("/proc/self/fdinfo").ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        (field(&text, "link_id")? == link).then(|| field(&text, "ifindex"))?
    })
}

/// The number in the line `name:<tab>number`.
fn field(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_read_from_the_descriptors_lines() {
        let text = "pos:\t0\nflags:\t02000002\nlink_type:\txdp\nlink_id:\t12\nprog_tag:\t9f\nprog_id:\t7\nifindex:\t3\n";
        assert_eq!((field(text, "link_id"), field(text, "prog_id"), field(text, "ifindex")), (Some(12), Some(7), Some(3)));
        assert_eq!(field(text, "if"), None);
    }
}
