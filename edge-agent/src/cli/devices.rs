use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use edge_agent::config::AgentConfig;
use edge_agent::identity::report::{DeviceReport, FactReport, GroupReport};
use edge_agent::identity::text::mac_of;
use edge_agent::server::control::{Request, ask};
use edge_agent::sources::Sources;
use edge_ebpf::packet::Mac;
use jiff::Timestamp;

/// Show what devices have shown of themselves, and in which groups they are by that
///
/// Exits with 1 if the device that is asked for is not known.
#[derive(Args)]
pub struct Devices {
    /// Only the device with this MAC, with all that it has shown.
    mac: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Devices {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { mac: wanted, json } = self;
        let config = super::config_or_default(config);
        let mut vendors = Vendors::new(&config);
        let mut out = io::stdout().lock();
        if let Some(text) = wanted {
            let Some(mut report) = one(&config, mac(&text)?)? else {
                eprintln!("edge-agent: nothing is known of {text}");
                return Ok(ExitCode::FAILURE);
            };
            vendors.name(&mut report);
            if json {
                writeln!(out, "{}", serde_json::to_string(&report)?)?
            } else {
                write_device(&mut out, &report)?
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (mut after, mut rows) = (None, Vec::new());
        loop {
            let mut reports = part(&config, after)?;
            let Some(last) = reports.last() else { break };
            after = Some(mac(&last.mac)?.0);
            reports.iter_mut().for_each(|report| vendors.name(report));
            if json {
                reports.iter().try_for_each(|report| writeln!(out, "{}", serde_json::to_string(report)?))?;
            } else {
                rows.extend(reports.iter().map(row));
            }
        }
        if !json {
            if rows.is_empty() {
                writeln!(out, "no device has shown anything yet")?;
            }
            super::status::table(&mut out, ["MAC", "vendor", "label", "groups", "known by", "last seen"], rows.into_iter())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A whole MAC that somebody has written.
pub(super) fn mac(text: &str) -> anyhow::Result<Mac> {
    mac_of(text).with_context(|| format!("`{text}` is not a whole MAC; such as 64:09:80:00:00:01"))
}

fn part(config: &AgentConfig, after: Option<u64>) -> anyhow::Result<Vec<DeviceReport>> {
    match ask(&config.control_socket, Request::Devices { after })? {
        Ok(reports) => Ok(serde_json::from_value(reports)?),
        Err(message) => bail!("the running agent cannot tell: {message}"),
    }
}

fn one(config: &AgentConfig, Mac(mac): Mac) -> anyhow::Result<Option<DeviceReport>> {
    match ask(&config.control_socket, Request::Device { mac })? {
        Ok(report) => Ok(serde_json::from_value(report)?),
        Err(message) => bail!("the running agent cannot tell: {message}"),
    }
}

/// The IEEE registry, if there is one: it only decorates here.
struct Vendors(Option<Sources>);

impl Vendors {
    fn new(config: &AgentConfig) -> Self {
        let mut sources = Sources::new(config.sources.clone());
        Self(sources.registry().is_ok().then_some(sources))
    }

    fn name(&mut self, report: &mut DeviceReport) {
        let (Some(sources), Some(mac)) = (&mut self.0, mac_of(&report.mac)) else { return };
        let Ok(registry) = sources.registry() else { return };
        // The longest prefix: a part of a range may be another organisation's.
        let found = registry.iter().filter_map(|part| part.value.organisation(mac.0)).max_by_key(|(bits, _)| *bits);
        report.vendor = found.map(|(_, name)| name.to_owned());
    }
}

fn row(report: &DeviceReport) -> [String; 6] {
    let DeviceReport { mac, vendor, label, groups, facts, other_signals, last_seen, .. } = report;
    let mut kinds: Vec<&str> = facts.iter().map(|fact| fact.kind.as_str()).collect();
    kinds.dedup();
    if !other_signals.is_empty() {
        kinds.push("other signals");
    }
    let groups = groups.iter().map(|GroupReport { policy, group, by: _ }| format!("{policy}/{group}"));
    [
        mac.clone(),
        vendor.clone().unwrap_or_default(),
        label.clone().unwrap_or_default(),
        groups.collect::<Vec<_>>().join(" "),
        kinds.join(" "),
        last_seen.map_or_else(|| "never".to_owned(), time),
    ]
}

fn write_device(out: &mut impl Write, report: &DeviceReport) -> io::Result<()> {
    let DeviceReport { mac, vendor, label, owner, first_seen, last_seen, addresses, groups, facts, other_signals } = report;
    writeln!(out, "{mac}")?;
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    for (name, value) in [
        ("vendor", vendor.clone()),
        ("label", label.clone()),
        ("owner", owner.clone()),
        ("first seen", first_seen.map(time)),
        ("last seen", last_seen.map(time)),
        ("addresses", Some(addresses).filter(|addresses| !addresses.is_empty())),
    ] {
        if let Some(value) = value {
            writeln!(out, "  {name}: {value}")?;
        }
    }
    let rows = groups.iter().map(|GroupReport { policy, group, by }| {
        let by = if by.is_empty() { "what it has not shown".to_owned() } else { by.join("; ") };
        [format!("{policy}/{group}"), by]
    });
    super::status::table(out, ["group", "by"], rows)?;
    let rows = facts
        .iter()
        .map(|FactReport { kind, value, raw: _, seen, signals }| [kind.clone(), value.clone(), time(*seen), signals.join("; ")]);
    super::status::table(out, ["has shown", "value", "last", "which is the signal"], rows)?;
    super::status::table(out, ["other signals"], other_signals.iter().map(|signal| [signal.clone()]))
}

fn time(second: u64) -> String {
    let at = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
    at.map_or_else(|| second.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_tells_what_made_it_what() {
        let fact = FactReport {
            kind: "dhcp_hostname".to_owned(),
            value: "Redmi".to_owned(),
            raw: None,
            seen: 60,
            signals: vec!["hostname redmi*".to_owned()],
        };
        let group = GroupReport { policy: "p".to_owned(), group: "xiaomi".to_owned(), by: vec!["hostname redmi*".to_owned()] };
        let report = DeviceReport {
            mac: "64:09:80:00:00:01".to_owned(),
            vendor: Some("Xiaomi".to_owned()),
            last_seen: Some(60),
            groups: vec![group],
            facts: vec![fact],
            ..DeviceReport::default()
        };
        assert_eq!(row(&report), ["64:09:80:00:00:01", "Xiaomi", "", "p/xiaomi", "dhcp_hostname", "1970-01-01T00:01:00Z"]);
        let mut out = Vec::new();
        write_device(&mut out, &report).expect("memory takes all");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("\np/xiaomi  hostname redmi*\n"), "{text}");
        assert!(text.contains("\ndhcp_hostname  Redmi  1970-01-01T00:01:00Z  hostname redmi*\n"), "{text}");
    }
}
