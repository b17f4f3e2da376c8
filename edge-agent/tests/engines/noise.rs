//! Bytes that nobody built: whatever they are, the host engine reads them as the oracle does, and makes no answer that is not a frame.

use std::sync::LazyLock;

use edge_agent::engine::{Engine, SOME_TIME, host::HostEngine, oracle::Oracle};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::{Action, DeviceSelector, RemoteSelector, Resolved, ServiceMatch};
use edge_ebpf::engine::Side;
use proptest::prelude::*;

use crate::small_set::{banned, phones, rule, set_of};
use crate::trio::{WHERE_A_RULE_COULD_MATCH, hex};

/// Noise behind the beginnings that lead deepest into the parsers.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        vec![],
        vec![0x08, 0x00, 0x45],
        vec![0x08, 0x00, 0x4f],
        vec![0x86, 0xdd, 0x60, 0, 0, 0],
        vec![0x81, 0x00, 0, 7, 0x08, 0x00, 0x46],
        vec![0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x86, 0xdd, 0x60],
    ]);
    let mac = prop::sample::select(vec![[0x64, 0x09, 0x80, 0, 0, 1], [0, 0x25, 0x90, 0, 0, 1]]);
    (mac, start, prop::collection::vec(any::<u8>(), 0..160))
        .prop_map(|(mac, start, noise)| [&[2; 6], mac.as_slice(), &start, &noise].concat())
}

/// Made once: its tables take longer than a thousand frames.
static SET: LazyLock<(Resolved, Compiled)> = LazyLock::new(|| {
    let set = set_of(vec![
        rule("watch", phones(), RemoteSelector::Any, ServiceMatch::Protocol(17), Action::Monitor),
        rule("no", phones(), banned(), ServiceMatch::Any, Action::Drop),
        rule("answer", DeviceSelector::All, RemoteSelector::Any, ServiceMatch::Any, Action::Reject),
    ]);
    let compiled = compile(&set, SOME_TIME).expect("compiles");
    (set, compiled)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn host_engine_and_oracle_read_noise_alike(frame in frames(), cut in 0usize..200, outside: bool) {
        let frame = &frame[..cut.min(frame.len())];
        let side = if outside { Side::Outside } else { Side::Inside };
        let (set, compiled) = &*SET;
        let host = HostEngine::new(compiled, WHERE_A_RULE_COULD_MATCH).and_then(|mut engine| engine.run_on(side, frame)).expect("the tables are whole");
        let oracle = Oracle::new(set, WHERE_A_RULE_COULD_MATCH).run_on(side, frame).expect("it always can");
        prop_assert_eq!(
            (host.verdict, host.rule, &host.monitored, host.reason),
            (oracle.verdict, oracle.rule, &oracle.monitored, oracle.reason),
            "{}", hex(frame)
        );
        if let Some(reply) = host.reply {
            prop_assert!(etherparse::SlicedPacket::from_ethernet(&reply).is_ok(), "{} is answered with {}", hex(frame), hex(&reply));
        }
    }
}
