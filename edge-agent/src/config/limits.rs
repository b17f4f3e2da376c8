//! What may become of data files before somebody has to look.

use std::str::FromStr;
use std::time::Duration;

use crate::policy::problem::Fault;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceLimits {
    /// The share of its entries that a file may lose and still be taken.
    pub max_shrink: Share,
    /// How old the files of addresses may be; `None`: as old as they are.
    pub max_age: Option<Duration>,
}

impl Default for SourceLimits {
    /// Country data older than a year names the former owners of many addresses.
    fn default() -> Self {
        Self { max_shrink: Share::default(), max_age: Some(Days(400).duration()) }
    }
}

/// A part of a whole, in percent: at most 100.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share(u8);

impl Default for Share {
    fn default() -> Self {
        Self(50)
    }
}

impl Share {
    #[cfg(test)]
    pub(crate) const fn percent(percent: u8) -> Self {
        Self(percent)
    }

    pub fn is_exceeded_by(self, part: usize, whole: usize) -> bool {
        part as u128 * 100 > whole as u128 * u128::from(self.0)
    }
}

impl FromStr for Share {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok()).filter(|percent| *percent <= 100);
        percent.map(Self).ok_or_else(|| Fault::new(format!("`{text}` is not a share"), "from `0%` to `100%`"))
    }
}

/// A number of days, at most a thousand years.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Days(u32);

impl Days {
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64 * 86_400)
    }
}

impl FromStr for Days {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let days = text.strip_suffix('d').and_then(|number| number.parse().ok()).filter(|days| (1..=365_000).contains(days));
        days.map(Self).ok_or_else(|| Fault::new(format!("`{text}` is not a number of days"), "such as `400d`, or `never`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exceeded_by_more_than_it() {
        let half: Share = "50%".parse().expect("a share");
        assert!(!half.is_exceeded_by(5, 10) && half.is_exceeded_by(6, 10));
        assert!(!Share(100).is_exceeded_by(10, 10), "a whole file may be lost");
        assert!(Share(0).is_exceeded_by(1, usize::MAX) && !Share(0).is_exceeded_by(0, 0));
        for wrong in ["50", "0.5", "101%", "-1%", "%", "half"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_counted_in_seconds() {
        assert_eq!("2d".parse::<Days>().expect("days").duration(), Duration::from_secs(172_800));
        for wrong in ["0d", "2", "d", "2w", "365001d", "-1d"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
    }
}
