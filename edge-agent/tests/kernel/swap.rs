//! Generations on real interfaces: attached, taken over, replaced, and left alone when something fails.

use crate::namespace::{Namespace, ip, privileged};
use crate::policies::all_named as all;
use aya::maps::{Array, MapData};
use edge_agent::config::TableSizes;
use edge_agent::dataplane::error::Error;
use edge_agent::dataplane::pod::Value;
use edge_agent::dataplane::snapshot::{Role, XdpMode};
use edge_agent::dataplane::{Dataplane, Settings, Swapped, WantedInterface, WantedMode};
use edge_agent::policy::model::Action;
use edge_ebpf::abi::{OnUninspectable, Reason, SCHEMA, STAMP_MAGIC, Stamp};

pub fn settings(namespace: &Namespace, interfaces: &[(&str, Role, WantedMode)]) -> Settings {
    let wanted = |(name, role, mode): &(&str, Role, WantedMode)| WantedInterface { name: (*name).to_owned(), role: *role, mode: *mode };
    Settings {
        pins: namespace.pins().root().to_owned(),
        interfaces: interfaces.iter().map(wanted).collect(),
        conduct: [OnUninspectable::Drop; Reason::ALL.len()].into(),
        tables: TableSizes::default(),
        report_limit: 100,
    }
}

/// Puts one rule for everything in force, with the settings that the dataplane was opened with.
pub fn swap(dataplane: &mut Dataplane, namespace: &Namespace, policy: &str, action: Action) -> Result<Swapped, Error> {
    let settings = dataplane.settings().clone();
    dataplane.swap(&all(policy, action), &settings, &namespace.interfaces())
}

fn mode(dataplane: &mut Dataplane, namespace: &Namespace, interface: &str) -> Option<XdpMode> {
    dataplane.observe(&namespace.interfaces()).expect("the links are read");
    let snapshot = dataplane.snapshot().expect("the maps are read");
    snapshot.interfaces.into_iter().find(|snapshot| snapshot.name == interface).and_then(|snapshot| snapshot.mode)
}

#[test]
fn a_generation_is_attached_and_the_next_one_replaces_it_on_the_same_link() {
    if !privileged("a_generation_is_attached") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan.7", "device");
    namespace.veth("wan", "upstream");
    // Frames that need more than one buffer: the driver takes only a program that knows of them.
    ip(&["link", "set", "device", "mtu", "9000"]);
    let wanted = [("lan.7", Role::Inside, WantedMode::Native), ("wan", Role::Outside, WantedMode::Native)];
    let mut dataplane = Dataplane::open(settings(&namespace, &wanted)).expect("opens");
    assert!(dataplane.observe(&namespace.interfaces()).expect("observes"), "interfaces without a program are to be attached to");

    let swapped = swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    assert_eq!((swapped.generation, swapped.attached.len(), swapped.missing.len()), (1, 2, 0));
    assert_eq!(mode(&mut dataplane, &namespace, "lan.7"), Some(XdpMode::Native));
    let (inside, outside) = (namespace.program("lan.7"), namespace.program("wan"));
    assert!(inside.is_some() && outside.is_some() && inside != outside, "each role has its own program");

    let swapped = swap(&mut dataplane, &namespace, "p", Action::Pass).expect("swaps");
    assert_eq!((swapped.generation, swapped.attached.len()), (2, 0));
    assert!(namespace.program("lan.7").is_some_and(|program| Some(program) != inside));
    assert!(!dataplane.observe(&namespace.interfaces()).expect("observes") && dataplane.complete());
}

#[test]
fn a_dead_agent_leaves_its_generation_and_the_next_agent_goes_on_from_it() {
    if !privileged("a_dead_agent_leaves_its_generation") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan", "device");
    let wanted = [("lan", Role::Inside, WantedMode::Native)];
    let mut first = Dataplane::open(settings(&namespace, &wanted)).expect("opens");
    swap(&mut first, &namespace, "p", Action::Drop).expect("swaps");
    assert!(matches!(Dataplane::open(settings(&namespace, &wanted)), Err(Error::Locked { .. })), "two agents cannot serve the same pins");
    let program = namespace.program("lan");
    drop(first);
    assert!(program.is_some() && namespace.program("lan") == program);

    let mut second = Dataplane::open(settings(&namespace, &wanted)).expect("takes over");
    assert!(second.enforcing().expect("the links are read"));
    assert_eq!(second.generation(), 1);
    assert_eq!(mode(&mut second, &namespace, "lan"), Some(XdpMode::Native));
    let rules = second.snapshot().expect("the maps are read").rules;
    assert_eq!(rules.iter().map(|rule| (rule.rule.as_str(), rule.active)).collect::<Vec<_>>(), [("all", true)]);
    let swapped = swap(&mut second, &namespace, "q", Action::Drop).expect("swaps");
    assert_eq!((swapped.generation, swapped.attached.len()), (2, 0));
    let rules = second.snapshot().expect("the maps are read").rules;
    let seen: Vec<_> = rules.iter().map(|rule| (rule.policy.as_str(), rule.active)).collect();
    assert_eq!(seen, [("p", false), ("q", true)], "a removed rule keeps its counts");

    assert_eq!(second.detach().expect("detaches"), ["inside-lan"]);
    assert!(namespace.pins().remove().expect("nothing is left").is_none());
    assert_eq!(namespace.program("lan"), None, "at once, and not when the kernel gets round to it");
}

#[test]
fn another_tools_program_is_refused_by_name_and_stays() {
    if !privileged("another_tools_program_is_refused") {
        return;
    }
    let (namespace, wanted) = (Namespace::enter(), [("lan", Role::Inside, WantedMode::Native)]);
    namespace.veth("lan", "device");
    let mut owner = Dataplane::open(settings(&namespace, &wanted)).expect("opens");
    swap(&mut owner, &namespace, "p", Action::Drop).expect("swaps");
    let program = namespace.program("lan").expect("a program");

    let pins = namespace.pins().root().with_file_name(format!("edge-kernel-{}-other", std::process::id()));
    let mut other = Dataplane::open(Settings { pins: pins.clone(), ..settings(&namespace, &wanted) }).expect("opens");
    let error = swap(&mut other, &namespace, "p", Action::Pass).expect_err("the interface is taken").to_string();
    assert!(error.contains("lan") && error.contains("edge_inside") && error.contains(&format!("id {program}, native")), "{error}");
    assert_eq!(namespace.program("lan"), Some(program));
    other.detach().expect("removes its pins");
    assert_eq!(namespace.program("lan"), Some(program), "and nobody else's");
}

#[test]
fn an_interface_that_cannot_be_attached_to_leaves_all_others_as_they_were() {
    if !privileged("an_interface_that_cannot_be_attached_to") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan", "device");
    let lan = ("lan", Role::Inside, WantedMode::Native);
    let mut dataplane = Dataplane::open(settings(&namespace, &[lan])).expect("opens");
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    let program = namespace.program("lan");
    drop(dataplane);

    // The loopback device has no XDP in its driver.
    let mut strict = Dataplane::open(settings(&namespace, &[lan, ("lo", Role::Inside, WantedMode::Native)])).expect("opens");
    let error = swap(&mut strict, &namespace, "p", Action::Pass).expect_err("no native XDP").to_string();
    assert!(error.contains("driver of lo") && error.contains("native_or_generic"), "{error}");
    assert_eq!((namespace.program("lan"), strict.generation()), (program, 1));
    assert_eq!(namespace.program("lo"), None);
    drop(strict);

    let mut lenient = Dataplane::open(settings(&namespace, &[lan, ("lo", Role::Inside, WantedMode::NativeOrGeneric)])).expect("opens");
    swap(&mut lenient, &namespace, "p", Action::Pass).expect("falls back");
    assert_eq!(mode(&mut lenient, &namespace, "lo"), Some(XdpMode::Generic));
    assert_eq!(mode(&mut lenient, &namespace, "lan"), Some(XdpMode::Native));
}

#[test]
fn an_interface_that_comes_back_is_attached_to_anew() {
    if !privileged("an_interface_that_comes_back") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan", "device");
    let mut dataplane = Dataplane::open(settings(&namespace, &[("lan", Role::Inside, WantedMode::Native)])).expect("opens");
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");

    ip(&["link", "delete", "lan"]);
    assert!(!dataplane.observe(&namespace.interfaces()).expect("observes"), "there is nothing to attach to");
    assert!(!dataplane.complete());
    let swapped = swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps without it");
    assert_eq!(swapped.missing, ["lan"]);
    assert!(namespace.pins().links().expect("the pins are listed").is_empty(), "the dead link's pin is removed");

    namespace.veth("lan", "device");
    assert!(dataplane.observe(&namespace.interfaces()).expect("observes"));
    let swapped = swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    assert_eq!(swapped.attached, ["lan"]);
    assert!(namespace.program("lan").is_some());
}

#[test]
fn swapped_names_and_dropped_interfaces_move_no_link() {
    if !privileged("swapped_names_and_dropped_interfaces") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth("lan-a", "device-a");
    namespace.veth("lan-b", "device-b");
    let wanted = [("lan-a", Role::Inside, WantedMode::Native), ("lan-b", Role::Outside, WantedMode::Native)];
    let mut dataplane = Dataplane::open(settings(&namespace, &wanted)).expect("opens");
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");

    for (from, to) in [("lan-a", "aside"), ("lan-b", "lan-a"), ("aside", "lan-b")] {
        ip(&["link", "set", from, "down"]);
        ip(&["link", "set", from, "name", to]);
    }
    let swapped = swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    // What is `lan-a` now was outside: it has no program for DNS answers.
    assert!(swapped.attached == ["lan-a"] && swapped.missing.is_empty(), "{swapped:?}");
    assert!(!dataplane.observe(&namespace.interfaces()).expect("observes") && dataplane.complete());
    let names: Vec<_> = namespace.pins().links().expect("listed").iter().map(|link| link.file_name()).collect();
    assert_eq!(names, ["inside-lan-a", "outside-lan-b"]);
    drop(dataplane);

    let mut fewer = Dataplane::open(settings(&namespace, &wanted[..1])).expect("opens");
    swap(&mut fewer, &namespace, "p", Action::Drop).expect("swaps");
    assert_eq!(namespace.pins().links().expect("listed").len(), 1, "an interface that is not configured any more is let go");
}

#[test]
fn another_versions_pins_are_refused_but_can_be_removed() {
    if !privileged("another_versions_pins_are_refused") {
        return;
    }
    let namespace = Namespace::enter();
    std::fs::create_dir_all(namespace.pins().root().join("maps")).expect("directories on the BPF file system");
    let mut map: Array<MapData, Value<Stamp>> = Array::create(1, 0).expect("a map");
    map.set(0, Value(Stamp { magic: STAMP_MAGIC, schema: SCHEMA + 1, generation: 9, reserved: 0 }), 0).expect("written");
    map.pin(namespace.pins().map("STAMP")).expect("pinned");

    let error = Dataplane::open(settings(&namespace, &[])).err().expect("another version's").to_string();
    assert!(error.contains("edge-agent detach") && error.contains(&format!("schema {}", SCHEMA + 1)), "{error}");
    assert!(namespace.pins().remove().expect("removed").is_some());
    Dataplane::open(settings(&namespace, &[])).expect("a fresh start");
}
