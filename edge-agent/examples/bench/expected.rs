//! The frame of a scenario, and what the same tables say of it on the host.

use std::net::IpAddr;
use std::sync::Arc;

use edge_agent::config::Conduct;
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::engine::{Engine, host::HostEngine};
use edge_agent::policy::compile::Compiled;
use edge_ebpf::abi::{Verdict, row_size};
use edge_ebpf::packet::Mac;
use edge_ebpf::trie;

use crate::measure::Expect;

/// What XDP programs return (`enum xdp_action`, linux/bpf.h).
pub const ABORTED: u32 = 0;
pub const DROP: u32 = 1;
pub const PASS: u32 = 2;

/// The verdict that the same tables give on the host.
pub fn by_host(compiled: Arc<Compiled>) -> Expect {
    Box::new(move |frame, returned| {
        let outcome = HostEngine::new(&compiled, Conduct::default()).and_then(|mut engine| engine.run(frame));
        returned != ABORTED && outcome.is_ok_and(|outcome| code(outcome.verdict) == returned)
    })
}

pub fn code(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Pass => PASS,
        // No scenario rejects.
        Verdict::Drop | Verdict::Reject => DROP,
    }
}

fn destination(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(<[u8; 4]>::try_from(frame.get(30..34)?).ok()?.into()),
        _ => Some(<[u8; 16]>::try_from(frame.get(38..54)?).ok()?.into()),
    }
}

pub fn class_of(compiled: &Compiled, frame: &[u8]) -> Option<u32> {
    match destination(frame)? {
        IpAddr::V4(address) => trie::lookup_v4(&&compiled.v4, address.to_bits()),
        IpAddr::V6(address) => trie::lookup::<128>(&&compiled.v6, halves(address.to_bits())),
    }
}

/// Whether the address is of no country: the kernel's trie holds nothing for it.
pub fn no_rule(compiled: &Compiled, frame: &[u8]) -> bool {
    let own = compiled.rules.iter().take_while(|rule| compiled.policies[rule.policy.index()].built_in).count();
    // A summary goes before the words where there are several.
    let first = if compiled.words == 1 { 0 } else { 1 };
    let row = class_of(compiled, frame).and_then(|class| compiled.pool.get(class as usize * row_size(compiled.words) + first..));
    row.is_some_and(|row| (own..compiled.rules.len()).all(|rule| row[rule / 64] & (1 << (rule % 64)) == 0))
}

pub fn halves(address: u128) -> [u64; 2] {
    [(address >> 64) as u64, address as u64]
}

/// Data of an established TCP connection, in the smallest frame that Ethernet has.
pub fn frame(device: Mac, to: IpAddr) -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    let transport = Transport::Tcp { source: 40_000, destination: 443, flags, sequence: 1000, acknowledgment: 2000 };
    let mut spec = FrameSpec::new(device, Ends::to(to), transport);
    spec.payload = vec![0x17; 6];
    spec.build()
}
