//! Time for schedules and rates: the kernel's monotonic clock, and the agent's note of how far the wall clock is from it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use super::{constants, maps};

const MINUTE: u64 = 60_000_000_000;

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub fn now() -> u64 {
    if constants::clock_stands() {
        return maps::CLOCK.get(0).map_or(0, |clock| clock.standing);
    }
    // SAFETY: takes nothing and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}

/// Minutes since the Unix epoch.
#[inline(always)]
pub fn minute() -> u64 {
    let offset = maps::CLOCK.get(0).map_or(0, |clock| clock.unix_offset);
    now().wrapping_add_signed(offset) / MINUTE
}
