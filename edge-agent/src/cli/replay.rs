use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use edge_agent::engine::capture::{self, Capture, NotReplayed};
use edge_agent::engine::oracle::Oracle;
use edge_agent::engine::policy_test::rule_name;
use edge_agent::engine::{Engine, Outcome};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::load::{load, today};
use edge_agent::policy::model::{Group, GroupId, Resolved};
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_ebpf::abi::Verdict;
use edge_ebpf::engine::Side;
use edge_ebpf::packet::{Address, Family, Mac, Packet, access::Frame, protocol};
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
/// it. From DNS answers to inside addresses that pass, addresses are learned for names. The names that packets carry are told by the host and
/// oracle engines only. Frames that were not captured on Ethernet get such a header; where the capture does not know the sender's MAC, it is
/// zero. Frames that the snap length cut are judged in their full length if their headers are whole. Frames that cannot be judged have no
/// verdict, and say why. Nothing is enforced by it, and no traffic is touched.
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
        // Verdicts are the engine's; which groups a device is in by what it has shown, only this one tells.
        let shows = resolution.resolved.signals.iter().any(|signal| signal.macs().is_none());
        let mut known = Oracle::new(&resolution.resolved, config.conduct);
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
            let context = || format!("frame {number} of {}", capture.display());
            let outcome = engine.run_on(seen.side, &frame).with_context(context)?;
            if json && shows {
                known.run_on(seen.side, &frame).with_context(context)?;
            }
            // What is stopped does not reach the device.
            if seen.answer && outcome.verdict == Verdict::Pass {
                engine.answer(&frame).with_context(context)?;
            }
            summary.add(&outcome, &compiled);
            if json {
                let groups = seen.device.map_or_else(Vec::new, |device| names_of_groups(&resolution.resolved, &known.groups(device)));
                writeln!(out, "{}", line(number, &seen, &outcome, &groups, &compiled))?;
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
    /// It may be a DNS answer on its way to a device: to an inside address, from where resolvers answer.
    answer: bool,
}

/// Whence resolvers answer.
const DNS: u16 = 53;

impl Seen {
    fn of(frame: &[u8], inside: &[IpNet]) -> Self {
        let view = Frame::new(frame);
        let packet = Packet::parse(&view);
        let address = |address: Address| match packet.family {
            Family::None => None,
            Family::V4 => Some(IpAddr::V4(Ipv4Addr::from((address.high >> 32) as u32))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from(u128::from(address.high) << 64 | u128::from(address.low)))),
        };
        let (source, destination) = (address(packet.source(&view)), address(packet.destination));
        let is_inside = |address: Option<IpAddr>| address.is_some_and(|address| inside.iter().any(|prefix| prefix.contains(&address)));
        let answer = packet.protocol == protocol::UDP && packet.ports(&view).0 == DNS && is_inside(destination);
        if is_inside(source) {
            Self { side: Side::Inside, device: Some(packet.device), remote: destination, answer }
        } else {
            Self { side: Side::Outside, device: None, remote: source, answer }
        }
    }
}

fn mac(mac: Mac) -> String {
    mac.octets().map(|octet| format!("{octet:02x}")).join(":")
}

/// The policies' own groups among these, as `policy/group`.
fn names_of_groups(set: &Resolved, groups: &[GroupId]) -> Vec<String> {
    let of_policy = |group: &&Group| !set.policies[group.policy.index()].built_in;
    let name = |group: &Group| format!("{}/{}", set.policies[group.policy.index()].name, group.name);
    groups.iter().map(|id| &set.groups[id.index()]).filter(of_policy).map(name).collect()
}

fn line(number: u64, seen: &Seen, outcome: &Outcome, groups: &[String], compiled: &Compiled) -> Value {
    let Seen { side: _, device, remote, answer: _ } = seen;
    let Outcome { verdict, rule, monitored, reason, reply: _, name } = outcome;
    let rule = rule.and_then(|rule| compiled.rules.get(rule.index()));
    json!({
        "frame": number,
        "verdict": verdict.name(),
        "policy": rule.and_then(|rule| compiled.policies.get(rule.policy.index())).map(|policy| &policy.name),
        "rule": rule.map(|rule| &rule.id),
        "monitored": monitored.iter().map(|rule| rule_name(compiled, *rule)).collect::<Vec<_>>(),
        "device": device.map(mac),
        "groups": groups,
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
    let Outcome { verdict, rule, monitored, reason, reply: _, name } = outcome;
    let device = seen.device.map_or_else(|| "outside".to_owned(), mac);
    let remote = seen.remote.map_or_else(|| "-".to_owned(), |remote| remote.to_string());
    let why = match (rule, reason) {
        (Some(rule), _) => rule_name(compiled, *rule),
        (None, Some(reason)) => format!("uninspectable: {}", reason.name()),
        (None, None) => String::new(),
    };
    let monitored: String = monitored.iter().map(|rule| format!(" (monitored: {})", rule_name(compiled, *rule))).collect();
    let name = name.as_ref().map_or_else(String::new, |name| format!(" (name {name})"));
    let line = format!("{number:>7}  {:<6}  {device:<17}  {remote:<39}  {why}{monitored}{name}", verdict.name());
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

#[cfg(test)]
mod tests {
    use edge_agent::engine::frame::{Ends, FragmentSpec, FrameSpec, Transport};

    use super::*;

    #[test]
    fn what_comes_from_a_resolver_to_the_inside_is_an_answer() {
        let inside: Vec<IpNet> = INSIDE.iter().map(|prefix| prefix.parse().expect("a prefix")).collect();
        let v4 = |from: [u8; 4], to: [u8; 4]| Ends::V4(from.into(), to.into());
        let (outside, own, phone) = ([198, 51, 100, 53], [192, 168, 1, 1], [192, 168, 1, 7]);
        let udp = |source, destination| Transport::Udp { source, destination };
        let seen =
            |ends, transport, fragment| Seen::of(&FrameSpec { fragment, ..FrameSpec::new(Mac(1), ends, transport) }.build(), &inside);
        for (ends, transport, side, answer) in [
            (v4(outside, phone), udp(53, 40_000), Side::Outside, true),
            (v4(own, phone), udp(53, 40_000), Side::Inside, true),
            (v4(phone, outside), udp(53, 53), Side::Inside, false),
            (v4(outside, phone), udp(5353, 40_000), Side::Outside, false),
            (v4(outside, phone), udp(40_000, 53), Side::Outside, false),
            (v4(outside, phone), Transport::syn(53), Side::Outside, false),
            (
                Ends::V6("2001:db8::53".parse().expect("an address"), "fd00::7".parse().expect("an address")),
                udp(53, 1),
                Side::Outside,
                true,
            ),
        ] {
            let seen = seen(ends, transport, None);
            assert_eq!((seen.side == side, seen.answer), (true, answer), "{ends:?} {transport:?}");
        }
        let later = FragmentSpec { id: 7, offset: 1, more: false };
        assert!(!seen(v4(outside, phone), udp(53, 40_000), Some(later)).answer, "it has no ports");
    }
}
