//! Names in the kernel: where their table lies, and the steps from a name's bytes to its number as functions that the verifier checks by
//! themselves, once, and not for each way through the headers or each question that leads to them.
//!
//! A name is first copied to one place, [`Buffers::text`]: it is then walked by one function wherever it came from.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_probe_read_kernel, bpf_xdp_load_bytes},
    macros::map,
    maps::PerCpuArray,
    programs::XdpContext,
};
use edge_ebpf::{
    abi::KeptHello,
    inspect::{KEPT, State, learned::NAME_WORDS},
    name::{
        Names, Reading, Span, Walked,
        dns::{self, Transport},
        hash::Seeds,
        http,
        labels::Labels,
        table::{self, NameBucket, NameStorage},
        tls::{self, Joiner, Opening},
    },
    packet::access::{Held, HeldMut, bounded},
};

use super::{constants, frame::Context, maps};

/// What the steps leave to each other.
#[repr(C)]
pub struct Buffers {
    pub state: State,
    /// Bucket of the remote among learned addresses.
    pub learned_place: u32,
    pub labels: Labels,
    /// Number of the name that was walked last.
    number: u64,
    /// Where the name begins, behind at least eight bytes that are read before it, and where it ends.
    text_start: u64,
    text_length: u64,
    text: [u8; TEXT],
    /// A ClientHello in pieces, behind eight bytes as well; and the same out of its records.
    bytes_length: u64,
    bytes: [u8; BYTES],
    joined: [u8; BYTES],
}
/// Twice what is used, see [`Held`].
const TEXT: usize = 1024;
const BYTES: usize = 8192;
/// Bytes before a text.
const BEFORE: usize = 8;
/// Bytes of a name with what bounds it.
const NAME: usize = 256;
/// Bytes that are copied in place, where the name is in them: a call of the kernel's costs as much as half a walk.
const NEAR: usize = 64;

const _: () = assert!(BEFORE + KEPT == BYTES / 2 && BEFORE + NEAR + NAME <= TEXT / 2);

#[map]
static BUFFERS: PerCpuArray<Buffers> = PerCpuArray::with_max_entries(1, 0);

impl Buffers {
    /// Copies the name of a hello or request that was read last, with zeros behind it.
    #[inline(always)]
    pub fn text(&self, to: &mut [u8; NAME]) {
        *to = [0; NAME];
        let length = bounded::<{ NAME - 1 }>((self.text_length as usize).wrapping_sub(self.text_start as usize));
        let from = (&raw const self.text).cast::<u8>().wrapping_add(bounded::<{ TEXT / 2 - 1 }>(self.text_start as usize));
        // SAFETY: both have that many bytes.
        unsafe { bpf_probe_read_kernel((&raw mut *to).cast(), length as u32, from.cast()) };
    }
}

/// This CPU's. `None`: the kernel rules that out.
#[inline(always)]
pub fn buffers<'a>() -> Option<&'a mut Buffers> {
    // SAFETY: a live map value; programs of this CPU that run one after the other are its only users.
    BUFFERS.get_ptr_mut(0).map(|buffers| unsafe { &mut *buffers })
}

/// The generation's table.
pub struct Table;

impl Seeds for Table {
    #[inline(always)]
    fn seed(&self, place: usize) -> u64 {
        constants::name_seed(place)
    }
}

impl NameStorage for Table {
    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&NameBucket> {
        maps::NAMES.get(index)
    }
    #[inline(always)]
    fn mask(&self) -> u32 {
        constants::name_mask()
    }
}

/// The steps, called as functions.
struct Steps(*mut xdp_md);

impl Names for Steps {
    /// The name's bytes are copied, and so are some behind it.
    #[inline(always)]
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        let length = end.wrapping_sub(at);
        if at >= end || !load_text(self.0, at, if length > NAME { NAME } else { length }) {
            return Walked::CUT;
        }
        let walked = Walked(edge_name_wire());
        let start = buffers().map_or(0, |buffers| buffers.text_start as usize);
        if walked.is_fault() { walked } else { Walked((walked.end() - start + at) as u64) }
    }
    #[inline(always)]
    fn row(&mut self) -> u32 {
        buffers().map_or(0, |buffers| buffers.number as u32)
    }
}

#[inline(always)]
fn context(raw: *mut xdp_md) -> Context<false> {
    Context::new(XdpContext::new(raw))
}

/// Copies a part of the frame to the text, at least one byte and at most [`NAME`].
#[inline(always)]
fn load_text(raw: *mut xdp_md, at: usize, length: usize) -> bool {
    let Some(buffers) = buffers() else { return false };
    if length <= NEAR
        && let Some(near) = context(raw).frame().view::<NEAR>((at + length).wrapping_sub(NEAR))
    {
        buffers.text_start = (BEFORE + NEAR - length) as u64;
        buffers.text_length = (BEFORE + NEAR) as u64;
        let mut text = HeldMut::new(&mut buffers.text);
        text.set_text(BEFORE, near.text::<0>());
        text.set_text(BEFORE + 8, near.text::<8>());
        text.set_text(BEFORE + 16, near.text::<16>());
        text.set_text(BEFORE + 24, near.text::<24>());
        text.set_text(BEFORE + 32, near.text::<32>());
        text.set_text(BEFORE + 40, near.text::<40>());
        text.set_text(BEFORE + 48, near.text::<48>());
        text.set_text(BEFORE + 56, near.text::<56>());
        return true;
    }
    let length = bounded::<{ NAME - 1 }>(length - 1) + 1;
    buffers.text_start = BEFORE as u64;
    buffers.text_length = (BEFORE + length) as u64;
    let text = &raw mut buffers.text[BEFORE];
    // SAFETY: that many bytes lie behind the place, and the kernel checks the frame's bounds.
    unsafe { bpf_xdp_load_bytes(raw, at as u32, text.cast(), length as u32) == 0 }
}

#[inline(always)]
pub fn held(buffers: &Buffers) -> Held<'_, BYTES> {
    Held::new(&buffers.bytes, buffers.bytes_length as usize)
}

/// Where the bytes of a hello in pieces lie from there on.
#[inline(always)]
pub fn held_from(buffers: &Buffers, start: usize) -> *const u8 {
    (&raw const buffers.bytes).cast::<u8>().wrapping_add(bounded::<{ BYTES / 2 - 1 }>(start))
}

/// Walks the name in the text, in DNS wire form, and looks it up. Returns a [`Walked`]: the text's offset behind it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_wire() -> u64 {
    let Some(Buffers { labels, number, text, text_start, text_length, .. }) = buffers() else { return Walked::MALFORMED.0 };
    let (start, end) = (*text_start as usize, *text_length as usize);
    let walked = labels.wire(&Held::new(text, end), &Table, start, end);
    if !walked.is_fault() {
        *number = table::find(&Table, labels).into();
    }
    walked.0
}

/// Number of a name in DNS wire form.
#[inline(always)]
pub fn number_of(wire: &[u64; NAME_WORDS]) -> u32 {
    let Some(buffers) = buffers() else { return 0 };
    // SAFETY: the text has room for so many bytes behind its first eight.
    unsafe { (&raw mut buffers.text[BEFORE]).cast::<[u64; NAME_WORDS]>().write(*wire) };
    buffers.text_start = BEFORE as u64;
    buffers.text_length = (BEFORE + NAME) as u64;
    if Walked(edge_name_wire()).is_fault() { 0 } else { buffers.number as u32 }
}

/// A [`Reading`] of the payload as a DNS message over UDP; what was asked is in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_dns(raw: *mut xdp_md) -> u32 {
    dns(raw, Transport::Udp)
}

/// As [`edge_name_dns`], over TCP.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_dns_tcp(raw: *mut xdp_md) -> u32 {
    dns(raw, Transport::Tcp)
}

#[inline(always)]
fn dns(raw: *mut xdp_md, transport: Transport) -> u32 {
    let Some(buffers) = buffers() else { return Reading::Malformed as u32 };
    let Span { start, end } = buffers.state.payload;
    let context = context(raw);
    dns::query(&context.frame(), &mut Steps(raw), transport, start as usize, end as usize, &mut buffers.state.questions) as u32
}

/// A [`Reading`] of the segment as the beginning of a TLS connection, as [`edge_ebpf::inspect::Steps::tls`] says.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls(raw: *mut xdp_md) -> u32 {
    let Some(buffers) = buffers() else { return Reading::Malformed as u32 };
    let context = context(raw);
    let Span { start, end } = buffers.state.payload;
    let located = tls::locate(&context.frame(), start as usize, end as usize);
    match located.opening {
        Opening::NotAHello => return Reading::Other as u32,
        Opening::Malformed => return Reading::Malformed as u32,
        Opening::Incomplete => {
            buffers.state.wanted = located.wanted;
            return Reading::Incomplete as u32;
        }
        Opening::Scattered => {
            if !load_bytes(raw, 0) {
                return Reading::TooLong as u32;
            }
            return edge_name_tls_bytes();
        }
        Opening::Whole => {}
    }
    (buffers.state.body, buffers.state.in_pieces) = (located.body, 0);
    let reading = tls::hello(&context.frame(), located.body.start as usize, located.body.end as usize, &mut buffers.state.hello);
    let Span { start, end } = buffers.state.hello.name;
    named(reading, matches!(reading, Reading::Name) && load_name(raw, start as usize, end as usize))
}

/// Copies the name of a hello or request, for [`edge_name_of_text`].
#[inline(always)]
fn load_name(raw: *mut xdp_md, start: usize, end: usize) -> bool {
    let length = end.wrapping_sub(start);
    start < end && length < NAME && load_text(raw, start, length)
}

/// What a hello comes to: its bytes were those of one, so that what cannot be read of it is told apart from bytes that may be anything.
#[inline(always)]
fn named(reading: Reading, is_there: bool) -> u32 {
    let reading = match reading {
        Reading::Name if is_there => Reading::Name,
        Reading::NoName => Reading::NoName,
        _ => Reading::TooLong,
    };
    reading as u32
}

/// Of what was read, a [`Reading`]: the name that it left in the text is walked and looked up. `otherwise`: it is none.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_of_text(reading: u32, otherwise: u32) -> u32 {
    if reading != Reading::Name as u32 {
        return reading;
    }
    let Some(Buffers { state, labels, text, text_start, text_length, .. }) = buffers() else { return otherwise };
    let (start, end) = (*text_start as usize, *text_length as usize);
    if labels.text(&Held::new(text, end), &Table, start, end).is_fault() {
        return otherwise;
    }
    state.number = table::find(&Table, labels);
    reading
}

/// The kept bytes of the flow's hello, with the segment's behind them, as [`edge_ebpf::inspect::Steps::tls_appended`] says.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls_appended(raw: *mut xdp_md) -> u32 {
    let Some(buffers) = buffers() else { return Reading::TooLong as u32 };
    // SAFETY: read at once; this flow's packets come one after the other.
    let Some(kept) = (unsafe { maps::HELLOS.get(buffers.state.flow_hash) }) else { return Reading::TooLong as u32 };
    let length = kept.length as usize;
    // SAFETY: one is as large as the other's lower half.
    let copied =
        unsafe { bpf_probe_read_kernel((&raw mut buffers.bytes).cast(), size_of::<KeptHello>() as u32, core::ptr::from_ref(kept).cast()) };
    if copied != 0 || !load_bytes(raw, length) {
        return Reading::TooLong as u32;
    }
    edge_name_tls_bytes()
}

/// Copies the payload, as far as there is room, behind the first `have` bytes of the hello in pieces.
#[inline(always)]
fn load_bytes(raw: *mut xdp_md, have: usize) -> bool {
    let Some(buffers) = buffers() else { return false };
    let Span { start, end } = buffers.state.payload;
    let length = (end - start) as usize;
    let room = KEPT - have;
    let length = if length > room { room } else { length };
    if have > KEPT || length == 0 {
        return false;
    }
    buffers.bytes_length = (BEFORE + have + length) as u64;
    let length = bounded::<{ BYTES / 2 - 1 }>(length - 1) + 1;
    let to = (&raw mut buffers.bytes).cast::<u8>().wrapping_add(BEFORE + bounded::<{ BYTES / 2 - 1 }>(have));
    // SAFETY: both are at most `KEPT`; and whatever the masks let through is still within the value.
    unsafe { bpf_xdp_load_bytes(raw, start, to.cast(), length as u32) == 0 }
}

struct Records<'a> {
    from: &'a [u8; BYTES],
    to: &'a mut [u8; BYTES],
}

impl Joiner for Records<'_> {
    #[inline(always)]
    fn copy(&mut self, at: usize, length: usize, to: usize) {
        let length = bounded::<{ BYTES / 2 - 1 }>(length);
        let from = (&raw const *self.from).cast::<u8>().wrapping_add(bounded::<{ BYTES / 2 - 1 }>(at));
        let to = (&raw mut *self.to).cast::<u8>().wrapping_add(bounded::<{ BYTES / 2 - 1 }>(to));
        // SAFETY: each offset and the length are less than half of the buffers. A length of none copies nothing, and cannot fail.
        unsafe { bpf_probe_read_kernel(to.cast(), length as u32, from.cast()) };
    }
    #[inline(always)]
    fn header(&self) -> u32 {
        let [a, b, c, d, ..] = *self.to;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// The hello in pieces, in one record or several.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls_bytes() -> u32 {
    let Some(buffers) = buffers() else { return Reading::TooLong as u32 };
    let end = buffers.bytes_length as usize;
    let located = tls::locate(&held(buffers), BEFORE, end);
    match located.opening {
        Opening::NotAHello => Reading::Other as u32,
        Opening::Malformed => Reading::Malformed as u32,
        Opening::Incomplete => {
            buffers.state.wanted = located.wanted;
            Reading::Incomplete as u32
        }
        Opening::Whole => edge_name_tls_hello(u64::from(located.body.start), u64::from(located.body.end)),
        Opening::Scattered => edge_name_tls_joined(),
    }
}

/// A hello in several records: copied together, then read as any other.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls_joined() -> u32 {
    let Some(buffers) = buffers() else { return Reading::TooLong as u32 };
    let end = buffers.bytes_length as usize;
    let Buffers { state, bytes, joined, .. } = buffers;
    let read = tls::join(&Held::new(bytes, end), BEFORE, end, &mut Records { from: bytes, to: joined });
    match read.reading {
        Reading::Name => {}
        Reading::Incomplete => {
            state.wanted = read.wanted;
            return Reading::Incomplete as u32;
        }
        _ => return Reading::TooLong as u32,
    }
    // SAFETY: both have as many bytes behind these places.
    unsafe { bpf_probe_read_kernel((&raw mut bytes[BEFORE]).cast(), KEPT as u32, (&raw const *joined).cast()) };
    let end = BEFORE + read.length;
    buffers.bytes_length = end as u64;
    edge_name_tls_hello((BEFORE + 4) as u64, end as u64)
}

/// The hello whose body lies there in the bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls_hello(start: u64, end: u64) -> u32 {
    let Some(buffers) = buffers() else { return Reading::TooLong as u32 };
    let Buffers { state, bytes, bytes_length, text, text_start, text_length, .. } = buffers;
    (state.body, state.in_pieces) = (Span::new(start as usize, end as usize), 1);
    let reading = tls::hello(&Held::new(bytes, *bytes_length as usize), start as usize, end as usize, &mut state.hello);
    let Span { start, end } = state.hello.name;
    let length = end.wrapping_sub(start) as usize;
    if !matches!(reading, Reading::Name) || start >= end || length >= NAME {
        return named(reading, false);
    }
    let length = bounded::<{ NAME - 1 }>(length);
    *text_start = BEFORE as u64;
    *text_length = (BEFORE + length) as u64;
    let from = (&raw const *bytes).cast::<u8>().wrapping_add(bounded::<{ BYTES / 2 - 1 }>(start as usize));
    // SAFETY: the text has that many bytes, and so have the bytes behind any place in their lower half.
    unsafe { bpf_probe_read_kernel((&raw mut text[BEFORE]).cast(), length as u32, from.cast()) };
    Reading::Name as u32
}

/// A [`Reading`] of the payload as an HTTP/1.x request; the host is in the state and in the text.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_http(raw: *mut xdp_md) -> u32 {
    let Some(buffers) = buffers() else { return Reading::Malformed as u32 };
    let context = context(raw);
    let Span { start, end } = buffers.state.payload;
    let reading = http::request(&context.frame(), start as usize, end as usize, &mut buffers.state.host);
    if !matches!(reading, Reading::Name) {
        return reading as u32;
    }
    let Span { start, end } = buffers.state.host;
    if load_name(raw, start as usize, end as usize) { Reading::Name as u32 } else { Reading::Malformed as u32 }
}

/// Keeps the bytes of the hello that goes on: those of the segment, behind those that were kept before.
#[inline(always)]
pub fn keep(raw: *mut xdp_md) {
    let Some(buffers) = buffers() else { return };
    if buffers.state.kept == 0 && !load_bytes(raw, 0) {
        return;
    }
    let length = (buffers.bytes_length as u32).wrapping_sub(BEFORE as u32);
    let hello = (&raw mut buffers.bytes).cast::<KeptHello>();
    // SAFETY: the eight bytes before the hello are the two numbers, and it has room behind them.
    unsafe {
        (&raw mut (*hello).length).write_unaligned(length);
        let hello = &*hello;
        let _ = maps::HELLOS.insert(buffers.state.flow_hash, hello, 0);
    }
}
