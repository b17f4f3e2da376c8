//! Goals: bounds of a scenario's value, most of them in terms of another scenario of the same run.

use std::collections::HashMap;

/// Values by scenario.
pub type Values = HashMap<&'static str, f64>;

#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// Measured for the others' sake.
    None,
    AtMost(f64),
    /// At most so many times the other's value.
    AtMostTimes(f64, &'static str),
    /// At most so much more than the other's value.
    AtMostPlus(f64, &'static str),
    /// At least so many times the values of each.
    AtLeastTimes(&'static [(f64, &'static str)]),
    /// At most what the cache misses, measured apart, explain on top of the other's value.
    AtMostMisses(&'static str),
}

impl Goal {
    /// The scenarios that it needs.
    pub fn others(self) -> Vec<&'static str> {
        match self {
            Self::None | Self::AtMost(_) => vec![],
            Self::AtMostTimes(_, other) | Self::AtMostPlus(_, other) | Self::AtMostMisses(other) => vec![other],
            Self::AtLeastTimes(others) => others.iter().map(|(_, other)| *other).collect(),
        }
    }

    /// The bound as a number of the scenario's unit, and whether `value` keeps it. `misses` is what cache misses explain, in ns.
    pub fn judge(self, value: f64, values: &Values, misses: f64) -> Option<(f64, bool)> {
        let other = |name: &str| values.get(name).copied();
        let (bound, at_most) = match self {
            Self::None => return None,
            Self::AtMost(bound) => (bound, true),
            Self::AtMostTimes(factor, name) => (other(name)? * factor, true),
            Self::AtMostPlus(more, name) => (other(name)? + more, true),
            Self::AtMostMisses(name) => (other(name)? + misses, true),
            Self::AtLeastTimes(others) => {
                let bounds: Option<Vec<f64>> = others.iter().map(|(factor, name)| Some(other(name)? * factor)).collect();
                (bounds?.into_iter().fold(0.0, f64::max), false)
            }
        };
        Some((bound, if at_most { value <= bound } else { value >= bound }))
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::AtMostTimes(factor, other) if *factor < 0.1 => write!(f, "≤ {other} / {:.0}", 1.0 / factor),
            Self::AtMostTimes(factor, other) => write!(f, "≤ {factor} × {other}"),
            Self::AtMostPlus(more, other) => write!(f, "≤ {other} + {more}"),
            Self::AtMostMisses(other) => write!(f, "≤ {other} + cache misses"),
            Self::AtLeastTimes(others) => {
                let parts: Vec<String> = others.iter().map(|(factor, other)| format!("≥ {factor} × {other}")).collect();
                f.write_str(&parts.join(", "))
            }
        }
    }
}
