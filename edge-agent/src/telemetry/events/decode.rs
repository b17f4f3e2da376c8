//! From the ring buffer's bytes to an [`Event`], by the offsets that the kernel program writes at, and the name behind it.

use std::mem::offset_of;

use edge_ebpf::abi::{EVENT_NAME, Event};

use crate::policy::spelling;

const SIZE: usize = size_of::<Event>();
const WITH_NAME: usize = SIZE + EVENT_NAME;

/// The kernel program wrote something else than this agent's [`Event`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error(
        "a report has {length} bytes and neither {SIZE} nor {WITH_NAME}; program and agent are of different versions: restart the agent"
    )]
    Length { length: usize },
    #[error("a report has a name that does not end; program and agent are of different versions: restart the agent")]
    Name,
}

/// An event, and the name that it is about, as [`spelling`] has it.
///
/// # Errors
/// If the length is not that of an [`Event`], with or without a name, or the name is none.
pub(super) fn report(bytes: &[u8]) -> Result<(Event, Option<String>), Malformed> {
    let malformed = Malformed::Length { length: bytes.len() };
    let (event, name) = bytes.split_first_chunk::<SIZE>().ok_or(malformed)?;
    let name = match name.len() {
        0 => None,
        EVENT_NAME => Some(spelling::of_wire(name).ok_or(Malformed::Name)?),
        _ => return Err(malformed),
    };
    Ok((decoded(event), name))
}

fn decoded(bytes: &[u8; SIZE]) -> Event {
    Event {
        source: halves(field::<{ offset_of!(Event, source) }, 16>(bytes)),
        destination: halves(field::<{ offset_of!(Event, destination) }, 16>(bytes)),
        interface: u32::from_ne_bytes(field::<{ offset_of!(Event, interface) }, 4>(bytes)),
        slot: u32::from_ne_bytes(field::<{ offset_of!(Event, slot) }, 4>(bytes)),
        length: u32::from_ne_bytes(field::<{ offset_of!(Event, length) }, 4>(bytes)),
        generation: u32::from_ne_bytes(field::<{ offset_of!(Event, generation) }, 4>(bytes)),
        device: field::<{ offset_of!(Event, device) }, 6>(bytes),
        source_port: u16::from_ne_bytes(field::<{ offset_of!(Event, source_port) }, 2>(bytes)),
        destination_port: u16::from_ne_bytes(field::<{ offset_of!(Event, destination_port) }, 2>(bytes)),
        family: bytes[offset_of!(Event, family)],
        protocol: bytes[offset_of!(Event, protocol)],
        verdict: bytes[offset_of!(Event, verdict)],
        monitored: bytes[offset_of!(Event, monitored)],
        reason: bytes[offset_of!(Event, reason)],
        evidence: bytes[offset_of!(Event, evidence)],
    }
}

/// `LENGTH` bytes at `AT`; that they are there is checked by the compiler.
fn field<const AT: usize, const LENGTH: usize>(bytes: &[u8; SIZE]) -> [u8; LENGTH] {
    const { assert!(AT + LENGTH <= SIZE) };
    std::array::from_fn(|index| bytes[AT + index])
}

fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let half = |at: usize| u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]));
    [half(0), half(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes as the kernel lays them out, written down by hand: a decoder that swaps two fields of one size fails.
    #[test]
    fn each_field_comes_from_its_place() {
        let mut bytes = Vec::new();
        bytes.extend(1u64.to_ne_bytes());
        bytes.extend(2u64.to_ne_bytes());
        bytes.extend(3u64.to_ne_bytes());
        bytes.extend(4u64.to_ne_bytes());
        for word in 5u32..9 {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend([0x64, 0x09, 0x80, 0, 0, 1]);
        bytes.extend(9u16.to_ne_bytes());
        bytes.extend(10u16.to_ne_bytes());
        bytes.extend([11, 12, 13, 14, 15, 16]);
        let expected = Event {
            source: [1, 2],
            destination: [3, 4],
            interface: 5,
            slot: 6,
            length: 7,
            generation: 8,
            device: [0x64, 0x09, 0x80, 0, 0, 1],
            source_port: 9,
            destination_port: 10,
            family: 11,
            protocol: 12,
            verdict: 13,
            monitored: 14,
            reason: 15,
            evidence: 16,
        };
        assert_eq!(report(&bytes), Ok((expected, None)));
        bytes.extend(padded(b"\x03API\x07example\x00"));
        assert_eq!(report(&bytes), Ok((expected, Some("api.example".to_owned()))));
    }

    #[test]
    fn a_wrong_length_is_told() {
        for length in [0, SIZE - 1, SIZE + 1, WITH_NAME - 1, WITH_NAME + 1] {
            assert_eq!(report(&vec![0; length]), Err(Malformed::Length { length }));
        }
    }

    #[test]
    fn a_name_that_does_not_end_is_told() {
        let broken = [vec![0; SIZE], padded(b"\xc0\x0c")].concat();
        assert_eq!(report(&broken), Err(Malformed::Name));
    }

    fn padded(name: &[u8]) -> Vec<u8> {
        let mut bytes = name.to_vec();
        bytes.resize(EVENT_NAME, 0);
        bytes
    }
}
