//! One question to the kernel's routing socket and its answer, without a runtime: in the network namespace of the calling thread.

use std::fmt;
use std::io;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NlasIterator};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

/// What the kernel answers at most at once (`NLMSG_GOODSIZE` is less).
const ROOM: usize = 1 << 16;

/// `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `struct nlattr`, before the value.
const NLA_HEADER: usize = 4;
/// `struct nlmsgerr` without what was asked: the error, and the header of the question.
const ERROR: usize = 4 + 16;

/// The kernel said no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// `errno`.
    pub code: i32,
    /// In the kernel's words, where it has any.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, why } = self;
        if why.is_empty() { write!(out, "{}", io::Error::from_raw_os_error(*code)) } else { out.write_str(why) }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { code: error.raw_os_error().unwrap_or(0), why: format!("the kernel's routing socket: {error}") }
    }
}

/// Asks, and shows `each` message of the answer, behind its netlink header.
pub fn request(message: RouteNetlinkMessage, flags: u16, mut each: impl FnMut(&[u8])) -> Result<(), Refused> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel's words, and not the question again before them. Kernels before 4.12 have none.
    let _ = socket.set_cap_ack(true).and_then(|()| socket.set_ext_ack(true));
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut question = vec![0; message.buffer_len()];
    message.serialize(&mut question);
    socket.send(&question, 0)?;
    loop {
        let mut received = Vec::with_capacity(ROOM);
        socket.recv(&mut received, 0)?;
        let mut rest = received.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            match message.message_type() {
                NLMSG_ERROR | NLMSG_DONE => return done(message.payload()),
                _ => each(message.payload()),
            }
            rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn done(payload: &[u8]) -> Result<(), Refused> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) | None => Ok(()),
        Some(code) => {
            let why = payload.get(ERROR..).and_then(|attributes| attribute(attributes, NLMSGERR_ATTR_MSG));
            let why = why.map(|why| String::from_utf8_lossy(why).trim_end_matches('\0').to_owned());
            Err(Refused { code: code.saturating_neg(), why: why.unwrap_or_default() })
        }
    }
}

/// The value of the first of `attributes` that is of this kind.
pub fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == kind)?;
    let end = usize::from(found.length());
    found.into_inner().get(NLA_HEADER..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attribute of four bytes.
    fn encoded(kind: u16, value: [u8; 4]) -> Vec<u8> {
        [&8_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat()
    }

    #[test]
    fn an_attribute_is_found_by_its_kind_and_a_cut_one_is_not() {
        let attributes = [encoded(3, [1; 4]), encoded(7, *b"name")].concat();
        assert_eq!((attribute(&attributes, 7), attribute(&attributes, 8)), (Some(&b"name"[..]), None));
        assert_eq!(attribute(&attributes[..15], 7), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_kernels_words() {
        assert_eq!(done(&[0; ERROR]), Ok(()));
        let code = (-libc::EINVAL).to_ne_bytes();
        let plain = done(&[&code[..], &[0; 16]].concat()).unwrap_err();
        assert_eq!((plain.code, plain.why.as_str()), (libc::EINVAL, ""));
        let told = done(&[&code[..], &[0; 16], &encoded(NLMSGERR_ATTR_MSG, *b"no!\0")].concat()).unwrap_err();
        assert_eq!(told.to_string(), "no!");
    }
}
