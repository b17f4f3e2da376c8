//! A DNS answer of any length (RFC 1035 section 4.1), for those that the kernel program does not read.

use edge_ebpf::packet::Address;

use crate::dataplane::teach::WireName;

/// Names of an answer, and addresses, that are looked at.
const NAMES: usize = 33;
const ADDRESSES: usize = 256;
/// Compression pointers in one name.
const POINTERS: usize = 16;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// What was asked for, and then what it is an alias of.
    pub names: Vec<WireName>,
    /// With their time to live in seconds.
    pub addresses: Vec<(Address, u32)>,
}

/// What a message is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Answer(Answer),
    /// Another message: a query, an error.
    Other,
    Malformed,
}

impl Message {
    pub fn read(message: &[u8]) -> Self {
        let mut reader = Reader { message, at: 0 };
        let Some([_, flags, questions, records, _, _]) = reader.numbers::<6>() else { return Self::Malformed };
        // Response, opcode 0, code 0, to one question.
        if flags & 0xf80f != 0x8000 || questions != 1 {
            return Self::Other;
        }
        match reader.answer(records) {
            Some(answer) => Self::Answer(answer),
            None => Self::Malformed,
        }
    }
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn numbers<const N: usize>(&mut self) -> Option<[u16; N]> {
        let bytes = self.take(2 * N)?;
        Some(std::array::from_fn(|place| u16::from_be_bytes([bytes[2 * place], bytes[2 * place + 1]])))
    }

    fn answer(&mut self, records: u16) -> Option<Answer> {
        let mut answer = Answer::default();
        answer.names.push(self.name()?);
        self.numbers::<2>()?;
        for _ in 0..records {
            self.name()?;
            let [kind, class, high, low, length] = self.numbers()?;
            let (start, length) = (self.at, usize::from(length));
            let data = self.take(length)?;
            if kind == CNAME && answer.names.len() < NAMES {
                let mut target = Reader { message: self.message, at: start };
                answer.names.push(target.name().filter(|_| target.at == self.at)?);
            }
            let address = match (kind, class) {
                (A, IN) => {
                    <[u8; 4]>::try_from(data).ok().map(|octets| Address { high: u64::from(u32::from_be_bytes(octets)) << 32, low: 0 })
                }
                (AAAA, IN) => <[u8; 16]>::try_from(data).ok().map(|octets| {
                    let number = u128::from_be_bytes(octets);
                    Address { high: (number >> 64) as u64, low: number as u64 }
                }),
                _ => None,
            };
            let time_to_live = u32::from(high) << 16 | u32::from(low);
            answer.addresses.extend(address.filter(|_| answer.addresses.len() < ADDRESSES).map(|address| (address, time_to_live)));
        }
        Some(answer)
    }

    /// The name here; where its parts are elsewhere, each pointer leads to an earlier place.
    fn name(&mut self) -> Option<WireName> {
        let mut labels: Vec<&[u8]> = Vec::new();
        let mut parts = Reader { message: self.message, at: self.at };
        let mut pointers = 0;
        let mut end = None;
        loop {
            let place = parts.at;
            let [first] = *parts.take(1)? else { return None };
            match first {
                0 => break,
                1..=63 => labels.push(parts.take(usize::from(first))?),
                0xc0.. => {
                    let [second] = *parts.take(1)? else { return None };
                    let target = usize::from(first & 0x3f) << 8 | usize::from(second);
                    pointers += 1;
                    if target >= place || pointers > POINTERS {
                        return None;
                    }
                    end = end.or(Some(parts.at));
                    parts.at = target;
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(parts.at);
        WireName::of_labels(labels)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::engine::message;

    fn name(text: &str) -> WireName {
        WireName::of_text(text.as_bytes()).expect("a name")
    }

    fn built(aliases: usize, addresses: Vec<IpAddr>) -> Vec<u8> {
        message::Answer { name: "Miui.com", aliases: vec!["a.b"; aliases], addresses, time_to_live: 70_000, code: 0 }.build()
    }

    #[test]
    fn more_records_than_the_kernel_reads() {
        let v4 = |last: u8| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
        let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));
        let Message::Answer(Answer { names, addresses }) = Message::read(&built(20, (0..80).map(v4).chain([v6]).collect())) else {
            panic!("no answer")
        };
        assert_eq!((names.len(), &names[0], &names[20]), (21, &name("miui.com"), &name("a.b")));
        assert_eq!(addresses.len(), 81);
        assert_eq!(addresses[1], (Address { high: 0xcb00_7101_0000_0000, low: 0 }, 70_000));
        assert_eq!(addresses[80].0, Address { high: 0x2001_0db8_0000_0000, low: 5 });
        let Message::Answer(many) = Message::read(&built(40, vec![v4(1); 300])) else { panic!("no answer") };
        assert_eq!((many.names.len(), many.addresses.len()), (NAMES, ADDRESSES), "bounded");
    }

    #[test]
    fn what_is_none() {
        let right = built(1, vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        for (place, value) in [(2, 0x01), (2, 0x89), (3, 0x83), (5, 2)] {
            let mut other = right.clone();
            other[place] = value;
            assert_eq!(Message::read(&other), Message::Other);
        }
        for end in 0..right.len() {
            assert_eq!(Message::read(&right[..end]), Message::Malformed, "cut to {end}");
        }
        // The first record's owner, a pointer at 26: to itself, and forward.
        for target in [26, 40] {
            let mut wrong = right.clone();
            assert_eq!(wrong[26], 0xc0);
            wrong[27] = target;
            assert_eq!(Message::read(&wrong), Message::Malformed, "to {target}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_to_an_end(tail in prop::collection::vec(prop_oneof![any::<u8>(), 0xc0u8..=0xc1, 0u8..20], 0..300)) {
            let message = [&[0, 0, 0x80, 0, 0, 1, 0, 9, 0, 0, 0, 0][..], &tail].concat();
            let _ = Message::read(&message);
        }
    }
}
