//! The three engines side by side.

use edge_agent::config::Conduct;
use edge_agent::dataplane::error::Error;
use edge_agent::engine::{
    Outcome, SOME_TIME,
    kernel::{KernelEngine, KernelEngineError},
    trio::Trio,
};
use edge_agent::policy::compile::{Compiled, compile};
use edge_agent::policy::model::Resolved;
use edge_ebpf::abi::{OnUninspectable, Reason};
use edge_ebpf::engine::Side;
use jiff::Timestamp;

/// What every reason gets where a test is not about that.
pub const WHERE_A_RULE_COULD_MATCH: [OnUninspectable; Reason::ALL.len()] = [OnUninspectable::DropIfRuleCouldMatch; Reason::ALL.len()];

/// Three ways to the same answer: the shared core over host tables, the oracle, and (as root) the loaded kernel program.
pub struct Engines(Trio<'static>);

impl Engines {
    pub fn new(policies: Resolved, conduct: impl Into<Conduct>) -> Self {
        let conduct = conduct.into();
        // Engines borrow their tables; a test's live as long as its process.
        let policies: &Resolved = Box::leak(Box::new(policies));
        let compiled: &Compiled = Box::leak(Box::new(compile(policies, SOME_TIME).expect("compiles")));
        let kernel = is_root().then(|| KernelEngine::new(compiled, conduct)).and_then(|engine| match engine {
            Err(KernelEngineError::Dataplane(error @ Error::NoRates { .. })) => {
                eprintln!("the kernel engine is left out of this test: {error}");
                None
            }
            engine => Some(engine.expect("the kernel loads the program")),
        });
        Self(Trio::new(policies, compiled, conduct, kernel).expect("names are told apart"))
    }

    pub fn set_time(&mut self, now: Timestamp) {
        self.0.set_time(now).expect("the kernel takes the time");
    }

    /// Lets all of them learn from a frame on its way to a device.
    pub fn answer(&mut self, frame: &[u8]) {
        self.0.answer(frame).expect("every engine can learn");
    }

    /// Of a frame from a device, see [`Self::run_on`].
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        self.run_on(Side::Inside, frame)
    }

    /// The outcome that all of them agree on.
    pub fn run_on(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let outcome = self.0.run_on(side, frame).expect("every engine can tell");
        outcome.unwrap_or_else(|disagreement| panic!("{disagreement}, on {}", hex(frame)))
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
