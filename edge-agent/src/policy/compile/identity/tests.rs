use std::sync::Arc;

use edge_ebpf::abi::MAX_WORDS;
use edge_ebpf::abi::identity::{FactKind, HelloParts, MAX_GROUP_DEPTH, MAX_SIGNALS};
use edge_ebpf::identity::automaton::{States, walk};
use edge_ebpf::identity::groups::{Membership, compute};
use edge_ebpf::identity::hello;
use edge_ebpf::packet::access::Frame;
use proptest::prelude::*;

use super::*;
use crate::engine::SOME_TIME;
use crate::policy::compile::{Compiled, compile};
use crate::policy::model::{
    Action, Direction, Expr, Glob, Group, GroupId, Mode, OptionKind, PolicyId, PolicyInfo, PortProtocol, Ranges, RemoteSelector, Rule,
    ServiceMatch, Signal, SignalId, Signature, SignatureId, TextKind,
};
use crate::policy::name_set::tests::set as names;

fn policy(built_in: bool) -> PolicyInfo {
    let name = || if built_in { "built-in" } else { "p" }.to_owned();
    PolicyInfo { name: name(), title: name(), severity: "low".to_owned(), mode: Mode::Enforce, priority: 1, expires: None, built_in }
}

fn rule(from: Vec<DeviceSelector>) -> Rule {
    Rule {
        policy: PolicyId(0),
        id: "r".to_owned(),
        from,
        to: vec![RemoteSelector::Any],
        services: vec![ServiceMatch::Any],
        direction: Direction::Outbound,
        when: None,
        action: Action::Drop,
        monitored: false,
        report: true,
    }
}

/// A rule for each group, one for devices in none of them, one for all. The last group is built in.
fn resolved(signals: Vec<Signal>, groups: Vec<Expr>) -> Resolved {
    let last = groups.len() - 1;
    let group = |(index, when)| Group { policy: PolicyId(u32::from(index == last)), name: "g".to_owned(), when };
    let rules = (0..groups.len() as u32).map(|group| rule(vec![DeviceSelector::Group(GroupId(group))]));
    Resolved {
        policies: vec![policy(false), policy(true)],
        signals,
        rules: rules.chain([rule(vec![DeviceSelector::Unknown]), rule(vec![DeviceSelector::All])]).collect(),
        groups: groups.into_iter().enumerate().map(group).collect(),
        ..Resolved::default()
    }
}

/// Each signal is a group of its own.
fn compiled(signals: Vec<Signal>) -> Compiled {
    let groups = (0..signals.len() as u32).map(|signal| Expr::Signal(SignalId(signal))).chain([Expr::Any(Vec::new())]).collect();
    compile(&resolved(signals, groups), SOME_TIME).expect("small")
}

#[derive(Clone, Copy)]
struct Table<'a>(&'a CompiledIdentity);

impl States for Table<'_> {
    fn state(&self, number: u32) -> Option<&FactState> {
        self.0.states.get(number as usize)
    }
}

/// Numbers of the signals that a fact is.
fn known(identity: &CompiledIdentity, kind: FactKind, fact: &[u8]) -> Vec<u32> {
    let set = walk(&Table(identity), &Frame::new(fact), u32::from(identity.starts[kind as usize]), 0, fact.len(), false, 0);
    identity.sets[set as usize].clone()
}

fn identity(signals: Vec<Signal>) -> CompiledIdentity {
    compiled(signals).identity.expect("signals")
}

/// Devices are known by this shape.
pub(crate) fn of_shape(pattern: &crate::policy::model::SynPattern) -> CompiledIdentity {
    identity(vec![Signal::Syn(vec![pattern.clone()])])
}

/// One letter after the other.
fn holds(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => holds(rest, text) || text.split_first().is_some_and(|(_, text)| holds(glob, text)),
        (Some((letter, glob)), Some((other, text))) => letter.eq_ignore_ascii_case(other) && holds(glob, text),
        _ => false,
    }
}

fn texts(kind: TextKind, globs: &[String]) -> Signal {
    Signal::Text(kind, globs.iter().map(|glob| glob.parse::<Glob>().expect("a glob")).collect())
}

proptest! {
    #[test]
    fn the_automaton_says_what_each_glob_says(
        globs in prop::collection::vec(prop::collection::vec("[ab*.]{1,6}", 1..4), 1..5),
        probes in prop::collection::vec("[aAbB.]{1,8}", 30),
    ) {
        let signals: Vec<Signal> = globs.iter().map(|globs| texts(TextKind::DhcpHostName, globs)).collect();
        let groups = (0..signals.len() as u32).map(|signal| Expr::Signal(SignalId(signal))).chain([Expr::Any(Vec::new())]).collect();
        let set = resolved(signals, groups);
        let numbering = Numbering::of(&set).expect("few").expect("some");
        let compiled = compile(&set, SOME_TIME).expect("small").identity.expect("signals");
        for text in &probes {
            let found = known(&compiled, FactKind::DhcpHostName, text.as_bytes());
            let holds = |globs: &Vec<String>| globs.iter().any(|glob| holds(glob.as_bytes(), text.as_bytes()));
            let own = globs.iter().zip(0..).filter(|(globs, _)| holds(globs)).filter_map(|(_, signal)| numbering.number(SignalId(signal)));
            let mut expected: Vec<u32> = own.collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(found, expected, "{}", text);
            prop_assert!(known(&compiled, FactKind::UserAgent, text.as_bytes()).is_empty(), "another kind");
        }
    }

    #[test]
    fn a_name_is_read_as_its_text(
        globs in prop::collection::vec("[ab*.]{1,6}", 1..4),
        labels in prop::collection::vec("[abAB]{1,3}", 1..5),
        root in any::<bool>(),
    ) {
        let compiled = identity(globs.iter().map(|glob| texts(TextKind::Dhcp6Name, std::slice::from_ref(glob))).collect());
        let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        wire.extend(root.then_some(0));
        let found = !known(&compiled, FactKind::Dhcp6Name, &wire).is_empty();
        prop_assert_eq!(found, globs.iter().any(|glob| holds(glob.as_bytes(), labels.join(".").as_bytes())));
    }

    #[test]
    fn the_program_says_what_the_groups_say(
        groups in prop::collection::vec(expression(), 1..6),
        shown in 0u8..16,
        mac in 0u64..16,
    ) {
        let signals = signals();
        let set = resolved(signals.clone(), groups);
        let compiled = compile(&set, SOME_TIME).expect("small");
        let has = |signal: SignalId| match &signals[signal.index()] {
            Signal::Mac(ranges) => ranges.contains(mac),
            _ => shown >> (signal.index() - MACS) & 1 == 1,
        };
        let holds: Vec<bool> = set.groups.iter().map(|group| group.when.holds(&has)).collect();
        let expected = crate::policy::compile::device_row(&set, &holds);
        let is_known = set.groups.iter().zip(&holds).any(|(group, holds)| *holds && group.policy == PolicyId(0));
        let class = edge_ebpf::trie::lookup::<48>(&&compiled.mac, [mac << 16, 0]).expect("every MAC has a class");
        let Some(identity) = &compiled.identity else {
            prop_assert_eq!(compiled.pool[class as usize], expected[0]);
            return Ok(());
        };
        let mut slots = SignalSet::default();
        for (index, signal) in signals.iter().enumerate().skip(MACS).filter(|(index, _)| has(SignalId(*index as u32))) {
            let Signal::Text(_, globs) = signal else { panic!("{index}") };
            let number = identity.signals.iter().position(|text| text.contains(&globs[0].0));
            number.into_iter().for_each(|number| set_signal(&mut slots, number as u32));
        }
        let mut membership = Membership::default();
        compute(&Program(&compiled, identity), slots, &identity.macs[class as usize], &mut membership, 0);
        prop_assert_eq!((membership.row[0], membership.known != 0), (expected[0], is_known));
        if shown == 0 {
            prop_assert_eq!(compiled.pool[class as usize], expected[0], "the class's row is that of a device that has shown nothing");
        }
    }
}

/// Three sets of MACs, and four texts.
const MACS: usize = 3;
fn signals() -> Vec<Signal> {
    let macs = [[(0, 3), (8, 9)], [(2, 5), (12, 12)], [(7, 8), (10, 15)]];
    let macs = macs.map(|ranges| Signal::Mac(Arc::new(Ranges::new(ranges.to_vec()))));
    let texts = ["one", "two", "three", "four"].map(|text| Signal::Text(TextKind::UserAgent, vec![Glob(text.to_owned())]));
    macs.into_iter().chain(texts).collect()
}

fn expression() -> impl Strategy<Value = Expr> {
    let signal = (0..MACS as u32 + 4).prop_map(|signal| Expr::Signal(SignalId(signal)));
    signal.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Expr::Any),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

#[test]
fn groups_of_macs_alone_need_no_identity() {
    let set = resolved(signals()[..MACS].to_vec(), vec![Expr::Signal(SignalId(0)), Expr::Not(Box::new(Expr::Signal(SignalId(2))))]);
    assert!(compile(&set, SOME_TIME).expect("small").identity.is_none());
}

#[test]
fn options_are_lists_of_numbers() {
    let compiled = identity(vec![
        Signal::Options(OptionKind::Dhcp, vec![vec![1, 3, 6], vec![1, 3]]),
        Signal::Options(OptionKind::Dhcp6, vec![vec![23, 300]]),
    ]);
    let dhcp = |bytes: &[u8]| known(&compiled, FactKind::DhcpParameters, bytes);
    assert_eq!(
        [dhcp(&[1, 3, 6]), dhcp(&[1, 3]), dhcp(&[1]), dhcp(&[1, 3, 6, 6]), dhcp(&[3, 1])],
        [vec![0], vec![0], vec![], vec![], vec![]]
    );
    assert_eq!(known(&compiled, FactKind::Dhcp6Options, &[0, 23, 1, 44]), [1]);
    assert!(known(&compiled, FactKind::DhcpParameters, &[0, 23, 1, 44]).is_empty());
}

/// A shape as the program puts it together.
fn shape(window: u16, of_mss: u8, of_mtu: u8, scale: u8, kinds: &[u8]) -> Vec<u8> {
    let [high, low] = window.to_be_bytes();
    [&[4, 64, 0, 5, 0xb4, high, low, of_mss, of_mtu, scale, 0, 0, 3, 0, kinds.len() as u8, 0], kinds].concat()
}

#[test]
fn a_shape_is_known_by_what_is_asked_for() {
    let patterns = [
        "4:64:0:*:mss*20,9:mss,sok:df,id+:0",
        "*:64:*:1460:*,*:*:*:*",
        "*:*:*:*:%8192,*:*:*:*",
        "*:*:*:*:mtu*4,none:*:*:0",
        "6:*:*:*:*,*:*:*:*",
        "*:*:*:*:29200,*:mss:*:*",
    ];
    let compiled = identity(patterns.iter().map(|pattern| Signal::Syn(vec![pattern.parse().expect("a shape")])).collect());
    let known = |shape: Vec<u8>| known(&compiled, FactKind::TcpSyn, &shape);
    assert_eq!(known(shape(29200, 20, 0, 9, &[2, 4])), [0, 1]);
    assert_eq!(known(shape(29200, 20, 0, 9, &[2])), [1, 5]);
    assert_eq!(known(shape(16384, 0, 0, 9, &[])), [1, 2]);
    assert_eq!(known(shape(0, 0, 4, 255, &[2, 4])), [1, 2, 3]);
    assert_eq!(known(shape(8191, 0, 0, 255, &[2, 4, 8])), [1]);
}

#[test]
fn a_multiple_is_told_for_every_window() {
    for unit in [1, 7, 255, 256, 8192, 65535] {
        let compiled = identity(vec![Signal::Syn(vec![format!("*:*:*:*:%{unit},*:*:*:*").parse().expect("a shape")])]);
        for window in (0..=u16::MAX).step_by(13).chain([u16::MAX, unit]) {
            assert_eq!(
                !known(&compiled, FactKind::TcpSyn, &shape(window, 0, 0, 0, &[])).is_empty(),
                window % unit == 0,
                "{window} % {unit}"
            );
        }
    }
}

fn hellos(patterns: &[&str]) -> CompiledIdentity {
    identity(patterns.iter().map(|pattern| Signal::Hello(vec![pattern.parse().expect("a JA4")])).collect())
}

#[test]
fn a_hello_is_known_by_letters_by_key_or_by_hash() {
    let compiled =
        hellos(&["t13d*h2", "t13d0203h2_1301,1302_000d,002b_0403,0804", "*_1301,1302_*", "t13d*_*_e5627efa2ab1", "t13d*_1301,1302_*"]);
    assert_eq!(known(&compiled, FactKind::Hello, b"t13d0203h2"), [0]);
    assert!(known(&compiled, FactKind::Hello, b"t12d0203h2").is_empty());
    let ciphers = hello::of_cipher(0x1302).wrapping_add(hello::of_cipher(0x1301));
    let extensions = hello::of_extension(0x2b).wrapping_add(hello::of_extension(0x0d));
    let algorithms = hello::with_algorithm(hello::with_algorithm(0, 0x0403), 0x0804);
    let own = HelloKey { letters: hello::letters(*b"t13d0203h2"), ciphers, extensions: hello::of_extensions(extensions, algorithms) };
    assert_eq!(own.parts(), HelloParts(0));
    let look_up = |parts: HelloParts| {
        let found = compiled.hellos.iter().find(|(key, _)| *key == own.asking(parts));
        found.map(|(key, set)| (key.parts(), compiled.sets[*set as usize].clone()))
    };
    assert_eq!(look_up(HelloParts::ALL), Some((HelloParts::ALL, vec![1])));
    assert_eq!(look_up(HelloParts(HelloParts::CIPHERS)), Some((HelloParts(HelloParts::CIPHERS), vec![2])));
    assert_eq!(look_up(HelloParts(HelloParts::EXTENSIONS)), None);
    assert_eq!(compiled.hellos.len(), 2);
    let [by_extensions, by_ciphers] = compiled.hashed.as_slice() else { panic!("{:?}", compiled.hashed) };
    let extensions = [0xe5, 0x62, 0x7e, 0xfa, 0x2a, 0xb1];
    assert!(by_extensions.holds(b"t13d0203h2", [0; 6], extensions) && !by_extensions.holds(b"t12d0203h2", [0; 6], extensions));
    // printf 1301,1302 | sha256sum
    let ciphers = [0x62, 0xed, 0x6f, 0x6c, 0xa7, 0xad];
    assert!(by_ciphers.holds(b"t13d0203h2", ciphers, [1; 6]) && !by_ciphers.holds(b"t13d0203h2", [0; 6], [1; 6]));
    assert_eq!((by_extensions.signal, by_ciphers.signal), (3, 4));
}

#[test]
fn names_and_signatures_say_which_signals_they_are() {
    let signature = |byte| Signature {
        policy: PolicyId(0),
        name: "s".to_owned(),
        protocol: PortProtocol::Tcp,
        ports: vec![(1, 1)],
        offset: 0,
        bytes: vec![Some(byte)],
    };
    let signals = vec![
        Signal::Asked(Arc::new(names(&["a.example"]))),
        Signal::Asked(Arc::new(names(&["*.example", "=b.example"]))),
        Signal::Signature(SignatureId(0)),
        Signal::Signature(SignatureId(1)),
    ];
    let groups = (0..4).map(|signal| Expr::Signal(SignalId(signal))).chain([Expr::Any(Vec::new())]).collect();
    // The same bytes in two policies are one signal.
    let set = Resolved { signatures: vec![signature(7), signature(7), signature(8)], ..resolved(signals, groups) };
    let compiled = compile(&set, SOME_TIME).expect("small");
    let identity = compiled.identity.as_ref().expect("signals");
    assert_eq!(identity.signals.len(), 3);
    assert!(identity.signals[2].starts_with("signature tcp [[1,1]] 0 07"), "{:?}", identity.signals);
    let table = compiled.names.as_ref().expect("names");
    let of = |name: &str| {
        let stored = table.names.iter().find(|stored| stored.name.as_str() == name).expect("a stored name");
        identity.sets[table.rules[stored.exact as usize].signals as usize].clone()
    };
    assert_eq!((of("a.example"), of("example")), (vec![0, 1], vec![]));
    assert!(table.rules.iter().all(|rules| compiled.pool[rules.carried as usize] == 0), "no rule is about them");
    assert_eq!(compiled.named, [0; MAX_WORDS]);
    let shown: Vec<Vec<u32>> = compiled.signatures.iter().map(|entry| identity.sets[usize::from(entry.signals)].clone()).collect();
    assert_eq!(shown, [vec![2], vec![2]], "the third is nobody's");
}

#[test]
fn a_signal_has_one_text_in_every_set() {
    let (a, b) = (texts(TextKind::UserAgent, &["a\" *".to_owned()]), texts(TextKind::UserAgent, &["a".to_owned(), "\"*".to_owned()]));
    let both = identity(vec![a.clone(), b.clone()]).signals;
    assert_eq!(both, ["http.user_agent [\"a\\\" *\"]", "http.user_agent [\"a\",\"\\\"*\"]"]);
    assert_eq!(identity(vec![b]).signals, both[1..]);
    let asked = identity(vec![Signal::Asked(Arc::new(names(&["x.example", "=y.example"])))]).signals;
    assert_eq!(asked, identity(vec![Signal::Asked(Arc::new(names(&["=y.example", "x.example"])))]).signals);
    assert_ne!(asked, identity(vec![Signal::Asked(Arc::new(names(&["x.example", "y.example"])))]).signals);
}

#[test]
fn what_is_too_much_is_said() {
    let text = |number: usize| texts(TextKind::UserAgent, &[format!("x{number}")]);
    let set = |signals: Vec<Signal>| {
        let groups = (0..signals.len() as u32).map(|signal| Expr::Signal(SignalId(signal))).chain([Expr::Any(Vec::new())]).collect();
        compile(&resolved(signals, groups), SOME_TIME)
    };
    assert!(set((0..MAX_SIGNALS).map(text).collect()).is_ok());
    assert_eq!(set((0..=MAX_SIGNALS).map(text).collect()).err(), Some(CompileError::TooManySignals { signals: MAX_SIGNALS + 1 }));
    let anywhere = |count: usize| (0..count).map(|number| format!("*part-{number:02}-of-it*")).collect::<Vec<_>>();
    let each = anywhere(16).into_iter().map(|glob| texts(TextKind::UserAgent, &[glob])).collect();
    assert_eq!(set(each).err(), Some(CompileError::TooManyFactStates));
    let together = identity(vec![texts(TextKind::UserAgent, &anywhere(60))]);
    assert!(together.states.len() < 500, "{}", together.states.len());
}

#[test]
fn no_program_needs_more_stack_than_there_is() {
    // Each level asks for a signal before what is below.
    let nested = (0..300).fold(Expr::Signal(SignalId(MACS as u32)), |inner, level| {
        let parts = vec![Expr::Signal(SignalId(MACS as u32 + 1)), inner];
        if level % 2 == 0 { Expr::All(parts) } else { Expr::Any(parts) }
    });
    let compiled = compile(&resolved(signals(), vec![nested, Expr::Any(Vec::new())]), SOME_TIME).expect("small");
    let mut depth = 0_usize;
    for op in compiled.identity.expect("signals").ops {
        match op.kind() {
            GroupOp::SIGNAL | GroupOp::MAC => depth += 1,
            GroupOp::ALL | GroupOp::ANY | GroupOp::GROUP => depth -= 1,
            _ => {}
        }
        assert!(depth <= 2, "of {MAX_GROUP_DEPTH}");
    }
    assert_eq!(depth, 0);
}
