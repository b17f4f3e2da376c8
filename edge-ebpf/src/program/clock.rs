//! Time for schedules and rates: the kernel's monotonic clock, and the agent's note of how far the wall clock is from it.

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::map,
    maps::PerCpuArray,
};

use super::{constants, maps};

/// Nanoseconds.
const MINUTE: u64 = 60 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// The minute that the last packet came in: a division costs more than to see that it goes on.
#[derive(Clone, Copy)]
struct Present {
    /// What the wall clock was ahead of the monotonic one.
    unix_offset: i64,
    /// When it began, by the monotonic clock.
    start: u64,
    /// Since the Unix epoch.
    minute: u64,
}

#[map]
static PRESENT: PerCpuArray<Present> = PerCpuArray::with_max_entries(1, 0);

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    standing().unwrap_or_else(|| unsafe { bpf_ktime_get_ns() })
}

/// Whole seconds of the clock since boot, right to a tick.
#[inline(always)]
pub fn second() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    let now = standing().unwrap_or_else(|| unsafe { bpf_ktime_get_coarse_ns() });
    (now / SECOND) as u32
}

/// Minutes since the Unix epoch. `LINEAR`: by the exact clock, where kernels may lack the one that is right to a tick (before 5.11).
#[inline(always)]
pub fn minute<const LINEAR: bool>() -> u64 {
    let unix_offset = maps::CLOCK.get(0).map_or(0, |clock| clock.unix_offset);
    // SAFETY: takes nothing and cannot fail.
    let now = if LINEAR { now() } else { standing().unwrap_or_else(|| unsafe { bpf_ktime_get_coarse_ns() }) };
    let Some(present) = PRESENT.get_ptr_mut(0) else { return now.wrapping_add_signed(unix_offset) / MINUTE };
    // SAFETY: a live map value of this CPU, see `count`.
    let present = unsafe { &mut *present };
    if present.unix_offset != unix_offset || now.wrapping_sub(present.start) >= MINUTE {
        let unix = now.wrapping_add_signed(unix_offset);
        *present = Present { unix_offset, start: now.wrapping_sub(unix % MINUTE), minute: unix / MINUTE };
    }
    present.minute
}

/// The time of a program that was loaded to be tried out.
#[inline(always)]
fn standing() -> Option<u64> {
    if constants::clock_stands() { Some(maps::CLOCK.get(0).map_or(0, |clock| clock.standing)) } else { None }
}
