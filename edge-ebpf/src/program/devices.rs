//! The table of devices that are known by what they do: who is in it, and their rows.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use edge_ebpf::{
    abi::{
        POOL,
        identity::{DEVICE_WAYS, DeviceState, GroupOp, SIGNAL_WORDS, SignalSet},
    },
    identity::{
        device,
        groups::{self, Groups, Membership},
    },
    inspect::secret,
    packet::{Address, Mac, access::bounded},
};

use super::{
    atomic, clock, constants, maps,
    secret::Secret,
    tables::{NO_CLASS, edge_mac_class},
};

/// A device under computation: for packets, and for what the agent tells, which a packet may interrupt.
#[map]
static COMPUTED: PerCpuArray<Computed> = PerCpuArray::with_max_entries(2, 0);
pub const OF_PACKET: u32 = 0;
pub const OF_LESSON: u32 = 1;

struct Computed {
    /// What is to be noted.
    signals: SignalSet,
    membership: Membership,
}

#[inline(always)]
fn computed<'a>(scratch: u32) -> Option<&'a mut Computed> {
    // SAFETY: a live map value of this CPU, see `count`.
    COMPUTED.get_ptr_mut(scratch).map(|computed| unsafe { &mut *computed })
}

/// Has these signals noted by [`edge_note_signals`], and no others.
#[inline(always)]
pub fn prepare(scratch: u32, signals: SignalSet) {
    if let Some(computed) = computed(scratch) {
        computed.signals = signals;
    }
}
/// No places of rows: the device has shown no signal; its row is of another generation.
pub const NO_ROW: u32 = u32::MAX - 1;
pub const OUTDATED: u32 = u32::MAX - 2;

/// A word of a device's row. Where there are several, as a function of its own: the verifier would follow each way from each word to the next.
#[inline(always)]
pub fn device_word(place: u32) -> u64 {
    if constants::has_identity() && constants::words() != 1 { edge_device_word(place) } else { word_of(place) }
}

/// As [`device_word`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_device_word(place: u32) -> u64 {
    word_of(place)
}

#[inline(always)]
fn word_of(place: u32) -> u64 {
    if constants::has_identity() && place >= POOL as u32 {
        return match maps::DEVICE_ROWS.get(place - POOL as u32) {
            Some(word) => *word,
            None => 0,
        };
    }
    constants::pool(place)
}

#[inline(always)]
fn place_of(index: u32) -> u32 {
    POOL as u32 + index * constants::row_size()
}

#[inline(always)]
fn places(mac: Mac) -> [u32; 2] {
    device::places(secret::address(&Secret, Address { high: mac.0, low: 0 }), constants::device_mask())
}

/// Where the row of a device with signals is, or [`NO_ROW`] or [`OUTDATED`].
#[inline(always)]
pub fn row_of(mac: Mac) -> u32 {
    let (entry, index) = find(mac);
    if entry == 0 {
        NO_ROW
    } else if device::is_current(entry, device::age(constants::generation())) {
        place_of(index)
    } else {
        OUTDATED
    }
}

/// The device's entry and the index of its state and row; 0: there is none.
#[inline(always)]
fn find(mac: Mac) -> (u64, u32) {
    let [first, second] = places(mac);
    let (entry, way) = find_in(first, mac);
    if entry != 0 {
        return (entry, device::index(first, way));
    }
    let (entry, way) = find_in(second, mac);
    (entry, device::index(second, way))
}

#[inline(always)]
fn find_in(place: u32, mac: Mac) -> (u64, usize) {
    match maps::DEVICES.get(place) {
        Some(bucket) => device::find(bucket, mac),
        None => (0, 0),
    }
}

#[inline(always)]
pub fn note_set(set: &SignalSet) {
    if let Some(computed) = computed(OF_PACKET) {
        for (word, signals) in computed.signals.iter_mut().zip(set) {
            *word |= signals;
        }
    }
}

/// Notes the signals in hand for the device, and returns where its row is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_note_signals(mac: u64, scratch: u32) -> u32 {
    let Some(Computed { signals, membership: _ }) = computed(scratch) else { return 0 };
    let class = edge_mac_class(mac);
    if class == NO_CLASS {
        return NO_CLASS;
    }
    let [a, b, c, d] = *signals;
    let shows = a | b | c | d != 0;
    let (mut entry, mut index) = find(Mac(mac));
    if entry == 0 {
        if !shows {
            return constants::row(class);
        }
        index = edge_claim(mac);
        if index == NO_ROW {
            return constants::row(class);
        }
        entry = device::entry(Mac(mac), device::NO_AGE);
    }
    let Some(state) = maps::DEVICE_STATES.get_ptr_mut(index) else { return constants::row(class) };
    // SAFETY: a live map value; what several CPUs change is changed in one instruction each.
    let state = unsafe { &mut *state };
    if state.mac != mac {
        // Another CPU is about to give it this place.
        return constants::row(class);
    }
    let mut fresh = !device::is_current(entry, device::age(constants::generation()));
    if shows {
        state.seen = clock::second();
        for (word, signals) in state.signals.iter_mut().zip(&*signals) {
            if *signals & !*word != 0 {
                // SAFETY: as above.
                unsafe { atomic::set_bits(word, *signals) };
                fresh = true;
            }
        }
    }
    if fresh {
        edge_compute(index, class, scratch);
    }
    place_of(index)
}

/// Finds a place for a device that is not in the table; [`NO_ROW`]: another CPU took it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_claim(mac: u64) -> u32 {
    let [first, second] = places(Mac(mac));
    let (mut best, mut best_rank) = (0, i64::MAX as u64);
    for place in [first, second] {
        for way in 0..DEVICE_WAYS {
            let index = device::index(place, way);
            let rank = edge_rank(index);
            // By a mask: the verifier would follow both ways of each. No rank has the highest bit.
            let lower = ((rank.wrapping_sub(best_rank) as i64) >> 63) as u64;
            best = best & !lower as u32 | index & lower as u32;
            best_rank = best_rank & !lower | rank & lower;
        }
    }
    let Some(bucket) = maps::DEVICES.get_ptr_mut(best / DEVICE_WAYS as u32) else { return NO_ROW };
    let key = bucket.cast::<u64>().wrapping_add(bounded::<{ DEVICE_WAYS - 1 }>(best as usize));
    let Some(state) = maps::DEVICE_STATES.get_ptr_mut(best) else { return NO_ROW };
    // SAFETY: live map values; who takes the key writes the state, its MAC last, and others wait for that.
    unsafe {
        let old = key.read_volatile();
        if atomic::compare_exchange(key, old, device::entry(Mac(mac), device::NO_AGE)) != old {
            return NO_ROW;
        }
        (&raw mut (*state).mac).write_volatile(u64::MAX);
        (&raw mut (*state).signals).write_volatile([0; SIGNAL_WORDS]);
        (&raw mut (*state).known).write_volatile(0);
        (&raw mut (*state).mac).write_volatile(mac);
    }
    best
}

/// How soon the device at the index gives way.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_rank(index: u32) -> u64 {
    let (Some(bucket), Some(state)) = (maps::DEVICES.get(index / DEVICE_WAYS as u32), maps::DEVICE_STATES.get(index)) else {
        return i64::MAX as u64;
    };
    device::rank(bucket[index as usize & (DEVICE_WAYS - 1)], state)
}

#[derive(Clone, Copy)]
struct Generation;

impl Groups for Generation {
    #[inline(always)]
    fn ops(&self) -> u32 {
        constants::group_ops()
    }
    #[inline(always)]
    fn op(&self, index: u32) -> Option<GroupOp> {
        maps::GROUP_OPS.get(index).map(|op| GroupOp(*op))
    }
    #[inline(always)]
    fn word(&self, class: u32, offset: u32) -> u64 {
        constants::pool(constants::row(class) + offset)
    }
    #[inline(always)]
    fn row_size(&self) -> u32 {
        constants::row_size()
    }
    #[inline(always)]
    fn unknown(&self) -> u32 {
        constants::unknown()
    }
}

/// Attempts to compute a row while other CPUs add signals.
const ATTEMPTS: u32 = 4;

/// Computes the row of the device at the index, whose MAC has this class.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_compute(index: u32, class: u32, scratch: u32) -> u32 {
    for _ in 0..ATTEMPTS {
        if edge_compute_once(index, class, scratch) != 0 {
            break;
        }
    }
    0
}

/// 0: a signal came meanwhile, so that it has to be done again.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_compute_once(index: u32, class: u32, scratch: u32) -> u32 {
    let (Some(state), Some(facts), Some(Computed { signals: _, membership })) =
        (maps::DEVICE_STATES.get_ptr_mut(index), maps::MAC_FACTS.get(class), computed(scratch))
    else {
        return 1;
    };
    // SAFETY: a live map value.
    let state = unsafe { &mut *state };
    let signals = signals(state);
    *membership = Membership::default();
    groups::compute(&Generation, signals, facts, membership, state.mac << 16 ^ state.mac);
    let first = index * constants::row_size();
    for (offset, word) in membership.row.iter().enumerate() {
        if offset as u32 >= constants::row_size() {
            break;
        }
        if let Some(place) = maps::DEVICE_ROWS.get_ptr_mut(first + offset as u32) {
            // SAFETY: a live map value.
            unsafe { place.write_volatile(*word) };
        }
    }
    state.known = membership.known as u32;
    let Some(bucket) = maps::DEVICES.get_ptr_mut(index / DEVICE_WAYS as u32) else { return 1 };
    let key = bucket.cast::<u64>().wrapping_add(bounded::<{ DEVICE_WAYS - 1 }>(index as usize));
    // SAFETY: a way of a live map value; a place that is another device's by now stays that.
    unsafe {
        let old = key.read_volatile();
        if old << 16 == state.mac << 16 {
            atomic::compare_exchange(key, old, device::entry(Mac(state.mac), device::age(constants::generation())));
        }
    }
    let now = self::signals(state);
    u32::from(now == signals)
}

#[inline(always)]
fn signals(state: &DeviceState) -> SignalSet {
    // SAFETY: a reference is valid to read through; others add bits meanwhile.
    unsafe { (&raw const state.signals).read_volatile() }
}
