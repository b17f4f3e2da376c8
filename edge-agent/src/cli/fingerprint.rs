use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use edge_agent::engine::capture::{self, Capture};
use edge_agent::engine::observe::Observer;
use edge_ebpf::packet::Mac;
use serde_json::{Value, json};

/// Show what captured traffic tells about devices
///
/// The names that they ask for (DNS, TLS, QUIC, DTLS, HTTP), the JA4 of their ClientHellos, what DHCP and DHCPv6 say of them, and the shape of
/// their connections' first segments, also as p0f writes it. Messages that are spread over packets are put together; a line is about the
/// frame that completes one.
#[derive(Args)]
pub struct Fingerprint {
    /// A file in the pcap or pcapng format
    capture: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Fingerprint {
    pub fn run(self, _: &Path) -> anyhow::Result<ExitCode> {
        let Self { capture, json } = self;
        let Capture { frames, .. } = capture::read(&capture)?;
        let file = capture.file_name().unwrap_or_default().to_string_lossy();
        let mut observer = Observer::default();
        let mut out = io::stdout().lock();
        for (number, captured) in (1u64..).zip(&frames) {
            let Ok(frame) = captured.bytes() else { continue };
            for (device, observation) in observer.frame(frame) {
                let details = observation.json();
                if json {
                    let mut line = json!({"capture": file, "frame": number, "kind": observation.kind(), "mac": mac(device)});
                    if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
                        line.extend(details);
                    }
                    writeln!(out, "{line}")?;
                } else {
                    writeln!(out, "{number:>7}  {}  {:<17}  {}", mac(device), observation.kind(), text(&details))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn mac(mac: Mac) -> String {
    mac.octets().map(|octet| format!("{octet:02x}")).join(":")
}

/// `key=value` for what there is.
fn text(details: &Value) -> String {
    let Value::Object(details) = details else { return details.to_string() };
    let known = details.iter().filter(|(_, value)| !value.is_null());
    known
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect::<Vec<_>>()
        .join(" ")
}
