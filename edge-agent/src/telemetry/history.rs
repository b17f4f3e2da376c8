//! The last reports, for `edge-agent status --recent`. Bounded: evidence that must last belongs into the log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::telemetry::events::Report;

/// Reports that the agent keeps.
pub const KEPT: usize = 1_000;

/// The newest reports, oldest first.
#[derive(Debug)]
pub struct History {
    capacity: usize,
    reports: Mutex<VecDeque<Report>>,
}

impl History {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, reports: Mutex::new(VecDeque::with_capacity(capacity)) }
    }

    pub fn push(&self, report: Report) {
        let mut reports = self.lock();
        if reports.len() >= self.capacity {
            reports.pop_front();
        }
        if self.capacity > 0 {
            reports.push_back(report);
        }
    }

    /// Up to `count` reports, the newest last.
    pub fn newest(&self, count: usize) -> Vec<Report> {
        let reports = self.lock();
        reports.iter().skip(reports.len().saturating_sub(count)).cloned().collect()
    }

    /// A holder that panicked has left whole reports behind: each change is one push or pop.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report about nothing, for tests.
#[cfg(test)]
pub(crate) fn sample(generation: u32) -> Report {
    Report {
        at: jiff::Timestamp::UNIX_EPOCH,
        rule: None,
        reason: None,
        evidence: "address".into(),
        name: None,
        verdict: "drop".into(),
        monitored: false,
        device: String::new(),
        source: None,
        destination: None,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
        interface: String::new(),
        length: 0,
        generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generations(reports: &[Report]) -> Vec<u32> {
        reports.iter().map(|report| report.generation).collect()
    }

    #[test]
    fn the_oldest_go_first() {
        let history = History::new(3);
        (1..=5).for_each(|generation| history.push(sample(generation)));
        assert_eq!(generations(&history.newest(10)), [3, 4, 5]);
        assert_eq!(generations(&history.newest(2)), [4, 5]);
    }
}
