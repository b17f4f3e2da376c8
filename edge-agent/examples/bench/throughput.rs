//! What is left of TCP's throughput through a gateway: the filter on its inside, beside an empty program there.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use aya::programs::xdp::XdpMode;
use serde_json::{Map, Value, json};
use xtask::command::output;
use xtask::lab::Namespace;
use xtask::lab::process::Process;

use crate::Rows;
use crate::goal::{Goal, Values};
use crate::kernel::{self, Programs};
use crate::measure::median;
use crate::report::{Row, rounded};
use crate::sets::{self, ELSEWHERE, PHONE};

const EMPTY: &str = "tcp_empty";
const SHIPPED: &str = "tcp_shipped";
pub const NAMES: [&str; 2] = [EMPTY, SHIPPED];
const INSIDE: &str = "inside0";

pub fn run(device: &Namespace, gateway: &Namespace, server: &Namespace, quick: bool) -> Result<Rows> {
    connect(device, gateway, server)?;
    let mut empty = Programs::plain()?;
    empty.load("pass")?;
    let mut object = kernel::filter(&sets::compiled(&[sets::shipped_folder()])?)?;
    let _server = Process::start(server.command("iperf3").args(["--server"]).stdout(std::process::Stdio::null()))?;
    sleep(Duration::from_millis(300));
    let (seconds, rounds) = if quick { (1, 2) } else { (2, 6) };
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let link = gateway.run(|| Ok(empty.xdp("pass")?.attach(INSIDE, XdpMode::Driver)?))?;
        rates[0].push(gigabits(device, seconds)?);
        empty.xdp("pass")?.detach(link)?;
        let link = gateway.run(|| kernel::attach(&mut object, INSIDE))?;
        rates[1].push(gigabits(device, seconds)?);
        kernel::detach(&mut object, link)?;
    }
    let best: Values = NAMES.into_iter().zip(&rates).map(|(name, rates)| (name, rates.iter().copied().fold(0.0, f64::max))).collect();
    let row = |(name, rates): (&'static str, Vec<f64>)| {
        let goal = if name == SHIPPED { Goal::AtLeastTimes(&[(0.95, EMPTY)]) } else { Goal::None };
        let judged = goal.judge(best[name], &best, 0.0);
        let mut details = Map::new();
        details.insert("about".into(), json!("iperf3, one TCP connection from a device through the gateway, passed; best of some rounds"));
        details.insert("median".into(), json!(rounded(median(rates.clone()))));
        details.insert("seconds".into(), json!(seconds));
        details.insert("rounds".into(), json!(rates.len()));
        if let Some((bound, _)) = judged {
            details.insert("bound".into(), json!(rounded(bound)));
        }
        Row { scenario: name, value: rounded(best[name]), unit: "Gbps", goal: goal.to_string(), met: judged.map(|(_, met)| met), details }
    };
    Ok(NAMES.into_iter().zip(rates).map(row).collect())
}

/// device - inside0 gateway outside0 - server
fn connect(device: &Namespace, gateway: &Namespace, server: &Namespace) -> Result<()> {
    let mac = PHONE.octets().map(|octet| format!("{octet:02x}")).join(":");
    gateway.ip(&[
        &format!("link add {INSIDE} type veth peer name eth0 address {mac} netns {}", device.name()),
        &format!("link add outside0 type veth peer name eth0 netns {}", server.name()),
        &format!("addr add 192.0.2.1/24 dev {INSIDE}"),
        "addr add 198.51.100.1/24 dev outside0",
        &format!("link set {INSIDE} up"),
        "link set outside0 up",
    ])?;
    gateway.sysctl(&[("ipv4/ip_forward", "1")])?;
    device.ip(&["addr add 192.0.2.10/24 dev eth0", "link set eth0 up", "route add default via 192.0.2.1"])?;
    server.ip(&[&format!("addr add {ELSEWHERE}/24 dev eth0"), "link set eth0 up", "route add default via 198.51.100.1"])
}

fn gigabits(device: &Namespace, seconds: u32) -> Result<f64> {
    let text = output(device.command("iperf3").args(["--client", &ELSEWHERE.to_string(), "--json", "--time", &seconds.to_string()]))?;
    let result: Value = serde_json::from_str(&text).context("iperf3 did not print JSON")?;
    let rate = result["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .with_context(|| format!("iperf3 measured nothing: {}", result["error"]))?;
    Ok(rate / 1e9)
}
