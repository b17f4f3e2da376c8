//! How full the tables are that remember, as metrics and `status` tell it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use edge_agent::config::TimeToLive;
use edge_agent::dataplane::snapshot::Role;
use edge_agent::dataplane::teach::{Lesson, WireName};
use edge_agent::dataplane::{Dataplane, WantedMode, readout};
use edge_agent::engine::observe::segment::Flow;
use edge_agent::policy::model::Action;
use edge_ebpf::abi::beside::Taught;
use edge_ebpf::packet::{Address, protocol};

use crate::namespace::{Namespace, privileged};
use crate::swap::{settings, swap};

const LAN: (&str, Role, WantedMode) = ("lan", Role::Inside, WantedMode::Native);
/// Long enough for a few hundred lessons, short enough to wait for.
const SECONDS: u32 = 5;

/// Entries and capacity, if there is the table.
fn table(dataplane: &Dataplane, table: &str) -> Option<(u64, u64)> {
    let snapshot = dataplane.snapshot().expect("the maps are read");
    snapshot.tables.iter().find(|found| found.table == table).map(|found| (found.entries, found.capacity))
}

fn v4(address: u32) -> Address {
    Address { high: u64::from(address) << 32, low: 0 }
}

fn teach_address(dataplane: &mut Dataplane, number: u32, time_to_live: u32) {
    let address = v4(0xcb00_7100 + number);
    let name = WireName::of_text(b"api.watched.example").expect("a name");
    let taught = dataplane.teach(&Lesson::Address { address, time_to_live, name }).expect("the kernel runs it");
    assert_eq!(taught, Taught::Watched);
}

#[test]
fn learned_addresses_are_counted_until_their_time_comes() {
    if !privileged("learned_addresses_are_counted") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan", "device");
    let mut settings = settings(&namespace, &[LAN]);
    settings.conduct.learned = TimeToLive { min: 1, max: 3600 };
    let mut dataplane = Dataplane::open(settings).expect("opens");
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    assert_eq!(table(&dataplane, "learned"), Some((0, 65_536)));

    // 1. All over the table: none is left out of the count.
    for number in 0..200 {
        teach_address(&mut dataplane, number, 3600);
        if number == 0 {
            assert_eq!(table(&dataplane, "learned"), Some((1, 65_536)));
        }
    }
    assert_eq!(table(&dataplane, "learned"), Some((200, 65_536)));

    // 2. One that ends soon is counted, and then not any more.
    teach_address(&mut dataplane, 200, SECONDS);
    assert_eq!(table(&dataplane, "learned"), Some((201, 65_536)));
    let start = Instant::now();
    while table(&dataplane, "learned") != Some((200, 65_536)) {
        assert!(start.elapsed() < Duration::from_secs(30), "it never ends");
        sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() > Duration::from_secs(u64::from(SECONDS) - 2), "it ended before its time: {:?}", start.elapsed());

    // 3. The next generation and the next agent find them; who did not fill the others does not tell of them.
    swap(&mut dataplane, &namespace, "p", Action::Pass).expect("swaps");
    assert_eq!(table(&dataplane, "learned"), Some((200, 65_536)));
    drop(dataplane);
    let left = readout::without_agent(namespace.pins().root(), &namespace.interfaces()).expect("the pins are read");
    let told: Vec<_> = left.tables.iter().map(|table| (table.table, table.entries)).collect();
    assert_eq!(told, [("rule_counters", 2), ("interface_counters", 1), ("fragments", 0), ("learned", 200), ("flows", 0), ("devices", 0)]);
}

#[test]
fn flows_are_counted_once_each_and_names_with_those_above_them() {
    if !privileged("flows_are_counted_once_each") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan", "device");
    let mut dataplane = Dataplane::open(settings(&namespace, &[LAN])).expect("opens");
    assert!(dataplane.snapshot().is_err() || table(&dataplane, "names").is_none());
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    // `example` and `watched.example`, in one bucket.
    assert_eq!(table(&dataplane, "names"), Some((2, 4)));
    assert_eq!(table(&dataplane, "flows"), Some((0, 65_536)));
    for port in [1, 2, 2, 3] {
        let (source, destination) = (v4(0xc000_0201), v4(0xcb00_7105));
        let flow = Flow { source, destination, source_port: port, destination_port: 443, protocol: protocol::UDP };
        let name = (port == 1).then(|| WireName::of_text(b"watched.example").expect("a name"));
        dataplane.teach(&Lesson::Flow { flow, name }).expect("the kernel runs it");
    }
    assert_eq!(table(&dataplane, "flows"), Some((3, 65_536)));
    assert_eq!(table(&dataplane, "learned"), Some((0, 65_536)));
}
