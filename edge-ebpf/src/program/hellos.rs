//! ClientHellos as what a device is known by: their keys, and what these are.

use aya_ebpf::{bindings::xdp_md, macros::map, maps::PerCpuArray, programs::XdpContext};
use edge_ebpf::{
    abi::identity::{FactKind, HelloKey, HelloParts},
    identity::hello,
    inspect::secret,
    name::Span,
};

use super::{constants, copies, devices, facts, frame::Context, in_hand, maps, names};

#[map]
static HELLO: PerCpuArray<HelloKey> = PerCpuArray::with_max_entries(1, 0);

/// Notes by what the hello that was read is known.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_hello(context: *mut xdp_md) -> u32 {
    let (Some(buffers), Some(place), Some(fact)) = (names::buffers(), HELLO.get_ptr_mut(0), facts::text()) else { return 0 };
    // SAFETY: a live map value of this CPU, see `count`.
    let key = unsafe { &mut *place };
    let read = if buffers.state.in_pieces != 0 { edge_hello_in_pieces() } else { edge_hello_in_frame(context) };
    if read == 0 {
        return 0;
    }
    if constants::fact_start(FactKind::Hello) != 0 {
        for (word, letters) in key.letters.iter().enumerate() {
            // SAFETY: the text has room for two words behind its first.
            unsafe { (&raw mut fact.text[facts::BEFORE]).cast::<u64>().wrapping_add(word).write_unaligned(*letters) };
        }
        fact.length = (facts::BEFORE + 10) as u64;
        // The whole hello is told below.
        facts::edge_walk(FactKind::Hello as u32);
    }
    if constants::observes() {
        edge_tell_hello(context);
    }
    for parts in 1..8 {
        if constants::hello_shapes() >> parts & 1 != 0 {
            edge_hello_key(parts);
        }
    }
    0
}

/// Copies the hello in hand for the agent, if it was not told one with its key before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_tell_hello(context: *mut xdp_md) -> u32 {
    let (Some(buffers), Some(key), Some(packet)) = (names::buffers(), HELLO.get(0), in_hand::get()) else { return 0 };
    let HelloKey { letters: [first, last], ciphers, extensions } = *key;
    let hash = secret::mix(first ^ ciphers.rotate_left(17) ^ extensions.rotate_left(31) ^ last << 32 ^ packet.device.0);
    if !facts::is_new(hash) {
        return 0;
    }
    let Span { start, end } = buffers.state.body;
    if buffers.state.in_pieces != 0 {
        if copies::hello(context, Some(names::held_from(buffers, start as usize)), start, end) {
            facts::told(hash);
        }
    } else if copies::hello(context, None, start, end) {
        facts::told(hash);
    }
    0
}

/// Notes what the hello's parts `parts` are.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_hello_key(parts: u32) -> u32 {
    let Some(key) = HELLO.get(0) else { return 0 };
    let key = key.asking(HelloParts(parts as u8));
    // SAFETY: read at once.
    if let Some(set) = unsafe { maps::HELLO_KEYS.get(key) } {
        devices::note_set(set);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_hello_in_frame(context: *mut xdp_md) -> u32 {
    let (Some(buffers), Some(key)) = (names::buffers(), HELLO.get_ptr_mut(0)) else { return 0 };
    let frame = Context::<false>::new(XdpContext::new(context));
    let Span { start, end } = buffers.state.body;
    let Some(read) = hello::read(&frame.frame(), start as usize, end as usize, hello::Transport::Tcp) else { return 0 };
    // SAFETY: a live map value of this CPU, see `count`.
    unsafe { key.write(read) };
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_hello_in_pieces() -> u32 {
    let (Some(buffers), Some(key)) = (names::buffers(), HELLO.get_ptr_mut(0)) else { return 0 };
    let Span { start, end } = buffers.state.body;
    let Some(read) = hello::read(&names::held(buffers), start as usize, end as usize, hello::Transport::Tcp) else { return 0 };
    // SAFETY: as above.
    unsafe { key.write(read) };
    1
}
