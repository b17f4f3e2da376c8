//! What the tests have in common: policies about the phone, floods of datagrams, and frames made by hand.

pub mod chromium;
pub mod curl;
pub mod dig;
pub mod flood;
pub mod fresh;
pub mod hello;
pub mod ledger;
pub mod quic;
pub mod raw;
pub mod town;
pub mod web;

use std::path::PathBuf;

use xtask::build::agent_path;
use xtask::lab::Lab;
use xtask::lab::agent::Settings;
use xtask::lab::plan::PHONE;

/// The agent under test: built by `./x test` before, or by hand.
pub fn agent_program() -> PathBuf {
    let program = agent_path().unwrap();
    assert!(program.exists(), "{} is missing: cargo build -p edge-agent", program.display());
    program
}

/// A policy with one rule, between the phone (`phone`) or all devices (`all`) and servers in China (`china`) or all (`any`).
pub struct Policy<'a> {
    pub name: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub action: &'a str,
}

/// The rule's name in each of them.
pub const RULE: &str = "only";

impl Policy<'_> {
    pub fn yaml(&self) -> String {
        let Self { name, from, to, action } = self;
        let devices =
            if *from == "all" { String::new() } else { format!("\n  devices: {{{from}: {{any: [{{mac: [\"{}\"]}}]}}}}", PHONE.mac) };
        let destinations = if *to == "any" { "" } else { "\n  destinations: {china: {prefixes: [42.62.48.0/24, \"2408:8000::/32\"]}}" };
        format!(
            "apiVersion: edge/v1\nkind: Policy\nmetadata: {{name: {name}, title: End to end, severity: low, issued: 2014-10-24}}\n\
             spec:\n  mode: enforce\n  priority: 100{devices}{destinations}\n  rules:\n  \
             - {{id: {RULE}, from: {from}, to: [{to}], services: [any], action: {action}}}\n"
        )
    }
}

/// The phone may not reach China.
pub const PHONE_TO_CHINA: Policy<'static> = Policy { name: "phone-to-china", from: "phone", to: "china", action: "drop" };

/// Settings of an agent whose policy folder holds just this one.
pub fn with_policy(lab: &Lab, policy: &Policy<'_>) -> Settings {
    let file = lab.directory.write("policies/policy.yaml", &policy.yaml()).unwrap();
    Settings::new(file.parent().unwrap())
}

/// The counter that a rule must have, in packets.
pub fn rule_packets(agent: &xtask::lab::agent::Agent<'_>, policy: &str) -> u64 {
    agent.metrics().unwrap().sum("edge_rule_packets_total", &[("policy", policy), ("rule", RULE)]) as u64
}
