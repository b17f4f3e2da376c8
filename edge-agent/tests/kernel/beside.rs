//! What the agent reads beside the packets' way, out of the program's own ring, and what the program makes of what it is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use edge_agent::beside::{CopyResult, Finding, Reader, teach};
use edge_agent::config::{AlwaysAllow, Conduct, SourceFiles};
use edge_agent::dataplane::object::COPY_STATE;
use edge_agent::dataplane::pod::Value;
use edge_agent::engine::frame::{Ends, FrameSpec, TcpFlags, Transport};
use edge_agent::engine::kernel::KernelEngine;
use edge_agent::engine::{Engine, message};
use edge_agent::policy::compile::compile;
use edge_agent::policy::load::load;
use edge_agent::policy::model::Resolved;
use edge_agent::policy::resolve::resolve;
use edge_agent::quic::made;
use edge_agent::sources::Sources;
use edge_ebpf::abi::beside::{COPIES_OF_DEVICE, CopyKind, CopyState};
use edge_ebpf::abi::{OnUninspectable, Reason, Verdict};
use edge_ebpf::name::quic::version::{V1, V2};
use edge_ebpf::packet::Mac;
use jiff::civil::date;

use crate::namespace::privileged;

const POLICY: &str = "
apiVersion: edge/v1
kind: Policy
metadata: {name: p}
spec:
  destinations: {vendor: {domains: [miui.com]}}
  rules: [{id: no-vendor, from: all, to: [vendor], action: drop}]
";
const PHONE: Mac = Mac(0x6409_8000_0001);
const LAPTOP: Mac = Mac(0x0025_9000_0001);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));

/// The program, and the agent's part beside it.
struct Both {
    set: Resolved,
    conduct: Conduct,
    engine: KernelEngine,
    reader: Reader,
}

impl Both {
    fn new(quic: OnUninspectable) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("p.yaml"), POLICY).expect("a file");
        let loaded = load(&[folder.path().to_owned()], date(2026, 1, 15));
        let resolution = resolve(loaded, &AlwaysAllow::default(), &[], &mut Sources::new(SourceFiles::default())).expect("a right policy");
        let set = resolution.resolved;
        let mut conduct = Conduct::default();
        conduct.on_uninspectable[Reason::Quic as usize] = quic;
        let compiled = compile(&set, edge_agent::engine::SOME_TIME).expect("it compiles");
        let engine = KernelEngine::new(&compiled, conduct).expect("the kernel takes the programs");
        Self { set, conduct, engine, reader: Reader::default() }
    }

    /// What becomes of a frame, by which rule or for which reason.
    fn run(&mut self, frame: &[u8]) -> (Verdict, Option<&str>, Option<Reason>) {
        let outcome = self.engine.run(frame).expect("the kernel runs it");
        (outcome.verdict, outcome.rule.map(|rule| self.set.rules[rule.index()].id.as_str()), outcome.reason)
    }

    /// Reads all that was copied, and tells the program.
    fn read(&mut self) -> Vec<(CopyKind, CopyResult)> {
        let mut found: Vec<(CopyKind, Finding)> = Vec::new();
        let mut ring = self.engine.object().copies().expect("a ring");
        while let Some(record) = ring.next() {
            found.push(self.reader.read(&record, &self.conduct, Instant::now()).expect("a record"));
        }
        let object = self.engine.object();
        found.into_iter().map(|(kind, finding)| (kind, teach(finding, |lesson| lesson.tell(object)).expect("the kernel runs it"))).collect()
    }

    fn suppressed(&mut self) -> u64 {
        let states = self.engine.object().per_cpu::<CopyState>(COPY_STATE).expect("a map").get(&0, 0).expect("an entry");
        states.iter().map(|Value(state)| state.suppressed).sum()
    }
}

fn frame(device: Mac, to: IpAddr, transport: Transport, payload: &[u8]) -> Vec<u8> {
    FrameSpec { payload: payload.to_vec(), ..FrameSpec::new(device, Ends::to(to), transport) }.build()
}

fn udp(source: u16) -> Transport {
    Transport::Udp { source, destination: 443 }
}

/// The Initials of a client: one, or several where there is much padding.
fn initials(version: u32, server_name: Option<&str>, padding: Option<u16>) -> Vec<Vec<u8>> {
    let hello = message::Hello { server_name: server_name.map(str::as_bytes), ech: false, padding, record: None }.build().split_off(5);
    let kind = if version == V2 { 0x10 } else { 0 };
    let parts = (0..).zip(hello.chunks(1000));
    parts
        .map(|(number, part)| made::initial(version, kind, &[7; 8], &[7; 8], number, &made::crypto(usize::from(number) * 1000, part)))
        .collect()
}

const HELD: (Verdict, Option<&str>, Option<Reason>) = (Verdict::Drop, None, Some(Reason::Quic));
const PASSED: (Verdict, Option<&str>, Option<Reason>) = (Verdict::Pass, None, None);
const BY_RULE: (Verdict, Option<&str>, Option<Reason>) = (Verdict::Drop, Some("no-vendor"), None);
const TAUGHT: (CopyKind, CopyResult) = (CopyKind::Initial, CopyResult::Taught);
const NOTHING: (CopyKind, CopyResult) = (CopyKind::Initial, CopyResult::Nothing);

#[test]
fn an_initial_is_held_until_its_name_is_known() {
    if !privileged("an_initial_is_held_until_its_name_is_known") {
        return;
    }
    let mut both = Both::new(OnUninspectable::Inspect);
    let mut port = 40_000;
    for (to, version) in [(SERVER, V1), (SERVER, V2), (SERVER6, V1)] {
        for (name, result, verdict) in
            [(Some("Connect.Miui.com"), TAUGHT, BY_RULE), (Some("example.com"), NOTHING, PASSED), (None, NOTHING, PASSED)]
        {
            port += 1;
            let initial = frame(PHONE, to, udp(port), &initials(version, name, None)[0]);
            assert_eq!(both.run(&initial), HELD, "{name:?}");
            assert_eq!(both.read(), [result], "{name:?}");
            for _ in 0..2 {
                assert_eq!(both.run(&initial), verdict, "{name:?}");
                assert_eq!(both.read(), [], "it is known");
            }
            // So is what follows in the flow, without a long header.
            assert_eq!(both.run(&frame(PHONE, to, udp(port), &[0x40; 50])), verdict, "{name:?}");
            // And no other flow.
            assert_eq!(both.run(&frame(PHONE, to, udp(port + 1000), &initials(version, name, None)[0])), HELD);
            both.read();
        }
    }
}

#[test]
fn a_hello_in_two_initials_is_put_together_and_what_cannot_be_read_stays_held() {
    if !privileged("a_hello_in_two_initials") {
        return;
    }
    let mut both = Both::new(OnUninspectable::Inspect);
    let two: Vec<_> =
        initials(V1, Some("example.com"), Some(1200)).iter().rev().map(|one| frame(PHONE, SERVER, udp(40_000), one)).collect();
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|frame| both.run(frame) == HELD));
    assert_eq!(both.read(), [(CopyKind::Initial, CopyResult::Incomplete), NOTHING]);
    assert!(two.iter().all(|frame| both.run(frame) == PASSED));

    let unreadable = frame(PHONE, SERVER, udp(40_001), &message::quic_initial(V1, 1200));
    for _ in 0..3 {
        assert_eq!(both.run(&unreadable), HELD);
        assert_eq!(both.read(), [(CopyKind::Initial, CopyResult::Unreadable)]);
    }
}

#[test]
fn nothing_is_copied_where_initials_are_not_to_be_read() {
    if !privileged("nothing_is_copied_where") {
        return;
    }
    let initial = frame(PHONE, SERVER, udp(40_000), &initials(V1, Some("miui.com"), None)[0]);
    for (quic, verdict) in [(OnUninspectable::DropIfRuleCouldMatch, Verdict::Drop), (OnUninspectable::Pass, Verdict::Pass)] {
        let mut both = Both::new(quic);
        assert_eq!(both.run(&initial), (verdict, None, Some(Reason::Quic)));
        assert_eq!((both.read(), both.suppressed()), (vec![], 0));
    }
}

#[test]
fn a_flood_of_initials_changes_no_verdict_and_takes_no_other_device_its_turn() {
    if !privileged("a_flood_of_initials") {
        return;
    }
    let mut both = Both::new(OnUninspectable::Inspect);
    let initial = &initials(V1, Some("example.com"), None)[0];
    let length = frame(PHONE, SERVER, udp(0), initial).len() as u32;
    for port in 1..3000 {
        assert_eq!(both.run(&frame(PHONE, SERVER, udp(port), initial)), HELD);
    }
    assert_eq!(both.run(&frame(PHONE, SERVER, Transport::syn(443), &[])), PASSED);
    let other = frame(LAPTOP, SERVER, udp(1), initial);
    assert_eq!(both.run(&other), HELD);
    let read = both.read().len() as u64;
    assert_eq!(both.suppressed(), 3000 - read);
    // A share for each CPU that the flood ran on, and the other device's frame.
    let shares = (read - 1).div_ceil(u64::from(COPIES_OF_DEVICE / length));
    let cpus = std::thread::available_parallelism().expect("a number").get() as u64;
    assert!((1..=cpus).contains(&shares), "{read} of {length} bytes");
    assert_eq!(both.run(&other), PASSED);
}

fn answer(name: &str, addresses: Vec<IpAddr>) -> Vec<u8> {
    message::Answer { name, aliases: vec!["cdn.example"], addresses, time_to_live: 300, code: 0 }.build()
}

fn over_tcp(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let flags = TcpFlags { ack: true, ..TcpFlags::default() };
    let transport = Transport::Tcp { source: 53, destination: 50_000, flags, sequence, acknowledgment: 1 };
    frame(LAPTOP, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), transport, payload)
}

#[test]
fn an_answer_over_tcp_teaches_its_addresses() {
    if !privileged("an_answer_over_tcp") {
        return;
    }
    let mut both = Both::new(OnUninspectable::Inspect);
    let syn = |to| frame(PHONE, to, Transport::syn(443), &[]);
    let messages = message::over_tcp(&[answer("example.com", vec![SERVER6]), answer("Api.miui.com", vec![SERVER])]);
    let (first, second) = messages.split_at(60);
    for (sequence, part) in [(1, first), (61, second)] {
        both.engine.answer(&over_tcp(sequence, part)).expect("the kernel runs it");
    }
    assert_eq!(both.run(&syn(SERVER)), PASSED, "the kernel has not read it");
    let kind = CopyKind::AnswerOverTcp;
    assert_eq!(both.read(), [(kind, CopyResult::Incomplete), (kind, CopyResult::Taught)]);
    assert_eq!(both.run(&syn(SERVER)), BY_RULE);
    assert_eq!(both.run(&syn(SERVER6)), PASSED);
}

#[test]
fn an_answer_of_more_records_than_the_kernel_reads_teaches_its_addresses() {
    if !privileged("an_answer_of_more_records") {
        return;
    }
    let mut both = Both::new(OnUninspectable::Inspect);
    let addresses: Vec<IpAddr> = (1..=100).map(|last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))).collect();
    let transport = Transport::Udp { source: 53, destination: 50_000 };
    let long = frame(LAPTOP, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), transport, &answer("miui.com", addresses.clone()));
    both.engine.answer(&long).expect("the kernel runs it");
    let verdicts = |both: &mut Both| -> Vec<_> {
        addresses
            .iter()
            .map(|address| both.engine.run(&frame(PHONE, *address, Transport::syn(443), &[])).expect("it runs").verdict)
            .collect()
    };
    assert!(verdicts(&mut both).iter().all(|verdict| *verdict == Verdict::Pass));
    assert_eq!(both.read(), [(CopyKind::LongAnswer, CopyResult::Taught)]);
    assert!(verdicts(&mut both).iter().all(|verdict| *verdict == Verdict::Drop));
}
