//! What the loop knows and others ask for, behind one lock that is never held over a system call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use edge_ebpf::abi::SCHEMA;

use super::build::Told;
use super::status::{DeviceCounts, Failure, Stage, Status, StatusError, StatusSource};
use crate::dataplane::Dataplane;
use crate::identity::devices::Devices;

/// The kernel's side, shared by the loop and whoever reads its counters.
pub type SharedDataplane = Arc<Mutex<Dataplane>>;

/// A holder that panicked has left whole values behind: each change to them is one assignment, or the kernel's own.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared by the loop and those who report on it.
#[derive(Debug)]
pub struct State {
    started_at: SystemTime,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    loaded_at: Option<SystemTime>,
    told: Told,
    load_failures: BTreeMap<Stage, u64>,
    /// Of a load; gone with the next one that succeeds.
    last_failure: Option<Failure>,
    /// Of attaching what is in force to an interface that came (back); gone once it is attached.
    not_attached: Option<Failure>,
}

impl Default for State {
    fn default() -> Self {
        let known = Known {
            loaded_at: None,
            told: Told::default(),
            load_failures: Stage::ALL.map(|stage| (stage, 0)).into(),
            last_failure: None,
            not_attached: None,
        };
        Self { started_at: SystemTime::now(), known: Mutex::new(known) }
    }
}

impl State {
    /// These policies are in force from now on.
    pub fn loaded(&self, told: Told) {
        let mut known = lock(&self.known);
        known.loaded_at = Some(SystemTime::now());
        known.told = told;
        known.last_failure = None;
        known.not_attached = None;
    }

    /// An attempt to load changed nothing.
    pub fn failed(&self, stage: Stage, problems: String) {
        let mut known = lock(&self.known);
        *known.load_failures.entry(stage).or_default() += 1;
        known.last_failure = Some(Failure { at: SystemTime::now(), stage, problems });
    }

    /// What is in force could not be attached to an interface that came (back).
    pub fn not_attached(&self, problems: String) {
        let mut known = lock(&self.known);
        *known.load_failures.entry(Stage::Swap).or_default() += 1;
        known.not_attached = Some(Failure { at: SystemTime::now(), stage: Stage::Swap, problems });
    }

    /// What is in force is attached wherever it can be.
    pub fn attached(&self) {
        lock(&self.known).not_attached = None;
    }

    /// The last attempt to load succeeded.
    pub fn current(&self) -> bool {
        let known = lock(&self.known);
        known.loaded_at.is_some() && known.last_failure.is_none()
    }

    fn status(&self, dataplane: &Mutex<Dataplane>, devices: &Devices) -> Result<Status, StatusError> {
        let (snapshot, generation, complete) = {
            let dataplane = lock(dataplane);
            let snapshot = dataplane.snapshot().map_err(|error| StatusError(Box::new(error)))?;
            (snapshot, dataplane.generation(), dataplane.complete())
        };
        let ready = complete && self.current();
        let known = lock(&self.known);
        let Known { loaded_at, told: Told { policies, warnings, sources }, load_failures, last_failure, not_attached } = &*known;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION"),
            schema: SCHEMA,
            started_at: self.started_at,
            generation,
            loaded_at: *loaded_at,
            ready,
            policies: policies.clone(),
            warnings: warnings.clone(),
            sources: sources.clone(),
            load_failures: load_failures.clone(),
            last_failure: last_failure.as_ref().or(not_attached.as_ref()).cloned(),
            devices: DeviceCounts { known: devices.len() as u64, changes: devices.changes().collect() },
            snapshot,
        })
    }
}

/// Reads the status of `dataplane`, and what `state` and `devices` know of it.
pub fn source(state: &Arc<State>, dataplane: &SharedDataplane, devices: &Arc<Devices>) -> StatusSource {
    let (state, dataplane, devices) = (Arc::clone(state), Arc::clone(dataplane), Arc::clone(devices));
    Arc::new(move || state.status(&dataplane, &devices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_by_stage_and_forgotten_when_a_load_succeeds() {
        let state = State::default();
        assert!(!state.current(), "nothing was loaded yet");
        state.failed(Stage::Resolve, "no such vendor".into());
        state.failed(Stage::Resolve, "no such country".into());
        assert!(!state.current());
        let counts = |state: &State| lock(&state.known).load_failures.values().copied().collect::<Vec<_>>();
        assert_eq!(counts(&state), [0, 2, 0, 0]);
        state.not_attached("taken".into());
        state.attached();
        assert!(!state.current(), "an interface that is attached makes no policy right");
        state.loaded(Told::default());
        assert!(state.current());
        assert_eq!(counts(&state), [0, 2, 0, 1], "a counter never goes back");
    }
}
