//! Names in the kernel: where the table lies, and the library's steps as functions that the verifier checks by themselves, once, and not
//! for each way through the headers or each question that leads to them.
//!
//! What goes in and out of them is in [`STATE`], a value of this CPU.

use aya_ebpf::{
    bindings::xdp_md,
    macros::map,
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};
use edge_ebpf::{
    name::{
        Names, Reading, Span, Walked,
        dns::{self, Questions, Transport},
        hash::{SEEDS, Seeds},
        http,
        labels::Labels,
        table::{self, BUCKET, NameBucket, NameEntry, NameStorage},
        tls::{self, Hello, JOINED, Opening},
    },
    packet::access::Held,
};

use super::{constants::Constant, frame::Context};

/// Mapped by the agent, and so on page boundaries: a bucket is a cache line.
#[map]
pub static NAMES: Array<NameBucket> = Array::with_max_entries(1, MAPPED);
/// `BPF_F_MMAPABLE`
const MAPPED: u32 = 1 << 10;

#[unsafe(no_mangle)]
static NAME_SEEDS: Constant<[u64; SEEDS]> = Constant([0; SEEDS]);
/// Number of buckets less one.
#[unsafe(no_mangle)]
static NAME_MASK: Constant<u32> = Constant(0);

/// What the steps leave to each other.
#[repr(C)]
pub struct State {
    /// The payload behind the transport header: set by the caller.
    pub payload: Span,
    pub questions: Questions,
    pub hello: Hello,
    pub host: Span,
    /// Of an incomplete hello: bytes of the payload from its start until more can be said.
    pub wanted: u32,
    /// Row of the name in a hello or request.
    pub row: u32,
    pub joined_length: u32,
    labels: Labels,
    joined: [u8; JOINED],
}

#[map]
static STATE: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's state. `None`: the kernel rules that out.
#[inline(always)]
pub fn state<'a>() -> Option<&'a mut State> {
    // SAFETY: a live map value; programs of this CPU that run one after the other are its only users.
    STATE.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

/// The generation's table.
pub struct Table;

impl Seeds for Table {
    #[inline(always)]
    fn seed(&self, place: usize) -> u64 {
        NAME_SEEDS.at(place)
    }
}

impl NameStorage for Table {
    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&NameBucket> {
        NAMES.get(index)
    }
    #[inline(always)]
    fn mask(&self) -> u32 {
        NAME_MASK.get()
    }
}

const _: () = assert!(size_of::<NameBucket>() == BUCKET * size_of::<NameEntry>());

/// The steps, called as functions.
struct Steps(*mut xdp_md);

impl Names for Steps {
    #[inline(always)]
    fn wire(&mut self, at: usize, end: usize) -> Walked {
        Walked(edge_name_wire(self.0, at as u64, end as u64))
    }
    #[inline(always)]
    fn text(&mut self, at: usize, end: usize) -> Walked {
        Walked(edge_name_text(self.0, at as u64, end as u64))
    }
    #[inline(always)]
    fn row(&mut self) -> u32 {
        edge_name_row()
    }
}

#[inline(always)]
fn context(raw: *mut xdp_md) -> Context<false> {
    Context::new(XdpContext::new(raw))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_wire(raw: *mut xdp_md, at: u64, end: u64) -> u64 {
    let Some(state) = state() else { return Walked::MALFORMED.0 };
    state.labels.wire(&context(raw).frame(), &Table, at as usize, end as usize).0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_text(raw: *mut xdp_md, at: u64, end: u64) -> u64 {
    let Some(state) = state() else { return Walked::MALFORMED.0 };
    state.labels.text(&context(raw).frame(), &Table, at as usize, end as usize).0
}

/// As [`edge_name_text`], in the joined records.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_joined_text(at: u64, end: u64) -> u64 {
    let Some(State { labels, joined, joined_length, .. }) = state() else { return Walked::MALFORMED.0 };
    labels.text(&Held::new(joined, *joined_length as usize), &Table, at as usize, end as usize).0
}

/// Row of the name that was walked last. Without a context: an argument that is not used is not passed either, which the verifier refuses.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_row() -> u32 {
    match state() {
        Some(state) => table::find(&Table, &state.labels),
        None => 0,
    }
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
    let Some(State { payload: Span { start, end }, questions, .. }) = state() else { return Reading::Malformed as u32 };
    let context = context(raw);
    dns::query(&context.frame(), &mut Steps(raw), transport, *start as usize, *end as usize, questions) as u32
}

/// A [`Reading`] of the payload as the beginning of a TLS connection; name, its row and what an incomplete one wants are in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls(raw: *mut xdp_md) -> u32 {
    let Some(state) = state() else { return Reading::Malformed as u32 };
    let context = context(raw);
    let located = tls::locate(&context.frame(), state.payload.start as usize, state.payload.end as usize);
    let reading = match located.opening {
        Opening::NotAHello => return Reading::Other as u32,
        Opening::Malformed => return Reading::Malformed as u32,
        Opening::Incomplete => {
            state.wanted = located.wanted;
            return Reading::Incomplete as u32;
        }
        Opening::Scattered => return edge_name_tls_joined(raw),
        Opening::Whole => tls::hello(&context.frame(), located.body.start as usize, located.body.end as usize, &mut state.hello),
    };
    if reading as u32 != Reading::Name as u32 {
        return reading as u32;
    }
    let name = state.hello.name;
    if Walked(edge_name_text(raw, u64::from(name.start), u64::from(name.end))).is_fault() {
        return Reading::Malformed as u32;
    }
    state.row = edge_name_row();
    Reading::Name as u32
}

/// A hello in several records: copied together, then read as any other.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_tls_joined(raw: *mut xdp_md) -> u32 {
    let Some(state) = state() else { return Reading::Malformed as u32 };
    let context = context(raw);
    let joined = tls::join(&context.frame(), state.payload.start as usize, state.payload.end as usize, &mut state.joined);
    state.joined_length = joined.length as u32;
    state.wanted = joined.wanted;
    if joined.reading as u32 != Reading::Name as u32 {
        return joined.reading as u32;
    }
    edge_name_joined_hello()
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_joined_hello() -> u32 {
    let Some(state) = state() else { return Reading::Malformed as u32 };
    let State { joined, joined_length, hello, row, .. } = state;
    let length = *joined_length as usize;
    let reading = tls::hello(&Held::new(joined, length), 4, length, hello);
    if reading as u32 != Reading::Name as u32 {
        return reading as u32;
    }
    if Walked(edge_name_joined_text(u64::from(hello.name.start), u64::from(hello.name.end))).is_fault() {
        return Reading::Malformed as u32;
    }
    *row = edge_name_row();
    Reading::Name as u32
}

/// A [`Reading`] of the payload as an HTTP/1.x request; host and its row are in the state.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_name_http(raw: *mut xdp_md) -> u32 {
    let Some(state) = state() else { return Reading::Malformed as u32 };
    let context = context(raw);
    let reading = http::request(&context.frame(), state.payload.start as usize, state.payload.end as usize, &mut state.host);
    if reading as u32 != Reading::Name as u32 {
        return reading as u32;
    }
    if Walked(edge_name_text(raw, u64::from(state.host.start), u64::from(state.host.end))).is_fault() {
        return Reading::Malformed as u32;
    }
    state.row = edge_name_row();
    Reading::Name as u32
}
