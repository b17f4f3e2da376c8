//! Who tries what, and until when: attempts by rule and device, for advisories that ask whether devices have stopped.
//!
//! An attempt is one report of a rule: what a device sent within a second to one address and service, and only as far as the kernel's
//! budget for reports goes. So there are fewer of them than packets, and none is invented.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::dataplane::counters::RuleKey;
use crate::telemetry::events::Report;

/// Devices of a rule that are told apart: a metric's labels must not grow with what devices send, and MACs can be made up.
pub const DEVICES: usize = 100;
/// Whose attempts are those of the devices beyond. No MAC is written so.
const OTHER: &str = "other";

/// Since the start of the agent.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<Rule, Devices>>);

/// By MAC as reports write it.
type Devices = BTreeMap<String, Tally>;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Rule {
    policy: String,
    rule: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    pub count: u64,
    /// When the agent read of the last one.
    pub last: Timestamp,
}

/// One row of what is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub policy: String,
    pub rule: String,
    /// `other`: all that came after the first [`DEVICES`].
    pub device: String,
    pub tally: Tally,
}

impl Attempts {
    /// Reports that name no rule are of packets that could not be inspected.
    pub fn count(&self, report: &Report) {
        let Report { rule: Some(RuleKey { policy, rule, action: _ }), device, at, .. } = report else { return };
        let mut rules = self.lock();
        let devices = rules.entry(Rule { policy: policy.clone(), rule: rule.clone() }).or_default();
        let named = devices.len() - usize::from(devices.contains_key(OTHER));
        let device = if devices.contains_key(device) || named < DEVICES { device } else { OTHER };
        let tally = devices.entry(device.to_owned()).or_insert(Tally { count: 0, last: *at });
        *tally = Tally { count: tally.count + 1, last: tally.last.max(*at) };
    }

    /// Sorted by policy, rule and device.
    pub fn rows(&self) -> Vec<Attempt> {
        let rules = self.lock();
        let mut sorted: Vec<_> = rules.iter().collect();
        sorted.sort_by_key(|(rule, _)| *rule);
        let rows = sorted.into_iter().flat_map(|(Rule { policy, rule }, devices)| {
            devices.iter().map(|(device, tally)| Attempt {
                policy: policy.clone(),
                rule: rule.clone(),
                device: device.clone(),
                tally: *tally,
            })
        });
        rows.collect()
    }

    /// A holder that panicked has left whole tallies behind.
    fn lock(&self) -> MutexGuard<'_, HashMap<Rule, Devices>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::history::sample;

    fn report(rule: Option<(&str, &str)>, device: &str, second: i64) -> Report {
        Report {
            at: Timestamp::from_second(second).expect("a time"),
            rule: rule.map(|(rule, action)| RuleKey { policy: "p".into(), rule: rule.into(), action: action.into() }),
            device: device.into(),
            ..sample(1)
        }
    }

    fn told(attempts: &Attempts) -> Vec<(String, String, u64, i64)> {
        let row = |Attempt { policy: _, rule, device, tally: Tally { count, last } }| (rule, device, count, last.as_second());
        attempts.rows().into_iter().map(row).collect()
    }

    #[test]
    fn each_rule_and_device_has_its_count_and_its_last_time() {
        let attempts = Attempts::default();
        attempts.count(&report(Some(("r", "would_drop")), "64:09:80:00:00:01", 5));
        // Another action of the same rule is the same attempt to the same end; and a ring can be read out of order.
        attempts.count(&report(Some(("r", "drop")), "64:09:80:00:00:01", 3));
        attempts.count(&report(Some(("r", "drop")), "64:09:80:00:00:02", 7));
        attempts.count(&report(Some(("q", "drop")), "64:09:80:00:00:01", 9));
        attempts.count(&report(None, "64:09:80:00:00:01", 9));
        let row = |rule: &str, device: &str, count, last| (rule.to_owned(), format!("64:09:80:00:00:{device}"), count, last);
        assert_eq!(told(&attempts), [row("q", "01", 1, 9), row("r", "01", 2, 5), row("r", "02", 1, 7)]);
    }

    #[test]
    fn devices_beyond_the_bound_are_summed_and_those_before_it_stay() {
        let attempts = Attempts::default();
        let device = |number: usize| format!("02:00:00:00:{:02x}:{:02x}", number >> 8, number & 0xff);
        for number in 0..DEVICES + 20 {
            attempts.count(&report(Some(("r", "drop")), &device(number), number as i64));
        }
        attempts.count(&report(Some(("r", "drop")), &device(0), 1_000));
        attempts.count(&report(Some(("q", "drop")), &device(DEVICES + 1), 1));
        let rows = told(&attempts);
        let of = |rule: &str| rows.iter().filter(|row| row.0 == rule).collect::<Vec<_>>();
        assert_eq!(of("r").len(), DEVICES + 1);
        let other = of("r").into_iter().find(|row| row.1 == OTHER).expect("the others' row");
        assert_eq!((other.2, other.3), (20, (DEVICES + 19) as i64));
        let first = of("r").into_iter().find(|row| row.1 == device(0)).expect("the first one's row");
        assert_eq!((first.2, first.3), (2, 1_000));
        assert_eq!(of("q").len(), 1, "another rule has a bound of its own");
    }
}
