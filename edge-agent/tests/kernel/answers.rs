//! The program that reads DNS answers, on the egress of inside interfaces: each test with links, and with filters as on older kernels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use edge_agent::config::TableSizes;
use edge_agent::dataplane::attach::{detach, filter};
use edge_agent::dataplane::interface_hash::InterfaceHash;
use edge_agent::dataplane::kernel::Kernel;
use edge_agent::dataplane::object::{ANSWERS_PROGRAM, Constants, Object, Sharing};
use edge_agent::dataplane::snapshot::{InterfaceSnapshot, Role};
use edge_agent::dataplane::{Dataplane, Settings, WantedMode, readout};
use edge_agent::policy::model::Action;
use edge_ebpf::abi::{OnUninspectable, Reason};

use crate::namespace::{Namespace, ip, privileged, run};
use crate::policies::all_named as all;
use crate::swap::{settings, swap};

const INSIDE: (&str, Role, WantedMode) = ("lan.7", Role::Inside, WantedMode::Native);
const LAN: &str = INSIDE.0;

/// How the program hangs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Links,
    Filters,
}

impl Way {
    /// Those of this kernel.
    fn all() -> impl Iterator<Item = Self> {
        let links = Kernel::probe().expect("the kernel tells").links_on_egress;
        if !links {
            eprintln!("without links: this kernel has none on egress");
        }
        [Self::Links, Self::Filters].into_iter().filter(move |way| links || *way == Self::Filters)
    }

    fn open(self, settings: Settings) -> Dataplane {
        let kernel = Kernel { links_on_egress: self == Self::Links, ..Kernel::probe().expect("the kernel tells") };
        Dataplane::open_on(kernel, settings).expect("opens")
    }

    /// The programs on an interface's egress, in their order: names and ids.
    fn programs(self, interface: &str) -> Vec<(String, u32)> {
        match self {
            Self::Links => {
                let query = || SchedClassifier::query_tcx(interface, TcAttachType::Egress);
                // One that is replaced while it is looked at may have gone.
                let (_, programs) = (0..9).find_map(|_| query().ok()).expect("the kernel tells");
                programs.iter().map(|program| (program.name_as_str().unwrap_or_default().to_owned(), program.id())).collect()
            }
            Self::Filters => {
                let filters = run("tc", &["-json", "filter", "show", "dev", interface, "egress"]);
                let filters: Vec<serde_json::Value> = serde_json::from_str(&filters).expect("JSON");
                let program = |filter: &serde_json::Value| {
                    let program = &filter["options"]["prog"];
                    Some((program["name"].as_str()?.to_owned(), u32::try_from(program["id"].as_u64()?).ok()?))
                };
                filters.iter().filter_map(program).collect()
            }
        }
    }

    /// The id of ours.
    fn program(self, interface: &str) -> Option<u32> {
        let ours: Vec<_> = self.programs(interface).into_iter().filter(|(name, _)| name == ANSWERS_PROGRAM).collect();
        assert!(ours.len() <= 1, "one is enough: {ours:?}");
        ours.first().map(|(_, id)| *id)
    }

    /// Takes ours off, as nobody should.
    fn break_it(self, namespace: &Namespace) {
        match self {
            Self::Links => detach::detach(&namespace.pins().root().join("links/answers-lan:7")).expect("the link is there"),
            Self::Filters => drop(run("tc", &["qdisc", "delete", "dev", LAN, "clsact"])),
        }
    }
}

fn has_clsact(interface: &str) -> bool {
    run("tc", &["qdisc", "show", "dev", interface]).contains("clsact")
}

/// Runs a test in a namespace with an interface for each way.
fn each_way(test: &str, body: impl Fn(Way, &Namespace)) {
    if !privileged(test) {
        return;
    }
    for way in Way::all() {
        println!("{way:?}");
        let namespace = Namespace::enter();
        namespace.veth(LAN, "device");
        body(way, &namespace);
    }
}

fn lan(dataplane: &mut Dataplane, namespace: &Namespace) -> InterfaceSnapshot {
    dataplane.observe(&namespace.interfaces()).expect("the links are read");
    let snapshot = dataplane.snapshot().expect("the maps are read");
    snapshot.interfaces.into_iter().find(|snapshot| snapshot.name == LAN).expect("it is configured")
}

#[test]
fn it_hangs_inside_only_outlives_the_agent_and_goes_without_a_trace() {
    each_way("it_hangs_inside_only", |way, namespace| {
        namespace.veth("wan", "upstream");
        let settings = settings(namespace, &[INSIDE, ("wan", Role::Outside, WantedMode::Native)]);
        let mut first = way.open(settings.clone());
        swap(&mut first, namespace, "p", Action::Drop).expect("swaps");
        let program = way.program(LAN);
        assert!(program.is_some() && way.program("wan").is_none());
        assert_eq!(has_clsact(LAN), way == Way::Filters);
        assert!(lan(&mut first, namespace).enforcing() && first.complete());
        drop(first);
        assert_eq!(way.program(LAN), program);
        let left = readout::without_agent(namespace.pins().root(), &namespace.interfaces()).expect("the pins are read");
        assert!(left.interfaces.iter().all(InterfaceSnapshot::enforcing) && left.interfaces.len() == 2, "{:?}", left.interfaces);

        let mut second = way.open(settings);
        assert!(!second.observe(&namespace.interfaces()).expect("observes") && second.complete());
        let swapped = swap(&mut second, namespace, "p", Action::Drop).expect("swaps");
        assert!(swapped.attached.is_empty() && way.program(LAN).is_some_and(|next| Some(next) != program), "{swapped:?}");

        let mut detached = second.detach().expect("detaches");
        detached.sort_unstable();
        assert_eq!(detached, ["inside-lan:7", "outside-wan"]);
        assert_eq!((way.programs(LAN).len(), has_clsact(LAN)), (0, false));
        assert!(namespace.pins().remove().expect("nothing is left").is_none());
    });
}

#[test]
fn swaps_replace_it_in_place() {
    each_way("swaps_replace_it_in_place", |way, namespace| {
        let mut dataplane = way.open(settings(namespace, &[INSIDE]));
        swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let interfaces = namespace.interfaces();
        let index = interfaces.iter().find(|interface| interface.name == LAN).expect("it exists").index;
        // A thread is of the namespace of the one that started it.
        let watch = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.push(match way {
                    Way::Links => way.program(LAN),
                    Way::Filters => filter::program(index).expect("the kernel tells"),
                });
            }
            seen
        });
        for _ in 0..20 {
            swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        }
        stop.store(true, Ordering::Relaxed);
        let mut seen = watch.join().expect("one program at most");
        assert!(seen.iter().all(Option::is_some), "there is one at each moment");
        seen.dedup();
        assert!(seen.len() > 2, "others and others: {seen:?}");
    });
}

#[test]
fn others_programs_stay_behind_it() {
    each_way("others_programs_stay_behind_it", |way, namespace| {
        let mut tool = tool();
        let program = tool.answers().expect("a program");
        let options = match way {
            Way::Links => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Way::Filters => {
                run("tc", &["qdisc", "add", "dev", LAN, "clsact"]);
                TcAttachOptions::Netlink(aya::programs::tc::NlOptions::default())
            }
        };
        program.attach_with_options(LAN, TcAttachType::Egress, options).expect("attaches");
        let foreign = way.programs(LAN);
        let mut dataplane = way.open(settings(namespace, &[INSIDE]));
        for _ in 0..2 {
            swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
            let both = way.programs(LAN);
            assert!(both.len() == 2 && both[1..] == foreign[..], "{foreign:?}, then {both:?}");
        }
        dataplane.detach().expect("detaches");
        assert_eq!((way.programs(LAN), has_clsact(LAN)), (foreign, way == Way::Filters));
    });
}

/// Another program of the same name: what tells them apart must be something else.
fn tool() -> Object {
    let compiled = all("p", Action::Pass);
    let interfaces = InterfaceHash::new(&[]).expect("no interface, no collision");
    let conduct = [OnUninspectable::Drop; Reason::ALL.len()].into();
    let constants =
        Constants { generation: 1, conduct, clock_source: 0, interfaces: &interfaces, rules: &[], tables: TableSizes::default() };
    let mut object = Object::create(&constants, &compiled, Sharing::Private).expect("the kernel takes the maps");
    object.load_programs().expect("the kernel takes the programs");
    object
}

#[test]
fn it_is_missed_and_put_back() {
    each_way("it_is_missed_and_put_back", |way, namespace| {
        let mut dataplane = way.open(settings(namespace, &[INSIDE]));
        swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        way.break_it(namespace);
        assert_eq!(way.program(LAN), None);
        assert!(dataplane.observe(&namespace.interfaces()).expect("observes"), "a swap is due");
        let seen = lan(&mut dataplane, namespace);
        assert!(seen.mode.is_some() && seen.lacks_answers && !seen.enforcing() && !dataplane.complete());
        let left = readout::without_agent(namespace.pins().root(), &namespace.interfaces()).expect("the pins are read");
        assert!(!left.interfaces[0].enforcing());

        let swapped = swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        assert_eq!(swapped.attached, [LAN]);
        assert!(way.program(LAN).is_some() && lan(&mut dataplane, namespace).enforcing());
        dataplane.detach().expect("detaches");
        assert_eq!((way.program(LAN), has_clsact(LAN)), (None, false));
    });
}

#[test]
fn a_swap_that_fails_later_leaves_the_former_one() {
    each_way("a_swap_that_fails_later", |way, namespace| {
        namespace.veth("lan-b", "device-b");
        let former = settings(namespace, &[INSIDE]);
        let mut dataplane = way.open(former.clone());
        swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        let program = way.program(LAN);
        // The loopback device has no XDP in its driver.
        let more = [INSIDE, ("lan-b", Role::Inside, WantedMode::Native), ("lo", Role::Inside, WantedMode::Native)];
        let error = dataplane.swap(&all("p", Action::Pass), &settings(namespace, &more), &namespace.interfaces());
        assert!(error.expect_err("no native XDP").to_string().contains("driver of lo"));
        assert_eq!((way.program(LAN), way.program("lan-b"), way.program("lo")), (program, None, None));
        assert!(!has_clsact("lan-b") && !has_clsact("lo"));
        assert!(!dataplane.observe(&namespace.interfaces()).expect("observes") && dataplane.complete());
    });
}

#[test]
fn it_follows_names_and_roles() {
    each_way("it_follows_names_and_roles", |way, namespace| {
        namespace.veth("lan-b", "device-b");
        let both = [INSIDE, ("lan-b", Role::Inside, WantedMode::Native)];
        let mut dataplane = way.open(settings(namespace, &both));
        swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        for (from, to) in [(LAN, "aside"), ("lan-b", LAN), ("aside", "lan-b")] {
            ip(&["link", "set", from, "down"]);
            ip(&["link", "set", from, "name", to]);
        }
        let swapped = swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps");
        assert!(swapped.attached.is_empty(), "{swapped:?}");
        assert!(way.program(LAN).is_some() && way.program("lan-b").is_some() && lan(&mut dataplane, namespace).enforcing());

        let turned = settings(namespace, &[INSIDE, ("lan-b", Role::Outside, WantedMode::Native)]);
        dataplane.swap(&all("p", Action::Drop), &turned, &namespace.interfaces()).expect("swaps");
        assert!(way.program(LAN).is_some() && way.program("lan-b").is_none() && !has_clsact("lan-b"));

        ip(&["link", "delete", LAN]);
        swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps without it");
        assert!(namespace.pins().filters().expect("read").is_empty() && namespace.pins().answers_links().expect("read").is_empty());
        namespace.veth(LAN, "another");
        assert_eq!(swap(&mut dataplane, namespace, "p", Action::Drop).expect("swaps").attached, [LAN]);
        assert!(way.program(LAN).is_some());
    });
}

#[test]
fn filters_give_way_to_links() {
    each_way("filters_give_way_to_links", |way, namespace| {
        let settings = settings(namespace, &[INSIDE]);
        let mut before = Way::Filters.open(settings.clone());
        swap(&mut before, namespace, "p", Action::Drop).expect("swaps");
        drop(before);
        let mut after = way.open(settings);
        swap(&mut after, namespace, "p", Action::Drop).expect("swaps");
        assert!(way.program(LAN).is_some());
        assert_eq!((Way::Filters.program(LAN).is_some(), has_clsact(LAN)), (way == Way::Filters, way == Way::Filters));
    });
}

#[test]
fn a_filter_or_qdisc_in_its_place_is_told_of_and_stays() {
    if !privileged("a_filter_or_qdisc_in_its_place") {
        return;
    }
    let namespace = Namespace::enter();
    namespace.veth(LAN, "device");
    let mut dataplane = Way::Filters.open(settings(&namespace, &[INSIDE]));
    run("tc", &["qdisc", "add", "dev", LAN, "ingress"]);
    let error = swap(&mut dataplane, &namespace, "p", Action::Drop).expect_err("no egress").to_string();
    assert!(error.contains(LAN) && error.contains("`ingress`") && error.contains("clsact"), "{error}");
    run("tc", &["qdisc", "delete", "dev", LAN, "ingress"]);

    run("tc", &["qdisc", "add", "dev", LAN, "clsact"]);
    let all_by_u32 = ["protocol", "all", "u32", "match", "u32", "0", "0", "flowid", "1:1"];
    run("tc", &[&["filter", "add", "dev", LAN, "egress", "pref", "1"], all_by_u32.as_slice()].concat());
    let error = swap(&mut dataplane, &namespace, "p", Action::Drop).expect_err("another kind").to_string();
    assert!(error.contains(LAN) && error.contains("kind"), "the kernel's words: {error}");
    assert!(namespace.program(LAN).is_none() && namespace.pins().filters().expect("read").is_empty());
    assert!(run("tc", &["filter", "show", "dev", LAN, "egress"]).contains("u32"));
    run("tc", &["filter", "delete", "dev", LAN, "egress"]);
    swap(&mut dataplane, &namespace, "p", Action::Drop).expect("swaps");
    dataplane.detach().expect("detaches");
    assert!(has_clsact(LAN), "it was there before");
}
