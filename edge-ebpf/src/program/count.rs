//! Per-CPU counters: no lock, no atomic, summed by the agent.

use aya_ebpf::maps::PerCpuArray;
use edge_ebpf::abi::{AnswerResult, Counter, Reason, Verdict};

use super::maps;

#[inline(always)]
fn add(counters: &PerCpuArray<Counter>, index: u32, bytes: u64) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: a live map value, which no other program on this CPU touches while this one runs: XDP is not preempted by XDP.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += bytes;
        }
    }
}

#[inline(always)]
pub fn rule(slot: u32, bytes: u64) {
    add(&maps::RULE_COUNTERS, slot, bytes);
}

#[inline(always)]
pub fn answer(result: AnswerResult, bytes: u64) {
    add(&maps::ANSWERS, result as u32, bytes);
}

#[inline(always)]
pub fn interface(slot: u32, verdict: Verdict, bytes: u64) {
    add(&maps::INTERFACE_COUNTERS, slot * Verdict::ALL.len() as u32 + verdict as u32, bytes);
}

#[inline(always)]
pub fn uninspectable(reason: Reason, verdict: Verdict, bytes: u64) {
    add(&maps::UNINSPECTABLE, reason.slot(verdict) as u32, bytes);
}
