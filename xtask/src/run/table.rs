//! What a person sees of the lab: a table of tries, and one of the rules' counters. At most 100 columns.

use std::fmt;

use crate::lab::client::{Answer, Try};

/// What should become of a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    Reached,
    Blocked,
}

/// A try and its outcome.
pub struct Row {
    pub device: &'static str,
    pub tried: Try,
    pub answer: Answer,
    pub expected: Expected,
}

impl Row {
    pub fn is_as_expected(&self) -> bool {
        let outcome = &self.answer.outcome;
        match self.expected {
            Expected::Reached => *outcome == crate::lab::client::Outcome::Reached,
            Expected::Blocked => outcome.is_blocked(),
        }
    }
}

/// A rule's counter.
pub struct RuleCount {
    pub policy: String,
    pub rule: String,
    pub action: String,
    pub packets: u64,
    pub bytes: u64,
}

/// Both tables, as text.
pub struct Table<'a> {
    pub rows: &'a [Row],
    pub rules: &'a [RuleCount],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, rules } = self;
        writeln!(formatter, "  {:<7} {:<6} {:<22} {:<22} {:<3} {:<19} {:>7}", "device", "by", "to", "address", "in", "outcome", "after")?;
        for row in *rows {
            let Row { device, tried: Try { protocol, server, .. }, answer: Answer { outcome, took }, .. } = row;
            let (address, after) = (row.tried.address().to_string(), format!("{} ms", took.as_millis()));
            let (name, country) = (server.name, server.country);
            let mark = if row.is_as_expected() { ' ' } else { '!' };
            writeln!(formatter, "{mark} {device:<7} {protocol:<6} {name:<22} {address:<22} {country:<3} {outcome:<19} {after:>7}")?;
        }
        match rows.iter().filter(|row| !row.is_as_expected()).count() {
            0 => writeln!(formatter, "  all {} as expected", rows.len())?,
            unexpected => writeln!(formatter, "! {unexpected} of {} not as expected", rows.len())?,
        }
        writeln!(formatter, "\n  {:<20} {:<24} {:<12} {:>10} {:>12}", "policy", "rule", "action", "packets", "bytes")?;
        for RuleCount { policy, rule, action, packets, bytes } in *rules {
            writeln!(formatter, "  {policy:<20} {rule:<24} {action:<12} {packets:>10} {bytes:>12}")?;
        }
        if rules.is_empty() {
            writeln!(formatter, "  (no packet has met a rule)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lab::client::{Family, Outcome, Protocol};
    use crate::lab::plan::{ELSEWHERE, REPORTING};

    fn row(outcome: Outcome, expected: Expected) -> Row {
        let tried = Try { protocol: Protocol::Https, server: REPORTING, family: Family::Ipv4 };
        Row { device: "phone", tried, answer: Answer { outcome, took: Duration::from_millis(1003) }, expected }
    }

    #[test]
    fn only_an_outcome_as_expected_counts_as_such() {
        assert!(row(Outcome::Reached, Expected::Reached).is_as_expected());
        assert!(row(Outcome::TimedOut, Expected::Blocked).is_as_expected());
        assert!(row(Outcome::Refused, Expected::Blocked).is_as_expected());
        assert!(!row(Outcome::Reached, Expected::Blocked).is_as_expected());
        assert!(!row(Outcome::TimedOut, Expected::Reached).is_as_expected());
        // A broken client is not a working filter.
        assert!(!row(Outcome::Failed("no route".to_owned()), Expected::Blocked).is_as_expected());
    }

    #[test]
    fn fits_in_100_columns_and_tells_what_was_unexpected() {
        let mut wide = row(Outcome::Reached, Expected::Blocked);
        wide.tried = Try { server: ELSEWHERE, family: Family::Ipv6, ..wide.tried };
        let rows = [row(Outcome::TimedOut, Expected::Blocked), wide];
        let rules = [RuleCount { policy: "iaf-2014".into(), rule: "no-reporting".into(), action: "drop".into(), packets: 12, bytes: 1024 }];
        let text = Table { rows: &rows, rules: &rules }.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let unexpected: Vec<_> = text.lines().filter(|line| line.starts_with("! phone")).collect();
        assert_eq!(unexpected.len(), 1);
        assert!(unexpected[0].contains("2001:67c:2564:a119::77"));
        assert!(text.lines().any(|line| line == "! 1 of 2 not as expected"));
        assert!(text.lines().any(|line| line.split_whitespace().eq(["iaf-2014", "no-reporting", "drop", "12", "1024"])));
    }
}
