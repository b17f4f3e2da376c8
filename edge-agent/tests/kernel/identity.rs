//! What the program tells the agent of devices, and what it makes of what it is told.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use edge_agent::beside::{Finding, Reader};
use edge_agent::config::{AlwaysAllow, Conduct, IdentityConfig, SourceFiles};
use edge_agent::dataplane::teach::Lesson;
use edge_agent::engine::fact::{self, dhcp, extension};
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::engine::kernel::KernelEngine;
use edge_agent::engine::{Engine, SOME_TIME};
use edge_agent::identity::devices::{Devices, now};
use edge_agent::identity::groups::Groups;
use edge_agent::identity::ja4::{Ja4, Transport as Over};
use edge_agent::policy::compile::identity::{CompiledIdentity, HashedHello};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::load::load;
use edge_agent::policy::resolve::resolve;
use edge_agent::sources::Sources;
use edge_ebpf::abi::Verdict;
use edge_ebpf::abi::beside::{CopyKind, Taught};
use edge_ebpf::abi::identity::{FACT_KINDS, FactState, GroupOp, MacFacts};
use edge_ebpf::packet::Mac;
use jiff::civil::date;

use crate::agent::{Agent, HEAD};
use crate::namespace::privileged;
use crate::sender::Sender;

const POLICY: &str = "
apiVersion: edge/v1
kind: Policy
metadata: {name: p}
spec:
  devices: {phones: {mac: [\"02:00:00:00:00:ff\"]}}
  rules: [{id: no-phones, from: phones, to: [any], action: drop}]
";
const PHONE: Mac = Mac(0x6409_8000_0001);
const LAPTOP: Mac = Mac(0x0025_9000_0001);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

/// The policy, whose group is also of devices with one signal: a JA4 that is known by its hashes.
fn compiled(hello: &Ja4) -> Compiled {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.yaml"), POLICY).expect("a file");
    let loaded = load(&[folder.path().to_owned()], date(2026, 1, 15));
    let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut Sources::new(SourceFiles::default())).expect("a right policy");
    let mut compiled = compile(&resolution.resolved, SOME_TIME).expect("it compiles");
    let rule = compiled.rules.iter().position(|rule| rule.id == "no-phones").expect("the rule");
    let class = |row: u64| compiled.pool.iter().position(|word| *word == row).expect("a row") as u32;
    // Rows of one word: each is its own class.
    assert_eq!(compiled.words, 1);
    let phones = (0..compiled.pool.len()).find(|class| compiled.pool[*class] >> rule & 1 != 0).expect("a row with the rule") as u32;
    let nothing = class(0);
    let nowhere = FactState { next: [0; 256], set: 0, reserved: 0 };
    let macs = (0..compiled.pool.len() as u32).map(|class| MacFacts { always: class, ..MacFacts::default() });
    compiled.identity = Some(CompiledIdentity {
        signals: vec!["a JA4".to_owned()],
        numbers: vec![],
        sets: vec![vec![]],
        states: vec![nowhere],
        starts: [0; FACT_KINDS],
        hellos: vec![],
        hashed: vec![HashedHello {
            letters: [None; 10],
            ciphers: Some(hello.ciphers_hash()),
            extensions: Some(hello.extensions_hash()),
            signal: 0,
        }],
        macs: macs.collect(),
        ops: vec![GroupOp::signal(0), GroupOp::group(phones, true)],
        unknown: nothing,
    });
    compiled
}

fn hello() -> Vec<u8> {
    let algorithms = extension::signature_algorithms(&[0x0403]);
    let name = extension::server_name(b"example.com");
    let extensions = [(extension::SERVER_NAME, name), (extension::SIGNATURE_ALGORITHMS, algorithms)];
    fact::hello(0x0303, &[0x1301, 0x1302], &extensions, None)
}

struct Both {
    engine: KernelEngine,
    conduct: Conduct,
    reader: Reader,
    devices: Devices,
}

impl Both {
    fn new() -> Self {
        let body = hello().split_off(9);
        let mut compiled = compiled(&Ja4::of_hello(&body, Over::Tcp).expect("a hello"));
        let conduct = Conduct { observes: true, ..Conduct::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let devices = Devices::open(folder.path(), 10, &IdentityConfig::default());
        let (evaluator, _) = devices.prepare(&mut compiled);
        let policies = edge_agent::identity::devices::Policies { groups: Groups::default(), evaluator };
        devices.in_force(policies, Arc::default(), 10, &IdentityConfig::default());
        let engine = KernelEngine::new(&compiled, conduct).expect("the kernel takes the programs").without_hellos();
        Self { engine, conduct, reader: Reader::default(), devices }
    }

    fn verdict(&mut self, frame: &[u8]) -> Verdict {
        self.engine.run(frame).expect("the kernel runs it").verdict
    }

    fn found(&mut self) -> Vec<(CopyKind, Finding)> {
        let Self { engine, conduct, reader, devices: _ } = self;
        let mut ring = engine.object().copies().expect("a ring");
        let mut found = Vec::new();
        while let Some(record) = ring.next() {
            found.push(reader.read(&record, conduct, Instant::now()).expect("a record"));
        }
        found
    }
}

/// What a DHCP client sends first.
fn discover(device: Mac, name: &[u8]) -> Vec<u8> {
    let payload = dhcp(device, &[(53, &[1]), (55, &[1, 3, 6]), (12, name)]);
    FrameSpec { payload, ..FrameSpec::new(device, Ends::to(SERVER), Transport::Udp { source: 68, destination: 67 }) }.build()
}

fn data(device: Mac, source: u16, payload: &[u8]) -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    let transport = Transport::Tcp { source, destination: 443, flags, sequence: 1, acknowledgment: 1 };
    FrameSpec { payload: payload.to_vec(), ..FrameSpec::new(device, Ends::to(SERVER), transport) }.build()
}

#[test]
fn a_fact_comes_once_and_reaches_the_store() {
    if !privileged("a_fact_comes_once") {
        return;
    }
    let mut both = Both::new();
    let request = discover(PHONE, b"Redmi");
    both.verdict(&request);
    let found = both.found();
    let [(CopyKind::Fact, Finding::Fact(frame))] = found.as_slice() else { panic!("{found:?}") };
    assert!(both.devices.frame(frame, now()));
    let report = both.devices.report(PHONE).expect("it is known");
    let values: Vec<_> = report.facts.iter().map(|fact| (fact.kind.as_str(), fact.value.as_str())).collect();
    assert_eq!(values, [("dhcp_params", "1,3,6"), ("dhcp_hostname", "Redmi")]);
    both.verdict(&request);
    both.found();
    both.verdict(&request);
    assert_eq!(both.found(), [], "it has told all of it");
    both.engine.object().tell_again().expect("written");
    both.verdict(&request);
    assert_eq!(both.found().len(), 1);
}

#[test]
fn a_lesson_changes_the_verdict_on_its_device_alone() {
    if !privileged("a_lesson_changes_the_verdict") {
        return;
    }
    let mut both = Both::new();
    let verdicts = |both: &mut Both| [PHONE, LAPTOP].map(|device| both.verdict(&data(device, 40_000, b"x")));
    assert_eq!(verdicts(&mut both), [Verdict::Pass; 2]);
    let object = both.engine.object();
    let lesson = Lesson::Signals { device: PHONE, signals: object.slots().set(&[0]) };
    assert_eq!(lesson.tell(object).expect("the kernel runs it"), Taught::Watched);
    assert_eq!(verdicts(&mut both), [Verdict::Drop, Verdict::Pass]);
}

#[test]
fn a_hello_that_is_known_by_its_hash_is_found_from_then_on() {
    if !privileged("a_hello_that_is_known_by_its_hash") {
        return;
    }
    let mut both = Both::new();
    assert_eq!(both.verdict(&data(PHONE, 40_000, &hello())), Verdict::Pass, "the kernel cannot know");
    let found = both.found();
    let Some((CopyKind::Hello, Finding::Hello { device, body })) = found.iter().find(|(kind, _)| *kind == CopyKind::Hello) else {
        panic!("{found:?}")
    };
    let known = both.devices.hello(*device, body, now()).expect("a hello");
    assert_eq!((*device, known.signals.as_slice()), (PHONE, &[0][..]));
    assert!(both.engine.object().know_hello(known.key, &known.signals).expect("written"));
    assert_eq!(both.verdict(&data(LAPTOP, 40_001, b"x")), Verdict::Pass);
    assert_eq!(both.verdict(&data(LAPTOP, 40_001, &hello())), Verdict::Drop);
    assert_eq!(both.verdict(&data(LAPTOP, 40_002, b"x")), Verdict::Drop, "it is known by it from then on");
}

#[test]
fn what_devices_have_shown_outlives_the_agent_and_the_kernel() {
    let Some(mut agent) = Agent::with_lan("what_devices_have_shown_outlives") else { return };
    agent.started();
    let sender = Sender::start("device", vec![discover(PHONE, b"Redmi"), discover(LAPTOP, b"laptop")]);
    agent.until("aware of both devices", |report| report.devices == 2);
    sender.end();
    agent.reboot();
    let again = agent.started();
    assert_eq!(again.devices, 2, "{}", agent.log());
    let listed = agent.command("devices").arg("--json").output().expect("the agent's binary");
    let lines: Vec<serde_json::Value> =
        String::from_utf8_lossy(&listed.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| &line["mac"]).collect::<Vec<_>>(), ["00:25:90:00:00:01", "64:09:80:00:00:01"]);
    assert_eq!(lines[1]["facts"][1]["value"], "Redmi");
    let one = agent.command("devices").arg("64:09:80:00:00:01").output().expect("the agent's binary");
    assert!(String::from_utf8_lossy(&one.stdout).contains("\ndhcp_hostname  Redmi"), "{one:?}");
    let learned = agent.command("learn").arg("64:09:80:00:00:01").output().expect("the agent's binary");
    let policy = String::from_utf8_lossy(&learned.stdout).into_owned();
    assert!(
        policy.contains("- dhcp: {hostname: \"Redmi\"}") && policy.contains("# dhcp_params 1,3,6: also shown by 1 of 1 others"),
        "{policy}"
    );
    assert_eq!(agent.command("devices").arg("00:00:00:00:00:07").output().expect("the agent's binary").status.code(), Some(1));
}

#[test]
fn the_inventory_puts_devices_into_groups_and_a_broken_one_changes_nothing() {
    let Some(mut agent) = Agent::with_lan("the_inventory_puts_devices_into_groups") else { return };
    let groups = "  devices: {phones: {mac: [\"02:00:00:00:00:ff\"]}}\n  rules: [{id: r, from: phones, action: drop}]\n";
    agent.replace("policies/p.yaml", &format!("{HEAD}{groups}"));
    agent.replace("inventory.csv", "mac,label\n");
    let config = std::fs::read_to_string(agent.path("agent.yaml")).expect("a file");
    agent.replace("agent.yaml", &format!("{config}identity: {{inventory: inventory.csv}}\n"));
    let first = agent.started();
    let sender = Sender::start("device", vec![data(PHONE, 40_000, b"x"), discover(LAPTOP, b"laptop")]);
    let dropped =
        |report: &edge_agent::server::control::StatusReport| report.rules.iter().any(|rule| rule.rule == "r" && rule.count.packets > 0);
    assert!(!dropped(&first));
    agent.replace("inventory.csv", "mac,label,groups\n64:09:80:00:00:01,test phone,p/phones\n");
    let second = agent.until("dropping the phone's", dropped);
    let listed = agent.run("devices");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.lines().any(|line| line.contains("test phone") && line.contains("p/phones")), "{text}");

    agent.replace("inventory.csv", "mac,label,groups\n64:09:80:00:00:01,test phone,p/fones\n");
    let broken = agent.until("told of the broken inventory", |report| report.last_failure.is_some());
    assert_eq!((broken.generation, broken.enforcing), (second.generation, true));
    let failure = broken.last_failure.unwrap_or_default();
    assert!(failure.contains("inventory.csv:2") && failure.contains("did you mean `p/phones`?"), "{failure}");
    sender.end();
}

#[test]
fn a_policy_that_comes_later_knows_devices_by_what_they_showed_also_after_a_reboot() {
    let Some(mut agent) = Agent::with_lan("a_policy_that_comes_later") else { return };
    agent.replace("policies/p.yaml", &format!("{HEAD}  rules: [{{id: r, from: all, action: pass}}]\n"));
    agent.started();
    let sender = Sender::start("device", vec![discover(PHONE, b"Redmi-4"), discover(LAPTOP, b"laptop"), data(PHONE, 40_000, &hello())]);
    agent.until("aware of both devices", |report| report.devices == 2);
    std::thread::sleep(std::time::Duration::from_secs(1));
    sender.end();
    let body = hello().split_off(9);
    let ja4 = Ja4::of_hello(&body, Over::Tcp).expect("a hello");
    for group in ["{dhcp: {hostname: \"redmi*\"}}".to_owned(), format!("{{tls: {{ja4: [{ja4}]}}}}")] {
        let policy = |rule: &str| format!("{HEAD}  devices: {{phones: {group}}}\n  rules: [{{id: {rule}, from: phones, action: drop}}]\n");
        agent.replace("policies/p.yaml", &policy("now"));
        let dropped = |rule: &'static str| {
            move |report: &edge_agent::server::control::StatusReport| {
                report.rules.iter().any(|row| row.rule == rule && row.count.packets > 0)
            }
        };
        agent.until("in force", |report| report.rules.iter().any(|row| row.rule == "now" && row.active));
        // No hello, and no DHCP any more.
        let plain = Sender::start("device", vec![data(PHONE, 40_001, b"x")]);
        agent.until("dropping what the phone sends", dropped("now"));
        let one = agent.command("devices").arg("64:09:80:00:00:01").output().expect("the agent's binary");
        assert!(String::from_utf8_lossy(&one.stdout).contains("p/phones  "), "{one:?}");
        plain.end();
        agent.reboot();
        agent.replace("policies/p.yaml", &policy("then"));
        agent.started();
        let plain = Sender::start("device", vec![data(PHONE, 40_001, b"x")]);
        agent.until("dropping it again", dropped("then"));
        plain.end();
    }
}
