//! A [`Status`] as Prometheus metrics.
//!
//! A plain function and not a `prometheus::core::Collector`: a collector cannot fail, and a scrape that cannot read the kernel must be an
//! error and not half the truth. So each scrape reads one [`Status`] and makes all families from it, or none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use edge_ebpf::abi::beside::CopyKind;
use edge_ebpf::abi::{Counter, Verdict};
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use crate::agent::status::{DeviceCounts, PolicyStatus, SourceStatus, Status, StatusError, StatusSource};
use crate::beside::{CopyCounts, CopyResult};
use crate::dataplane::snapshot::{InterfaceSnapshot, RuleSnapshot, Snapshot, TableUse, XdpMode};
use crate::telemetry::attempts::{Attempt, Attempts, Tally};
use crate::telemetry::events::ReportCounts;

mod family;
use family::Family;

/// No metrics can be given.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error("cannot write the metrics as text: {0}")]
    Encode(#[from] prometheus::Error),
}

/// Answers scrapes.
pub struct Exporter {
    source: StatusSource,
    reports: Arc<ReportCounts>,
    attempts: Arc<Attempts>,
    copies: Arc<CopyCounts>,
    failures: AtomicU64,
}

impl Exporter {
    pub fn new(source: StatusSource, reports: Arc<ReportCounts>, attempts: Arc<Attempts>, copies: Arc<CopyCounts>) -> Self {
        Self { source, reports, attempts, copies, failures: AtomicU64::new(0) }
    }

    /// The text exposition format, version 0.0.4, of the moment.
    ///
    /// # Errors
    /// If the kernel's counters cannot be read; the next scrape that succeeds tells how often that was.
    pub fn scrape(&self) -> Result<String, ScrapeError> {
        self.text().inspect_err(|_| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn text(&self) -> Result<String, ScrapeError> {
        let status = (self.source)()?;
        let Self { source: _, reports, attempts, copies, failures } = self;
        let families = families(&status, reports, &attempts.rows(), copies, failures.load(Ordering::Relaxed));
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

/// Every metric of the agent, by name of the thing measured.
fn families(status: &Status, reports: &ReportCounts, attempts: &[Attempt], copies: &CopyCounts, scrape_failures: u64) -> Vec<MetricFamily> {
    let Status {
        version,
        schema,
        started_at,
        generation,
        loaded_at,
        ready,
        policies,
        warnings,
        sources,
        load_failures,
        last_failure,
        devices: DeviceCounts { known, changes },
        snapshot,
    } = status;

    let mut all = vec![
        Family::gauge("edge_build_info", "The agent's version, and the version of the layouts that it pins.")
            .with(&[("schema", &schema.to_string()), ("version", version)], 1.0),
        Family::gauge("process_start_time_seconds", "When the agent started, in seconds since the epoch.").with(&[], seconds(*started_at)),
        Family::gauge("edge_ready", "1 if the policies that are configured now are in force on every configured interface.")
            .with(&[], flag(*ready)),
        Family::gauge("edge_generation", "Number of the set of tables in force; 0 if none is.").with(&[], f64::from(*generation)),
        Family::gauge("edge_loaded_timestamp_seconds", "When this agent put the generation in force, in seconds since the epoch.")
            .with_each(loaded_at, |at, family| family.add(&[], seconds(*at))),
        Family::counter("edge_policy_load_failures_total", "Attempts to load that changed nothing, by the stage that failed.")
            .with_each(load_failures, |(stage, count), family| family.add(&[("stage", stage.name())], whole(*count))),
        Family::gauge("edge_policy_load_ok", "1 if the last attempt to load succeeded, so that what is in force is what the files say.")
            .with(&[], flag(last_failure.is_none())),
        Family::gauge("edge_policy_warnings", "Warnings about the policies in force; `edge-agent check` prints them.")
            .with(&[], whole(warnings.len() as u64)),
        Family::gauge("edge_policy_info", "A policy in force.").with_each(policies, policy_info),
        Family::gauge("edge_policy_expires_timestamp_seconds", "From when on no rule of a policy holds, in seconds since the epoch.")
            .with_each(policies, |PolicyStatus { name, expires, .. }, family| {
                if let Some(at) = expires {
                    family.add(&[("policy", name)], seconds(*at));
                }
            }),
        Family::gauge("edge_policy_deadline_timestamp_seconds", "From when on devices should have stopped, in seconds since the epoch.")
            .with_each(policies, |PolicyStatus { name, stop_by, .. }, family| {
                if let Some(at) = stop_by {
                    family.add(&[("policy", name)], seconds(*at));
                }
            }),
        Family::gauge("edge_policy_review_due", "1 from the day on by which a policy wants to be reviewed.").with_each(
            policies,
            |PolicyStatus { name, review_by, .. }, family| {
                family.add(&[("policy", name)], flag(review_by.is_some_and(|day| day <= SystemTime::now())));
            },
        ),
    ];
    all.extend(of_sources(sources));
    all.extend(from_kernel(snapshot));
    all.extend(of_attempts(attempts));
    all.extend([
        Family::counter("edge_reports_total", "Reports of matched rules and of uninspectable packets that the agent has read.")
            .with(&[], whole(reports.read())),
        Family::counter("edge_reports_malformed_total", "Reports that the agent could not decode.").with(&[], whole(reports.malformed())),
        Family::counter("edge_copies_total", "Packets that the agent has read beside their way, by what they are and what came of it.")
            .with_each(CopyKind::ALL.iter().flat_map(|kind| CopyResult::ALL.map(|result| (*kind, result))), |(kind, result), family| {
                family.add(&[("kind", kind.name()), ("result", result.name())], whole(copies.get(kind, result)));
            }),
        Family::gauge("edge_devices", "Devices that the agent knows, of which one or more facts were seen.").with(&[], whole(*known)),
        Family::counter("edge_device_changes_total", "Devices that showed what contradicts what they were known by, by kind of fact.")
            .with_each(changes, |(kind, count), family| family.add(&[("kind", kind)], whole(*count))),
        Family::counter("edge_scrape_failures_total", "Scrapes answered with an error because the kernel's counters could not be read.")
            .with(&[], whole(scrape_failures)),
    ]);
    all.into_iter().filter_map(Family::finish).collect()
}

fn of_attempts(attempts: &[Attempt]) -> [Family; 2] {
    fn each(family: Family, attempts: &[Attempt], value: impl Fn(Tally) -> f64) -> Family {
        family.with_each(attempts, |Attempt { policy, rule, device, tally }, family| {
            family.add(&[("device", device), ("policy", policy), ("rule", rule)], value(*tally));
        })
    }
    [
        each(
            Family::counter(
                "edge_rule_device_attempts_total",
                "Reports of a rule by device since the agent's start: what it sent within a second to one address and service is one.",
            ),
            attempts,
            |tally| whole(tally.count),
        ),
        each(
            Family::gauge("edge_rule_device_last_timestamp_seconds", "When the last of them came, in seconds since the epoch."),
            attempts,
            |tally| seconds(tally.last.into()),
        ),
    ]
}

fn of_sources(sources: &[SourceStatus]) -> [Family; 5] {
    fn each(family: Family, sources: &[SourceStatus], value: impl Fn(&SourceStatus) -> Option<f64>) -> Family {
        family.with_each(sources, |source, family| {
            if let Some(value) = value(source) {
                family.add(&[("file", &source.file.to_string_lossy()), ("source", &source.name)], value);
            }
        })
    }
    [
        Family::gauge("edge_source_info", "A data file that the policies in force were resolved with, by its content.").with_each(
            sources,
            |SourceStatus { name, file, sha256, .. }, family| {
                family.add(&[("file", &file.to_string_lossy()), ("sha256", sha256), ("source", name)], 1.0);
            },
        ),
        each(
            Family::gauge("edge_source_entries", "Entries of a data file that the policies in force were resolved with."),
            sources,
            |source| Some(whole(source.entries)),
        ),
        each(
            Family::gauge("edge_source_modified_timestamp_seconds", "When a data file was last changed, in seconds since the epoch."),
            sources,
            |source| source.modified.map(seconds),
        ),
        each(
            Family::gauge("edge_source_stale_timestamp_seconds", "From when on a data file is too old, in seconds since the epoch."),
            sources,
            |source| source.stale_from.map(seconds),
        ),
        each(
            Family::gauge("edge_source_shrunk", "1 if a data file lost too many entries, so that its former content is in force."),
            sources,
            |source| Some(flag(source.shrunk_to.is_some())),
        ),
    ]
}

fn from_kernel(snapshot: &Snapshot) -> [Family; 13] {
    // The generation is told once, from the status that the snapshot was taken for.
    let Snapshot { generation: _, interfaces, rules, uninspectable, answers, tables, suppressed_reports, suppressed_copies } = snapshot;
    [
        Family::counter("edge_interface_packets_total", "Packets that arrived on an interface, by what became of them.")
            .with_each(interfaces, |interface, family| interface_verdicts(interface, family, |counter| counter.packets)),
        Family::counter("edge_interface_bytes_total", "Bytes of the frames that arrived on an interface, by what became of them.")
            .with_each(interfaces, |interface, family| interface_verdicts(interface, family, |counter| counter.bytes)),
        Family::gauge("edge_interface_enforcing", "1 if the filter is attached to the interface, with all its programs.").with_each(
            interfaces,
            |interface, family| {
                let InterfaceSnapshot { name, role, .. } = interface;
                family.add(&[("interface", name), ("role", role.name())], flag(interface.enforcing()));
            },
        ),
        Family::gauge("edge_interface_xdp_mode", "1 for the mode in which the filter is attached to the interface, 0 for the others.")
            .with_each(interfaces, interface_modes),
        Family::counter("edge_rule_packets_total", "Packets that a rule decided, or only counted where it monitors.")
            .with_each(rules, |rule, family| rule_counter(rule, family, |counter| counter.packets)),
        Family::counter("edge_rule_bytes_total", "Bytes of the frames that a rule decided, or only counted where it monitors.")
            .with_each(rules, |rule, family| rule_counter(rule, family, |counter| counter.bytes)),
        Family::counter("edge_uninspectable_packets_total", "Packets that could not be inspected, by reason and by what became of them.")
            .with_each(uninspectable, |(reason, verdict, counter), family| {
                family.add(&[("reason", reason.name()), ("verdict", verdict.name())], whole(counter.packets));
            }),
        Family::counter("edge_uninspectable_bytes_total", "Bytes of the frames that could not be inspected.").with_each(
            uninspectable,
            |(reason, verdict, counter), family| {
                family.add(&[("reason", reason.name()), ("verdict", verdict.name())], whole(counter.bytes));
            },
        ),
        Family::counter(
            "edge_dns_answers_total",
            "DNS answers on their way to devices, by what became of them: learned from or not, and why.",
        )
        .with_each(answers, |(result, counter), family| family.add(&[("result", result.name())], whole(counter.packets))),
        Family::gauge(
            "edge_table_entries",
            "Entries in use of a table in the kernel; of learned and flows an estimate where there is room for more than 65536.",
        )
        .with_each(tables, |TableUse { table, entries, .. }, family| family.add(&[("table", table)], whole(*entries))),
        Family::gauge("edge_table_capacity", "Entries that a table in the kernel can hold.")
            .with_each(tables, |TableUse { table, capacity, .. }, family| family.add(&[("table", table)], whole(*capacity))),
        Family::counter(
            "edge_reports_suppressed_total",
            "Reports not made: over the limit, or the ring was full. Verdicts do not depend on it.",
        )
        .with(&[], whole(*suppressed_reports)),
        Family::counter(
            "edge_copies_suppressed_total",
            "Packets not copied to the agent: over the limit, or the ring was full. Initials of QUIC stay held.",
        )
        .with(&[], whole(*suppressed_copies)),
    ]
}

fn policy_info(
    PolicyStatus { name, title, severity, mode, priority, expires: _, review_by: _, stop_by: _ }: &PolicyStatus,
    family: &mut Family,
) {
    family.add(&[("mode", mode), ("policy", name), ("priority", &priority.to_string()), ("severity", severity), ("title", title)], 1.0);
}

fn interface_verdicts(interface: &InterfaceSnapshot, family: &mut Family, value: impl Fn(&Counter) -> u64) {
    let InterfaceSnapshot { name, role, mode: _, lacks_answers: _, verdicts } = interface;
    for verdict in Verdict::ALL {
        let counted = whole(value(&verdicts[verdict as usize]));
        family.add(&[("interface", name), ("role", role.name()), ("verdict", verdict.name())], counted);
    }
}

fn interface_modes(interface: &InterfaceSnapshot, family: &mut Family) {
    let InterfaceSnapshot { name, role, mode, lacks_answers: _, verdicts: _ } = interface;
    for candidate in XdpMode::ALL {
        let labels = [("interface", name.as_str()), ("mode", candidate.name()), ("role", role.name())];
        family.add(&labels, flag(*mode == Some(candidate)));
    }
}

/// Rules that no policy has any more are told as well: a counter that vanishes reads as a reset.
fn rule_counter(rule: &RuleSnapshot, family: &mut Family, value: impl Fn(&Counter) -> u64) {
    let RuleSnapshot { policy, rule, action, active: _, counter } = rule;
    family.add(&[("action", action), ("policy", policy), ("rule", rule)], whole(value(counter)));
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Prometheus counts in `f64`: exact up to 2^53.
fn whole(value: u64) -> f64 {
    value as f64
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
