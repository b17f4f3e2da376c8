//! What is remembered of a flow: where its stream begins, what there is of a ClientHello, and what it is marked with.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use edge_ebpf::abi::Reason;

use super::read::name::Name;
use super::read::tls::{Hello, LONGEST, Opening, opening};
use super::read::{Reading, http};
use crate::policy::model::SignatureId;

/// Bytes of a ClientHello that are kept until the rest comes.
const KEPT: usize = LONGEST;

/// As the device sends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub protocol: u8,
    pub ends: (IpAddr, IpAddr),
    pub ports: (u16, u16),
}

pub type Flows = HashMap<FlowKey, Flow>;

#[derive(Clone, Default)]
pub struct Flow {
    pub stage: Stage,
    pub name: Option<Name>,
    pub signatures: BTreeSet<SignatureId>,
}

/// Where a TCP stream is.
#[derive(Clone, Default)]
pub enum Stage {
    /// Anywhere: nobody saw its beginning, or that is over.
    #[default]
    Open,
    /// Its first byte will have this sequence number.
    Awaiting(u32),
    /// A ClientHello began with this sequence number, and goes on behind these bytes.
    Pending(u32, Vec<u8>),
}

/// What a segment tells.
#[derive(Default)]
pub struct Told {
    pub name: Option<Name>,
    /// The value of a request's header, where the request could be read.
    pub user_agent: Option<Vec<u8>>,
    /// A hello's body, where that could be read.
    pub hello: Option<Vec<u8>>,
    pub obstacle: Option<Reason>,
    /// Where the stream is then, if the segment passes: one that is dropped will be sent again.
    pub next: Stage,
}

impl Stage {
    /// Reads a segment with payload.
    pub fn read(&self, sequence: u32, payload: &[u8]) -> Told {
        let out_of_order = || Told { obstacle: Some(Reason::OutOfOrder), next: self.clone(), ..Told::default() };
        match self {
            Self::Open => look(sequence, payload.to_vec(), Manner::Loose),
            Self::Awaiting(awaited) => match sequence.wrapping_sub(*awaited).cast_signed() {
                0 => look(sequence, payload.to_vec(), Manner::Strict),
                1.. => out_of_order(),
                _ => Told { next: self.clone(), ..look(sequence, payload.to_vec(), Manner::Loose) },
            },
            Self::Pending(first, bytes) => match usize::try_from(sequence.wrapping_sub(*first).cast_signed()) {
                Ok(0) => look(sequence, payload.to_vec(), Manner::Strict),
                Ok(offset) if offset == bytes.len() => {
                    look(*first, [bytes, &payload[..payload.len().min(KEPT - bytes.len())]].concat(), Manner::GoesOn)
                }
                _ => out_of_order(),
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// The bytes may be in the midst of a stream, and look like anything.
    Loose,
    /// They begin it.
    Strict,
    /// They begin it, and the first of them were taken for a ClientHello's.
    GoesOn,
}

/// At what stands from the sequence number `first` on.
fn look(first: u32, bytes: Vec<u8>, manner: Manner) -> Told {
    let unreadable = |reason| Told { obstacle: Some(reason), ..Told::default() };
    match opening(&bytes) {
        Opening::Hello(Hello { name, ech }, body) => {
            Told { name, hello: Some(body), obstacle: ech.then_some(Reason::Ech), ..Told::default() }
        }
        Opening::Incomplete(wanted) if wanted <= KEPT => Told { next: Stage::Pending(first, bytes), ..Told::default() },
        Opening::Incomplete(_) | Opening::Unreadable => unreadable(Reason::TlsUnreadable),
        Opening::BadRecord if manner == Manner::Loose => Told::default(),
        Opening::BadRecord => unreadable(Reason::TlsUnreadable),
        Opening::NotAHello if manner == Manner::GoesOn => Told::default(),
        Opening::NotAHello => match http::request(&bytes) {
            Reading::Found(name) => Told { name: Some(name), user_agent: user_agent(&bytes), ..Told::default() },
            Reading::Nothing => Told { user_agent: user_agent(&bytes), ..Told::default() },
            Reading::Other => Told::default(),
            Reading::Malformed if manner == Manner::Loose => Told::default(),
            Reading::Incomplete | Reading::Malformed | Reading::TooLong => unreadable(Reason::HttpUnreadable),
        },
    }
}

fn user_agent(request: &[u8]) -> Option<Vec<u8>> {
    http::user_agent(request).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::message;

    fn hello(padding: Option<u16>, record: Option<usize>) -> Vec<u8> {
        message::Hello { server_name: Some(b"connect.miui.com"), ech: false, padding, record }.build()
    }

    proptest! {
        #[test]
        fn a_hello_in_any_segments_tells_its_name_with_the_last(
            padding in prop_oneof![Just(None), (0u16..3700).prop_map(Some)],
            record in prop_oneof![Just(None), (300usize..500).prop_map(Some)],
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            start: u32,
        ) {
            let hello = hello(padding, record);
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(hello.len())).filter(|cut| *cut > 0).collect();
            ends.push(hello.len());
            ends.sort_unstable();
            ends.dedup();
            let mut stage = Stage::Awaiting(start);
            let mut from = 0;
            for end in ends {
                let Told { name, obstacle, next, .. } = stage.read(start.wrapping_add(from as u32), &hello[from..end]);
                prop_assert_eq!(obstacle, None);
                prop_assert_eq!(name.is_some(), end == hello.len());
                prop_assert_eq!(matches!(next, Stage::Open), end == hello.len());
                // A byte too late.
                if let Stage::Pending(..) = next {
                    let late = next.read(start.wrapping_add(end as u32 + 1), &hello[end..]);
                    prop_assert_eq!(late.obstacle, Some(Reason::OutOfOrder));
                }
                (stage, from) = (next, end);
            }
        }
    }

    #[test]
    fn a_hello_that_wants_more_than_is_kept_cannot_be_read() {
        let longest = hello(Some((KEPT - hello(Some(0), None).len()) as u16), None);
        let beyond = hello(Some((KEPT + 1 - hello(Some(0), None).len()) as u16), None);
        let first = |hello: &[u8]| Stage::Awaiting(0).read(0, &hello[..1000]);
        assert_eq!((longest.len(), first(&longest).obstacle), (KEPT, None));
        let Told { obstacle, next, .. } = first(&beyond);
        assert_eq!(obstacle, Some(Reason::TlsUnreadable));
        assert!(matches!(next, Stage::Open), "what passes unread ends the wait");
        // In one piece nothing has to be kept.
        assert!(Stage::Awaiting(0).read(0, &beyond).name.is_some());
    }
}
