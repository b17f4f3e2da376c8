//! What the engine remembers and tells, over maps.

use edge_ebpf::{
    abi::{FragmentKey, FragmentVerdict, RuleEntry},
    engine::{Observer, Rows, ShownWords, Shows, Side, Tables},
    inspect::Showing,
    packet::{Mac, Packet, access::Frame},
};

use super::{
    buckets, clock, constants, facts, in_hand, inspect, maps,
    report::{self, Arrival},
};

/// `LINEAR`: for kernels before 5.18. `PLAIN`: the packet is not in hand yet.
pub struct Kernel<const LINEAR: bool, const PLAIN: bool> {
    pub arrival: Arrival,
    /// The packet is in hand, to be looked into.
    pub is_deferred: bool,
}

impl<const LINEAR: bool, const PLAIN: bool> Shows for Kernel<LINEAR, PLAIN> {
    #[inline(always)]
    fn shown(&self, _: &impl Tables, offset: u32) -> ShownWords {
        // A plain packet that shows anything is decided elsewhere.
        if LINEAR || PLAIN { ShownWords::default() } else { inspect::shown(offset) }
    }
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
    fn monitored(&mut self, _: &Frame<'_>, packet: &Packet, word: usize, bits: u64, by_learned: u64) {
        report::monitored::<PLAIN>(packet, self.arrival, word, bits, by_learned);
    }

    #[inline(always)]
    fn minute(&mut self) -> u64 {
        clock::minute::<LINEAR>()
    }

    #[inline(always)]
    fn showing(&mut self, frame: &Frame<'_>, packet: &Packet, device: u32) -> Showing {
        // Before 5.18 the agent refuses rules on names.
        if LINEAR {
            return Showing::NONE;
        }
        if PLAIN {
            let defers = constants::has_names() && inspect::may_watch(device) && inspect::concerns(frame, packet)
                || constants::identifies() && facts::concerns(frame, packet);
            if !defers {
                return Showing::NONE;
            }
            // Here, where there is one way to it: the verifier would follow all that lead to the decision's end.
            self.is_deferred = in_hand::put_plain(packet, device, self.arrival.length);
            return Showing::DEFER;
        }
        // What it shows is asked without a branch: the verifier would follow both ways from each word to the next.
        Showing::from_bits(in_hand::found().map_or(0, |found| found.showing)).that_shows()
    }

    #[inline(always)]
    fn could_match(&mut self, rows: Rows, first: u32, any_service: bool, _: &impl Tables) -> bool {
        if LINEAR || PLAIN {
            return false;
        }
        let Rows { device, remote: _, service, active, shows: _ } = rows;
        let active = match active {
            Some(active) => active,
            None => inspect::ALWAYS,
        };
        inspect::edge_could_match(device, service, active, if any_service { first | inspect::ANY_SERVICE } else { first }) != 0
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
