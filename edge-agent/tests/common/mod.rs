//! A small policy set in the model's own words, for tests that are not about YAML.

use std::sync::Arc;

use edge_agent::engine::{Outcome, host::HostEngine, kernel::KernelEngine, oracle::Oracle};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::{
    Action, AddressSet, Destination, DestinationId, DeviceSelector, Expr, Group, GroupId, Mode, PolicyId, PolicyInfo, Ranges,
    RemoteSelector, Resolved, Rule, ServiceMatch, Signal, SignalId,
};
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::packet::Mac;

/// 64:09:80:00:00:01
pub const PHONE: Mac = Mac(0x6409_8000_0001);
/// 00:25:90:00:00:01
pub const LAPTOP: Mac = Mac(0x0025_9000_0001);

pub fn policy(name: &str) -> PolicyInfo {
    PolicyInfo { name: name.into(), title: String::new(), severity: "medium".into(), mode: Mode::Enforce, priority: 100, built_in: false }
}

pub fn rule(id: &str, from: DeviceSelector, to: RemoteSelector, service: ServiceMatch, action: Action) -> Rule {
    Rule {
        policy: PolicyId(0),
        id: id.into(),
        from: vec![from],
        to: vec![to],
        services: vec![service],
        action,
        monitored: action == Action::Monitor,
        report: action != Action::Pass,
    }
}

pub fn phones() -> DeviceSelector {
    DeviceSelector::Group(GroupId(0))
}

/// 42.62.48.0/24 and 2001:db8:42::/48
pub fn banned() -> RemoteSelector {
    RemoteSelector::Destination(DestinationId(0))
}

/// The group `phones` (64:09:80), the destination `banned`, and the given rules.
pub fn set_of(rules: Vec<Rule>) -> Resolved {
    let macs = Ranges::new(vec![(0x6409_8000_0000u64, 0x6409_80ff_ffff)]);
    let addresses = AddressSet {
        v4: Ranges::new(vec![(0x2a3e_3000, 0x2a3e_30ff)]),
        v6: Ranges::new(vec![(0x2001_0db8_0042 << 80, (0x2001_0db8_0043 << 80) - 1)]),
    };
    Resolved {
        policies: vec![policy("test")],
        signals: vec![Signal::Mac(Arc::new(macs))],
        groups: vec![Group { policy: PolicyId(0), name: "phones".into(), when: Expr::Signal(SignalId(0)) }],
        destinations: vec![Destination { policy: PolicyId(0), name: "banned".into(), sets: vec![Arc::new(addresses)] }],
        rules,
    }
}

/// What every reason gets where a test is not about that.
pub const WHERE_A_RULE_COULD_MATCH: [OnUninspectable; Reason::ALL.len()] = [OnUninspectable::DropIfRuleCouldMatch; Reason::ALL.len()];

/// Three ways to the same answer: the shared core over host tables, the oracle, and (as root) the loaded kernel program.
pub struct Engines {
    host: HostEngine<'static>,
    oracle: Oracle<'static>,
    kernel: Option<KernelEngine>,
}

impl Engines {
    pub fn new(policies: Resolved, on_uninspectable: [OnUninspectable; Reason::ALL.len()]) -> Self {
        // Engines borrow their tables; a test's live as long as its process.
        let policies: &Resolved = Box::leak(Box::new(policies));
        let compiled: &Compiled = Box::leak(Box::new(compile(policies).expect("compiles")));
        let kernel = is_root().then(|| KernelEngine::new(compiled, on_uninspectable).expect("the kernel loads the program"));
        Self { host: HostEngine::new(compiled, on_uninspectable), oracle: Oracle::new(policies, on_uninspectable), kernel }
    }

    /// The outcome that all of them agree on.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        let host = self.host.run(frame).expect("the tables are whole");
        let oracle = Outcome { reply: host.reply.clone(), ..self.oracle.run(frame) };
        assert_eq!(host, oracle, "host engine and oracle differ on {}", hex(frame));
        // The kernel takes no test frame without a whole Ethernet header.
        if let Some(kernel) = self.kernel.as_mut().filter(|_| frame.len() >= 14) {
            let kernel = kernel.run(frame).expect("the kernel runs the frame");
            assert_eq!(kernel, host, "kernel and host engine differ on {}", hex(frame));
        }
        host
    }
}

/// Whether the kernel can be asked; where it cannot, the test says so and goes on with the others.
pub fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        eprintln!("not root: the kernel engine is left out of this test");
    }
    root
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
