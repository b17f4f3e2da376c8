//! The answer to a DNS query that is rejected, made out of the query itself: its first question, a code, and what the code needs.
//!
//! It has an OPT record where the query has one (RFC 6891 section 7), if that is the query's only record behind its questions, as it is in
//! what stub resolvers send. Options, such as cookies, are not answered.

use super::{
    Buffer, ETHERNET, IPV4, IPV6, answerable,
    headers::{Checksum, Ethernet, pseudo_header, write_ipv4, write_ipv6},
};
use crate::{
    abi::DnsReject,
    name::{dns::Questions, labels::MAX_NAME},
    packet::{
        Address, Family, Fragment, Packet,
        access::{Frame, FrameMut, at_most_8, forget},
        protocol,
    },
};

/// What the answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    Rejected(DnsReject),
    /// There is such a name, and nothing of the type that was asked for (RFC 2308 section 2.2).
    NoData,
}

/// Seconds that an address which is none may be kept.
const TTL: u32 = 60;

const UDP: usize = 8;
const HEADER: usize = 12;
/// Of a question: type and class.
const FIXED: usize = 4;
/// A record with a pointer for its owner, without its data.
const RECORD: usize = 12;
/// An OPT record without options.
const OPT: usize = 11;
/// A pointer to the question's name.
const OWNER: u16 = 0xc000 | HEADER as u16;

/// Types with the class IN behind them, and OPT's.
const A: u32 = 0x0001_0001;
const AAAA: u32 = 0x001c_0001;
const OPT_TYPE: u16 = 41;

/// Flags (RFC 1035 section 4.1.1, RFC 4035 section 3.2.2): response, recursion available; and of the query's opcode, recursion desired and
/// checking disabled.
const RESPONSE: u16 = 0x8080;
const KEPT: u16 = 0x7910;
/// Of EDNS' flags: DNSSEC records are understood.
const DNSSEC: u16 = 0x8000;

const NO_ERROR: u16 = 0;
const NAME_ERROR: u16 = 3;
const REFUSED: u16 = 5;

/// Bytes of the longest message, in steps of eight.
const STEPS: usize = (HEADER + MAX_NAME + FIXED + RECORD + 16 + OPT).div_ceil(8);

/// Turns the frame with a query into its answer. False: none is due, as for [`reply`](super::reply), or the frame could not be resized; it
/// is to be dropped.
///
/// `questions` are those of the frame's payload over UDP, at least one.
#[inline(always)]
pub fn answer_query(buffer: &mut impl Buffer, packet: &Packet, questions: &Questions, answer: Answer) -> bool {
    if matches!(packet.fragment, Fragment::Later) || packet.protocol != protocol::UDP {
        return false;
    }
    let asker = {
        let frame = buffer.frame();
        let frame = frame.frame();
        let asker = packet.source(&frame);
        if !answerable(&frame, packet, asker) {
            return false;
        }
        asker
    };
    match packet.family {
        Family::None => false,
        Family::V4 => turn::<IPV4>(buffer, packet, asker, questions, answer),
        Family::V6 => turn::<IPV6>(buffer, packet, asker, questions, answer),
    }
}

/// What is kept of the query, beside the question where it stands.
struct Query {
    ethernet: Ethernet,
    ports: (u16, u16),
    id: u16,
    flags: u16,
    /// Of the question, and the class behind it.
    kind: u32,
    /// Bytes of the OPT record that the answer has.
    opt: usize,
    size: u16,
    version: u8,
    dnssec: u16,
}

#[inline(always)]
fn read(frame: &Frame<'_>, packet: &Packet, questions: &Questions) -> Option<Query> {
    let ethernet = Ethernet::read(frame, packet)?;
    let udp = frame.view::<{ UDP + HEADER }>(packet.transport)?;
    let kind = frame.view::<FIXED>(questions.first.end as usize - FIXED)?.u32::<0>();
    let ports = (udp.u16::<0>(), udp.u16::<2>());
    let (id, flags) = (udp.u16::<UDP>(), udp.u16::<{ UDP + 2 }>());
    let mut query = Query { ethernet, ports, id, flags, kind, opt: 0, size: 0, version: 0, dnssec: 0 };
    let end = packet.transport + usize::from(udp.u16::<4>());
    // Records for answer and authority, and other ones.
    let only_other = udp.u16::<{ UDP + 6 }>() == 0 && udp.u32::<{ UDP + 8 }>() == 1;
    let behind = questions.behind as usize;
    if only_other
        && behind + OPT <= end
        && let Some(record) = frame.view::<OPT>(behind)
        && record.u8::<0>() == 0
        && record.u16::<1>() == OPT_TYPE
        && behind + OPT + usize::from(record.u16::<9>()) <= end
    {
        query.opt = OPT;
        query.size = record.u16::<3>();
        query.version = record.u8::<6>();
        query.dnssec = record.u16::<7>() & DNSSEC;
    }
    Some(query)
}

/// `IP` is the length of the IP header of the answer, which has neither options nor extension headers.
#[inline(always)]
fn turn<const IP: usize>(buffer: &mut impl Buffer, packet: &Packet, asker: Address, questions: &Questions, answer: Answer) -> bool {
    let start = packet.transport + UDP + HEADER;
    let question = (questions.first.end as usize).wrapping_sub(start);
    if questions.first.start as usize != start || !(1 + FIXED..=MAX_NAME + FIXED).contains(&question) {
        return false;
    }
    let Some(query) = read(&buffer.frame().frame(), packet, questions) else { return false };
    let data = match (answer, query.kind) {
        (Answer::Rejected(DnsReject::NullAddress), A) => 4,
        (Answer::Rejected(DnsReject::NullAddress), AAAA) => 16,
        _ => 0,
    };
    let code = match answer {
        Answer::Rejected(DnsReject::NxDomain) => NAME_ERROR,
        Answer::Rejected(DnsReject::Refused) => REFUSED,
        Answer::Rejected(DnsReject::NullAddress) | Answer::NoData => NO_ERROR,
    };
    let records = usize::from(data != 0);
    let message = HEADER + question + records * (RECORD + data) + query.opt;
    // The question stays where it is; the headers before it get shorter by their options.
    let options = packet.transport - packet.network - IP;
    if !buffer.resize(packet.transport + UDP + message) || !buffer.shrink_head(options) {
        return false;
    }
    let mut frame = buffer.frame();
    if query.ethernet.write_back(&mut frame, packet).is_none() {
        return false;
    }
    if IP == IPV4 {
        write_ipv4(&mut frame, packet, asker, UDP + message, protocol::UDP)
    } else {
        write_ipv6(&mut frame, packet, asker, UDP + message, protocol::UDP)
    }
    let udp = packet.network + IP;
    let written = write_message(&mut frame, udp + UDP, question, data, code, &query);
    written.is_some() && write_udp(&mut frame, packet, asker, udp, message, query.ports).is_some()
}

/// All of the message at `at` but the question, which has `question` bytes, and is there.
#[inline(always)]
fn write_message(frame: &mut FrameMut<'_>, at: usize, question: usize, data: usize, code: u16, query: &Query) -> Option<()> {
    let mut header = frame.view_mut::<HEADER>(at)?;
    header.set_u16::<0>(query.id);
    header.set_u16::<2>(RESPONSE | query.flags & KEPT | code);
    header.set_u16::<4>(1);
    header.set_u16::<6>((data != 0).into());
    header.set_u16::<8>(0);
    header.set_u16::<10>((query.opt != 0).into());
    let mut at = at + HEADER + question;
    if data != 0 {
        let mut record = frame.view_mut::<{ RECORD + 4 }>(at)?;
        record.set_u16::<0>(OWNER);
        record.set_u32::<2>(query.kind);
        record.set_u32::<6>(TTL);
        record.set_u16::<10>(data as u16);
        record.set_u32::<12>(0);
        at += RECORD + data;
    }
    if data == 16 {
        let mut rest = frame.view_mut::<12>(at - 12)?;
        rest.set_u64::<0>(0);
        rest.set_u32::<8>(0);
    }
    if query.opt != 0 {
        let mut opt = frame.view_mut::<OPT>(at)?;
        opt.set_u8::<0>(0);
        opt.set_u16::<1>(OPT_TYPE);
        opt.set_u16::<3>(query.size);
        opt.set_u8::<5>(0);
        opt.set_u8::<6>(query.version);
        opt.set_u16::<7>(query.dnssec);
        opt.set_u16::<9>(0);
    }
    Some(())
}

/// The header at `at` for a message of `length` bytes, with the checksum of both (RFC 768).
#[inline(always)]
fn write_udp(frame: &mut FrameMut<'_>, packet: &Packet, asker: Address, at: usize, length: usize, ports: (u16, u16)) -> Option<()> {
    let (asked_from, asked) = ports;
    let announced = (UDP + length) as u16;
    let mut sum = pseudo_header(packet, asker, UDP + length, protocol::UDP);
    sum.add_u16(asked);
    sum.add_u16(asked_from);
    sum.add_u16(announced);
    add(&mut sum, &frame.frame(), at + UDP, at + UDP + length)?;
    let mut udp = frame.view_mut::<UDP>(at)?;
    udp.set_u16::<0>(asked);
    udp.set_u16::<2>(asked_from);
    udp.set_u16::<4>(announced);
    // 0 says that there is none.
    let sum = sum.finish();
    udp.set_u16::<6>(if sum == 0 { u16::MAX } else { sum });
    Some(())
}

/// Adds the bytes from `start` to before `end`. There are at least eight bytes before them.
#[inline(always)]
fn add(sum: &mut Checksum, frame: &Frame<'_>, start: usize, end: usize) -> Option<()> {
    const { assert!(ETHERNET >= 8, "headers are before the message") };
    let mut at = start;
    for _ in 0..STEPS {
        if at >= end {
            break;
        }
        let step = at_most_8(end - at);
        let read = frame.view::<8>(at + step - 8)?.text::<0>();
        let shift = 32 - 4 * step;
        // The fewer bytes come first, and zeros behind them.
        let word = ((read >> shift) >> shift).swap_bytes();
        sum.add_u32((word >> 32) as u32);
        sum.add_u32(word as u32);
        at = forget(at + step, read);
    }
    Some(())
}
