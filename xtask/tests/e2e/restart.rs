//! Enforcement does not hang on the agent.

use std::thread::sleep;
use std::time::Duration;

use xtask::lab::Lab;
use xtask::lab::agent::Agent;
use xtask::lab::plan::{ELSEWHERE, REPORTING};
use xtask::lab::process::wait_until;

use crate::support::flood::{Flood, Sink};
use crate::support::{PHONE_TO_CHINA, agent_program, rule_packets, with_policy};

const PATIENCE: Duration = Duration::from_secs(10);

/// Every banned datagram is dropped *by the rule* while agents are killed and started, so that each is counted: not one arrives, and not
/// one is lost elsewhere on the way, which would hide one that could have arrived.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn no_banned_packet_passes_while_the_agent_is_killed_and_restarted() {
    let lab = Lab::start().unwrap();
    let [banned, open] = [REPORTING, ELSEWHERE].map(|server| Sink::open(&lab, server.ipv4.into()));

    // 1. Without the agent both arrive: the sinks work.
    for sink in [&banned, &open] {
        Flood::single(&lab.phone, sink);
        wait_until(PATIENCE, "a datagram arrives", || Ok(sink.arrived() == 1)).unwrap();
    }

    // 2. With it, the banned ones do not - also while it is dead, and while the next one takes over.
    let mut agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &PHONE_TO_CHINA)).unwrap();
    let floods = [&banned, &open].map(|sink| Flood::start(&lab.phone, sink));
    for _ in 0..3 {
        agent.process().kill().unwrap();
        let before = open.arrived();
        sleep(Duration::from_millis(300));
        assert!(open.arrived() > before, "what is not banned passes while the agent is dead");
        agent.restart().unwrap();
        let before = open.arrived();
        wait_until(PATIENCE, "datagrams pass after the restart", || Ok(open.arrived() > before)).unwrap();
    }
    let [sent, _] = floods.map(Flood::stop);

    // 3. Counters have outlived every agent, and account for each datagram.
    wait_until(PATIENCE, &format!("all {sent} banned datagrams are counted"), || Ok(rule_packets(&agent, PHONE_TO_CHINA.name) == sent))
        .unwrap();
    assert_eq!(banned.arrived(), 1, "only the one from before");
}

/// An agent that ends in order leaves the filter on as well: it may be ending for an upgrade.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn an_agent_that_is_told_to_end_leaves_the_filter_on() {
    let lab = Lab::start().unwrap();
    let [banned, open] = [REPORTING, ELSEWHERE].map(|server| Sink::open(&lab, server.ipv6.into()));
    let mut agent = Agent::start(&lab, &agent_program(), &with_policy(&lab, &PHONE_TO_CHINA)).unwrap();
    agent.process().signal(libc::SIGTERM).unwrap();
    let status = agent.process().wait(PATIENCE).unwrap();
    assert!(status.success(), "{status}");
    // In this order: once the second has arrived, the first would have.
    Flood::single(&lab.phone, &banned);
    Flood::single(&lab.phone, &open);
    wait_until(PATIENCE, "what is not banned arrives", || Ok(open.arrived() == 1)).unwrap();
    assert_eq!(banned.arrived(), 0);
}
