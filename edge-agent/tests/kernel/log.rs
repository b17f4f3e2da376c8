//! The program's own log: it tells of what must not be, and reaches whoever reads it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use crate::namespace::privileged;
use crate::policies;
use aya::programs::{TestRun, TestRunOptions};
use aya_log::EbpfLogger;
use edge_agent::config::TableSizes;
use edge_agent::dataplane::interface_hash::InterfaceHash;
use edge_agent::dataplane::object::{Constants, Object, Sharing};
use edge_agent::dataplane::snapshot::Role;
use edge_agent::dataplane::tables;
use edge_agent::engine::frame::{Ends, FrameSpec, Transport};
use edge_agent::policy::model::Action;
use edge_ebpf::abi::{Entry, FANOUT, OnUninspectable, Reason};
use edge_ebpf::packet::Mac;

#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<(log::Level, String)>>>);

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().expect("nobody panicked").push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

#[test]
fn a_broken_generation_drops_frames_and_says_so() {
    if !privileged("a_broken_generation_drops_frames") {
        return;
    }
    let there = Ipv4Addr::new(192, 0, 2, 1);
    let mut compiled = policies::to("p", "r", &[there], Action::Drop);
    let whole = run(&compiled, there);
    assert_eq!(whole, (XDP_DROP, vec![]), "a whole generation has nothing to say");

    // Each entry of the trie leads to the node that it is in, and none to a class.
    compiled.v4.nodes.fill([Entry::node(0).0; FANOUT]);
    let (action, records) = run(&compiled, there);
    assert_eq!(action, XDP_ABORTED);
    let [(level, text)] = records.as_slice() else { panic!("one record: {records:?}") };
    assert_eq!(*level, log::Level::Error);
    assert!(text.contains("generation 7") && text.contains("frame dropped"), "{text}");
}

/// `enum xdp_action` of `linux/bpf.h`.
const XDP_ABORTED: u32 = 0;
const XDP_DROP: u32 = 1;

/// What the program returns for one frame to `destination`, and what it logs.
fn run(compiled: &edge_agent::policy::compile::Compiled, destination: Ipv4Addr) -> (u32, Vec<(log::Level, String)>) {
    let interfaces = InterfaceHash::new(&[]).expect("no interface, no collision");
    let rules = tables::rule_entries(compiled, &[0]);
    let conduct = [OnUninspectable::Drop; Reason::ALL.len()].into();
    let constants =
        Constants { generation: 7, conduct, clock_source: 0, interfaces: &interfaces, rules: &rules, tables: TableSizes::default() };
    let mut object = Object::create(&constants, compiled, Sharing::Private).expect("the kernel takes the maps");
    tables::fill(&mut object, compiled, &rules).expect("filled");
    object.load_programs().expect("the kernel takes the programs");
    let records = Records::default();
    let mut logger = EbpfLogger::init_with_logger(object.ebpf(), records.clone()).expect("the program has a log");

    let frame = FrameSpec::new(Mac(0x6409_8000_0001), Ends::to(destination.into()), Transport::syn(443)).build();
    let mut options = TestRunOptions::new();
    options.data_in = Some(&frame);
    let result = object.program(Role::Inside).expect("a program").test_run(options).expect("it runs");
    logger.flush();
    let records = records.0.lock().expect("nobody panicked").clone();
    (result.return_value, records)
}
