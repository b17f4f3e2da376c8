//! Devices known by what they do: a policy with a group of every kind of signal, and frames that tell of their device, or do not.

use std::sync::Arc;

use anyhow::{Result, ensure};
use edge_agent::config::Conduct;
use edge_agent::engine::fact;
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::engine::{Engine, host::HostEngine};
use edge_agent::policy::compile::Compiled;
use edge_ebpf::abi::Verdict;
use edge_ebpf::packet::Mac;
use serde_json::json;

use crate::expected::code;
use crate::kernel::{self, Loaded};
use crate::measure::{Expect, Subject};
use crate::names;
use crate::sets::{self, BANNED, ELSEWHERE, Folder};
use crate::workshop::Workshop;

/// Of no maker, and in no range of the policy.
const DEVICE: Mac = Mac(0x0210_0000_0002);

/// What the frame is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Data of a connection: nothing.
    Data,
    Syn,
    /// A DISCOVER.
    Dhcp,
    /// With a name.
    Hello,
}

impl Workshop<'_> {
    /// One group of MACs, and one rule.
    pub fn identity_off(&self) -> Result<Arc<Compiled>> {
        self.set("identity off", || sets::compiled(&[Folder::new(&policy("mac: [\"02:10:00:00:00:02\"]"))?.path()]))
    }

    /// The same rule for devices with any of a DHCP message's traits, a SYN's shape or a hello's JA4.
    pub fn identity(&self) -> Result<Arc<Compiled>> {
        let signals = "dhcp: {vendor_class: \"android-dhcp-*\"}}, {dhcp: {hostname: [Redmi*, POCO*]}}, {dhcp: {params: [1, 3, 6, 15, 26, 28, 51, 58, 59, 43]}}, \
                       {tcp_syn: \"4:64:0:*:mss*44,9:mss,sok,ts,nop,ws:df,id+:0\"}, {tls: {ja4: [\"t13d1516h2_8daaf6152771_e5627efa2ab1\", \"t13d1516h2_*\"]}";
        self.set("identity", || sets::compiled(&[Folder::new(&policy(signals))?.path()]))
    }

    /// `known`: the device has shown by DHCP before that it is in the group.
    pub fn told(&self, name: &'static str, told: Told, set: Arc<Compiled>, known: bool) -> Result<Subject> {
        let Loaded { compiled, mut object } = Loaded::new(set)?;
        self.describe(name, &compiled);
        let program = kernel::inside(&mut object)?;
        self.note(name, [("verified_instructions", json!(program.verified_instruction_count()))]);
        let before = if known { vec![Told::Dhcp.frame()] } else { vec![] };
        let mut host = HostEngine::new(&compiled, Conduct::default())?;
        for frame in &before {
            host.run(frame)?;
        }
        let outcome = host.run(&told.frame())?;
        let verdict = if told == Told::Dhcp { Verdict::Pass } else { Verdict::Drop };
        ensure!(outcome.verdict == verdict && outcome.rule.is_some(), "{name}: it would be {outcome:?}");
        let expect: Expect = Box::new(move |_, returned| returned == code(verdict));
        Subject::new(name, program, told.frame(), expect, vec![Box::new(object)])?.after(&before)
    }
}

fn policy(signals: &str) -> String {
    let head = sets::head("identity", 100);
    format!(
        "{head}  devices:\n    phones: {{any: [{{{signals}}}]}}\n\
         \x20 destinations:\n    banned: {{prefixes: [{BANNED}]}}\n\
         \x20 rules:\n    - {{id: no-phones, from: phones, to: banned, services: [tcp/1-65535], action: drop}}\n"
    )
}

impl Told {
    fn frame(self) -> Vec<u8> {
        let ack = TcpFlags { ack: true, ..TcpFlags::default() };
        let tcp = |flags, payload: Vec<u8>| {
            let transport = Transport::Tcp { source: 40_000, destination: 443, flags, sequence: 5000, acknowledgment: 2000 };
            FrameSpec { payload, ..FrameSpec::new(DEVICE, Ends::to(BANNED.into()), transport) }.build()
        };
        match self {
            Self::Data => tcp(ack, vec![0x17, 3, 3, 0, 1, 0]),
            Self::Syn => tcp(TcpFlags { syn: true, ..TcpFlags::default() }, vec![]),
            Self::Hello => tcp(ack, names::some_hello()),
            Self::Dhcp => {
                let params = [1, 3, 6, 15, 26, 28, 51, 58, 59, 43];
                let options: [(u8, &[u8]); 5] =
                    [(53, &[1]), (61, &[1, 2, 16, 0, 0, 0, 2]), (60, b"android-dhcp-13"), (12, b"Redmi-Note-12"), (55, &params)];
                let payload = fact::dhcp(DEVICE, &options);
                let transport = Transport::Udp { source: 68, destination: 67 };
                FrameSpec { payload, ..FrameSpec::new(DEVICE, Ends::to(ELSEWHERE.into()), transport) }.build()
            }
        }
    }
}
