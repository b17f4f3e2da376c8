//! Token buckets, one for each device and rate-limited rule, shared by all CPUs.

use edge_ebpf::{
    abi::{BucketKey, RuleEntry},
    packet::Mac,
    rate,
};

use super::{atomic::compare_exchange, clock, maps};

/// Attempts to charge a bucket that other CPUs charge too. A packet that loses every time is over the rate by any measure.
const ATTEMPTS: u32 = 8;

/// Whether a packet of `length` bytes is within the rule's rate.
#[inline(always)]
pub fn within_rate(device: Mac, rule: &RuleEntry, length: u32) -> bool {
    let Some(rate) = maps::RATES.get(rule.rule) else { return false };
    let now = clock::now();
    let key = BucketKey { device: device.0, slot: rule.slot, reserved: 0 };
    let Some(bucket) = maps::BUCKETS.get_ptr_mut(key) else {
        return match rate::charge(rate, now, now, length) {
            // Two CPUs that meet a new device at once may both begin its bucket: a burst is then one packet longer.
            Some(spent) => maps::BUCKETS.insert(key, spent, 0).is_ok(),
            None => false,
        };
    };
    for _ in 0..ATTEMPTS {
        // SAFETY: a live, aligned map value; the kernel reads eight aligned bytes at once.
        let spent = unsafe { bucket.read_volatile() };
        let Some(charged) = rate::charge(rate, spent, now, length) else { return false };
        // SAFETY: as above.
        if unsafe { compare_exchange(bucket, spent, charged) } == spent {
            return true;
        }
    }
    false
}
