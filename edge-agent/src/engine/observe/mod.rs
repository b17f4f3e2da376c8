//! What captured traffic tells about devices: the names that they ask for, and how their packets are made.
//!
//! The names are read by the library that is in the kernel program, out of streams put together here: no verdict waits for a capture.

mod dhcp;
mod dhcp6;
mod dtls;
mod http;
pub mod segment;
mod stream;
mod syn;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::collections::HashMap;

use edge_ebpf::name::dns::Transport;
use edge_ebpf::packet::{Mac, protocol};
use serde_json::{Value, json};

use self::segment::{Flow, Segment};
use self::stream::Stream;
use crate::identity::ja4::{self, Ja4};
use crate::identity::p0f;
use crate::quic;

pub use self::dhcp::Dhcp;
pub use self::dhcp6::Dhcp6;
pub use self::syn::TcpSyn;

/// Where queries are asked, and where DHCP servers listen.
const DNS: u16 = 53;
const DHCP_SERVER: u16 = 67;
const DHCP6_SERVER: u16 = 547;
/// Where mirrored frames go to: switches and clouds send them in VXLAN (RFC 7348) or Geneve (RFC 8926).
const VXLAN: u16 = 4789;
const GENEVE: u16 = 6081;

/// Something that a device did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    /// The first question's name.
    DnsQuery {
        name: String,
    },
    /// Over TCP. One in the form of SSL 2 has no JA4.
    ClientHello {
        sni: Option<String>,
        ja4: Option<Ja4>,
    },
    QuicClientHello {
        sni: Option<String>,
        ja4: Option<Ja4>,
    },
    DtlsClientHello {
        sni: Option<String>,
        ja4: Option<Ja4>,
    },
    /// As the headers have them.
    HttpRequest {
        host: Option<String>,
        user_agent: Option<String>,
    },
    Dhcp(Dhcp),
    Dhcp6(Dhcp6),
    TcpSyn(TcpSyn),
}

impl Observation {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DnsQuery { .. } => "dns_query",
            Self::ClientHello { .. } => "client_hello",
            Self::QuicClientHello { .. } => "quic_client_hello",
            Self::DtlsClientHello { .. } => "dtls_client_hello",
            Self::HttpRequest { .. } => "http_request",
            Self::Dhcp(_) => "dhcp",
            Self::Dhcp6(_) => "dhcp6",
            Self::TcpSyn(_) => "tcp_syn",
        }
    }

    /// Its own keys, without frame and device.
    pub fn json(&self) -> Value {
        match self {
            Self::DnsQuery { name } => json!({"name": name}),
            Self::ClientHello { sni, ja4 } | Self::QuicClientHello { sni, ja4 } | Self::DtlsClientHello { sni, ja4 } => {
                json!({"sni": sni, "ja4": ja4.as_ref().map(Ja4::to_string), "ja4_r": ja4.as_ref().map(Ja4::raw)})
            }
            Self::HttpRequest { host, user_agent } => json!({"host": host, "user_agent": user_agent}),
            Self::Dhcp(Dhcp { device: _, message, params, vendor_class, hostname }) => {
                let message = message.map(|message| message.to_string());
                json!({"message": message, "params": params, "vendor_class": vendor_class, "hostname": hostname})
            }
            Self::Dhcp6(Dhcp6 { params, vendor_class, hostname }) => {
                json!({"params": params, "vendor_class": vendor_class, "hostname": hostname})
            }
            Self::TcpSyn(TcpSyn { ttl, window, options, mss, wscale, shape }) => json!({
                "ttl": ttl, "window": window, "options": options, "mss": mss, "wscale": wscale,
                "p0f": p0f::text(shape), "quirks": p0f::quirks(shape),
            }),
        }
    }
}

/// Puts together what is spread over packets.
#[derive(Default)]
pub struct Observer {
    streams: HashMap<Flow, Stream>,
    quic: HashMap<Flow, quic::Client>,
}

impl Observer {
    /// What the frame shows, or completes; and whose it is.
    pub fn frame(&mut self, frame: &[u8]) -> Vec<(Mac, Observation)> {
        let Some(segment) = Segment::read(frame) else { return Vec::new() };
        match segment.protocol {
            protocol::TCP => self.tcp(&segment),
            protocol::UDP => self.udp(&segment),
            _ => Vec::new(),
        }
    }

    fn tcp(&mut self, segment: &Segment<'_>) -> Vec<(Mac, Observation)> {
        let Some(tcp) = segment.tcp() else { return Vec::new() };
        let mut seen = Vec::new();
        if tcp.is_first() {
            seen.push(Observation::TcpSyn(syn::read(segment, &tcp)));
            self.streams.insert(segment.flow, Stream::after(tcp.sequence.wrapping_add(1)));
        }
        if !tcp.payload.is_empty() {
            let sequence = if tcp.is_first() { tcp.sequence.wrapping_add(1) } else { tcp.sequence };
            let stream = self.streams.entry(segment.flow).or_insert_with(|| Stream::after(sequence));
            let dns = segment.flow.destination_port == DNS;
            stream.segment(sequence, tcp.payload, dns, &mut seen);
        }
        seen.into_iter().map(|observation| (segment.device, observation)).collect()
    }

    fn udp(&mut self, segment: &Segment<'_>) -> Vec<(Mac, Observation)> {
        let Some(payload) = segment.udp() else { return Vec::new() };
        let Flow { source_port, destination_port, .. } = segment.flow;
        if let Some(mirrored) = mirrored(destination_port, payload) {
            // The device is who sent the frame, here as everywhere.
            return self.frame(mirrored).into_iter().map(|(_, observation)| (segment.device, observation)).collect();
        }
        if destination_port == DHCP_SERVER
            && let Some(dhcp) = dhcp::read(payload)
        {
            return vec![(dhcp.device, Observation::Dhcp(dhcp))];
        }
        if destination_port == DHCP6_SERVER
            && let Some(dhcp) = dhcp6::read(payload)
        {
            return vec![(segment.device, Observation::Dhcp6(dhcp))];
        }
        if let Some(hello) = dtls::read(payload) {
            return vec![(segment.device, hello)];
        }
        if destination_port == DNS || source_port == DNS {
            let name = text::first_question(payload, Transport::Udp);
            return name.map(|name| (segment.device, Observation::DnsQuery { name })).into_iter().collect();
        }
        let hello = self.quic.entry(segment.flow).or_default().datagram(payload);
        let read = hello.and_then(|hello| {
            let ja4 = Ja4::of_hello(&hello, ja4::Transport::Quic);
            text::server_name(&hello).map(|sni| Observation::QuicClientHello { sni, ja4 })
        });
        read.map(|hello| (segment.device, hello)).into_iter().collect()
    }
}

/// The frame that a mirror packed up. It is shorter than what holds it, so frames within frames come to an end.
fn mirrored(port: u16, payload: &[u8]) -> Option<&[u8]> {
    match (port, payload) {
        (VXLAN, [8, _, _, _, _, _, _, _, frame @ ..]) => Some(frame),
        // Version 0 and the options' length in words; the protocol is Ethernet's number.
        (GENEVE, [version @ 0..0x40, _, 0x65, 0x58, _, _, _, _, rest @ ..]) => rest.get(usize::from(*version) * 4..),
        _ => None,
    }
}
