//! What the engine remembers and tells, over maps.

use edge_ebpf::{
    abi::{FragmentKey, FragmentVerdict, RuleEntry},
    engine::{Observer, Side},
    packet::{Mac, Packet, access::Frame},
};

use super::{
    buckets, clock, constants, maps,
    report::{self, Arrival},
};

/// `LINEAR`: for kernels before 5.18. `PLAIN`: the packet is not in hand yet.
pub struct Kernel<const LINEAR: bool, const PLAIN: bool> {
    pub arrival: Arrival,
}

impl<const LINEAR: bool, const PLAIN: bool> Observer for Kernel<LINEAR, PLAIN> {
    #[inline(always)]
    fn first_fragment(&self, key: &FragmentKey) -> Option<FragmentVerdict> {
        // SAFETY: the value is read at once; a concurrent write can only be of another datagram with the same key, which shares its fate.
        unsafe { maps::FRAGMENTS.get(key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&mut self, key: &FragmentKey, verdict: FragmentVerdict) {
        // A full table evicts the oldest. Where even that fails, later fragments are uninspectable, which is counted.
        let _ = maps::FRAGMENTS.insert(key, verdict, 0);
    }

    #[inline(always)]
    fn monitored(&mut self, _: &Frame<'_>, packet: &Packet, word: usize, bits: u64) {
        report::monitored::<PLAIN>(packet, self.arrival, word, bits);
    }

    #[inline(always)]
    fn minute(&mut self) -> u64 {
        clock::minute::<LINEAR>()
    }

    #[inline(always)]
    fn within_rate(&mut self, packet: &Packet, side: Side, rule: &RuleEntry) -> bool {
        // Where the agent refuses rates, their code must not even be there: before 5.12 kernels do not know its instructions.
        if LINEAR || !constants::has_rates() {
            return true;
        }
        let device = if matches!(side, Side::Inside) { packet.device } else { Mac(0) };
        buckets::within_rate(device, rule, self.arrival.length)
    }
}
