//! What a packet shows beside its headers, over maps: the library's inspection with its steps as functions of their own.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::map,
    maps::PerCpuArray,
    programs::XdpContext,
};
use edge_ebpf::{
    abi::{self, MAX_RULES, MAX_SIGNATURES, MAX_WORDS, Reason},
    engine::{self, Rows, ShownWords, Shows, Side, word_offset},
    inspect::{
        self, Carried, DNS_PORT, Interest, Memory, Read, Showing, State, Steps,
        flow::{self, Flow},
        secret,
        shown::ShownRows,
        signature,
    },
    name::{Reading, dns::Transport},
    packet::{Family, Fragment, Packet, access::Frame, protocol},
    reject,
};

use super::{
    constants,
    devices::device_word,
    facts,
    frame::Context,
    in_hand, learned, maps, names,
    secret::Secret,
    tables::{NO_CLASS, Tables, edge_mac_class},
};

/// The rows of what the packet shows.
#[map]
static ROWS_SHOWN: PerCpuArray<ShownRows> = PerCpuArray::with_max_entries(1, 0);

/// Whether the device's rules may ask for names or signatures: right where a row is one word, else also where rules of the same groups do.
#[inline(always)]
pub fn may_watch(device: u32) -> bool {
    device_word(device) & constants::watching() != 0
}

/// Whether a plain packet of a watched device has to be looked into: it opens a connection, carries what may be a name or a signature, or its
/// flow or its destination is known by a name.
#[inline(always)]
pub fn concerns(frame: &Frame<'_>, packet: &Packet) -> bool {
    if packet.protocol == protocol::TCP || packet.protocol == protocol::UDP {
        if payload_concerns(frame, packet) || is_flow_known(frame, packet) {
            return true;
        }
    }
    constants::has_named_rules() && learned::may_be(packet.destination)
}

/// Whether anything is remembered of the packet's flow.
#[inline(always)]
pub fn is_flow_known(frame: &Frame<'_>, packet: &Packet) -> bool {
    let hash = flow_hash(frame, packet);
    maps::FLOWS.get(flow::place(hash, constants::flow_mask())).is_some_and(|bucket| flow::has(bucket, hash))
}

#[inline(always)]
pub fn payload_concerns(frame: &Frame<'_>, packet: &Packet) -> bool {
    let tcp = packet.protocol == protocol::TCP;
    if tcp && packet.segment(frame).opens {
        return true;
    }
    let (start, end) = packet.payload(frame);
    let (_, port) = packet.ports(frame);
    if start >= end {
        // An empty query is none.
        return !tcp && port == DNS_PORT;
    }
    if port == DNS_PORT || constants::signature_count() != 0 {
        return true;
    }
    let Some(first) = frame.view::<4>(start) else { return end - start < 4 };
    if end - start < 4 {
        return true;
    }
    if tcp {
        // A handshake, or a method: they have three letters at the least. Of other data few begin so.
        let is_letter = |byte: u8| byte.wrapping_sub(b'A') < 26;
        match first.u8::<0>() {
            22 => first.u8::<1>() == 3,
            byte => is_letter(byte) && is_letter(first.u8::<1>()) && is_letter(first.u8::<2>()),
        }
    } else {
        // A long header.
        first.u8::<0>() & 0xc0 == 0xc0
    }
}

#[inline(always)]
fn flow_hash(frame: &Frame<'_>, packet: &Packet) -> u64 {
    secret::flow(&Secret, packet.source(frame), packet.destination, packet.ports(frame), packet.protocol)
}

/// Finds out what there is to read in the packet in hand, from a device: a [`Read`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_inspect_begin(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(found)) = (in_hand::get(), in_hand::found()) else { return 0 };
    if found.device == in_hand::NOT_ASKED {
        let class = edge_mac_class(packet.device.0);
        found.device = if class == NO_CLASS { NO_CLASS } else { constants::row(class) };
    }
    let interest = interest(found.device);
    let looked_into = packet.fault.is_none() && !matches!(packet.family, Family::None) && !matches!(packet.fragment, Fragment::Later);
    if !looked_into || interest.is_none() {
        return 0;
    }
    found.inspected = 1;
    let frame = Context::<false>::new(XdpContext::new(context));
    inspect::begin(&frame.frame(), packet, interest, &mut Program(context)) as u32
}

#[inline(always)]
fn interest(device: u32) -> Interest {
    let (mut named, mut signed) = (0, 0);
    for word in 0..MAX_WORDS {
        if word >= constants::words() {
            break;
        }
        let place = device + word_offset(constants::words(), word);
        let rules = device_word(place);
        named |= rules & constants::named(word);
        signed |= rules & constants::signed(word);
    }
    let signatures = signed != 0 || constants::has_shown();
    Interest { names: named != 0, signatures, reads: named != 0 || constants::reads_of_all() }
}

/// What follows from what was read. `what`: a [`Reading`], and the [`Read`] above it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_inspect_finish(what: u32) -> u32 {
    let (Some(buffers), Some(found)) = (names::buffers(), in_hand::found()) else { return 0 };
    // What the state has is another packet's.
    if found.inspected == 0 {
        return 0;
    }
    let (read, reading) = (Read::from_u32(what >> 8), Reading::from_u32(what & 0xff));
    let concerns = matches!(reading, Reading::Name) && buffers.state.number != 0 && edge_concerns(found.device, buffers.state.number) != 0;
    let showing = inspect::finish(&mut buffers.state, read, reading, concerns);
    found.showing = showing.bits();
    found.settles = buffers.state.settles().into();
    if showing.shows() {
        note_rows();
    }
    0
}

/// Not 0: a rule of the device whose row is there is about the name of this number.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_concerns(device: u32, number: u32) -> u64 {
    let Some(rules) = maps::NAME_RULES.get(number) else { return 0 };
    let carried = constants::row(rules.carried);
    let mut both = 0;
    for word in 0..MAX_WORDS {
        if word >= constants::words() {
            break;
        }
        let offset = word_offset(constants::words(), word);
        both |= device_word(device + offset) & constants::pool(carried + offset);
    }
    both
}

/// Finds out what the packet in hand shows.
#[inline(always)]
pub fn look_into(context: *mut xdp_md, side: Side) {
    match side {
        Side::Inside => {
            inspect::inspect(&mut Functions(context));
        }
        Side::Outside => {
            edge_inspect_source(context);
        }
    }
}

/// As [`edge_inspect_begin`] to [`edge_inspect_finish`], for what comes from the upstream: what its source was learned for.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_inspect_source(context: *mut xdp_md) -> u32 {
    let (Some(packet), Some(buffers), Some(found)) = (in_hand::get(), names::buffers(), in_hand::found()) else { return 0 };
    buffers.state.shown = inspect::Shown::default();
    let frame = Context::<false>::new(XdpContext::new(context));
    if may_watch(constants::row(constants::inbound())) && learned::look_up(packet.source(&frame.frame())) {
        note_rows();
        found.showing = Showing::ONLY_SHOWS.bits();
    }
    0
}

#[inline(always)]
fn note_rows() {
    if let (Some(buffers), Some(rows)) = (names::buffers(), ROWS_SHOWN.get_ptr_mut(0)) {
        // SAFETY: a live map value of this CPU.
        unsafe { (*rows).note(&buffers.state.shown, &Tables::<false>) };
    }
}

/// The words at `offset` of the rows of what the packet shows.
#[inline(always)]
pub fn shown(offset: u32) -> ShownWords {
    ShownWords {
        remote: edge_shown_remote(offset),
        monitored: if constants::has_learned_monitored() { edge_shown_monitored(offset) } else { 0 },
        service: if constants::signature_count() != 0 { edge_shown_service(offset) } else { 0 },
    }
}

/// By what the rule matches the packet in hand, and the place of the learned address if it is that.
#[inline(always)]
pub fn ground(rule: u32) -> (abi::Evidence, usize) {
    let Some(rows) = rows_shown() else { return (abi::Evidence::Address, 0) };
    if rule >= MAX_RULES as u32 {
        return (abi::Evidence::Address, 0);
    }
    let offset = word_offset(constants::words(), (rule / u64::BITS) as usize);
    let by_flow = names::buffers().is_some_and(|buffers| buffers.state.carried != Carried::Question as u32);
    rows.ground(&Tables::<false>, offset, 1 << (rule % u64::BITS), by_flow)
}

/// A word of [`shown`], as a function of its own: the decision's stack is short.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_shown_remote(offset: u32) -> u64 {
    rows_shown().map_or(0, |rows| rows.remote(&Tables::<false>, offset))
}

/// `None`: the packet shows nothing.
#[inline(always)]
fn rows_shown<'a>() -> Option<&'a ShownRows> {
    let found = in_hand::found()?;
    if Showing::from_bits(found.showing).shows() { ROWS_SHOWN.get(0) } else { None }
}

/// As [`edge_shown_remote`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_shown_monitored(offset: u32) -> u64 {
    rows_shown().map_or(0, |rows| rows.monitored(&Tables::<false>, offset))
}

/// As [`edge_shown_remote`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_shown_service(offset: u32) -> u64 {
    rows_shown().map_or(0, |rows| rows.service(&Tables::<false>, offset))
}

/// The packet in hand.
struct InHand;

impl Shows for InHand {
    #[inline(always)]
    fn shown(&self, _: &impl engine::Tables, offset: u32) -> ShownWords {
        shown(offset)
    }
}

/// In [`edge_could_match`]: all rules hold at all times; whatever the service. Without the sign bit, which one side of a call would extend and
/// the other not expect to be.
pub const ALWAYS: u32 = 1 << 30;
pub const ANY_SERVICE: u32 = 1 << 30;

/// As [`engine::could_match`], with the places of rows; not 0: it is so.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_could_match(device: u32, service: u32, active: u32, first: u32) -> u32 {
    let active = if active == ALWAYS { None } else { Some(active) };
    let rows = Rows { device, remote: device, service, active, shows: true };
    engine::could_match(rows, first & !ANY_SERVICE, first & ANY_SERVICE != 0, &Tables::<false>, &InHand).into()
}

/// Whether the packet in hand is a query that was read.
#[inline(always)]
pub fn is_query() -> bool {
    in_hand::found().is_some_and(|found| Showing::from_bits(found.showing).is_query())
}

/// Answers the query in hand by DNS. Returns an action.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_answer_query(context: *mut xdp_md) -> u32 {
    let mut context = Context::<false>::new(XdpContext::new(context));
    let (Some(packet), Some(buffers), Some(found)) = (in_hand::get(), names::buffers(), in_hand::found()) else {
        return xdp_action::XDP_DROP;
    };
    let answer = if found.reason == Reason::HttpsRecord as u32 + 1 {
        reject::dns::Answer::NoData
    } else {
        reject::dns::Answer::Rejected(constants::dns_reject())
    };
    let answered = reject::dns::answer_query(&mut context, packet, &buffers.state.questions, answer);
    if answered { xdp_action::XDP_TX } else { xdp_action::XDP_DROP }
}

/// Whether anything follows from the packet in hand that is to be remembered.
#[inline(always)]
pub fn settles() -> bool {
    in_hand::found().is_some_and(|found| found.settles != 0)
}

/// Remembers what follows from the packet in hand.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_settle(context: *mut xdp_md, passes: u32) -> u32 {
    inspect::settle(passes != 0, &mut Program(context));
    0
}

/// The steps as functions.
struct Functions(*mut xdp_md);

impl Steps for Functions {
    #[inline(always)]
    fn begin(&mut self) -> Read {
        Read::from_u32(edge_inspect_begin(self.0))
    }
    #[inline(always)]
    fn dns(&mut self, transport: Transport) -> Reading {
        Reading::from_u32(match transport {
            Transport::Udp => names::edge_name_dns(self.0),
            Transport::Tcp => names::edge_name_dns_tcp(self.0),
        })
    }
    #[inline(always)]
    fn tls(&mut self) -> Reading {
        of_text(names::edge_name_tls(self.0), Reading::TooLong)
    }
    #[inline(always)]
    fn tls_appended(&mut self) -> Reading {
        of_text(names::edge_name_tls_appended(self.0), Reading::TooLong)
    }
    #[inline(always)]
    fn http(&mut self) -> Reading {
        of_text(names::edge_name_http(self.0), Reading::Malformed)
    }
    #[inline(always)]
    fn identify(&mut self, read: Read, reading: Reading) {
        if constants::reads_of_all() || constants::has_shown() {
            facts::edge_identify_shown(self.0, (read as u32) << 8 | reading as u32);
        }
    }
    #[inline(always)]
    fn finish(&mut self, read: Read, reading: Reading) -> Showing {
        edge_inspect_finish((read as u32) << 8 | reading as u32);
        Showing::NONE
    }
}

/// What was read, when its name is walked. By a function beside the reader and not below it: the stack is short.
#[inline(always)]
fn of_text(reading: u32, otherwise: Reading) -> Reading {
    Reading::from_u32(names::edge_name_of_text(reading, otherwise as u32))
}

struct Program(*mut xdp_md);

impl Memory for Program {
    #[inline(always)]
    fn with<R: Default>(&mut self, work: impl FnOnce(&mut State) -> R) -> R {
        match names::buffers() {
            Some(buffers) => work(&mut buffers.state),
            None => R::default(),
        }
    }
    #[inline(always)]
    fn flow_hash(&self, frame: &Frame<'_>, packet: &Packet) -> u64 {
        flow_hash(frame, packet)
    }
    #[inline(always)]
    fn flow(&self, hash: u64) -> Flow {
        match maps::FLOWS.get(flow::place(hash, constants::flow_mask())) {
            Some(bucket) => flow::find(bucket, hash, constants::generation()),
            None => Flow::default(),
        }
    }
    #[inline(always)]
    fn put_flow(&mut self, hash: u64, flow: Flow) {
        if let Some(bucket) = maps::FLOWS.get_ptr_mut(flow::place(hash, constants::flow_mask())) {
            // SAFETY: a live map value. Two processors that write one entry at once leave one that is nobody's, see `FlowEntry`.
            flow::put(unsafe { &mut *bucket }, hash, constants::generation(), flow);
        }
    }
    #[inline(always)]
    fn learned(&mut self, packet: &Packet) -> bool {
        learned::look_up(packet.destination)
    }
    #[inline(always)]
    fn signatures(&mut self) -> u32 {
        edge_signatures(self.0)
    }
    #[inline(always)]
    fn kept(&self, hash: u64) -> u32 {
        // SAFETY: read at once.
        match unsafe { maps::HELLOS.get(hash) } {
            Some(hello) => hello.length,
            None => 0,
        }
    }
    #[inline(always)]
    fn keep(&mut self) {
        names::keep(self.0);
    }
    #[inline(always)]
    fn forget_kept(&mut self, hash: u64) {
        let _ = maps::HELLOS.remove(hash);
    }
}

/// Bits of the signatures that the payload of the packet in hand shows.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_signatures(context: *mut xdp_md) -> u32 {
    let Some(packet) = in_hand::get() else { return 0 };
    let context = Context::<false>::new(XdpContext::new(context));
    let frame = context.frame();
    let (start, end) = packet.payload(&frame);
    let (_, port) = packet.ports(&frame);
    let mut shown = 0;
    for index in 0..MAX_SIGNATURES as u32 {
        if index >= constants::signature_count() {
            break;
        }
        let entry = constants::signature(index);
        let asked = entry.protocol == packet.protocol && entry.first_port <= port && port <= entry.last_port;
        if asked && signature::shows(&frame, start, end, &entry) {
            shown |= 1 << index;
        }
    }
    shown
}
