//! One direction of a TCP connection, put together in any order, and the messages in it.

use std::collections::BTreeMap;

use edge_ebpf::name::dns::Transport;
use edge_ebpf::name::tls::{self, Copied, MAX_JOINED, Opening};
use edge_ebpf::packet::access::Frame;

use super::Observation;
use super::http;
use super::text::{self, BEFORE};
use crate::identity::ja4::{self, Ja4};

/// Segments that wait for one before them: more, and it was not captured.
const WAITING: usize = 64;
/// Longest message that is put together.
const LONGEST: usize = 1 << 22;

pub struct Stream {
    /// Sequence number of the next byte.
    next: u32,
    /// What came before its turn, by its distance from the first byte that was missing then.
    ahead: BTreeMap<u32, Vec<u8>>,
    /// A message's beginning. Messages begin where segments do, or behind one another.
    pending: Vec<u8>,
    /// Sequence number of the last bytes that were no message. What is sent again in their place may be one: captures of some links have the
    /// padding of short frames as data, in front of what the device has sent.
    other: Option<u32>,
}

enum Message {
    /// None that is looked into.
    Other,
    Incomplete,
    Read(Option<Observation>, usize),
}

impl Stream {
    pub fn after(next: u32) -> Self {
        Self { next, ahead: BTreeMap::new(), pending: Vec::new(), other: None }
    }

    /// Takes a segment, and adds what it completes to `seen`.
    pub fn segment(&mut self, sequence: u32, payload: &[u8], dns: bool, seen: &mut Vec<Observation>) {
        let distance = sequence.wrapping_sub(self.next);
        if distance > 0 && distance < 1 << 31 {
            self.ahead.insert(sequence, payload.to_vec());
            if self.ahead.len() <= WAITING {
                return;
            }
            // The gap will not be filled any more.
            let Some((first, _)) = self.ahead.iter().min_by_key(|(first, _)| first.wrapping_sub(self.next)) else { return };
            self.next = *first;
            self.pending.clear();
        } else {
            self.take(sequence, payload, dns, seen);
        }
        while let Some(first) = self.ahead.keys().copied().find(|first| self.next.wrapping_sub(*first) < 1 << 31) {
            let payload = self.ahead.remove(&first).unwrap_or_default();
            self.take(first, &payload, dns, seen);
        }
    }

    /// `sequence` is not behind the next byte's.
    fn take(&mut self, sequence: u32, payload: &[u8], dns: bool, seen: &mut Vec<Observation>) {
        if self.other.is_some_and(|other| sequence.wrapping_sub(other) < self.next.wrapping_sub(other)) {
            (self.next, self.other) = (sequence, None);
        }
        let known = self.next.wrapping_sub(sequence) as usize;
        let Some(new) = payload.get(known..) else { return };
        self.next = self.next.wrapping_add(new.len() as u32);
        if self.pending.len() + new.len() > LONGEST {
            self.pending.clear();
            return;
        }
        self.pending.extend_from_slice(new);
        loop {
            if self.pending.is_empty() {
                return;
            }
            match message(&self.pending, dns) {
                Message::Incomplete => return,
                Message::Other => {
                    self.other = Some(self.next.wrapping_sub(self.pending.len() as u32));
                    return self.pending.clear();
                }
                Message::Read(observation, length) => {
                    self.other = None;
                    seen.extend(observation);
                    self.pending.drain(..length);
                }
            }
        }
    }
}

fn message(bytes: &[u8], dns: bool) -> Message {
    if dns {
        return query(bytes);
    }
    match hello(bytes) {
        Message::Other => match http::read(bytes) {
            http::Read::Other => Message::Other,
            http::Read::Incomplete => Message::Incomplete,
            http::Read::Request(request, length) => Message::Read(Some(request), length),
        },
        message => message,
    }
}

fn query(bytes: &[u8]) -> Message {
    let [high, low, rest @ ..] = bytes else { return Message::Incomplete };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if rest.len() < length {
        return Message::Incomplete;
    }
    let name = text::first_question(&bytes[..2 + length], Transport::Tcp);
    Message::Read(name.map(|name| Observation::DnsQuery { name }), 2 + length)
}

/// A record that says nothing, which a client may send before its second hello (RFC 8446 appendix D.4).
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

fn hello(bytes: &[u8]) -> Message {
    if bytes.starts_with(&CHANGE_CIPHER_SPEC) {
        return Message::Read(None, CHANGE_CIPHER_SPEC.len());
    }
    if let Some(length) = old_hello(bytes) {
        return Message::Read(Some(Observation::ClientHello { sni: None, ja4: None }), length);
    }
    let framed = text::framed(bytes);
    let frame = Frame::new(&framed);
    let located = tls::locate(&frame, BEFORE, framed.len());
    let read = |body: &[u8], length| match text::server_name(body) {
        Some(sni) => {
            let ja4 = Ja4::of_hello(body, ja4::Transport::Tcp);
            Message::Read(Some(Observation::ClientHello { sni, ja4 }), length)
        }
        None => Message::Other,
    };
    match located.opening {
        Opening::NotAHello | Opening::Malformed => Message::Other,
        Opening::Incomplete => Message::Incomplete,
        Opening::Whole => {
            let (start, end) = (located.body.start as usize, located.body.end as usize);
            read(&framed[start..end], end - BEFORE)
        }
        Opening::Scattered => {
            let mut out = [0; MAX_JOINED];
            let joined = tls::join(&frame, BEFORE, framed.len(), &mut Copied { from: &framed, to: &mut out });
            match joined.reading {
                edge_ebpf::name::Reading::Incomplete => Message::Incomplete,
                edge_ebpf::name::Reading::Name => read(&out[4..joined.length], bytes.len()),
                _ => Message::Other,
            }
        }
    }
}

/// Length of a hello in the form of SSL 2, which clients of TLS once sent first (RFC 5246 appendix E.2) and which has no place for a name.
fn old_hello(bytes: &[u8]) -> Option<usize> {
    let [high, low, 1, 3, _, fields @ ..] = bytes else { return None };
    let length = 2 + usize::from(u16::from_be_bytes([high.checked_sub(0x80)?, *low]));
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*fields.get(at)?, *fields.get(at + 1)?])));
    let (ciphers, session, challenge) = (number(0)?, number(2)?, number(4)?);
    (ciphers % 3 == 0 && 11 + ciphers + session + challenge == length && bytes.len() >= length).then_some(length)
}
