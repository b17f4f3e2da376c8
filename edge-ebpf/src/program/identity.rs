//! Devices known by what they do: facts of a packet become signals, signals the device's row. Each step is a function that the verifier
//! checks by itself; what they leave to each other is in the packet's [`in_hand::Found`] and in the buffers of names.

use aya_ebpf::{bindings::xdp_md, macros::map, maps::PerCpuArray, programs::XdpContext};
use edge_ebpf::{
    abi::{
        MAX_SIGNATURES, POOL,
        identity::{
            DEVICE_WAYS, DeviceState, FactKind, FactState, GroupOp, HelloKey, HelloParts, MAX_FACT, MAX_TOLD, SIGNAL_WORDS, SignalSet,
        },
    },
    identity::{
        automaton::{self, States},
        device,
        dhcp::{self, Said},
        fact_hash,
        groups::{self, Groups, Membership},
        hello, syn, user_agent,
    },
    inspect::{Read, secret},
    name::{Reading, Span, dns::Questions},
    packet::{
        Address, Family, Fragment, Mac, Packet,
        access::{Frame, Held, bounded},
        protocol,
    },
};

use super::{
    atomic, clock, constants, copies,
    frame::Context,
    in_hand, inspect,
    learned::Secret,
    maps,
    names::{self, BEFORE, NAME, TEXT},
    tables::edge_mac_class,
};

/// Where a message's facts are, and what a key is made of.
#[map]
static SAID: PerCpuArray<Said> = PerCpuArray::with_max_entries(1, 0);
#[map]
static HELLO: PerCpuArray<HelloKey> = PerCpuArray::with_max_entries(1, 0);
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
    prepare(OF_PACKET, [0; SIGNAL_WORDS]);
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
    let (Some(packet), Some(buffers)) = (in_hand::get(), names::buffers()) else { return 0 };
    let frame = Context::<false>::new(XdpContext::new(context));
    let length = syn::read(&frame.frame(), packet, &mut Text(&mut buffers.text));
    if length != 0 {
        buffers.text_length = (BEFORE + length) as u64;
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
    let length = (end - start) as usize;
    if names::load_text(context, start as usize, if length > MAX_FACT { MAX_FACT } else { length }) {
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
    let Some(buffers) = names::buffers() else { return 0 };
    let first = constants::fact_start_of(kind);
    if first == 0 {
        return 0;
    }
    let length = buffers.text_length as usize;
    let noise = buffers.state.flow_hash;
    let text = Held::new(&buffers.text, length);
    let set = automaton::walk(&Automaton, &text, first, BEFORE, length, kind == FactKind::UserAgent as u32, noise);
    note(set);
    0
}

/// Copies the frame in hand for the agent, if it was not told the fact in the text before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_tell(context: *mut xdp_md, kind: u32) -> u32 {
    let (Some(buffers), Some(found), Some(packet)) = (names::buffers(), in_hand::found(), in_hand::get()) else { return 0 };
    let length = buffers.text_length as usize;
    let hash = fact_hash(&Held::new(&buffers.text, length), BEFORE, length, buffers.state.flow_hash);
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
fn is_new(hash: u64) -> bool {
    maps::TOLD.get(hash as u32 & (MAX_TOLD - 1)).is_some_and(|told| *told != hash)
}

#[inline(always)]
fn told(hash: u64) {
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
        note_set(set);
    }
}

#[inline(always)]
fn note_set(set: &SignalSet) {
    if let Some(computed) = computed(OF_PACKET) {
        for (word, signals) in computed.signals.iter_mut().zip(set) {
            *word |= signals;
        }
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
                edge_hello(context);
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

/// Notes by what the hello that was read is known.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_hello(context: *mut xdp_md) -> u32 {
    let (Some(buffers), Some(place)) = (names::buffers(), HELLO.get_ptr_mut(0)) else { return 0 };
    // SAFETY: a live map value of this CPU, see `count`.
    let key = unsafe { &mut *place };
    let read = if buffers.state.in_pieces != 0 { edge_hello_in_pieces() } else { edge_hello_in_frame(context) };
    if read == 0 {
        return 0;
    }
    if constants::fact_start(FactKind::Hello) != 0 {
        for (word, letters) in key.letters.iter().enumerate() {
            // SAFETY: the text has room for two words behind its first.
            unsafe { (&raw mut buffers.text[BEFORE]).cast::<u64>().wrapping_add(word).write_unaligned(*letters) };
        }
        buffers.text_length = (BEFORE + 10) as u64;
        // The whole hello is told below.
        edge_walk(FactKind::Hello as u32);
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
    if !is_new(hash) {
        return 0;
    }
    let Span { start, end } = buffers.state.body;
    if buffers.state.in_pieces != 0 {
        if copies::hello(context, Some(names::held_from(buffers, start as usize)), start, end) {
            told(hash);
        }
    } else if copies::hello(context, None, start, end) {
        told(hash);
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
        note_set(set);
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
    found.device = edge_note_signals(packet.device.0, OF_PACKET);
    prepare(OF_PACKET, [0; SIGNAL_WORDS]);
    0
}

/// Notes the signals in hand for the device, and returns where its row is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn edge_note_signals(mac: u64, scratch: u32) -> u32 {
    let Some(Computed { signals, membership: _ }) = computed(scratch) else { return 0 };
    let class = edge_mac_class(mac);
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
    // SAFETY: a live map value, and a way of it.
    let key = unsafe { (&raw mut *bucket).cast::<u64>().wrapping_add(bounded::<{ DEVICE_WAYS - 1 }>(best as usize)) };
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
    let key = (&raw mut *bucket).cast::<u64>().wrapping_add(bounded::<{ DEVICE_WAYS - 1 }>(index as usize));
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

const _: () = assert!(MAX_FACT < NAME);
