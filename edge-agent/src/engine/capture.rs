//! Frames out of captures (pcap and pcapng), each as it would come in on Ethernet.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use edge_ebpf::abi::Reason;
use edge_ebpf::packet::{Packet, access::Frame};
use jiff::Timestamp;
use pcap_parser::{Block, IDB_MAGIC, InterfaceDescriptionBlock, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Bytes read at once; grows where a block is larger.
const BUFFER: usize = 1 << 16;
/// A block that claims to be larger is damage, and what follows it cannot be found.
const LARGEST: usize = 1 << 26;
/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Bytes of the longest frame that a header can announce: the largest IP packet, behind two tags. What a capture says beyond is damage.
const LONGEST: usize = HEADER + 8 + 65535;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const NO_MAC: [u8; 6] = [0; 6];

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capture {
    pub frames: Vec<Captured>,
    /// It ends in the middle of a frame or another block, or is damaged there: what follows is not in `frames`.
    pub breaks_off: bool,
}

/// A frame and when it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The Unix epoch where the capture does not say.
    pub at: Timestamp,
    /// As Ethernet, as much of it as was captured.
    bytes: Result<Vec<u8>, NotReplayed>,
    /// Bytes that the snap length cut off.
    missing: usize,
}

impl Captured {
    /// Whether the snap length cut it.
    pub fn is_cut(&self) -> bool {
        self.missing > 0
    }

    /// The Ethernet frame as far as it was captured.
    ///
    /// # Errors
    /// Why there is none.
    pub fn bytes(&self) -> Result<&[u8], NotReplayed> {
        self.bytes.as_deref().map_err(|why| *why)
    }

    /// The Ethernet frame in its full length; zeros stand for what was cut off behind the headers.
    ///
    /// # Errors
    /// Why there is none to judge. Also where the cut lies within the headers: on the wire they were whole, and what they said is not known.
    pub fn frame(&self) -> Result<Cow<'_, [u8]>, NotReplayed> {
        let Self { at: _, bytes, missing } = self;
        let bytes = bytes.as_ref().map_err(|why| *why)?;
        if *missing == 0 {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut whole = bytes.clone();
        whole.resize(bytes.len().saturating_add(*missing).min(LONGEST).max(bytes.len()), 0);
        let is_truncated = |frame: &[u8]| Packet::parse(&Frame::new(frame)).fault == Some(Reason::Truncated);
        if is_truncated(bytes) && !is_truncated(&whole) { Err(NotReplayed::CutHeaders) } else { Ok(Cow::Owned(whole)) }
    }
}

/// Why a frame of a capture cannot be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotReplayed {
    #[error("link type {0}")]
    LinkType(i32),
    #[error("shorter than its link layer's header")]
    Short,
    #[error("neither Ethernet nor IP")]
    NotIp,
    #[error("headers cut by the snap length")]
    CutHeaders,
    #[error("of an interface that the capture does not describe")]
    NoInterface,
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
    /// Bytes of a frame that are captured at most; 0: all.
    snap_length: u32,
}

impl Interface {
    fn of(description: &InterfaceDescriptionBlock<'_>) -> Self {
        let InterfaceDescriptionBlock { linktype, snaplen, if_tsresol, if_tsoffset, block_type, .. } = description;
        // The highest bit: a power of two, else of ten (draft-ietf-opsawg-pcapng, if_tsresol). The parser gives up on the former, and takes
        // all offsets for little-endian.
        let exponent = u32::from(if_tsresol & 0x7f);
        let resolution = if if_tsresol & 0x80 == 0 { 10u64.checked_pow(exponent) } else { 2u64.checked_pow(exponent) };
        let offset = if *block_type == IDB_MAGIC { *if_tsoffset } else { if_tsoffset.swap_bytes() };
        Self { link: *linktype, resolution: resolution.unwrap_or(u64::MAX), offset, snap_length: *snaplen }
    }
}

/// All frames of a capture, in its order.
///
/// # Errors
/// If the file cannot be read, is none of the formats, or breaks off before its first frame.
pub fn read(path: &Path) -> Result<Capture, CaptureError> {
    let file = File::open(path).map_err(|source| CaptureError::Open { path: path.to_owned(), source })?;
    let format = |what: String| CaptureError::Format { path: path.to_owned(), what };
    let mut reader = create_reader(BUFFER, file).map_err(|error| format(error.to_string()))?;
    let mut frames = Vec::new();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut capacity = BUFFER;
    let mut waiting = None;
    let mut has_blocks = false;
    loop {
        if has_blocks && is_too_short(reader.data()) {
            return Err(format(format!("after {} frames: a block that is shorter than itself", frames.len())));
        }
        match reader.next() {
            Ok((size, block)) => {
                has_blocks = matches!(block, PcapBlockOwned::NG(_));
                take(block, &mut interfaces, &mut frames);
                reader.consume(size);
                waiting = None;
            }
            Err(PcapError::Eof) => return Ok(Capture { frames, breaks_off: false }),
            Err(PcapError::UnexpectedEof) => return Ok(Capture { frames, breaks_off: true }),
            Err(PcapError::Incomplete(_) | PcapError::BufferTooSmall) => {
                let here = (reader.consumed(), reader.data().len());
                // Nothing new since the last attempt: either the block is larger than the buffer, or the file ends within it.
                if waiting == Some(here) {
                    if reader.reader_exhausted() || capacity >= LARGEST {
                        if frames.is_empty() {
                            return Err(format("it breaks off before its first frame".to_owned()));
                        }
                        return Ok(Capture { frames, breaks_off: true });
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

/// Whether what comes next in a pcapng file is a block that the parser takes for one of a process, and subtracts too much from the length of.
fn is_too_short(next: &[u8]) -> bool {
    const PROCESS: u32 = 0x8000_0001;
    /// Type, and length before and behind.
    const LEAST: u32 = 12;
    let Some([a, b, c, d, length @ ..]) = next.first_chunk::<8>() else { return false };
    match [*a, *b, *c, *d] {
        kind if kind == PROCESS.to_le_bytes() => u32::from_le_bytes(*length) < LEAST,
        kind if kind == PROCESS.to_be_bytes() => u32::from_be_bytes(*length) < LEAST,
        _ => false,
    }
}

fn take(block: PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>, frames: &mut Vec<Captured>) {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            // The upper bits say how long frames' check sequences are (pcap-linktype, FCS length).
            let link = Linktype(header.network.0 & 0xffff);
            interfaces.push(Interface { link, resolution, offset: 0, snap_length: header.snaplen });
        }
        PcapBlockOwned::Legacy(block) => {
            let Some(interface) = interfaces.first() else { return };
            let units = u64::from(block.ts_sec) * interface.resolution + u64::from(block.ts_usec);
            frames.push(captured(*interface, units, block.data, block.caplen, block.origlen));
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => interfaces.push(Interface::of(&description)),
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => frames.push(match interfaces.get(block.if_id as usize) {
            Some(interface) => {
                let units = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                captured(*interface, units, block.data, block.caplen, block.origlen)
            }
            None => NO_INTERFACE,
        }),
        PcapBlockOwned::NG(Block::SimplePacket(block)) => frames.push(match interfaces.first() {
            // Neither a time nor a captured length of its own.
            Some(interface) => {
                let limit = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
                let timeless = Interface { offset: 0, ..*interface };
                captured(timeless, 0, block.data, block.origlen.min(limit), block.origlen)
            }
            None => NO_INTERFACE,
        }),
        PcapBlockOwned::NG(_) => {}
    }
}

const NO_INTERFACE: Captured = Captured { at: Timestamp::UNIX_EPOCH, bytes: Err(NotReplayed::NoInterface), missing: 0 };

/// `data` may be padded behind the `length` bytes that were captured of `original`.
fn captured(interface: Interface, units: u64, data: &[u8], length: u32, original: u32) -> Captured {
    let Interface { link, resolution, offset, snap_length: _ } = interface;
    let resolution = resolution.max(1);
    let fraction = u128::from(units % resolution) * 1_000_000_000 / u128::from(resolution);
    let second = i64::try_from(units / resolution).unwrap_or(i64::MAX).saturating_add(offset);
    let at = Timestamp::new(second, i32::try_from(fraction).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    let data = &data[..data.len().min(length as usize)];
    Captured { at, bytes: ethernet(link, data), missing: (original as usize).saturating_sub(data.len()) }
}

fn ethernet(link: Linktype, bytes: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    match link.0 {
        1 if bytes.len() < HEADER => Err(NotReplayed::Short),
        1 => Ok(bytes.to_vec()),
        // Raw IP, as various systems number it; either version.
        12 | 14 | 101 | 228 | 229 => ip(bytes),
        // The address family's number and its byte order differ between systems; the packet says its version itself.
        0 | 108 => ip(bytes.get(4..).ok_or(NotReplayed::Short)?),
        113 => cooked_v1(bytes),
        276 => cooked_v2(bytes),
        other => Err(NotReplayed::LinkType(other)),
    }
}

fn ip(packet: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    match packet.first().ok_or(NotReplayed::Short)? >> 4 {
        4 => Ok(with_header(NO_MAC, IPV4.to_be_bytes(), packet)),
        6 => Ok(with_header(NO_MAC, IPV6.to_be_bytes(), packet)),
        _ => Err(NotReplayed::NotIp),
    }
}

/// Linux' own header for captures on all interfaces: type of frame and of link, the sender's address with its length, EtherType
/// (LINKTYPE_LINUX_SLL).
fn cooked_v1(bytes: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    let Some((&[_, _, _, _, high, low, a, b, c, d, e, f, _, _, kind, of], packet)) = bytes.split_first_chunk::<16>() else {
        return Err(NotReplayed::Short);
    };
    let mac = if [high, low] == [0, 6] { [a, b, c, d, e, f] } else { NO_MAC };
    Ok(with_header(mac, [kind, of], packet))
}

/// The same in another order, and with the interface's number (LINKTYPE_LINUX_SLL2).
fn cooked_v2(bytes: &[u8]) -> Result<Vec<u8>, NotReplayed> {
    let Some((&[kind, of, _, _, _, _, _, _, _, _, _, length, a, b, c, d, e, f, _, _], packet)) = bytes.split_first_chunk::<20>() else {
        return Err(NotReplayed::Short);
    };
    let mac = if length == 6 { [a, b, c, d, e, f] } else { NO_MAC };
    Ok(with_header(mac, [kind, of], packet))
}

fn with_header(source: [u8; 6], ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [NO_MAC.as_slice(), &source, &ether_type, packet].concat()
}
