use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use edge_agent::config::AgentConfig;
use edge_agent::engine::capture::{self, Capture};
use edge_agent::engine::observe::Observer;
use edge_agent::identity::databases::{Databases, Facts};
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
    /// Say in the end what each device may be, by the databases that agent.yaml names in `identity`
    #[arg(long)]
    labels: bool,
}

impl Fingerprint {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { capture, json, labels } = self;
        let databases = if labels { Some(databases(config)?) } else { None };
        let mut devices: BTreeMap<[u8; 6], Facts> = BTreeMap::new();
        let Capture { frames, .. } = capture::read(&capture)?;
        let file = capture.file_name().unwrap_or_default().to_string_lossy();
        let mut observer = Observer::default();
        let mut out = io::stdout().lock();
        for (number, captured) in (1u64..).zip(&frames) {
            let Ok(frame) = captured.bytes() else { continue };
            for (device, observation) in observer.frame(frame) {
                if labels {
                    devices.entry(device.octets()).or_default().add(&observation);
                }
                let details = observation.json();
                if json {
                    let mut line = json!({"capture": file, "frame": number, "kind": observation.kind(), "mac": mac(device.octets())});
                    if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
                        line.extend(details);
                    }
                    writeln!(out, "{line}")?;
                } else {
                    writeln!(out, "{number:>7}  {}  {:<17}  {}", mac(device.octets()), observation.kind(), text(&details))?;
                }
            }
        }
        for (device, facts) in devices {
            for label in databases.as_ref().map(|databases| databases.label(&facts)).unwrap_or_default() {
                let details = label.json();
                if json {
                    let mut line = json!({"capture": file, "kind": "label", "mac": mac(device)});
                    if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
                        line.extend(details);
                    }
                    writeln!(out, "{line}")?;
                } else {
                    writeln!(out, "{:>7}  {}  {:<17}  {}", "", mac(device), "label", text(&details))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// # Errors
/// The configuration or a database cannot be read, with the place.
fn databases(config: &Path) -> anyhow::Result<Databases> {
    let config = AgentConfig::read(config).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Databases::read(&config.identity.files).map_err(|error| anyhow::anyhow!("{error}: {}", error.way_out()))
}

fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
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
