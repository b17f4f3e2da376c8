//! What several CPUs change at once. The compiler's own has no lowering for BPF.

/// Writes `new` if `*place` is `old`; returns what was there (`BPF_CMPXCHG`, Linux 5.12).
///
/// # Safety
/// `place` is a live, aligned map value.
#[inline(always)]
pub unsafe fn compare_exchange(place: *mut u64, old: u64, new: u64) -> u64 {
    let mut seen = old;
    // SAFETY: the caller's; the instruction reads and writes those eight bytes and r0.
    unsafe {
        core::arch::asm!("r0 = cmpxchg_64({0} + 0, r0, {1})", in(reg) place, in(reg) new, inlateout("r0") seen, options(nostack));
    }
    seen
}

/// Sets the bits in `*place` (`BPF_ATOMIC` with `BPF_OR`, Linux 5.12).
///
/// # Safety
/// As for [`compare_exchange`].
#[inline(always)]
pub unsafe fn set_bits(place: *mut u64, bits: u64) {
    // SAFETY: the caller's; the instruction changes those eight bytes.
    unsafe {
        core::arch::asm!("lock *(u64 *)({0} + 0) |= {1}", in(reg) place, in(reg) bits, options(nostack));
    }
}
