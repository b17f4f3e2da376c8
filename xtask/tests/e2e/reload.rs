//! A packet sees exactly one generation.

use std::fs;
use std::path::Path;
use std::time::Duration;

use xtask::lab::Lab;
use xtask::lab::agent::Agent;
use xtask::lab::plan::{ELSEWHERE, REPORTING};
use xtask::lab::process::wait_until;

use crate::support::flood::{Flood, Sink};
use crate::support::{PHONE_TO_CHINA, Policy, agent_program, rule_packets, with_policy};

const RELOADS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

/// Two policies ban the same under different names, by turns. A packet that saw neither would arrive; one that saw both would be counted
/// twice. So nothing arrives, and the two counters together are exactly what was sent.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn under_100_reloads_every_packet_sees_exactly_one_policy() {
    let lab = Lab::start().unwrap();
    let [banned, open] = [REPORTING, ELSEWHERE].map(|server| Sink::open(&lab, server.ipv4.into()));
    let names = ["odd", "even"];
    let yaml = names.map(|name| Policy { name, ..PHONE_TO_CHINA }.yaml());
    let settings = with_policy(&lab, &Policy { name: names[0], ..PHONE_TO_CHINA });
    let file = settings.policies.join("policy.yaml");
    let agent = Agent::start(&lab, &agent_program(), &settings).unwrap();

    // The way is warm: an address that has yet to be resolved would hold datagrams back.
    Flood::single(&lab.phone, &open);
    wait_until(PATIENCE, "a datagram arrives", || Ok(open.arrived() == 1)).unwrap();
    let floods = [&banned, &open].map(|sink| Flood::start(&lab.phone, sink));
    for round in 1..=RELOADS {
        replace(&lab, &file, &yaml[round % 2]);
        reload(&agent);
    }
    let [sent, _] = floods.map(Flood::stop);

    let counted = || names.map(|name| rule_packets(&agent, name));
    wait_until(PATIENCE, "all banned datagrams are counted", || Ok(counted().iter().sum::<u64>() >= sent)).unwrap();
    let [odd, even] = counted();
    assert_eq!(odd + even, sent);
    assert!(odd > 0 && even > 0, "both policies were in force: {odd} and {even}");
    assert_eq!(banned.arrived(), 0);
    assert!(open.arrived() > 1);
}

/// A policy that does not check changes nothing, and says so.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_broken_policy_leaves_the_running_one_in_force() {
    let lab = Lab::start().unwrap();
    let [banned, open] = [REPORTING, ELSEWHERE].map(|server| Sink::open(&lab, server.ipv4.into()));
    let settings = with_policy(&lab, &PHONE_TO_CHINA);
    let file = settings.policies.join("policy.yaml");
    let agent = Agent::start(&lab, &agent_program(), &settings).unwrap();
    let load_ok = || agent.metrics().unwrap().sum("edge_policy_load_ok", &[]);
    assert_eq!(load_ok(), 1.0);

    replace(&lab, &file, &PHONE_TO_CHINA.yaml().replace("action: drop", "action: dorp"));
    let refused = agent.command(&["reload"]).unwrap();
    assert!(!refused.status.success());
    let said = [refused.stdout, refused.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("dorp") && said.contains("policy.yaml"), "{said}");
    assert_eq!(load_ok(), 0.0);
    // In this order: once the second has arrived, the first would have.
    Flood::single(&lab.phone, &banned);
    Flood::single(&lab.phone, &open);
    wait_until(PATIENCE, "what is not banned arrives", || Ok(open.arrived() == 1)).unwrap();
    assert_eq!(banned.arrived(), 0);

    replace(&lab, &file, &PHONE_TO_CHINA.yaml().replace("action: drop", "action: pass"));
    reload(&agent);
    assert_eq!(load_ok(), 1.0);
    Flood::single(&lab.phone, &banned);
    wait_until(PATIENCE, "what is no longer banned arrives", || Ok(banned.arrived() == 1)).unwrap();
}

/// The file is there in full at each moment.
fn replace(lab: &Lab, file: &Path, yaml: &str) {
    let next = lab.directory.write("next.yaml", yaml).unwrap();
    fs::rename(next, file).unwrap();
}

fn reload(agent: &Agent<'_>) {
    let output = agent.command(&["reload"]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
