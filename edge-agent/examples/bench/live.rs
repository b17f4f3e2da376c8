//! Real frames over a veth pair, as fast as one CPU can send them and the filter behind the pair drop them: sender and receiver share the
//! CPU, as the veth driver has it, so that what is compared is the whole of both.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use aya::programs::xdp::XdpMode;
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use serde_json::{Map, Value, json};
use xtask::command::output;
use xtask::lab::Namespace;

use crate::goal::{Goal, Values};
use crate::kernel::{self, Programs};
use crate::measure::median;
use crate::peers::{self, Features};
use crate::report::{Row, rounded};
use crate::sets::{self, BANNED, ELSEWHERE, PHONE};
use crate::{Rows, expected};

const EMPTY: &str = "live_empty";
const SHIPPED: &str = "live_shipped";
const XDP_FILTER: &str = "live_xdp_filter_dny_all";
const NFTABLES: &str = "live_nftables";
const IPTABLES: &str = "live_iptables_ipset";
pub const NAMES: [&str; 5] = [EMPTY, SHIPPED, XDP_FILTER, NFTABLES, IPTABLES];

/// The shipped policies' goal: as good as nothing beside the empty program, and a multiple of nftables.
const GOAL: Goal = Goal::AtLeastTimes(&[(0.85, EMPTY), (3.5, NFTABLES)]);

/// A pair of interfaces with a filter behind it.
struct Pair {
    name: &'static str,
    sender: u32,
    receiver: String,
    /// Attached for as long as this lives.
    _programs: Option<Box<dyn std::any::Any>>,
}

pub fn run(namespace: &Namespace, quick: bool) -> Result<Rows> {
    let prefixes = banned_prefixes()?;
    let pairs = (0..).zip(NAMES).map(|(number, name)| Pair::new(namespace, number, name, &prefixes)).collect::<Result<Vec<_>>>()?;
    let mut generator = Programs::plain()?;
    let transmit = Xdp::from_program_info(generator.load("transmit")?, "transmit".into(), XdpAttachType::Interface)?;
    let (frames, rounds) = if quick { (400_000, 3) } else { (1_000_000, 9) };
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); pairs.len()];
    for _ in 0..rounds {
        for (pair, rates) in pairs.iter().zip(&mut rates) {
            rates.push(pair.rate(namespace, &transmit, frames)?);
        }
    }
    let best: Values = NAMES.into_iter().zip(&rates).map(|(name, rates)| (name, rates.iter().copied().fold(0.0, f64::max))).collect();
    let row = |(name, rates): (&'static str, Vec<f64>)| {
        let goal = if name == SHIPPED { GOAL } else { Goal::None };
        let judged = goal.judge(best[name], &best, 0.0);
        let mut details = Map::new();
        details.insert("about".into(), json!("60-byte frames to an address in China, dropped; the best of some rounds"));
        details.insert("median".into(), json!(rounded(median(rates.clone()))));
        details.insert("frames".into(), json!(frames));
        details.insert("rounds".into(), json!(rates.len()));
        details.insert("prefixes".into(), json!(prefixes.len()));
        if let Some((bound, _)) = judged {
            details.insert("bound".into(), json!(rounded(bound)));
        }
        Row { scenario: name, value: rounded(best[name]), unit: "Mpps", goal: goal.to_string(), met: judged.map(|(_, met)| met), details }
    };
    Ok(NAMES.into_iter().zip(rates).map(row).collect())
}

impl Pair {
    fn new(namespace: &Namespace, number: u32, name: &'static str, prefixes: &[String]) -> Result<Self> {
        let (sender, receiver) = (format!("send{number}"), format!("take{number}"));
        namespace.ip(&[
            // The address that the frames have: others' frames would not reach netfilter.
            &format!("link add {sender} type veth peer name {receiver} address 02:00:00:00:00:fe"),
            &format!("link set {sender} up"),
            &format!("link set {receiver} up"),
        ])?;
        // A veth takes frames from XDP only where it receives by NAPI.
        output(namespace.command("ethtool").args(["-K", &receiver, "gro", "on"]))?;
        let mut programs: Option<Box<dyn std::any::Any>> = None;
        match name {
            EMPTY => {
                let mut empty = Programs::plain()?;
                empty.load("drop")?;
                namespace.run(|| Ok(empty.xdp("drop")?.attach(&receiver, XdpMode::Driver).map(drop)?))?;
                programs = Some(Box::new(empty));
            }
            SHIPPED => {
                let mut object = kernel::filter(&sets::compiled(&[sets::shipped_folder()])?)?;
                namespace.run(|| kernel::attach(&mut object, &receiver).map(drop))?;
                programs = Some(Box::new(object));
            }
            XDP_FILTER => peers::xdp_filter(namespace, &receiver, Features::All, ELSEWHERE)?,
            NFTABLES => peers::nftables(namespace, &receiver, prefixes)?,
            IPTABLES => peers::iptables(namespace, &receiver, prefixes)?,
            _ => bail!("no filter is called {name}"),
        }
        let sender = index(namespace, &sender)?;
        Ok(Self { name, sender, receiver, _programs: programs })
    }

    /// Million frames per second.
    fn rate(&self, namespace: &Namespace, transmit: &Xdp, frames: u32) -> Result<f64> {
        let frame = expected::frame(PHONE, BANNED.into());
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, frame.len() as u32, 0, self.sender, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let before = (self.received(namespace)?, self.not_dropped(namespace)?);
        let time = namespace.run(|| {
            let start = Instant::now();
            transmit.test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(64),
                ..TestRunOptions::new()
            })?;
            Ok(start.elapsed())
        })?;
        let received = self.received(namespace)? - before.0;
        ensure!(received * 10 > u64::from(frames) * 9, "{}: of {frames} frames only {received} arrived", self.name);
        let passed = self.not_dropped(namespace)? - before.1;
        ensure!(passed * 1000 < received, "{}: {passed} of {received} frames were not dropped", self.name);
        Ok(received as f64 / time.as_secs_f64() / 1e6)
    }

    fn received(&self, namespace: &Namespace) -> Result<u64> {
        let text = output(namespace.command("ip").args(["-j", "-s", "link", "show", "dev", &self.receiver]))?;
        let links: Value = serde_json::from_str(&text).context("ip did not print JSON")?;
        links[0]["stats64"]["rx"]["packets"].as_u64().context("ip prints no count of packets")
    }

    /// Packets that IP got in spite of the filter. Before iptables IP sees them all, and it must be asked how many got past its rule.
    fn not_dropped(&self, namespace: &Namespace) -> Result<u64> {
        if self.name == IPTABLES {
            let text = output(namespace.command("iptables").args(["-t", "raw", "-nvxL", "PREROUTING"]))?;
            let rule = text.lines().find(|line| line.contains("DROP")).context("iptables shows no rule")?;
            let dropped: u64 = rule.split_whitespace().next().context("iptables shows no count")?.parse()?;
            return Ok(self.received(namespace)?.saturating_sub(dropped));
        }
        let text = namespace.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (names, values) = (lines.next().context("no counters of IP")?, lines.next().context("no counters of IP")?);
        let place = names.split(' ').position(|name| name == "InReceives").context("IP does not count what it receives")?;
        Ok(values.split(' ').nth(place).context("IP does not count what it receives")?.parse()?)
    }
}

fn index(namespace: &Namespace, interface: &str) -> Result<u32> {
    let text = output(namespace.command("ip").args(["-j", "link", "show", "dev", interface]))?;
    let links: Value = serde_json::from_str(&text).context("ip did not print JSON")?;
    Ok(u32::try_from(links[0]["ifindex"].as_u64().context("ip prints no index")?)?)
}

/// China's prefixes as text: what the shipped policies drop, for the filters that know no countries.
fn banned_prefixes() -> Result<Vec<String>> {
    let sets = sets::addresses(&["CN".to_owned()])?;
    let ranges = sets.iter().flat_map(|set| set.v4.iter());
    let prefixes = ranges.flat_map(|(first, last)| sets::prefixes((*first).into(), (*last).into(), 32));
    Ok(prefixes.map(|(length, address)| format!("{}/{length}", std::net::Ipv4Addr::from(address as u32))).collect())
}
