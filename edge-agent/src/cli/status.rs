use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use edge_agent::config::AgentConfig;
use edge_agent::dataplane::interfaces::{Interface, Interfaces};
use edge_agent::dataplane::readout::without_agent;
use edge_agent::server::control::{
    AskError, Count, InterfaceReport, Request, RuleReport, SourceReport, StatusReport, TableReport, UninspectableReport, ask,
};
use edge_agent::telemetry::events::Report;

/// Show what is in force, where, and what it has counted
///
/// Exits with 1 if nothing is enforced.
#[derive(Args)]
pub struct Status {
    /// One JSON object; with --recent, one a line.
    #[arg(long)]
    json: bool,
    /// Instead, the last packets that matched a rule or could not be inspected, up to this many.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "20")]
    recent: Option<usize>,
}

impl Status {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { json, recent } = self;
        let config = super::config_or_default(config);
        let mut out = io::stdout().lock();
        if let Some(count) = recent {
            for report in last_reports(&config, count)? {
                if json { writeln!(out, "{}", serde_json::to_string(&report)?)? } else { writeln!(out, "{report}")? }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let report = report(&config)?;
        if json {
            serde_json::to_writer(&mut out, &report)?;
            writeln!(out)?;
        } else {
            write(&mut out, &report)?;
        }
        Ok(if report.enforcing { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// From the running agent, else from what it left in the kernel.
fn report(config: &AgentConfig) -> anyhow::Result<StatusReport> {
    match ask(&config.control_socket, Request::Status) {
        Ok(Ok(report)) => Ok(serde_json::from_value(report)?),
        Ok(Err(message)) => bail!("the running agent cannot tell: {message}"),
        Err(AskError::NoAgent { .. }) => Ok(StatusReport::without_agent(&without_agent(&config.pins, &interfaces()?)?)),
        Err(error) => Err(error.into()),
    }
}

fn last_reports(config: &AgentConfig, count: usize) -> anyhow::Result<Vec<Report>> {
    match ask(&config.control_socket, Request::Recent { count })? {
        Ok(reports) => Ok(serde_json::from_value(reports)?),
        Err(message) => bail!("the running agent cannot tell: {message}"),
    }
}

fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the reader of interfaces")?;
    Ok(runtime.block_on(async { Interfaces::open()?.all().await })?)
}

fn write(out: &mut impl Write, report: &StatusReport) -> io::Result<()> {
    let StatusReport {
        agent,
        version,
        enforcing,
        ready,
        generation,
        loaded_at: _,
        interfaces,
        policies,
        rules,
        uninspectable,
        answers,
        tables,
        warnings,
        sources,
        devices,
        last_failure,
    } = report;
    match (agent, enforcing) {
        (true, true) if *ready => writeln!(out, "enforcing generation {generation} (agent {version})")?,
        (true, true) => writeln!(out, "enforcing generation {generation}, which is not what is configured (agent {version})")?,
        (true, false) => writeln!(out, "the agent runs (version {version}), and no interface is filtered")?,
        (false, true) => writeln!(out, "enforcing without an agent, generation {generation}")?,
        (false, false) => writeln!(out, "nothing is enforced, and no agent runs")?,
    }
    if !policies.is_empty() {
        writeln!(out, "policies: {}", policies.join(", "))?;
    }
    if *agent {
        writeln!(out, "devices that have shown what they are known by: {devices}")?;
    }
    if let Some(failure) = last_failure {
        writeln!(out, "\nthe last attempt to load changed nothing:\n{}", failure.trim_end())?;
    }
    if !warnings.is_empty() {
        writeln!(out, "\nwarnings about the policies, which `edge-agent check` shows: {}", warnings.len())?;
    }
    let rows = interfaces.iter().map(|InterfaceReport { name, role, mode, lacks_answers, verdicts }| {
        let count = |verdict: &str| verdicts.get(verdict).map_or_else(String::new, packets);
        [
            name.clone(),
            role.clone(),
            match mode {
                Some(mode) if *lacks_answers => format!("{mode}, DNS answers not read"),
                Some(mode) => mode.clone(),
                None => "not attached".to_owned(),
            },
            count("pass"),
            count("drop"),
            count("reject"),
        ]
    });
    table(out, ["interface", "role", "mode", "passed", "dropped", "rejected"], rows)?;
    let rows = rules.iter().map(|RuleReport { policy, rule, action, active, count }| {
        let action = if *active { action.clone() } else { format!("{action} (removed)") };
        [policy.clone(), rule.clone(), action, packets(count), count.bytes.to_string()]
    });
    table(out, ["policy", "rule", "action", "packets", "bytes"], rows)?;
    let rows = uninspectable.iter().map(|UninspectableReport { reason, verdict, count }| [reason.clone(), verdict.clone(), packets(count)]);
    table(out, ["uninspectable", "verdict", "packets"], rows)?;
    table(out, ["DNS answers", "packets"], answers.iter().map(|(result, count)| [result.clone(), packets(count)]))?;
    let rows = tables.iter().map(|TableReport { table, entries, capacity }| [table.clone(), entries.to_string(), capacity.to_string()]);
    table(out, ["table", "entries", "capacity"], rows)?;
    table(out, ["source", "file", "modified", "SHA-256", "entries", ""], sources.iter().map(source_row))
}

fn source_row(report: &SourceReport) -> [String; 6] {
    let SourceReport { source, file, entries, modified, sha256, stale, shrunk_to } = report;
    let date = modified.and_then(|seconds| jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
    let date = date.map_or_else(String::new, |at| at.strftime("%Y-%m-%d").to_string());
    let mut notes = Vec::new();
    if let Some(now) = shrunk_to {
        notes.push(format!("has {now} now, which is not taken: `edge-agent reload --accept-shrink` if it is right"));
    }
    if *stale {
        notes.push("too old".to_owned());
    }
    // As many digits as tell files apart; --json has all.
    let digest = sha256.get(..12).unwrap_or(sha256).to_owned();
    [source.clone(), file.display().to_string(), date, digest, entries.to_string(), notes.join("; ")]
}

fn packets(count: &Count) -> String {
    count.packets.to_string()
}

/// Columns as wide as their widest cell, after an empty line; nothing without rows.
pub(super) fn table<const N: usize>(out: &mut impl Write, head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let head = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(&rows);
    for row in all() {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = all().map(|row| row[column].chars().count()).max().unwrap_or(0);
            format!("{cell:width$}")
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(change: impl FnOnce(&mut StatusReport)) -> String {
        let mut report = StatusReport {
            agent: true,
            version: "1.2.3".to_owned(),
            enforcing: true,
            ready: true,
            generation: 7,
            loaded_at: None,
            interfaces: vec![InterfaceReport {
                name: "lan".to_owned(),
                role: "inside".to_owned(),
                mode: Some("native".to_owned()),
                lacks_answers: false,
                verdicts: [("drop".to_owned(), Count { packets: 12, bytes: 720 })].into(),
            }],
            policies: vec!["iaf-2014".to_owned()],
            rules: vec![RuleReport {
                policy: "iaf-2014".to_owned(),
                rule: "r".to_owned(),
                action: "drop".to_owned(),
                active: false,
                count: Count { packets: 12, bytes: 720 },
            }],
            uninspectable: vec![],
            answers: [("learned".to_owned(), Count { packets: 5, bytes: 500 })].into(),
            tables: vec![TableReport { table: "learned".to_owned(), entries: 7, capacity: 65_536 }],
            warnings: vec![],
            sources: vec![SourceReport {
                source: "countries".to_owned(),
                file: "/data/geoip".into(),
                entries: 385_000,
                modified: Some(1_767_225_600),
                sha256: "0123456789abcdef".repeat(4),
                stale: false,
                shrunk_to: None,
            }],
            devices: 3,
            last_failure: None,
        };
        change(&mut report);
        let mut out = Vec::new();
        write(&mut out, &report).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_first_line_says_whether_it_is_enforced_and_by_whom() {
        assert!(text(|_| ()).starts_with("enforcing generation 7 (agent 1.2.3)\n"));
        assert!(text(|report| report.ready = false).starts_with("enforcing generation 7, which is not what is configured"));
        assert!(text(|report| report.agent = false).starts_with("enforcing without an agent, generation 7\n"));
        assert!(text(|report| (report.agent, report.enforcing) = (false, false)).starts_with("nothing is enforced"));
    }

    #[test]
    fn data_files_are_told_of_with_what_is_wrong_with_them() {
        let plain = text(|_| ());
        assert!(plain.ends_with("\ncountries  /data/geoip  2026-01-01  0123456789ab  385000\n"), "{plain}");
        let held = text(|report| (report.sources[0].stale, report.sources[0].shrunk_to) = (true, Some(7)));
        assert!(held.contains("385000   has 7 now, which is not taken") && held.ends_with("; too old\n"), "{held}");
    }

    #[test]
    fn counts_stand_under_their_heads() {
        let text = text(|_| ());
        assert!(text.contains("\ninterface  role    mode    passed  dropped  rejected\nlan        inside  native          12\n"), "{text}");
        assert!(text.contains("\niaf-2014  r     drop (removed)  12       720\n"), "{text}");
        assert!(text.contains("\nDNS answers  packets\nlearned      5\n"), "{text}");
        assert!(text.contains("\ntable    entries  capacity\nlearned  7        65536\n"), "{text}");
        assert!(!text.contains("uninspectable"));
    }

    #[test]
    fn an_interface_tells_what_it_lacks() {
        assert!(text(|report| report.interfaces[0].lacks_answers = true).contains("native, DNS answers not read"));
        assert!(text(|report| report.interfaces[0].mode = None).contains("not attached"));
    }
}
