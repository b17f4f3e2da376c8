//! Payloads in words, and DNS answers.

use std::net::{IpAddr, Ipv4Addr};

use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::engine::message::{self, Answer, Hello};
use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};

use super::words::unhex;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum PayloadCase {
    /// So many bytes that say nothing.
    Length(usize),
    Message(Box<MessageCase>),
}

impl Default for PayloadCase {
    fn default() -> Self {
        Self::Length(0)
    }
}

/// One of these, or a part of it.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct MessageCase {
    /// A query with these questions.
    pub dns: Option<Vec<QuestionCase>>,
    /// A query over TCP for each question, one behind the other.
    pub dns_tcp: Option<Vec<QuestionCase>>,
    pub tls: Option<TlsCase>,
    pub http: Option<HttpCase>,
    /// The beginning of a QUIC Initial: its version.
    pub quic: Option<u32>,
    pub hex: Option<String>,
    /// First byte, and the one behind the last; where the message ends, the part does.
    pub part: Option<[usize; 2]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionCase {
    pub name: String,
    /// Number of the type, A where nothing is said.
    #[serde(default, rename = "type")]
    pub kind: Option<u16>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TlsCase {
    pub sni: Option<String>,
    pub ech: bool,
    /// Bytes of an extension before the name.
    pub padding: Option<u16>,
    /// Bytes of each record.
    pub record: Option<usize>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct HttpCase {
    /// GET where nothing is said.
    pub method: Option<String>,
    /// `/` where nothing is said.
    pub target: Option<String>,
    pub host: Option<String>,
}

/// What a resolver answers to a device.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerCase {
    pub name: String,
    /// What it is an alias of, one after the other.
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Seconds.
    pub ttl: u32,
    /// 0, no error, where nothing is said.
    #[serde(default)]
    pub code: u8,
    /// Port that it comes from, 53 where nothing is said.
    #[serde(default)]
    pub source: Option<u16>,
}

impl PayloadCase {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Length(length) => vec![0x61; *length],
            Self::Message(message) => message.bytes(),
        }
    }
}

impl MessageCase {
    fn bytes(&self) -> Vec<u8> {
        let Self { dns, dns_tcp, tls, http, quic, hex, part } = self;
        let question = |QuestionCase { name, kind }: &QuestionCase| (name.clone(), kind.unwrap_or(message::kind::A));
        let query = |questions: &[QuestionCase]| {
            let questions: Vec<(String, u16)> = questions.iter().map(question).collect();
            message::query(&questions.iter().map(|(name, kind)| (name.as_str(), *kind)).collect::<Vec<_>>())
        };
        let over_tcp = |questions: &Vec<QuestionCase>| {
            message::over_tcp(&questions.iter().map(|question| query(std::slice::from_ref(question))).collect::<Vec<_>>())
        };
        let messages = [
            dns.as_ref().map(|questions| query(questions)),
            dns_tcp.as_ref().map(over_tcp),
            tls.as_ref().map(TlsCase::bytes),
            http.as_ref().map(HttpCase::bytes),
            quic.map(|version| message::quic_initial(version, 1200)),
            hex.as_deref().map(unhex),
        ];
        let mut messages = messages.into_iter().flatten();
        let (Some(message), None) = (messages.next(), messages.next()) else { panic!("a payload is one message") };
        match *part {
            None => message,
            Some([from, to]) => message[from..to.min(message.len())].to_vec(),
        }
    }
}

impl TlsCase {
    fn bytes(&self) -> Vec<u8> {
        let Self { sni, ech, padding, record } = self;
        Hello { server_name: sni.as_deref().map(str::as_bytes), ech: *ech, padding: *padding, record: *record }.build()
    }
}

impl HttpCase {
    fn bytes(&self) -> Vec<u8> {
        let Self { method, target, host } = self;
        message::request(method.as_deref().unwrap_or("GET"), target.as_deref().unwrap_or("/"), host.as_deref())
    }
}

impl AnswerCase {
    /// From a resolver that any device may have.
    pub fn spec(&self) -> FrameSpec {
        let Self { name, aliases, addresses, ttl, code, source } = self;
        let ends = Ends::V4(Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 10));
        let transport = Transport::Udp { source: source.unwrap_or(53), destination: 40_000 };
        let aliases = aliases.iter().map(String::as_str).collect();
        let answer = Answer { name, aliases, addresses: addresses.clone(), time_to_live: *ttl, code: *code };
        FrameSpec { payload: answer.build(), ..FrameSpec::new(Mac(0x0000_5e00_5335), ends, transport) }
    }
}
