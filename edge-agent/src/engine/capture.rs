//! Frames out of captures (pcap and pcapng), each as it would come in on Ethernet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Bytes read at once; grows where a block is larger.
const BUFFER: usize = 1 << 16;
/// A block that claims to be larger is damage, and what follows it cannot be found.
const LARGEST: usize = 1 << 26;
/// A header that says `ether_type` and whose MACs are zero.
const HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A frame and when it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The Unix epoch where the capture does not say.
    pub at: Timestamp,
    /// An Ethernet frame, as much of it as was captured; or why there is none.
    pub frame: Result<Vec<u8>, NotReplayed>,
}

/// Why a frame of a capture cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReplayed {
    #[error("link type {0}")]
    LinkType(i32),
    #[error("shorter than an Ethernet header")]
    Short,
    #[error("neither Ethernet nor IP")]
    NotIp,
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("{path} cannot be read: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is no capture that can be read ({what}): give a file in the pcap or pcapng format")]
    Format { path: PathBuf, what: String },
}

/// What an interface of a capture says about its frames.
#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Units of time in a second.
    resolution: u64,
    /// Seconds.
    offset: i64,
}

/// All frames of a capture, in its order. One that ends in the middle of a frame has those before it.
///
/// # Errors
/// If the file cannot be read, or is none of the formats.
pub fn read(path: &Path) -> Result<Vec<Captured>, CaptureError> {
    let file = File::open(path).map_err(|source| CaptureError::Open { path: path.to_owned(), source })?;
    let format = |what: String| CaptureError::Format { path: path.to_owned(), what };
    let mut reader = create_reader(BUFFER, file).map_err(|error| format(error.to_string()))?;
    let mut frames = Vec::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut capacity = BUFFER;
    let mut waiting = None;
    loop {
        match reader.next() {
            Ok((size, block)) => {
                take(block, &mut interfaces, &mut frames);
                reader.consume(size);
                waiting = None;
            }
            Err(PcapError::Eof | PcapError::UnexpectedEof) => return Ok(frames),
            Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => {
                let here = (reader.consumed(), reader.data().len());
                // Nothing new since the last attempt: either the block is larger than the buffer, or the file ends within it.
                if waiting == Some(here) {
                    if reader.reader_exhausted() || capacity >= LARGEST {
                        let nothing = frames.is_empty();
                        return if nothing { Err(format("it breaks off before its first frame".to_owned())) } else { Ok(frames) };
                    }
                    capacity *= 2;
                    if !reader.grow(capacity) {
                        return Err(format("a block that does not fit into memory".to_owned()));
                    }
                }
                waiting = Some(here);
                reader.refill().map_err(|error| format(error.to_string()))?;
            }
            Err(error) => return Err(format(format!("after {} frames: {error}", frames.len()))),
        }
    }
}

fn take(block: PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>, frames: &mut Vec<Captured>) {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            // The upper bits say how long frames' check sequences are (pcap-linktype, FCS length).
            interfaces.push(Interface { link: Linktype(header.network.0 & 0xffff), resolution, offset: 0 });
        }
        PcapBlockOwned::Legacy(block) => {
            let Some(interface) = interfaces.first() else { return };
            let units = u64::from(block.ts_sec) * interface.resolution + u64::from(block.ts_usec);
            frames.push(captured(*interface, units, block.data, block.caplen));
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => interfaces.push(Interface {
            link: description.linktype,
            resolution: description.ts_resolution().unwrap_or(1_000_000),
            offset: description.ts_offset(),
        }),
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
            let Some(interface) = interfaces.get(block.if_id as usize) else { return };
            let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
            frames.push(captured(*interface, units, block.data, block.caplen));
        }
        PcapBlockOwned::NG(Block::SimplePacket(block)) => {
            let Some(interface) = interfaces.first() else { return };
            frames.push(captured(*interface, 0, block.data, block.origlen));
        }
        PcapBlockOwned::NG(_) => {}
    }
}

/// `data` may be padded behind its `length` bytes.
fn captured(interface: Interface, units: u64, data: &[u8], length: u32) -> Captured {
    let Interface { link, resolution, offset } = interface;
    let resolution = resolution.max(1);
    let fraction = u128::from(units % resolution) * 1_000_000_000 / u128::from(resolution);
    let second = i64::try_from(units / resolution).unwrap_or(i64::MAX).saturating_add(offset);
    let at = Timestamp::new(second, i32::try_from(fraction).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    Captured { at, frame: ethernet(link, &data[..data.len().min(length as usize)]) }
}

fn ethernet(link: Linktype, bytes: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    match link.0 {
        1 if bytes.len() < HEADER => Err(NotReplayed::Short),
        1 => Ok(bytes.to_vec()),
        // Raw IP, as various systems number it; either version.
        12 | 14 | 101 | 228 | 229 => ip(bytes),
        // The address family's number and its byte order differ between systems; the packet says its version itself.
        0 | 108 => ip(bytes.get(4..).ok_or(NotReplayed::Short)?),
        113 => cooked(bytes, 14, 16),
        276 => cooked(bytes, 0, 20),
        other => Err(NotReplayed::LinkType(other)),
    }
}

fn ip(packet: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    match packet.first().ok_or(NotReplayed::Short)? >> 4 {
        4 => Ok(with_header(IPV4, packet)),
        6 => Ok(with_header(IPV6, packet)),
        _ => Err(NotReplayed::NotIp),
    }
}

/// Linux' own header, which has an EtherType at `place` and is `header` bytes long.
fn cooked(bytes: &[u8], place: usize, header: usize) -> Result<Vec<u8>, NotReplayed> {
    match (bytes.get(place..place + 2), bytes.get(header..)) {
        (Some(&[high, low]), Some(packet)) => Ok(with_header(u16::from_be_bytes([high, low]), packet)),
        _ => Err(NotReplayed::Short),
    }
}

fn with_header(ether_type: u16, packet: &[u8]) -> Vec<u8> {
    [&[0; 12], ether_type.to_be_bytes().as_slice(), packet].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of one frame, which is `length` bytes long and of which `data` was captured.
    fn pcap(link: u32, data: &[u8], length: u32) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65535, link, 1_414_152_000, 500_000, data.len() as u32, length] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(data);
        file
    }

    fn frames(bytes: &[u8]) -> Vec<Captured> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("a file");
        read(file.path()).expect("a capture")
    }

    #[test]
    fn each_link_layer_becomes_ethernet() {
        let packet = [0x45, 1, 2, 3];
        let made = [&[0; 12], [8, 0].as_slice(), &packet].concat();
        for (link, header, frame) in [
            (1, vec![7; 14], Ok([&[7; 14], packet.as_slice()].concat())),
            (101, vec![], Ok(made.clone())),
            (0, vec![2, 0, 0, 0], Ok(made.clone())),
            (108, vec![0, 0, 0, 2], Ok(made.clone())),
            (0x4000_0000, vec![2, 0, 0, 0], Ok(made.clone())),
            (113, [vec![0; 14], vec![8, 0]].concat(), Ok(made.clone())),
            (276, [vec![8, 0], vec![0; 18]].concat(), Ok(made)),
            (105, vec![], Err(NotReplayed::LinkType(105))),
        ] {
            let data = [header, packet.to_vec()].concat();
            let [captured] = &frames(&pcap(link, &data, 1500))[..] else { panic!("one frame") };
            assert_eq!(captured.frame, frame, "link type {link}");
            assert_eq!(captured.at.to_string(), "2014-10-24T12:00:00.5Z");
        }
    }

    #[test]
    fn a_file_that_is_cut_has_the_frames_before() {
        let whole = pcap(1, &[7; 20], 20);
        let second = &whole[24..];
        let both = [whole.as_slice(), second].concat();
        assert_eq!(frames(&both).len(), 2);
        assert_eq!(frames(&both[..both.len() - 1]).len(), 1);
    }

    #[test]
    fn another_file_is_no_capture() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "kind: Policy, which is not a capture at all").expect("a file");
        assert!(matches!(read(file.path()), Err(CaptureError::Format { .. })));
    }
}
