//! Facts: what a packet tells of its device, as signals. Each step is a function that the verifier checks by itself; what they leave to each
//! other is in maps of this CPU.

use aya_ebpf::{bindings::xdp_md, helpers::generated::bpf_xdp_load_bytes, macros::map, maps::PerCpuArray, programs::XdpContext};
use edge_ebpf::{
    abi::{
        MAX_SIGNATURES,
        identity::{FactKind, FactState, MAX_FACT, MAX_TOLD, SIGNAL_WORDS},
    },
    identity::{
        automaton::{self, States},
        dhcp::{self, Said},
        fact_hash, syn, user_agent,
    },
    inspect::{Read, secret},
    name::{Reading, Span, dns::Questions},
    packet::{
        Family, Fragment, Packet,
        access::{Frame, Held, bounded},
        protocol,
    },
};

use super::{
    constants, copies,
    devices::{self, OF_PACKET},
    frame::Context,
    hellos, in_hand, inspect, maps, names,
};

/// Where a message's facts are, and what a key is made of.
#[map]
static SAID: PerCpuArray<Said> = PerCpuArray::with_max_entries(1, 0);

/// A fact, behind the eight bytes that are read before it: not where names are, which reports tell later.
#[map]
static FACT: PerCpuArray<FactText> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
pub struct FactText {
    /// Of those bytes and the fact.
    pub length: u64,
    pub text: [u8; TEXT],
}

/// Twice what is used, see [`Held`].
const TEXT: usize = 1024;
/// Bytes before a fact.
pub const BEFORE: usize = 8;

const _: () = assert!(BEFORE + MAX_FACT < TEXT / 2);

#[inline(always)]
pub fn text<'a>() -> Option<&'a mut FactText> {
    // SAFETY: a live map value of this CPU, see `count`.
    FACT.get_ptr_mut(0).map(|fact| unsafe { &mut *fact })
}

/// Whether a plain packet may tell something of its device.
#[inline(always)]
pub fn concerns(frame: &Frame<'_>, packet: &Packet) -> bool {
    let (_, port) = packet.ports(frame);
    let tcp = packet.protocol == protocol::TCP;
    if tcp && packet.segment(frame).opens {
        // It also ends what the flow was known by.
        return constants::wants(FactKind::TcpSyn) || constants::reads_of_all() || constants::has_shown();
    }
    if packet.protocol == protocol::UDP && (port == dhcp::SERVER || port == dhcp::SERVER_6 || announces(port)) {
        return true;
    }
    // A hello may go on in this packet.
    tcp && constants::reads_of_all() && inspect::is_flow_known(frame, packet)
        || (constants::reads_of_all() || constants::has_shown()) && inspect::payload_concerns(frame, packet)
}

/// mDNS (RFC 6762) and SSDP (UPnP Device Architecture), which only the agent reads.
#[inline(always)]
fn announces(port: u16) -> bool {
    const MDNS: u16 = 5353;
    const SSDP: u16 = 1900;
    constants::observes() && (port == MDNS || port == SSDP)
}

/// Notes what the headers of the packet in hand tell of its device, and finds its row.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_identify(context: *mut xdp_md) -> u32 {
    let Some(packet) = in_hand::get() else { return 0 };
    devices::prepare(OF_PACKET, [0; SIGNAL_WORDS]);
    let frame = Context::<false>::new(XdpContext::new(context));
    let (_, port) = packet.ports(&frame.frame());
    if packet.fault.is_none() && !matches!(packet.family, Family::None) && !matches!(packet.fragment, Fragment::Later) {
        if packet.protocol == protocol::TCP {
            if constants::wants(FactKind::TcpSyn) && packet.segment(&frame.frame()).opens {
                edge_syn(context);
            }
        } else if packet.protocol == protocol::UDP && (port == dhcp::SERVER || port == dhcp::SERVER_6) {
            edge_dhcp(context);
        } else if packet.protocol == protocol::UDP && announces(port) {
            let (start, end) = packet.payload(&frame.frame());
            fact(context, FactKind::Announcement, Span::new(start, end));
        }
    }
    edge_device();
    0
}

/// The shape of the SYN in hand, as a fact.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_syn(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(fact)) = (in_hand::get(), text()) else { return 0 };
    let frame = Context::<false>::new(XdpContext::new(context));
    let length = syn::read(&frame.frame(), packet, &mut Text(&mut fact.text));
    if length != 0 {
        fact.length = (BEFORE + length) as u64;
        edge_fact(context, FactKind::TcpSyn as u32);
    }
    0
}

/// The buffer's part that facts are in.
struct Text<'a>(&'a mut [u8; TEXT]);

impl syn::Shape for Text<'_> {
    #[inline(always)]
    fn put(&mut self, place: usize, byte: u8) {
        self.0[BEFORE + bounded::<63>(place)] = byte;
    }
}

/// What the DHCP client says whose message is in hand.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_dhcp(context: *mut xdp_md) -> u32 {
    let Some(said) = said() else { return 0 };
    if edge_dhcp_read(context) == 0 {
        return 0;
    }
    let six = is_dhcp_6(context);
    let kinds = if six {
        [FactKind::Dhcp6Options, FactKind::Dhcp6VendorClass, FactKind::Dhcp6Name]
    } else {
        [FactKind::DhcpParameters, FactKind::DhcpVendorClass, FactKind::DhcpHostName]
    };
    for (kind, span) in kinds.into_iter().zip([said.parameters, said.vendor_class, said.host_name]) {
        fact(context, kind, span);
    }
    0
}

#[inline(always)]
fn said<'a>() -> Option<&'a mut Said> {
    // SAFETY: a live map value of this CPU, see `count`.
    SAID.get_ptr_mut(0).map(|said| unsafe { &mut *said })
}

#[inline(always)]
fn is_dhcp_6(context: *mut xdp_md) -> bool {
    let frame = Context::<false>::new(XdpContext::new(context));
    in_hand::get().is_some_and(|packet| packet.ports(&frame.frame()).1 == dhcp::SERVER_6)
}

/// Reads the message in hand. 0: it is none of a client.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_dhcp_read(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(said)) = (in_hand::get(), said()) else { return 0 };
    let frame = Context::<false>::new(XdpContext::new(context));
    let frame = frame.frame();
    let (start, end) = packet.payload(&frame);
    let (_, port) = packet.ports(&frame);
    let read =
        if port == dhcp::SERVER_6 { dhcp::read_6(&frame, start, end, said) } else { dhcp::read(&frame, start, end, packet.device, said) };
    read.into()
}

/// A fact that lies in the frame.
#[inline(always)]
fn fact(context: *mut xdp_md, kind: FactKind, Span { start, end }: Span) {
    if start >= end || !constants::wants(kind) {
        return;
    }
    let Some(fact) = text() else { return };
    let length = (end - start) as usize;
    let length = bounded::<{ MAX_FACT }>(if length > MAX_FACT { MAX_FACT } else { length } - 1) + 1;
    fact.length = (BEFORE + length) as u64;
    let text = &raw mut fact.text[BEFORE];
    // SAFETY: that many bytes lie behind the place, and the kernel checks the frame's bounds.
    if unsafe { bpf_xdp_load_bytes(context, start, text.cast(), length as u32) } == 0 {
        edge_fact(context, kind as u32);
    }
}

#[derive(Clone, Copy)]
struct Automaton;

impl States for Automaton {
    #[inline(always)]
    fn state(&self, number: u32) -> Option<&FactState> {
        maps::FACT_STATES.get(number)
    }
}

/// Notes what the fact in the text is, and tells the agent of it. `kind`: a [`FactKind`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_fact(context: *mut xdp_md, kind: u32) -> u32 {
    if constants::observes() {
        edge_tell(context, kind);
    }
    edge_walk(kind)
}

/// Notes what the fact in the text is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_walk(kind: u32) -> u32 {
    let (Some(fact), Some(packet)) = (text(), in_hand::get()) else { return 0 };
    let first = constants::fact_start_of(kind);
    if first == 0 {
        return 0;
    }
    let length = fact.length as usize;
    let noise = packet.device.0;
    let text = Held::new(&fact.text, length);
    let set = automaton::walk(&Automaton, &text, first, BEFORE, length, kind == FactKind::UserAgent as u32, noise);
    note(set);
    0
}

/// Copies the frame in hand for the agent, if it was not told the fact in the text before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_tell(context: *mut xdp_md, kind: u32) -> u32 {
    let (Some(fact), Some(found), Some(packet)) = (text(), in_hand::found(), in_hand::get()) else { return 0 };
    let length = fact.length as usize;
    let hash = fact_hash(&Held::new(&fact.text, length), BEFORE, length, packet.device.0);
    let hash = secret::mix(hash ^ packet.device.0 ^ u64::from(kind) << 56);
    if found.copied != 0 || !is_new(hash) {
        return 0;
    }
    if copies::edge_copy_fact(context) != 0 {
        found.copied = 1;
        told(hash);
    }
    0
}

#[inline(always)]
pub fn is_new(hash: u64) -> bool {
    maps::TOLD.get(hash as u32 & (MAX_TOLD - 1)).is_some_and(|told| *told != hash)
}

#[inline(always)]
pub fn told(hash: u64) {
    if let Some(told) = maps::TOLD.get_ptr_mut(hash as u32 & (MAX_TOLD - 1)) {
        // SAFETY: a live map value, written in one instruction.
        unsafe { told.write_volatile(hash) };
    }
}

/// Has the signals of a set noted.
#[inline(always)]
fn note(set: u32) {
    if set != 0
        && let Some(set) = maps::SIGNAL_SETS.get(set)
    {
        devices::note_set(set);
    }
}

/// Notes what was read of the packet in hand tells of its device. `what`: a [`Reading`], and the [`Read`] above it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_identify_shown(context: *mut xdp_md, what: u32) -> u32 {
    let (Some(buffers), Some(found)) = (names::buffers(), in_hand::found()) else { return 0 };
    if found.inspected == 0 {
        return 0;
    }
    let (read, reading) = (Read::from_u32(what >> 8), Reading::from_u32(what & 0xff));
    let named = matches!(reading, Reading::Name);
    if constants::has_asked() && named {
        edge_asked(read as u32);
    }
    if named || matches!(reading, Reading::NoName) {
        match read {
            Read::Segment | Read::Appended if constants::has_hellos() => {
                hellos::edge_hello(context);
            }
            Read::Request if constants::wants(FactKind::UserAgent) => {
                edge_user_agent(context);
            }
            _ => {}
        }
    }
    if constants::has_shown() && buffers.state.shown.signatures != 0 {
        edge_signed(buffers.state.shown.signatures);
    }
    edge_device();
    0
}

/// Notes the names that were read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_asked(read: u32) -> u32 {
    let Some(buffers) = names::buffers() else { return 0 };
    let asked = |number: u32| {
        if number != 0
            && let Some(rules) = maps::NAME_RULES.get(number)
        {
            note(rules.signals);
        }
    };
    if read == Read::DnsOverUdp as u32 || read == Read::DnsOverTcp as u32 {
        let Questions { rows, count, .. } = &buffers.state.questions;
        for (place, number) in rows.iter().enumerate() {
            if (place as u32) < *count {
                asked(*number);
            }
        }
    } else {
        asked(buffers.state.number);
    }
    0
}

/// Notes the signatures of these bits.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_signed(signatures: u32) -> u32 {
    for index in 0..MAX_SIGNATURES as u32 {
        if index >= constants::signature_count() {
            break;
        }
        if signatures >> index & 1 != 0 {
            note(constants::signature_signals(index));
        }
    }
    0
}

/// Notes the User-Agent of the request in hand.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_user_agent(context: *mut xdp_md) -> u32 {
    let Some(buffers) = names::buffers() else { return 0 };
    let frame = Context::<false>::new(XdpContext::new(context));
    let Span { start, end } = buffers.state.payload;
    let value = user_agent::read(&frame.frame(), start as usize, end as usize);
    fact(context, FactKind::UserAgent, value);
    0
}

/// Notes what the packet in hand told of its device, and finds the device's row.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_device() -> u32 {
    let (Some(packet), Some(found)) = (in_hand::get(), in_hand::found()) else { return 0 };
    found.device = devices::edge_note_signals(packet.device.0, OF_PACKET);
    devices::prepare(OF_PACKET, [0; SIGNAL_WORDS]);
    0
}
