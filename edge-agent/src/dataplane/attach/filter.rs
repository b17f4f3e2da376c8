//! The program for DNS answers as a filter on an interface's egress, for kernels that have no links there (before Linux 6.6).
//!
//! Asked for over netlink and by the interface's index. aya goes by its name, does not tell what is there, and takes a filter off when
//! the value is dropped, where ours must outlive the agent.

use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption};

use super::netlink::{Refused, attribute, request};
use crate::dataplane::object::ANSWERS_PROGRAM;

/// Before all other filters: one that decides ends the walk. Others of the same priority are told apart by their handles.
const PRIORITY: u16 = 1;
/// "ed9e".
const HANDLE: TcHandle = TcHandle { major: 0, minor: 0xed9e };

/// The qdisc that takes filters on both ways and queues nothing.
const CLSACT: &str = "clsact";
const QDISC: TcHandle = TcHandle { major: u16::MAX, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: u16::MAX, minor: TcHandle::MIN_INGRESS };
const EGRESS: TcHandle = TcHandle { major: u16::MAX, minor: TcHandle::MIN_EGRESS };

/// `linux/rtnetlink.h` and `linux/pkt_cls.h`.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// `struct tcmsg`, before the attributes.
const HEADER: usize = 20;

/// The kernel's id of our program on the interface; `None` if there is none, or no such interface.
pub fn program(interface: u32) -> Result<Option<u32>, Refused> {
    let mut program = None;
    let get = RouteNetlinkMessage::GetTrafficFilter(filter(interface, vec![]));
    let asked = request(get, 0, |message| {
        let options = message.get(HEADER..).and_then(|attributes| attribute(attributes, TCA_OPTIONS));
        let ours = options.filter(|options| attribute(options, TCA_BPF_NAME).is_some_and(|name| text(name) == ANSWERS_PROGRAM.as_bytes()));
        program = ours.and_then(|options| attribute(options, TCA_BPF_ID)).and_then(|id| Some(u32::from_ne_bytes(id.try_into().ok()?)));
    });
    match asked {
        // No such filter; no qdisc, or another one; no such interface.
        Err(refused) if [libc::ENOENT, libc::EINVAL, libc::ENODEV].contains(&refused.code) => Ok(None),
        other => other.map(|()| program),
    }
}

/// Adds the filter, which must not be there.
pub fn add(interface: u32, program: BorrowedFd<'_>) -> Result<(), Refused> {
    set(interface, program, NLM_F_CREATE | NLM_F_EXCL)
}

/// Puts the program in the place of the former one: each packet sees one of them (`cls_bpf_change` in `net/sched/cls_bpf.c`).
pub fn replace(interface: u32, program: BorrowedFd<'_>) -> Result<(), Refused> {
    set(interface, program, NLM_F_CREATE)
}

fn set(interface: u32, program: BorrowedFd<'_>, flags: u16) -> Result<(), Refused> {
    let options = [
        TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
        TcFilterBpfOption::ProgName(ANSWERS_PROGRAM.to_owned()),
        TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
    ];
    let options = TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect());
    request(RouteNetlinkMessage::NewTrafficFilter(filter(interface, vec![options])), flags, |_| {})
}

/// Takes the filter off, if it is there.
pub fn remove(interface: u32) -> Result<(), Refused> {
    if program(interface)?.is_none() {
        return Ok(());
    }
    request(RouteNetlinkMessage::DelTrafficFilter(filter(interface, vec![])), 0, |_| {})
}

/// Sees to it that the interface takes filters on egress. Returns whether the qdisc was made for that.
pub fn ensure_qdisc(interface: u32) -> Result<bool, Refused> {
    match request(RouteNetlinkMessage::NewQueueDiscipline(qdisc(interface)), NLM_F_CREATE | NLM_F_EXCL, |_| {}) {
        Ok(()) => Ok(true),
        Err(refused) if refused.code == libc::EEXIST => match kind(interface)? {
            Some(kind) if kind == CLSACT.as_bytes() => Ok(false),
            // `ingress` takes what is meant for egress as well, and asks it about the other way's packets.
            Some(_) => {
                let why = "it has the qdisc `ingress`, which has no egress; make that `clsact`, which can do all the same";
                Err(Refused { code: refused.code, why: why.to_owned() })
            }
            None => Err(refused),
        },
        Err(refused) => Err(refused),
    }
}

/// Removes the qdisc, unless others use it.
pub fn remove_empty_qdisc(interface: u32) -> Result<(), Refused> {
    let mut filters = 0;
    for parent in [INGRESS, EGRESS] {
        let all = TcMessage::from_parts(TcHeader { index: interface.cast_signed(), parent, ..TcHeader::default() }, vec![]);
        request(RouteNetlinkMessage::GetTrafficFilter(all), NLM_F_DUMP, |_| filters += 1)?;
    }
    if filters > 0 || kind(interface)?.is_none_or(|kind| kind != CLSACT.as_bytes()) {
        return Ok(());
    }
    request(RouteNetlinkMessage::DelQueueDiscipline(qdisc(interface)), 0, |_| {})
}

/// Of the qdisc in the place of ours.
fn kind(interface: u32) -> Result<Option<Vec<u8>>, Refused> {
    let header = TcHeader { index: interface.cast_signed(), parent: TcHandle::CLSACT, ..TcHeader::default() };
    let mut kind = None;
    let get = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::from_parts(header, vec![]));
    // Without "echo" the kernel answers nobody but who listens to its notices (`qdisc_get_notify` in `net/sched/sch_api.c`).
    let asked = request(get, NLM_F_ECHO, |message| {
        kind = message.get(HEADER..).and_then(|attributes| attribute(attributes, TCA_KIND)).map(|kind| text(kind).to_vec());
    });
    match asked {
        Err(refused) if [libc::ENOENT, libc::ENODEV].contains(&refused.code) => Ok(None),
        other => other.map(|()| kind),
    }
}

fn filter(interface: u32, options: Vec<TcAttribute>) -> TcMessage {
    let info = u32::from(PRIORITY) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    let header = TcHeader { index: interface.cast_signed(), handle: HANDLE, parent: EGRESS, info, ..TcHeader::default() };
    let kind = TcAttribute::Kind(TcFilterBpf::KIND.to_owned());
    TcMessage::from_parts(header, [vec![kind], options].concat())
}

fn qdisc(interface: u32) -> TcMessage {
    let header = TcHeader { index: interface.cast_signed(), handle: QDISC, parent: TcHandle::CLSACT, ..TcHeader::default() };
    TcMessage::from_parts(header, vec![TcAttribute::Kind(CLSACT.to_owned())])
}

/// Without the zero at its end.
fn text(value: &[u8]) -> &[u8] {
    value.strip_suffix(&[0]).unwrap_or(value)
}
