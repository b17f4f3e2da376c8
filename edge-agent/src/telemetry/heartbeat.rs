//! Whether the agent's loop still turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A loop that has not beaten for this long is stuck; it beats every second.
pub const LATE: Duration = Duration::from_secs(15);

/// Set by the loop, asked by `/healthz` and the supervisor's watchdog.
#[derive(Debug)]
pub struct Heartbeat {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    last: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    pub fn beat(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    /// Time since the last beat, or since the start if there was none.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_makes_it_young() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).expect("the machine is up for a minute");
        let heartbeat = Heartbeat { start: long_ago, ..Heartbeat::default() };
        assert!(heartbeat.age() > LATE);
        heartbeat.beat();
        assert!(heartbeat.age() < Duration::from_secs(1));
    }
}
