//! The daily load: schedules and expiry dates are in the kernel for about a year from a load on, so it gets them anew each day.

use jiff::civil::Date;

use crate::policy::compile::Compiled;

/// Tells when policies must be loaded for no other reason than that another day has begun.
pub struct DailyLoad {
    /// The present day, in UTC.
    today: Box<dyn Fn() -> Date + Send>,
    /// Of the last attempt to load, whatever came of it.
    attempted: Date,
}

impl DailyLoad {
    pub fn new(today: impl Fn() -> Date + Send + 'static) -> Self {
        Self { attempted: today(), today: Box::new(today) }
    }

    /// A load is being attempted.
    pub fn attempt(&mut self) {
        self.attempted = (self.today)();
    }

    /// Whether `in_force` needs one: it goes by the clock, and none was attempted on this day. A clock that was set back counts, too.
    pub fn is_due(&self, in_force: Option<&Compiled>) -> bool {
        in_force.is_some_and(|compiled| compiled.timeline.is_some()) && (self.today)() != self.attempted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use edge_ebpf::abi::{STRETCH, TIMELINE_STRETCHES};
    use jiff::Timestamp;
    use jiff::ToSpan;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::agent::state::lock;
    use crate::config::{AlwaysAllow, SourceFiles};
    use crate::policy::compile::compile;
    use crate::policy::load::load;
    use crate::policy::resolve::resolve;
    use crate::sources::Sources;

    /// A clock that stands until it is set.
    #[derive(Clone)]
    struct Clock(Arc<Mutex<Date>>);

    impl Clock {
        fn at(date: Date) -> Self {
            Self(Arc::new(Mutex::new(date)))
        }

        fn set(&self, date: Date) {
            *lock(&self.0) = date;
        }

        fn today(&self) -> Date {
            *lock(&self.0)
        }

        fn daily_load(&self) -> DailyLoad {
            let clock = self.clone();
            DailyLoad::new(move || clock.today())
        }

        /// A policy with one rule, which is `{id: r, from: all, REST}`, loaded now.
        fn compiled(&self, rest: &str) -> Compiled {
            let folder = tempfile::tempdir().expect("a folder");
            let head = "apiVersion: edge/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n";
            std::fs::write(folder.path().join("p.yaml"), format!("{head}  rules: [{{id: r, from: all, {rest}}}]\n")).expect("a file");
            let loaded = load(&[folder.path().to_owned()], self.today());
            let resolution =
                resolve(loaded, &AlwaysAllow::default(), &[], &mut Sources::new(SourceFiles::default())).expect("a right policy");
            compile(&resolution.resolved, midnight(self.today())).expect("a small one")
        }
    }

    fn midnight(date: Date) -> Timestamp {
        date.to_zoned(TimeZone::UTC).expect("a day of these centuries").timestamp()
    }

    fn last_minute(compiled: &Compiled) -> u64 {
        let timeline = compiled.timeline.as_ref().expect("it goes by the clock");
        timeline.first_minute + (TIMELINE_STRETCHES * STRETCH) as u64 - 1
    }

    const BY_THE_CLOCK: &str = "action: drop, when: {hours: \"08:00-17:00\"}";
    const ALWAYS: &str = "action: drop";

    #[test]
    fn each_day_has_one_attempt() {
        let clock = Clock::at(date(2026, 12, 30));
        let mut daily = clock.daily_load();
        let in_force = clock.compiled(BY_THE_CLOCK);
        assert!(!daily.is_due(Some(&in_force)), "it was loaded on this day");
        for day in [date(2026, 12, 31), date(2027, 1, 1), date(2027, 3, 1)] {
            clock.set(day);
            assert!(daily.is_due(Some(&in_force)), "{day}");
            assert!(daily.is_due(Some(&in_force)), "asking is no attempt");
            // Also one that fails: what is in force reaches far, and there is another day tomorrow.
            daily.attempt();
            assert!(!daily.is_due(Some(&in_force)), "{day}");
        }
    }

    #[test]
    fn any_other_load_is_that_days_too() {
        let clock = Clock::at(date(2026, 11, 21));
        let mut daily = clock.daily_load();
        let in_force = clock.compiled(BY_THE_CLOCK);
        clock.set(date(2026, 11, 22));
        daily.attempt();
        assert!(!daily.is_due(Some(&in_force)));
    }

    #[test]
    fn a_clock_that_is_set_back_is_another_day() {
        let clock = Clock::at(date(2026, 11, 21));
        let daily = clock.daily_load();
        let in_force = clock.compiled(BY_THE_CLOCK);
        clock.set(date(2014, 10, 24));
        assert!(daily.is_due(Some(&in_force)));
    }

    #[test]
    fn what_does_not_go_by_the_clock_is_left_alone() {
        let clock = Clock::at(date(2026, 11, 21));
        let daily = clock.daily_load();
        let always = clock.compiled(ALWAYS);
        clock.set(date(2026, 11, 22));
        assert!(!daily.is_due(Some(&always)));
        assert!(!daily.is_due(None), "another agent's generation");
    }

    /// What the attempt is for: the kernel's timeline reaches a day further, and always at least a year ahead.
    #[test]
    fn a_load_on_another_day_reaches_further() {
        let clock = Clock::at(date(2026, 11, 21));
        let before = last_minute(&clock.compiled(BY_THE_CLOCK));
        let year_ahead = midnight(date(2027, 11, 21)).as_second() as u64 / 60;
        assert!(before > year_ahead, "{before} {year_ahead}");
        clock.set(clock.today() + 1.day());
        assert_eq!(last_minute(&clock.compiled(BY_THE_CLOCK)), before + 24 * 60);
    }
}
