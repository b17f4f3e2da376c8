//! Payloads in words, and DNS answers.

use std::net::{IpAddr, Ipv4Addr};

use edge_agent::engine::fact::{self, extension};
use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::engine::message::{self, Answer, Hello};
use edge_ebpf::packet::Mac;
use serde::{Deserialize, Serialize};

use super::words::{self, unhex};

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
    pub dhcp: Option<DhcpCase>,
    pub dhcp6: Option<Dhcp6Case>,
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
    /// Of a hello as a client makes it; else there is little in it.
    pub client: Option<ClientCase>,
}

/// Of TLS 1.2, unless it offers other versions.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCase {
    pub ciphers: Vec<u16>,
    /// In their order; those that have a key of their own get what is there, others are empty.
    pub extensions: Vec<u16>,
    pub algorithms: Vec<u16>,
    pub versions: Vec<u16>,
    pub alpn: Vec<String>,
}

/// A DISCOVER, where nothing is said.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct DhcpCase {
    #[serde(rename = "type")]
    pub kind: Option<u8>,
    /// Whose it is: the frame's device, unless it is relayed.
    pub mac: String,
    pub params: Option<Vec<u8>>,
    pub vendor_class: Option<String>,
    pub hostname: Option<String>,
}

/// A SOLICIT, where nothing is said.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Dhcp6Case {
    #[serde(rename = "type")]
    pub kind: Option<u8>,
    pub params: Option<Vec<u16>>,
    pub vendor_class: Option<String>,
    pub hostname: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct HttpCase {
    /// GET where nothing is said.
    pub method: Option<String>,
    /// `/` where nothing is said.
    pub target: Option<String>,
    pub host: Option<String>,
    pub user_agent: Option<String>,
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
        let Self { dns, dns_tcp, tls, http, quic, dhcp, dhcp6, hex, part } = self;
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
            dhcp.as_ref().map(DhcpCase::bytes),
            dhcp6.as_ref().map(Dhcp6Case::bytes),
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
        let Self { sni, ech, padding, record, client } = self;
        if let Some(client) = client {
            return client.bytes(sni.as_deref(), *record);
        }
        Hello { server_name: sni.as_deref().map(str::as_bytes), ech: *ech, padding: *padding, record: *record }.build()
    }
}

impl HttpCase {
    fn bytes(&self) -> Vec<u8> {
        let Self { method, target, host, user_agent } = self;
        let request = message::request(method.as_deref().unwrap_or("GET"), target.as_deref().unwrap_or("/"), host.as_deref());
        match user_agent {
            None => request,
            Some(value) => fact::with_user_agent(request, value.as_bytes()),
        }
    }
}

impl ClientCase {
    fn bytes(&self, sni: Option<&str>, record: Option<usize>) -> Vec<u8> {
        let Self { ciphers, extensions, algorithms, versions, alpn } = self;
        let protocols: Vec<&[u8]> = alpn.iter().map(|name| name.as_bytes()).collect();
        let value = |kind: u16| match kind {
            extension::SERVER_NAME => extension::server_name(sni.expect("a hello with this extension has a name").as_bytes()),
            extension::SIGNATURE_ALGORITHMS => extension::signature_algorithms(algorithms),
            extension::SUPPORTED_VERSIONS => extension::supported_versions(versions),
            extension::ALPN => extension::alpn(&protocols),
            _ => Vec::new(),
        };
        let extensions: Vec<(u16, Vec<u8>)> = extensions.iter().map(|kind| (*kind, value(*kind))).collect();
        fact::hello(0x0303, ciphers, &extensions, record)
    }
}

impl DhcpCase {
    fn bytes(&self) -> Vec<u8> {
        let Self { kind, mac, params, vendor_class, hostname } = self;
        let options = [
            Some((53, vec![kind.unwrap_or(1)])),
            params.clone().map(|params| (55, params)),
            vendor_class.clone().map(|text| (60, text.into_bytes())),
            hostname.clone().map(|text| (12, text.into_bytes())),
        ];
        let options: Vec<(u8, Vec<u8>)> = options.into_iter().flatten().collect();
        fact::dhcp(words::mac(mac), &options.iter().map(|(number, value)| (*number, value.as_slice())).collect::<Vec<_>>())
    }
}

impl Dhcp6Case {
    fn bytes(&self) -> Vec<u8> {
        let Self { kind, params, vendor_class, hostname } = self;
        // Of the enterprise 311; behind the flags.
        let class = |text: &String| [&[0, 0, 1, 55], &(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let name = |text: &String| [vec![0], message::wire_name(text)].concat();
        let options = [
            params.as_ref().map(|params| (6, params.iter().flat_map(|option| option.to_be_bytes()).collect())),
            vendor_class.as_ref().map(|text| (16, class(text))),
            hostname.as_ref().map(|text| (39, name(text))),
        ];
        let options: Vec<(u16, Vec<u8>)> = options.into_iter().flatten().collect();
        fact::dhcp6(kind.unwrap_or(1), &options.iter().map(|(number, value)| (*number, value.as_slice())).collect::<Vec<_>>())
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
