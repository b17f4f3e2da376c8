//! `xtask run`: the real agent with the shipped policies, on real interfaces or in the lab.

mod scenario;
mod table;

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{agent_path, cargo};
use crate::command::{is_root, run as run_command, workspace};
use crate::lab::agent::{Agent, METRICS, Settings};
use crate::lab::plan::{LAPTOP, PHONE, gateway};
use crate::lab::{Lab, signal};
use crate::setup::{Purpose, setup};
use table::{RuleCount, Table};

/// Folder of the case that the lab plays.
const CASE: &str = "iaf-2014";
/// Time from one round of traffic to the next.
const INTERVAL: Duration = Duration::from_secs(3);

#[derive(Args)]
pub struct Run {
    /// Interface that faces the devices; without any, a lab of network namespaces is made.
    #[arg(long, value_name = "INTERFACE")]
    inside: Vec<String>,
    /// Interface that faces the upstream.
    #[arg(long, value_name = "INTERFACE", requires = "inside")]
    outside: Vec<String>,
    /// End the lab after one round; fails if anything went otherwise than expected.
    #[arg(long, conflicts_with = "inside")]
    once: bool,
}

impl Run {
    pub fn run(self) -> Result<()> {
        let Self { inside, outside, once } = self;
        if !is_root() {
            bail!("loading a kernel program and making network namespaces needs root: sudo ./x run");
        }
        setup(Purpose::Run)?;
        run_command(cargo().args(["build", "--package=edge-agent"]))?;
        if inside.is_empty() { in_lab(once) } else { on_interfaces(&inside, &outside) }
    }
}

/// Becomes the agent. Enforcement outlives it, so the way out is told before.
fn on_interfaces(inside: &[String], outside: &[String]) -> Result<()> {
    let agent = agent_path()?;
    let config = agent.with_file_name("edge-agent.yaml");
    let policies = workspace().join("policies");
    let text =
        format!("interfaces: {{inside: [{}], outside: [{}]}}\npolicies: {}\n", inside.join(", "), outside.join(", "), policies.display());
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    println!("The filter goes on without the agent. To take it off: {} --config {} detach", agent.display(), config.display());
    let error = Command::new(&agent).arg("--config").arg(&config).arg("run").exec();
    Err(error).with_context(|| format!("cannot start {}", agent.display()))
}

fn in_lab(once: bool) -> Result<()> {
    signal::handle()?;
    println!("lab: building the network");
    let lab = Lab::start()?;
    println!("lab: starting the agent");
    let agent = Agent::start(&lab, &agent_path()?, &Settings::new(workspace().join("policies").join(CASE)))?;
    let live = std::io::stdout().is_terminal() && !once;

    for round in 1.. {
        let start = Instant::now();
        println!("lab: round {round}: trying (a blocked client gives up after a second)");
        let rows = scenario::play(&lab)?;
        let rules = rule_counts(&agent)?;
        let table = Table { rows: &rows, rules: &rules };
        if live {
            // Cursor home, and clear to the end of the screen.
            print!("\x1b[H\x1b[J");
        }
        let how_to_end = if once { "" } else { " · Ctrl-C ends it" };
        println!("edge-filter lab · round {round}{how_to_end}\n");
        println!(
            "  phone:   {}, a prefix of Xiaomi, which the policy iaf-2014 keeps from servers in China, and from the vendor's names",
            PHONE.mac
        );
        println!("  laptop:  {}, a prefix of Lenovo, which it is not about", LAPTOP.mac);
        println!("  gateway: the agent, with the program in XDP on {} and {}\n", gateway::INSIDE, gateway::OUTSIDE);
        println!("{table}");
        println!("  Counted in the kernel, read from the agent's metrics.");
        if !once {
            println!("  To see for yourself: ip netns exec {} curl http://{METRICS}/metrics", lab.gateway.name());
        }
        std::io::stdout().flush().context("cannot write to standard output")?;
        if once {
            return verdict(&table);
        }
        while start.elapsed() < INTERVAL && !signal::is_interrupted() {
            thread::sleep(Duration::from_millis(50));
        }
        if signal::is_interrupted() {
            break;
        }
    }
    println!("\nlab: ended, taking it down");
    Ok(())
}

/// What `--once` ends with: all as expected, and what was blocked was blocked by a rule.
fn verdict(table: &Table<'_>) -> Result<()> {
    let Table { rows, rules } = table;
    let unexpected = rows.iter().filter(|row| !row.is_as_expected()).count();
    if unexpected > 0 {
        bail!("{unexpected} of {} tries went otherwise than expected", rows.len());
    }
    if !rules.iter().any(|rule| rule.packets > 0 && matches!(rule.action.as_str(), "drop" | "reject")) {
        bail!("tries were blocked, but no rule has counted a packet");
    }
    Ok(())
}

/// Rules that packets met, busiest first.
fn rule_counts(agent: &Agent<'_>) -> Result<Vec<RuleCount>> {
    let metrics = agent.metrics()?;
    let mut rules: Vec<_> = metrics
        .of("edge_rule_packets_total")
        .filter(|sample| sample.value > 0.0)
        .map(|sample| {
            let [policy, rule, action] = ["policy", "rule", "action"].map(|label| sample.label(label));
            let bytes = metrics.sum("edge_rule_bytes_total", &[("policy", policy), ("rule", rule), ("action", action)]);
            RuleCount {
                policy: policy.to_owned(),
                rule: rule.to_owned(),
                action: action.to_owned(),
                packets: sample.value as u64,
                bytes: bytes as u64,
            }
        })
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.packets));
    Ok(rules)
}
