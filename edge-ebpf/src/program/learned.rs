//! Learned addresses in the kernel: noting one, looking one up, and giving an entry of an earlier generation its number in this one.

use edge_ebpf::{
    inspect::{
        learned::{self, LearnedBucket, LearnedEntry, NAME_WORDS, WAYS},
        secret,
    },
    name::hash::fold,
    packet::Address,
};

use super::{clock, constants, maps, names, secret::Secret};

/// The name that is in this way of the bucket of the packet's remote.
#[inline(always)]
pub fn name<'a>(way: usize) -> Option<&'a [u64; NAME_WORDS]> {
    let place = names::buffers()?.learned_place;
    Some(&maps::LEARNED_NAMES.get(place * WAYS as u32 + (way & (WAYS - 1)) as u32)?.wire)
}

/// Whether any name may have been answered with the address, for packets that are decided elsewhere if so.
#[inline(always)]
pub fn may_be(address: Address) -> bool {
    let tag = secret::address(&Secret, address);
    maps::LEARNED.get(learned::place(tag, constants::learned_mask())).is_some_and(|bucket| learned::has(bucket, tag))
}

/// Numbers of the names that the address was learned for, into the state. Whether there is any.
#[inline(always)]
pub fn look_up(address: Address) -> bool {
    let Some(buffers) = names::buffers() else { return false };
    let tag = secret::address(&Secret, address);
    let place = learned::place(tag, constants::learned_mask());
    let Some(bucket) = maps::LEARNED.get(place) else { return false };
    if !learned::has(bucket, tag) {
        return false;
    }
    buffers.learned_place = place;
    let second = clock::second();
    let generation = constants::generation() as u16;
    let mut any = 0;
    for (way, entry) in bucket.iter().enumerate() {
        if entry.holds(tag, second) {
            let number = if entry.generation == generation { u32::from(entry.number) } else { edge_learned_anew(place, way as u32) };
            buffers.state.shown.learned[way] = number;
            any |= number;
        }
    }
    any != 0
}

/// Looks the name of an entry up in this generation's table, and notes its number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_learned_anew(place: u32, way: u32) -> u32 {
    let way = way & (WAYS as u32 - 1);
    let Some(bucket) = maps::LEARNED.get_ptr_mut(place) else { return 0 };
    let Some(name) = maps::LEARNED_NAMES.get(place * WAYS as u32 + way) else { return 0 };
    let entry = bucket.cast::<learned::LearnedEntry>().wrapping_add(way as usize);
    // SAFETY: a live map value; the mask keeps the way inside. Volatile, since an answer on another CPU may write the entry meanwhile: its
    // tag is 0 then.
    let before = unsafe { (&raw const (*entry).tag).read_volatile() };
    let number = names::number_of(&name.wire);
    // SAFETY: as above.
    unsafe {
        if (&raw const (*entry).tag).read_volatile() == before {
            (&raw mut (*entry).number).write_volatile(number as u16);
            (&raw mut (*entry).generation).write_volatile(constants::generation() as u16);
        }
    }
    number
}

/// A name that an address is learned for.
pub struct Name<'a> {
    pub number: u32,
    /// As [`fold_name`] says.
    pub hash: u64,
    pub wire: &'a [u64; NAME_WORDS],
}

/// Folds the case of a name of `length` bytes, and returns what it is known by.
#[inline(always)]
pub fn fold_name(wire: &mut [u64; NAME_WORDS], length: usize) -> u64 {
    let mut hash = constants::secret(secret::NAME);
    for (index, word) in wire.iter_mut().enumerate() {
        if index * 8 >= length {
            break;
        }
        // Lengths of labels are no letters.
        let folded = fold(*word);
        *word = folded;
        let rest = length - index * 8;
        let folded = if rest < 8 { folded << (64 - 8 * rest as u32) } else { folded };
        hash = secret::mix(hash ^ folded);
    }
    hash
}

/// Notes that an answer gave the address for the name. False: the table lacks a place, which the kernel rules out.
#[inline(always)]
pub fn remember(address: Address, ttl: u32, name: &Name<'_>) -> bool {
    let tag = secret::address(&Secret, address);
    let place = learned::place(tag, constants::learned_mask());
    let Some(bucket) = maps::LEARNED.get_ptr_mut(place) else { return false };
    // SAFETY: a live map value; a processor that writes an entry at once with this one leaves one of both.
    let bucket = unsafe { &mut *bucket };
    let second = clock::second();
    let expires = second.saturating_add(constants::time_to_live(ttl));
    let generation = constants::generation() as u16;
    let first = place * WAYS as u32;
    let mut way = WAYS;
    for (known, entry) in bucket.iter().enumerate() {
        if entry.tag == tag && maps::LEARNED_NAMES.get(first + known as u32).is_some_and(|noted| noted.hash == name.hash) {
            way = known;
        }
    }
    if way < WAYS {
        let entry = &mut bucket[way & (WAYS - 1)];
        if entry.expires < expires {
            entry.expires = expires;
        }
        (entry.number, entry.generation) = (name.number as u16, generation);
        return true;
    }
    let new = LearnedEntry { tag, expires, number: name.number as u16, generation };
    let way = learned::victim(bucket, &new, second);
    if way >= WAYS {
        return true;
    }
    let Some(noted) = maps::LEARNED_NAMES.get_ptr_mut(first + way as u32) else { return false };
    let entry: *mut LearnedEntry = &raw mut bucket[way];
    // Without a tag it is nobody's: who looks it up meanwhile finds nothing, and who gives it a number anew does not.
    // SAFETY: live map values.
    unsafe {
        (&raw mut (*entry).tag).write_volatile(0);
        (*noted).hash = name.hash;
        (*noted).wire = *name.wire;
        (&raw mut (*entry).expires).write_volatile(expires);
        (&raw mut (*entry).number).write_volatile(name.number as u16);
        (&raw mut (*entry).generation).write_volatile(generation);
        (&raw mut (*entry).tag).write_volatile(tag);
    }
    true
}

const _: () = assert!(size_of::<LearnedBucket>() == WAYS * size_of::<learned::LearnedEntry>());
