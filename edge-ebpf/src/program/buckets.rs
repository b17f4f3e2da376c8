//! Token buckets, one for each device and rate-limited rule, shared by all CPUs.

use edge_ebpf::{
    abi::{BucketKey, RuleEntry},
    packet::Mac,
    rate,
};

use super::{clock, maps};

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

/// Writes `new` if `*place` is `old`; returns what was there (`BPF_CMPXCHG`, Linux 5.12). The compiler's own has no lowering for BPF.
///
/// # Safety
/// `place` is a live, aligned map value.
#[inline(always)]
unsafe fn compare_exchange(place: *mut u64, old: u64, new: u64) -> u64 {
    let mut seen = old;
    // SAFETY: the caller's; the instruction reads and writes those eight bytes and r0.
    unsafe {
        core::arch::asm!("r0 = cmpxchg_64({0} + 0, r0, {1})", in(reg) place, in(reg) new, inlateout("r0") seen, options(nostack));
    }
    seen
}
