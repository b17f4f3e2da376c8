//! The time that the program goes by.

use std::time::SystemTime;

use edge_ebpf::abi::Clock;
use rustix::time::{ClockId, clock_gettime};

const SECOND: i128 = 1_000_000_000;

/// Whole seconds since boot, as the program counts them.
pub fn second() -> u32 {
    u32::try_from(clock_gettime(ClockId::Monotonic).tv_sec).unwrap_or(u32::MAX)
}

/// How far the wall clock is from the kernel's monotonic one at this moment.
pub fn now() -> Clock {
    let monotonic = clock_gettime(ClockId::Monotonic);
    let monotonic = i128::from(monotonic.tv_sec) * SECOND + i128::from(monotonic.tv_nsec);
    let wall = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        // A clock before 1970: the first minute of every timeline.
        Err(_) => 0,
    };
    Clock { unix_offset: i64::try_from(wall - monotonic).unwrap_or(i64::MAX), standing: 0 }
}
