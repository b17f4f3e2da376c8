//! Rules about names, with real clients and servers. Each test first shows that everything is reached without a filter, and then what is
//! under one.

mod browser;
mod dns;
mod hello;
mod http;
mod learned;
mod push;
mod quic;
mod race;
mod web;

use xtask::lab::agent::Agent;

use crate::support::agent_program;
use crate::support::town::{NamePolicy, Town};

/// The phone may not speak to the blocked domain, and is told so; addresses are worth nothing.
const BY_NAME: NamePolicy<'static> =
    NamePolicy { name: "by-name", domains: &["blocked.example"], learned: "off", services: &["any"], action: "reject" };

/// The agent with the policy in force.
fn enforce<'town>(town: &'town Town, policy: &NamePolicy<'_>, more: &str) -> Agent<'town> {
    let mut settings = policy.settings(&town.lab);
    settings.more = more.to_owned();
    Agent::start(&town.lab, &agent_program(), &settings).unwrap()
}

/// Whether one of the last reports is about the name.
fn is_reported(agent: &Agent<'_>, name: &str) -> bool {
    let reports = agent.command(&["status", "--json", "--recent", "200"]).unwrap();
    assert!(reports.status.success(), "{}", String::from_utf8_lossy(&reports.stderr));
    String::from_utf8_lossy(&reports.stdout).contains(&format!("\"{name}\""))
}

/// Packets that could not be inspected, by reason and verdict.
fn uninspectable(agent: &Agent<'_>, reason: &str, verdict: &str) -> u64 {
    agent.metrics().unwrap().sum("edge_uninspectable_packets_total", &[("reason", reason), ("verdict", verdict)]) as u64
}
