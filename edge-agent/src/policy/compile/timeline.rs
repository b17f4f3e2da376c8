//! Schedules and expiry dates, minute by minute: the kernel looks the present minute up, so nothing has to happen at an edge.

use std::collections::HashMap;

use edge_ebpf::abi::{MAX_WORDS, STRETCH, Stretch, TIMELINE_STRETCHES};
use jiff::{Timestamp, tz::TimeZone};

use super::rows::{RowPool, set_bit};
use crate::policy::model::{Resolved, Schedule, ScheduleId};

const MINUTES: usize = TIMELINE_STRETCHES * STRETCH;
const DAY: i64 = 24 * 60;
const WEEK: i64 = 7 * DAY;
/// The epoch was a Thursday.
const EPOCH_WEEKDAY: i64 = 3;

/// Which rules hold, from a minute of the Unix epoch on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timeline {
    pub first_minute: u64,
    /// Classes.
    pub stretches: Vec<Stretch>,
}

/// What decides whether a rule holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Condition {
    when: Option<ScheduleId>,
    expires: Option<i64>,
}

impl Timeline {
    /// From `now` on; `None` where every rule always holds.
    ///
    /// # Errors
    /// If more combinations of rules hold at some minute than a timeline can name: returns how many.
    pub(super) fn of(set: &Resolved, now: Timestamp, pool: &mut RowPool) -> Result<Option<Self>, usize> {
        let conditions: Vec<Condition> =
            set.rules.iter().map(|rule| Condition { when: rule.when, expires: set.policies[rule.policy.index()].expires }).collect();
        if conditions.iter().all(|condition| *condition == Condition { when: None, expires: None }) {
            return Ok(None);
        }
        // A day early, for clocks that are set back.
        let first_minute = now.as_second().max(0) / 60 - DAY;
        let first_minute = first_minute.max(0);
        let mut distinct: Vec<Condition> = Vec::new();
        for condition in &conditions {
            if !distinct.contains(condition) {
                distinct.push(*condition);
            }
        }
        let schedules: Vec<Vec<bool>> = set.schedules.iter().map(|schedule| minutes(schedule, first_minute)).collect();
        let mut class_of_combination: HashMap<Vec<bool>, u32> = HashMap::new();
        let mut places = vec![0u16; MINUTES];
        let mut holding = vec![false; distinct.len()];
        for (minute, place) in places.iter_mut().enumerate() {
            for (holds, condition) in holding.iter_mut().zip(&distinct) {
                let second = (first_minute + minute as i64) * 60;
                *holds = condition.expires.is_none_or(|expires| second < expires)
                    && condition.when.is_none_or(|schedule| schedules[schedule.index()][minute]);
            }
            let class = match class_of_combination.get(&holding) {
                Some(class) => *class,
                None => {
                    let mut row = [0; MAX_WORDS];
                    for (rule, condition) in conditions.iter().enumerate() {
                        if distinct.iter().zip(&holding).any(|(known, holds)| *holds && known == condition) {
                            set_bit(&mut row, rule);
                        }
                    }
                    let class = pool.intern(row);
                    class_of_combination.insert(holding.clone(), class);
                    class
                }
            };
            *place = u16::try_from(class).map_err(|_| class_of_combination.len())?;
        }
        let (stretches, _) = places.as_chunks::<STRETCH>();
        Ok(Some(Self { first_minute: first_minute.unsigned_abs(), stretches: stretches.to_vec() }))
    }

    /// Class of the rules that hold in this minute of the Unix epoch: before the timeline those of its first minute, behind it those of its
    /// last.
    pub fn class(&self, minute: u64) -> Option<u32> {
        let place = (minute.saturating_sub(self.first_minute) as usize).min(MINUTES - 1);
        Some(u32::from(self.stretches.get(place / STRETCH)?[place % STRETCH]))
    }
}

/// For each minute of the timeline, whether the schedule holds: by arithmetic between two changes of the zone's offset.
fn minutes(schedule: &Schedule, first_minute: i64) -> Vec<bool> {
    let week = schedule.week();
    let end = first_minute + MINUTES as i64;
    let mut held = Vec::with_capacity(MINUTES);
    let mut at = first_minute;
    while at < end {
        let (offset, until) = stable(&schedule.timezone, at);
        for minute in at..until.min(end) {
            let local = minute + offset + EPOCH_WEEKDAY * DAY;
            held.push(week[local.rem_euclid(WEEK) as usize]);
        }
        at = until.min(end);
    }
    held
}

/// Minutes that the zone's clock is ahead of UTC at a minute, and the minute at which that changes next.
fn stable(timezone: &TimeZone, minute: i64) -> (i64, i64) {
    let Ok(at) = Timestamp::from_second(minute * 60) else { return (0, i64::MAX) };
    let offset = i64::from(timezone.to_offset(at).seconds()).div_euclid(60);
    let next = timezone.following(at).next().map_or(i64::MAX, |transition| transition.timestamp().as_second().div_euclid(60));
    // A change within the minute counts from the next one on.
    (offset, next.max(minute + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(days: [bool; 7], from: u16, to: u16, zone: &str) -> Schedule {
        Schedule { days, from, to, timezone: TimeZone::get(zone).expect("a zone") }
    }

    /// The arithmetic agrees with the clock of each place, over both changes to and from summer time and over midnight.
    #[test]
    fn every_minute_is_as_the_clock_shows_it() {
        let workdays = [true, true, true, true, true, false, false];
        for schedule in [
            schedule(workdays, 8 * 60, 17 * 60 + 30, "Europe/Berlin"),
            schedule([true; 7], 22 * 60, 6 * 60, "America/New_York"),
            schedule([false, false, false, false, false, false, true], 0, 1440, "Asia/Kolkata"),
            schedule([false, false, false, false, false, false, true], 1, 1, "UTC"),
            schedule([true; 7], 2 * 60, 3 * 60, "Australia/Lord_Howe"),
        ] {
            let first = 1_700_000_000 / 60;
            let held = minutes(&schedule, first);
            assert_eq!(held.len(), MINUTES);
            for (minute, held) in held.iter().enumerate().step_by(7) {
                let at = Timestamp::from_second((first + minute as i64) * 60).expect("in range");
                assert_eq!(*held, schedule.holds(at), "{at} {schedule:?}");
            }
        }
    }
}
