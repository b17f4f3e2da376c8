//! Frames: described, or in hex; `cut` and `patch` then damage them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edge_agent::engine::Outcome;
use edge_agent::engine::fact::Opening;
use edge_agent::engine::frame::{Ends, FragmentSpec, FrameSpec, TcpFlags, Transport};
use edge_agent::policy::model::Resolved;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::payload::{AnswerCase, PayloadCase};
use super::policy::rule_name;
use super::words::{mac, unhex};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameCase {
    pub name: String,
    /// From the upstream.
    #[serde(default)]
    pub inbound: bool,
    /// On its way to a device: engines learn from it, and nothing is decided. An `answer` always is.
    #[serde(default)]
    pub towards_device: bool,
    /// When; the time of the frame before it where nothing is said.
    #[serde(default)]
    pub at: Option<Timestamp>,
    #[serde(default)]
    pub hex: Option<String>,
    #[serde(default)]
    pub mac: Option<String>,
    #[serde(default)]
    pub from: Option<IpAddr>,
    #[serde(default)]
    pub to: Option<IpAddr>,
    #[serde(default)]
    pub service: Option<String>,
    /// Source port, 40000 where nothing is said.
    #[serde(default)]
    pub source: Option<u16>,
    /// TCP flags: any of `S`, `A`, `F`, `R`; `S` where nothing is said.
    #[serde(default)]
    pub flags: Option<String>,
    /// TCP sequence number, 1000 where nothing is said.
    #[serde(default)]
    pub sequence: Option<u32>,
    /// How a first segment looks.
    #[serde(default)]
    pub opening: Option<OpeningCase>,
    /// Tags as `8100:7`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// IPv4 options, hex.
    #[serde(default)]
    pub options: Option<String>,
    /// IPv6 extension headers as `60:0000010400000000`: number and bytes, the first of which is replaced by the next header's number.
    #[serde(default)]
    pub extensions: Vec<String>,
    #[serde(default)]
    pub fragment: Option<FragmentCase>,
    #[serde(default)]
    pub payload: PayloadCase,
    /// A DNS answer towards a device: engines learn from it.
    #[serde(default)]
    pub answer: Option<AnswerCase>,
    /// Bytes kept.
    #[serde(default)]
    pub cut: Option<usize>,
    /// Place → byte.
    #[serde(default)]
    pub patch: BTreeMap<usize, u8>,
    /// Of every frame that is decided about.
    #[serde(default)]
    pub expect: Option<ExpectCase>,
}

/// A time to live of 64, a window of 65535, no options and no fragments where nothing is said.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct OpeningCase {
    pub ttl: Option<u8>,
    pub window: Option<u16>,
    /// TCP options, hex.
    pub options: String,
    /// IPv4's identification.
    pub id: u16,
    /// It may be cut to fragments.
    pub may_fragment: bool,
    /// IPv6's.
    pub flow_label: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentCase {
    pub id: u32,
    pub offset: u16,
    pub more: bool,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct ExpectCase {
    pub verdict: String,
    /// `policy/rule`
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(default)]
    pub monitored: Vec<String>,
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether a rejected frame is answered.
    #[serde(default)]
    pub answered: bool,
    /// The name that is read in it.
    #[serde(default)]
    pub name: Option<String>,
}

impl ExpectCase {
    /// An outcome in the corpus' own words.
    pub fn of(outcome: &Outcome, set: &Resolved) -> Self {
        let Outcome { verdict, rule, monitored, reason, reply, name } = outcome;
        Self {
            verdict: verdict.name().into(),
            rule: rule.map(|rule| rule_name(set, rule)),
            monitored: monitored.iter().map(|rule| rule_name(set, *rule)).collect(),
            reason: reason.map(|reason| reason.name().into()),
            answered: reply.is_some(),
            name: name.clone(),
        }
    }
}

impl OpeningCase {
    fn opening(&self) -> Opening {
        let Self { ttl, window, options, id, may_fragment, flow_label } = self;
        let default = Opening::default();
        Opening {
            time_to_live: ttl.unwrap_or(default.time_to_live),
            window: window.unwrap_or(default.window),
            options: unhex(options),
            id: *id,
            fragment_bits: if *may_fragment { 0 } else { default.fragment_bits },
            flow_label: *flow_label,
            ..default
        }
    }
}

impl FrameCase {
    pub fn is_towards_device(&self) -> bool {
        self.towards_device || self.answer.is_some()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = match (&self.hex, &self.opening) {
            (Some(hex), _) => unhex(hex),
            (None, Some(opening)) => opening.opening().build(&self.spec()),
            (None, None) => self.spec().build(),
        };
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        for (place, byte) in &self.patch {
            bytes[*place] = *byte;
        }
        bytes
    }

    fn spec(&self) -> FrameSpec {
        if let Some(answer) = &self.answer {
            return answer.spec();
        }
        let to = self.to.expect("a described frame says where `to`");
        let ends = match (self.from, to) {
            (None, to) => Ends::to(to),
            (Some(IpAddr::V4(from)), IpAddr::V4(to)) => Ends::V4(from, to),
            (Some(IpAddr::V6(from)), IpAddr::V6(to)) => Ends::V6(from, to),
            _ => panic!("{}: ends of two families", self.name),
        };
        let mut spec = FrameSpec::new(mac(self.mac.as_deref().expect("a described frame has a `mac`")), ends, self.transport());
        spec.tags = self
            .tags
            .iter()
            .map(|tag| {
                let (kind, id) = tag.split_once(':').expect("a tag as 8100:7");
                (u16::from_str_radix(kind, 16).expect("hex"), id.parse().expect("a number"))
            })
            .collect();
        spec.options = self.options.as_deref().map(unhex).unwrap_or_default();
        spec.extensions = self
            .extensions
            .iter()
            .map(|extension| {
                let (number, bytes) = extension.split_once(':').expect("an extension as 60:hex");
                (number.parse().expect("a number"), unhex(bytes))
            })
            .collect();
        spec.fragment = self.fragment.as_ref().map(|&FragmentCase { id, offset, more }| FragmentSpec { id, offset, more });
        spec.payload = self.payload.bytes();
        spec
    }

    fn transport(&self) -> Transport {
        let service = self.service.as_deref().expect("a described frame has a `service`");
        let (protocol, number) = service.split_once('/').expect("a service as tcp/443");
        let number: u16 = number.parse().expect("a number");
        let flags = self.flags.as_deref().unwrap_or("S");
        let source = self.source.unwrap_or(40_000);
        match protocol {
            "tcp" => Transport::Tcp {
                source,
                destination: number,
                flags: TcpFlags { syn: flags.contains('S'), ack: flags.contains('A'), fin: flags.contains('F'), rst: flags.contains('R') },
                sequence: self.sequence.unwrap_or(1000),
                acknowledgment: if flags.contains('A') { 7000 } else { 0 },
            },
            "udp" => Transport::Udp { source, destination: number },
            "icmp" => Transport::Icmp { kind: number as u8, code: 0 },
            "ip" => Transport::Other(number as u8),
            other => panic!("no protocol {other}"),
        }
    }
}
