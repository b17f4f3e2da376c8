use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use edge_agent::engine::Outcome;
use edge_agent::engine::capture::{self, Capture, NotReplayed};
use edge_agent::engine::policy_test::rule_name;
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::load::{load, today};
use edge_agent::policy::model::{Group, Resolved, Signal};
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_ebpf::engine::Side;
use edge_ebpf::packet::{Address, Family, Mac, Packet, access::Frame};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::engine_choice::EngineChoice;

/// What is inside where nobody says: private (RFC 1918), unique local (RFC 4193) and link-local addresses.
const INSIDE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// Schedules reach further than this from the moment that they were laid out for. Fragments and rates are not remembered beyond.
const A_YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Show what would have become of captured traffic
///
/// Frames from inside addresses enter on an inside interface, all others on an outside interface, each at the time that the capture has for
/// it. Frames that were not captured on Ethernet get such a header; where the capture does not know the sender's MAC, it is zero. Frames that
/// the snap length cut are judged in their full length if their headers are whole. Frames that cannot be judged have no verdict, and say
/// why. Nothing is enforced by it, and no traffic is touched.
#[derive(Args)]
pub struct Replay {
    /// A file in the pcap or pcapng format
    capture: PathBuf,
    /// Policy file, or folder of them [default: the folder that agent.yaml names]
    #[arg(long)]
    policies: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineChoice,
    /// Addresses that are inside; may be given several times [default: private, unique-local and link-local ranges]
    #[arg(long, value_name = "CIDR")]
    inside: Vec<IpNet>,
    /// One JSON object a line: each frame, then a summary.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub fn run(self, config: &Path) -> anyhow::Result<ExitCode> {
        let Self { capture, policies, engine, inside, json } = self;
        let config = match super::check::read_config(config, policies.is_some()) {
            Ok(config) => config,
            Err(problems) => {
                super::check::print(&problems, json)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let paths = [policies.unwrap_or_else(|| config.policies.clone())];
        let mut sources = Sources::new(config.sources);
        let resolution = match resolve(load(&paths, today()), &config.always_allow, &[], &mut sources) {
            Ok(resolution) => resolution,
            Err(problems) => {
                super::check::print(&problems, json)?;
                return Ok(ExitCode::FAILURE);
            }
        };
        let Capture { frames, breaks_off } = capture::read(&capture)?;
        let inside = if inside.is_empty() { INSIDE.iter().filter_map(|prefix| prefix.parse().ok()).collect() } else { inside };
        // Schedules are laid out from there on. Frames without a time are of the moment before.
        let start = frames.iter().map(|frame| frame.at).filter(|at| *at != Timestamp::UNIX_EPOCH).min().unwrap_or(Timestamp::UNIX_EPOCH);
        let mut laid_out = start;
        let mut compiled = compile(&resolution.resolved, laid_out)?;
        let kind = engine.kind();
        let mut engine = kind.start(&resolution.resolved, &compiled, config.conduct)?;
        let mut out = io::stdout().lock();
        let mut summary = Summary { engine: kind.name(), frames: frames.len(), breaks_off, ..Summary::default() };
        let mut now = start;
        for (number, captured) in (1u64..).zip(&frames) {
            summary.cut += u64::from(captured.is_cut());
            let frame = match captured.frame() {
                Ok(frame) => frame,
                Err(why) => {
                    *summary.not_replayed.entry(why.to_string()).or_default() += 1;
                    if json {
                        writeln!(out, "{}", line_without_verdict(number, why))?;
                    } else {
                        writeln!(out, "{number:>7}  -       not replayed: {why}")?;
                    }
                    continue;
                }
            };
            // Where a capture is out of order, time does not go back.
            now = now.max(captured.at);
            if now.duration_since(laid_out) > A_YEAR && compiled.timeline.is_some() {
                laid_out = now;
                drop(engine);
                compiled = compile(&resolution.resolved, laid_out)?;
                engine = kind.start(&resolution.resolved, &compiled, config.conduct)?;
            }
            engine.set_time(now)?;
            let seen = Seen::of(&frame, &inside);
            let outcome = engine.run_on(seen.side, &frame).with_context(|| format!("frame {number} of {}", capture.display()))?;
            summary.add(&outcome, &compiled);
            if json {
                writeln!(out, "{}", line(number, &seen, &outcome, &resolution.resolved, &compiled))?;
            } else {
                write_text(&mut out, number, &seen, &outcome, &compiled)?;
            }
        }
        if json {
            writeln!(out, "{}", json!({"summary": summary.json()}))?;
        } else {
            summary.write(&mut out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a frame says about who sent it, and where to.
struct Seen {
    side: Side,
    /// Known on the inside only.
    device: Option<Mac>,
    remote: Option<IpAddr>,
}

impl Seen {
    fn of(frame: &[u8], inside: &[IpNet]) -> Self {
        let view = Frame::new(frame);
        let packet = Packet::parse(&view);
        let address = |address: Address| match packet.family {
            Family::None => None,
            Family::V4 => Some(IpAddr::V4(Ipv4Addr::from((address.high >> 32) as u32))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(u128::from(address.high) << 64 | u128::from(address.low)))),
        };
        let source = address(packet.source(&view));
        if source.is_some_and(|source| inside.iter().any(|prefix| prefix.contains(&source))) {
            Self { side: Side::Inside, device: Some(packet.device), remote: address(packet.destination) }
        } else {
            Self { side: Side::Outside, device: None, remote: source }
        }
    }
}

fn mac(mac: Mac) -> String {
    mac.octets().map(|octet| format!("{octet:02x}")).join(":")
}

/// The policies' own groups that a device is in, as `policy/group`.
fn groups(set: &Resolved, device: Mac) -> Vec<String> {
    let of_policy = |group: &&Group| !set.policies[group.policy.index()].built_in;
    let holds = |group: &&Group| {
        group.when.holds(&|signal| match &set.signals[signal.index()] {
            Signal::Mac(ranges) => ranges.contains(device.0),
        })
    };
    let name = |group: &Group| format!("{}/{}", set.policies[group.policy.index()].name, group.name);
    set.groups.iter().filter(of_policy).filter(holds).map(name).collect()
}

fn line(number: u64, seen: &Seen, outcome: &Outcome, set: &Resolved, compiled: &Compiled) -> Value {
    let Seen { side: _, device, remote } = seen;
    let Outcome { verdict, rule, monitored, reason, reply: _, name } = outcome;
    let rule = rule.and_then(|rule| compiled.rules.get(rule.index()));
    json!({
        "frame": number,
        "verdict": verdict.name(),
        "policy": rule.and_then(|rule| compiled.policies.get(rule.policy.index())).map(|policy| &policy.name),
        "rule": rule.map(|rule| &rule.id),
        "monitored": monitored.iter().map(|rule| rule_name(compiled, *rule)).collect::<Vec<_>>(),
        "device": device.map(mac),
        "groups": device.map(|device| groups(set, device)).unwrap_or_default(),
        "remote": remote,
        "name": name,
        "reason": reason.map(|reason| reason.name()),
    })
}

fn line_without_verdict(number: u64, why: NotReplayed) -> Value {
    json!({
        "frame": number,
        "verdict": null,
        "policy": null,
        "rule": null,
        "monitored": [],
        "device": null,
        "groups": [],
        "remote": null,
        "name": null,
        "reason": why.to_string(),
    })
}

fn write_text(out: &mut impl Write, number: u64, seen: &Seen, outcome: &Outcome, compiled: &Compiled) -> io::Result<()> {
    let Outcome { verdict, rule, monitored, reason, reply: _, name: _ } = outcome;
    let device = seen.device.map_or_else(|| "outside".to_owned(), mac);
    let remote = seen.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string());
    let why = match (rule, reason) {
        (Some(rule), _) => rule_name(compiled, *rule),
        (None, Some(reason)) => format!("uninspectable: {}", reason.name()),
        (None, None) => String::new(),
    };
    let monitored: String = monitored.iter().map(|rule| format!(" (monitored: {})", rule_name(compiled, *rule))).collect();
    let line = format!("{number:>7}  {:<6}  {device:<17}  {remote:<39}  {why}{monitored}", verdict.name());
    writeln!(out, "{}", line.trim_end())
}

/// How many frames of what kind there were.
#[derive(Default)]
struct Summary {
    engine: &'static str,
    frames: usize,
    breaks_off: bool,
    cut: u64,
    verdicts: BTreeMap<&'static str, u64>,
    rules: BTreeMap<String, u64>,
    uninspectable: BTreeMap<&'static str, u64>,
    not_replayed: BTreeMap<String, u64>,
}

impl Summary {
    fn add(&mut self, outcome: &Outcome, compiled: &Compiled) {
        let Outcome { verdict, rule, monitored, reason, reply: _, name: _ } = outcome;
        *self.verdicts.entry(verdict.name()).or_default() += 1;
        for rule in rule.iter().chain(monitored) {
            *self.rules.entry(rule_name(compiled, *rule)).or_default() += 1;
        }
        if let Some(reason) = reason {
            *self.uninspectable.entry(reason.name()).or_default() += 1;
        }
    }

    fn json(&self) -> Value {
        let Self { engine, frames, breaks_off, cut, verdicts, rules, uninspectable, not_replayed } = self;
        json!({
            "engine": engine,
            "frames": frames,
            "breaks_off": breaks_off,
            "cut": cut,
            "verdicts": verdicts,
            "rules": rules,
            "uninspectable": uninspectable,
            "not_replayed": not_replayed,
        })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { engine, frames, breaks_off, cut, verdicts, rules, uninspectable, not_replayed } = self;
        writeln!(out, "{frames} frames ({engine} engine)")?;
        verdicts.iter().try_for_each(|(name, count)| writeln!(out, "{count:>7}  {name}"))?;
        rules.iter().try_for_each(|(name, count)| writeln!(out, "{count:>7}  by rule {name}"))?;
        uninspectable.iter().try_for_each(|(name, count)| writeln!(out, "{count:>7}  uninspectable: {name}"))?;
        not_replayed.iter().try_for_each(|(name, count)| writeln!(out, "{count:>7}  not replayed: {name}"))?;
        if *cut > 0 {
            writeln!(out, "{cut:>7}  cut by the snap length")?;
        }
        if *breaks_off {
            writeln!(out, "the capture breaks off: there is more in it, or was")?;
        }
        Ok(())
    }
}
