//! Writes captures in the pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng) formats.

/// Link layers by their numbers in both formats.
pub mod link {
    pub const LOOPBACK: u16 = 0;
    pub const ETHERNET: u16 = 1;
    pub const RAW_IP: u16 = 101;
    pub const OPENBSD_LOOPBACK: u16 = 108;
    pub const COOKED_V1: u16 = 113;
    pub const COOKED_V2: u16 = 276;
    pub const WIFI: u16 = 105;
}

/// Options of an interface.
pub mod option {
    pub const NAME: u16 = 2;
    pub const TIME_RESOLUTION: u16 = 9;
    pub const TIME_OFFSET: u16 = 14;
}

/// Kinds of blocks.
pub mod kind {
    const SECTION: u32 = 0x0a0d_0d0a;
    const INTERFACE: u32 = 1;
    const SIMPLE: u32 = 3;
    pub const NAMES: u32 = 4;
    pub const STATISTICS: u32 = 5;
    const ENHANCED: u32 = 6;
    /// Reserved for use within an organisation.
    pub const LOCAL: u32 = 0x8000_0001;

    pub(super) const OWN: [u32; 4] = [SECTION, INTERFACE, SIMPLE, ENHANCED];
}

/// Byte order of a file or section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub const BOTH: [Self; 2] = [Self::Little, Self::Big];

    fn u16(self, number: u16) -> [u8; 2] {
        if self == Self::Little { number.to_le_bytes() } else { number.to_be_bytes() }
    }

    pub fn u32(self, number: u32) -> [u8; 4] {
        if self == Self::Little { number.to_le_bytes() } else { number.to_be_bytes() }
    }

    pub fn i64(self, number: i64) -> [u8; 8] {
        if self == Self::Little { number.to_le_bytes() } else { number.to_be_bytes() }
    }
}

/// A frame of which `data` was captured.
#[derive(Clone)]
pub struct Record {
    pub seconds: u32,
    /// In the file's resolution.
    pub fraction: u32,
    pub data: Vec<u8>,
    /// Its length on the wire, in bytes.
    pub original: usize,
}

impl Record {
    /// Whole, at a second of 2014-10-24, 12:00 UTC.
    pub fn whole(second: u32, data: Vec<u8>) -> Self {
        Self { seconds: 1_414_152_000 + second, fraction: 0, original: data.len(), data }
    }

    /// Of which only so many bytes were captured.
    pub fn cut(self, bytes: usize) -> Self {
        let Self { seconds, fraction, mut data, original } = self;
        data.truncate(bytes);
        Self { seconds, fraction, data, original }
    }
}

/// A file in the pcap format.
pub fn pcap(order: Order, nanoseconds: bool, link: u32, records: &[Record]) -> Vec<u8> {
    let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    let mut file = order.u32(magic).to_vec();
    file.extend([order.u16(2), order.u16(4)].concat());
    for word in [0, 0, 65535, link] {
        file.extend(order.u32(word));
    }
    for Record { seconds, fraction, data, original } in records {
        for word in [*seconds, *fraction, data.len() as u32, *original as u32] {
            file.extend(order.u32(word));
        }
        file.extend(data);
    }
    file
}

/// A file in the pcapng format.
pub struct Pcapng {
    order: Order,
    pub bytes: Vec<u8>,
}

impl Pcapng {
    pub fn new(order: Order) -> Self {
        let mut file = Self { order, bytes: Vec::new() };
        file.section(order);
        file
    }

    /// A section of that byte order begins; it has no interfaces yet.
    pub fn section(&mut self, order: Order) {
        self.order = order;
        let unknown_length = order.i64(-1);
        let body = [order.u32(0x1a2b_3c4d).as_slice(), &order.u16(1), &order.u16(0), &unknown_length].concat();
        self.block(kind::OWN[0], &body);
    }

    /// An interface that captures `snap_length` bytes of a frame (0: all), with options as (code, value).
    pub fn interface(&mut self, link: u16, snap_length: u32, options: &[(u16, &[u8])]) {
        let order = self.order;
        let mut body = [order.u16(link).as_slice(), &[0; 2], &order.u32(snap_length)].concat();
        for (code, value) in options {
            body.extend([order.u16(*code), order.u16(value.len() as u16)].concat());
            body.extend(padded(value));
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(kind::OWN[1], &body);
    }

    /// A frame that came in on an interface, at a time in that interface's units.
    pub fn packet(&mut self, interface: u32, time: u64, data: &[u8], original: usize) {
        let order = self.order;
        let words = [interface, (time >> 32) as u32, time as u32, data.len() as u32, original as u32];
        let mut body: Vec<u8> = words.into_iter().flat_map(|word| order.u32(word)).collect();
        body.extend(padded(data));
        // A comment.
        body.extend([order.u16(1), order.u16(2)].concat());
        body.extend([b'h', b'i', 0, 0, 0, 0, 0, 0]);
        self.block(kind::OWN[3], &body);
    }

    /// A frame of the first interface, without a time.
    pub fn simple_packet(&mut self, data: &[u8], original: usize) {
        let body = [self.order.u32(original as u32).as_slice(), &padded(data)].concat();
        self.block(kind::OWN[2], &body);
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) {
        let length = self.order.u32((body.len() + 12) as u32);
        self.bytes.extend([self.order.u32(kind).as_slice(), &length, body, &length].concat());
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
