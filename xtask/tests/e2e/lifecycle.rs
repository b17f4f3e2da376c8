//! What an agent leaves behind, what it refuses to touch, and how everything is taken off.

use std::path::Path;

use aya::maps::{Array, Map, MapData};
use edge_agent::dataplane::pod::Value;
use edge_ebpf::abi::{SCHEMA, Stamp};
use xtask::command::output;
use xtask::lab::Lab;
use xtask::lab::agent::{Agent, Settings};
use xtask::lab::client::{Family, Outcome, Protocol, Try};
use xtask::lab::plan::{REPORTING, gateway};

use crate::support::{PHONE_TO_CHINA, Policy, agent_program, with_policy};

const BANNED: Try = Try { protocol: Protocol::Http, server: REPORTING, family: Family::Ipv4 };

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn detach_takes_off_programs_and_pins_alike() {
    let lab = Lab::start().unwrap();
    let settings = with_policy(&lab, &PHONE_TO_CHINA);
    let mut agent = Agent::start(&lab, &agent_program(), &settings).unwrap();
    assert!(program_on(&lab, gateway::INSIDE).is_some() && program_on(&lab, gateway::OUTSIDE).is_some());
    assert_ne!(files_below(&settings.pins(&lab)), 0);

    agent.process().kill().unwrap();
    assert_eq!(BANNED.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::TimedOut);

    let detached = agent.command(&["detach"]).unwrap();
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    assert_eq!([gateway::INSIDE, gateway::OUTSIDE].map(|interface| program_on(&lab, interface)), [None, None]);
    assert_eq!(files_below(&settings.pins(&lab)), 0);
    assert_eq!(BANNED.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached);
}

/// Another agent's program, with pins elsewhere, is as foreign as another tool's.
#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn a_foreign_program_is_refused_and_left_in_place() {
    let lab = Lab::start().unwrap();
    let settings = with_policy(&lab, &PHONE_TO_CHINA);
    let _first = Agent::start(&lab, &agent_program(), &settings).unwrap();
    let before = program_on(&lab, gateway::INSIDE).unwrap();

    let second = Settings { name: "second", metrics: "127.0.0.1:9651", ..settings };
    let said = Agent::refused(&lab, &agent_program(), &second).unwrap();
    assert!(said.contains(gateway::INSIDE) && said.contains(&format!("id {before}")) && said.contains("not this agent's"), "{said}");
    assert_eq!(program_on(&lab, gateway::INSIDE), Some(before));
    assert_eq!(BANNED.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::TimedOut);
}

#[test]
#[ignore = "makes network namespaces, which needs root: ./x test runs it"]
fn pins_of_another_version_are_refused_and_go_on_enforcing() {
    let lab = Lab::start().unwrap();
    let settings = with_policy(&lab, &PHONE_TO_CHINA);
    let mut agent = Agent::start(&lab, &agent_program(), &settings).unwrap();
    agent.process().kill().unwrap();
    let map = MapData::from_pin(settings.pins(&lab).join("maps/STAMP")).unwrap();
    let mut map: Array<_, Value<Stamp>> = Map::Array(map).try_into().unwrap();
    let Value(stamp) = map.get(&0, 0).unwrap();
    map.set(0, Value(Stamp { schema: SCHEMA + 1, ..stamp }), 0).unwrap();

    // With a policy that allows everything: that it does not come into force shows that nothing was taken over.
    let open = with_policy(&lab, &Policy { action: "pass", ..PHONE_TO_CHINA });
    let said = Agent::refused(&lab, &agent_program(), &open).unwrap();
    assert!(said.contains(&format!("schema {}", SCHEMA + 1)) && said.contains("detach"), "{said}");
    assert_eq!(BANNED.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::TimedOut);

    // The way out that the message tells.
    assert!(agent.command(&["detach"]).unwrap().status.success());
    agent.restart().unwrap();
    assert_eq!(BANNED.from(&lab.phone, &lab.directory).unwrap().outcome, Outcome::Reached);
}

/// The id of the XDP program on an interface of the gateway.
fn program_on(lab: &Lab, interface: &str) -> Option<u64> {
    let json = output(lab.gateway.command("ip").args(["-json", "link", "show", "dev", interface])).unwrap();
    let links: serde_json::Value = serde_json::from_str(&json).unwrap();
    links[0]["xdp"]["prog"]["id"].as_u64()
}

fn files_below(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let count = |entry: std::fs::DirEntry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 };
    entries.map(|entry| count(entry.unwrap())).sum()
}
