//! Copies of frames that the agent reads beside the packets' way: QUIC's Initials that are held, and DNS answers that are not read here.
//!
//! Nothing depends on a copy: a frame that is not copied, since the budget is used up or the ring full, only teaches nothing. The agent renews
//! the budget with that of reports, so that a dead agent's ring goes quiet by itself.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::generated::{bpf_probe_read_kernel, bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::map,
    maps::PerCpuArray,
};
use edge_ebpf::{
    abi::{
        OnUninspectable, Reason,
        beside::{COPIES_EACH, COPIES_OF_DEVICE, COPY_DEVICES, CopyHeader, CopyKind, CopyState, HELLO_HEAD, MAX_ANSWER, MAX_INITIAL},
    },
    inspect::secret::mix,
    packet::{Mac, access::bounded},
};

use super::{constants, in_hand, maps};

/// The copy under construction. Programs of this CPU that run one after the other are its only users.
#[map]
static COPY: PerCpuArray<Copied> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Copied {
    header: CopyHeader,
    bytes: [u8; MAX_ANSWER],
}

/// Whether the packet in hand, which is dropped, is an Initial that the agent is to read.
#[inline(always)]
pub fn is_wanted() -> bool {
    matches!(constants::on_uninspectable(Reason::Quic), OnUninspectable::Inspect)
        && in_hand::found().is_some_and(|found| found.reason == Reason::Quic as u32 + 1)
}

/// Copies the frame in hand to the ring.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_copy_initial(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(copy)) = (in_hand::get(), COPY.get_ptr_mut(0)) else { return 0 };
    // SAFETY: the context is the kernel's.
    let whole = unsafe { bpf_xdp_get_buff_len(context) } as u32;
    let Some(length) = within::<MAX_INITIAL>(whole) else { return 0 };
    if !affordable(length as u32, Some(packet.device)) {
        return 0;
    }
    let loaded = bounded::<{ MAX_INITIAL - 1 }>(length - 1) + 1;
    // SAFETY: a live map value of this CPU with room for that many bytes, and the kernel checks the frame's bounds.
    if unsafe { bpf_xdp_load_bytes(context, 0, (&raw mut (*copy).bytes).cast(), loaded as u32) } == 0 {
        send(copy, CopyKind::Initial as u32, whole, length);
    }
    0
}

/// Copies the frame in hand, which tells something new of its device. 0: it was not copied.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_copy_fact(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(copy)) = (in_hand::get(), COPY.get_ptr_mut(0)) else { return 0 };
    // SAFETY: the context is the kernel's.
    let whole = unsafe { bpf_xdp_get_buff_len(context) } as u32;
    let Some(length) = within::<MAX_INITIAL>(whole) else { return 0 };
    if !affordable(length as u32, Some(packet.device)) {
        return 0;
    }
    let loaded = bounded::<{ MAX_INITIAL - 1 }>(length - 1) + 1;
    // SAFETY: as in `edge_copy_initial`.
    if unsafe { bpf_xdp_load_bytes(context, 0, (&raw mut (*copy).bytes).cast(), loaded as u32) } != 0 {
        return 0;
    }
    send(copy, CopyKind::Fact as u32, whole, length).into()
}

/// Copies the body of the hello in hand. `held`: the bytes it was put together in, else it is in the frame.
#[inline(always)]
pub fn hello(context: *mut xdp_md, held: Option<*const u8>, start: u32, end: u32) -> bool {
    let (Some(packet), Some(copy)) = (in_hand::get(), COPY.get_ptr_mut(0)) else { return false };
    let Some(length) = within::<{ MAX_HELLO }>(end.wrapping_sub(start)) else { return false };
    if !affordable((HELLO_HEAD + length) as u32, Some(packet.device)) {
        return false;
    }
    let loaded = bounded::<{ MAX_HELLO - 1 }>(length - 1) + 1;
    // SAFETY: a live map value of this CPU with room for that many bytes; the kernel checks the frame's bounds, and who held the bytes theirs.
    let copied = unsafe {
        (&raw mut (*copy).bytes).cast::<u64>().write_unaligned(packet.device.0);
        let to = (&raw mut (*copy).bytes).cast::<u8>().wrapping_add(HELLO_HEAD);
        match held {
            Some(from) => bpf_probe_read_kernel(to.cast(), loaded as u32, from.cast()),
            None => bpf_xdp_load_bytes(context, start, to.cast(), loaded as u32),
        }
    };
    copied == 0 && send(copy, CopyKind::Hello as u32, (HELLO_HEAD + length) as u32, HELLO_HEAD + length)
}

/// Bytes of a hello's body: as many as are put together.
const MAX_HELLO: usize = 4096;

/// Copies the frame of an answer to the ring. `kind`: a [`CopyKind`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_copy_answer(skb: *mut __sk_buff, kind: u64) -> u32 {
    let Some(copy) = COPY.get_ptr_mut(0) else { return 0 };
    // SAFETY: the context is the kernel's.
    let whole = unsafe { (*skb).len };
    let Some(length) = within::<MAX_ANSWER>(whole) else { return 0 };
    if !affordable(length as u32, None) {
        return 0;
    }
    let loaded = bounded::<{ MAX_ANSWER - 1 }>(length - 1) + 1;
    // SAFETY: as above.
    if unsafe { bpf_skb_load_bytes(skb.cast(), 0, (&raw mut (*copy).bytes).cast(), loaded as u32) } == 0 {
        send(copy, kind as u32, whole, length);
    }
    0
}

/// At most so many bytes, a power of two; `None`: there are none.
#[inline(always)]
fn within<const MAX: usize>(whole: u32) -> Option<usize> {
    let whole = whole as usize;
    let length = if whole > MAX { MAX } else { whole };
    if length == 0 { None } else { Some(length) }
}

#[inline(always)]
fn send(copy: *mut Copied, kind: u32, whole: u32, length: usize) -> bool {
    // SAFETY: a live map value of this CPU; header and bytes lie behind each other, and there are at most `MAX_ANSWER` of these.
    let sent = unsafe {
        (*copy).header = CopyHeader { kind, generation: constants::generation(), length: whole, reserved: 0 };
        let length = size_of::<CopyHeader>() + bounded::<{ MAX_ANSWER - 1 }>(length - 1) + 1;
        let record: &[u8] = core::slice::from_raw_parts(copy.cast(), length);
        // It wakes the agent if that sleeps: a client waits for what becomes of its Initial.
        maps::COPIES.output::<[u8]>(record, 0)
    };
    if sent.is_err() {
        suppressed();
    }
    sent.is_ok()
}

#[inline(always)]
fn suppressed() {
    if let Some(state) = maps::COPY_STATE.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU, see `count`.
        unsafe { (*state).suppressed += 1 };
    }
}

/// Whether so many bytes are within the budget: of Initials also within the device's, of answers (`None`) within theirs.
#[inline(always)]
fn affordable(bytes: u32, device: Option<Mac>) -> bool {
    let (Some(budget), Some(state)) = (maps::REPORT_BUDGET.get(0), maps::COPY_STATE.get_ptr_mut(0)) else { return false };
    let epoch = budget.epoch;
    // SAFETY: a live map value of this CPU, see `count`.
    let state: &mut CopyState = unsafe { &mut *state };
    if state.epoch != epoch {
        (state.epoch, state.initials, state.answers) = (epoch, 0, 0);
    }
    let affordable = match device {
        Some(device) => {
            let used = &mut state.devices[mix(device.0) as usize & (COPY_DEVICES - 1)];
            let before = if *used as u8 == epoch as u8 { *used >> 8 } else { 0 };
            let fits = before + bytes <= COPIES_OF_DEVICE && state.initials + bytes <= COPIES_EACH;
            if fits {
                state.initials += bytes;
                *used = (before + bytes) << 8 | u32::from(epoch as u8);
            }
            fits
        }
        None => {
            let fits = state.answers + bytes <= COPIES_EACH;
            if fits {
                state.answers += bytes;
            }
            fits
        }
    };
    if !affordable {
        state.suppressed += 1;
    }
    affordable
}
