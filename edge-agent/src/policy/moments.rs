//! When rules hold and which way their packets go, for the checks that compare rules.

use jiff::tz::TimeZone;

use super::model::{Direction, Resolved};

/// What a rule says beside its three sets, by rule.
pub struct Moments(Vec<Moment>);

struct Moment {
    direction: Direction,
    /// `None`: never.
    expires: Option<i64>,
    /// `None`: always. Else the minutes of a week, and by whose clock.
    week: Option<(Vec<bool>, TimeZone)>,
}

impl Moments {
    pub fn of(resolved: &Resolved) -> Self {
        let moment = |rule: &super::model::Rule| Moment {
            direction: rule.direction,
            expires: resolved.policies[rule.policy.index()].expires,
            week: rule
                .when
                .map(|when| &resolved.schedules[when.index()])
                .map(|schedule| (schedule.week(), schedule.timezone.clone()))
                .filter(|(week, _)| week.contains(&false)),
        };
        Self(resolved.rules.iter().map(moment).collect())
    }

    /// Whether the outer rule holds whenever the inner one does, for all its directions.
    pub fn covers(&self, outer: usize, inner: usize) -> bool {
        let (outer, inner) = (&self.0[outer], &self.0[inner]);
        let directions =
            (outer.direction.outbound() || !inner.direction.outbound()) && (outer.direction.inbound() || !inner.direction.inbound());
        let lasts = outer.expires.is_none_or(|outer| inner.expires.is_some_and(|inner| inner <= outer));
        let hours = match (&outer.week, &inner.week) {
            (None, _) => true,
            (Some(_), None) => false,
            // Clocks of two places differ by an amount that changes.
            (Some((outer, zone)), Some((inner, other))) => zone == other && outer.iter().zip(inner).all(|(outer, inner)| *outer || !inner),
        };
        directions && lasts && hours
    }

    /// Whether a packet can find both rules in force.
    pub fn meet(&self, a: usize, b: usize) -> bool {
        let (one, other) = (&self.0[a], &self.0[b]);
        let hours = match (&one.week, &other.week) {
            (Some((one, zone)), Some((other, other_zone))) if zone == other_zone => {
                one.iter().zip(other).any(|(one, other)| *one && *other)
            }
            _ => true,
        };
        hours && (self.both_outbound(a, b) || (one.direction.inbound() && other.direction.inbound()))
    }

    pub fn both_outbound(&self, a: usize, b: usize) -> bool {
        self.0[a].direction.outbound() && self.0[b].direction.outbound()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(direction: Direction, expires: Option<i64>, hours: Option<(&str, [bool; 3])>) -> Moment {
        let week = hours.map(|(zone, minutes)| (minutes.to_vec(), TimeZone::get(zone).expect("a zone")));
        Moment { direction, expires, week }
    }

    #[test]
    fn a_rule_covers_only_what_it_always_holds_for() {
        use Direction::{Both, Inbound, Outbound};
        let moments = Moments(vec![
            moment(Outbound, None, None),
            moment(Both, None, None),
            moment(Inbound, Some(5), None),
            moment(Outbound, Some(7), Some(("UTC", [true, true, false]))),
            moment(Outbound, Some(7), Some(("UTC", [false, true, false]))),
            moment(Outbound, Some(7), Some(("Asia/Kolkata", [false, true, false]))),
            moment(Outbound, Some(9), Some(("UTC", [false, false, true]))),
        ]);
        let covers: Vec<_> = (0..7).map(|outer| (0..7).filter(|inner| moments.covers(outer, *inner)).collect::<Vec<_>>()).collect();
        assert_eq!(covers, [vec![0, 3, 4, 5, 6], vec![0, 1, 2, 3, 4, 5, 6], vec![2], vec![3, 4], vec![4], vec![5], vec![6]]);
        let meet: Vec<_> = (0..7).map(|a| (0..7).filter(|b| moments.meet(a, *b)).collect::<Vec<_>>()).collect();
        let outbound = vec![0, 1, 3, 4, 5, 6];
        let all = vec![0, 1, 2, 3, 4, 5, 6];
        assert_eq!(
            meet,
            [outbound.clone(), all, vec![1, 2], vec![0, 1, 3, 4, 5], vec![0, 1, 3, 4, 5], outbound, vec![0, 1, 5, 6]],
            "clocks of two places may show anything"
        );
    }
}
