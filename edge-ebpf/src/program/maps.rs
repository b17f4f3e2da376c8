//! The maps. Policy maps are fresh in each generation, and the agent sizes them at load; the others are pinned and outlive it.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use edge_ebpf::{
    abi::{
        AnswerResult, BucketKey, Clock, Counter, FragmentKey, FragmentVerdict, KeptHello, MAX_BUCKETS, MAX_FRAGMENTS, MAX_HELLOS,
        MAX_INTERFACES, MAX_RULES, NameRules, Node, RULE_SLOTS, RateEntry, Reason, ReportBudget, ReportState, RuleEntry, Stamp, Stretch,
        Verdict,
        beside::{self, CopyState},
        identity::{DeviceBucket, DeviceState, FactState, HelloKey, MAX_HELLO_KEYS, MAX_TOLD, MacFacts, SignalSet},
    },
    inspect::{
        flow::FlowBucket,
        learned::{LearnedBucket, LearnedName},
    },
    name::table::NameBucket,
};

/// Values of these are as many nodes as the agent says before it loads them, see `constants`.
#[map]
pub static MAC_NODES: Array<Node> = Array::with_max_entries(1, 0);
#[map]
pub static V4_NODES: Array<Node> = Array::with_max_entries(1, 0);
#[map]
pub static V6_NODES: Array<Node> = Array::with_max_entries(1, 0);

#[map]
pub static RATES: Array<RateEntry> = Array::with_max_entries(1, 0);
#[map]
pub static TIMELINE: Array<Stretch> = Array::with_max_entries(1, 0);

#[map]
pub static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);
#[map]
pub static BUCKETS: LruHashMap<BucketKey, u64> = LruHashMap::with_max_entries(MAX_BUCKETS, 0);
#[map]
pub static RULE_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(RULE_SLOTS, 0);
#[map]
pub static INTERFACE_COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries((MAX_INTERFACES * Verdict::ALL.len()) as u32, 0);
#[map]
pub static UNINSPECTABLE: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Reason::SLOTS as u32, 0);
#[map]
pub static ANSWERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(AnswerResult::SLOTS as u32, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentVerdict> = LruHashMap::with_max_entries(MAX_FRAGMENTS, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// Frames that the agent reads beside the packets' way.
#[map]
pub static COPIES: RingBuf = RingBuf::with_byte_size(beside::COPIES, 0);
#[map]
pub static COPY_STATE: PerCpuArray<CopyState> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static REPORT_BUDGET: Array<ReportBudget> = Array::with_max_entries(1, 0);
#[map]
pub static REPORT_STATE: PerCpuArray<ReportState> = PerCpuArray::with_max_entries(1, 0);

/// What is remembered of flows. Mapped, as are the other tables of buckets: their values begin on page boundaries, so that a bucket is a
/// cache line.
#[map]
pub static FLOWS: Array<FlowBucket> = Array::with_max_entries(1, MAPPED);
/// Addresses that answers gave for watched names, and the names.
#[map]
pub static LEARNED: Array<LearnedBucket> = Array::with_max_entries(1, MAPPED);
#[map]
pub static LEARNED_NAMES: Array<LearnedName> = Array::with_max_entries(1, 0);
/// Beginnings of ClientHellos, by hash of the flow.
#[map]
pub static HELLOS: LruHashMap<u64, KeptHello> = LruHashMap::with_max_entries(MAX_HELLOS, 0);
/// The names of a generation.
#[map]
pub static NAMES: Array<NameBucket> = Array::with_max_entries(1, MAPPED);
#[map]
pub static NAME_RULES: Array<NameRules> = Array::with_max_entries(1, 0);

/// Devices that have shown a signal, and what they have shown.
#[map]
pub static DEVICES: Array<DeviceBucket> = Array::with_max_entries(1, MAPPED);
#[map]
pub static DEVICE_STATES: Array<DeviceState> = Array::with_max_entries(1, MAPPED);
/// The words of their rows: of a generation, as are the ones below.
#[map]
pub static DEVICE_ROWS: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub static FACT_STATES: Array<FactState> = Array::with_max_entries(1, 0);
#[map]
pub static SIGNAL_SETS: Array<SignalSet> = Array::with_max_entries(1, 0);
#[map]
pub static HELLO_KEYS: HashMap<HelloKey, SignalSet> = HashMap::with_max_entries(MAX_HELLO_KEYS, 0);
#[map]
pub static GROUP_OPS: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static MAC_FACTS: Array<MacFacts> = Array::with_max_entries(1, 0);

/// Hashes of facts that the agent was told, each where it belongs by itself: one that another took the place of is told again.
#[map]
pub static TOLD: Array<u64> = Array::with_max_entries(MAX_TOLD, 0);

/// `BPF_F_MMAPABLE`
const MAPPED: u32 = 1 << 10;

// The agent's notes beside them: the rules in force, which version wrote the pins, and whose each counter is.
#[map]
static RULES: Array<RuleEntry> = Array::with_max_entries(MAX_RULES as u32, 0);
#[map]
static STAMP: Array<Stamp> = Array::with_max_entries(1, 0);
#[map]
static RULE_KEYS: Array<[u8; 256]> = Array::with_max_entries(RULE_SLOTS, 0);
#[map]
static INTERFACE_KEYS: Array<[u8; 16]> = Array::with_max_entries(MAX_INTERFACES as u32, 0);
