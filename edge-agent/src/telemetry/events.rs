//! The kernel's reports of matched rules and uninspectable packets: read from the ring buffer, named, logged, kept for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::telemetry::attempts::Attempts;
use crate::telemetry::history::History;

mod decode;
mod report;
pub use decode::Malformed;
pub use report::{Names, Report};

/// How often the ring is emptied. By the clock and not by wake-ups, which would cost a context switch for each report under a flood.
const INTERVAL: Duration = Duration::from_millis(100);
/// Reports taken from the ring before other tasks get their turn.
const BATCH: usize = 256;

/// How many reports were read, for the metrics.
#[derive(Debug, Default)]
pub struct ReportCounts {
    read: AtomicU64,
    malformed: AtomicU64,
}

impl ReportCounts {
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// Where reports go.
pub struct Reports {
    /// Names of the generation in force; the agent replaces them with each one.
    pub names: watch::Receiver<Arc<Names>>,
    pub counts: Arc<ReportCounts>,
    pub attempts: Arc<Attempts>,
    pub history: Arc<History>,
}

impl Reports {
    /// Takes reports from `ring` for as long as the future is polled.
    pub async fn follow(self, mut ring: RingBuf<MapData>) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            while !self.take(&mut ring) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// One batch; whether the ring is empty now.
    fn take(&self, ring: &mut RingBuf<MapData>) -> bool {
        for _ in 0..BATCH {
            let Some(item) = ring.next() else { return true };
            self.receive(&item, Timestamp::now());
        }
        false
    }

    fn receive(&self, bytes: &[u8], at: Timestamp) {
        match decode::report(bytes) {
            Ok((event, name)) => {
                self.counts.read.fetch_add(1, Ordering::Relaxed);
                let report = Report::new(&event, name, &self.names.borrow(), at);
                report.log();
                self.attempts.count(&report);
                self.history.push(report);
            }
            Err(error) => {
                self.counts.malformed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a report was left out");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use edge_ebpf::abi::{EVENT_NAME, Event};

    use super::*;

    fn reports() -> Reports {
        let (_, names) = watch::channel(Arc::new(Names::default()));
        Reports { names, counts: Arc::default(), attempts: Arc::default(), history: Arc::new(History::new(10)) }
    }

    #[test]
    fn a_whole_report_is_kept_and_a_cut_one_only_counted() {
        let reports = reports();
        reports.receive(&[0; size_of::<Event>()], Timestamp::now());
        reports.receive(&[0; size_of::<Event>() + EVENT_NAME], Timestamp::now());
        reports.receive(&[0; size_of::<Event>() - 1], Timestamp::now());
        reports.receive(&[0; size_of::<Event>() + 8], Timestamp::now());
        assert_eq!((reports.counts.read(), reports.counts.malformed()), (2, 2));
        assert_eq!(reports.history.newest(10).len(), 2);
    }
}
