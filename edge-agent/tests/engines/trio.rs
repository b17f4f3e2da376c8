//! The three engines side by side.

use edge_agent::dataplane::error::Error;
use edge_agent::engine::{
    Outcome, SOME_TIME,
    host::HostEngine,
    kernel::{KernelEngine, KernelEngineError},
    oracle::Oracle,
};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::Resolved;
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

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
        let compiled: &Compiled =
            Box::leak(Box::new(compile(policies, Timestamp::from_second(SOME_TIME).expect("in range")).expect("compiles")));
        let kernel = is_root().then(|| KernelEngine::new(compiled, on_uninspectable)).and_then(|engine| match engine {
            Err(KernelEngineError::Dataplane(error @ Error::NoRates { .. })) => {
                eprintln!("the kernel engine is left out of this test: {error}");
                None
            }
            engine => Some(engine.expect("the kernel loads the program")),
        });
        Self { host: HostEngine::new(compiled, on_uninspectable), oracle: Oracle::new(policies, on_uninspectable), kernel }
    }

    /// Seconds of the Unix epoch.
    pub fn set_time(&mut self, now: i64) {
        self.host.set_time(now);
        self.oracle.set_time(now);
        if let Some(kernel) = &mut self.kernel {
            kernel.set_time(now).expect("the kernel takes the time");
        }
    }

    /// Of a frame from a device, see [`Self::run_on`].
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        self.run_on(Side::Inside, frame)
    }

    /// The outcome that all of them agree on.
    pub fn run_on(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let host = self.host.run_on(side, frame).expect("the tables are whole");
        let oracle = Outcome { reply: host.reply.clone(), ..self.oracle.run_on(side, frame) };
        assert_eq!(host, oracle, "host engine and oracle differ on {}", hex(frame));
        // The kernel takes no test frame without a whole Ethernet header.
        if let Some(kernel) = self.kernel.as_mut().filter(|_| frame.len() >= 14) {
            let kernel = kernel.run_on(side, frame).expect("the kernel runs the frame");
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
