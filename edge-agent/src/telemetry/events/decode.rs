//! From the ring buffer's bytes to an [`Event`], by the offsets that the kernel program writes at.

use std::mem::offset_of;

use edge_ebpf::abi::Event;

const SIZE: usize = size_of::<Event>();

/// The kernel program wrote something else than this agent's [`Event`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a report has {length} bytes and not {SIZE}; program and agent are of different versions: restart the agent")]
pub struct Malformed {
    pub length: usize,
}

/// # Errors
/// If the length is not that of an [`Event`].
pub(super) fn event(bytes: &[u8]) -> Result<Event, Malformed> {
    let bytes: &[u8; SIZE] = bytes.try_into().map_err(|_| Malformed { length: bytes.len() })?;
    Ok(Event {
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
        reserved: bytes[offset_of!(Event, reserved)],
    })
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
            reserved: 16,
        };
        assert_eq!(event(&bytes), Ok(expected));
    }

    #[test]
    fn a_wrong_length_is_told() {
        assert_eq!(event(&[0; SIZE + 1]), Err(Malformed { length: SIZE + 1 }));
        assert_eq!(event(&[]), Err(Malformed { length: 0 }));
    }
}
