//! Token buckets as one number: the time until which a bucket is spent (the virtual scheduling form of the generic cell rate algorithm,
//! ITU-T I.371 annex A).

use crate::abi::RateEntry;

/// What a packet of `length` bytes at `now` does to a bucket that is spent until `spent`: the new time, or `None` where it exceeds the rate.
/// Times in nanoseconds.
#[inline(always)]
pub fn charge(rate: &RateEntry, spent: u64, now: u64, length: u32) -> Option<u64> {
    let units = if rate.bytes != 0 { u64::from(length) } else { 1 };
    let cost = (units.wrapping_mul(rate.time_per_unit) + 0xffff) >> 16;
    let start = if spent > now { spent } else { now };
    let end = start.wrapping_add(cost);
    if end.wrapping_sub(now) > rate.burst { None } else { Some(end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 packets a second, 3 at once.
    const TEN: RateEntry = RateEntry { time_per_unit: 100_000_000 << 16, burst: 300_000_000, bytes: 0, reserved: 0 };

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut spent = 0;
        let mut pass = |now| match charge(&TEN, spent, now, 64) {
            Some(end) => {
                spent = end;
                true
            }
            None => false,
        };
        assert_eq!([1_000_000_000; 5].map(&mut pass), [true, true, true, false, false]);
        assert!(!pass(1_099_999_999));
        assert!(pass(1_100_000_000));
        assert!(!pass(1_100_000_001));
        assert_eq!([9_000_000_000; 4].map(&mut pass), [true, true, true, false], "no more than a burst is saved up");
    }

    #[test]
    fn bytes_cost_by_length() {
        let rate = RateEntry { time_per_unit: 1 << 16, burst: 1000, bytes: 1, reserved: 0 };
        assert_eq!(charge(&rate, 0, 50, 400), Some(450));
        assert_eq!(charge(&rate, 450, 50, 600), Some(1050));
        assert_eq!(charge(&rate, 450, 50, 601), None);
    }
}
